"""Section: accuracy of the models by their contracts, and scans outside of the validated domain.

The text comes from the contracts; every number is a row of `summary`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from markupsafe import Markup

from cmburden.report.charts import froc
from cmburden.report.charts.chart import Chart
from cmburden.report.tables import ACQUISITION, ReportTables
from cmburden.report.typeset import Row, first_upper, number
from cmburden.summary import image_checks
from cmburden.summary.measures import (
    ContractNumber,
    ContractPart,
    DomainLimit,
    OutsideDomain,
    ScansAtLimit,
    UnknownDomain,
)
from cmburden.summary.strata import EVERYBODY, Stratum

_TITLES = {"detect": "First stage, 3D network", "verify": "Second stage, YOLO, place and shape"}
#: Texts of a contract, with their title.
_TEXTS = {
    "training_data": "Trained on",
    "validation_set": "Validation set",
    "intended_use": "Intended use",
}
_MILLI = 1000
#: Most decimals of a number of a contract.
_DIGITS = 4

#: A title with a text or a number.
Fact = tuple[str, str | Markup]


@dataclasses.dataclass(frozen=True)
class ModelRow:
    """What the contract of a model says."""

    title: str
    name: str
    facts: list[Fact]
    metrics: list[Fact]


@dataclasses.dataclass(frozen=True)
class Limits:
    """A key of the domain: its ends, and rows that count the scans outside and unknown."""

    name: str
    range: tuple[Markup, Markup]
    outside: Row
    unknown: Row


@dataclasses.dataclass(frozen=True)
class Domain:
    """The validated domain; ``whole`` counts the scans outside by any key."""

    whole: Row
    rows: list[Limits]


@dataclasses.dataclass(frozen=True)
class OperatingPointSection:
    """Content of _operating_point.html.j2; None: no contract says it.

    ``at_limit``: row of the scans that have as many candidates as the settings allow.
    """

    models: list[ModelRow]
    domain: Domain | None
    froc: Chart | None
    at_limit: Row


def select(tables: ReportTables, contracts: dict[str, dict[str, Any]]) -> OperatingPointSection:
    """``contracts`` by stage, of the stages whose model has one."""
    verifier = contracts.get("verify")
    return OperatingPointSection(
        models=[_model(tables, stage, contract) for stage, contract in contracts.items()],
        domain=_domain(tables),
        froc=froc.draw(froc.select(tables, _id(verifier, "verify"))) if verifier else None,
        at_limit=tables.estimate(EVERYBODY, ScansAtLimit()),
    )


def _id(contract: dict[str, Any], stage: str) -> str:
    return str(contract.get("id", stage))


def _model(tables: ReportTables, stage: str, contract: dict[str, Any]) -> ModelRow:
    stratum = Stratum(model=_id(contract, stage))
    facts: list[Fact] = [
        (f"Threshold in use (configuration), {_words(key)}", value)
        for key, value in _numbers(tables, stratum, "thresholds in use")
    ]
    facts += [
        (f"Threshold, {_words(key)}", value)
        for key, value in _numbers(tables, stratum, "thresholds")
    ]
    facts += [
        (title, contract[key])
        for key, title in _TEXTS.items()
        if isinstance(contract.get(key), str)
    ]
    if left_out := contract.get("left_out_acquisitions"):
        facts.append(("Left out of training", ", ".join(map(str, left_out))))
    metrics: list[Fact] = [
        (first_upper(_words(key)), value) for key, value in _numbers(tables, stratum, "metrics")
    ]
    name = " ".join(str(contract[key]) for key in ("id", "version") if key in contract)
    return ModelRow(_TITLES[stage], name, facts, metrics)


def _numbers(
    tables: ReportTables, stratum: Stratum, part: ContractPart
) -> list[tuple[str, Markup]]:
    """Keys and numbers of a part of the contract."""
    return [
        (measure.key, _shortest(row))
        for measure, row in tables.of(ContractNumber, stratum)
        if measure.part == part
    ]


def _words(key: str) -> str:
    return key.replace("fp_per_scan", "false positives per scan").replace("_", " ")


def _shortest(row: Row) -> Markup:
    """An estimate with the decimals that it needs, at most ``_DIGITS``."""
    decimals = f"{row['estimate'] or 0:.{_DIGITS}f}".rstrip("0").partition(".")[2]
    return number(row, "estimate", len(decimals))


def _domain(tables: ReportTables) -> Domain | None:
    """The domain of the verifier's contract; None where the contract has none."""
    whole = tables.estimate(EVERYBODY, OutsideDomain())
    if whole["estimate"] is None and not whole.get("suppressed"):
        return None
    rows = []
    for key, (column, words) in image_checks.DOMAIN.items():
        beyond = tables.estimate(EVERYBODY, OutsideDomain(key))
        if beyond["estimate"] is None:
            continue
        title = ACQUISITION[column]
        low, high = (
            number(row, "estimate", title.digits, title.factor)
            for row in (
                tables.estimate(EVERYBODY, DomainLimit(key, "low")),
                tables.estimate(EVERYBODY, DomainLimit(key, "high")),
            )
        )
        unit = ", ms" if title.factor == _MILLI else ""
        unknown = tables.estimate(EVERYBODY, UnknownDomain(key))
        rows.append(Limits(words.capitalize() + unit, (low, high), beyond, unknown))
    return Domain(whole, rows)
