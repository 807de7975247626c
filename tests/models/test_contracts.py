"""Models that cannot be used: one sentence that says which, why and what to do."""

import json
from pathlib import Path

import pytest
import tiny_models
import torch

from cmburden.core.errors import CMBurdenError
from cmburden.core.files import sha256_of_file, write_json
from cmburden.detect import contract
from cmburden.detect.stage import Detector
from cmburden.models import contract as contracts
from cmburden.models.weights import load_tensors
from cmburden.run import begin
from cmburden.verify import contract as verify_contract
from cmburden.verify.features import FEATURES


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tiny_models.write(tmp_path_factory.mktemp("models"))


def changed(folder, tmp_path, **changes):
    """A copy of a model's folder with other keys in its contract."""
    content = json.loads((folder / "model.json").read_text()) | changes
    for name in content["weights"]:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    write_json(tmp_path / "model.json", content)
    return tmp_path


def test_models_that_fit(models):
    begin.check_models(
        {"detect": {"model": models / "detector"}, "verify": {"model": models / "verifier"}}
    )
    begin.check_models(
        {"detect": {"model": "models/detector"}, "verify": {"model": "models/verifier"}}
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"input": {"millimetres": 24.0}}, "trained on views of 24.0 mm"),
        ({"input": {}}, "trained on views of None mm"),
        ({"classes": ["microbleed"]}, "this is no verifier"),
        ({"probability_model": None}, "this is no verifier"),
        ({"probability_model": {"features": ["edge"]}}, "fitted to other measures"),
        ({"thresholds": {"definite": 0.5}}, r"thresholds \['possible'\] are missing"),
    ],
)
def test_a_verifier_of_another_version(models, tmp_path, changes, said):
    folder = changed(models / "verifier", tmp_path, **changes)
    with pytest.raises(CMBurdenError, match=said):
        verify_contract.of_verifier(folder)


N = len(FEATURES)


def model(**changes):
    """The probability model of the tiny verifier, changed."""
    ones = [1.0] * N
    numbers = {"mean": ones, "scale": ones, "coefficient": ones, "intercept": 0.0}
    return {"probability_model": {"features": list(FEATURES)} | numbers | changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (model(coefficient=[float("nan")] * N), "coefficient.0.*not a number"),
        (model(intercept=float("inf")), "intercept: not a number"),
        (model(intercept=None), "intercept is not a number"),
        (model(intercept="0"), "intercept is not a number"),
        (model(intercept=True), "intercept is not a number"),
        (model(coefficient=[1.0] * (N - 1)), f"coefficient has {N - 1} numbers, not {N}"),
        (model(coefficient=[[1.0]] * N), "coefficient is not a list of numbers"),
        (model(mean={}), "mean is not a list of numbers"),
        (model(mean=None), "mean is not a list of numbers"),
        (model(scale=[0.0] * N), "scale holds a number that is not above 0"),
        (model(scale=[-1.0] * N), "scale holds a number that is not above 0"),
        (model(phase={"coefficient": 1.0}), "phase has no numbers coefficient and intercept"),
        (model(phase=[1.0, 2.0]), "phase has no numbers coefficient and intercept"),
        ({"probability_model": []}, "this is no verifier"),
        ({"cnn_yolo_model": {"coefficient": [1.0], "intercept": 0}}, "cnn_yolo_model.coefficient"),
        ({"cnn_yolo_model": "x"}, "cnn_yolo_model is not an object"),
        ({"thresholds": {"definite": 0.4, "possible": 0.9}}, "possible lies above definite"),
        ({"thresholds": {"definite": "0.4", "possible": 0.3}}, "threshold definite is '0.4'"),
        ({"thresholds": {"definite": float("nan"), "possible": 0.3}}, "definite: not a number"),
        ({"thresholds": {"definite": 1.4, "possible": 0.3}}, "definite is 1.4 and not"),
        ({"thresholds": {"definite": True, "possible": 0.3}}, "definite is True and not"),
        ({"thresholds": None}, "thresholds is not an object"),
        ({"thresholds": []}, "thresholds is not an object"),
        ({"input": None}, "input is not an object"),
        ({"input": [20]}, "input is not an object"),
        ({"metrics": [1]}, "metrics is not an object"),
        ({"metrics": {"scans": "x"}}, "metrics.scans is 'x' and not a number of 0 or more"),
        ({"metrics": {"microbleeds": -1}}, "metrics.microbleeds is -1 and not"),
        ({"metrics": {"froc": "x"}}, "metrics.froc is not a list of two numbers"),
        ({"metrics": {"froc": [[1]]}}, "metrics.froc is not a list of two numbers"),
        ({"domain": {"slice_mm": 3}}, "domain.slice_mm is not a list"),
        ({"version": 1}, "version is not a text"),
        ({"classes": None}, "this is no verifier"),
    ],
)
def test_a_verifier_whose_contract_holds_no_sound_numbers(models, tmp_path, changes, said):
    path = changed(models / "verifier", tmp_path) / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CMBurdenError, match=said):
        verify_contract.of_verifier(tmp_path)


@pytest.mark.parametrize("channels", [0, -1, 10**6, 2.0, True, "8", None])
def test_channels_that_no_detector_has(models, tmp_path, channels):
    folder = changed(models / "detector", tmp_path, input={"channels": channels})
    with pytest.raises(CMBurdenError, match=r"no detector|input.channels is"):
        contract.of_detector(folder)


