"""A preprocessed scan is read back as it was written; a file of ours that is damaged stops."""

from pathlib import Path

import numpy as np
import pytest

from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.images.prepared import Prepared, UnreadableDerivative, read_file, read_regions
from cmburden.images.volume import save_volume

SCAN = Scan(
    "sub-1_T2starw",
    "A",
    "sub-1",
    None,
    "T2starw",
    "GRE",
    Path("/nowhere/sub-1_T2starw.nii.gz"),
    (("sub", "1"),),
)
SHAPE, AFFINE = (6, 7, 5), np.diag([1.0, 1.0, 2.0, 1.0])
VOLUME = np.random.default_rng(0).normal(1, 0.2, SHAPE).astype(np.float32)
MASK = VOLUME > 1
REGIONS = np.where(MASK, np.int16(109), np.int16(0))


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path)
    save_volume(layout.preproc(SCAN), VOLUME, AFFINE, np.float32)
    save_volume(layout.brain_mask(SCAN), MASK, AFFINE, np.uint8)
    save_volume(layout.regions(SCAN), REGIONS, AFFINE, np.int16)
    return layout


def test_what_was_written_is_read(layout):
    prepared = Prepared.read(SCAN, layout)
    assert prepared.volume.dtype == np.float32 and prepared.mask.dtype == bool
    # Stored in steps of 2^-12.
    assert np.abs(prepared.volume - VOLUME).max() <= 2**-13
    assert np.array_equal(prepared.mask, MASK)
    assert np.array_equal(prepared.affine, AFFINE)
    assert np.array_equal(read_regions(SCAN, layout), REGIONS)


def gone(path: Path) -> None:
    path.unlink()


def torn(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    path.write_bytes(b"<html>no image</html>" * 40)


@pytest.mark.parametrize("harm", [gone, torn, empty, foreign])
@pytest.mark.parametrize("part", ["preproc", "brain_mask"])
def test_a_damaged_file_is_named_with_what_to_do(layout, part, harm):
    path = getattr(layout, part)(SCAN)
    harm(path)
    with pytest.raises(UnreadableDerivative) as caught:
        Prepared.read(SCAN, layout)
    assert isinstance(caught.value, CMBurdenError)
    assert caught.value.path == path
    assert str(path) in str(caught.value)
    assert "cmburden retry OUTPUT_DIR --scan sub-1_T2starw, then cmburden run" in str(caught.value)


def test_regions_are_read_by_the_same_rule(layout):
    torn(layout.regions(SCAN))
    with pytest.raises(UnreadableDerivative, match="MARS_dseg"):
        read_regions(SCAN, layout)


def test_a_file_that_may_not_be_read_is_not_damaged(layout, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("cmburden.images.prepared.read_derivative", refused)
    with pytest.raises(PermissionError):
        read_file(layout.preproc(SCAN), SCAN)
