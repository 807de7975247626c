"""Section: stages, versions, devices and weights of the run."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from cmburden.core.rows import plain
from cmburden.report.tables import ReportTables, decimal


def provenance(tables: ReportTables) -> dict[str, Any]:
    stages, versions = [], set()
    order = {name: place for place, name in enumerate(("index", "preprocess", "register"))}
    for stage, runs in sorted(
        tables.runs.groupby("stage"), key=lambda pair: (order.get(pair[0], 9), pair[0])
    ):
        stages.append(
            {
                "stage": stage,
                "version": _together(runs["stage_version"]),
                "runs": len(runs),
                "device": _together(runs["device"]),
                "settings": _together(runs["config_sha256"].str[:12]),
                "weights": _together(runs["weights_sha256"].str[:12]),
                "seconds": decimal(plain(runs["seconds"].median()), 1),
            }
        )
        for text in set(runs["versions"].dropna()):
            versions |= {f"{name} {version}" for name, version in json.loads(text).items()}
    return {"stages": stages, "versions": sorted(versions, key=str.lower)}


def _together(values: pd.Series) -> str:
    return ", ".join(sorted({str(value) for value in values.dropna()})) or "–"
