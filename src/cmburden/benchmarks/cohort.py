"""What a cohort of thousands costs beside its images: planning, and the tables.

The dry run is held against a bare Snakefile, which has as many jobs with the same edges and nothing
else: no parameters, logs, benchmarks or resources. It is what Snakemake itself takes; the rest is
ours. Both are planned when nothing is to do.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from cmburden.benchmarks import pretend_results as synthetic_results
from cmburden.benchmarks import pretend_tree as synthetic_manifest
from cmburden.core import config, manifest, resources
from cmburden.core.errors import CMBurdenError, told
from cmburden.core.files import write_json
from cmburden.core.paths import COHORT_TABLES, Layout
from cmburden.index import stage as index
from cmburden.run.plan import INDEXED, Flow

#: The rules' edges, over {scans} names in {buckets} buckets (by remainder: planning is the same).
BARE = """\
SCANS, BUCKETS = [f"s{{n}}" for n in range({scans})], range({buckets})
MEMBERS = [SCANS[b::{buckets}] for b in BUCKETS]
rule all:
    input: "check"
rule preprocess:
    output: "preprocess/{{scan}}"
    shell: "touch {{output}}"
rule register:
    input: "preprocess/{{scan}}"
    output: "register/{{scan}}"
    shell: "touch {{output}}"
rule detect:
    input: lambda w: expand("preprocess/{{s}}", s=MEMBERS[int(w.bucket)])
    output: "detect/{{bucket}}"
    shell: "touch {{output}}"
rule verify:
    input: "detect/{{bucket}}", lambda w: expand("register/{{s}}", s=MEMBERS[int(w.bucket)])
    output: "verify/{{bucket}}"
    shell: "touch {{output}}"
rule people:
    output: "people/{{bucket}}"
    shell: "touch {{output}}"
rule longitudinal:
    input: "people/{{bucket}}", expand("verify/{{b}}", b=BUCKETS)
    output: "longitudinal/{{bucket}}"
    shell: "touch {{output}}"
rule aggregate:
    input: expand("{{k}}/{{b}}", k=["verify", "longitudinal"], b=BUCKETS)
    output: "tables"
    shell: "touch {{output}}"
rule report:
    input: "tables"
    output: "report"
    shell: "touch {{output}}"
rule check:
    input: "tables", "report"
    output: "check"
    shell: "touch {{output}}"
"""


#: Snakemake, but what is to do is held to have been done: its memory of each output is written as
#: after a real job. ``--touch`` does the same in a tenth of a second a job, half an hour here.
REMEMBER = """\
from snakemake.scheduling.job_scheduler import JobScheduler
def schedule(self):
    for job in self.workflow.dag.needrun_jobs():
        self.workflow.async_run(self.workflow.persistence.finished(job))
    return True
JobScheduler.schedule = schedule
from snakemake.cli import main
main()
"""


@dataclasses.dataclass(frozen=True)
class Measured:
    """Wall and processor seconds of a command, the largest memory of a process of it, its output.

    Wall time depends on what else the machine does, the processor's hardly.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float
    output: str


#: A small process that starts the command and asks what it took. Linux gives a process the peak of
#: the one that it was started from, and this one is large in tests.
_LAUNCHER = """\
import json, resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as stream:
    json.dump([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024], stream)
sys.exit(code)
"""


