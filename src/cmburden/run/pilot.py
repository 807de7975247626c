"""A pilot: runs some scans, then estimates the cost of the whole cohort from their benchmark files.

The pilot works in the cohort's own output folder, so that the whole run does not repeat its scans.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from cmburden.core.errors import CMBurdenError
from cmburden.core.files import read_json
from cmburden.core.keys import hash_of
from cmburden.core.markdown import table as markdown_table
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.core.stages import BUCKET_STAGES, SCAN_STAGES
from cmburden.core.tables import MANIFEST
from cmburden.run import options, settings
from cmburden.run.participants import Request, run

#: Seconds of a SLURM job before its work: Snakemake starts and parses the Snakefile (5-8 s
#: measured).
START_S = 7
#: Longest time of a bucket's job, s, without advice to take more buckets: half of its time limit
#: (workflow/rules/detect.smk), since other nodes may be slower than the pilot's.
BUCKET_S = 3600
#: Least share of a processor at which the pilot's times hold for other machines (by eye). Other
#: work or the disk slowed jobs of one thread with a smaller share.
LEAST_BUSY = 0.7
_HOUR_S = 3600
#: Unit of ``stat``'s number of blocks, bytes (POSIX).
_BLOCK = 512
#: Kinds of files in OUTPUT_DIR, by the path there. A file is of the first kind that fits.
KINDS: tuple[tuple[str, Callable[[Path], bool]], ...] = (
    ("preprocessed volumes", lambda p: "_desc-preproc_" in p.name),
    ("brain masks", lambda p: "_desc-brain_mask" in p.name),
    ("regions", lambda p: "_desc-MARS_dseg" in p.name),
    ("lesion labels and tables", lambda p: "label-CMB_dseg" in p.name or "desc-CMB_les" in p.name),
    ("pictures and pages", lambda p: p.suffix in (".png", ".html", ".svg")),
    ("transforms", lambda p: "_xfm." in p.name),
    ("cached results (work)", lambda p: p.parts[:2] == ("work", "cache")),
    ("Snakemake's memory (work)", lambda p: p.parts[:2] == ("work", ".snakemake")),
    ("records and shards (work)", lambda p: p.parts[0] == "work"),
    ("logs", lambda p: p.parts[0] == "logs"),
    ("tables and the rest", lambda p: True),
)


@dataclasses.dataclass(frozen=True)
class StageCost:
    """Cost of a stage for the whole cohort.

    ``hours`` are CPU-hours as a site charges them: wall time of the jobs times their threads.
    ``gpu_hours`` are 0 if no GPU was used. ``busy`` is the processor time of preprocess or register
    over the wall time: their jobs have one thread. ``busy`` is None for other stages.
    """

    stage: str
    jobs: int
    seconds_a_scan: float
    hours: float
    gpu_hours: float
    max_rss_mb: float
    busy: float | None = None


@dataclasses.dataclass(frozen=True)
class DiskCost:
    """Files of one kind: bytes and number per scan."""

    kind: str
    bytes_a_scan: float
    files_a_scan: float


@dataclasses.dataclass(frozen=True)
class Cost:
    """Cost of ``scans`` scans, estimated from ``measured`` ones.

    ``buckets`` is the configured number, ``bucket_seconds`` the expected wall time of the longest
    bucket's job.
    """

    measured: int
    scans: int
    buckets: int
    stages: tuple[StageCost, ...]
    disk: tuple[DiskCost, ...]
    bucket_seconds: float


# --- which scans ---


def choose(scans: list[tuple[str, str]], number: int) -> list[str]:
    """Participants of ``scans`` (participant, suffix) with about ``number`` scans in all.

    Each suffix has its share and at least one scan. Participants of a suffix are taken in the order
    of a hash of their id: labels are often sorted by site, so that the first ones would be of one
    scanner.

    >>> scans = [(f"sub-{n}", "swi" if n % 5 == 0 else "T2starw") for n in range(100)]
    >>> chosen = choose(scans, 10)
    >>> sum(int(name[4:]) % 5 == 0 for name in chosen), len(chosen)
    (2, 10)
    """
    by_participant: dict[str, Counter[str]] = defaultdict(Counter)
    for participant, suffix in scans:
        by_participant[participant][suffix] += 1
    whole = Counter(suffix for _, suffix in scans)
    missing = {s: max(1, round(number * n / len(scans))) for s, n in whole.items()}
    chosen = []
    for participant in sorted(by_participant, key=hash_of):
        suffixes = by_participant[participant]
        if any(missing[suffix] > 0 for suffix in suffixes):
            chosen.append(participant)
            for suffix, count in suffixes.items():
                missing[suffix] -= count
    return sorted(chosen)


# --- what they cost ---


@dataclasses.dataclass(frozen=True)
class _Pilot:
    """A pilot: the scans that were run (``measured``), and the numbers of the whole cohort."""

    layout: Layout
    measured: list[str]
    scans: int
    buckets: int
    #: Jobs of preprocess, and of register: at most one for each batch.
    batches: int
    threads: int


def estimate(layout: Layout, scans: int | None = None) -> Cost:
    """Cost of ``scans`` scans (by default those of the manifest), from the jobs that were run.

    Raises
    ------
    CMBurdenError
        If there is no benchmark file of any stage.
    """
    config = settings.of_run(layout)
    manifest = layout.part if config["analysis_level"] == "part" else layout.manifest
    measured = MANIFEST.read(manifest)["scan_id"].tolist()
    scans = scans or len(measured)
    buckets = min(config["buckets"], scans)
    batches = min(config["buckets"] * config["batches"], scans)
    pilot = _Pilot(layout, measured, scans, buckets, batches, config["threads"])
    stages = [_scan_stage(pilot, stage) for stage in SCAN_STAGES]
    longest = 0.0
    for stage in BUCKET_STAGES:
        cost, seconds = _bucket_stage(pilot, stage)
        stages.append(cost)
        longest = max(longest, seconds)
    # A bucket has at most one job of longitudinal, and none without a participant with several
    # sessions.
    for stage, jobs in (("longitudinal", buckets), ("aggregate", 1), ("report", 1)):
        stages.append(_cohort_stage(pilot, stage, jobs))
    costs = tuple(stage for stage in stages if stage is not None)
    if not costs:
        raise CMBurdenError(f"{layout.root}: no job has left a benchmark here; run the pilot first")
    # Other scans may have been run here before, so that the files are divided by all scans run.
    ever = len(list(layout.record("preprocess", "x").parent.glob("*.json")))
    return Cost(len(measured), scans, buckets, costs, disk(layout, max(ever, 1)), longest)


def benchmark_file(path: Path) -> pd.DataFrame:
    """A benchmark file of Snakemake: a row per job, columns s, max_rss (MB), cpu_time (s) ...

    Jobs that end within a second have no sample of memory and processor: NaN.
    """
    return pd.read_csv(path, sep="\t", na_values=["-", "NA"])


def benchmarks(paths: list[Path]) -> pd.DataFrame | None:
    """The jobs in the benchmark files that exist; None if no file exists."""
    tables = [benchmark_file(path) for path in paths if path.exists()]
    return pd.concat(tables) if tables else None


def _scan_stage(pilot: _Pilot, stage: str) -> StageCost | None:
    jobs = benchmarks([pilot.layout.benchmark(stage, scan_id) for scan_id in pilot.measured])
    if jobs is None:
        return None
    # The mean, not the median: a slow scan costs too, and the start of a job stands in its first.
    seconds = float(jobs["s"].mean())
    return StageCost(
        stage,
        jobs=pilot.batches,
        seconds_a_scan=seconds,
        hours=pilot.scans * seconds / _HOUR_S,
        gpu_hours=0.0,
        max_rss_mb=_peak(jobs),
        busy=float(jobs["cpu_time"].sum() / jobs["s"].sum()),
    )


def _bucket_stage(pilot: _Pilot, stage: str) -> tuple[StageCost | None, float]:
    """The stage's cost, and seconds of its longest job.

    A job's time has a part for the start (Python, loading of the network) and a part for each scan,
    which the records hold. The pilot has few scans per bucket, so that the mean time per scan would
    count the start too often.
    """
    layout, scans, buckets = pilot.layout, pilot.scans, pilot.buckets
    jobs = benchmarks(sorted(layout.benchmark(stage).parent.glob("*.tsv")))
    if jobs is None:
        return None, 0.0
    records = [path for s in pilot.measured if (path := layout.record(stage, s)).exists()]
    seconds = pd.Series([Outcome.read(path).seconds or 0.0 for path in records], dtype=float)
    # The median: the time of a job's first scan includes the loading of the network.
    a_scan = float(seconds.median()) if len(seconds) else 0.0
    once = max(0.0, float(jobs["s"].sum()) - a_scan * len(seconds)) / len(jobs)
    wall = buckets * once + scans * a_scan
    cost = StageCost(
        stage,
        jobs=buckets,
        seconds_a_scan=wall / scans,
        hours=wall * pilot.threads / _HOUR_S,
        gpu_hours=wall / _HOUR_S if _used_gpu(layout, stage) else 0.0,
        max_rss_mb=_peak(jobs),
    )
    return cost, once + a_scan * math.ceil(scans / buckets)


def _used_gpu(layout: Layout, stage: str) -> bool:
    """Whether a job of the stage names a device other than the processor."""
    devices = {
        run["device"]
        for path in layout.run_record(stage, "x").parent.glob("*.json")
        if isinstance(run := read_json(path), dict) and "device" in run
    }
    return bool(devices - {"cpu", "cached"})


def _cohort_stage(pilot: _Pilot, stage: str, number: int) -> StageCost | None:
    """A stage of ``number`` jobs with a cost in proportion to the number of scans.

    The pilot ran whole participants, so that several sessions are as frequent as in the cohort.
    """
    jobs = benchmarks(sorted(pilot.layout.benchmark(stage).parent.glob("*.tsv")))
    if jobs is None:
        return None
    # An upper bound: the start of Python does not grow with the number of scans.
    seconds = float(jobs["s"].sum()) / len(pilot.measured)
    return StageCost(
        stage,
        jobs=number,
        seconds_a_scan=seconds,
        hours=pilot.scans * seconds / _HOUR_S,
        gpu_hours=0.0,
        max_rss_mb=_peak(jobs),
    )


def _peak(jobs: pd.DataFrame) -> float:
    """Largest memory of a job, MB; a job without a sample counts as 0."""
    return float(jobs["max_rss"].fillna(0).max())


def disk(layout: Layout, scans: int) -> tuple[DiskCost, ...]:
    """Files below OUTPUT_DIR by kind, for each of ``scans`` scans."""
    size: Counter[str] = Counter()
    number: Counter[str] = Counter()
    elsewhere = layout.work.rglob("*") if layout.work.is_symlink() else ()  # --work-dir
    for path in (*layout.root.rglob("*"), *elsewhere):
        if path.is_file() and not path.is_symlink():
            below = path.relative_to(layout.root)
            kind = next(name for name, fits in KINDS if fits(below))
            # Blocks, not bytes: quotas count the blocks of small files.
            size[kind] += path.stat().st_blocks * _BLOCK
            number[kind] += 1
    return tuple(
        DiskCost(kind, size[kind] / scans, number[kind] / scans)
        for kind, _ in KINDS
        if number[kind]
    )


# --- as text ---


def markdown(cost: Cost, *, on_slurm: bool, cores: int | None = None) -> str:
    """The estimate as two tables, with remarks that follow from them.

    ``cores`` of this machine: also the time by the clock.
    """
    blocks = [
        f"{cost.scans} scans, from {cost.measured} that were run:",
        _stages_markdown(cost, on_slurm=on_slurm),
    ]
    busy = [stage.busy for stage in cost.stages if stage.busy is not None]
    if busy and min(busy) < LEAST_BUSY:
        blocks.append(
            "Something else was at work on the machine, or its disk is slow: the pilot's jobs got "
            f"only {min(busy):.0%} of a processor each. On a quiet machine preprocess and register "
            f"take about {min(busy):.0%} of the time above."
        )
    if not sum(stage.gpu_hours for stage in cost.stages):
        blocks.append("No GPU was used: the networks' time stands among the CPU-hours.")
    if cores and not on_slurm:
        hours = sum(stage.hours for stage in cost.stages) / cores
        blocks.append(f"By the clock, on {cores} processors of this machine: {_clock(hours)}.")
    blocks.append(disk_markdown(cost.disk, cost.scans))
    if cost.bucket_seconds > BUCKET_S:
        hours = cost.bucket_seconds / _HOUR_S
        better = math.ceil(cost.buckets * cost.bucket_seconds / BUCKET_S)
        blocks.append(
            f"A job of {cost.buckets} buckets would take {hours:.1f} hours; "
            f"set buckets={better} for one of an hour."
        )
    return "\n\n".join(blocks)


def _clock(hours: float) -> str:
    """
    >>> _clock(0.24), _clock(9.4), _clock(80)
    ('about 14 min', 'about 9.4 h', 'about 80 h')
    """
    if hours < 1:
        return f"about {hours * 60:.0f} min"
    return f"about {hours:.1f} h" if hours < 24 else f"about {hours:.0f} h"


def _stages_markdown(cost: Cost, *, on_slurm: bool) -> str:
    """A row per stage, the start of the jobs on SLURM, and the sums."""
    rows = [
        [
            stage.stage,
            stage.jobs,
            f"{stage.seconds_a_scan:.1f}",
            f"{stage.hours:.1f}",
            f"{stage.gpu_hours:.1f}",
            f"{stage.max_rss_mb:.0f}",
        ]
        for stage in cost.stages
    ]
    jobs = sum(stage.jobs for stage in cost.stages)
    hours = sum(stage.hours for stage in cost.stages)
    if on_slurm:
        start = jobs * START_S / _HOUR_S
        a_scan = jobs * START_S / cost.scans
        rows.append(
            [f"start of jobs, {START_S} s each", "", f"{a_scan:.1f}", f"{start:.1f}", "", ""]
        )
        hours += start
    gpu_hours = sum(stage.gpu_hours for stage in cost.stages)
    rows.append(["all", jobs, "", f"{hours:.1f}", f"{gpu_hours:.1f}", ""])
    header = ["stage", "jobs", "seconds a scan", "CPU-hours", "GPU-hours", "peak memory, MB"]
    return markdown_table(header, rows)


def disk_markdown(kinds: tuple[DiskCost, ...], scans: int) -> str:
    """A row per kind of file, their sum, and the sum without work/ and logs/."""
    permanent = tuple(d for d in kinds if "(work)" not in d.kind and d.kind != "logs")
    sums: list[tuple[str, tuple[DiskCost, ...]]] = [(d.kind, (d,)) for d in kinds]
    sums += [("all", kinds), ("all without work/ and logs/", permanent)]
    rows = []
    for name, members in sums:
        size, files = sum(d.bytes_a_scan for d in members), sum(d.files_a_scan for d in members)
        rows.append([name, f"{size / 1e6:.2f}", f"{files:.1f}", f"{size * scans / 1e9:.1f}"])
    return markdown_table(["files", "MB a scan", "files a scan", "GB in all"], rows)


# --- the command ---


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``cmburden pilot``."""
    parser.add_argument("bids_dir", type=Path, help="the BIDS dataset")
    parser.add_argument(
        "output_dir", type=Path, help="output folder of the whole run, which goes on there"
    )
    parser.add_argument(
        "--scans", type=int, default=20, help="approximate number of scans to run (default 20)"
    )
    parser.add_argument(
        "--for", type=int, dest="total", metavar="N", help="scans to estimate for (default: all)"
    )
    parser.add_argument(
        "--profile",
        default="local",
        metavar="{local,slurm,FOLDER}",
        help="place of the jobs, as for `cmburden run` (local)",
    )
    parser.add_argument("--cores", type=int, help="cores of this machine (default: all)")
    options.add_settings(parser)
    options.add_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """``cmburden pilot BIDS_DIR OUTPUT_DIR``."""
    from cmburden.index import stage as index

    if args.scans < 1 or (args.total is not None and args.total < 1):
        raise CMBurdenError("--scans and --for: give numbers of at least 1")
    scans = index.possible_scans(args.bids_dir, _request(args).config())
    chosen = choose(scans, args.scans)
    number = sum(participant in set(chosen) for participant, _ in scans)
    print(f"pilot: {number} of {len(scans)} scans, of {len(chosen)} participants", flush=True)
    code = run(_request(args, chosen))
    if code:
        raise CMBurdenError(f"the pilot ended with code {code}; see {args.output_dir / 'logs'}")
    cost = estimate(Layout(args.output_dir), args.total or len(scans))
    cores = args.cores or os.cpu_count()
    print(markdown(cost, on_slurm=args.profile != "local", cores=cores))
    return 0


def _request(args: argparse.Namespace, participants: Sequence[str] = ()) -> Request:
    """A request for a run of these participants, with the pilot's options."""
    return Request(
        bids_dir=args.bids_dir,
        output_dir=args.output_dir,
        participant_label=[name.removeprefix("sub-") for name in participants],
        config_file=args.config_file,
        settings=args.set,
        profile=args.profile,
        cores=args.cores,
        forget_settings=args.forget_settings,
        other_bids_dir=args.other_bids_dir,
    )
