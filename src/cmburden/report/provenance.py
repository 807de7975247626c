"""Section: stages, versions, devices and weights of the run."""

from __future__ import annotations

import dataclasses
import json

import pandas as pd

from cmburden.core.rows import plain
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import decimal

#: The first stages of a scan stand first, the others by name.
_FIRST = ("index", "preprocess", "register")
#: Letters of a hash on the page.
_LETTERS = 12


@dataclasses.dataclass(frozen=True)
class Runs:
    """Run records of a stage; a cell holds all values that occur."""

    stage: str
    version: str
    runs: int
    device: str
    precision: str
    settings: str
    weights: str
    seconds: str


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Content of _provenance.html.j2; ``versions`` of the libraries."""

    stages: list[Runs]
    versions: list[str]


def select(tables: ReportTables) -> Provenance:
    """From `runs`."""
    places = {stage: place for place, stage in enumerate(_FIRST)}
    by_stage = sorted(
        tables.runs.groupby("stage"), key=lambda pair: (places.get(pair[0], len(_FIRST)), pair[0])
    )
    versions = {
        f"{name} {version}"
        for text in set(tables.runs["versions"].dropna())
        for name, version in json.loads(text).items()
    }
    return Provenance(
        [_runs(stage, runs) for stage, runs in by_stage], sorted(versions, key=str.lower)
    )


def _runs(stage: str, runs: pd.DataFrame) -> Runs:
    return Runs(
        stage=stage,
        version=_together(runs["stage_version"]),
        runs=len(runs),
        device=_together(runs["device"]),
        precision=_together(runs["precision"]),
        settings=_together(runs["config_sha256"].str[:_LETTERS]),
        weights=_together(runs["weights_sha256"].str[:_LETTERS]),
        seconds=decimal(plain(runs["seconds"].median()), 1),
    )


def _together(values: pd.Series) -> str:
    return ", ".join(sorted({str(value) for value in values.dropna()})) or "–"
