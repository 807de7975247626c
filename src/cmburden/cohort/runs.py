"""The table `runs`: versions, settings, weights, device and seconds of each stage's runs."""

from __future__ import annotations

import logging
from typing import Any

import pandas as pd

from cmburden.cohort import followed
from cmburden.core import stages
from cmburden.core.files import read_json
from cmburden.core.keys import bucket_of
from cmburden.core.paths import Layout
from cmburden.core.tables import RUNS

_LOG = logging.getLogger(__name__)
#: Types of a record's values.
_KINDS: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float)}


def stage_runs(layout: Layout, manifest: pd.DataFrame, buckets: int) -> list[dict[str, Any]]:
    """Rows of `runs`: of the manifest's scans and of their buckets, of ``buckets`` in all.

    Records of scans that are no longer in the tree are left out. So are those of `aggregate` and
    `report`: they run after the table is written, and their records are of the run before.
    """
    of_unit = {
        "scan": set(manifest["scan_id"]),
        "bucket": {str(bucket) for bucket in manifest["bucket"]},
        "participants": {str(bucket_of(name, buckets)) for name in followed.with_several(manifest)},
    }
    units = {stage.name: of_unit[stage.unit] for stage in stages.STAGES if stage.unit in of_unit}
    later = (stages.AGGREGATE.name, stages.REPORT.name)
    rows = []
    for path in sorted((layout.work / "runs").glob("*/*.json")):
        row = read_json(path)
        if not _is_run(row):
            _LOG.warning("%s/%s: this record of a run cannot be read", path.parent.name, path.name)
            continue
        stage, unit = row["stage"], str(row["unit"]).removeprefix("bucket-")
        if stage not in later and (stage not in units or unit in units[stage]):
            rows.append(row)
    return rows


def _is_run(row: Any) -> bool:
    """Whether ``row`` is what ``provenance.write_run`` writes, and not a torn record."""
    return (
        isinstance(row, dict)
        and row.keys() == set(RUNS.names)
        and all(
            isinstance(row[column.name], _KINDS[column.kind])
            or (column.nullable and row[column.name] is None)
            for column in RUNS.columns
        )
    )
