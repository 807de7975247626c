"""Without the head no result holds a face; the brain stays as it was."""

import json

import nibabel as nib
import numpy as np
import pytest

from cmburden.core import config
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.images import brain
from cmburden.images.prepared import Prepared
from cmburden.preprocess import stage as preprocess

SHAPE, SIZES = (80, 90, 50), (2.5, 2.5, 4.0)
AT = (np.indices(SHAPE).T - (np.array(SHAPE) - 1) / 2) * SIZES
RADIUS = np.sqrt(((AT / (68.0, 85.0, 65.0)) ** 2).sum(-1).T)
BRAIN = RADIUS < 1
#: A brain, a dark skull, a scalp and the noise of air.
HEAD = np.select([BRAIN, RADIUS < 1.1, RADIUS < 1.25], [500.0, 150.0, 300.0], 10.0)
HEAD = np.abs(HEAD + np.random.default_rng(0).normal(0, 20, SHAPE))


def prepared(folder, **settings):
    """The prepared scan, and what its sidecar says of the skull."""
    folder.mkdir()
    path = folder / "sub-01_T2starw.nii.gz"
    nib.save(nib.Nifti1Image(HEAD.astype(np.int16), np.diag([*SIZES, 1])), path)
    scan = Scan("sub-01_T2starw", "A", "sub-01", None, "T2starw", "GRE", path, (("sub", "01"),))
    layout = Layout(folder / "out")
    wanted = config.load({"preprocess": {"bias_correction": False, **settings}})["preprocess"]
    outcome = preprocess.run(scan, layout, wanted)
    assert outcome.ok, outcome.message
    sidecar = layout.preproc(scan)
    text = sidecar.with_name(sidecar.name.replace(".nii.gz", ".json")).read_text("utf-8")
    return Prepared.read(scan, layout), json.loads(text)["SkullStripped"]


@pytest.mark.slow
def test_without_the_head_only_the_brain_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(brain, "brain_mask", lambda data, threads: BRAIN)
    whole, of_whole = prepared(tmp_path / "whole")
    alone, of_alone = prepared(tmp_path / "alone", keep_head=False)
    assert (of_whole, of_alone) == (False, True)
    assert np.array_equal(whole.mask, alone.mask)
    assert np.array_equal(whole.volume[BRAIN], alone.volume[BRAIN])
    assert whole.volume[~BRAIN].max() > 0.3
    assert not alone.volume[~BRAIN].any()
