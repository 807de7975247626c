"""Arrays in one file of the cache: written whole, read with their checksums."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path

import numpy as np

from cmburden.core.errors import sentence
from cmburden.core.files import whole_file

_LOG = logging.getLogger(__name__)
#: Level of zlib: NumPy's own, 6, takes three times as long (docs/scale.md).
_COMPRESSION = 1


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write ``arrays`` to ``path`` (.npz), compressed; equal arrays give equal bytes."""
    with (
        whole_file(path) as temporary,
        zipfile.ZipFile(
            temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION
        ) as archive,
    ):
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """All arrays of ``path`` by name; None where the file is absent or torn, which the log says.

    A zip file holds a checksum of each array: a flipped bit is seen. What the cache lacks is made
    again.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        return None
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds
        if sentence(error) is not None:
            raise
        _LOG.warning("%s cannot be read (%s): made again", path.name, type(error).__name__)
        return None
