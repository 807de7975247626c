"""Reads files that others wrote: regular files of bounded size, in any usual encoding.

A named pipe or a device blocks its reader for ever or never ends. A torn or foreign file is a
sentence for its user, not a traceback.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

#: Largest file that is read as text, bytes. The largest sidecar at hand has 0.2 MB.
_LARGEST = 64 * 2**20


class UnreadableFile(Exception):
    """A file of others that cannot be read; ``str(error)`` is the cause in a few words."""


def kind_of(mode: int) -> str | None:
    """What a file of this ``st_mode`` is in words; None for a regular file."""
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return None if stat.S_ISREG(mode) else kinds.get(stat.S_IFMT(mode), "no regular file")


def read_bytes(path: Path | str, most: int = _LARGEST) -> bytes:
    """All bytes of a regular file.

    Raises
    ------
    UnreadableFile
        Where the file is absent, no regular file, not allowed, or larger than ``most`` bytes.
    """
    content = first_bytes(path, most + 1)
    if len(content) > most:
        raise UnreadableFile(f"it has more than {most} bytes")
    return content


def first_bytes(path: Path | str, number: int) -> bytes:
    """The first ``number`` bytes of a regular file, or all of a shorter one.

    Raises
    ------
    UnreadableFile
        Where the file is absent, no regular file, or not allowed.
    """
    try:
        # Some devices act on being opened: they are looked at first.
        kind = kind_of(Path(path).stat().st_mode)
        if kind is not None:
            raise UnreadableFile(f"it is {kind}")
        # A pipe that took the file's place in between does not block.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
            return stream.read(number)
    except FileNotFoundError:
        if Path(path).is_symlink():
            raise UnreadableFile("it is a link to content that is not here") from None
        raise UnreadableFile("there is no such file") from None
    except OSError as error:
        raise UnreadableFile(error.strerror or "it cannot be opened") from error


def text_of(content: bytes) -> str:
    """Bytes as text: UTF-8, UTF-16 or UTF-32 with or without a mark, else Latin-1.

    >>> text_of("0.02 s, 37°".encode("latin-1")), text_of("37°".encode("utf-8-sig"))
    ('0.02 s, 37°', '37°')
    """
    try:
        return content.decode(json.detect_encoding(content))
    except UnicodeDecodeError:
        return content.decode("latin-1")


def read_json_object(path: Path | str) -> dict[str, Any]:
    """The JSON object in a file of others.

    Raises
    ------
    UnreadableFile
        Where ``read_bytes`` raises, or the content is no JSON object.
    """
    try:
        content = json.loads(text_of(read_bytes(path)))
    except RecursionError:
        raise UnreadableFile("it is nested too deeply") from None
    except ValueError as error:
        raise UnreadableFile(f"it is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise UnreadableFile("it holds no JSON object")
    return content


def printable(text: str) -> str:
    """``text`` with escapes for what is no printable Unicode, such as names that are not UTF-8.

    >>> printable("sub-é\\udcff")
    'sub-é\\\\xff'
    """
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() else _escaped(mark) for mark in text)


def _escaped(mark: str) -> str:
    """``mark`` as an escape. A byte that is not UTF-8 is a surrogate in Python's names of files."""
    if "\udc80" <= mark <= "\udcff":
        return f"\\x{ord(mark) - 0xDC00:02x}"
    return mark.encode("unicode_escape").decode()