def measure(command: list[str], **environment: str) -> Measured:
    """Run ``command``; raises CMBurdenError with the last line it said where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        taken = Path(folder) / "taken.json"
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", _LAUNCHER, str(taken), *command], env=os.environ | environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        seconds = time.monotonic() - began
        if done.returncode:
            lines = done.stdout.strip().splitlines() or ["it said nothing"]
            raise CMBurdenError(f"{' '.join(command[:4])} ... failed: {lines[-1]}")
        cpu, peak = json.loads(taken.read_text())
    return Measured(round(seconds, 2), round(cpu, 2), round(peak, 1), done.stdout)


# --- planning ---


def plan(folder: Path, scans: int, buckets: int, repeats: int = 1) -> dict:
    """Index and plan ``scans`` synthetic scans in ``folder``, and as many jobs of a bare file.

    All is done: records, shards, tables and Snakemake's memory of them are there. Of ``repeats``
    runs by turns the one of least processor time counts.
    """
    bids, layout = folder / "bids", Layout(folder / "out")
    synthetic_manifest.write_tree(bids, scans)
    settings = config.load(
        {"bids_dir": str(bids), "output_dir": str(layout.root), "buckets": buckets}
    )
    began = time.process_time()
    found = index.run(bids, layout, settings)
    first = time.process_time() - began
    ours = [
        sys.executable, "-m", "cmburden.run.cli", "run", str(bids), str(layout.root), "participant",
        "--set", f"buckets={buckets}", "--cores", "2", "-n",
    ]  # fmt: skip
    bare = _write_bare(folder / "bare", scans, buckets)
    flow = Flow(settings, main=False)
    synthetic_results.write(layout, found, flow.buckets, candidates=5, lesions=1)
    jobs = _remember_ours(layout, flow, settings)
    jobs_bare = _remember_bare(folder / "bare", bare, scans, buckets)
    done = _pair(ours, [*bare, "--dry-run", "--quiet", "rules", "host"], repeats)
    left = [jobs_of(one.pop("output")) for one in done.values()]
    if any(left):
        raise CMBurdenError(f"{left} jobs would run although all is done")
    return {
        "scans": len(found),
        "jobs": jobs,
        "jobs_bare": jobs_bare,
        "index_cpu_seconds": round(first, 2),
        **done,
        "files_a_folder": _fullest(layout.root),
    }


def _pair(ours: list[str], bare: list[str], repeats: int) -> dict[str, dict]:
    runs = [(measure(ours), measure(bare)) for _ in range(repeats)]
    best = [min(of_one, key=lambda m: m.cpu_seconds) for of_one in zip(*runs, strict=True)]
    return dict(zip(("ours", "bare"), map(dataclasses.asdict, best), strict=True))


def _write_bare(folder: Path, scans: int, buckets: int) -> list[str]:
    folder.mkdir()
    (folder / "Snakefile").write_text(BARE.format(scans=scans, buckets=buckets))
    return [
        sys.executable, "-m", "snakemake", "--snakefile", str(folder / "Snakefile"),
        "--directory", str(folder), "--cores", "2",
    ]  # fmt: skip


def _remember_ours(layout: Layout, flow: Flow, settings: dict) -> int:
    """The rest of a finished run: tables, report, Snakemake's memory of every output; its jobs."""
    ends = [*map(layout.table, COHORT_TABLES), layout.report, layout.checked]
    for path in ends:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    scans, buckets = list(flow.scans), list(flow.buckets)
    made = [
        [layout.record("preprocess", s) for s in scans],
        [layout.record("register", s) for s in scans],
        [layout.bucket("detect", b) for b in buckets],
        [layout.bucket("verify", b) for b in buckets],
        *([path] for path in ends),
    ]
    resolved = layout.work / "config.yaml"
    resolved.write_text(yaml.safe_dump(settings))
    root = resources.root()
    command = [
        "--snakefile", str(root / "Snakefile"),
        "--profile", str(root / "workflow" / "profiles" / "default"),
        "--directory", str(layout.work), "--configfile", str(resolved), "--nolock", "--cores", "2",
    ]  # fmt: skip
    return _remember(made, command, **{INDEXED: "1"})


def _remember_bare(folder: Path, command: list[str], scans: int, buckets: int) -> int:
    made = [
        *([folder / stage / f"s{n}" for n in range(scans)] for stage in ("preprocess", "register")),
        *([folder / stage / str(n) for n in range(buckets)] for stage in ("detect", "verify")),
        *([folder / name] for name in ("tables", "report", "check")),
    ]
    for path in (path for stage in made for path in stage):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return _remember(made, command[3:])


def _remember(made: list[list[Path]], arguments: list[str], **environment: str) -> int:
    """Give the files of each stage the time of their making; write Snakemake's memory of them.

    Returns the number of jobs.
    """
    began = time.time() - 60
    for number, stage in enumerate(made):
        for path in stage:
            os.utime(path, (began + number, began + number))
    command = [sys.executable, "-c", REMEMBER, *arguments, "--forceall", "--touch"]
    return jobs_of(measure(command, **environment).output)


def jobs_of(output: str) -> int:
    """The total of Snakemake's table of jobs, without the rule `all`; 0 where nothing is to do."""
    rows = [line.split() for line in output.splitlines()]
    total = next((int(row[1]) for row in rows if len(row) == 2 and row[0] == "total"), 1)
    return total - 1


