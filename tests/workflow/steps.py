"""What the workflow's tests do alike."""

import json
import os
import subprocess
import sys
from pathlib import Path

from cmburden.run import cli

RULES = (
    "preprocess",
    "register",
    "detect",
    "verify",
    "longitudinal",
    "aggregate",
    "report",
    "check",
)


def run(folder: Path, *further: str, out: Path | None = None) -> int:
    """``cmburden run`` of ``folder``/bids into ``folder``/out, or another folder."""
    return cli.main(
        [
            "run",
            str(folder / "bids"),
            str(out or folder / "out"),
            "participant",
            "--cores",
            "2",
            "--set",
            "buckets=2",
            "--set",
            "batches=1",
            *further,
        ]
    )


def jobs(folder: Path, *further: str, source: Path | None = None) -> dict[str, int]:
    """Jobs that a run would do now, by rule (from a dry run).

    ``source`` is the ``src`` folder of another checkout, whose package and workflow then plan.
    """
    command = [
        sys.executable,
        "-m",
        "cmburden.run.cli",
        "run",
        str(folder / "bids"),
        str(folder / "out"),
        "participant",
        "--set",
        "buckets=2",
        "--set",
        "batches=1",
        "-n",
        *further,
    ]
    environment = os.environ | ({"PYTHONPATH": str(source)} if source else {})
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in (done.stdout + done.stderr).splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[0] in RULES}


def validator_errors(output: Path) -> list[dict]:
    validator = Path(sys.executable).parent / "bids-validator-deno"
    done = subprocess.run(
        [validator, output, "--json"], capture_output=True, text=True, check=False
    )
    issues = json.loads(done.stdout)["issues"]["issues"]
    return [i for i in issues if i.get("severity") == "error"]
