"""Cost of thousands of scans without their images: planning of the jobs, and the cohort's tables.

The dry run is compared with the dry run of a bare Snakefile. The bare Snakefile has two jobs a
scan, where CMBurden has batches of scans, and no parameters, logs, benchmarks or resources. In both
no job is left to run.
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
from typing import Any

import pyarrow.parquet as pq

from cmburden.benchmarks import pretend_results as synthetic_results
from cmburden.benchmarks import pretend_tree as synthetic_manifest
from cmburden.core import config, resources, table_set
from cmburden.core import manifest as core_manifest
from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.files import write_json
from cmburden.core.markdown import table as markdown_table
from cmburden.core.paths import COHORT_TABLES, Layout
from cmburden.core.stages import BUCKET_STAGES, SCAN_STAGES
from cmburden.index import stage as index
from cmburden.index import unchanged
from cmburden.run.begin import BEGUN, plan_for_snakemake
from cmburden.run.plan import Plan

#: The rules' edges with two jobs a scan, over {scans} names in {buckets} buckets (by remainder:
#: planning is the same).
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


#: Age of the oldest outputs, seconds: more than there are stages, since each is a second younger.
_AGE_S = 60
_SCANS_A_BUCKET = 50
#: Jobs that run where Snakemake does, beside one of `people` for each bucket: `verified`, `check`.
_LOCAL_JOBS = 2
_COST_HEADER = ("seconds", "processor seconds", "peak memory, MB")
#: Scans by default, to plan and for tables.
_SCANS = {"plan": 5000, "tables": 20000}

#: Snakemake with a scheduler that runs no job: it writes Snakemake's memory of each output as after
#: a real job. ``--touch`` does the same in a tenth of a second a job, half an hour here.
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
class CommandCost:
    """Wall and processor seconds of a command, the largest memory of a process of it, its output.

    Wall time depends on the machine's other work, processor time hardly.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float
    output: str


#: A small process that starts the command and reads its use of time and memory. Linux gives a
#: process the peak of its parent, and this process is large in tests.
_LAUNCHER = """\
import json, resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as stream:
    json.dump([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024], stream)
sys.exit(code)
"""


def measure(command: list[str], **environment: str) -> CommandCost:
    """Run ``command`` with these further variables of the environment.

    Raises
    ------
    CMBurdenError
        When the command fails, with the last line of its output.
    """
    with tempfile.TemporaryDirectory() as folder:
        usage = Path(folder) / "usage.json"
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", _LAUNCHER, str(usage), *command],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        seconds = time.monotonic() - began
        if done.returncode:
            lines = done.stdout.strip().splitlines() or ["it said nothing"]
            raise CMBurdenError(f"{' '.join(command[:4])} ... failed: {lines[-1]}")
        cpu, peak = json.loads(usage.read_text(encoding="utf-8"))
    return CommandCost(round(seconds, 2), round(cpu, 2), round(peak, 1), done.stdout)


# --- planning ---


def plan(folder: Path, scans: int, buckets: int, repeats: int = 1) -> dict[str, Any]:
    """Index and plan ``scans`` synthetic scans in ``folder``, and two jobs a scan of a bare file.

    All is done: records, shards, tables and Snakemake's memory of them are there. The two dry runs
    take turns. Of ``repeats`` runs of each the one of least processor time counts.

    Raises
    ------
    CMBurdenError
        When a job would run.
    """
    bids, layout = folder / "bids", Layout(folder / "out")
    synthetic_manifest.write_tree(bids, scans)
    settings = config.load(
        {"bids_dir": str(bids), "output_dir": str(layout.root), "buckets": buckets}
    )
    time.sleep(unchanged.SETTLED_S + 1)  # files of this moment may change unseen
    began = time.process_time()
    indexed = index.run(bids, layout, settings)
    index_seconds = time.process_time() - began
    ours = [
        sys.executable,
        "-m",
        "cmburden.run.cli",
        "run",
        str(bids),
        str(layout.root),
        "participant",
    ]
    ours += ["--set", f"buckets={buckets}", "--cores", "2", "-n"]
    bare = _write_bare(folder / "bare", scans, buckets)
    flow = plan_for_snakemake(settings, main=False)
    synthetic_results.write(layout, indexed, flow.buckets, candidates=5, lesions=1)
    jobs = _remember_ours(layout, flow, settings)
    jobs_bare = _remember_bare(folder / "bare", bare, scans, buckets)
    costs = _pair(ours, [*bare, "--dry-run", "--quiet", "rules", "host"], repeats)
    left = [jobs_of(one.pop("output")) for one in costs.values()]
    if any(left):
        raise CMBurdenError(f"{left} jobs would run although all is done")
    return {
        "scans": len(indexed),
        "jobs": jobs,
        "slurm_jobs": jobs - len(flow.people) - _LOCAL_JOBS,
        "jobs_bare": jobs_bare,
        "index_cpu_seconds": round(index_seconds, 2),
        **costs,
        "files_a_folder": _fullest(layout.root),
    }


