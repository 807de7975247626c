"""The command line. A user's mistake ends in one sentence and code 2, never in a traceback."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import yaml

from cmburden import RESEARCH_USE_ONLY, __version__
from cmburden.core import resources
from cmburden.core.errors import CMBurdenError, told
from cmburden.core.paths import BUCKET_STAGES, COHORT_TABLES, SCAN_STAGES, Layout
from cmburden.core.scan import locked

#: Commands whose module gives ``add_arguments`` and ``main``; imported only when chosen.
ELSEWHERE = {
    "demo": "four simulated cohorts, the whole way",
    "simulate": "write a simulated BIDS cohort with known microbleeds",
    "train": "train the networks",
    "evaluate": "compare a run with known microbleeds",
    "review": "show the candidates to a reader in the browser; the next run counts with it",
    "pilot": "run some scans, then say what all of them will cost",
    "timings": "seconds a scan by stage, and bytes a scan by kind of file",
}


#: A run that fails with less disk than this left failed for want of it.
LEAST_FREE_MB = 50


def main(arguments: list[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    chosen = next((a for a in arguments if not a.startswith("-")), None)

    def call() -> int:
        args = _parser(chosen).parse_args(*_split(arguments))
        return args.call(args)

    try:
        return told(call, "cmburden: ", arguments)
    except KeyboardInterrupt:
        print("cmburden: stopped; run the same command again to go on", file=sys.stderr)
        return 130


def _split(arguments: list[str]):
    """Arguments, and a namespace that carries what follows ``--`` on to Snakemake."""
    namespace = argparse.Namespace(further=[])
    if "--" in arguments:
        cut = arguments.index("--")
        namespace.further = arguments[cut + 1 :]
        arguments = arguments[:cut]
    return arguments, namespace


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cmburden",
        description=f"Cerebral microbleed burden of BIDS cohorts. {RESEARCH_USE_ONLY}",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")

    run = commands.add_parser("run", help="detect microbleeds and make the cohort's tables")
    run.add_argument("bids_dir", type=Path)
    run.add_argument("output_dir", type=Path)
    run.add_argument("analysis_level", choices=("participant", "group"))
    run.add_argument("--participant-label", "--participant_label", nargs="+", metavar="LABEL")
    run.add_argument("--session-label", "--session_label", "--session-id", nargs="+")
    run.add_argument("--bids-filter-file", type=Path, metavar="JSON")
    run.add_argument("--skip-bids-validation", "--skip_bids_validation", action="store_true")
    run.add_argument("--config-file", type=Path, metavar="YAML")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="one key of the configuration, such as verify.thresholds.definite=0.7",
    )
    run.add_argument(
        "--profile",
        default="local",
        metavar="{local,slurm,FOLDER}",
        help="where jobs run; FOLDER holds your cluster's config.yaml (config/README.md)",
    )
    run.add_argument("--cores", "--n_cpus", "--nprocs", type=int, default=os.cpu_count())
    run.add_argument("-n", "--dry-run", action="store_true")
    run.set_defaults(call=_run)

    status = commands.add_parser("status", help="scans by stage and reason, from the records")
    status.add_argument("output_dir", type=Path)
    status.set_defaults(call=_status)

    retry = commands.add_parser("retry", help="forget failed scans, so that they run again")
    retry.add_argument("output_dir", type=Path)
    retry.add_argument("--scan", nargs="+", default=[], help="these scans, failed or not")
    retry.set_defaults(call=_retry)

    for name, text in ELSEWHERE.items():
        sub = commands.add_parser(name, help=text)
        if name == chosen:
            at = {"simulate": "simulate.command"}.get(name, name)
            module = importlib.import_module(f"cmburden.{at}")
            module.add_arguments(sub)
            sub.set_defaults(call=module.main)
    return parser


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
    from cmburden.models import contract as contracts
    from cmburden.review import store
    from cmburden.run.plan import INDEXED, collect_seldom

    contracts.check(settings)
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


def _status(args: argparse.Namespace) -> int:
    from cmburden.run import status as progress

    print(progress.said(progress.of(Layout(args.output_dir))))
    return 0


def _retry(args: argparse.Namespace) -> int:
    from cmburden.run import status as progress

    layout = Layout(args.output_dir)
    progress.expected(layout)
    with _alone(layout):
        return _forget(layout, set(args.scan))


def _forget(layout: Layout, wanted: set[str]) -> int:
    """Remove the records of failed scans (or of those named) and all that was made from them.

    Snakemake makes nothing again for a missing intermediate file while the last one exists, so
    shards, tables and report go too; what the networks said of other scans is cached.
    """
    from cmburden.run import status as progress

    failed = {
        outcome.scan_id
        for stage in (*SCAN_STAGES, *BUCKET_STAGES)
        for outcome, _ in progress.outcomes(layout, stage)
        if outcome.status == "failed"
    }
    unknown = sorted(
        s for s in wanted if not any(layout.record(stage, s).exists() for stage in SCAN_STAGES)
    )
    if unknown:
        raise CMBurdenError(f"scans {unknown} have no record in {layout.root}; see cmburden status")
    for scan_id in sorted(wanted or failed):
        for stage in (*SCAN_STAGES, *BUCKET_STAGES):
            layout.record(stage, scan_id).unlink(missing_ok=True)
        print(f"{scan_id}: will run again")
    if wanted or failed:
        for stage in (*BUCKET_STAGES, "longitudinal"):
            for shard in layout.bucket(stage, 0).parent.glob("bucket-*.parquet"):
                shard.unlink()
        for path in (*map(layout.table, COHORT_TABLES), layout.report, layout.checked):
            path.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
