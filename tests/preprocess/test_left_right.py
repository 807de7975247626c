"""Whether a scan's record says which side is left."""

import struct

import nibabel as nib
import pytest

from cmburden.core import config
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.images import brain
from cmburden.preprocess import stage as preprocess
from cmburden.space import template


@pytest.mark.parametrize(
    ("sform", "qform", "known"), [(0, 0, False), (1, 0, True), (0, 1, True), (2, 1, True)]
)
def test_left_and_right_are_known_where_a_form_is(tmp_path, monkeypatch, sform, qform, known):
    data, affine = template.brain(4.0)
    monkeypatch.setattr(brain, "brain_mask", lambda volume, threads=1: volume > 0)
    image = nib.Nifti1Image(data.astype("float32"), affine)
    image.set_qform(affine)
    content = bytearray(image.to_bytes())
    content[252:256] = struct.pack("<hh", qform, sform)  # the header's two codes
    path = tmp_path / "sub-01" / "sub-01_T2starw.nii"
    path.parent.mkdir()
    path.write_bytes(content)
    scan = Scan("sub-01_T2starw", "A", "sub-01", None, "T2starw", "GRE", path, (("sub", "01"),))
    settings = config.load()["preprocess"] | {"bias_correction": False, "max_voxel_mm": [5, 7]}
    outcome = preprocess.run(scan, Layout(tmp_path / "out"), settings)
    assert outcome.ok, outcome.message
    assert outcome.left_right_known is known
    assert (outcome.message or "").startswith("Its header has no orientation") is not known
