"""What planning costs at thousands of scans: indexing, and a dry run against a bare Snakefile.

The bare one has as many jobs with the same edges and nothing else: no parameters, logs, benchmarks
or resources. It is what Snakemake itself takes; the rest is ours.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from pathlib import Path

from cmburden import config, index, synthetic_manifest
from cmburden.errors import CMBurdenError
from cmburden.paths import Layout
from cmburden.records import write_json

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
    input: expand("{{k}}/{{b}}", k=["verify", "longitudinal"], b=BUCKETS), expand("{{k}}/{{s}}", k=["preprocess", "register"], s=SCANS)
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
"""  # noqa: E501


@dataclasses.dataclass(frozen=True)
class Measured:
    """Wall seconds of a command and the largest resident memory of its processes; its output."""

    seconds: float
    peak_mb: float
    output: str


def measure(command: list[str]) -> Measured:
    """Run ``command``; raises CMBurdenError with the last line it said where it fails."""
    with tempfile.TemporaryFile("w+") as stream:
        began = time.monotonic()
        pid = os.posix_spawnp(
            command[0], command, os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, stream.fileno(), fd) for fd in (1, 2)],
        )  # fmt: skip
        # Of this process alone and those that it waited for; RUSAGE_CHILDREN would mix runs.
        _, status, usage = os.wait4(pid, 0)
        seconds = time.monotonic() - began
        stream.seek(0)
        output = stream.read()
    if status:
        lines = output.strip().splitlines() or ["it said nothing"]
        raise CMBurdenError(f"{' '.join(command[:4])} ... failed: {lines[-1]}")
    return Measured(round(seconds, 2), round(usage.ru_maxrss / 1024, 1), output)


def run(folder: Path, scans: int, buckets: int) -> dict:
    """Index and plan ``scans`` synthetic scans in ``folder``; plan as many jobs of a bare file."""
    bids, layout = folder / "bids", Layout(folder / "out")
    synthetic_manifest.write_tree(bids, scans)
    began = time.monotonic()
    settings = config.load({"bids_dir": str(bids), "buckets": buckets})
    found = index.run(bids, layout, settings)
    first = time.monotonic() - began
    began = time.monotonic()
    index.run(bids, layout, settings)
    again = time.monotonic() - began
    ours = measure(
        [sys.executable, "-m", "cmburden.cli", "run", str(bids), str(layout.root), "participant",
         "--set", f"buckets={buckets}", "--cores", "2", "-n"]
    )  # fmt: skip
    bare = folder / "bare"
    bare.mkdir()
    (bare / "Snakefile").write_text(BARE.format(scans=scans, buckets=buckets))
    theirs = measure(
        [sys.executable, "-m", "snakemake", "--snakefile", str(bare / "Snakefile"), "--directory",
         str(bare), "--cores", "2", "--dry-run", "--quiet", "rules", "host"]
    )  # fmt: skip
    return {
        "scans": len(found),
        "jobs": _jobs(ours.output),
        "jobs_bare": _jobs(theirs.output),
        "index_seconds": round(first, 2),
        "index_again_seconds": round(again, 2),
        "dry_run_seconds": ours.seconds,
        "dry_run_peak_mb": ours.peak_mb,
        "bare_seconds": theirs.seconds,
        "bare_peak_mb": theirs.peak_mb,
    }


def _jobs(output: str) -> int:
    """The total of Snakemake's table of jobs, without the rule `all`."""
    rows = [line.split() for line in output.splitlines()]
    total = next((int(row[1]) for row in rows if len(row) == 2 and row[0] == "total"), 1)
    return total - 1


def markdown(result: dict) -> str:
    slower = result["dry_run_seconds"] / result["bare_seconds"]
    return "\n".join(
        [
            f"{result['scans']} scans, {result['jobs']} jobs",
            "",
            "| what | seconds | peak memory, MB |",
            "|---|---|---|",
            f"| index, first | {result['index_seconds']:.1f} | |",
            f"| index, again | {result['index_again_seconds']:.1f} | |",
            f"| `cmburden run -n`, indexing again included | {result['dry_run_seconds']:.1f} "
            f"| {result['dry_run_peak_mb']:.0f} |",
            f"| a bare Snakefile of {result['jobs_bare']} jobs | {result['bare_seconds']:.1f} "
            f"| {result['bare_peak_mb']:.0f} |",
            "",
            f"The dry run takes {slower:.2f} times the bare Snakefile's.",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.scale_benchmark [--scans 5000] [--buckets 100] [--out FILE.json]``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--scans", type=int, default=5000)
    parser.add_argument("--buckets", type=int, default=100, help="50 scans a bucket by default")
    parser.add_argument("--out", type=Path, help="also write the figures there, as JSON")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="cmburden-scale-") as folder:
        result = run(Path(folder), args.scans, args.buckets)
    print(markdown(result))
    if args.out:
        write_json(args.out, result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
