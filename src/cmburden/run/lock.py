"""The lock of an output folder: one command at a time changes the folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from cmburden.core.errors import CMBurdenError
from cmburden.core.files import locked
from cmburden.core.paths import Layout

#: Seconds to wait for the lock of the output folder: `cmburden status` holds it for a moment.
_WAIT_S = 2
#: Holds the locks of a Snakemake that no `cmburden run` has started until its process ends.
_FOR_THE_PROCESS = contextlib.ExitStack()
_HELD: set[Path] = set()


@contextlib.contextmanager
def only_run(layout: Layout) -> Iterator[int]:
    """Lock the output folder: two runs would overwrite each other's manifest.

    Yields the lock's descriptor, for all processes of the run.
    """
    with contextlib.ExitStack() as stack:
        try:
            descriptor = stack.enter_context(locked(layout.lock, wait=_WAIT_S))
        except BlockingIOError:
            raise CMBurdenError(
                f"{layout.root}: another run is at work here; wait for it, or name another folder "
                "(cmburden status shows how far it is)"
            ) from None
        # The lock's time tells `cmburden status` when this run began.
        os.utime(layout.lock)
        yield descriptor


def hold(layout: Layout) -> None:
    """Lock the output folder until this process ends, as :func:`only_run` does."""
    path = layout.lock.resolve()
    if path not in _HELD:
        _FOR_THE_PROCESS.enter_context(only_run(layout))
        _HELD.add(path)
