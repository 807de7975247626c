"""`cmburden run`: reads the configuration, holds the output folder, starts Snakemake.

The group level makes tables and report without Snakemake.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cmburden import RESEARCH_USE_ONLY
from cmburden.core import config as configuration
from cmburden.core import resources, user_text
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import locked
from cmburden.core.paths import Layout
from cmburden.run import begin, environment

#: Least free disk, MB. With less, the message about a failed run names the full disk.
LEAST_FREE_MB = 50
#: Profiles of this repository, by the name that ``--profile`` takes.
PROFILES = {"local": "default", "slurm": "slurm"}
#: Seconds to wait for the lock of the output folder: `cmburden status` holds it for a moment.
_LOCK_WAIT_S = 2


@dataclasses.dataclass(frozen=True)
class Request:
    """A request for a run: the arguments of `cmburden run`.

    ``settings`` are the options ``--set`` as typed; ``further`` are options of Snakemake. ``cores``
    is None for all cores.
    """

    bids_dir: Path
    output_dir: Path
    analysis_level: str = "participant"
    participant_label: Sequence[str] = ()
    session_label: Sequence[str] = ()
    bids_filter_file: Path | None = None
    skip_bids_validation: bool = False
    config_file: Path | None = None
    settings: Sequence[str] = ()
    profile: str = "local"
    cores: int | None = None
    dry_run: bool = False
    further: Sequence[str] = ()

    def config(self) -> dict[str, Any]:
        """The whole configuration, checked."""
        overrides: dict[str, Any] = {
            "bids_dir": str(self.bids_dir.absolute()),
            "output_dir": str(self.output_dir.absolute()),
        }
        if self.participant_label:
            overrides["participant_label"] = list(self.participant_label)
        if self.session_label:
            overrides["session_label"] = list(self.session_label)
        if self.bids_filter_file:
            overrides["bids_filter_file"] = str(self.bids_filter_file.absolute())
        if self.skip_bids_validation:
            overrides["index"] = {"skip_bids_validation": True}
        overrides = configuration.merge(overrides, nested(self.settings))
        return configuration.load(overrides, self.config_file)


def nested(settings: Sequence[str]) -> dict[str, Any]:
    """Options ``--set``, each ``key.key=value`` with a YAML value, as one nested dict.

    >>> nested(["buckets=8", "verify.thresholds.definite=0.7"])
    {'buckets': 8, 'verify': {'thresholds': {'definite': 0.7}}}
    """
    merged: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise CMBurdenError(f"--set {setting}: write it as key=value, such as buckets=8")
        parts = key.split(".")
        if not all(parts) or len(parts) > user_text.MOST_LEVELS:
            raise CMBurdenError(f"--set {setting}: {key!r} is no key; see config/README.md")
        branch = user_text.yaml_of(value, f"--set {setting}")
        for part in reversed(parts):
            branch = {part: branch}
        merged = configuration.merge(merged, branch)
    return merged


def run(request: Request) -> int:
    """Run a cohort and return the exit code. A user's mistake raises CMBurdenError."""
    config = request.config()
    bids, layout = Path(config["bids_dir"]), Layout(config["output_dir"])
    _check_output(bids, layout.root)
    with only_run(layout) as lock:
        if request.analysis_level == "group":
            return _group(bids, layout, config)
        return _participants(request, bids, layout, config, lock)


@contextlib.contextmanager
def only_run(layout: Layout) -> Iterator[int]:
    """Lock the output folder: two runs would overwrite each other's manifest.

    Yields the lock's descriptor, for all processes of the run.
    """
    with contextlib.ExitStack() as stack:
        try:
            descriptor = stack.enter_context(locked(layout.lock, wait=_LOCK_WAIT_S))
        except BlockingIOError:
            raise CMBurdenError(
                f"{layout.root}: another run is at work here; wait for it, or name another folder "
                "(cmburden status shows how far it is)"
            ) from None
        # The lock's time tells `cmburden status` when this run began.
        os.utime(layout.lock)
        yield descriptor


