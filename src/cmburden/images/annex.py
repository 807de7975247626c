"""Recognises files of git-annex, which DataLad uses: their content may be on another machine.

By https://git-annex.branchable.com/internals, a locked file is a link to
``.git/annex/objects/xx/yy/KEY/KEY``. An unlocked file without content is a small file that holds
``/annex/objects/KEY``. The key (MD5E-s123--...) identifies the content, present or absent.
"""

from __future__ import annotations

from pathlib import Path

_OBJECTS = "annex/objects/"
#: git-annex's own limit for pointer files is 32 KB; keys are far shorter.
LONGEST_POINTER = 4096


def key_of(path: Path) -> str | None:
    """Key of an annexed file that is a link; None of any other file. Nothing is read."""
    if not path.is_symlink():
        return None
    target = path.readlink().as_posix()
    return target.rsplit("/", 1)[-1] if f"/{_OBJECTS}" in target else None


def is_pointer(content: bytes) -> bool:
    """Whether these are the bytes of a pointer file.

    >>> is_pointer(b"/annex/objects/MD5E-s10--d41d8cd98f00b204e9800998ecf8427e.nii.gz\\n")
    True
    """
    return len(content) <= LONGEST_POINTER and content.startswith(f"/{_OBJECTS}".encode())
