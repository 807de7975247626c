"""A prepared scan is what was saved; a damaged file of ours names itself and the way out."""

import re
from pathlib import Path

import numpy as np
import pytest

from cmburden.core.errors import CMBurdenError, ScanError, sentence
from cmburden.core.files import sha256_of_file
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.images.prepared import (
    Prepared,
    UnreadableDerivative,
    checksums,
    read_file,
    read_regions,
)
from cmburden.images.volume import save_volume

SCAN = Scan(
    "sub-1_T2starw", "c", "sub-1", None, "T2starw", "GRE", Path("s.nii.gz"), (("sub", "1"),)
)
AFFINE = np.array([[0.9, 0, 0, -20], [0, 0.9, 0.2, -25], [0, -0.1, 4.0, 7], [0, 0, 0, 1]])


@pytest.fixture
def layout(tmp_path) -> Layout:
    layout = Layout(tmp_path)
    rng = np.random.default_rng(0)
    volume = np.round(rng.random((6, 7, 5)) * 64) / 64  # exact in steps of 2^-12
    save_volume(layout.preproc(SCAN), volume, AFFINE, np.float32)
    save_volume(layout.brain_mask(SCAN), volume > 0.5, AFFINE, np.uint8)
    save_volume(layout.regions(SCAN), np.where(volume > 0.7, 109, 9), AFFINE, np.int16)
    return layout


def test_what_was_saved_is_read(layout):
    prepared = Prepared.read(SCAN, layout)
    volume = np.round(np.random.default_rng(0).random((6, 7, 5)) * 64) / 64
    assert prepared.volume.dtype == np.float32 and (prepared.volume == volume).all()
    assert prepared.mask.dtype == bool and (prepared.mask == (volume > 0.5)).all()
    assert np.allclose(prepared.affine, AFFINE, atol=1e-6)
    assert (read_regions(SCAN, layout) == np.where(volume > 0.7, 109, 9)).all()
    assert checksums(SCAN, layout) == (
        sha256_of_file(layout.preproc(SCAN)),
        sha256_of_file(layout.brain_mask(SCAN)),
    )


@pytest.mark.parametrize("name", ["preproc", "brain_mask", "regions"])
def test_no_flipped_bit_is_another_volume(layout, name):
    """Wherever it lies behind gzip's header, whose time and system name nothing depends on."""
    path = getattr(layout, name)(SCAN)
    content = path.read_bytes()
    sound, at = read_file(path, SCAN)
    rng, seen = np.random.default_rng(1), 0
    for place in [*rng.integers(10, len(content), 40), len(content) - 1, len(content) - 6]:
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            data, affine = read_file(path, SCAN)
        except UnreadableDerivative:
            seen += 1
        else:  # a bit that fills up a byte, which no reader looks at
            assert (data == sound).all() and (affine == at).all()
    assert seen > 30


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_volume_that_is_no_number_is_no_volume(layout, value):
    volume = np.ones((6, 7, 5), np.float32)
    volume[3, 3, 3] = value
    save_volume(layout.preproc(SCAN), volume, AFFINE, np.float32)
    with pytest.raises(ScanError, match="1 of 210 voxels") as caught:
        Prepared.read(SCAN, layout)
    assert caught.value.reason == "not_finite"


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign", "flipped", "missing"])
@pytest.mark.parametrize("name", ["preproc", "brain_mask", "regions"])
def test_a_damaged_file_is_named_with_what_to_do(layout, name, damage):
    path = getattr(layout, name)(SCAN)
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        middle = len(content) // 2
        path.write_bytes(
            {
                "cut": content[:middle],
                "empty": b"",
                "foreign": b"no image",
                "flipped": content[:middle] + b"\xff" * 8 + content[middle + 8 :],
            }[damage]
        )
    with pytest.raises(UnreadableDerivative, match=re.escape(str(path))) as caught:
        Prepared.read(SCAN, layout)
        read_regions(SCAN, layout)
    assert "cmburden retry OUTPUT_DIR --scan sub-1_T2starw" in str(caught.value)
    # The job prints this sentence instead of a traceback.
    assert isinstance(caught.value, CMBurdenError) and sentence(caught.value)


def test_a_file_that_is_gone_has_no_checksum(layout):
    layout.brain_mask(SCAN).unlink()
    with pytest.raises(UnreadableDerivative, match="desc-brain_mask"):
        checksums(SCAN, layout)


def test_a_closed_folder_is_no_damage(layout, monkeypatch):
    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.read_bytes", closed)
    with pytest.raises(PermissionError):
        Prepared.read(SCAN, layout)
