"""The bytes of a file: bounded by the header, from regular files only, with the checksum."""

import gzip
import os
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from cmburden.core.errors import ScanError
from cmburden.images.reading import read_array, read_image

SHAPE = (12, 10, 8)
DATA = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
CONTENT = nib.Nifti1Image(DATA, np.eye(4)).to_bytes()


def reason_of(path) -> str:
    with pytest.raises(ScanError) as caught:
        read_image(path)
    return caught.value.reason


def bomb(zeros: int) -> bytes:
    """A sound image with ``zeros`` MB of zeros behind it, compressed."""
    return gzip.compress(CONTENT) + gzip.compress(bytes(2**20)) * zeros


def test_what_lies_behind_the_voxels_is_not_unpacked(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(bomb(200))
    tracemalloc.start()
    assert reason_of(path) == "unreadable"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**24


def test_a_header_that_announces_too_much_is_refused_at_once(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape((2000, 2000, 2000))
    header["magic"], header["vox_offset"] = b"n+1", 352
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4) + bytes(2**22)))
    with pytest.raises(ScanError, match="announces 32 GB"):
        read_image(path)


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(CONTENT) + bytes(512),
        gzip.compress(CONTENT + bytes(1000)),
        b"".join(gzip.compress(CONTENT[at : at + 500]) for at in range(0, len(CONTENT), 500)),
        gzip.compress(CONTENT) + gzip.compress(b"") * 1000,
        CONTENT + bytes(1000),
    ],
    ids=["padded", "longer", "many members", "empty members", "plain and longer"],
)
def test_other_ways_to_write_the_file(content, tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(content)
    image, sizes = read_image(path)
    assert np.array_equal(read_array(image), DATA) and sizes.tolist() == [1, 1, 1]


@pytest.mark.parametrize("at", [-8, -5])
def test_the_checksum_is_verified(at, tmp_path):
    content = bytearray(gzip.compress(CONTENT))
    content[at] ^= 1
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    assert reason_of(path) == "unreadable"


def test_a_pipe_a_device_and_a_folder_end(tmp_path):
    os.mkfifo(tmp_path / "pipe.nii")
    (tmp_path / "folder.nii.gz").mkdir()
    (tmp_path / "zero.nii").symlink_to("/dev/zero")
    for name in ("pipe.nii", "folder.nii.gz", "zero.nii"):
        assert reason_of(tmp_path / name) == "unreadable"
    (tmp_path / "loop.nii").symlink_to("loop.nii")
    assert reason_of(tmp_path / "loop.nii") == "unreadable"
    (tmp_path / "gone.nii").symlink_to("nowhere.nii")
    assert reason_of(tmp_path / "gone.nii") == "not_present"
    assert reason_of(tmp_path / "absent.nii") == "unreadable"


@pytest.mark.parametrize(
    ("field", "value"),
    [("dim", [3, -5, 4, 4, 1, 1, 1, 1]), ("dim", [9] * 8), ("datatype", 77), ("vox_offset", 1e30)],
)
def test_a_header_of_nonsense_is_a_sentence(field, value, tmp_path):
    header = nib.Nifti1Image(DATA, np.eye(4)).header.copy()
    raw = bytearray(CONTENT)
    with np.errstate(all="ignore"):
        header[field] = value
    raw[:348] = header.binaryblock
    path = tmp_path / "a.nii"
    path.write_bytes(bytes(raw))
    assert reason_of(path) in ("unreadable", "truncated")
