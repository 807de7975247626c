"""Truth of readers: its wording, scanners, readers, counts without places, people who were seen."""

import argparse
import json

import numpy as np
import pandas as pd
import pytest

from cmburden.core import table_set, truth_origin
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import write_json
from cmburden.core.paths import Layout
from cmburden.core.tables import CANDIDATES, LESIONS, RUNS, SCANS, TRUTH
from cmburden.evaluate import command as evaluate
from cmburden.evaluate import counts as evaluate_counts
from cmburden.evaluate import measures as evaluate_measures
from cmburden.evaluate import page, seen
from cmburden.evaluate.cases import gather, read_truth
from cmburden.evaluate.readers import by_reader, read_readers
from cmburden.models import people

pytestmark = pytest.mark.slow

#: x of the definite lesions of each scan; all lie on one line.
CALLED = {"sub-ADNI1_T2starw": [0.0, 30.0], "sub-ADNI2_T2starw": [], "sub-ADNI3_T2starw": [10.0]}
FIELD = {"sub-ADNI1_T2starw": 3.0, "sub-ADNI2_T2starw": 2.89, "sub-ADNI3_T2starw": 1.494}
MAKER = {"sub-ADNI1_T2starw": "SIEMENS", "sub-ADNI2_T2starw": "GE MEDICAL SYSTEMS"}


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(evaluate_measures, "DRAWS", 20)


@pytest.fixture
def layout(tmp_path):
    """A run over three scans whose definite lesions are those of ``CALLED``."""
    layout = Layout(tmp_path / "derivatives")
    rows = [
        {
            "scan_id": scan_id,
            "candidate_id": number,
            "x_mm": x,
            "y_mm": 0.0,
            "z_mm": 0.0,
            "p_cnn": 0.9,
            "p_yolo": 0.9,
            "probability": 0.9,
            "label": "definite",
            "kept": True,
            "diameter_mm": 3.0,
            "group": "lobar",
        }
        for scan_id, places in CALLED.items()
        for number, x in enumerate(places)
    ]
    CANDIDATES.write(layout.candidates, rows)
    copied = ("scan_id", "x_mm", "y_mm", "z_mm", "p_cnn", "probability", "label", "group")
    further = {"region": "frontal", "hemisphere": "left", "macrohaemorrhage": False}
    LESIONS.write(
        layout.table("lesions"),
        [
            {key: row[key] for key in copied}
            | further
            | {"participant_id": row["scan_id"][:9], "lesion_id": row["candidate_id"] + 1}
            for row in rows
        ],
    )
    SCANS.write(
        layout.table("scans"),
        [
            {
                "scan_id": scan_id,
                "cohort": "ADNI",
                "participant_id": scan_id[:9],
                "contrast": "GRE",
                "path": f"{scan_id}.nii.gz",
                "field_strength_t": FIELD[scan_id],
                "status": "ok",
                "n_cmb": len(places),
                "detector_id": "d",
                "verifier_id": "v",
            }
            for scan_id, places in CALLED.items()
        ],
    )
    RUNS.write(layout.table("runs"), [])
    table_set.seal(layout)
    bids = tmp_path / "bids"
    for scan_id, maker in MAKER.items():
        write_json(bids / f"{scan_id}.json", {"Manufacturer": maker})
    write_json(layout.config, {"bids_dir": str(bids)})
    return layout


def row(number, x, kind="microbleed", source=1, **more):
    scan_id = f"sub-ADNI{number}_T2starw"
    place = {} if kind == "none" else {"x_mm": x, "y_mm": 0.0, "z_mm": 0.0, "radius_mm": 1.4}
    return {
        "scan_id": scan_id,
        "cohort": "ADNI",
        "participant_id": scan_id[:9],
        "source_id": 0 if kind == "none" else source,
        "kind": kind,
        **place,
        **more,
    }


