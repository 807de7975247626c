"""The stage `aggregate`: from records and shards to the tables of the cohort.

Every scan has a row, with any outcome. Two runs over the same records give equal bytes. The column
``seconds`` of `runs` differs between computations of the same result.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import pandas as pd

from cmburden.cohort import changes, choose, followed, readers_counts, reviewed, scan_words
from cmburden.cohort.candidates import gather_candidates, lesions_of
from cmburden.cohort.columns import Wanted
from cmburden.cohort.participants import ages_of_another_session, participant_rows
from cmburden.cohort.phenotypes import read as read_phenotypes
from cmburden.cohort.runs import stage_runs
from cmburden.cohort.scans import (
    Shards,
    read_verdicts,
    region_counts,
    scan_rows,
    with_counts,
    with_review,
)
from cmburden.cohort.second_readings import first_readings
from cmburden.core import stages, table_set
from cmburden.core.errors import ILL, CMBurdenError
from cmburden.core.files import write_json
from cmburden.core.keys import hash_of
from cmburden.core.paths import COHORT_TABLES, Layout
from cmburden.core.schema import Table
from cmburden.core.tables import (
    ALL,
    CHANGES,
    COUNTS,
    CURVES,
    LESION_CELLS,
    LESIONS,
    MANIFEST,
    PAIRS,
    PARTICIPANTS,
    REJECTED,
    REVIEWED,
    REVIEWS,
    RUNS,
    SCANS,
    SUMMARY,
)
from cmburden.summary import bins, curves, estimates, standards
from cmburden.summary import counted as counted_views
from cmburden.summary.cohort import Cohort

STAGE, VERSION = stages.AGGREGATE.name, stages.AGGREGATE.version
_log = logging.getLogger(__name__)


def run(layout: Layout, bids_dir: Path, config: dict[str, Any]) -> None:
    """Write cohort/*.parquet with their .json and work/candidates.parquet.

    Raises
    ------
    CMBurdenError
        Where the configuration is unusable; nothing is then written. Too many failed scans raise
        in ``check_failed_fraction`` and not here, so that the tables exist by then.
    """
    settings = config["aggregate"]
    choose.check_rules(settings["choose_scan"])
    bins.checked_edges(config["report"]["bins"], "report.bins")
    bins.checked_edges(config["report"]["age_bands"], "report.age_bands")
    standards.standard_of(config["report"]["standard"])
    manifest = MANIFEST.read(layout.manifest)
    rejected = REJECTED.read(layout.rejected) if layout.rejected.exists() else REJECTED.frame([])

    candidates, buckets = gather_candidates(layout, manifest)
    lesions = lesions_of(candidates, manifest, settings["macrohaemorrhage_mm"])
    shards = Shards(buckets, candidates["scan_id"].value_counts().to_dict())
    scans = scan_rows(layout, manifest, rejected, shards, config)
    records = Records(scans, lesions, rejected, stage_runs(layout, manifest, config["buckets"]))
    write_tables(layout, bids_dir, config, records)


@dataclasses.dataclass(frozen=True)
class Records:
    """What the stages left of a cohort: `scans` without counts, the `lesions` of all scans,
    `rejected`, and rows of `runs`."""

    scans: pd.DataFrame
    lesions: pd.DataFrame
    rejected: pd.DataFrame
    runs: list[dict[str, Any]]


def write_tables(layout: Layout, bids_dir: Path, config: dict[str, Any], records: Records) -> None:
    """Write cohort/*.parquet with their .json, all or none of them."""
    reviews = REVIEWS.read(layout.reviews) if layout.reviews.exists() else REVIEWS.frame([])
    stated = scan_words.stated(records.scans, first_readings(reviews))
    ok = stated.loc[stated["status"] == "ok", "scan_id"]
    lesions = records.lesions[records.lesions["scan_id"].isin(ok)]
    counted = with_counts(stated, lesions)
    verdicts, again = read_verdicts(layout, reviews, counted)
    scans = SCANS.frame(with_review(counted, lesions, verdicts))
    lesions = LESIONS.frame(lesions)
    people_of_tree = sorted(set(scans["participant_id"]))
    phenotypes = read_phenotypes(Path(bids_dir), people_of_tree, _wanted_columns(config))
    people = participant_rows(scans, lesions, phenotypes, config)
    problems = [*phenotypes.problems, *ages_of_another_session(people, scans, phenotypes.sessions)]
    for problem in problems:
        _log.warning("%s", problem)
    people = readers_counts.with_pattern(people, verdicts)

    manifest = MANIFEST.read(layout.manifest)
    visits, pairs, changed = _changes(
        layout, config, manifest, scans, lesions, phenotypes.sessions, verdicts.places
    )
    participants = PARTICIPANTS.frame(people)
    sample = readers_counts.read_sample(layout)
    cohort = Cohort(
        scans=scans,
        lesions=lesions,
        participants=participants,
        rejected=records.rejected,
        pairs=PAIRS.frame(pairs),
        followed=visits,
        changes=CHANGES.frame(changed),
        by_readers=readers_counts.by_readers(participants, lesions, verdicts, sample, config),
    )
    shown = counted_views.shown(cohort, config)
    summary = [
        *estimates.estimates(cohort, config),
        *reviewed.rows(verdicts, again, first_readings(reviews), cohort, config),
    ]
    tables: list[tuple[Table, pd.DataFrame | list[dict[str, Any]]]] = [
        (SCANS, scans),
        (LESIONS, lesions),
        (COUNTS, region_counts(scans, lesions)),
        (PARTICIPANTS, people),
        (PAIRS, pairs),
        (CHANGES, changed),
        (REVIEWED, verdicts.places),
        (RUNS, records.runs),
        (SUMMARY, summary),
        (CURVES, list(curves.curves(lesions, cohort.participants, config))),
        (LESION_CELLS, list(curves.lesion_cells(shown.lesions, shown.participants))),
    ]
    part = _part(bids_dir, config, manifest, records.rejected)
    _write_set(layout, config, part, tables, phenotypes.described)
    write_json(layout.phenotype_problems, problems)


def _write_set(
    layout: Layout,
    config: dict[str, Any],
    part: str | None,
    tables: list[tuple[Table, pd.DataFrame | list[dict[str, Any]]]],
    described: dict[str, str],
) -> None:
    """Replace the tables of the cohort and their sidecars together."""
    settings = hash_of(VERSION, *(config[name] for name in ("aggregate", "longitudinal", "report")))
    with table_set.replaced(layout, settings, table_set.selection_of(config), part) as folder:
        for table, rows in tables:
            path = folder / layout.table(table.name).name
            table.write(path, rows, note={"part": part} if part else None)
        people = next(pd.DataFrame(rows) for table, rows in tables if table is PARTICIPANTS)
        _write_sidecars(folder, layout, people, described)


def _changes(
    layout: Layout,
    config: dict[str, Any],
    manifest: pd.DataFrame,
    scans: pd.DataFrame,
    lesions: pd.DataFrame,
    sessions: pd.DataFrame,
    places: pd.DataFrame,
) -> tuple[pd.DataFrame, list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of `followed_sessions`, `pairs` and `changes`; ``sessions``: rows of sessions.tsv;
    ``places``: rows of `reviewed`."""
    tracks, visits = followed.gather(layout, manifest, config["buckets"])
    ok = scans.loc[scans["status"] == "ok", "scan_id"]
    tracks = tracks[tracks["scan_id"].isin(ok)]
    pairs, changed = changes.of_cohort(
        tracks, visits, scans, lesions, sessions, config["longitudinal"]
    )
    return visits, pairs, changes.with_verdicts(changed, places)


def _part(
    bids_dir: Path, config: dict[str, Any], manifest: pd.DataFrame, rejected: pd.DataFrame
) -> str | None:
    """The sentence that names the part of the cohort in the tables; None for the whole cohort."""
    if table_set.selection_of(config) is None:
        return None
    asked = [
        f"{key.removesuffix('_label')} {', '.join(map(str, config[key]))}"
        for key in ("participant_label", "session_label")
        if config[key]
    ]
    if config["bids_filter_file"]:
        asked.append(f"filter file {Path(config['bids_filter_file']).name}")
    own = rejected[rejected["reason"] != "filtered"]["participant_id"].dropna()
    present = {*manifest["participant_id"], *own}
    everybody = {path.name for path in Path(bids_dir).glob("sub-*") if path.is_dir()} | present
    return f"Subset: {len(present)} of {len(everybody)} participants ({'; '.join(asked)})."


def _wanted_columns(config: dict[str, Any]) -> Wanted:
    """Columns of participants.tsv that the configuration names, or "all"."""
    named = config["aggregate"]["phenotypes"]
    if named == "all":
        return "all"
    report = config["report"]
    sample = [name for name in (report["cluster"], report["weights"]) if name]
    return [*named, *report["covariates"], *report["strata"], *report["nominal"], *sample]


def check_failed_fraction(layout: Layout, config: dict[str, Any]) -> None:
    """Raise where more scans failed, or crashed, than the configuration allows.

    ``aggregate.max_failed_fraction`` is the largest share of failed scans, and
    ``aggregate.max_crashed_fraction`` that of scans whose work crashed: if many do, the machine or
    CMBurden is at fault. Excluded scans count neither as failed nor as read. Call this function
    once the tables and the report exist, so that the user can look at them.
    """
    scans = SCANS.read(layout.table("scans"))
    status = scans["status"].value_counts()
    failed, tried = int(status.get("failed", 0)), int(status.get("failed", 0) + status.get("ok", 0))
    allowed = config["aggregate"]["max_failed_fraction"]
    if tried and failed / tried > allowed:
        raise CMBurdenError(
            f"{failed} of {tried} scans failed ({failed / tried:.0%}), above "
            f"aggregate.max_failed_fraction {allowed:g}; see {layout.report} for the reasons"
        )
    crashed = int(scans["reason"].isin(ILL).sum())
    allowed = config["aggregate"]["max_crashed_fraction"]
    if tried and crashed / tried > allowed:
        raise CMBurdenError(
            f"{crashed} of {tried} scans crashed ({crashed / tried:.0%}), above "
            f"aggregate.max_crashed_fraction {allowed:g}: the machine or CMBurden is at fault; "
            f"read one of the logs that {layout.report} names, then cmburden retry {layout.root}"
        )


def _write_sidecars(
    folder: Path, layout: Layout, participants: pd.DataFrame, described: dict[str, str]
) -> None:
    for name in COHORT_TABLES:
        content = ALL[name].sidecar()
        if name == "participants":
            for column in participants.columns:
                source = column.removeprefix("session_").removeprefix("phenotype_")
                file = "sessions.tsv" if column.startswith("session_") else "participants.tsv"
                content.setdefault(
                    column, {"Description": described.get(source, f"Column of {file}")}
                )
        write_json(folder / layout.table_sidecar(name).name, content)
