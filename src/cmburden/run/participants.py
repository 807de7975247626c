"""`cmburden run`: reads the configuration, holds the output folder, starts Snakemake.

The group level starts Snakemake too, with the rules of tables and report alone.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmburden import RESEARCH_USE_ONLY
from cmburden.core import config as configuration
from cmburden.core import resources, table_set, user_text
from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.run import begin, environment, processed, watch, work_folder
from cmburden.run import settings as folder_settings
from cmburden.run.lock import only_run
from cmburden.run.plan import Plan
from cmburden.run.settings import Settings

#: Exit code of a strict run that reached its end with scans that failed.
SCANS_FAILED = 3
#: Least free disk, MB. With less, the message about a failed run names the full disk.
LEAST_FREE_MB = 50
#: Profiles of this repository, by the name that ``--profile`` takes.
PROFILES = {"local": "default", "slurm": "slurm"}
#: Rules of the group level.
_GROUP_RULES = ("all", "aggregate", "report", "check")


@dataclasses.dataclass(frozen=True)
class Request:
    """A request for a run: the arguments of `cmburden run`.

    ``settings`` are the options ``--set`` as typed; ``further`` are options of Snakemake. ``cores``
    is None for all cores, ``threads`` for those of the configuration, ``memory_mb`` for no limit.
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
    forget_settings: bool = False
    other_bids_dir: bool = False
    exclude_participant_label: Sequence[str] = ()
    threads: int | None = None
    memory_mb: int | None = None
    work_dir: Path | None = None
    strict: bool = False
    stop_at_first_failure: bool = False
    verbose: bool = False

    @property
    def layout(self) -> Layout:
        return Layout(self.output_dir.absolute())

    def config(self) -> dict[str, Any]:
        """The whole configuration, checked."""
        return self.chosen().config

    def chosen(self) -> Settings:
        """The settings of the request, upon those of the output folder."""
        given = nested(self.settings)
        for key, argument in (("bids_dir", "BIDS_DIR"), ("output_dir", "OUTPUT_DIR")):
            if key in given:
                raise CMBurdenError(f"--set {key}: give the folder as {argument} instead")
        if "analysis_level" in given:
            raise CMBurdenError("--set analysis_level: write participant or group as the argument")
        return folder_settings.of(
            self.layout,
            configuration.merge(self._overrides(), given),
            self.config_file,
            forget=self.forget_settings,
        )

    def _overrides(self) -> dict[str, Any]:
        """What arguments and options give, but ``--set``."""
        overrides: dict[str, Any] = {
            "bids_dir": str(self.bids_dir.absolute()),
            "output_dir": str(self.output_dir.absolute()),
            "analysis_level": self.analysis_level,
        }
        labels = list(self.participant_label)
        if self.exclude_participant_label:
            labels = _without(labels, self.exclude_participant_label, self.bids_dir)
        if labels:
            overrides["participant_label"] = labels
        if self.threads:
            overrides["threads"] = self.threads
        if self.session_label:
            overrides["session_label"] = list(self.session_label)
        if self.bids_filter_file:
            overrides["bids_filter_file"] = str(self.bids_filter_file.absolute())
        if self.skip_bids_validation:
            overrides["index"] = {"skip_bids_validation": True}
        return overrides


def _without(labels: Sequence[str], excluded: Sequence[str], bids: Path) -> list[str]:
    """``labels``, by default those of all participants of ``bids``, but the ``excluded``."""
    of_tree = sorted(path.name for path in bids.glob("sub-*") if path.is_dir())
    out = {"sub-" + label.removeprefix("sub-") for label in excluded}
    unknown = sorted(out.difference(of_tree))
    if unknown:
        raise CMBurdenError(
            f"--exclude-participant-label: {', '.join(unknown)} not in {bids}; it has "
            f"{', '.join(of_tree[:5]) or 'no participant'} ..."
        )
    asked = ["sub-" + label.removeprefix("sub-") for label in labels] or of_tree
    kept = [label.removeprefix("sub-") for label in asked if label not in out]
    if not kept:
        raise CMBurdenError("--exclude-participant-label: it leaves no participant; name fewer")
    return kept


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
    layout = request.layout
    # A mistake in an option is said before the folder is made.
    configuration.load(nested(request.settings), request.config_file)
    _check_request(request)
    if request.work_dir and (note := work_folder.place(layout, request.work_dir)):
        print(note, flush=True)
    _check_output(layout.root)
    with only_run(layout) as lock:
        chosen = request.chosen()
        bids = Path(chosen.config["bids_dir"])
        moved = folder_settings.check_bids_dir(layout, chosen, other=request.other_bids_dir)
        for note in [*chosen.notes(), *([moved] if moved else [])]:
            print(note, flush=True)
        config = _prepared(request, bids, layout, chosen)
        return _snakemake_run(request, layout, config, lock)


