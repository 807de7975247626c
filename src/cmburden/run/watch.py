"""Snakemake at work, and what a person sees of it: scans by name, stages, and the time left.

Snakemake speaks of job numbers. Its messages go to ``logs/snakemake/all.log``; those of faults are
shown. What is shown of scans comes from their records, as in `cmburden status`. On a terminal there
is one line that changes; elsewhere a line a minute, with date and time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from tqdm import tqdm

from cmburden import RESEARCH_USE_ONLY, __version__
from cmburden.core import config as configuration
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.core.stages import RECORDED_STAGES
from cmburden.run import settings, status

#: Seconds between looks at the records, and between lines where there is no terminal.
_LOOK_S, _LINE_S = 1.0, 60.0
#: Seconds between estimates of the end, and most of this process's time that looks may take.
_ESTIMATE_S, _MOST_SHARE = 30.0, 0.02
#: Seconds that Snakemake has to end its jobs after an interrupt.
_TO_END_S = 60
#: Snakemake's messages that say nothing of a fault.
_ROUTINE = re.compile(
    r"\s*$|Assuming unrestricted|Building DAG|Using shell|Provided |Rules claiming|Job stats|"
    r"job +count|-+ +-+|\w+ +\d+$|Select jobs|Execute \d|Finished jobid|\[\w{3} |\d+ of \d+ steps|"
    r"Complete log|Elapsed time|Singularity|Apptainer|SLURM run ID|host: "
)


@dataclasses.dataclass(frozen=True)
class Manner:
    """``seen``: whether progress is shown; ``verbose``: whether Snakemake's messages are, all."""

    seen: bool = True
    verbose: bool = False
    stop_at_first_failure: bool = False


def watched(
    command: list[str],
    layout: Layout,
    config: dict[str, Any],
    environment: dict[str, str],
    lock: int,
    manner: Manner,
) -> int:
    """Run Snakemake's ``command``, show progress, and return the exit code."""
    log = layout.log("snakemake")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as stream:
        stream.write(heading(config))
        stream.flush()
        hidden = manner.seen and not manner.verbose
        # Before Snakemake begins: no record of its is missed.
        watch = Watch(layout, config, manner, Tail(log) if hidden else None)
        process = subprocess.Popen(
            command,
            env=environment,
            pass_fds=[lock],
            # A file and not a pipe: Snakemake goes on if only this process is killed.
            stderr=stream if hidden else None,
            stdout=stream if hidden else None,
        )
        if not manner.seen:
            return _end(process)
        watch.begin(process)
        try:
            return _end(process)
        finally:
            watch.stop()