def _pair(ours: list[str], bare: list[str], repeats: int) -> dict[str, dict[str, Any]]:
    """The cheapest run of each command, by its name."""
    runs = [(measure(ours), measure(bare)) for _ in range(repeats)]
    best = [min(of_one, key=lambda cost: cost.cpu_seconds) for of_one in zip(*runs, strict=True)]
    return dict(zip(("ours", "bare"), map(dataclasses.asdict, best), strict=True))


def _write_bare(folder: Path, scans: int, buckets: int) -> list[str]:
    """Write the bare Snakefile; the command that runs it."""
    folder.mkdir()
    snakefile = folder / "Snakefile"
    snakefile.write_text(BARE.format(scans=scans, buckets=buckets), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile)]
    return [*command, "--directory", str(folder), "--cores", "2"]


def _remember_ours(layout: Layout, flow: Plan, settings: dict[str, Any]) -> int:
    """Complete a finished run: tables, report, Snakemake's memory of every output.

    Returns the number of jobs.
    """
    tables = [*map(layout.table, COHORT_TABLES)]
    after = [layout.report, layout.checked]
    marks = [layout.batch(stage, batch) for stage in SCAN_STAGES for batch in flow.batches]
    for path in (*tables, layout.aggregated, *after, *marks):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    table_set.seal(layout)
    ends = [[*tables, layout.table_set, layout.aggregated], *([path] for path in after)]
    made = [
        *([layout.batch(stage, batch) for batch in flow.batches] for stage in SCAN_STAGES),
        *([layout.bucket(stage, bucket) for bucket in flow.buckets] for stage in BUCKET_STAGES),
        *ends,
    ]
    config.write(settings, layout.config)
    root = resources.root()
    profile = root / "workflow" / "profiles" / "default"
    command = ["--snakefile", str(root / "Snakefile"), "--profile", str(profile)]
    command += ["--directory", str(layout.work), "--configfile", str(layout.config)]
    command += ["--nolock", "--cores", "2"]
    return _remember(made, command, **{BEGUN: "1"})


def _remember_bare(folder: Path, command: list[str], scans: int, buckets: int) -> int:
    """Write the outputs of the bare Snakefile and its memory of them; the number of jobs."""
    made = [
        *([folder / stage / f"s{n}" for n in range(scans)] for stage in SCAN_STAGES),
        *([folder / stage / str(n) for n in range(buckets)] for stage in BUCKET_STAGES),
        *([folder / name] for name in ("tables", "report", "check")),
    ]
    for path in (path for stage in made for path in stage):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return _remember(made, command[3:])


def _remember(made: list[list[Path]], arguments: list[str], **environment: str) -> int:
    """Give the files of each stage a time of their making; write Snakemake's memory of them.

    ``made`` are the outputs by stage, in the order of the stages.

    Returns the number of jobs.
    """
    began = time.time() - _AGE_S
    for number, stage in enumerate(made):
        for path in stage:
            os.utime(path, (began + number, began + number))
    command = [sys.executable, "-c", REMEMBER, *arguments, "--forceall", "--touch"]
    return jobs_of(measure(command, **environment).output)


