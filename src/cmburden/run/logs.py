"""Logs of jobs: what a process prints and logs goes into a file.

A job of several scans has a log of its own, and one for each scan.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from cmburden import __version__
from cmburden.core.carry_out import RestartJob
from cmburden.core.errors import CMBurdenError, sentence
from cmburden.core.stages import version_of
from cmburden.core.threads import bound_threads
from cmburden.run import supervisor


@contextmanager
def logged(log: str, threads: int = 1, *, again: bool = False) -> Iterator[None]:
    """Send stdout, stderr and logging of this process to ``log``; limit the libraries' threads.

    An error that the user can mend ends the job with a sentence among Snakemake's messages.
    ``again``: the log of the job's first process goes on.
    """
    bound_threads(threads)
    # If the log cannot be written (full disk), the cause of the job's failure must still be seen.
    logging.raiseExceptions = False
    try:
        with into(Path(log), again=again):
            yield
    except RestartJob:
        sys.exit(supervisor.RESTART)
    except (CMBurdenError, OSError) as error:
        advice = sentence(error)
        if advice is None:
            raise
        sys.exit(f"cmburden: {advice}; log: {Path(log).resolve()}")


#: A line of a log, and its time.
_LINE, _TIME = "%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"


def note_stage(stage: str, settings: dict[str, Any]) -> None:
    """Log what made the lines that follow: versions and settings of the stage."""
    logging.info("CMBurden %s, %s version %d", __version__, stage, version_of(stage))
    logging.info("settings of %s: %s", stage, json.dumps(settings, sort_keys=True, default=str))


class _ToFile(logging.StreamHandler[TextIO]):
    """Writes the lines of a job into its log."""


@contextmanager
def into(log: Path, *, again: bool = False) -> Iterator[None]:
    """Send stdout, stderr and logging to ``log``; afterwards they go where they went before.

    ``again``: the file goes on; else it begins anew.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        opened = log.open("a" if again else "w", buffering=1, encoding="utf-8")
    except OSError as error:
        raise CMBurdenError(
            f"{log}: the log cannot be written ({error.strerror}); make room for it and run again"
        ) from error
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    outer = next((handler.stream for handler in before if isinstance(handler, _ToFile)), None)
    with opened as stream, redirect_stdout(stream), redirect_stderr(stream):
        to_file = _ToFile(stream)
        to_file.setFormatter(logging.Formatter(_LINE, _TIME))
        root.handlers[:] = [to_file]
        root.setLevel(logging.INFO)
        try:
            with _faults_into(stream, outer):
                yield
        except BaseException:
            logging.exception("the job failed")
            raise
        finally:
            root.handlers[:] = before
            root.setLevel(level)


@contextmanager
def _faults_into(stream: TextIO, outer: TextIO | None) -> Iterator[None]:
    """A fault within a library ends the process: its place in our code stands in the log.

    ``outer`` is the log of the job around; without one, an earlier choice of the process stands.
    """
    if outer is None and faulthandler.is_enabled():
        yield
        return
    faulthandler.enable(stream)
    try:
        yield
    finally:
        if outer is None:
            faulthandler.disable()
        else:
            faulthandler.enable(outer)
