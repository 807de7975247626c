"""Figures of a small invented cohort, counted by hand.

Audit A1 (iv): the contract's presence figures come from scans like a population's.
"""

import json
from pathlib import Path

import pytest

from cmburden.core import resources, table_set, truth_origin
from cmburden.core.files import write_json
from cmburden.core.paths import Layout
from cmburden.core.tables import LESIONS, PARTICIPANTS, RUNS, SCANS, TRUTH
from cmburden.models import contract as contracts
from cmburden.studies.population_figures import main, population, results_of

MODEL = resources.root() / "models" / "verifier"
#: Scan -> preset, contrast, age; sources (kind, x, diameter, group); calls (label, x, group).
INVENTED = {
    # Of two microbleeds one is found, as deep; one call is false, one lies at a faint microbleed.
    "sub-1_T2starw": (
        ("ADNI", "GRE", 55.0),
        [
            ("microbleed", 0.0, 2.0, "lobar"),
            ("microbleed", 50.0, 3.0, "lobar"),
            ("faint", 20.0, 2.0, None),
        ],
        [
            ("definite", 1.0, "deep"),
            ("definite", 21.0, "lobar"),
            ("definite", -40.0, "lobar"),
            ("possible", 52.0, "lobar"),
        ],
    ),
    # No microbleed, no definite call; the calcification is called possible: false.
    "sub-2_T2starw": (
        ("ADNI", "GRE", 65.0),
        [("calcification", 0.0, 3.0, None)],
        [("possible", 0.0, "deep")],
    ),
    # No microbleed, two definite calls: not clean.
    "sub-3_T2starw": (
        ("OATS", "GRE", 85.0),
        [("none", 0.0, 0.0, None)],
        [("definite", 0.0, "infratentorial"), ("definite", 30.0, "unknown")],
    ),
    # A haemorrhage is called: no count of microbleeds holds it.
    "sub-4_T2starw": (
        ("OATS", "GRE", 75.0),
        [("macrohaemorrhage", 0.0, 14.0, None)],
        [("large", 0.0, "lobar")],
    ),
    "sub-5_swi": (
        ("MAS", "SWI", 70.0),
        [("microbleed", 0.0, 6.0, "deep")],
        [("definite", 0.0, "deep")],
    ),
}


def invented(folder: Path, weights: str = "") -> Path:
    """A folder with the invented cohort's truth and the tables of a run over it."""
    layout = Layout(folder / "derivatives")
    scans, lesions, truth, people = [], [], [], []
    for scan_id, ((preset, contrast, age), sources, calls) in INVENTED.items():
        whose = {"scan_id": scan_id, "participant_id": scan_id.split("_")[0]}
        scans.append(whose | {"cohort": "one", "contrast": contrast, "status": "ok", "n_cmb": 0})
        people.append({"participant_id": whose["participant_id"], "n_scans": 1, "age": age})
        for number, (kind, x, diameter, group) in enumerate(sources, 1):
            at = {"x_mm": x, "y_mm": 0.0, "z_mm": 0.0, "radius_mm": diameter / 2, "group": group}
            source = {"cohort": preset, "source_id": number, "kind": kind}
            truth.append(whose | source | ({} if kind == "none" else at))
        for number, (label, x, group) in enumerate(calls, 1):
            lesions.append(
                whose
                | {"lesion_id": number, "x_mm": x, "y_mm": 0.0, "z_mm": 0.0, "group": group}
                | {"label": "definite" if label == "large" else label, "region": "frontal"}
                | {"hemisphere": "left", "p_cnn": 0.9, "probability": 0.9}
                | {"macrohaemorrhage": label == "large"}
            )
    for table, rows in ((SCANS, scans), (LESIONS, lesions), (PARTICIPANTS, people)):
        table.write(layout.table(table.name), rows)
    run = {"stage": "verify", "unit": "bucket-0", "stage_version": 1, "cmburden_version": "0"}
    RUNS.write(layout.table("runs"), [run | {"weights_sha256": weights}])
    table_set.seal(layout)
    write_json(layout.config, {"verify": {"thresholds": None, "model": "models/verifier"}})
    path = folder / "truth.tsv"
    TRUTH.frame(truth).to_csv(path, sep="\t", index=False, na_rep="n/a")
    truth_origin.state(path, truth_origin.SIMULATED, "Invented.")
    return folder


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    results = results_of(invented(tmp_path_factory.mktemp("invented")))
    return population(results, "Invented people", "2026-11-27")