def _prepared(request: Request, bids: Path, layout: Layout, chosen: Settings) -> dict[str, Any]:
    """Check what can be checked, index, and remember the settings; returns the configuration."""
    config = begin.with_level(layout, chosen.config)
    if config["analysis_level"] == "group":
        if not layout.manifest.exists() or chosen.before is None:
            raise CMBurdenError(
                f"{layout.root}: nothing was run here yet; run participant level first"
            )
    else:
        begin.check_models(config)
    if config["analysis_level"] != "participant":
        _check_buckets(chosen)
    begin.raise_gc_thresholds()
    scans = begin.begin(bids, layout, config)
    print(f"{len(scans)} scans found in {bids}", flush=True)
    if config["analysis_level"] == "participant":
        begin.remake_damaged(layout, config, dry_run=request.dry_run)
    if config["analysis_level"] == "part":
        print(
            "a part of the cohort is asked for: tables and report stay as they are; to make them "
            f"of everybody who was processed: cmburden run {bids} {layout.root} group",
            flush=True,
        )
    if config["analysis_level"] == "group":
        for note in processed.check_group(Plan(config)):
            print(note, flush=True)
    if request.dry_run:
        configuration.write(config, layout.run_config)
    else:
        begin.remember(layout, chosen, config)
    return config


def _check_buckets(chosen: Settings) -> None:
    """Refuse another number of buckets to a command that leaves the other scans as they are."""
    now = chosen.config["buckets"]
    was = now if chosen.before is None else chosen.before.get("buckets", now)
    if was != now:
        raise CMBurdenError(
            f"buckets={now}: the scans were processed in {was} buckets; leave the setting out, or "
            "run the participant level of the whole cohort with it first"
        )


def _check_request(request: Request) -> None:
    """Raise CMBurdenError where options contradict each other, before a folder is made."""
    if request.memory_mb and request.profile != "local":
        raise CMBurdenError(
            "--mem: bounds the memory of this machine; on a cluster each job asks for its own "
            "(resources in the profile's config.yaml)"
        )
    _check_place(request.bids_dir.absolute(), request.layout.root)


def _snakemake_run(request: Request, layout: Layout, config: dict[str, Any], lock: int) -> int:
    """Run Snakemake, print the summary, and return the exit code."""
    before = _made(layout)
    # Snakemake holds the lock as well, since it goes on if only this process is killed.
    code = watch.watched(
        _snakemake(request, layout, config["analysis_level"]),
        layout,
        config,
        os.environ | environment.of_run(layout) | {begin.BEGUN: "1"},
        lock,
        watch.Manner(
            seen=not request.dry_run,
            verbose=request.verbose,
            stop_at_first_failure=request.stop_at_first_failure,
        ),
    )
    if not request.dry_run:
        _summary(layout, config, failed=bool(code), before=before)
    if not code:
        strict = request.strict and not request.dry_run
        return SCANS_FAILED if strict and _failed(layout, config) else 0
    free_mb = shutil.disk_usage(layout.root).free // 2**20
    if free_mb < LEAST_FREE_MB:
        raise CMBurdenError(
            f"{layout.root}: the disk is full ({free_mb} MB are free); free space and run again: "
            "what is done is kept"
        )
    return 1


def _failed(layout: Layout, config: dict[str, Any]) -> int:
    """Number of scans of the run that failed."""
    from cmburden.run import status

    plan = Plan(config)
    failed = [s for s in sorted(plan.asked) if status.fate(layout, s)[0] == "failed"]
    if failed:
        print(f"cmburden: --strict: {len(failed)} scan(s) failed", file=sys.stderr)
    return len(failed)


@dataclasses.dataclass(frozen=True)
class _Made:
    """The mark of the tables, and when it was written, ns.

    Snakemake restores the mark after a failed job with a new time.
    """

    mark: bytes
    at: int