def _participants(
    request: Request, bids: Path, layout: Layout, config: dict[str, Any], lock: int
) -> int:
    begin.check_models(config)
    begin.raise_gc_thresholds()
    scans = begin.begin(bids, layout, config)
    print(f"{len(scans)} scans found in {bids}", flush=True)
    configuration.write(config, layout.config)
    # Snakemake holds the lock as well, since it goes on if only this process is killed.
    code = subprocess.run(
        _snakemake(request, layout),
        env=os.environ | environment.of_run(layout) | {begin.BEGUN: "1"},
        check=False,
        pass_fds=[lock],
    ).returncode
    if not request.dry_run:
        _summary(layout)
    if not code:
        return 0
    free_mb = shutil.disk_usage(layout.root).free // 2**20
    if free_mb < LEAST_FREE_MB:
        raise CMBurdenError(
            f"{layout.root}: the disk is full ({free_mb} MB are free); free space and run again: "
            "what is done is kept"
        )
    return 1


def _snakemake(request: Request, layout: Layout) -> list[str]:
    """The command that runs the participant level."""
    options: dict[str, Path | int | None] = {
        "--snakefile": resources.root() / "Snakefile",
        "--profile": _profile(request.profile),
        "--directory": layout.work,
        "--configfile": layout.config,
    }
    if request.profile == "local":
        options["--cores"] = request.cores or os.cpu_count()
    command = [sys.executable, "-m", "snakemake", "--quiet", "rules", "host", "--nolock"]
    command += [str(word) for option in options.items() for word in option]
    if request.dry_run:
        command.append("--dry-run")
    return [*command, *request.further]


def _profile(name: str) -> Path:
    """Folder of a profile: one of CMBurden by its name, or the user's by its path."""
    folder = resources.root() / "workflow" / "profiles"
    if name in PROFILES:
        return folder / PROFILES[name]
    if not (Path(name) / "config.yaml").exists():
        raise CMBurdenError(
            f"--profile {name}: no folder that holds a config.yaml; use local, slurm or a copy of "
            f"{folder / PROFILES['slurm']}"
        )
    return Path(name).absolute()


def _check_output(bids: Path, output: Path) -> None:
    """Raise CMBurdenError if the output folder lies among raw data or cannot be written."""
    if output.is_relative_to(bids) and not output.is_relative_to(bids / "derivatives"):
        raise CMBurdenError(
            f"{output}: lies in the raw BIDS folder; use {bids / 'derivatives'} or another place"
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / "work").mkdir(exist_ok=True)
        probe = output / "work" / ".writable"
        # A block of most file systems, since an empty file fits on a full disk.
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as error:
        raise CMBurdenError(
            f"{output}: cannot be written ({error.strerror}); name a folder that can"
        ) from error


def _group(bids: Path, layout: Layout, config: dict[str, Any]) -> int:
    """Make tables and report from the present results. Both name the scans that were not run."""
    from cmburden.cohort import stage as aggregate
    from cmburden.report import stage as report

    if not layout.manifest.exists():
        raise CMBurdenError(f"{layout.root}: nothing was run here yet; run participant level first")
    # The last run's manifest may hold a part of the cohort.
    begin.begin(bids, layout, config)
    aggregate.run(layout, bids, config)
    report.run(layout, config)
    _summary(layout)
    aggregate.check_failed_fraction(layout, config)
    return 0


def _summary(layout: Layout) -> None:
    """Print the number of scans by status and reason, and the path of the report."""
    from cmburden.core.tables import SCANS

    if not layout.table("scans").exists():
        print(f"cmburden: no tables were made; see {layout.logs}", file=sys.stderr)
        return
    scans = SCANS.read(layout.table("scans"))
    counts = Counter(zip(scans["status"], scans["reason"].fillna(""), strict=True))
    print(f"{len(scans)} rows in {layout.table('scans')}:")
    for (status, reason), number in sorted(counts.items()):
        print(f"  {status:<9}{reason:<18}{number:>6}")
    if layout.report.exists():
        print(f"Report: {layout.report}")
    print(RESEARCH_USE_ONLY)