def test_presence_and_false_positives_are_counted_by_hand(figures):
    gre = figures["GRE"]
    assert {key: value for key, value in gre.items() if isinstance(value, int)} == {
        "scans": 4,
        "negative_scans": 3,
        "negative_clean": 2,
        "positive_scans": 1,
        "positive_found": 1,
        "microbleeds": 2,
        "found": 1,
        "called_at_faint": 1,
    }
    # Two scans without a false positive, one with one, one with two.
    assert gre["false_positives_of_scans"] == [2, 1, 1]
    assert gre["counts_of_positive"] == [[2, 1, 3]]
    possible = gre["possible"]
    assert (possible["negative_clean"], possible["found"]) == (1, 2)
    assert possible["false_positives_of_scans"] == [1, 2, 1]
    assert (figures["SWI"]["found"], figures["SWI"]["negative_scans"]) == (1, 0)


def test_diameters_places_and_presets_are_counted_by_hand(figures):
    gre = figures["GRE"]
    edges = [(one["low_mm"], one["high_mm"]) for one in gre["by_diameter"]]
    assert edges == [(0.0, 3.0), (3.0, 5.0), (5.0, None)]
    # 2 mm is found; 3 mm belongs to the second class and is missed.
    assert [(one["microbleeds"], one["found"]) for one in gre["by_diameter"]] == [
        (1, 1),
        (1, 0),
        (0, 0),
    ]
    assert gre["groups"]["lobar"] == {
        "microbleeds": 2,
        "found_as": {"deep": 1},
        "false_positives": 1,
    }
    assert [gre["groups"][g]["false_positives"] for g in ("infratentorial", "unknown")] == [1, 1]
    # The call at the faint microbleed is in the pattern, as in the counts of a scan.
    assert gre["patterns"]["strictly lobar"] == {"mixed": 1}
    assert sum(gre["patterns"]["none"].values()) == 3
    assert gre["by_preset"] == {
        "ADNI": {"scans": 2, "false_positives": 1, "microbleeds": 2, "found": 1},
        "OATS": {"scans": 2, "false_positives": 2, "microbleeds": 0, "found": 0},
    }
    assert [band["false_positives"] for band in gre["by_age"]] == [1, 0, 0, 2]


def test_the_contract_gets_the_figures_and_keeps_the_rest(tmp_path, capsys):
    (tmp_path / "model").mkdir()
    for file in MODEL.iterdir():
        if file.suffix == ".pt":
            (tmp_path / "model" / file.name).symlink_to(file)
    shipped = json.loads((MODEL / "model.json").read_text())
    path = tmp_path / "model" / "model.json"
    write_json(path, shipped)
    folder = invented(tmp_path / "chunk-1", contracts.weights_hash(shipped))
    (tmp_path / "chunk-2").mkdir()
    both = [str(folder), str(tmp_path / "chunk-2")]
    assert main([*both, "--about", "Invented people", "--write", str(path)]) == 0
    out = capsys.readouterr().out
    assert "chunk-2: passed by, its run is not finished" in out
    assert "| without a microbleed: none called | 2/3, 0.67 (0.21-0.94) | 0/0 |" in out
    assert "GRE: 3 scans without microbleeds, 200 are wanted" in out
    written = json.loads(path.read_text())
    content = written["metrics"].pop("population")
    assert content["GRE"]["negative_clean"] == 2 and content["command"].startswith("make")
    assert "simulated scans in the manner of ADNI, MAS, OATS" in content["about"]
    shipped["metrics"].pop("population", None)
    assert written == shipped


@pytest.mark.parametrize("what", ["weights", "thresholds"])
def test_scans_of_other_weights_or_thresholds_are_refused(tmp_path, what):
    hashed = contracts.weights_hash(json.loads((MODEL / "model.json").read_text()))
    folder = invented(tmp_path, "others" if what == "weights" else hashed)
    if what == "thresholds":
        named = {"thresholds": {"definite": 0.7}}
        write_json(Layout(folder / "derivatives").config, {"verify": named})
    before = (MODEL / "model.json").read_bytes()
    with pytest.raises(Exception, match="were read with other weights or thresholds than those of"):
        main([str(folder), "--write", str(MODEL / "model.json")])
    assert (MODEL / "model.json").read_bytes() == before


def test_scans_that_are_not_simulated_and_no_scans_are_refused(tmp_path):
    with pytest.raises(Exception, match="none of the folders holds truth"):
        main([str(tmp_path)])
    folder = invented(tmp_path)
    (folder / "truth.json").unlink()
    with pytest.raises(Exception, match="does not say that its scans are simulated"):
        main([str(folder)])
