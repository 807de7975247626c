"""A scan whose left and right are unknown: its shard and its lesion table name no side."""

import dataclasses

import pandas as pd
import prepared
import pytest
import tiny_models

from cmburden.core import config
from cmburden.core.paths import Layout
from cmburden.core.scan import LEFT_RIGHT, Outcome
from cmburden.core.tables import CANDIDATES
from cmburden.detect import stage as detect
from cmburden.verify import stage as verify


@pytest.mark.slow
def test_the_record_of_preprocess_decides(tmp_path):
    layout = Layout(tmp_path / "out")
    known, unknown = prepared.write(tmp_path / "bids", layout, scans=2)
    record = layout.record("preprocess", unknown.scan_id)
    dataclasses.replace(Outcome.read(record), measures={LEFT_RIGHT: False}).write(record)
    models = tiny_models.write(tmp_path / "models")
    settings = config.load()
    few = {"max_candidates": 4, "device": "cpu"}
    detect.run(
        [known, unknown],
        layout,
        config.of_stage(settings, "detect") | few | {"model": str(models / "detector")},
        0,
    )
    verify.run(
        [known, unknown],
        layout,
        config.of_stage(settings, "verify") | {"model": str(models / "verifier"), "device": "cpu"},
        0,
    )
    shard = CANDIDATES.read(layout.bucket("verify", 0))
    assert Outcome.read(layout.record("verify", known.scan_id)).ok
    of_unknown = shard[shard["scan_id"] == unknown.scan_id]
    of_known = shard[shard["scan_id"] == known.scan_id]
    assert len(of_unknown) and len(of_known)
    assert set(of_unknown["hemisphere"]) == {"unknown"} and of_unknown["mni_x"].isna().all()
    assert of_unknown["mni_y"].notna().all() and set(of_unknown["region"]) == {"frontal"}
    assert set(of_known["hemisphere"]) == {"left"} and of_known["mni_x"].notna().all()
    lesions = pd.read_csv(layout.lesion_table(unknown), sep="\t")
    assert lesions["mni_x"].isna().all()
