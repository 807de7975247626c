"""Progress of a run, from its records: counts by stage and reason, pace and estimated end.

Records are written by rename. The command can therefore read them during a run, from any machine
that sees the folder.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Iterator

import pyarrow.parquet as pq

from cmburden.core.errors import CMBurdenError
from cmburden.core.files import locked
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.core.stages import RECORDED_STAGES
from cmburden.run import settings
from cmburden.run.pace import Cost, costs

#: Seconds over which the pace is measured: the number of nodes on a cluster changes over a day.
WINDOW_S = 1800.0


@dataclasses.dataclass(frozen=True)
class StageProgress:
    """``counts``: scans by (status, reason). ``cost`` of a scan; None if no job tells it yet."""

    stage: str
    counts: Counter
    cost: Cost | None
    #: Records written within the window.
    recent: int

    @property
    def ended(self) -> int:
        return sum(self.counts.values())


@dataclasses.dataclass(frozen=True)
class Progress:
    """``window_s``: age of the run in seconds, at most ``WINDOW_S``; None if no run is at work."""

    scans: int
    stages: tuple[StageProgress, ...]
    window_s: float | None

    def left(self, stage: StageProgress) -> int:
        """Scans that the stage has not ended."""
        return max(self.scans - stage.ended, 0)

    @property
    def unknown(self) -> list[str]:
        """Stages with scans left whose cost no job has told yet."""
        return [s.stage for s in self.stages if self.left(s) and s.cost is None]

    @property
    def left_s(self) -> tuple[float, float] | None:
        """Seconds to the end of the stages of known cost: shortest and longest.

        The work that is left, divided by the pace. The pace is the work in the window, divided by
        the window. Work is counted in core-seconds of whole jobs, so that slow and fast stages
        count by what they take. None if no run is at work, or no scan has ended in the window.
        """
        if self.window_s is None:
            return None
        priced = [(s, s.cost) for s in self.stages if s.cost is not None]
        done = sum(cost.mean * s.recent for s, cost in priced)
        if not done:
            return None
        pace = done / self.window_s
        mean = sum(cost.mean * self.left(s) for s, cost in priced)
        error = sum(cost.error * self.left(s) for s, cost in priced)
        return max(mean - error, 0.0) / pace, (mean + error) / pace


def expected(layout: Layout) -> int:
    """Number of scans of the manifest; raises CMBurdenError if nothing was run."""
    if not layout.manifest.exists():
        raise CMBurdenError(f"{layout.root}: nothing was run here yet")
    return pq.read_metadata(layout.manifest).num_rows


def outcomes(layout: Layout, stage: str) -> Iterator[tuple[Outcome, float]]:
    """Records of a stage with their times (seconds of the epoch), in order of names.

    A record that is removed meanwhile, or that is torn, is skipped: aggregate reports the record.
    """
    folder = layout.record(stage, "x").parent
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.name.endswith(".json"))
    for name in names:
        if name.startswith("."):
            continue  # being written
        try:
            path = folder / name
            outcome, written = Outcome.read(path), path.stat().st_mtime
        except OSError:
            continue
        if outcome.was_run:
            yield outcome, written


def fate(layout: Layout, scan_id: str) -> tuple[str, str]:
    """Status and reason of a scan, by the first stage that is not ok; not_run without a result."""
    for stage in RECORDED_STAGES:
        try:
            outcome = Outcome.read(layout.record(stage, scan_id))
        except (OSError, ValueError, TypeError):
            return "failed", "not_run"
        if not outcome.ok:
            return outcome.status, outcome.reason or ""
    return "ok", ""


def of(layout: Layout, now: float | None = None) -> Progress:
    """Progress of the scans of the present manifest. Records of other scans do not count."""
    config = settings.of_run(layout)
    part = config["analysis_level"] == "part" and layout.part.exists()
    path = layout.part if part else layout.manifest
    ids = set(pq.read_table(path, columns=["scan_id"], partitioning=None)["scan_id"].to_pylist())
    now = time.time() if now is None else now
    began = _running_since(layout)
    since = None if began is None else max(began, now - WINDOW_S)
    counts, written = _tallied(layout, ids, since)
    cost = costs(layout, ids, config["buckets"], config["threads"], written) if began else {}
    stages = tuple(
        StageProgress(stage, counts[stage], cost.get(stage), len(written[stage]))
        for stage in RECORDED_STAGES
    )
    return Progress(len(ids), stages, None if since is None else max(now - since, 1.0))


def _tallied(
    layout: Layout, ids: set[str], since: float | None
) -> tuple[dict[str, Counter[tuple[str, str]]], dict[str, dict[str, float]]]:
    """By stage: scans by (status, reason), and the times of records written from ``since`` on."""
    counts: dict[str, Counter[tuple[str, str]]] = {stage: Counter() for stage in RECORDED_STAGES}
    written: dict[str, dict[str, float]] = {stage: {} for stage in RECORDED_STAGES}
    for stage in RECORDED_STAGES:
        for outcome, at in outcomes(layout, stage):
            if outcome.scan_id not in ids:
                continue
            counts[stage][outcome.status, outcome.reason or ""] += 1
            if since is not None and at >= since:
                written[stage][outcome.scan_id] = at
    return counts, written


def _running_since(layout: Layout) -> float | None:
    """Start of the run that is at work; None if no run is, or if the lock cannot be read."""
    if not layout.lock.exists():
        return None
    try:
        with locked(layout.lock):
            return None
    except BlockingIOError:
        return layout.lock.stat().st_mtime
    except OSError:
        return None  # the folder of another user


def as_text(progress: Progress) -> str:
    lines = []
    for stage in progress.stages:
        share = stage.ended / progress.scans if progress.scans else 1.0
        lines.append(f"{stage.stage}: {stage.ended} of {progress.scans} scans ({share:.0%})")
        lines += [
            f"  {status:<9}{reason:<18}{number:>6}"
            for (status, reason), number in sorted(stage.counts.items())
        ]
    if progress.window_s is None:
        return "\n".join([*lines, "No run is at work here."])
    return "\n".join([*lines, _end(progress, progress.window_s)])


def _end(progress: Progress, window_s: float) -> str:
    """The sentence about the end of the run at work."""
    if not any(progress.left(stage) for stage in progress.stages):
        return "A run is at work: all scans have ended, tables and report are being made."
    recent = sum(stage.recent for stage in progress.stages)
    if not recent:
        return "A run is at work; no scan has ended since it began."
    text = f"A run is at work: {recent} results in the last {lasting(window_s)}"
    left, unknown = progress.left_s, progress.unknown
    rest = f"the time of {', '.join(unknown)} cannot be told before a first job of it has ended"
    known = [s.stage for s in progress.stages if progress.left(s) and s.cost is not None]
    if left is None or not known:
        return f"{text}; {rest if unknown else 'the rest cannot be told yet'}."
    short, long = left
    now = time.time()
    what = f"what is left of {', '.join(known)} takes" if unknown else "the scans end in"
    text += f"; {what} {lasting(short)} to {lasting(long)}"
    text += f" ({_clock(now + short)} to {_clock(now + long)})"
    return f"{text}; {rest}." if unknown else f"{text}."


def _clock(at: float) -> str:
    """Date and time, or the time alone today."""
    moment = time.localtime(at)
    today = time.strftime("%Y-%m-%d", moment) == time.strftime("%Y-%m-%d")
    return time.strftime("%H:%M" if today else "%Y-%m-%d %H:%M", moment)


def lasting(seconds: float) -> str:
    """
    >>> lasting(50), lasting(3000), lasting(90000)
    ('50 s', '50 min', '25.0 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"
