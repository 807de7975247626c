"""Section: a paragraph on limitations, of what the run knows about itself.

Each sentence names the rows of `summary`, or the other source, that it comes from. What the run
cannot know is no sentence here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row, interval, number, of
from cmburden.summary.measures import (
    ContractNumber,
    DetectorRate,
    OutsideDomain,
    Participants,
    PatternShare,
    Ratio,
    Review,
    Scans,
)
from cmburden.summary.strata import EVERYBODY, MISSING, Stratum

_MODELS = ("detect", "verify")


@dataclasses.dataclass(frozen=True)
class Limitation:
    """A sentence, and what it comes from: rows as ``stratum | measure``, or another source."""

    name: str
    text: Markup
    sources: list[str]


@dataclasses.dataclass(frozen=True)
class Limitations:
    """Content of _limitations.html.j2."""

    sentences: list[Limitation]


def select(
    tables: ReportTables,
    config: dict[str, Any],
    contracts: dict[str, dict[str, Any]],
    part: str | None,
) -> Limitations:
    """``part``: the sentence that names the part of the cohort; None for the whole cohort."""
    sentences = [
        *_selection(tables, part),
        *_detector(tables, contracts),
        *_domain(tables),
        *_counts(tables),
        *_sessions(tables),
        *_clusters(tables, config),
    ]
    return Limitations(sentences)


def _from(name: str, text: str, *rows: Row, numbers: tuple[Any, ...] = ()) -> Limitation:
    """A sentence of rows; ``numbers`` fill the places in ``text``."""
    sources = [f"{row['stratum']} | {row['measure']}" for row in rows]
    return Limitation(name, Markup(text).format(*numbers), sources)


def _selection(tables: ReportTables, part: str | None) -> Iterator[Limitation]:
    if part:
        yield Limitation("part", Markup("Only a part of the cohort was analysed."), ["set.json"])
    without = tables.estimate(EVERYBODY, Participants("without usable scan"))
    if without["n"] or without.get("suppressed"):
        yield _from(
            "unusable",
            "Of the participants {} had no usable scan; estimates are of the others, and are "
            "biased as far as the two differ in burden.",
            without,
            numbers=(of(without),),
        )
    failed = tables.estimate(EVERYBODY, Scans("failed"))
    if failed["n"]:
        yield _from(
            "failed",
            "Processing failed for {} scans.",
            failed,
            numbers=(number(failed),),
        )


def _detector(tables: ReportTables, contracts: dict[str, dict[str, Any]]) -> Iterator[Limitation]:
    trained = {
        stage: str(contracts[stage].get("training_data", ""))
        for stage in _MODELS
        if stage in contracts
    }
    if any("simulat" in text.lower() for text in trained.values()):
        yield Limitation(
            "training",
            Markup(
                "The networks were trained on simulated microbleeds; how they do on these scans "
                "is known only as far as readers looked at some of them."
            ),
            ["training_data of model.json"],
        )
    known: list[tuple[str, Row]] = [
        (name, row)
        for name in tables.contrasts()
        for row in [tables.estimate(Stratum(contrast=name), DetectorRate("specificity"))]
        if row["estimate"] is not None
    ]
    if known:
        parts = Markup("; ").join(
            Markup("{} {} ({} scans)").format(name, interval(row, 2), of(row))
            for name, row in known
        )
        yield _from(
            "false positives",
            "The software calls scans without a microbleed positive: its specificity for presence "
            "was {}. The share of such scans that it calls all the same is the floor of an "
            "apparent prevalence.",
            *[row for _, row in known],
            numbers=(parts,),
        )
    else:
        yield Limitation(
            "false positives",
            Markup(
                "How often the software calls a scan without a microbleed positive is not known "
                "here, and neither is the floor below which an apparent prevalence says nothing."
            ),
            ["no row detector specificity"],
        )
    rate = [
        row
        for measure, row in tables.of(ContractNumber)
        if measure.part == "metrics" and measure.key == "fp_per_scan_definite"
    ]
    if rate:
        yield _from(
            "lesions",
            "Counts hold false positives: {} a scan on the model’s own validation set.",
            rate[0],
            numbers=(number(rate[0], "estimate", 2),),
        )


def _domain(tables: ReportTables) -> Iterator[Limitation]:
    outside = tables.estimate(EVERYBODY, OutsideDomain())
    if outside["n"]:
        yield _from(
            "domain",
            "The acquisition of {} scans read lies outside of what the networks were tried on.",
            outside,
            numbers=(of(outside),),
        )


def _counts(tables: ReportTables) -> Iterator[Limitation]:
    patterns = [
        row
        for name in tables.contrasts()
        for row in [tables.estimate(Stratum(contrast=name), PatternShare("strictly lobar"))]
        if row["n"]
    ]
    if patterns:
        yield _from(
            "patterns",
            "Shares of patterns and regions are those of automated detections: a false positive "
            "turns no microbleed into a strict pattern, and a strict pattern into mixed.",
            *patterns,
        )
    reviewed = tables.estimate(EVERYBODY, Review("scans reviewed"))
    if not reviewed["denominator"]:
        yield Limitation(
            "review",
            Markup("No person confirmed or rejected a lesion."),
            ["no row review scans reviewed"],
        )
    elif reviewed["n"] is not None and reviewed["n"] < reviewed["denominator"]:
        yield _from(
            "review",
            "Readers have given a count for {} of the scans; the review is not complete.",
            reviewed,
            numbers=(of(reviewed),),
        )


def _sessions(tables: ReportTables) -> Iterator[Limitation]:
    several = tables.estimate(EVERYBODY, Participants("with several sessions"))
    if several["n"]:
        yield _from(
            "sessions",
            "{} participants have several sessions, of whom one scan each was chosen. Where the "
            "age at that session is not known, the age is that of participants.tsv, which may be "
            "of another session.",
            several,
            numbers=(number(several),),
        )
    ages = tables.participants["age"]
    if len(ages) and ages.isna().any() and not ages.isna().all():
        missing = tables.estimate(Stratum(age_band=MISSING), Participants())
        yield _from(
            "ages",
            "The age of {} participants is not known; they are in no estimate by age.",
            missing,
            numbers=(number(missing),),
        )


def _clusters(tables: ReportTables, config: dict[str, Any]) -> Iterator[Limitation]:
    if not config["report"]["cluster"]:
        yield Limitation(
            "clusters",
            Markup(
                "Participants were taken as independent: families, sites and households make "
                "intervals wider than those printed."
            ),
            ["configuration"],
        )
    if tables.of(Ratio):
        yield Limitation(
            "models",
            Markup(
                "Associations are adjusted for the covariates of each model and for no other; a "
                "coefficient of one covariate is no effect of that covariate."
            ),
            ["rows of the regression models"],
        )
