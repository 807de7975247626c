"""Evaluation on cases small enough to be counted by hand, and against published examples."""

import argparse
import json
import math
from pathlib import Path

import fabricate
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from cmburden.cohort import stage as aggregate
from cmburden.core import table_set, truth_origin
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import write_json
from cmburden.core.paths import Layout
from cmburden.core.tables import CANDIDATES, LESIONS, SCANS, TRUTH
from cmburden.evaluate import cases as evaluate_cases
from cmburden.evaluate import command as evaluate
from cmburden.evaluate import measures as evaluate_measures
from cmburden.stats import agreement
from cmburden.stats.matching import hits_by_score, hungarian


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    """Intervals are not counted by hand here: fewer draws, less time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate_measures, "DRAWS", 100)
        yield


# --- agreement ---


def test_icc_of_shrout_and_fleiss():
    # Shrout and Fleiss 1979, table 2: six targets, four judges; ICC(2,1) = .29.
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    assert round(agreement.icc(np.array(ratings)).estimate, 2) == 0.29


def test_icc_knows_full_agreement_and_no_variance():
    assert agreement.icc(np.array([[1, 1], [4, 4], [9, 9]])).estimate == pytest.approx(1)
    assert math.isnan(agreement.icc(np.zeros((5, 2))).estimate)


def test_weighted_kappa_of_the_dermatologists():
    # SAS/STAT, PROC FREQ example "Cohen's kappa": linear weights, 0.5082 (s.e. 0.0655).
    table = [[10, 4, 1, 0], [5, 10, 12, 2], [2, 4, 12, 5], [0, 2, 6, 13]]
    assert round(agreement.weighted_kappa(np.array(table), "linear"), 4) == 0.5082


def test_weighted_kappa_agrees_with_sklearn():
    random = np.random.default_rng(0)
    first = random.integers(0, 4, 200)
    second = np.clip(first + random.integers(-1, 2, 200), 0, 3)
    table = np.zeros((4, 4))
    np.add.at(table, (first, second), 1)
    for weights in ("linear", "quadratic"):
        expected = cohen_kappa_score(first, second, weights=weights)
        assert agreement.weighted_kappa(table, weights) == pytest.approx(expected)


def test_weighted_kappa_is_cohens_formula():
    random = np.random.default_rng(1)
    distance = np.abs(np.subtract.outer(range(4), range(4)))
    for _ in range(200):
        table = random.integers(0, 20, (4, 4))
        expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
        for weights, cost in (("linear", distance), ("quadratic", distance**2)):
            kappa = 1 - (cost * table).sum() / (cost * expected).sum()
            assert agreement.weighted_kappa(table, weights) == pytest.approx(kappa, abs=1e-12)


def test_weighted_kappa_of_one_rating_or_none_is_unknown():
    for table in (np.zeros((4, 4)), np.diag([0, 7, 0, 0])):
        assert math.isnan(agreement.weighted_kappa(table))


def test_auc_agrees_with_sklearn_ties_included():
    random = np.random.default_rng(0)
    scores, positive = random.integers(0, 9, 300) / 9, random.random(300) < 0.3
    assert agreement.auc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))
    assert math.isnan(agreement.auc([0.1, 0.2], [True, True]))


def test_rogan_gladen():
    # Perfect test: nothing changes. 15 % true, Se 0.95, Sp 0.57: 51 % apparent.
    assert agreement.rogan_gladen(0.2, 1, 1) == pytest.approx(0.2)
    apparent = 0.15 * 0.95 + 0.85 * 0.43
    assert round(apparent, 2) == 0.51
    assert agreement.rogan_gladen(apparent, 0.95, 0.57) == pytest.approx(0.15)
    assert agreement.rogan_gladen(0.01, 0.9, 0.9) == 0
    assert math.isnan(agreement.rogan_gladen(0.3, 0.5, 0.5))


def test_bland_altman():
    found = agreement.bland_altman([1, 2, 3], [1, 1, 1])
    assert found["bias"] == 1 and found["upper"] == pytest.approx(2.96)


# --- matching ---


def test_hungarian_takes_the_most_hits_then_the_nearest():
    # The nearest pair (1-0) would leave 0 without a partner: both hits are wanted.
    predicted = np.array([[0.0, 0, 0], [2.0, 0, 0]])
    real = np.array([[1.9, 0, 0], [4.5, 0, 0]])
    assert sorted(hungarian(predicted, real, np.array([1.0, 1.0]))) == [(0, 0), (1, 1)]
    # Two predictions on one lesion: the nearer one.
    assert hungarian(predicted, real[:1], np.array([1.0])) == [(1, 0)]


def test_a_hit_lies_within_3_mm_or_the_radius():
    real = np.array([[0.0, 0, 0]])
    for distance, radius, hit in ((3.0, 1.0, 1), (3.01, 1.0, 0), (4.9, 5.0, 1), (3.0, np.nan, 1)):
        predicted = np.array([[distance, 0, 0]])
        assert len(hungarian(predicted, real, np.array([radius]))) == hit
    assert hungarian(np.zeros((0, 3)), real, np.array([1.0])) == []


@pytest.mark.parametrize("seed", range(20))
def test_hits_by_score_are_the_largest_matching_at_every_threshold(seed):
    random = np.random.default_rng(seed)
    predicted, real = random.uniform(0, 8, (9, 3)), random.uniform(0, 8, (5, 3))
    radius, scores = np.full(5, 1.0), random.permutation(9) / 9
    marked = hits_by_score(predicted, real, radius, scores)
    for threshold in scores:
        above = scores >= threshold
        assert marked[above].sum() == len(hungarian(predicted[above], real, radius))


# --- a cohort counted by hand ---


def candidate(scan_id, number, x, probability, p_cnn=None, p_yolo=None, diameter=3.0):
    label = "definite" if probability >= 0.6 else "possible" if probability >= 0.3 else "rejected"
    return {
        "scan_id": scan_id,
        "candidate_id": number,
        "x_mm": x,
        "y_mm": 0.0,
        "z_mm": 0.0,
        "p_cnn": probability if p_cnn is None else p_cnn,
        "p_yolo": probability if p_yolo is None else p_yolo,
        "probability": probability,
        "label": label,
        "kept": label != "rejected",
        "diameter_mm": diameter,
        "group": "lobar",
    }


def microbleed(scan_id, number, x, radius=1.0, kind="microbleed", cohort="ADNI"):
    return {
        "scan_id": scan_id,
        "cohort": cohort,
        "participant_id": scan_id.split("_")[0],
        "source_id": number,
        "kind": kind,
        "x_mm": x,
        "y_mm": 0.0,
        "z_mm": 0.0,
        "radius_mm": radius,
        "group": "lobar",
        "region": "frontal",
    }


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """Scan A: 3 microbleeds; B: none, one calcification; C: not read, 2 microbleeds.

    A: lesion at 0 found, at 50 only possible, at 90 without a candidate; a definite at 30 is
    wrong and a macrohaemorrhage at 70 is no prediction. B: a definite on the calcification, one on
    a faint microbleed, which is neither right nor wrong, and another faint one not called.
    """
    tmp_path = tmp_path_factory.mktemp("counted")
    layout = Layout(tmp_path / "derivatives")
    rows = [
        candidate("sub-A_T2starw", 1, 0.5, 0.9),
        candidate("sub-A_T2starw", 2, 30.0, 0.8),
        candidate("sub-A_T2starw", 3, 70.0, 0.7, diameter=15.0),
        candidate("sub-A_T2starw", 4, 51.0, 0.4),
        candidate("sub-A_T2starw", 5, -40.0, 0.1),
        candidate("sub-B_T2starw", 1, 10.0, 0.65),
        candidate("sub-B_T2starw", 2, 20.0, 0.2),
        candidate("sub-B_T2starw", 3, 41.0, 0.95),
    ]
    CANDIDATES.write(layout.candidates, rows)
    lesions = [
        {
            **{key: row[key] for key in ("scan_id", "x_mm", "y_mm", "z_mm", "p_cnn", "label")},
            "participant_id": row["scan_id"][:5],
            "probability": row["probability"],
            "lesion_id": row["candidate_id"],
            "macrohaemorrhage": row["diameter_mm"] > 10,
            "region": "frontal",
            "group": "lobar",
            "hemisphere": "left",
        }
        for row in rows
        if row["label"] != "rejected"
    ]
    LESIONS.write(layout.table("lesions"), lesions)
    scans = [
        {
            "scan_id": f"sub-{name}_T2starw",
            "cohort": "ADNI",
            "participant_id": f"sub-{name}",
            "contrast": "GRE",
            "status": status,
            "n_cmb": count,
        }
        for name, status, count in (("A", "ok", 2), ("B", "ok", 2), ("C", "failed", None))
    ]
    SCANS.write(layout.table("scans"), scans)
    table_set.seal(layout)
    truth = [
        microbleed("sub-A_T2starw", 1, 0.0),
        microbleed("sub-A_T2starw", 2, 50.0, radius=2.0),
        microbleed("sub-A_T2starw", 3, 90.0, radius=3.0),
        microbleed("sub-B_T2starw", 1, 10.0, kind="calcification"),
        microbleed("sub-B_T2starw", 2, 40.0, kind="faint"),
        microbleed("sub-B_T2starw", 3, 60.0, kind="faint"),
        microbleed("sub-C_T2starw", 1, 0.0),
        microbleed("sub-C_T2starw", 2, 9.0),
        microbleed("sub-D_T2starw", 1, 9.0),
    ]
    path = tmp_path / "truth.tsv"
    TRUTH.frame(truth).to_csv(path, sep="\t", index=False, na_rep="n/a")
    truth_origin.state(path, truth_origin.SIMULATED, "Counted by hand.")
    return layout.root, path, tmp_path / "out"


@pytest.fixture(scope="module")
def result(counted):
    return evaluate.run(*counted)


def value(entry):
    return entry["estimate"]


def test_lesion_level_by_hand(result):
    own = result["lesion"]["all"]
    assert (own["tp"], own["fp"], own["microbleeds"]) == (1, 2, 3)
    assert value(own["sensitivity"]) == pytest.approx(1 / 3)
    assert value(own["precision"]) == pytest.approx(1 / 3)
    assert value(own["f1"]) == pytest.approx(1 / 3)
    assert value(own["fp_per_scan"]) == 1
    assert value(own["fp_per_scan_without_microbleeds"]) == 1
    parts = result["lesion_parts"]
    assert [value(parts["diameter"][name]["sensitivity"]) for name in parts["diameter"]] == [
        1,
        0,
        0,
    ]
    assert parts["fp_group"]["lobar"]["fp"] == 2
    assert result["mimics"] == {
        "calcification": {"called": 1, "mimics": 1},
        "faint": {"called": 1, "mimics": 2},
    }


def test_unread_scans_are_left_out_and_shown(result):
    scans = result["scans"]
    assert (scans["in_truth"], scans["read"], scans["microbleeds_not_read"]) == (4, 2, 3)
    assert scans["not_read"] == [
        {"scan_id": "sub-C_T2starw", "status": "failed"},
        {"scan_id": "sub-D_T2starw", "status": "not in the derivatives"},
    ]


def test_candidate_level_by_hand(result):
    own = result["candidate"]["all"]
    # True candidates: A1 and A4. Decided: A1, A2, B1. TN: A3 (too large), A5, B2.
    assert (own["candidates"], own["true_candidates"]) == (7, 2)
    assert own["microbleeds_without_candidate"] == 1
    assert value(own["sensitivity"]) == pytest.approx(1 / 3)
    assert value(own["specificity"]) == pytest.approx(3 / 5)
    assert value(own["balanced_accuracy"]) == pytest.approx((1 / 3 + 3 / 5) / 2)
    assert value(own["precision"]) == pytest.approx(1 / 3)
    scores, true = [0.9, 0.8, 0.7, 0.4, 0.1, 0.65, 0.2], [1, 0, 0, 1, 0, 0, 0]
    assert value(own["auc"]) == pytest.approx(roc_auc_score(true, scores))


def test_froc_and_ablation_by_hand(result):
    froc = result["froc"]["final"]
    # Falling: A1 hit, A2, A3, B1 wrong (1.5 a scan), A4 hit, B2, A5 wrong.
    assert [value(froc[point]) for point in ("0.1", "0.5", "1", "2")] == pytest.approx(
        [1 / 3, 1 / 3, 1 / 3, 2 / 3]
    )
    final = result["ablation"]["final"]
    assert final["own"]["fp_per_scan"] == 1
    assert final["matched"] == pytest.approx(
        {"threshold": 0.9, "sensitivity": 1 / 3, "fp_per_scan": 0}
    )
    assert final["all_candidates"]["fp_per_scan"] == 2.5
    # One cohort of one contrast: both strata are all of it.
    assert set(result["froc_strata"]) == {"cohort=ADNI", "contrast=GRE"}
    strata = result["froc_strata"].values()
    assert [value(entry["final"]["2"]) for entry in strata] == [pytest.approx(2 / 3)] * 2


def test_calibration_by_hand(result):
    own = result["calibration"]["all"]["all"]
    # 0.1 alone, false, in the lowest bin (its upper edge); 0.9 in that up to it, true.
    bins = {one["to"]: one for one in own["bins"]}
    assert bins[0.1]["candidates"] == 1 and value(bins[0.1]["share_true"]) == 0
    assert bins[0.9]["candidates"] == 1 and value(bins[0.9]["share_true"]) == 1
    # 0.65 and 0.7 share a bin, both false; 0.4 and 0.9 are true.
    total = 0.1 + 0.2 + (1 - 0.4) + (0.65 + 0.7) + 0.8 + (1 - 0.9)
    assert value(own["expected_calibration_error"]) == pytest.approx(total / 7)
    assert value(own["predicted_over_true"]) == pytest.approx(3.75 / 2)


def test_scan_and_count_level_by_hand(result):
    scan, count = result["scan"]["all"], result["count"]["all"]
    assert (value(scan["sensitivity"]), value(scan["specificity"])) == (1, 0)
    assert value(scan["auc"]) == 1
    # A count holds what is called on faint ones: B has 2 where 0 are true.
    assert value(count["mean_absolute_error"]) == 1.5
    bias = (math.log(3) - math.log(4) + math.log(3) - math.log(1)) / 2
    assert value(count["log1p_bias"]) == pytest.approx(bias)


@pytest.mark.slow
def test_files_keep_the_seed_apart_and_are_equal_in_two_runs(counted, result):
    derivatives, truth, out = counted
    first = (out / "evaluation.json").read_bytes()
    page = (out / "evaluation.md").read_text()
    evaluate.run(derivatives, truth, out)
    assert (out / "evaluation.json").read_bytes() == first
    assert "(froc.png)" in page and (out / "froc.png").exists()
    assert "published: balanced accuracy" in page and "0.953" in page
    assert "not comparable" in page and "simulated" in page
    json.loads(first)


@pytest.mark.slow
def test_command_prints_the_seeds_table(counted, capsys):
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    derivatives, truth, out = map(str, counted)
    assert evaluate.main(parser.parse_args([derivatives, truth, "--out", out])) == 0
    said = capsys.readouterr().out
    assert "balanced accuracy" in said and "evaluation.md" in said


@pytest.mark.slow
def test_coordinates_are_asked_of_the_images_unless_they_are_trusted(counted, monkeypatch):
    derivatives, truth, out = counted

    def refuse(layout, rows, path):
        assert (layout.root, path) == (derivatives, truth)
        raise CMBurdenError("the coordinates are lps, not ras")

    monkeypatch.setattr(evaluate, "require_ras", refuse)
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    arguments = [str(derivatives), str(truth), "--out", str(out)]
    with pytest.raises(CMBurdenError, match="lps, not ras"):
        evaluate.main(parser.parse_args(arguments))
    assert evaluate.main(parser.parse_args([*arguments, "--trust-coordinates"])) == 0


def test_mistakes_are_told_in_a_sentence(counted, tmp_path):
    derivatives, truth, out = counted
    with pytest.raises(CMBurdenError, match="not a readable truth table"):
        evaluate.run(derivatives, tmp_path / "none.tsv", out)
    with pytest.raises(CMBurdenError, match=r"is not there; was the output folder's run finished"):
        evaluate.run(tmp_path / "unfinished", truth, out)
    rows = pd.read_csv(truth, sep="\t")
    rows.drop(columns="kind").to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    with pytest.raises(CMBurdenError, match=r"column\(s\) kind are missing"):
        evaluate.run(derivatives, tmp_path / "a.tsv", out)
    rows.assign(scan_id="x").to_csv(tmp_path / "b.tsv", sep="\t", index=False)
    with pytest.raises(CMBurdenError, match="scan_id must agree"):
        evaluate.run(derivatives, tmp_path / "b.tsv", out)


@pytest.mark.slow
def test_whole_cohort(tmp_path):
    made = fabricate.cohort(tmp_path, participants=16)
    aggregate.run(made.layout, made.bids_dir, made.config)
    result = evaluate.run(made.layout.root, made.truth, tmp_path / "out")
    assert result["scans"]["in_truth"] == 17 and len(result["scans"]["not_read"]) == 2
    own = result["lesion"]["all"]["sensitivity"]
    assert own["ci_low"] <= own["estimate"] <= own["ci_high"]
    assert {"all", "cohort=ADNI", "contrast=SWI"} <= set(result["candidate"])
    # A scan table of the cohort counts what evaluation counts.
    scans = SCANS.read(made.layout.table("scans"))
    lesion = result["lesion"]["all"]
    assert lesion["tp"] + lesion["fp"] == scans["n_cmb"].sum()


@pytest.mark.slow
def test_contracts_are_those_of_the_run(tmp_path):
    """The shipped models have other thresholds: an evaluation of other models asks theirs."""
    made = fabricate.cohort(tmp_path / "cohort", participants=6)
    detector = Path(made.config["detect"]["model"]) / "model.json"
    contract = json.loads(detector.read_text()) | {"weights": {"d.pt": "a" * 64}}
    contract["thresholds"] = {"p_cnn": 0.77}
    write_json(detector, contract)
    record = made.layout.run_record("detect", "bucket-0")
    run = {"stage": "detect", "unit": "bucket-0", "stage_version": 1, "cmburden_version": "0"}
    write_json(
        record,
        run
        | {
            "versions": "{}",
            "config_sha256": "c",
            "weights_sha256": "a" * 64,
            "device": "cpu",
            "precision": "single",
            "seconds": 1.0,
        },
    )
    aggregate.run(made.layout, made.bids_dir, made.config)
    result = evaluate.run(made.layout.root, made.truth, tmp_path / "out")
    assert result["ablation"]["cnn"]["own"]["threshold"] == 0.77
    # The folder now holds other weights than those that the run used.
    write_json(detector, contract | {"weights": {"d.pt": "b" * 64}})
    assert evaluate_cases.contract_of_run(made.layout, "detect") == {}
    assert evaluate_cases.contract_of_run(made.layout, "verify")["id"] == "cmb-verifier"
    made.layout.config.unlink()
    assert evaluate_cases.contract_of_run(made.layout, "verify") == {}
