"""What the workflow's tests do alike."""

import json
import subprocess
import sys
from pathlib import Path

from cmburden import cli


def run(folder: Path, *further: str, out: Path | None = None) -> int:
    """``cmburden run`` of ``folder``/bids into ``folder``/out, or another folder."""
    return cli.main(
        ["run", str(folder / "bids"), str(out or folder / "out"), "participant", "--cores", "2",
         "--set", "buckets=2", *further]
    )  # fmt: skip


def validator_errors(output: Path) -> list[dict]:
    validator = Path(sys.executable).parent / "bids-validator-deno"
    done = subprocess.run(
        [validator, output, "--json"], capture_output=True, text=True, check=False
    )
    issues = json.loads(done.stdout)["issues"]["issues"]
    return [i for i in issues if i.get("severity") == "error"]
