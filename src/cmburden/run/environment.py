"""The environment of Snakemake and its jobs, whatever home, locale and folder a run starts from."""

from __future__ import annotations

import codecs
import contextlib
import locale
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cmburden.core.paths import Layout

#: What every run sets. In another locale Python would read and write text as ASCII or Latin-1.
#: Without a safe path, Python would import a module of any name from the user's present folder.
ALWAYS = {"PYTHONUTF8": "1", "PYTHONSAFEPATH": "1"}
#: Variable that names a folder of caches -> that folder below the user's home where it is not set.
#: Snakemake ends without the former; Matplotlib makes a new cache in every job without the latter.
CACHES = {"XDG_CACHE_HOME": ".cache", "MPLCONFIGDIR": ".config/matplotlib"}


def of_run(layout: Layout, before: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that a run adds to ``before``, the environment of the command.

    Caches that the user cannot write lie in the output folder instead.
    """
    variables = dict(ALWAYS)
    for name, below in CACHES.items():
        folder = before.get(name) or _home(before, below)
        if folder is None or not _writable(Path(folder)):
            replacement = (layout.work / "home" / below).absolute()
            replacement.mkdir(parents=True, exist_ok=True)
            variables[name] = str(replacement)
    return variables


def _home(before: Mapping[str, str], below: str) -> str | None:
    """The folder ``below`` the user's home; None for a user without one."""
    with contextlib.suppress(RuntimeError):
        return str(Path(before.get("HOME") or Path.home()) / below)
    return None


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except (OSError, ValueError):
        return False


def begin_again_in_utf8() -> None:
    """Replace this process by the same command in UTF-8 mode, where the locale is of another kind.

    Python takes POSIX's own locale for UTF-8.
    """
    if sys.flags.utf8_mode or codecs.lookup(locale.getencoding()).name == "utf-8":
        return
    os.environ.update(ALWAYS)
    os.execv(sys.executable, [sys.executable, "-m", "cmburden.run.cli", *sys.argv[1:]])