def _made(layout: Layout) -> _Made | None:
    path = layout.table_set
    return _Made(path.read_bytes(), path.stat().st_mtime_ns) if path.exists() else None


def _snakemake(request: Request, layout: Layout, level: str) -> list[str]:
    """The command that runs a level."""
    options: dict[str, Path | str | int | None] = {
        "--snakefile": resources.root() / "Snakefile",
        "--profile": _profile(request.profile),
        "--directory": layout.work,
        "--configfile": layout.run_config,
    }
    if request.profile == "local":
        options["--cores"] = request.cores or os.cpu_count()
    if request.memory_mb:
        options["--resources"] = f"mem_mb={request.memory_mb}"
    command = [sys.executable, "-m", "snakemake"]
    if level == "group":
        # Tables are made again whatever the times of records and shards say.
        command += ["--forcerun", "aggregate", "--allowed-rules", *_GROUP_RULES]
    command += ["--quiet", "rules", "host", "--nolock"]
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


def _check_place(bids: Path, output: Path) -> None:
    """Raise CMBurdenError if the output folder lies among raw data."""
    if output.is_relative_to(bids) and not output.is_relative_to(bids / "derivatives"):
        raise CMBurdenError(
            f"{output}: lies in the raw BIDS folder; use {bids / 'derivatives'} or another place"
        )


def _check_output(output: Path) -> None:
    """Raise CMBurdenError if the output folder cannot be written."""
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


def _summary(layout: Layout, config: dict[str, Any], *, failed: bool, before: _Made | None) -> None:
    """Print the number of scans by status and reason, and the path of the report.

    ``before``: the tables before the run. If the run failed and they are still there, they are
    called old.
    """
    from cmburden.core.tables import SCANS

    if config["analysis_level"] == "part":
        _summary_of_part(layout, config, failed=failed)
        return
    if not layout.table("scans").exists():
        print(f"cmburden: no tables were made; see {layout.logs}", file=sys.stderr)
        return
    now = _made(layout)
    if failed and (now is None or (before is not None and now.mark == before.mark)):
        print(
            f"cmburden: the run did not reach its end (see {layout.logs}): tables and report are "
            f"those of an earlier run{_date(before)}; run the same command again",
            file=sys.stderr,
        )
        return
    if failed:
        print(
            "cmburden: the tables are of this run, but it did not reach its end; "
            f"see {layout.logs}",
            file=sys.stderr,
        )
    scans = SCANS.read(layout.table("scans"))
    counts = Counter(zip(scans["status"], scans["reason"].fillna(""), strict=True))
    print(f"{len(scans)} rows in {layout.table('scans')}:")
    for (status, reason), number in sorted(counts.items()):
        print(f"  {status:<9}{reason:<18}{number:>6}")
    mark = table_set.read(layout)
    if mark is not None and mark.part:
        print(mark.part)
    _print_report(layout, mark)
    print(RESEARCH_USE_ONLY)


def _date(made: _Made | None) -> str:
    """When tables were made, for a sentence."""
    return time.strftime(", of %Y-%m-%d %H:%M", time.localtime(made.at / 1e9)) if made else ""


def _print_report(layout: Layout, mark: table_set.Mark | None) -> None:
    """Print the report's path; say so if it shows other tables than those that are there."""
    from cmburden.report.stage import tables_key

    if not layout.report.exists():
        return
    if mark is not None and tables_key(layout) != mark.key:
        print(f"cmburden: {layout.report} is older than the tables", file=sys.stderr)
    else:
        print(f"Report: {layout.report}")


def _summary_of_part(layout: Layout, config: dict[str, Any], *, failed: bool) -> None:
    """Print the fate of the scans that a part asked for."""
    from cmburden.run import status

    asked = Plan(config).asked
    counts: Counter[tuple[str, str]] = Counter(
        status.fate(layout, scan_id) for scan_id in sorted(asked)
    )
    print(f"{len(asked)} scans of the part:")
    for (name, reason), number in sorted(counts.items()):
        print(f"  {name:<9}{reason:<18}{number:>6}")
    if failed:
        print(f"cmburden: the run did not reach its end; see {layout.logs}", file=sys.stderr)
    print(
        "Tables and report were left as they are. Of everybody who was processed they are made by: "
        f"cmburden run {config['bids_dir']} {layout.root} group"
    )
    print(RESEARCH_USE_ONLY)
