"""Completion of commands, flags and files in a shell, made by shtab from the parsers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script of ``parser`` for ``shell``: bash, zsh or tcsh."""
    import shtab

    for action in _actions(parser):
        if action.type is Path:
            # shtab reads this attribute.
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Actions of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
