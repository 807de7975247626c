"""A score that is not a number fails the scan; it never makes a candidate 'rejected'."""

import numpy as np
import pandas as pd
import pytest

from cmburden.core.errors import ScanError
from cmburden.core.tables import CANDIDATES
from cmburden.models.contract import CLASSES
from cmburden.verify import stage
from cmburden.verify.features import FEATURES

MEASURES = {
    "volume_mm3": 10.0,
    "diameter_mm": 2.7,
    "elongation": 1.2,
    "contrast": 0.6,
    "tubularity": 0.1,
    "edge_mm": 9.0,
    "sphericity": 0.9,
    "through_plane": 1.0,
    "surroundings": 1.0,
    "ventricle_mm": 12.0,
    "group": "lobar",
    "mni_x": 30.0,
    "mni_y": 0.0,
    "mni_z": 20.0,
}


@pytest.fixture(autouse=True)
def placed(monkeypatch):
    """Places are in the rows."""
    monkeypatch.setattr(stage, "_add_place", lambda judged, anatomy: None)


def candidates(**changes):
    at = {"x_mm": 30.0, "y_mm": 0.0, "z_mm": 20.0}
    row = {"scan_id": "a", "candidate_id": 0, "p_cnn": 0.9} | at | MEASURES | changes
    return CANDIDATES.frame([row])


def model(**changes):
    ones = [1.0] * len(FEATURES)
    first = [float(name == "logit_p_cnn") for name in FEATURES]
    fitted = {"features": FEATURES, "mean": [0.0] * len(FEATURES), "scale": ones}
    fitted |= {"coefficient": first, "intercept": 0.0} | changes
    return stage.VerifierInUse(fitted, {"definite": 0.55, "possible": 0.3})


SCORES = np.full((1, len(CLASSES)), 0.5, np.float32)


def test_a_sound_score_has_a_label():
    judged = stage.judge(candidates(), SCORES, "GRE", None, model())
    assert judged["label"].tolist() == ["definite"]
    assert judged["probability"].iloc[0] == pytest.approx(0.9)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_of_the_network_that_is_no_number(bad):
    scores = SCORES.copy()
    scores[0, 2] = bad
    with pytest.raises(ScanError, match="score of YOLO of 1 candidate") as error:
        stage.judge(candidates(), scores, "GRE", None, model())
    assert error.value.reason == "score"


@pytest.mark.parametrize("changes", [{"sphericity": None}, {"mni_x": None}, {"edge_mm": np.nan}])
def test_a_measure_that_is_missing(changes):
    with pytest.raises(ScanError, match="probability of 1 candidate"):
        stage.judge(candidates(**changes), SCORES, "GRE", None, model())


def test_a_coefficient_that_is_no_number():
    with pytest.raises(ScanError, match="probability of 1 candidate"):
        stage.judge(candidates(), SCORES, "GRE", None, model(intercept=np.nan))


PHASE = {"coefficient": 3.0, "intercept": -0.5}


def test_without_phase_results_are_those_of_a_contract_without_the_term():
    """Bit for bit, and with phase too where the contract has no term."""
    plain = stage.judge(candidates(), SCORES, "SWI", None, model())
    pd.testing.assert_frame_equal(
        stage.judge(candidates(), SCORES, "SWI", None, model(phase=PHASE)), plain
    )
    held = candidates(dipole_correlation=-0.8)
    judged = stage.judge(held, SCORES, "SWI", None, model())
    assert judged["probability"].tolist() == plain["probability"].tolist()


def test_the_phase_of_calcium_takes_the_probability_and_that_of_blood_gives_some():
    """Log odds of 0.9 are log(9): the term adds 3 x 0.7 - 0.5, or takes 3 x 0.7 + 0.5."""
    p = {
        value: stage.judge(
            candidates(dipole_correlation=value), SCORES, "GRE", None, model(phase=PHASE)
        )
        for value in (0.7, -0.7)
    }
    for value, judged in p.items():
        expected = 1 / (1 + np.exp(-(np.log(9) + 3 * value - 0.5)))
        assert judged["probability"].iloc[0] == pytest.approx(expected, abs=1e-6)
    assert p[0.7]["label"].tolist() == ["definite"] and p[-0.7]["label"].tolist() == ["possible"]
