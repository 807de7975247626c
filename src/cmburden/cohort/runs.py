"""Run records of the stages: versions, settings, weights, device, seconds."""

from __future__ import annotations

import json
import logging
from typing import Any

import pandas as pd

from cmburden.cohort import changes
from cmburden.core import stages
from cmburden.core.keys import bucket_of
from cmburden.core.paths import Layout
from cmburden.core.stages import BUCKET_STAGES, SCAN_STAGES

STAGE = stages.AGGREGATE.name


_log = logging.getLogger(__name__)


def _runs(layout: Layout, manifest: pd.DataFrame, number: int) -> list[dict[str, Any]]:
    """Run records of the stages: of the manifest's scans and buckets, and of the cohort's stages.

    A record of a scan that is no longer in the tree is left out.
    """
    scan_ids = set(manifest["scan_id"])
    buckets = {str(bucket) for bucket in manifest["bucket"]}
    people = {str(bucket_of(name, number)) for name in changes.with_several(manifest)}
    rows = []
    for path in sorted((layout.work / "runs").glob("*/*.json")):
        row = json.loads(path.read_text())
        stage, unit = row["stage"], str(row["unit"])
        if stage in SCAN_STAGES and unit not in scan_ids:
            continue
        if stage in BUCKET_STAGES and unit.removeprefix("bucket-") not in buckets:
            continue
        if stage == "longitudinal" and unit.removeprefix("bucket-") not in people:
            continue
        if stage in (STAGE, "report"):
            continue  # they come after this table: their record is that of the run before
        rows.append(row)
    return rows
