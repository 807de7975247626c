"""What the results of an output folder were made with: from records, and from Snakemake's memory.

The records of preprocess and register say what they were made from. Of detect and verify, Snakemake
stores the parameters of each job beside the job's output: a job is up to date if the plan gives the
same parameters. Results of which nothing is known count as up to date.
"""

from __future__ import annotations

import ast
import base64
import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cmburden.core import carry_out
from cmburden.core.carry_out import Job
from cmburden.core.errors import CMBurdenError
from cmburden.core.keys import bucket_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.core.stages import BUCKET_STAGES, RECORDED_STAGES, SCAN_STAGES, version_of
from cmburden.core.tables import SCANS
from cmburden.run import status
from cmburden.run.plan import Plan

#: Longest name of a file of Snakemake's memory; a longer one becomes folders.
_LONGEST_NAME = 254
#: Key of a job's parameter that says what the job worked on.
_CONTENT = "content_keys"


class Memory:
    """Snakemake's memory in ``work/.snakemake`` of an output folder."""

    def __init__(self, layout: Layout):
        self._work = layout.work
        self._folder = layout.work / ".snakemake" / "metadata"

    def parameter(self, output: Path) -> dict[str, Any] | None:
        """The parameter of the job that made ``output``; None if it is not known.

        ``output`` is a path below the output folder, as ``Layout`` gives it.
        """
        name = base64.urlsafe_b64encode(self._name(output).encode()).decode()
        parts = [name[i : i + _LONGEST_NAME] for i in range(0, len(name), _LONGEST_NAME)]
        path = self._folder.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))["params"]
            values = [ast.literal_eval(text) for text in stored]
        except (OSError, ValueError, KeyError, TypeError, SyntaxError):
            return None
        return next((value for value in values if isinstance(value, dict)), None)

    def _name(self, output: Path) -> str:
        """``output`` as the rules name it: relative to the working folder, which is ``work``."""
        return f"../work/{output.relative_to(self._work).as_posix()}"


@dataclasses.dataclass(frozen=True)
class Stale:
    """Scans whose results are of other settings, of another version, or of another image.

    ``settings``: stage -> scan ids. An id may occur in all three.
    """

    settings: dict[str, set[str]]
    versions: dict[str, set[str]]
    images: set[str]

    @property
    def of_settings(self) -> set[str]:
        return set().union(*self.settings.values())


def stale(plan: Plan) -> Stale:
    """Results of the plan's scans that the plan's own parameters would not give."""
    memory = Memory(plan.layout)
    settings: dict[str, set[str]] = defaultdict(set)
    versions: dict[str, set[str]] = defaultdict(set)
    images: set[str] = set()
    for stage in SCAN_STAGES:
        job = _job(plan, stage)
        for scan_id, scan in plan.scans.items():
            record = Outcome.read(plan.layout.record(stage, scan_id))
            known, now = record.made_from, carry_out.made_from(job, scan)
            if not known:
                continue
            if known.get("content_key") != now["content_key"]:
                images.add(scan_id)
            if known.get("settings") != now["settings"]:
                settings[stage].add(scan_id)
            if record.version != job.version:
                versions[stage].add(scan_id)
    for stage in BUCKET_STAGES:
        for bucket, scan_ids in plan.buckets.items():
            output = plan.layout.bucket(stage, bucket)
            was = memory.parameter(output) if output.exists() else None
            if was is not None:
                of_job = set(scan_ids).intersection(was.get(_CONTENT, {}))
                _compare(stage, was, plan.of_bucket(stage, bucket), of_job, settings, versions)
    return Stale(dict(settings), dict(versions), images)


def _compare(
    stage: str,
    was: dict[str, Any],
    now: dict[str, Any],
    scan_ids: set[str],
    settings: dict[str, set[str]],
    versions: dict[str, set[str]],
) -> None:
    if _settings(was) != _settings(now):
        settings[stage] |= scan_ids
    if was.get("version") != now["version"]:
        versions[stage] |= scan_ids


def _settings(parameter: dict[str, Any]) -> dict[str, Any]:
    left_out = (_CONTENT, "version")
    return {key: value for key, value in parameter.items() if key not in left_out}