def _fullest(root: Path) -> int:
    return max(len(files) for _, _, files in os.walk(root))


# --- tables ---


def tables(folder: Path, scans: int, buckets: int) -> dict:
    """Make the tables of ``scans`` synthetic scans and their lesions by ``aggregate`` alone."""
    layout = Layout(folder / "out")
    synthetic_manifest.write_manifest(layout.manifest, scans, buckets)
    found = manifest.read_scans(layout.manifest, folder / "bids")
    members = synthetic_results.buckets_of(found, buckets)
    lesions = synthetic_results.write(layout, found, members)
    (folder / "bids").mkdir()
    synthetic_manifest.write_participants(folder / "bids", [s.participant_id for s in found])
    resolved = layout.work / "config.yaml"
    resolved.write_text(yaml.safe_dump(config.load({"bids_dir": str(folder / "bids")})))
    code = (
        "import sys, yaml; from pathlib import Path; from cmburden import aggregate;"
        "from cmburden.core.paths import Layout;"
        "aggregate.run(Layout(sys.argv[1]), Path(sys.argv[2]), yaml.safe_load(open(sys.argv[3])))"
    )
    made = measure(
        [sys.executable, "-c", code, str(layout.root), str(folder / "bids"), str(resolved)]
    )
    rows = pq.read_metadata(layout.table("lesions")).num_rows
    if rows != lesions:
        raise CMBurdenError(f"{rows} lesions in the table, {lesions} were put in")
    return {
        "scans": scans,
        "lesions": lesions,
        "candidates": pq.read_metadata(layout.candidates).num_rows,
        "seconds": made.seconds,
        "cpu_seconds": made.cpu_seconds,
        "peak_mb": made.peak_mb,
    }


# --- saying it ---


def plan_markdown(result: dict) -> str:
    scans, jobs = result["scans"], result["jobs"]
    lines = [
        f"{scans} scans, {jobs} jobs (a bare Snakefile: {result['jobs_bare']}); "
        f"{(jobs - 1) / scans:.3f} SLURM jobs a scan (`check` runs where Snakemake does); at most "
        f"{result['files_a_folder']} files in a folder",
        "",
        "| nothing to do | seconds | processor seconds | peak memory, MB |",
        "|---|---|---|---|",
    ]
    for who, what in (("ours", "`cmburden run -n`"), ("bare", "a bare Snakefile")):
        m = result[who]
        lines.append(
            f"| {what} | {m['seconds']:.1f} | {m['cpu_seconds']:.1f} | {m['peak_mb']:.0f} |"
        )
    ours, bare = result["ours"], result["bare"]
    lines.append(
        f"| ours over bare | {ours['seconds'] / bare['seconds']:.2f} "
        f"| {ours['cpu_seconds'] / bare['cpu_seconds']:.2f} | |"
    )
    return "\n".join(lines)


def tables_markdown(result: dict) -> str:
    return "\n".join(
        [
            "| scans | lesions | candidates | seconds | processor seconds | peak memory, MB |",
            "|---|---|---|---|---|---|",
            f"| {result['scans']} | {result['lesions']} | {result['candidates']} "
            f"| {result['seconds']:.1f} | {result['cpu_seconds']:.1f} | {result['peak_mb']:.0f} |",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.benchmarks.cohort {plan,tables} [--scans N] [--out FILE.json]``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("what", choices=("plan", "tables"))
    parser.add_argument("--scans", type=int, help="5,000 to plan, 20,000 for tables")
    parser.add_argument("--buckets", type=int, help="one for 50 scans if not given")
    parser.add_argument("--repeats", type=int, default=1, help="of each dry run (plan)")
    parser.add_argument("--folder", type=Path, help="where to work, kept; else a temporary one")
    parser.add_argument("--out", type=Path, help="also write the figures there, as JSON")
    args = parser.parse_args(arguments)
    scans = args.scans or (5000 if args.what == "plan" else 20000)
    buckets = args.buckets or max(1, scans // 50)
    with tempfile.TemporaryDirectory(prefix="cmburden-scale-") as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if args.what == "plan":
            result = plan(folder, scans, buckets, args.repeats)
            print(plan_markdown(result))
        else:
            result = tables(folder, scans, buckets)
            print(tables_markdown(result))
    if args.out:
        write_json(args.out, result)
    return 0


if __name__ == "__main__":
    raise SystemExit(told(main))
