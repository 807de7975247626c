"""Arrays in one file of the cache: written whole, read with their checksums."""

from __future__ import annotations

import io
import logging
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from cmburden.core.errors import sentence
from cmburden.core.files import whole_file

_LOG = logging.getLogger(__name__)
#: Zstandard packs views in a twentieth of the time of NumPy's zlib, and a little smaller.
_CODEC, _ENDING = "zstd", ".npy.zst"


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write ``arrays`` to ``path``, a zip file; equal arrays give equal bytes."""
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            stream = io.BytesIO()
            np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)
            packed = pa.compress(stream.getbuffer(), codec=_CODEC, asbytes=True)
            archive.writestr(zipfile.ZipInfo(name + _ENDING), packed)


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """All arrays of ``path`` by name; None where the file is absent or torn, which the log says.

    A zip file holds a checksum of each array: a flipped bit is seen. What the cache lacks is made
    again.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                name.removesuffix(_ENDING): _unpacked(archive.read(name))
                for name in archive.namelist()
            }
    except FileNotFoundError:
        return None
    except Exception as error:  # zipfile, Arrow and NumPy raise many kinds
        if sentence(error) is not None:
            raise
        _LOG.warning("%s cannot be read (%s): made again", path.name, type(error).__name__)
        return None


def _unpacked(content: bytes) -> np.ndarray:
    with pa.CompressedInputStream(pa.BufferReader(content), _CODEC) as stream:
        return np.lib.format.read_array(io.BytesIO(stream.read()), allow_pickle=False)
