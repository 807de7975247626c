"""`cmburden run`: settings, the output folder, Snakemake, and the group level."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import yaml

from cmburden import RESEARCH_USE_ONLY
from cmburden.core import resources
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import locked
from cmburden.core.paths import Layout

#: A run that fails with less disk than this left failed for want of it.
LEAST_FREE_MB = 50


def _overrides(args: argparse.Namespace) -> dict:
    from cmburden.core import config

    found: dict = {
        "bids_dir": str(args.bids_dir.absolute()),
        "output_dir": str(args.output_dir.absolute()),
    }
    if args.participant_label:
        found["participant_label"] = args.participant_label
    if args.session_label:
        found["session_label"] = args.session_label
    if args.bids_filter_file:
        found["bids_filter_file"] = str(args.bids_filter_file.absolute())
    if args.skip_bids_validation:
        found["index"] = {"skip_bids_validation": True}
    return config.merge(found, _set(args.set))


def _set(settings: list[str]) -> dict:
    """What the options ``--set`` say, nested."""
    from cmburden.core import config

    found: dict = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise CMBurdenError(f"--set {setting}: write it as key=value, such as buckets=8")
        nested = yaml.safe_load(value)
        for part in reversed(key.split(".")):
            nested = {part: nested}
        found = config.merge(found, nested)
    return found


def settings_of(settings: list[str], path: Path | None) -> dict:
    """The configuration of ``--set`` options and a configuration file, checked."""
    from cmburden.core import config

    return config.load(_set(settings), path)


@contextlib.contextmanager
def _alone(layout: Layout):
    """Hold the output folder: two runs would share one manifest, and each would undo the other's.

    Yields the lock's descriptor, for the processes that the run consists of.
    """
    with contextlib.ExitStack() as stack:
        try:
            # `cmburden status` holds it for a moment.
            descriptor = stack.enter_context(locked(layout.lock, wait=2))
        except BlockingIOError:
            raise CMBurdenError(
                f"{layout.root}: another run is at work here; wait for it, or name another folder "
                "(cmburden status shows how far it is)"
            ) from None
        # When this run began, for cmburden status.
        os.utime(layout.lock)
        yield descriptor


def _run(args: argparse.Namespace) -> int:
    from cmburden.core import config

    settings = config.load(_overrides(args), args.config_file)
    bids, layout = Path(settings["bids_dir"]), Layout(settings["output_dir"])
    _check_output(bids, layout.root)
    with _alone(layout) as lock:
        if args.analysis_level == "group":
            return _group(bids, layout, settings)
        return _participants(args, bids, layout, settings, lock)


def _participants(
    args: argparse.Namespace, bids: Path, layout: Layout, settings: dict, lock: int
) -> int:
    from cmburden.core import dataset as derivatives
    from cmburden.index import stage as index
    from cmburden.review import store
    from cmburden.run import begin
    from cmburden.run.plan import INDEXED, collect_seldom

    begin.check(settings)
    collect_seldom()
    scans = index.run(bids, layout, settings)
    store.export(layout)
    derivatives.write_description(layout, bids)
    print(f"{len(scans)} scans found in {bids}", flush=True)
    resolved = layout.config
    # In their order: that of index.suffixes says which is preferred.
    resolved.write_text(yaml.safe_dump(settings, sort_keys=False))
    command = [
        sys.executable, "-m", "snakemake",
        "--snakefile", str(resources.root() / "Snakefile"),
        "--profile", str(_profile(args.profile)),
        "--directory", str(layout.work), "--configfile", str(resolved),
        "--quiet", "rules", "host", "--nolock",
    ]  # fmt: skip
    if args.profile == "local":
        command += ["--cores", str(args.cores)]
    if args.dry_run:
        command += ["--dry-run"]
    environment = os.environ | {INDEXED: "1"}
    # Snakemake holds the lock as well: it goes on where this process alone is killed.
    code = subprocess.run(
        [*command, *args.further], env=environment, check=False, pass_fds=[lock]
    ).returncode
    if not args.dry_run:
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


def _profile(name: str) -> Path:
    """Folder of a profile: one of ours by name, or the user's own by its path."""
    ours = {"local": "default", "slurm": "slurm"}
    if name in ours:
        return resources.root() / "workflow" / "profiles" / ours[name]
    if not (Path(name) / "config.yaml").exists():
        raise CMBurdenError(
            f"--profile {name}: no folder that holds a config.yaml; use local, slurm or a copy of "
            f"{resources.root() / 'workflow' / 'profiles' / 'slurm'}"
        )
    return Path(name).absolute()


def _check_output(bids: Path, output: Path) -> None:
    if output.is_relative_to(bids) and not output.is_relative_to(bids / "derivatives"):
        raise CMBurdenError(
            f"{output}: lies in the raw BIDS folder; use {bids / 'derivatives'} or another place"
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / "work").mkdir(exist_ok=True)
        probe = output / "work" / ".writable"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as error:
        raise CMBurdenError(
            f"{output}: cannot be written ({error.strerror}); name a folder that can"
        ) from error


def _group(bids: Path, layout: Layout, settings: dict) -> int:
    """Tables and report from what is there; scans that were not run are named in them."""
    from cmburden.cohort import stage as aggregate
    from cmburden.index import stage as index
    from cmburden.report import stage as report
    from cmburden.review import store

    if not layout.manifest.exists():
        raise CMBurdenError(f"{layout.root}: nothing was run here yet; run participant level first")
    # The manifest is that of the last run, which may have been of one participant.
    index.run(bids, layout, settings)
    store.export(layout)
    aggregate.run(layout, bids, settings)
    report.run(layout, settings)
    _summary(layout)
    aggregate.check_failed_fraction(layout, settings)
    return 0


def _summary(layout: Layout) -> None:
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