def jobs_of(output: str) -> int:
    """The total of Snakemake's table of jobs, without the rule `all`; 0 where nothing is to do.

    >>> jobs_of("job  count\\nall  1\\ndetect  3\\ntotal  4")
    3
    """
    rows = [line.split() for line in output.splitlines()]
    total = next((int(row[1]) for row in rows if len(row) == 2 and row[0] == "total"), 1)
    return total - 1


def _fullest(root: Path) -> int:
    """The largest number of files in a folder."""
    return max(len(files) for _, _, files in os.walk(root))


# --- tables ---


def tables(folder: Path, scans: int, buckets: int) -> dict[str, Any]:
    """Make the tables of ``scans`` synthetic scans and their lesions by ``aggregate`` alone.

    Raises
    ------
    CMBurdenError
        When the table of lesions lacks some.
    """
    layout, bids = Layout(folder / "out"), folder / "bids"
    synthetic_manifest.write_manifest(layout.manifest, scans, buckets)
    manifest = core_manifest.read_scans(layout.manifest, bids)
    members = synthetic_results.buckets_of(manifest, buckets)
    lesions = synthetic_results.write(layout, manifest, members)
    bids.mkdir()
    synthetic_manifest.write_participants(bids, [scan.participant_id for scan in manifest])
    config.write(config.load({"bids_dir": str(bids)}), layout.config)
    code = (
        "import sys, yaml; from pathlib import Path; from cmburden.cohort import stage;"
        "from cmburden.core.paths import Layout;"
        "stage.run(Layout(sys.argv[1]), Path(sys.argv[2]), yaml.safe_load(open(sys.argv[3])))"
    )
    cost = measure([sys.executable, "-c", code, str(layout.root), str(bids), str(layout.config)])
    rows = pq.read_metadata(layout.table("lesions")).num_rows
    if rows != lesions:
        raise CMBurdenError(f"{rows} lesions in the table, {lesions} were put in")
    return {
        "scans": scans,
        "lesions": lesions,
        "candidates": pq.read_metadata(layout.candidates).num_rows,
        "seconds": cost.seconds,
        "cpu_seconds": cost.cpu_seconds,
        "peak_mb": cost.peak_mb,
    }


# --- as text ---


def plan_markdown(result: dict[str, Any]) -> str:
    """A sentence and a table of the result of :func:`plan`."""
    scans, jobs = result["scans"], result["jobs"]
    share = result["slurm_jobs"] / scans
    ours, bare = result["ours"], result["bare"]
    rows = [
        ["`cmburden run -n`", *_cost_cells(ours)],
        ["a bare Snakefile", *_cost_cells(bare)],
        [
            "ours over bare",
            f"{ours['seconds'] / bare['seconds']:.2f}",
            f"{ours['cpu_seconds'] / bare['cpu_seconds']:.2f}",
            "",
        ],
    ]
    return (
        f"{scans} scans, {jobs} jobs (a bare Snakefile: {result['jobs_bare']}); "
        f"{share:.3f} SLURM jobs a scan (the rest runs where Snakemake does); "
        f"at most {result['files_a_folder']} files in a folder\n\n"
        + markdown_table(["nothing to do", *_COST_HEADER], rows)
    )


def tables_markdown(result: dict[str, Any]) -> str:
    """A table of the result of :func:`tables`."""
    names = ["scans", "lesions", "candidates"]
    row = [*(result[name] for name in names), *_cost_cells(result)]
    return markdown_table([*names, *_COST_HEADER], [row])


def _cost_cells(cost: dict[str, Any]) -> list[str]:
    return [f"{cost['seconds']:.1f}", f"{cost['cpu_seconds']:.1f}", f"{cost['peak_mb']:.0f}"]


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
    scans = args.scans or _SCANS[args.what]
    buckets = args.buckets or max(1, scans // _SCANS_A_BUCKET)
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
    raise SystemExit(exit_code(main))
