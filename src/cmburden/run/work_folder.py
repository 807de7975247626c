"""The option ``--work-dir``: intermediate results elsewhere, and a link to them in the output.

The path builder knows one place of ``work``. A link keeps this true.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout

#: Letters of the hash that tells output folders apart which share a work folder.
_LETTERS = 12


def place(layout: Layout, folder: Path) -> str | None:
    """Make ``layout.work`` a link to a folder of its own below ``folder``.

    Returns
    -------
    str or None
        A sentence where intermediate results of earlier runs are gone.

    Raises
    ------
    CMBurdenError
        If intermediate results lie elsewhere already.
    """
    own = _own(layout, folder)
    work, note = layout.work, None
    if work.is_symlink():
        if work.readlink() != own and work.exists():
            raise _elsewhere(layout, work.resolve(), own)
        if not work.exists():
            note = (
                f"{work.readlink()} is gone, and the settings and results of earlier runs with it: "
                "all scans are processed anew, from the defaults and what this command gives"
            )
        work.unlink()
    elif work.is_dir():
        if any(work.iterdir()):
            raise _elsewhere(layout, work, own)
        work.rmdir()
    own.mkdir(parents=True, exist_ok=True)
    layout.root.mkdir(parents=True, exist_ok=True)
    work.symlink_to(own)
    return note


def check(layout: Layout, folder: Path | None = None) -> None:
    """Refuse a command on an output folder whose link leads nowhere, unless it names ``folder``."""
    if folder is None and layout.work.is_symlink() and not layout.work.exists():
        raise CMBurdenError(
            f"{layout.work.readlink()}: the intermediate results of {layout.root} were there and "
            "are not; use the machine that has them, or run with --work-dir to begin anew"
        )


def _own(layout: Layout, folder: Path) -> Path:
    """The part of ``folder`` that belongs to this output folder alone."""
    root = layout.root.absolute()
    return folder.absolute() / (
        f"cmburden-{root.name}-{hashlib.sha256(str(root).encode()).hexdigest()[:_LETTERS]}"
    )


def _elsewhere(layout: Layout, now: Path, own: Path) -> CMBurdenError:
    return CMBurdenError(
        f"--work-dir: the intermediate results of {layout.root} lie in {now} already; leave the "
        f"option out, or move them first: mv {now} {own} && ln -sfn {own} {layout.work}"
    )
