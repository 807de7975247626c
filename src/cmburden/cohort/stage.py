"""From records and shards to the cohort tables: every scan a row, whatever became of it.

Two runs over the same records give equal bytes, but for ``seconds`` of `runs`, which says how
long the computation took that made the result.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from cmburden.cohort import changes, phenotypes
from cmburden.cohort import choose as burden
from cmburden.cohort import reviewed as measures
from cmburden.cohort.candidates import _candidates, _lesions
from cmburden.cohort.participants import _participants
from cmburden.cohort.runs import _runs
from cmburden.cohort.scans import _counts, _scans, _verdicts, _with_counts, _with_review
from cmburden.core import stages
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import write_json
from cmburden.core.paths import COHORT_TABLES, Layout
from cmburden.core.tables import (
    ALL,
    CHANGES,
    COUNTS,
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
from cmburden.summary import bins
from cmburden.summary import changes as changes_summary
from cmburden.summary import estimates as summary

STAGE, VERSION = stages.AGGREGATE.name, stages.AGGREGATE.version
_log = logging.getLogger(__name__)


def run(layout: Layout, bids_dir: Path, config: dict[str, Any]) -> None:
    """Write cohort/*.parquet with their .json and work/candidates.parquet.

    Raises
    ------
    CMBurdenError
        Where the configuration cannot be used (before anything is written). Too many failed scans
        do not raise here but in ``check_failed_fraction``: the tables are to exist by then.
    """
    settings, shown = config["aggregate"], config["report"]
    burden.check_rules(settings["choose_scan"])
    bins.checked_edges(shown["bins"], "report.bins")
    bins.checked_edges(shown["age_bands"], "report.age_bands")
    manifest = MANIFEST.read(layout.manifest)
    rejected = REJECTED.read(layout.rejected) if layout.rejected.exists() else REJECTED.frame([])

    candidates, present = _candidates(layout, manifest)
    lesions = _lesions(candidates, manifest, settings["macrohaemorrhage_mm"])
    kept = candidates["scan_id"].value_counts().to_dict()
    scans = _scans(layout, manifest, rejected, present, kept, config)
    write_tables(layout, bids_dir, config, scans, lesions, rejected,
                 _runs(layout, manifest, config["buckets"]))  # fmt: skip


def write_tables(
    layout: Layout,
    bids_dir: Path,
    config: dict[str, Any],
    scans: pd.DataFrame,
    lesions: pd.DataFrame,
    rejected: pd.DataFrame,
    runs: list[dict[str, Any]],
) -> None:
    """Write cohort/*.parquet from `scans` without its counts and the `lesions` of all scans."""
    lesions = lesions[lesions["scan_id"].isin(scans.loc[scans["status"] == "ok", "scan_id"])]
    scans = _with_counts(scans, lesions)
    reviews = REVIEWS.read(layout.reviews) if layout.reviews.exists() else REVIEWS.frame([])
    verdicts = _verdicts(layout, reviews, scans)
    scans = SCANS.frame(_with_review(scans, lesions, verdicts))
    lesions = LESIONS.frame(lesions)
    known = phenotypes.read(Path(bids_dir), sorted(set(scans["participant_id"])))
    for problem in known.problems:
        _log.warning("%s", problem)
    participants = _participants(scans, lesions, known, config)

    manifest = MANIFEST.read(layout.manifest)
    tracks, followed = changes.gather(layout, manifest, config["buckets"])
    tracks = tracks[tracks["scan_id"].isin(scans.loc[scans["status"] == "ok", "scan_id"])]
    pairs, changed = changes.of_cohort(
        tracks, followed, scans, lesions, known.sessions, config["longitudinal"]
    )

    SCANS.write(layout.table("scans"), scans)
    LESIONS.write(layout.table("lesions"), lesions)
    COUNTS.write(layout.table("counts"), _counts(scans, lesions))
    PARTICIPANTS.write(layout.table("participants"), participants)
    PAIRS.write(layout.table("pairs"), pairs)
    CHANGES.write(layout.table("changes"), changed)
    REVIEWED.write(layout.table("reviewed"), verdicts.places)
    RUNS.write(layout.table("runs"), runs)
    persons = PARTICIPANTS.frame(participants)
    errors = measures.detector_errors(verdicts, scans)
    SUMMARY.write(
        layout.table("summary"),
        [
            *summary.estimates(scans, lesions, persons, rejected, config, errors),
            *changes_summary.estimates(PAIRS.frame(pairs), followed, persons, config),
            *measures.rows(verdicts, reviews, scans, lesions, config),
        ],
    )
    write_json(layout.phenotype_problems, known.problems)
    _write_sidecars(layout, participants, known.described)


def check_failed_fraction(layout: Layout, config: dict[str, Any]) -> None:
    """Raise where more scans failed than config ``aggregate.max_failed_fraction`` allows.

    Excluded scans are sound and outside what was asked for: they count neither way. To be called
    once the tables and the report exist, so that they can be looked at.
    """
    allowed = config["aggregate"]["max_failed_fraction"]
    status = SCANS.read(layout.table("scans"))["status"].value_counts()
    failed, tried = int(status.get("failed", 0)), int(status.get("failed", 0) + status.get("ok", 0))
    if tried and failed / tried > allowed:
        raise CMBurdenError(
            f"{failed} of {tried} scans failed ({failed / tried:.0%}), above "
            f"aggregate.max_failed_fraction {allowed:g}; see {layout.report} for the reasons"
        )


# --- candidates and lesions ---


# --- scans ---


# --- participants ---


# --- runs and sidecars ---


def _write_sidecars(layout: Layout, participants: pd.DataFrame, described: dict[str, str]) -> None:
    for name in COHORT_TABLES:
        content = ALL[name].sidecar()
        if name == "participants":
            for column in participants.columns:
                source = column.removeprefix("session_").removeprefix("phenotype_")
                file = "sessions.tsv" if column.startswith("session_") else "participants.tsv"
                content.setdefault(
                    column, {"Description": described.get(source, f"Column of {file}")}
                )
        write_json(layout.table_sidecar(name), content)
