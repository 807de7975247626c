"""What is looked up where the answer is known: a missed microbleed with a rejected candidate, a
place of another person's microbleed where nothing is."""

from cmburden.core import config
from cmburden.core.paths import Layout
from cmburden.core.tables import CANDIDATES, SCANS, TRUTH
from cmburden.follow.tracks import Rates
from cmburden.studies.missed import lookup, markdown

SETTINGS = config.load()["longitudinal"]


def candidate(scan: str, number: int, x: float, p: float) -> dict:
    place = {"x_mm": x, "y_mm": 0.0, "z_mm": 0.0, "mni_x": x, "mni_y": 0.0, "mni_z": 0.0}
    kept = p >= 0.5
    return place | {
        "scan_id": scan,
        "candidate_id": number,
        "p_cnn": p,
        "probability": p,
        "kept": kept,
        "label": "definite" if kept else "rejected",
    }


def test_missed_and_nothing_there(tmp_path):
    layout = Layout(tmp_path)
    people = {"sub-1": 0.0, "sub-2": 40.0}
    # Each has one microbleed that was kept, and sub-1 one more that was not (at -40).
    rows = [candidate(f"{name}_swi", 0, x, 0.9) for name, x in people.items()]
    rows.append(candidate("sub-1_swi", 1, -40.0, 0.2))
    CANDIDATES.write(layout.candidates, rows)
    SCANS.write(
        layout.table("scans"),
        [
            {
                "scan_id": f"{name}_swi",
                "cohort": "c",
                "participant_id": name,
                "contrast": "SWI",
                "status": "ok",
                "brain_volume_ml": 1200.0,
                "voxel_x_mm": 0.9,
                "voxel_y_mm": 0.9,
                "slice_mm": 2.0,
            }
            for name in people
        ],
    )
    truth = TRUTH.frame(
        [
            {
                "scan_id": f"{name}_swi",
                "cohort": "c",
                "participant_id": name,
                "source_id": k,
                "kind": "microbleed",
                "x_mm": x,
                "y_mm": 0.0,
                "z_mm": 0.0,
                "radius_mm": 1.5,
            }
            for k, (name, x) in enumerate([*people.items(), ("sub-1", -40.0)], start=1)
        ]
    )
    result = lookup(layout, truth, Rates(0.9, 0.02), SETTINGS)
    assert (result["missed"]["places"], result["missed"]["held_to_be_there"]) == (1, 1)
    # 0 and -40 in sub-2, 40 in sub-1: no candidate near any.
    assert result["nothing there"]["places"] == 3
    assert result["nothing there"]["held_to_be_there"] == 0
    assert "| missed | 1 | 1.000" in markdown(result)
