"""A skull-stripped scan in preprocess: its outline is the mask, and everything says so."""

import json

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from cmburden.core import config
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.images import brain
from cmburden.images.prepared import Prepared
from cmburden.images.volume import Volume
from cmburden.index import stage as index
from cmburden.preprocess import artefacts, bias
from cmburden.preprocess import stage as preprocess

SHAPE, SIZES = (70, 80, 45), (2.5, 2.5, 4.0)
POINTS = (np.indices(SHAPE).T - (np.array(SHAPE) - 1) / 2) * SIZES
BRAIN = ((POINTS / (68.0, 85.0, 65.0)) ** 2).sum(-1).T < 1
RNG = np.random.default_rng(0)
#: A brain with texture and dark vessels, noise, and a coil at the front.
TISSUE = np.where(np.indices(SHAPE).sum(0) % 17 == 0, 150, 500) + RNG.normal(0, 20, SHAPE)
COIL = np.exp((POINTS[..., 1].T) / 300)


@pytest.fixture
def no_network(monkeypatch):
    """Brain extraction that must not be asked."""

    def asked(*arguments):
        raise AssertionError("a stripped brain was extracted again")

    monkeypatch.setattr(brain, "brain_mask", asked)


def put(tmp_path, data, **fields):
    path = tmp_path / "bids/sub-1/anat/sub-1_T2starw.nii.gz"
    path.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(data.astype(np.float32), np.diag([*SIZES, 1])), path)
    sidecar = {"EchoTime": 0.02, "MagneticFieldStrength": 3} | fields
    path.with_name("sub-1_T2starw.json").write_text(json.dumps(sidecar), encoding="utf-8")
    (tmp_path / "bids/dataset_description.json").write_text(
        '{"Name": "one", "BIDSVersion": "1.10.0"}', encoding="utf-8"
    )
    layout = Layout(tmp_path / "out")
    [scan] = index.run(tmp_path / "bids", layout, config.load())
    return scan, layout


def prepared(scan, layout, *, corrected: bool = False) -> Outcome:
    settings = config.load({"preprocess": {"bias_correction": corrected}})["preprocess"]
    return preprocess.run(scan, layout, settings)


def sidecar_of(path):
    return json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text("utf-8"))


@pytest.mark.parametrize("fill", [np.nan, 0.0])
def test_a_stripped_scan_is_prepared_by_its_outline(tmp_path, no_network, fill):
    scan, layout = put(tmp_path, np.where(BRAIN, TISSUE, fill))
    done = prepared(scan, layout)
    assert done.status == "ok" and done.measures["skull_stripped"] is True
    assert "It is skull-stripped: its own outline is the brain mask." in done.message
    assert ("NaN in its background" in done.message) == np.isnan(fill)
    result = Prepared.read(scan, layout)
    assert np.mean(result.mask == BRAIN) > 0.999
    assert not result.volume[~result.mask].any()
    assert np.median(result.volume[result.mask]) == pytest.approx(1, abs=1e-3)
    assert sidecar_of(layout.preproc(scan))["SkullStripped"] is True
    assert "outline" in sidecar_of(layout.brain_mask(scan))["Description"]


@pytest.mark.slow
def test_the_field_of_a_stripped_scan_is_taken_away(tmp_path, no_network):
    scan, layout = put(tmp_path, np.where(BRAIN, TISSUE * COIL, 0))
    done = prepared(scan, layout, corrected=True)
    volume = Prepared.read(scan, layout).volume
    front, back = (
        np.median(volume[:, half][BRAIN[:, half]]) for half in (slice(50, 70), slice(10, 30))
    )
    assert front / back == pytest.approx(1, abs=0.05)
    assert done.measures["bias_spread"] > 0.05
    assert "N4" in sidecar_of(layout.preproc(scan))["Description"]


@pytest.mark.slow
def test_a_scan_that_was_corrected_before_is_not_corrected_again(tmp_path, no_network):
    scan, layout = put(tmp_path, np.where(BRAIN, TISSUE, 0))
    done = prepared(scan, layout, corrected=True)
    assert done.status == "ok" and done.measures["bias_spread"] == 0
    assert "no bias correction was needed" in done.message
    result = Prepared.read(scan, layout)
    expected = TISSUE[BRAIN] / np.median(TISSUE[BRAIN])
    assert np.abs(result.volume[BRAIN] - expected).max() < 1e-3
    assert "N4" not in sidecar_of(layout.preproc(scan))["Description"]


def test_a_sidecar_that_the_image_does_not_bear_out_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(brain, "brain_mask", lambda data, threads: BRAIN)
    data = ndimage.gaussian_filter(np.where(BRAIN, TISSUE, 0), 0.8)
    data = np.hypot(data, RNG.normal(0, 12, SHAPE))
    scan, layout = put(tmp_path, data, SkullStripped=True)
    assert scan.skull_stripped
    done = prepared(scan, layout)
    assert done.status == "ok", done.message
    assert "skull_stripped" not in done.measures
    assert "nothing around the brain is blank" in done.message
    assert sidecar_of(layout.preproc(scan))["SkullStripped"] is False


def test_half_of_a_brain_is_still_refused(tmp_path, no_network):
    part = BRAIN & (np.indices(SHAPE)[2] > 24)
    scan, layout = put(tmp_path, np.where(part, TISSUE, 0), SkullStripped=True)
    done = prepared(scan, layout)
    assert (done.status, done.reason) == ("excluded", "coverage")


def test_the_sidecars_word_is_a_part_of_the_content_key(tmp_path):
    keys = []
    for number, fields in enumerate(({}, {"SkullStripped": False}, {"SkullStripped": True})):
        scan, _ = put(tmp_path / str(number), np.where(BRAIN, 500, 0), **fields)
        keys.append((scan.skull_stripped, scan.content_key))
    assert keys[0] == keys[1] and keys[2] == (True, keys[2][1]) and keys[2] != keys[0]


def test_a_void_is_looked_for_within_a_stripped_brain_alone():
    # A fissure at the outline is no void; a dark part of the brain is one.
    fissure = BRAIN & ~((np.abs(POINTS[..., 0].T) < 8) & (POINTS[..., 2].T > 10))
    data = np.where(fissure, TISSUE / 500, 0).astype(np.float32)
    volume = Volume(data, np.diag([*SIZES, 1.0]))
    assert artefacts.measure(volume, data, fissure, stripped=True).void_ml < 1
    assert artefacts.measure(volume, data, fissure).void_ml > 30
    hole = BRAIN & (np.linalg.norm(POINTS, axis=-1).T < 25)
    data = np.where(BRAIN & ~hole, TISSUE / 500, 0).astype(np.float32)
    assert artefacts.measure(Volume(data, volume.affine), data, BRAIN, stripped=True).void_ml > 30


def test_a_field_helps_where_it_varies():
    field = np.where(np.indices((10, 10, 10))[0] < 5, 0.9, 1.1)
    mask = np.ones(field.shape, bool)
    assert bias.helps(field, mask)
    assert not bias.helps(np.where(field > 1, 1.01, 0.99), mask)
