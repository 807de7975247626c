"""Scoring of calls against truth on cases counted by hand; the brain masks of the perfect way."""

import numpy as np
import pandas as pd
import pytest

from cmburden.core.errors import CMBurdenError
from cmburden.core.tables import CHANGES, PAIRS, TRACKED_TRUTH
from cmburden.studies import change_scores
from cmburden.studies.change_scores import as_plain, markdown, score
from cmburden.studies.perfect_changes import read_truth, wandering

ONE, OTHER = "sub-1_ses-1_T2starw", "sub-1_ses-2_T2starw"


def truth(rows: dict[int, tuple[bool, bool]], kind="microbleed") -> pd.DataFrame:
    return TRACKED_TRUTH.frame(
        [
            {
                "scan_id": scan,
                "cohort": "c",
                "participant_id": "sub-1",
                "source_id": track,
                "track_id": track,
                "kind": kind,
                "x_mm": 20.0 * track,
                "y_mm": 0.0,
                "z_mm": 0.0,
                "radius_mm": 1.5,
            }
            for track, there in rows.items()
            for scan, present in zip((ONE, OTHER), there, strict=True)
            if present
        ]
    )


def found(rows: dict[int, tuple]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(changes, lesions) of track -> (call, lesion in the first, in the second: x or None)."""
    called, lesions = [], []
    for track, (call, *places) in rows.items():
        row = {
            "participant_id": "sub-1",
            "scan_id_1": ONE,
            "scan_id_2": OTHER,
            "track_id": track,
            "change": call,
            "why": "not found",
            "comparable": True,
            "label": "definite",
            "macrohaemorrhage": False,
            "region": "frontal",
            "group": "lobar",
            "hemisphere": "left",
            **{f"{axis}_mm_{k}": 0.0 for axis in "xyz" for k in (1, 2)},
        }
        for k, (scan, x) in enumerate(zip((ONE, OTHER), places, strict=True), start=1):
            row[f"lesion_id_{k}"] = None if x is None else track
            if x is not None:
                lesions.append(
                    {"scan_id": scan, "lesion_id": track, "x_mm": x, "y_mm": 0.0, "z_mm": 0.0}
                )
        called.append(row)
    return CHANGES.frame(called), pd.DataFrame(lesions)


def pairs() -> pd.DataFrame:
    zeros = dict.fromkeys(
        ("n_new", "n_persisting", "n_found_once", "n_lost", "n_not_comparable", "n_new_possible"), 0
    )
    return PAIRS.frame(
        [
            {
                "participant_id": "sub-1",
                "scan_id_1": ONE,
                "scan_id_2": OTHER,
                "consecutive": True,
                "since_baseline": True,
                "last": True,
                "order_from": "label",
                "comparable": True,
                "expected_new": 0.0,
            }
            | zeros
        ]
    )


def test_calls_by_hand():
    real = truth(
        {1: (True, True), 2: (True, True), 3: (False, True), 4: (True, False), 5: (True, True)}
    )
    called, lesions = found(
        {
            1: ("persisting", 20.5, 19.0),
            2: ("new", None, 40.0),  # persisting, missed in the first
            3: ("new", None, 61.0),
            4: ("lost", 80.0, None),
            9: ("new", None, 500.0),  # nothing there
        }
    )
    result = score(pairs(), called, lesions, real)
    assert result.share("persisting") == (1, 2)  # 5 was found in neither
    assert result.share("new") == (1, 1) and result.share("lost") == (1, 1)
    # The one of nothing, and the persisting one that was called new.
    assert (result.false_new, result.unchanged, result.false_new_unchanged) == (2, 0, 0)


def test_two_tracks_of_one_microbleed_and_two_microbleeds_of_one_track_are_wrong():
    real = truth({1: (True, True)})
    called, lesions = found({1: ("lost", 20.0, None), 2: ("new", None, 20.0)})
    result = score(pairs(), called, lesions, real)
    assert result.called["persisting"] == {"split": 1}
    assert (result.unchanged, result.false_new_unchanged) == (1, 1)
    real = truth({1: (True, False), 2: (False, True)})
    called, lesions = found({1: ("persisting", 20.0, 40.0)})
    result = score(pairs(), called, lesions, real)
    assert result.called["lost"] == {"mixed": 1} and result.called["new"] == {"mixed": 1}


def test_one_that_nobody_would_see_is_there_all_the_same():
    first, second = truth({1: (True, False)}), truth({1: (False, True)}, "unseen")
    called, lesions = found({1: ("persisting", 20.0, None)})
    result = score(pairs(), called, lesions, pd.concat([first, second]))
    assert result.share("persisting") == (1, 1)


def test_the_page_names_what_was_called_otherwise():
    real = truth({1: (True, True), 2: (True, True)})
    called, lesions = found({1: ("persisting", 20.0, 20.0), 2: ("new", None, 40.0)})
    text = markdown(as_plain(score(pairs(), called, lesions, real)))
    assert "| persisting | 2 | 1 | 0.500 (0.095-0.905) | new 1 |" in text
    assert "| lost | 0 | 0 | - | - |" in text
    assert "1 pairs; 1 without any true change" in text


def test_a_truth_that_is_none_is_one_sentence(tmp_path):
    path = tmp_path / "truth.tsv"
    path.write_text("a\tb\n1\t2\n")
    with pytest.raises(CMBurdenError, match="not a truth table"):
        read_truth(path)


def test_the_edge_wanders_by_a_millimetre_or_two():
    axis = np.arange(60) * 2.0 - 59
    ball = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 < 45**2
    masks = [wandering(ball, (2.0, 2.0, 2.0), np.random.default_rng(k)) for k in (0, 1)]
    dice = [2 * (m & ball).sum() / (m.sum() + ball.sum()) for m in masks]
    assert all(0.93 < d < 0.99 for d in dice)
    assert (masks[0] != masks[1]).any()


def test_conventions_are_in_the_result():
    called, lesions = found({1: ("persisting", 20.0, 20.0)})
    result = as_plain(score(pairs(), called, lesions, truth({1: (True, True)})))
    assert result["conventions"] == change_scores.CONVENTIONS
