"""FROC by cohort, calibration and YOLO's own effect, on cases that are counted by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve

from cmburden.evaluate import cases as evaluate_cases
from cmburden.evaluate import curves as evaluate_curves
from cmburden.evaluate import measures as evaluate_measures
from cmburden.evaluate.cases import Cases
from cmburden.evaluate.curves import FROC_GRID, OperatingPoint, Ranking
from cmburden.evaluate.measures import by_stratum
from cmburden.stats.intervals import wilson
from cmburden.stats.matching import hits_by_score

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(evaluate_measures, "DRAWS", 60)


def cases_of(scans, candidates) -> Cases:
    """``scans``: (cohort, contrast, microbleeds); ``candidates``: (scan, scores, hit)."""
    table = pd.DataFrame(
        [
            {
                "scan_id": f"sub-{n}_T2starw",
                "cohort": cohort,
                "contrast": contrast,
                "person": n,
                "n_true": real,
                "n_pred": 0,
                "tp": 0,
                "fp": 0,
            }
            for n, (cohort, contrast, real) in enumerate(scans)
        ]
    )
    rows = [
        {
            "person": scan,
            "cohort": scans[scan][0],
            "contrast": scans[scan][1],
            **dict(zip(evaluate_cases.STAGES, np.broadcast_to(scores, 3), strict=True)),
            **{f"hit_{stage}": hit for stage in evaluate_cases.STAGES},
        }
        for scan, scores, hit in candidates
    ]
    for n, row in table.iterrows():
        # The decision of these cases: a final score of at least 0.5.
        own = [r for r in rows if r["person"] == n and r["final"] >= 0.5]
        table.loc[n, ["tp", "fp"]] = [
            sum(r["hit_final"] for r in own),
            sum(not r["hit_final"] for r in own),
        ]
        table.loc[n, "n_pred"] = len(own)
        assert row["n_true"] >= table.loc[n, "tp"]
    columns = ["person", "cohort", "contrast", *evaluate_cases.STAGES]
    columns += [f"hit_{stage}" for stage in evaluate_cases.STAGES]
    frame = pd.DataFrame(rows, columns=columns)
    return Cases(
        table, pd.DataFrame(columns=["cohort", "contrast"]), frame, pd.DataFrame(), len(scans), {}
    )


@pytest.fixture
def two_cohorts():
    """A: 2 scans, 2 microbleeds; B: 2 scans, 2 microbleeds, one of them without a candidate."""
    return cases_of(
        [("A", "GRE", 2), ("A", "GRE", 0), ("B", "SWI", 1), ("B", "SWI", 1)],
        [
            (0, 0.9, True),
            (1, 0.8, False),
            (0, 0.7, True),
            (1, 0.6, False),
            (3, 0.95, False),
            (2, 0.5, True),
        ],
    )


def test_froc_by_cohort_by_hand(two_cohorts):
    found = by_stratum(two_cohorts, evaluate_curves.froc)
    assert set(found) == {"all", "cohort=A", "cohort=B", "contrast=GRE", "contrast=SWI"}

    def points(stratum):
        entries = found[stratum]["final"]["points"]
        assert list(entries) == ["0.1", "0.25", "0.3", "0.5", "1", "2"]
        return [entry["estimate"] for entry in entries.values()]

    # A: hit, wrong (0.5 a scan), hit, wrong (1). B: wrong (0.5), hit. All: a wrong one is 0.25.
    assert points("cohort=A") == [0.5, 0.5, 0.5, 1, 1, 1]
    assert points("cohort=B") == points("contrast=SWI") == [0, 0, 0, 0.5, 0.5, 0.5]
    assert points("all") == [0, 0.25, 0.25, 0.5, 0.75, 0.75]


def test_curve_of_the_figures_is_the_table_at_its_points(two_cohorts):
    for stage in evaluate_curves.froc(two_cohorts, "all").values():
        curve, points = stage["curve"], stage["points"]
        assert curve["fp_per_scan"] == list(FROC_GRID)
        for point, entry in points.items():
            place = curve["fp_per_scan"].index(float(point))
            shown = [curve[key][place] for key in ("sensitivity", "ci_low", "ci_high")]
            known = [entry[key] for key in ("estimate", "ci_low", "ci_high")]
            assert shown == pytest.approx(known, abs=1e-4)
        assert np.all(np.diff(curve["sensitivity"]) >= 0)


def test_froc_agrees_with_counting_again_at_each_threshold():
    random = np.random.default_rng(2)
    scans = [("A", "GRE", 3)] * 5
    # Scores in tenths: many are equal and pass a threshold together.
    rows = []
    for scan in range(5):
        places, real = random.uniform(0, 15, (12, 3)), random.uniform(0, 15, (3, 3))
        scores = random.integers(1, 10, 12) / 10
        hit = hits_by_score(places, real, np.ones(3), scores)
        rows += [(scan, score, bool(h)) for score, h in zip(scores, hit, strict=True)]
    cases = cases_of(scans, rows)
    curve = evaluate_curves.curve_of(cases, "final")(np.ones(5, int))
    assert curve.threshold.tolist() == sorted({score for _, score, _ in rows}, reverse=True)
    points = zip(curve.threshold, curve.fp_per_scan, curve.sensitivity, strict=True)
    for threshold, wrong, right in points:
        above = [h for _, score, h in rows if score >= threshold]
        assert wrong == pytest.approx(above.count(False) / 5)
        assert right == pytest.approx(above.count(True) / 15)


def test_points_of_a_curve_by_hand():
    # Two candidates of 0.6 pass together: one hit, one wrong. Two scans, four microbleeds.
    scores, hits = np.array([0.6, 0.9, 0.3, 0.6]), np.array([True, True, False, False])
    curve = Ranking.of(scores, hits).froc(scans=2, microbleeds=4)
    assert curve.reaching(0.3) == OperatingPoint(threshold=0.6, sensitivity=0.5, fp_per_scan=0.5)
    assert curve.reaching(0.25) == OperatingPoint(threshold=0.9, sensitivity=0.25, fp_per_scan=0.0)
    assert curve.reaching(0.6) == curve.reaching(np.nan) == OperatingPoint()
    assert curve.at_threshold(0.7) == OperatingPoint(0.7, 0.25, 0.0)
    assert curve.at_threshold(0.95) == OperatingPoint(0.95, 0.0, 0.0)
    assert curve.end() == OperatingPoint(None, 0.5, 1.0)


def test_froc_is_unknown_without_microbleeds_and_zero_without_candidates():
    none = cases_of([("A", "GRE", 0)], [(0, 0.9, False)])
    entry = evaluate_curves.froc(none, "all")["final"]["points"]["0.5"]
    assert np.isnan(entry["estimate"]) and np.isnan(entry["ci_low"])
    empty = cases_of([("A", "GRE", 2)], [])
    entry = evaluate_curves.froc(empty, "all")["final"]["points"]["2"]
    # One participant, of whose 2 microbleeds none is found: Wilson of 0 of 1.
    assert (entry["estimate"], entry["ci_low"]) == (0, 0)
    assert entry["ci_high"] == pytest.approx(wilson(0, 1)[1])


def test_intervals_are_over_participants():
    # Each participant alone has sensitivity 0.5 at 0 false positives: so has every draw.
    rows = [(n, score, hit) for n in range(6) for score, hit in ((0.9, True), (0.2, False))]
    equal = cases_of([("A", "GRE", 2)] * 6, rows)
    for stage in evaluate_curves.froc(equal, "all").values():
        point = stage["points"]["0.1"]
        # All draws are alike, which is no certainty: 6 of 12.
        assert (point["ci_low"], point["ci_high"]) == pytest.approx(wilson(6, 12))
    found = evaluate_curves.calibration(equal, "all")["all"]
    error = found["expected_calibration_error"]
    assert error["ci_low"] == pytest.approx(error["ci_high"]) == pytest.approx(0.15)


# --- calibration ---


@pytest.mark.parametrize("lowest", [0.0, 0.02])
def test_calibration_agrees_with_sklearn(lowest):
    random = np.random.default_rng(5)
    p = np.concatenate([random.random(300) ** 4, np.arange(11) / 10, [0.02, 0.0199]])
    true = random.random(len(p)) < p**1.4
    cases = cases_of(
        [("A", "GRE", 200)], [(0, score, bool(hit)) for score, hit in zip(p, true, strict=True)]
    )
    found = evaluate_curves.calibration(cases, "all")["all" if not lowest else "from_0.02"]
    own = p >= lowest
    share, said = calibration_curve(true[own], p[own], n_bins=10, strategy="uniform")
    bins = [one for one in found["bins"] if one["candidates"]]
    assert [one["share_true"]["estimate"] for one in bins] == pytest.approx(share.tolist())
    assert [one["mean_probability"] for one in bins] == pytest.approx(said.tolist())
    number = np.array([one["candidates"] for one in bins])
    assert number.sum() == own.sum() == found["candidates"]
    expected = (np.abs(share - said) * number).sum() / number.sum()
    assert found["expected_calibration_error"]["estimate"] == pytest.approx(expected)
    assert found["predicted_over_true"]["estimate"] == pytest.approx(p[own].sum() / true[own].sum())


def test_calibration_by_hand_and_by_contrast():
    # GRE: four of 0.25, one true (perfect), one of 0.01. SWI: two of 0.8, none true.
    cases = cases_of(
        [("A", "GRE", 1), ("B", "SWI", 0)],
        [(0, 0.25, n == 0) for n in range(4)] + [(0, 0.01, False)] + [(1, 0.8, False)] * 2,
    )
    found = by_stratum(cases, evaluate_curves.calibration)

    def error(stratum, subset):
        return found[stratum][subset]["expected_calibration_error"]["estimate"]

    assert error("contrast=GRE", "from_0.02") == pytest.approx(0)
    assert error("contrast=GRE", "all") == pytest.approx(0.01 / 5)
    assert error("contrast=SWI", "all") == pytest.approx(0.8)
    # The clear negative makes the error over all candidates smaller.
    assert error("all", "from_0.02") == pytest.approx(1.6 / 6)
    assert error("all", "all") == pytest.approx(1.61 / 7)
    empty = [one for one in found["all"]["all"]["bins"] if not one["candidates"]]
    assert len(empty) == 7 and all(np.isnan(one["share_true"]["estimate"]) for one in empty)
    assert np.isnan(found["contrast=SWI"]["all"]["predicted_over_true"]["estimate"])


# --- stages ---


def test_yolo_effect_by_hand():
    # Scores: CNN, both, final. Fifty microbleeds, 40 of them decided: 0.02 is one of them.
    hits = [(0, (0.9, 0.9, 0.9), True)] * 39 + [(0, (0.6, 0.2, 0.8), True)]
    wrong = [(0, (0.7, 0.3, 0.1), False)] * 6 + [(1, (0.8, 0.95, 0.1), False)] * 2
    cases = cases_of([("A", "GRE", 50), ("A", "GRE", 0)], hits + wrong)
    found = evaluate_curves.ablation(cases)
    assert found["target_sensitivity"] == pytest.approx(0.8)
    effect = found["yolo_effect"]
    # The CNN needs its 40th hit, below all eight; both networks may do without it.
    assert effect["cnn_threshold"] == 0.6 and effect["cnn_yolo_threshold"] == 0.9
    for key, value in (
        ("cnn_sensitivity", 0.8),
        ("cnn_fp_per_scan", 4),
        ("cnn_yolo_sensitivity", 0.78),
        ("cnn_yolo_fp_per_scan", 1),
        ("fp_ratio", 0.25),
    ):
        assert effect[key]["estimate"] == pytest.approx(value)
    assert effect["allowed_loss"] == 0.02
    # At the whole's own sensitivity both networks need the 40th too.
    assert found["cnn_yolo"]["matched"]["fp_per_scan"] == 4
    assert found["cnn_yolo"]["matched_fp_per_scan"]["estimate"] == 4
    assert found["final"]["matched"]["fp_per_scan"] == 0
    assert "geometric mean" in found["cnn_yolo"]["score"]


def test_score_of_both_networks():
    p_cnn, p_yolo = np.array([0.2, 0.9, 0.0]), np.array([0.8, 0.9, 1.0])
    assert evaluate_cases.combined(p_cnn, p_yolo, None) == pytest.approx([0.4, 0.9, 0])
    model = {"coefficient": [1.0, 2.0], "intercept": 0.5}
    found = evaluate_cases.combined(p_cnn, p_yolo, model)
    # Odds 1/4 and 4, squared, times e^0.5.
    odds = 0.25 * 16 * np.exp(0.5)
    assert found[0] == pytest.approx(odds / (1 + odds))
    assert np.all((found > 0) & (found < 1))


def test_model_of_both_is_used_for_the_verifier_that_it_belongs_to():
    model = {"coefficient": [1.0, 1.0], "intercept": 0.0}
    contract = {"id": "v2", "cnn_yolo_model": model}

    def of(*ids):
        return evaluate_cases.combination_of(pd.DataFrame({"verifier_id": [*ids, None]}), contract)

    assert of("v2", "v2") == model
    assert of("v1") is None and of("v1", "v2") is None and of() is None
    del contract["cnn_yolo_model"]
    assert of("v2") is None
