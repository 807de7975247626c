"""Runs a job's work in a process of its own, and outlives that process.

A process that is killed (no memory, a fault within ANTs) leaves no record, and without the record
of one scan no table of the cohort can be made. The supervisor starts the work again. The new
process knows from ``core.tries`` of whom the last one died, and records a scan as crashed of whom
two did.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from pathlib import Path

from cmburden.core import tries

#: Exit code of a process whose work shall begin anew in another one.
RESTART = 75
#: Seconds that an interrupted process has to end in order.
_TO_END_S = 10


def watch(work: Callable[[bool], None], counts: Path, log: Path, *, restart: bool) -> None:
    """Do ``work`` in a process; start it again where it was killed at work on a scan.

    Parameters
    ----------
    work : callable
        Its argument is True in a second and later process.
    counts : Path
        The file of ``core.tries`` that ``work`` writes.
    log : Path
        The job's log.
    restart : bool
        False where Snakemake starts the whole job again, with more memory.

    Raises
    ------
    SystemExit
        With the exit code of the process, or with a sentence where the process was killed and no
        scan is to blame.
    """
    # The process is forked: it has all modules that this one has, in milliseconds. The modules that
    # start threads (torch, ITK) are imported by the work.
    context = multiprocessing.get_context("fork")
    tries.settle(counts)
    again = False
    while True:
        process = context.Process(target=work, args=(again,))
        process.start()
        code = _exit_code(process)
        again = True
        if code == 0:
            return
        if code > 0 and code != RESTART:
            sys.exit(code)
        what = "the work begins anew" if code > 0 else f"the process was {_killed(-code)}"
        _append(log, what)
        if code < 0 and not tries.settle(counts, -code):
            sys.exit(f"cmburden: {what}, not at work on a scan; log: {log.absolute()}")
        if not restart:
            sys.exit(f"cmburden: {what}; the job is tried again; log: {log.absolute()}")


def _exit_code(process: ForkProcess) -> int:
    """Exit code of ``process`` when it ends, negative for a signal. An interrupt ends it too."""
    try:
        process.join()
    except BaseException:
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, signal.SIGINT)
        process.join(_TO_END_S)
        process.kill()
        raise
    return process.exitcode or 0


def _killed(number: int) -> str:
    """
    >>> _killed(9)
    'killed (signal 9: often for want of memory)'
    """
    return f"killed{tries.cause(number)}"


def _append(log: Path, what: str) -> None:
    """Write a line to the job's log. A full disk must not hide what happened to the scan."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as stream:
            stream.write(f"ERROR {what}\n")
    except OSError as error:
        print(f"cmburden: {log}: {error.strerror}", file=sys.stderr)
