"""What a command says about words that it does not know: what to write instead.

Imports the standard library only: each command starts with it.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Iterator

#: Flags of other BIDS-Apps that have no like here -> what does what they are wanted for.
OTHER_APPS = {
    "--output-spaces": "places in MNI152NLin2009aSym are always in the tables, and transforms "
    "beside each scan; cmburden export writes maps",
    "--anat-only": "nothing but anatomical images is read",
    "--fs-license-file": "FreeSurfer is not used",
    "--fs-no-reconall": "FreeSurfer is not used",
    "--fs-subjects-dir": "FreeSurfer is not used",
    "--use-aroma": "no functional image is read",
    "--task-id": "no functional image is read",
    "--run-id": "choose runs with --bids-filter-file",
    "--modalities": "choose images with --bids-filter-file, or suffixes with --set index.suffixes",
    "--resource-monitor": "cmburden timings OUTPUT_DIR prints time, memory and disk use",
    "--low-mem": "bound memory with --mem",
    "--clean-workdir": "remove OUTPUT_DIR/work by hand once the cohort is finished (docs/scale.md)",
    "--no-sub": "nothing is ever sent anywhere",
    "--dry-run-list": "use -n",
}
#: Likeness of words from which one is suggested for the other: a letter or two of six differ.
_LIKE = 0.6


def flags(parser: argparse.ArgumentParser) -> list[str]:
    """All long flags of a parser."""
    return [
        flag
        for action in parser._actions
        for flag in action.option_strings
        if flag.startswith("--") and action.help != argparse.SUPPRESS
    ]


def unknown(words: Iterable[str], known: Iterable[str]) -> str:
    """The sentence about ``words`` that a command with the flags ``known`` does not understand.

    >>> unknown(["--sesion-label", "01"], ["--session-label", "--cores"])
    'unknown --sesion-label: did you mean --session-label?'
    >>> unknown(["--anat-only"], ["--cores"])
    'unknown --anat-only: nothing but anatomical images is read'
    >>> unknown(["b"], ["--cores"])
    "'b' is one word too many"
    """
    words, known = list(words), list(known)
    parts = [f"unknown {flag}{_advice(flag, known)}" for flag in _flags_among(words)]
    if not parts:
        return f"{words[0]!r} is one word too many"
    return "; ".join(parts)


def _flags_among(words: list[str]) -> Iterator[str]:
    yield from (word.split("=")[0] for word in words if word.startswith("-") and len(word) > 1)


def _advice(flag: str, known: list[str]) -> str:
    """What to write for ``flag``; nothing where no flag is like it."""
    dashed = flag.replace("_", "-")
    if dashed in OTHER_APPS:
        return f": {OTHER_APPS[dashed]}"
    like = difflib.get_close_matches(dashed, known, n=1, cutoff=_LIKE)
    return f": did you mean {like[0]}?" if like else "; --help lists the flags"


def unknown_command(word: str, commands: Iterable[str]) -> str:
    """The sentence about a first word that is no command.

    >>> unknown_command("reviev", ["run", "review"]).split(";")[0]
    "'reviev' is no command: did you mean review?"
    """
    commands = list(commands)
    like = difflib.get_close_matches(word, commands, n=1, cutoff=_LIKE)
    advice = f": did you mean {like[0]}?" if like else f"; commands are {', '.join(commands)}"
    return (
        f"{word!r} is no command{advice}; to run a cohort: cmburden BIDS_DIR OUTPUT_DIR participant"
    )
