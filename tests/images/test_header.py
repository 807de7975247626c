"""One geometry from a header that contradicts itself, and a sentence about each contradiction."""

import nibabel as nib
import numpy as np
import pytest

from cmburden.core.errors import ScanError
from cmburden.images.header import geometry_of

SHAPE = (220, 256, 36)
SOUND = nib.affines.from_matvec(np.diag([0.9, 0.9, 4.5]), (-99.0, -115.0, -80.0))
MIRRORED = np.diag([-1.0, 1.0, 1.0, 1.0]) @ SOUND


def header(sform=None, qform=None, sizes=(0.9, 0.9, 4.5)) -> nib.Nifti1Header:
    """The header of a scan of ``SHAPE`` with these forms and these voxel sizes."""
    made = nib.Nifti1Header()
    made.set_data_shape(SHAPE)
    if qform is not None:
        made.set_qform(qform, code=1)
    made["pixdim"][1:4] = sizes
    if sform is not None:
        made.set_sform(sform, code=1)
    return made


def geometry(made: nib.Nifti1Header):
    return geometry_of(made, np.abs(np.asarray(made["pixdim"][1:4], dtype=float)))


def test_forms_that_agree_say_nothing():
    found = geometry(header(SOUND, SOUND))
    assert np.allclose(found.affine, SOUND, atol=1e-4)
    assert (found.form, found.notes) == ("sform", ())


@pytest.mark.parametrize("sizes", [(0.0, 0.0, 0.0), (np.nan,) * 3])
def test_voxel_sizes_that_are_absent_leave_the_sform(sizes):
    found = geometry(header(SOUND, np.eye(4), sizes))
    assert np.allclose(found.affine, SOUND, atol=1e-4) and found.form == "sform"


def test_a_qform_of_wrong_voxel_sizes_gives_way_to_an_sform_of_a_head():
    """A qform has the voxel sizes of pixdim: with slices of 1 mm the head is 36 mm high."""
    found = geometry(header(SOUND, np.eye(4), (1.0, 1.0, 1.0)))
    assert np.allclose(found.affine, SOUND, atol=1e-4) and found.form == "sform"
    assert any("disagree on the voxel size: the sform was used" in note for note in found.notes)


def test_an_sform_that_is_no_head_gives_way_to_the_voxel_sizes():
    found = geometry(header(np.eye(4), SOUND))
    assert np.allclose(found.affine, SOUND, atol=1e-4) and found.form == "qform"


def test_left_and_right_that_disagree_are_said():
    found = geometry(header(SOUND, MIRRORED))
    assert found.form == "sform"
    (note,) = found.notes
    assert "disagree on the orientation (RAS, LAS)" in note and "check left and right" in note


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1000.0), ("meter", 0.001)])
def test_other_units_are_read_in_mm(unit, factor):
    scaled = SOUND.copy()
    scaled[:3] *= factor
    made = header(scaled, None, np.array([0.9, 0.9, 4.5]) * factor)
    made.set_xyzt_units(unit)
    found = geometry(made)
    assert np.allclose(found.affine, SOUND, rtol=1e-4) and unit in found.notes[0]


def test_a_unit_that_is_only_declared_is_not_believed():
    made = header(SOUND, None)
    made.set_xyzt_units("meter")
    found = geometry(made)
    assert np.allclose(found.affine, SOUND, atol=1e-4) and found.notes == ()


def test_a_shear_is_said():
    sheared = SOUND.copy()
    sheared[1, 2] = np.tan(np.deg2rad(12)) * sheared[2, 2]
    (note,) = geometry(header(sheared, None)).notes
    assert "shears the image by 12 degrees" in note


def test_without_forms_the_sides_are_a_convention():
    assert geometry(header()).form == "none"
    with pytest.raises(ScanError, match="no voxel size"):
        geometry(header(sizes=(0, 0, 0)))
