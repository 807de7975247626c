"""What a scan costs in a stage: the time of whole jobs, with loading, pictures and waiting.

The seconds in records are those of the work alone. An end that is reckoned from them slides.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from cmburden.core.keys import bucket_of
from cmburden.core.paths import Layout
from cmburden.core.stages import BUCKET_STAGES, SCAN_STAGES

#: Least relative error of a mean: jobs of one cohort differ that much from hour to hour (by eye).
LEAST_ERROR = 0.1
#: Scans of a bucket's running job from which the job's pace is taken (by eye).
LEAST_SCANS = 4
#: Standard errors on both sides of a mean: 95 % of a normal distribution.
_Z = 1.96


@dataclasses.dataclass(frozen=True)
class Cost:
    """Core-seconds of a scan in a stage: wall time of the job times its threads.

    ``error`` is the half width of the interval of the mean.
    """

    mean: float
    error: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Cost | None:
        """Mean and error of ``samples``; None without any."""
        if not samples:
            return None
        n = len(samples)
        mean = sum(samples) / n
        # One sample says nothing of the spread: as much as half of it.
        spread = 0.5 * mean
        if n > 1:
            spread = math.sqrt(sum((s - mean) ** 2 for s in samples) / (n - 1)) / math.sqrt(n)
        return cls(mean, max(_Z * spread, LEAST_ERROR * mean))


def costs(
    layout: Layout,
    scan_ids: Iterable[str],
    buckets: int,
    threads: int,
    written: dict[str, dict[str, float]],
) -> dict[str, Cost | None]:
    """Cost of a scan in each stage; None where no job has ended or is well under way.

    ``written``: stage -> scan -> time of its record in the run at work, seconds of the epoch.
    """
    in_bucket: dict[int, list[str]] = defaultdict(list)
    for scan_id in scan_ids:
        in_bucket[bucket_of(scan_id, buckets)].append(scan_id)
    known = [scan_id for own in in_bucket.values() for scan_id in own]
    result: dict[str, Cost | None] = {}
    for stage in SCAN_STAGES:
        seconds = [_seconds(layout, stage, scan_id) for scan_id in known]
        result[stage] = Cost.of([s for s in seconds if s is not None])
    for stage in BUCKET_STAGES:
        samples = []
        for bucket, own in in_bucket.items():
            seconds_of_job = _seconds(layout, stage, str(bucket))
            if seconds_of_job is not None:
                samples.append(threads * seconds_of_job / len(own))
        if not samples:
            samples = _under_way(in_bucket, written.get(stage, {}), threads)
        result[stage] = Cost.of(samples)
    return result


def _seconds(layout: Layout, stage: str, unit: str) -> float | None:
    """Wall time of a job from its benchmark file; None if there is none, or a torn one."""
    try:
        with layout.benchmark(stage, unit).open(encoding="utf-8") as stream:
            names, values = (next(stream).rstrip("\n").split("\t") for _ in range(2))
        return float(values[names.index("s")])
    except (OSError, ValueError, StopIteration, RuntimeError, IndexError):
        return None


def _under_way(
    in_bucket: dict[int, list[str]], written: dict[str, float], threads: int
) -> list[float]:
    """Core-seconds between the records that running jobs have written one after another."""
    samples = []
    for own in in_bucket.values():
        times = sorted(written[scan_id] for scan_id in own if scan_id in written)
        if len(times) >= LEAST_SCANS:
            samples.append(threads * (times[-1] - times[0]) / (len(times) - 1))
    return samples