@pytest.mark.parametrize(
    "text",
    [
        b"null",
        b"[]",
        b"3",
        b"",
        b"{",
        b'"x"',
        b"\xff\xfe{\x00",
        b'{"id": "K\xf6ln"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 1e999}',
        b'{"a": NaN}',
    ],
)
def test_a_contract_that_is_no_object_of_sound_values(tmp_path, text):
    (tmp_path / "model.json").write_bytes(text)
    with pytest.raises(CMBurdenError, match=r"model.json: .*(restore|train one)"):
        contracts.load(tmp_path)
    assert contracts.read(tmp_path) is None


def test_a_contract_that_is_a_folder(tmp_path):
    (tmp_path / "model.json").mkdir()
    with pytest.raises(CMBurdenError, match="Is a directory; name a model's folder"):
        contracts.load(tmp_path)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({}, "names no weights"),
        (None, "weights is not an object"),
        (["detector.pt"], "weights is not an object"),
        ({"../../etc/passwd": "0"}, "no bare file name"),
        ({"/etc/passwd": "0"}, "no bare file name"),
        ({"..\\x.pt": "0"}, "no bare file name"),
        ({"..": "0"}, "no bare file name"),
        ({"": "0"}, "no bare file name"),
        ({"a\0b": "0"}, "no bare file name"),
        ({"sub/detector.pt": "0"}, "no bare file name"),
        ({"folder": "0"}, "the weights are no file"),
        ({"detector.pt": None}, "sha256 differs"),
    ],
)
def test_weights_are_files_beside_the_contract(models, tmp_path, weights, said):
    folder = changed(models / "detector", tmp_path)
    (folder / "folder").mkdir()
    content = json.loads((folder / "model.json").read_text()) | {"weights": weights}
    write_json(folder / "model.json", content)
    with pytest.raises(CMBurdenError, match=said):
        contract.of_detector(folder)


@pytest.mark.parametrize("kind", ["no archive", "pickle", "list", "empty", "NaN", "torn"])
def test_weights_that_are_no_tensors(tmp_path, kind):
    path = tmp_path / "x.pt"
    if kind == "no archive":
        path.write_bytes(b"no archive at all")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "pickle":
        torch.save({"entry.weight": Path("x")}, path)  # an object that weights_only refuses
    elif kind == "list":
        torch.save([torch.zeros(2)], path)
    elif kind == "NaN":
        torch.save({"entry.weight": torch.tensor([1.0, float("nan")])}, path)
    else:
        torch.save({"entry.weight": torch.zeros(5000)}, path)
        path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(CMBurdenError, match=r"x.pt: .*restore the file"):
        load_tensors(path)


def test_weights_of_another_width(models, tmp_path):
    folder = changed(models / "detector", tmp_path, input={"channels": 8})
    with pytest.raises(CMBurdenError, match="not weights of a detector of 8 channels"):
        Detector(folder, "cpu")


def test_damaged_weights_end_a_run_before_it_begins(models, tmp_path):
    folder = changed(models / "detector", tmp_path)
    (folder / "detector.pt").write_bytes(b"no archive")
    name = {"weights": {"detector.pt": sha256_of_file(folder / "detector.pt")}}
    write_json(folder / "model.json", json.loads((folder / "model.json").read_text()) | name)
    with pytest.raises(CMBurdenError, match=r"detector.pt: not a file of weights"):
        contract.of_detector(folder)


def test_thresholds_are_checked_as_merged(models):
    """Alone, the user's threshold is sound: it crosses the contract's (0.55)."""
    config = {
        "detect": {"model": models / "detector"},
        "verify": {"model": models / "verifier", "thresholds": {"possible": 0.9}},
    }
    with pytest.raises(CMBurdenError, match=r"possible 0.9 of verify.thresholds.*0.55 of the mod"):
        begin.check_models(config)
    config["verify"]["thresholds"] = {"possible": 0.9, "definite": 0.95}
    begin.check_models(config)


def test_one_model_in_the_other_s_place(models):
    with pytest.raises(CMBurdenError, match=r"detector: this is no verifier; name one in verify"):
        verify_contract.of_verifier(models / "detector")
    with pytest.raises(CMBurdenError, match=r"verifier: this is no detector; name one in detect"):
        contract.of_detector(models / "verifier")


def test_damaged_models(models, tmp_path):
    with pytest.raises(CMBurdenError, match=r"there is no model; train one or set detect.model"):
        contracts.load(tmp_path)
    folder = changed(models / "detector", tmp_path)
    (folder / "detector.pt").write_bytes(b"else")
    with pytest.raises(CMBurdenError, match=r"detector.pt: sha256 differs from model.json"):
        contracts.load(folder)
    (folder / "detector.pt").unlink()
    with pytest.raises(CMBurdenError, match=r"detector.pt: the weights are missing"):
        contracts.load(folder)
    write_json(folder / "model.json", {"id": "x"})
    with pytest.raises(CMBurdenError, match=r"keys .*'weights'.* are missing"):
        contracts.load(folder)
    (folder / "model.json").write_text("{")
    with pytest.raises(CMBurdenError, match="not JSON"):
        contracts.load(folder)


def test_what_reports_read_of_a_model(models, tmp_path):
    """As the stages find it: relative to the checkout (or the wheel's own copy), from anywhere."""
    shipped = contracts.contract_of({"verify": {"model": "models/verifier"}}, "verify")
    assert shipped["id"].startswith("cmburden-verifier-")
    assert contracts.read(models / "detector")["id"] == "tiny-detector"
    assert contracts.read(tmp_path) is None
    (tmp_path / "model.json").write_text("[1]")
    assert contracts.read(tmp_path) is None