def _end(process: subprocess.Popen[bytes]) -> int:
    """Exit code of ``process``. After an interrupt it has time to end its jobs in order."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        try:
            process.wait(_TO_END_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()
        raise
    except BaseException:
        process.kill()
        process.wait()
        raise


def heading(config: dict[str, Any]) -> str:
    """The first lines of a run in the log: time, version, level, settings that are no defaults.

    Labels of people are left out.
    """
    left_out = {*settings.OF_ONE_COMMAND, "bids_dir", "output_dir"}
    usual = configuration.flat(configuration.defaults())
    own = {
        key: value
        for key, value in configuration.flat(config).items()
        if key not in left_out and usual.get(key) != value
    }
    told = "; ".join(f"{key}={value}" for key, value in own.items()) or "all are the defaults"
    return (
        f"{_now()} CMBurden {__version__}, {config['analysis_level']} level. "
        f"{RESEARCH_USE_ONLY}\n{_now()} settings: {told}\n"
    )


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


class Tail:
    """New lines of a file that grows."""

    def __init__(self, path: Path):
        self._path, self._at, self._rest = path, path.stat().st_size, b""

    def lines(self) -> Iterator[str]:
        """Whole lines since the last call."""
        with self._path.open("rb") as stream:
            stream.seek(self._at)
            text = stream.read()
        self._at += len(text)
        *whole, self._rest = (self._rest + text).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in whole)


class Records:
    """Records of the stages that have appeared since the last look.

    ``ended``: by stage the number of ``scan_ids`` with a record. Records that were there before
    the run count; a run that makes them again reports them again.
    """

    def __init__(self, layout: Layout, scan_ids: set[str]):
        self._layout, self._ids = layout, scan_ids
        self._known: dict[str, dict[str, int]] = {stage: {} for stage in RECORDED_STAGES}
        for _ in self._fresh():
            pass

    @property
    def ended(self) -> dict[str, int]:
        return {stage: len(known) for stage, known in self._known.items()}

    def new(self) -> Iterator[Outcome]:
        """Outcomes written since the last look, in the order of stages and of time."""
        for stage, scan_id in self._fresh():
            outcome = Outcome.read(self._layout.record(stage, scan_id))
            if outcome.was_run:
                yield outcome

    def _fresh(self) -> Iterator[tuple[str, str]]:
        for stage, known in self._known.items():
            written = dict(self._written(stage))
            fresh = [s for s, at in written.items() if known.get(s) != at]
            self._known[stage] = written
            yield from ((stage, scan_id) for scan_id in sorted(fresh, key=written.__getitem__))

    def _written(self, stage: str) -> Iterator[tuple[str, int]]:
        """Scans with a record of ``stage``, and its time, ns."""
        try:
            with os.scandir(self._layout.record(stage, "x").parent) as entries:
                for entry in entries:
                    scan_id = entry.name.removesuffix(".json")
                    if scan_id in self._ids and entry.name.endswith(".json"):
                        yield scan_id, entry.stat().st_mtime_ns
        except FileNotFoundError:
            return


class Watch(threading.Thread):
    """Looks at the records while Snakemake works, and says what has happened."""

    def __init__(
        self,
        layout: Layout,
        config: dict[str, Any],
        manner: Manner,
        tail: Tail | None,
    ):
        super().__init__(daemon=True)
        self._layout, self._manner, self._tail = layout, manner, tail
        self._process: subprocess.Popen[bytes] | None = None
        part = config["analysis_level"] == "part" and layout.part.exists()
        manifest = layout.part if part else layout.manifest
        ids = pq.read_table(manifest, columns=["scan_id"], partitioning=None)["scan_id"]
        self._scans = set(ids.to_pylist())
        self._records = Records(layout, self._scans)
        self._shown = Shown(len(self._scans))
        self._ended = threading.Event()
        self._left, self._estimate_at = "", time.monotonic() + _ESTIMATE_S

    def begin(self, process: subprocess.Popen[bytes]) -> None:
        """Begin to look while ``process`` works."""
        self._process = process
        self._shown.begin()
        self.start()

    def run(self) -> None:
        """Look until :meth:`stop`. What cannot be read now is looked at again."""
        pause = _LOOK_S
        while not self._ended.wait(pause):
            began = time.monotonic()
            try:
                self._look()
            except (OSError, ValueError, KeyError) as error:
                # A display must not end a run.
                self._shown.say(f"progress cannot be shown now ({error})")
            pause = max(_LOOK_S, (time.monotonic() - began) / _MOST_SHARE)

    def stop(self) -> None:
        """Take a last look and end the display."""
        self._ended.set()
        self.join()
        with contextlib.suppress(OSError, ValueError, KeyError):
            self._look()
        self._shown.close()

    def _look(self) -> None:
        for line in self._tail.lines() if self._tail else ():
            if not _ROUTINE.match(line):
                self._shown.say(line)
        for outcome in self._records.new():
            self._shown.last = f"{outcome.scan_id} ({outcome.stage})"
            if outcome.ok or outcome.reason == "upstream":
                continue
            self._shown.say(
                f"{outcome.scan_id}: {outcome.status} at {outcome.stage} "
                f"({outcome.reason}). {outcome.message or ''}".rstrip()
            )
            if outcome.status == "failed" and self._manner.stop_at_first_failure:
                self._stop_run(outcome.scan_id)
        self._estimate()
        self._shown.show(self._records.ended, self._left)

    def _stop_run(self, scan_id: str) -> None:
        if self._process is not None and self._process.poll() is None and not self._ended.is_set():
            self._shown.say(f"--stop-on-first-crash: the run ends, since {scan_id} failed")
            self._process.send_signal(signal.SIGINT)
            self._manner = dataclasses.replace(self._manner, stop_at_first_failure=False)

    def _estimate(self) -> None:
        """Say anew how long the scans will take, now and then: it reads all records."""
        began = time.monotonic()
        if began < self._estimate_at or self._ended.is_set():
            return
        progress = status.of(self._layout)
        left = progress.left_s if not progress.unknown else None
        if left is not None:
            self._left = f"{status.lasting(left[0])} to {status.lasting(left[1])} left"
        taken = time.monotonic() - began
        self._estimate_at = began + max(_ESTIMATE_S, taken / _MOST_SHARE)


def _is_terminal() -> bool:
    """Whether the standard error is a terminal that knows its width."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):
        return False


class Shown:
    """The display: one line that changes on a terminal, else lines with date and time."""

    def __init__(self, scans: int):
        self.last = ""
        self._scans, self._line_at, self._text, self._said = scans, time.monotonic(), "", ""
        self._bar: tqdm[Any] | None = None

    def begin(self) -> None:
        """Draw the line that changes, on a terminal."""
        if self._scans and _is_terminal():
            self._bar = tqdm(
                total=self._scans * len(RECORDED_STAGES),
                bar_format="{percentage:3.0f}% |{bar:16}| {desc}",
                leave=False,
                file=sys.stderr,
                dynamic_ncols=True,
            )

    def say(self, line: str) -> None:
        """Print a line that stays."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(f"{_now()} {line}", file=sys.stderr, flush=True)

    def show(self, ended: dict[str, int], left: str) -> None:
        """Show how many scans each stage has ended."""
        stages = ", ".join(f"{stage} {number}" for stage, number in ended.items())
        text = " | ".join(filter(None, (f"{stages} of {self._scans}", self.last, left)))
        if self._bar is not None:
            self._bar.n = sum(ended.values())
            self._bar.set_description_str(text)
            return
        self._text = text
        if time.monotonic() >= self._line_at:
            self._line_at = time.monotonic() + _LINE_S
            self._say_once()

    def _say_once(self) -> None:
        if self._text != self._said:
            self._said = self._text
            self.say(self._text)

    def close(self) -> None:
        """Remove the line that changes, or print the last state."""
        if self._bar is not None:
            self._bar.close()
        else:
            self._say_once()
