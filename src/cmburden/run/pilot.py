"""A pilot: some scans for real, then what the whole cohort will cost, from their benchmark files.

The pilot works in the cohort's own output folder: what it makes, the whole run finds done.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections import Counter, defaultdict
from pathlib import Path

import pandas as pd
import yaml

from cmburden.core.errors import CMBurdenError
from cmburden.core.keys import hash_of
from cmburden.core.markdown import table as markdown_table
from cmburden.core.paths import BUCKET_STAGES, SCAN_STAGES, Layout
from cmburden.core.scan import Outcome
from cmburden.core.tables import MANIFEST

#: What a SLURM job costs beside its work: Snakemake starts and parses (5-8 s measured).
START_S = 7
#: A bucket's job is given two hours (workflow/rules/detect.smk); above half of it more buckets are
#: better, since other nodes are slower than the pilot's.
BUCKET_S = 3600
#: Jobs of one thread that have less of a processor say more about the machine than about the scans.
LEAST_BUSY = 0.7
#: What a file is, by the parts of its path below OUTPUT_DIR; the first that fits.
KINDS = (
    ("preprocessed volumes", lambda p: "_desc-preproc_" in p.name),
    ("brain masks", lambda p: "_desc-brain_mask" in p.name),
    ("regions", lambda p: "_desc-MARS_dseg" in p.name),
    ("lesion labels and tables", lambda p: "label-CMB_dseg" in p.name or "desc-CMB_les" in p.name),
    ("pictures and pages", lambda p: p.suffix in (".png", ".html", ".svg")),
    ("transforms (work)", lambda p: p.parts[:2] == ("work", "transforms")),
    ("cached results (work)", lambda p: p.parts[:2] == ("work", "cache")),
    ("Snakemake's memory (work)", lambda p: p.parts[:2] == ("work", ".snakemake")),
    ("records and shards (work)", lambda p: p.parts[0] == "work"),
    ("logs", lambda p: p.parts[0] == "logs"),
    ("tables and the rest", lambda p: True),
)


@dataclasses.dataclass(frozen=True)
class StageCost:
    """A stage for the whole cohort. ``hours`` are those of its processors as a site charges them:
    wall time of the jobs times their threads; ``gpu_hours`` 0 where none was used."""

    stage: str
    jobs: int
    seconds_a_scan: float
    hours: float
    gpu_hours: float
    max_rss_mb: float
    #: Processor time over wall time of scan jobs, which have one thread; None where not known.
    busy: float | None = None


@dataclasses.dataclass(frozen=True)
class DiskCost:
    """Files of one kind: bytes and number a scan."""

    kind: str
    bytes_a_scan: float
    files_a_scan: float


@dataclasses.dataclass(frozen=True)
class Cost:
    """What ``scans`` scans cost, as ``measured`` ones say; ``bucket_seconds`` is the longest job's
    expected wall time and ``buckets`` the configured number."""

    measured: int
    scans: int
    buckets: int
    stages: tuple[StageCost, ...]
    disk: tuple[DiskCost, ...]
    bucket_seconds: float


# --- which scans ---


def choose(scans: list[tuple[str, str]], number: int) -> list[str]:
    """Participants of ``scans`` (participant, suffix) with about ``number`` scans in all.

    Each suffix has its share and at least one. Within, participants follow a hash of their id:
    labels are often sorted by site, so the first ones would be of one scanner.

    >>> scans = [(f"sub-{n}", "swi" if n % 5 == 0 else "T2starw") for n in range(100)]
    >>> chosen = choose(scans, 10)
    >>> sum(int(name[4:]) % 5 == 0 for name in chosen), len(chosen)
    (2, 10)
    """
    by_participant: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for participant, suffix in scans:
        by_participant[participant][suffix] += 1
    whole = Counter(suffix for _, suffix in scans)
    missing = {s: max(1, round(number * n / len(scans))) for s, n in whole.items()}
    chosen = []
    for participant in sorted(by_participant, key=hash_of):
        own = by_participant[participant]
        if any(missing[suffix] > 0 for suffix in own):
            chosen.append(participant)
            for suffix, count in own.items():
                missing[suffix] -= count
    return sorted(chosen)


# --- what they cost ---


def estimate(layout: Layout, scans: int | None = None) -> Cost:
    """Cost of ``scans`` scans (those of the manifest if not given), from what was run.

    Raises
    ------
    CMBurdenError
        Where no stage has left a benchmark.
    """
    measured = MANIFEST.read(layout.manifest)["scan_id"].tolist()
    scans = scans or len(measured)
    config = yaml.safe_load((layout.work / "config.yaml").read_text())
    buckets = min(config["buckets"], scans)
    stages = [_scan_stage(layout, stage, measured, scans) for stage in SCAN_STAGES]
    longest = 0.0
    for stage in BUCKET_STAGES:
        cost, seconds = _bucket_stage(layout, stage, measured, scans, buckets, config["threads"])
        stages.append(cost)
        longest = max(longest, seconds)
    # At most a job of longitudinal a bucket: one with nobody of several sessions has none.
    for stage, jobs in (("longitudinal", buckets), ("aggregate", 1), ("report", 1)):
        stages.append(_cohort_stage(layout, stage, jobs, len(measured), scans))
    found = tuple(stage for stage in stages if stage is not None)
    if not found:
        raise CMBurdenError(f"{layout.root}: no job has left a benchmark here; run the pilot first")
    # Other scans may have been run here before: files are divided by all that left some.
    ever = len(list(layout.record("preprocess", "x").parent.glob("*.json")))
    return Cost(len(measured), scans, buckets, found, disk(layout, max(ever, 1)), longest)


def _benchmarks(paths: list[Path]) -> pd.DataFrame | None:
    paths = [path for path in paths if path.exists()]
    if not paths:
        return None
    return pd.concat([pd.read_csv(path, sep="\t", na_values=["-", "NA"]) for path in paths])


def _scan_stage(layout: Layout, stage: str, measured: list[str], scans: int) -> StageCost | None:
    jobs = _benchmarks([layout.benchmark(stage, scan_id) for scan_id in measured])
    if jobs is None:
        return None
    # The mean, not the median: a slow scan is paid for as well.
    seconds = float(jobs["s"].mean())
    busy = float(jobs["cpu_time"].sum() / jobs["s"].sum())
    return StageCost(stage, scans, seconds, scans * seconds / 3600, 0.0, _peak(jobs), busy)


def _bucket_stage(
    layout: Layout, stage: str, measured: list[str], scans: int, buckets: int, threads: int
) -> tuple[StageCost | None, float]:
    """The stage, and seconds of one of its jobs.

    A job's time has a part that is paid once (Python, the network's loading) and one a scan, as
    the records have it. The pilot has few scans a bucket, so the first part would be multiplied.
    """
    paths = sorted(layout.benchmark(stage).parent.glob("*.tsv"))
    jobs = _benchmarks(paths)
    if jobs is None:
        return None, 0.0
    records = [path for s in measured if (path := layout.record(stage, s)).exists()]
    seconds = pd.Series([Outcome.read(path).seconds or 0.0 for path in records], dtype=float)
    # The median: the first scan of a job bears the loading of the network.
    a_scan = float(seconds.median()) if len(seconds) else 0.0
    once = max(0.0, float(jobs["s"].sum()) - a_scan * len(seconds)) / len(jobs)
    wall = buckets * once + scans * a_scan
    devices = {
        json.loads(path.read_text())["device"]
        for path in layout.run_record(stage, "x").parent.glob("*.json")
    }
    gpu = wall / 3600 if devices - {"cpu", "cached"} else 0.0
    cost = StageCost(stage, buckets, wall / scans, wall * threads / 3600, gpu, _peak(jobs))
    return cost, once + a_scan * math.ceil(scans / buckets)


def _cohort_stage(
    layout: Layout, stage: str, number: int, measured: int, scans: int
) -> StageCost | None:
    """A stage of ``number`` jobs that costs by scans, whoever they are of: the pilot ran whole
    participants, so those with several sessions have their share in it."""
    jobs = _benchmarks(sorted(layout.benchmark(stage).parent.glob("*.tsv")))
    if jobs is None:
        return None
    # At most proportional: a part of it is Python's start.
    seconds = float(jobs["s"].sum()) / measured
    return StageCost(stage, number, seconds, scans * seconds / 3600, 0.0, _peak(jobs))


def _peak(jobs: pd.DataFrame) -> float:
    # Jobs that end within the second have no sample.
    return float(jobs["max_rss"].fillna(0).max())


def disk(layout: Layout, scans: int) -> tuple[DiskCost, ...]:
    """Files below OUTPUT_DIR by kind, for each of ``scans`` scans."""
    size: Counter[str] = Counter()
    number: Counter[str] = Counter()
    for path in layout.root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            below = path.relative_to(layout.root)
            kind = next(name for name, fits in KINDS if fits(below))
            # Blocks, not bytes: quotas count what a small file takes on disk.
            size[kind] += path.stat().st_blocks * 512
            number[kind] += 1
    return tuple(
        DiskCost(kind, size[kind] / scans, number[kind] / scans)
        for kind, _ in KINDS
        if number[kind]
    )


# --- saying it ---


def markdown(cost: Cost, *, on_slurm: bool) -> str:
    """The estimate as two tables and what follows from them."""
    jobs = sum(stage.jobs for stage in cost.stages)
    rows = [
        [
            s.stage,
            s.jobs,
            f"{s.seconds_a_scan:.1f}",
            f"{s.hours:.1f}",
            f"{s.gpu_hours:.1f}",
            f"{s.max_rss_mb:.0f}",
        ]
        for s in cost.stages
    ]
    start = jobs * START_S / 3600 if on_slurm else 0.0
    if on_slurm:
        a_scan = jobs * START_S / cost.scans
        rows.append(
            [f"start of jobs, {START_S} s each", "", f"{a_scan:.1f}", f"{start:.1f}", "", ""]
        )
    hours = sum(s.hours for s in cost.stages) + start
    gpu_hours = sum(s.gpu_hours for s in cost.stages)
    rows.append(["all", jobs, "", f"{hours:.1f}", f"{gpu_hours:.1f}", ""])
    header = ["stage", "jobs", "seconds a scan", "CPU-hours", "GPU-hours", "peak memory, MB"]
    lines = [
        f"{cost.scans} scans, from {cost.measured} that were run:",
        "",
        markdown_table(header, rows),
        "",
    ]
    busy = [s.busy for s in cost.stages if s.busy is not None]
    if busy and min(busy) < LEAST_BUSY:
        lines += [
            f"The pilot's jobs had {min(busy):.0%} of a processor, not a whole one: something else "
            "was at work on the machine, or its disk is slow. On processors of their own "
            "preprocess and register take about that share of the time above.",
            "",
        ]
    if not gpu_hours:
        lines += ["No GPU was used: the networks' time stands among the CPU-hours.", ""]
    lines.append(disk_markdown(cost.disk, cost.scans))
    if cost.bucket_seconds > BUCKET_S:
        better = math.ceil(cost.buckets * cost.bucket_seconds / BUCKET_S)
        lines += [
            "",
            f"A job of {cost.buckets} buckets would take {cost.bucket_seconds / 3600:.1f} hours; "
            f"set buckets={better} for one of an hour.",
        ]
    return "\n".join(lines)


def disk_markdown(kinds: tuple[DiskCost, ...], scans: int) -> str:
    """A row a kind of file, all of them, and what is left where work/ and logs/ are removed."""
    kept = [d for d in kinds if "(work)" not in d.kind and d.kind != "logs"]
    groups = [(d.kind, [d]) for d in kinds]
    groups += [("all", list(kinds)), ("all without work/ and logs/", kept)]
    rows = []
    for name, costs in groups:
        size, files = sum(d.bytes_a_scan for d in costs), sum(d.files_a_scan for d in costs)
        rows.append([name, f"{size / 1e6:.2f}", f"{files:.1f}", f"{size * scans / 1e9:.1f}"])
    return markdown_table(["files", "MB a scan", "files a scan", "GB in all"], rows)


# --- the command ---


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument(
        "output_dir", type=Path, help="that of the whole run: it goes on from there"
    )
    parser.add_argument("--scans", type=int, default=20, help="about so many (default 20)")
    parser.add_argument(
        "--for", type=int, dest="total", metavar="N", help="scans to reckon for; else all found"
    )
    parser.add_argument("--profile", default="local", metavar="{local,slurm,FOLDER}")
    parser.add_argument("--cores", type=int, help="of this machine; all if not given")
    parser.add_argument("--config-file", type=Path, metavar="YAML")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")


def main(args: argparse.Namespace) -> int:
    from cmburden.index import tree
    from cmburden.run import cli, participants

    if args.scans < 1 or (args.total is not None and args.total < 1):
        raise CMBurdenError("--scans and --for: give numbers of at least 1")
    found = tree.listing(args.bids_dir, participants.settings_of(args.set, args.config_file))
    chosen = choose(found, args.scans)
    number = sum(participant in set(chosen) for participant, _ in found)
    print(f"pilot: {number} of {len(found)} scans, of {len(chosen)} participants", flush=True)
    further = [option for setting in args.set for option in ("--set", setting)]
    if args.cores:
        further += ["--cores", str(args.cores)]
    if args.config_file:
        further += ["--config-file", str(args.config_file)]
    code = cli.main(
        ["run", str(args.bids_dir), str(args.output_dir), "participant", "--profile", args.profile,
         *further, "--participant-label", *(name.removeprefix("sub-") for name in chosen)]
    )  # fmt: skip
    if code:
        raise CMBurdenError(f"the pilot ended with code {code}; see {args.output_dir / 'logs'}")
    cost = estimate(Layout(args.output_dir), args.total or len(found))
    print(markdown(cost, on_slurm=args.profile != "local"))
    return 0
