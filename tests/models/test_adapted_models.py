"""A run with an adapted model says which scans are unlike those that the model was adapted to."""

import pandas as pd
import pytest

from cmburden.core.files import write_json
from cmburden.core.paths import Layout
from cmburden.core.tables import MANIFEST
from cmburden.models.adapted import adapted_to, warning
from cmburden.run import begin


def scans(number=4, **other):
    row = {
        "contrast": "GRE",
        "cohort": "HERE",
        "manufacturer": "Siemens",
        "scanner_model": "Skyra",
        "field_strength_t": 3.0,
        "echo_time_s": 0.02,
        "voxel_x_mm": 0.9,
        "slice_mm": 4.0,
    }
    rows = [
        row | {"participant_id": f"sub-{n}", "scan_id": f"sub-{n}_T2starw"} for n in range(number)
    ]
    return pd.DataFrame([one | other for one in rows])


def contract():
    here = pd.concat([scans(2), scans(2, echo_time_s=0.025, slice_mm=5.0)])
    return {"id": "adapted", "adapted_to": adapted_to(here)}


def test_the_contract_names_what_it_was_adapted_to():
    entry = contract()["adapted_to"]
    assert entry["contrast"] == ["GRE"] and entry["scanners"] == ["Siemens Skyra 3 T"]
    assert entry["echo_time_s"] == [0.02, 0.025] and entry["slice_mm"] == [4.0, 5.0]
    assert entry["in_plane_mm"] == [0.9, 0.9] and entry["participants"] == 2
    unknown = adapted_to(scans(1, echo_time_s=None, scanner_model=None))
    assert "echo_time_s" not in unknown and unknown["scanners"] == ["Siemens 3 T"]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({}, None),
        ({"echo_time_s": 0.0255}, None),  # rounded in a sidecar
        ({"echo_time_s": None}, None),
        ({"contrast": "SWI"}, "contrast SWI: 4"),
        ({"scanner_model": "Prisma"}, "scanner Siemens Prisma 3 T: 4"),
        ({"scanner_model": None, "manufacturer": None}, "scanner 3 T: 4"),
        ({"echo_time_s": 0.03}, "echo time: 4"),
        ({"slice_mm": 2.0}, "slice thickness: 4"),
    ],
)
def test_scans_unlike_those_are_named(other, said):
    sentence = warning(contract(), scans(**other))
    assert (sentence is None) == (said is None)
    assert said is None or (said in sentence and sentence.startswith("4 of 4 scans are unlike"))


def test_models_that_were_not_adapted_say_nothing():
    assert warning({"id": "shipped"}, scans(contrast="SWI")) is None
    assert warning(contract(), scans(0)) is None


def test_a_run_warns_when_it_begins(tmp_path):
    layout = Layout(tmp_path / "out")
    row = {"suffix": "T2starw", "path": "a.nii.gz", "entities": "[]", "bucket": 0}
    named = scans(3, scanner_model="Prisma").drop(columns=["voxel_x_mm", "slice_mm"])
    MANIFEST.write(layout.manifest, named.assign(content_key="k", **row))
    for kind, content in (("detector", {"id": "shipped"}), ("verifier", contract())):
        write_json(tmp_path / kind / "model.json", content)
    config = {
        "analysis_level": "participant",
        "detect": {"model": str(tmp_path / "detector")},
        "verify": {"model": str(tmp_path / "verifier")},
    }
    said = begin._unlike_adapted(layout, config)
    assert said.startswith("3 of 3 scans are unlike those that adapted was adapted to")
    write_json(tmp_path / "verifier" / "model.json", {"id": "shipped"})
    assert begin._unlike_adapted(layout, config) is None