#: One of two called is true in scan 1, scan 2 is clean, the call of scan 3 is on a possible one.
READ = [row(1, 0.0), row(2, 0, "none"), row(3, 10.0, "possible")]


def written(folder, rows, name="truth.tsv"):
    path = folder / name
    table = pd.DataFrame(rows)
    for column in ("x_mm", "y_mm", "z_mm", "radius_mm"):
        table[column] = table.get(column, np.nan)
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    return path


def test_possible_is_neither_right_nor_wrong(layout, tmp_path):
    cases = gather(layout, read_truth(written(tmp_path, READ)))
    assert cases.scans[["tp", "fp"]].to_numpy().tolist() == [[1, 1], [0, 0], [0, 0]]
    assert cases.mimics["kind"].tolist() == ["faint"]
    siderosis = [*READ[:2], row(3, 10.0, "Superficial siderosis")]
    cases = gather(layout, read_truth(written(tmp_path, siderosis)))
    assert cases.scans["fp"].tolist() == [1, 0, 0]


def test_the_page_of_readers_truth_says_simulated_of_nothing(layout, tmp_path):
    truth = written(tmp_path, READ[:2])
    truth_origin.state(truth, truth_origin.READERS, "Read by hand.")
    result = evaluate.run(layout.root, truth, tmp_path / "out")
    text = (tmp_path / "out/evaluation.md").read_text()
    seed = page.seed_table(result)
    assert "simulated" not in text and "cohort preset" not in text
    assert seed.startswith("| cohort |") and "0.953" in seed
    assert "no reader read, left out (they are no negatives): 1" in text
    assert "## By scanner" in text and "maker=Siemens" in text
    by_field = result["scanner"]["field=3 T"]
    assert by_field["lesion"]["scans"] == 2 and by_field["lesion"]["fp"] == 1
    assert set(result["scanner"]) == {"maker=Siemens", "maker=GE", "field=3 T"}


def test_the_origin_is_never_guessed(tmp_path):
    truth = written(tmp_path, READ)
    rows = read_truth(truth)
    assert truth_origin.origin_of(truth, rows) == truth_origin.UNSTATED
    # A susceptibility is what no reader sees: tables of before there was a statement.
    sure = rows.assign(susceptibility_ppm=[0.5, None, None])
    assert truth_origin.origin_of(truth, sure) == truth_origin.SIMULATED
    truth_origin.state(truth, truth_origin.READERS, "")
    assert truth_origin.origin_of(truth, sure) == truth_origin.READERS
    truth.with_suffix(".json").write_text('{"Origin": "a friend"}')
    with pytest.raises(CMBurdenError, match="Origin is 'a friend', not simulated or readers"):
        truth_origin.origin_of(truth, rows)
    truth.with_suffix(".json").write_text("{")
    with pytest.raises(CMBurdenError, match=r"truth.json: cannot be read"):
        truth_origin.origin_of(truth, rows)


def test_readers_by_hand(layout, tmp_path):
    both = [{**one, "reader": "A"} for one in READ[:2]]
    both += [{**one, "reader": "B"} for one in (row(1, 1.0), row(1, 30.0, source=2), READ[1])]
    both += [{**row(9, 0.0), "reader": "C"}]
    result = by_reader(layout, read_readers(written(tmp_path, both, "readers_truth.tsv")))
    assert result["unused"] == ["C"]
    assert [result["run"][name]["lesion"]["tp"] for name in "AB"] == [1, 2]
    (pair,) = result["pairs"]
    assert (pair["readers"], pair["scans"], pair["microbleeds"]) == (["A", "B"], 2, [1, 2])
    # One lesion is shared, of one and two: F1 is 2/3.
    assert pair["shared"] == 1 and pair["f1"] == pytest.approx(2 / 3)
    with pytest.raises(CMBurdenError, match=r"column\(s\) reader are missing"):
        read_readers(written(tmp_path, READ, "none.tsv"))
    both[1]["reader"] = ""
    with pytest.raises(CMBurdenError, match="line 3: names no reader"):
        read_readers(written(tmp_path, both, "unnamed.tsv"))


