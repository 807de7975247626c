"""Models that cannot be used: one sentence that says which, why and what to do."""

import json

import pytest
import tiny_models

from cmburden.core.errors import CMBurdenError
from cmburden.core.files import write_json
from cmburden.detect import contract
from cmburden.models import contract as contracts
from cmburden.run import begin
from cmburden.verify import contract as verify_contract


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
