"""Arrays in one file of the cache: written whole, read with their checksums."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from cmburden.core.errors import sentence
from cmburden.core.files import whole_file

_LOG = logging.getLogger(__name__)


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write ``arrays`` to ``path`` (.npz), compressed."""
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


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
