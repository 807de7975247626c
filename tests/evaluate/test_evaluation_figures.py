"""Figures show what the result holds; the page links to them with a sentence each."""

import json
import re
import shutil

import fabricate
import numpy as np
import pytest
from PIL import Image

from cmburden.cohort import stage as aggregate
from cmburden.core import table_set
from cmburden.core.errors import CMBurdenError
from cmburden.core.tables import CANDIDATES, LESIONS, SCANS, TRUTH
from cmburden.evaluate import command as evaluate
from cmburden.evaluate import figures as evaluation_figures
from cmburden.evaluate import measures as evaluate_measures
from cmburden.evaluate import style as evaluation_style
from cmburden.studies import evaluation_docs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An evaluated cohort: result and folder."""
    folder = tmp_path_factory.mktemp("figures")
    cohort = fabricate.cohort(folder, participants=16)
    aggregate.run(cohort.layout, cohort.bids_dir, cohort.config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate_measures, "DRAWS", 60)
        return evaluate.run(cohort.layout.root, cohort.truth, folder / "out"), folder / "out"


def test_pictures_are_small_and_wide_enough(made):
    _result, out = made
    for name in evaluation_figures.FIGURES:
        path = out / f"{name}.png"
        assert path.stat().st_size < 120_000
        with Image.open(path) as picture:
            assert picture.format == "PNG" and picture.width >= 700


def test_page_links_every_picture_with_its_main_number(made):
    result, out = made
    page = (out / "evaluation.md").read_text()
    links = dict(re.findall(r"!\[(.+?)\]\((\w+)\.png\)", page))
    assert set(links.values()) == set(evaluation_figures.FIGURES)
    texts = {name: text for text, name in links.items()}
    assert f"{result['froc']['final']['0.5']['estimate']:.3f} with the calibrated" in texts["froc"]
    own = result["froc_strata"]["cohort=OATS"]["final"]["0.5"]["estimate"]
    assert f"OATS {own:.3f}" in texts["froc_presets"]
    assert f"{result['lesion']['all']['sensitivity']['estimate']:.3f}" in texts["sensitivity"]
    assert "not comparable" in page and "## Calibration of the final probability" in page
    row = next(line for line in page.splitlines() if line.startswith("| cohort=OATS"))
    assert row.count("|") > 5


def test_drawn_again_from_the_json_they_are_equal(made, tmp_path, capsys):
    _result, out = made
    evaluation_figures.main([str(out / "evaluation.json"), str(tmp_path)])
    assert "froc.png" in capsys.readouterr().out
    for name in evaluation_figures.FIGURES:
        assert (tmp_path / f"{name}.png").read_bytes() == (out / f"{name}.png").read_bytes()


def test_the_docs_page_takes_its_figures_from_the_results(made, tmp_path):
    result, out = made
    root = out.parent / "whole"
    figures = root / "figures"
    if not figures.exists():
        shutil.copytree(out, figures)
        shutil.copytree(out.parent / "derivatives", root / "derivatives")
    plain = root / evaluation_docs.PLAIN
    plain.unlink(missing_ok=True)
    with pytest.raises(CMBurdenError, match=r"benchmark.json, distributions.md.*plain.* run make"):
        evaluation_docs.write(root, tmp_path)
    plain.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(out / "evaluation.json", plain)
    seconds = {"cnn": 3.0, "describe": 1.5, "yolo": 0.25}
    (figures / "benchmark.json").write_text(
        json.dumps(
            {"models": {"detector": "d-1", "verifier": "v-1"}, "median": {"seconds": seconds}}
        )
    )
    for name in ("distributions.md", "anatomy.md", "benchmark.md"):
        (figures / name).write_text(f"# {name}\n\nText.\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_docs.timings, "by_stage", lambda layout: None)
        patch.setattr(evaluation_docs.timings, "markdown", lambda table: "| seconds |")
        page = evaluation_docs.write(root, tmp_path).read_text()
    sensitivity = result["lesion"]["all"]["sensitivity"]["estimate"]
    row = next(line for line in page.splitlines() if "at the definite threshold, all" in line)
    assert f"| {sensitivity:.3f} |" in row
    assert row.endswith("| yes |" if sensitivity >= 0.9 else "| no |")
    assert "| <= 15 | 4.750 |  | yes |" in page
    row = next(line for line in page.split("another simulator")[1].splitlines() if "| all " in line)
    assert row.startswith(f"| all | {result['lesion']['all']['microbleeds']} | {sensitivity:.3f} (")
    assert page.count("\n# ") == 0 and "## Targets" in page and "### Lesions" in page
    for name in re.findall(r"\]\((evaluation/\w+\.png)\)", page):
        assert (tmp_path / name).exists()


def drawn(name, result):
    figure = evaluation_style.new_figure(4)
    evaluation_figures.FIGURES[name][1](figure, result)
    return figure.axes


def test_curves_are_those_of_the_result(made):
    result, _out = made
    lines = {line.get_label(): line for line in drawn("froc", result)[0].lines}
    curve = result["froc_curves"]["all"]["final"]
    assert lines["calibrated probability"].get_xdata().tolist() == curve["fp_per_scan"]
    assert lines["calibrated probability"].get_ydata().tolist() == curve["sensitivity"]
    own = next(
        line for line in drawn("froc_presets", result)[0].lines if "OATS" in str(line.get_label())
    )
    curve = result["froc_curves"]["cohort=OATS"]["final"]
    assert own.get_ydata().tolist() == curve["sensitivity"]


def test_reliability_and_counts_are_those_of_the_result(made):
    result, _out = made
    axes = next(a for a in drawn("calibration", result) if a.get_title("left").startswith("GRE:"))
    bins = [
        one for one in result["calibration"]["contrast=GRE"]["all"]["bins"] if one["candidates"]
    ]
    shown = [line.get_xydata().tolist() for line in axes.lines]
    assert [[one["mean_probability"], one["share_true"]["estimate"]] for one in bins] in shown
    left, _right = drawn("counts", result)
    number = sum(len(points.get_offsets()) for points in left.collections)
    pairs = {(row["contrast"], row["n_true"], row["n_pred"]) for row in result["per_scan"]}
    assert number == len(pairs)
    assert len(result["per_scan"]) == result["scans"]["read"]


@pytest.mark.parametrize("candidates", [True, False])
def test_a_cohort_without_microbleeds_is_drawn(tmp_path, candidates, monkeypatch):
    monkeypatch.setattr(evaluate_measures, "DRAWS", 10)
    from cmburden.core.paths import Layout

    layout = Layout(tmp_path)
    row = {
        "scan_id": "sub-A_T2starw",
        "candidate_id": 1,
        "x_mm": 0.0,
        "y_mm": 0.0,
        "z_mm": 0.0,
        "p_cnn": 0.3,
        "p_yolo": 0.2,
        "probability": 0.01,
        "label": "rejected",
        "kept": False,
        "group": "lobar",
    }
    CANDIDATES.write(layout.candidates, [row] if candidates else [])
    LESIONS.write(layout.table("lesions"), [])
    scan = {"scan_id": "sub-A_T2starw", "cohort": "A", "participant_id": "sub-A"}
    SCANS.write(layout.table("scans"), [scan | {"contrast": "GRE", "status": "ok", "n_cmb": 0}])
    table_set.seal(layout)
    truth = TRUTH.frame([scan | {"source_id": 0, "kind": "none"}])
    truth.to_csv(tmp_path / "truth.tsv", sep="\t", index=False, na_rep="n/a")
    result = evaluate.run(tmp_path, tmp_path / "truth.tsv", tmp_path / "out")
    assert result["froc"]["final"]["0.5"]["estimate"] is None or not candidates
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == result
    assert all((tmp_path / "out" / f"{name}.png").exists() for name in evaluation_figures.FIGURES)


def test_an_interval_that_leaves_its_estimate_out_has_no_negative_bar():
    entry = {"estimate": 0.1, "ci_low": 0.2, "ci_high": 0.3}
    assert evaluation_style.error_bar(entry).ravel().tolist() == pytest.approx([0, 0.2])
    unknown = {"estimate": 0.1, "ci_low": None, "ci_high": None}
    assert np.all(evaluation_style.error_bar(unknown) == 0)


@pytest.mark.parametrize(
    ("value", "limit", "at_least", "met"),
    [
        (0.9, 0.9, True, "yes"),
        (0.89, 0.9, True, "no"),
        (0.3, 0.3, False, "yes"),
        (0.31, 0.3, False, "no"),
        (None, 0.3, False, "no"),
    ],
)
def test_a_target_is_met_at_its_limit(value, limit, at_least, met):
    target = evaluation_docs.Target("name", "words", value, limit, at_least=at_least)
    shown = "-" if value is None else f"{value:.3f}"
    assert target.cells() == ["name", "words", shown, "", met]