def finished(plan: Plan, scan_ids: Iterable[str]) -> set[str]:
    """Those of ``scan_ids`` with results that a job of their bucket takes without new work.

    Their records of preprocess and register are current, and the settings of detect and verify are
    those of their bucket's shard.
    """
    memory, layout = Memory(plan.layout), plan.layout
    done = set()
    usable: dict[str, bool] = {}
    jobs = [_job(plan, stage) for stage in SCAN_STAGES]
    for scan_id in scan_ids:
        if not all(layout.record(stage, scan_id).exists() for stage in RECORDED_STAGES):
            continue
        if not all(carry_out.is_current(job, plan.scans[scan_id]) for job in jobs):
            continue
        bucket = str(bucket_of(scan_id, plan.config["buckets"]))
        if bucket not in usable:
            usable[bucket] = _same_settings(memory, plan, bucket)
        if usable[bucket]:
            done.add(scan_id)
    return done


def _job(plan: Plan, stage: str) -> Job:
    """A stage of scans with the plan's settings."""
    return Job(stage, version_of(stage), plan.layout, plan.config[stage])


def _same_settings(memory: Memory, plan: Plan, bucket: str) -> bool:
    """Whether the bucket's shards are of the plan's settings and versions."""
    for stage in BUCKET_STAGES:
        was = memory.parameter(plan.layout.bucket(stage, bucket))
        if was is None:
            continue
        now = plan.of_bucket(stage, bucket)
        if _settings(was) != _settings(now) or was.get("version") != now["version"]:
            return False
    return True


def lost(plan: Plan) -> set[str]:
    """Scans that are ok in the present tables, and of which no result is left.

    A scan that has failed since has a result, and a row with its reason.
    """
    layout = plan.layout
    try:
        scans = SCANS.read(layout.table("scans"))
    except (CMBurdenError, OSError):
        return set()
    gone = set()
    kept: dict[str, Counter[str] | None] = {}
    for scan_id in set(scans.loc[scans["status"] == "ok", "scan_id"]).intersection(plan.scans):
        fate = status.fate(layout, scan_id)
        if fate == ("ok", ""):
            bucket = str(bucket_of(scan_id, plan.config["buckets"]))
            if bucket not in kept:
                kept[bucket] = _kept(layout.bucket("verify", bucket))
            if not _in_shard(layout, scan_id, kept[bucket]):
                gone.add(scan_id)
        elif fate[1] == "not_run":
            gone.add(scan_id)
    return gone


def _kept(shard: Path) -> Counter[str] | None:
    """Number of lesions by scan in a shard of verify; None if it is missing or torn."""
    try:
        table = pq.read_table(shard, columns=["scan_id", "kept"], partitioning=None)
    except (OSError, pa.ArrowException):
        return None
    return Counter(table.filter(table["kept"])["scan_id"].to_pylist())


def _in_shard(layout: Layout, scan_id: str, kept: Counter[str] | None) -> bool:
    """Whether the shard holds as many lesions of the scan as its record says."""
    if kept is None:
        return False
    measures = Outcome.read(layout.record("verify", scan_id)).measures
    return bool(measures.get("n_kept", kept[scan_id]) == kept[scan_id])


def check_group(plan: Plan) -> list[str]:
    """Refuse tables that would be worse than the present ones; sentences about what is older.

    Raises
    ------
    CMBurdenError
        If scans were processed with other settings than those of ``plan``, or have lost a result
        that the present tables hold.
    """
    results = stale(plan)
    wrong = results.of_settings
    again = f"cmburden run {plan.bids} {plan.layout.root} participant"
    if wrong:
        stages = ", ".join(stage for stage, ids in results.settings.items() if ids)
        raise CMBurdenError(
            f"{len(wrong)} scan(s), such as {min(wrong)}, were processed with other settings of "
            f"{stages} than those of this command; process them first ({again}), or leave the "
            "settings out"
        )
    gone = lost(plan)
    if gone:
        raise CMBurdenError(
            f"{len(gone)} scan(s), such as {min(gone)}, had a result in the present tables and "
            "have none now (a run was stopped, or cmburden retry has forgotten them); the tables "
            f"stay as they are; process the scans first: {again}"
        )
    notes = []
    for stage, ids in results.versions.items():
        if ids:
            notes.append(
                f"{len(ids)} scan(s) were processed by another version of {stage}; to process them "
                f"again: {again}"
            )
    if results.images:
        notes.append(
            f"{len(results.images)} scan(s), such as {min(results.images)}, have changed in the "
            f"BIDS folder since they were processed; to process them again: {again}"
        )
    return notes
