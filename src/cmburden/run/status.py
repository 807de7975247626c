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

#: Seconds over which the pace is measured: the number of nodes on a cluster changes over a day.
WINDOW_S = 1800.0
#: Seconds a scan, for a stage without results: `make demo` on two cores (docs/evaluation.md).
USUAL_S = {"preprocess": 15.0, "register": 15.0, "detect": 4.0, "verify": 3.0}


@dataclasses.dataclass(frozen=True)
class StageProgress:
    """``counts``: scans by (status, reason); ``seconds``: mean over the scans with status ok."""

    stage: str
    counts: Counter
    seconds: float | None
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

    @property
    def left_s(self) -> float | None:
        """Seconds to the end at the present pace; None if no run is at work or no scan has ended.

        The time left is the work that is left, divided by the work in the window. Work is counted
        in seconds of a scan in a stage, so that slow and fast stages count by their cost.
        """
        if self.window_s is None:
            return None
        cost = {s.stage: USUAL_S[s.stage] if s.seconds is None else s.seconds for s in self.stages}
        done = sum(cost[s.stage] * s.recent for s in self.stages)
        left = sum(cost[s.stage] * max(self.scans - s.ended, 0) for s in self.stages)
        if not left:
            return 0.0
        return left / done * self.window_s if done else None


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
            yield Outcome.read(path), path.stat().st_mtime
        except (OSError, ValueError, TypeError):
            continue


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
    scans = expected(layout)
    ids = set(pq.read_table(layout.manifest, columns=["scan_id"])["scan_id"].to_pylist())
    now = time.time() if now is None else now
    began = _running_since(layout)
    since = None if began is None else max(began, now - WINDOW_S)
    stages = []
    for stage in RECORDED_STAGES:
        counts: Counter[tuple[str, str]] = Counter()
        seconds, recent = [], 0
        for outcome, written in outcomes(layout, stage):
            if outcome.scan_id not in ids:
                continue
            counts[outcome.status, outcome.reason or ""] += 1
            if outcome.ok and outcome.seconds is not None:
                seconds.append(outcome.seconds)
            recent += since is not None and written >= since
        mean = sum(seconds) / len(seconds) if seconds else None
        stages.append(StageProgress(stage, counts, mean, recent))
    return Progress(scans, tuple(stages), None if since is None else max(now - since, 1.0))


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
    left = progress.left_s
    if left is None:
        lines.append("A run is at work; no scan has ended since it began.")
    elif not left:
        lines.append("A run is at work: all scans have ended, tables and report are being made.")
    else:
        end = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + left))
        recent = sum(stage.recent for stage in progress.stages)
        lines.append(
            f"A run is at work: {recent} results in the last {_lasting(progress.window_s)}; "
            f"at this pace the scans end in {_lasting(left)}, {end}."
        )
    return "\n".join(lines)


def _lasting(seconds: float) -> str:
    """
    >>> _lasting(50), _lasting(3000), _lasting(90000)
    ('50 s', '50 min', '25.0 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"