def counts(folder, numbers, **columns):
    rows = [
        {
            "scan_id": f"sub-ADNI{number}_T2starw",
            "cohort": "ADNI",
            "participant_id": f"sub-ADNI{number}",
            "session_id": "n/a",
            "n_cmb": count,
            **{name: values[number - 1] for name, values in columns.items()},
        }
        for number, count in numbers.items()
    ]
    path = folder / "counts_truth.tsv"
    pd.DataFrame(rows).to_csv(path, sep="\t", index=False, na_rep="n/a")
    return path


def test_counts_without_places(layout, tmp_path, capsys):
    table = counts(tmp_path, {1: 1, 2: 0, 3: 3, 4: 2}, n_lobar=[1, 0, 1, 0], n_deep=[0, 0, 2, 2])
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    words = [str(layout.root), "--counts", str(table), "--out", str(tmp_path / "out")]
    assert evaluate.main(parser.parse_args(words)) == 0
    assert "specificity" in capsys.readouterr().out
    result = json.loads((tmp_path / "out/evaluation.json").read_text())
    text = (tmp_path / "out/evaluation.md").read_text()
    assert "Lesion and candidate measures" in text and result["lesion"] is None
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"counts.png"}
    scan, count = result["scan"]["all"], result["count"]["all"]
    assert [scan[key]["estimate"] for key in ("sensitivity", "specificity", "auc")] == [1, 1, 1]
    # Called 2, 0, 1 of 1, 0, 3.
    assert count["mean_absolute_error"]["estimate"] == pytest.approx((1 + 0 + 2) / 3)
    assert result["count_by_place"]["deep"]["mean_absolute_error"]["estimate"] == pytest.approx(
        2 / 3
    )
    assert result["prevalence"]["ADNI"]["true"]["estimate"] == pytest.approx(2 / 3)
    assert result["scans"]["not_read"][0]["scan_id"] == "sub-ADNI4_T2starw"
    assert result["scans"]["microbleeds_not_read"] == 2


def test_what_is_wrong_with_counts_is_one_sentence(layout, tmp_path):
    with pytest.raises(CMBurdenError, match=r"n_cmb of sub-ADNI2_T2starw is '-1'"):
        evaluate_counts.read_counts(counts(tmp_path, {1: 1, 2: -1}))
    with pytest.raises(CMBurdenError, match=r"n_cmb of sub-ADNI1_T2starw is 'many'"):
        evaluate_counts.read_counts(counts(tmp_path, {1: "many"}))
    # A scan that was not read has no count and is no negative.
    assert len(evaluate_counts.read_counts(counts(tmp_path, {1: 1, 2: "n/a"}))) == 1
    twice = pd.concat([pd.read_csv(counts(tmp_path, {1: 1}), sep="\t")] * 2)
    twice.to_csv(tmp_path / "twice.tsv", sep="\t", index=False)
    with pytest.raises(CMBurdenError, match="has two rows"):
        evaluate_counts.read_counts(tmp_path / "twice.tsv")
    unknown = evaluate_counts.read_counts(counts(tmp_path, {8: 1}))
    with pytest.raises(CMBurdenError, match="scan_id must agree"):
        evaluate_counts.gather(layout, unknown)
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    with pytest.raises(CMBurdenError, match="one of the two"):
        evaluate.main(parser.parse_args([str(layout.root), "--out", "out"]))


# --- people whom the models were tuned on ---


