"""Section: stages, versions, devices and weights of the run."""

from __future__ import annotations

import dataclasses
import datetime
import json
import shlex
from pathlib import Path
from typing import Any

import pandas as pd

import cmburden
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
    """Content of _provenance.html.j2; ``versions`` of the libraries, ``facts`` of the run."""

    stages: list[Runs]
    versions: list[str]
    facts: list[tuple[str, str]]


def select(tables: ReportTables, config: dict[str, Any]) -> Provenance:
    """From `runs` and the configuration of the run."""
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
        [_runs(stage, runs) for stage, runs in by_stage],
        sorted(versions, key=str.lower),
        _facts(config),
    )


def _facts(config: dict[str, Any]) -> list[tuple[str, str]]:
    """When this page was made, of which dataset, and with which command the run can be repeated."""
    bids, output = config.get("bids_dir"), config.get("output_dir")
    facts = [("Made", datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"))]
    if bids and output:
        # Names of folders alone: a path may name a person of the staff, and the page is sent.
        folders = [Path(str(folder)).name for folder in (bids, output)]
        level = config.get("analysis_level", "participant")
        command = shlex.join(["cmburden", "run", *folders, str(level)])
        facts += [("Dataset", folders[0]), ("Command", command)]
    return [*facts, ("CMBurden", cmburden.__version__)]


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
