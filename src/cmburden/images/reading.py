"""Reads the bytes of a NIfTI file: regular files only, no more than the header promises.

A compressed file of 4 MB may hold 4 GB of zeros behind a small image. The header is therefore
unpacked first, and then the voxels that the header announces, in pieces. The gzip checksum of the
whole file is verified.
"""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from pathlib import Path
from typing import IO, cast

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy

from cmburden.core.errors import ScanError
from cmburden.images import annex

_GZIP_MAGIC = b"\x1f\x8b"
#: Length of a NIfTI-1 and of a NIfTI-2 header in bytes, which is the first value of the file.
_HEADER_BYTES, _HEADER_BYTES_2 = 348, 540
#: Most bytes of an image: 1000 x 1000 x 1000 voxels of 4 bytes.
MOST_BYTES = 4 * 1000**3
#: Most bytes behind the voxels: archives and other software pad files.
_MOST_PADDING = 2**20
#: Bytes that are unpacked at a time.
_PIECE = 2**24
#: Offset of the voxels up to which a file is read: extensions of the header lie before them.
_MOST_OFFSET = 2**26


def read_image(path: Path) -> tuple[nib.Nifti1Image, np.ndarray]:
    """The image of ``path`` with its voxels in memory, and the voxel sizes (3,) of its header.

    The voxel sizes are those that are stored: nibabel replaces a size of 0 by 1 mm.

    Raises
    ------
    ScanError
        not_present, empty_file, unreadable, truncated.
    """
    content = _content(path)
    kind, header, due = _header(content)
    if len(content) < due:
        raise ScanError("truncated", f"It has {len(content)} of the {due} bytes of its header.")
    try:
        with np.errstate(invalid="ignore"):  # of infinite voxel sizes, which are refused later
            image = kind.from_bytes(content)
    except Exception as error:  # nibabel raises many kinds for a header that makes no sense
        raise ScanError("unreadable", f"Its header makes no sense ({error}).") from error
    return image, np.abs(np.asarray(header["pixdim"][1:4], dtype=float))


def _content(path: Path) -> bytes:
    """The file's bytes, unpacked, up to the end of the voxels."""
    with _opened(path) as stream:
        start = stream.read(len(_GZIP_MAGIC))
        if not start:
            raise ScanError("empty_file", "It has 0 bytes.")
        stream.seek(0)
        if annex.is_pointer(stream.read(annex.LONGEST_POINTER + 1)):
            raise ScanError("not_present", "It is git-annex's pointer to content that is not here.")
        stream.seek(0)
        try:
            if start == _GZIP_MAGIC:
                with gzip.GzipFile(fileobj=stream, mode="rb") as unpacked:
                    return _bounded(cast(IO[bytes], unpacked))
            return _bounded(stream)
        except EOFError as error:
            raise ScanError("truncated", "Its compressed data end early.") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ScanError("unreadable", f"Its compressed data are damaged ({error}).") from error


def _opened(path: Path) -> IO[bytes]:
    """The regular file ``path``; a pipe or a device would never end."""
    if not os.path.lexists(path):
        raise ScanError("unreadable", "There is no such file.")
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise ScanError("not_present", "It is a link to content that is not here.") from error
    except OSError as error:
        raise ScanError("unreadable", f"It cannot be opened ({error.strerror}).") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ScanError("unreadable", "It is a folder, a pipe or a device, not a file.")
    return os.fdopen(handle, "rb")


def _bounded(stream: IO[bytes]) -> bytes:
    """What ``stream`` holds, up to the end of the voxels that its header announces."""
    content = bytearray(stream.read(_HEADER_BYTES_2))
    _, _, due = _header(bytes(content))
    while len(content) < due:
        piece = stream.read(min(_PIECE, due - len(content)))
        if not piece:
            return bytes(content)
        content += piece
    # The end of a compressed file holds its checksum.
    rest = 0
    while piece := stream.read(_PIECE // 16):
        rest += len(piece)
        if rest > _MOST_PADDING:
            raise ScanError("unreadable", f"It holds far more than the {due} bytes of its header.")
    return bytes(content)


def _header(
    content: bytes,
) -> tuple[type[nib.Nifti1Image], nib.Nifti1Header, int]:
    """Class of image, header, and the bytes up to the end of its voxels."""
    lengths = {int.from_bytes(content[:4], order) for order in ("little", "big")}
    lengths &= {_HEADER_BYTES, _HEADER_BYTES_2}
    if not lengths:
        raise ScanError("unreadable", "It does not begin with a NIfTI header.")
    length = max(lengths)
    if len(content) < length:
        raise ScanError("truncated", f"Its header ends after {len(content)} bytes.")
    kind = nib.Nifti2Image if length == _HEADER_BYTES_2 else nib.Nifti1Image
    try:
        header = kind.header_class(content[:length], check=False)
        shape = [int(axis) for axis in header.get_data_shape()]
        size = header.get_data_dtype().itemsize
        offset = float(header["vox_offset"])
    except Exception as error:  # nibabel raises many kinds for a header that makes no sense
        raise ScanError("unreadable", f"Its header makes no sense ({error}).") from error
    voxels = 1
    for axis in shape:
        voxels *= axis
    if min(shape, default=0) < 1 or not 0 <= offset <= _MOST_OFFSET:
        raise ScanError("unreadable", f"Its header makes no sense (shape {shape}, {offset:g}).")
    if voxels * size > MOST_BYTES:
        raise ScanError(
            "unreadable",
            f"Its header announces {voxels * size / 1e9:.0f} GB, more than {MOST_BYTES // 10**9}.",
        )
    return kind, header, max(int(offset), length) + voxels * size


def read_array(image: nib.Nifti1Image) -> np.ndarray:
    """Voxels of ``image``, scaled as its header says; ScanError (unreadable) where that fails."""
    try:
        return np.asanyarray(cast(ArrayProxy, image.dataobj))
    except (ValueError, OSError, OverflowError) as error:
        raise ScanError("unreadable", f"Its voxels cannot be read ({error}).") from error