def tuned(layout, folder, participants):
    """Let the run's detector be one that was tuned on ``participants``."""
    write_json(
        folder / "model.json",
        {
            "id": "d-tuned-1",
            "weights": {"d.pt": "a"},
            "tuned_on": people.tuned_on(participants, "s"),
        },
    )
    write_json(layout.config, {"detect": {"model": str(folder)}})
    record = {"stage": "detect", "unit": "bucket-0", "stage_version": 1, "cmburden_version": "0"}
    RUNS.write(layout.table("runs"), [record | {"weights_sha256": "a"}])
    scans = SCANS.read(layout.table("scans")).assign(detector_id="d-tuned-1")
    SCANS.write(layout.table("scans"), scans)
    table_set.seal(layout)


def test_people_of_the_tuning_are_refused(layout, tmp_path):
    rows = read_truth(written(tmp_path, READ))
    tuned(layout, tmp_path / "models", people.people_of(rows.iloc[:1]))
    with pytest.raises(CMBurdenError, match=r"1 of 3 participants, such as sub-ADNI1, .*d-tuned-1"):
        evaluate.run(layout.root, tmp_path / "truth.tsv", tmp_path / "out")
    seen.refuse(layout, rows.iloc[1:], None)
    # No id of a participant stands in the contract.
    assert "ADNI1" not in (tmp_path / "models/model.json").read_text()


def test_a_person_is_known_by_either_name(layout, tmp_path):
    rows = read_truth(written(tmp_path, READ))
    folds = tmp_path / "folds.tsv"
    folds.write_text(
        "participant_id\tperson\tfamily\tfold\n"
        + "".join(f"sub-ADNI{n}\t00{n}_S_1\tADNI\t{n}\n" for n in (1, 2, 3))
    )
    assert seen.folds_of(tmp_path / "truth.tsv", None) == folds
    known = people.people_of(rows, folds)
    assert [one.person for one in known] == ["001_S_1", "002_S_1", "003_S_1"]
    tuned(layout, tmp_path / "models", known[:1])
    for table in (folds, None):
        with pytest.raises(CMBurdenError, match="1 of 3 participants"):
            seen.refuse(layout, rows, table)
    folds.write_text("participant_id\tperson\tfamily\nsub-ADNI1\tx\tADNI\n")
    with pytest.raises(CMBurdenError, match=r"2 participant\(s\) of the truth table are missing"):
        people.people_of(rows, folds)
    folds.write_text("participant_id\tperson\nsub-ADNI1\tx\n")
    with pytest.raises(CMBurdenError, match=r"column\(s\) family are missing"):
        people.people_of(rows, folds)


def test_csiro_is_aibl():
    aibl = people.people_of(pd.DataFrame({"participant_id": ["sub-AIBL0009"], "cohort": ["AIBL"]}))
    csiro = people.people_of(
        pd.DataFrame({"participant_id": ["sub-AIBLmom101"], "cohort": ["AIBL"]})
    )
    other = people.people_of(pd.DataFrame({"participant_id": ["sub-AIBL0010"], "cohort": ["AIBL"]}))
    contract = {"tuned_on": people.tuned_on(aibl, "salt")}
    assert people.seen(contract, aibl) == (aibl, [])
    assert people.seen(contract, csiro) == ([], csiro)
    assert people.seen(contract, other) == ([], [])
    assert people.seen({"tuned_on": people.tuned_on(csiro, "salt")}, aibl) == ([], aibl)
    assert people.seen({}, aibl) == ([], [])


def test_a_tuned_model_that_is_gone_cannot_be_asked(layout, tmp_path):
    rows = read_truth(written(tmp_path, READ))
    tuned(layout, tmp_path / "models", people.people_of(rows.iloc[:1]))
    (tmp_path / "models/model.json").unlink()
    with pytest.raises(CMBurdenError, match="no longer in its folder"):
        seen.refuse(layout, rows, None)


def test_truth_columns_of_an_onboarding_are_enough(tmp_path):
    """Columns that only a simulation has may be absent."""
    rows = read_truth(written(tmp_path, READ))
    assert set(TRUTH.names) >= set(rows) and rows["susceptibility_ppm"].isna().all()
