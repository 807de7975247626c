"""Voxel grids as scanners and converters store them, for geometric tests to run over."""

from __future__ import annotations

import nibabel as nib
import numpy as np

#: World axis and sign of the direction that a letter names (nibabel's axis codes).
_DIRECTIONS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
#: PSR is a sagittal acquisition; "oblique" is RAS turned by 10, -15 and 20 degrees.
ORIENTATIONS = ("RAS", "LAS", "LPS", "PSR", "oblique")


def grid(
    orientation: str,
    shape: tuple[int, int, int],
    zooms: tuple[float, float, float],
    middle: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> np.ndarray:
    """Affine (4 x 4, voxel to RAS mm) of a grid whose central voxel lies at ``middle`` mm.

    >>> grid("LPS", (3, 3, 3), (1, 2, 3)).tolist()[0]
    [-1.0, 0.0, 0.0, 1.0]
    >>> nib.aff2axcodes(grid("PSR", (4, 4, 4), (2, 2, 2)))
    ('P', 'S', 'R')
    """
    columns = np.zeros((3, 3))
    for column, letter in enumerate("RAS" if orientation == "oblique" else orientation):
        axis, sign = _DIRECTIONS[letter]
        columns[axis, column] = sign * zooms[column]
    if orientation == "oblique":
        columns = nib.eulerangles.euler2mat(*np.deg2rad([10, -15, 20])) @ columns
    return nib.affines.from_matvec(
        columns, np.asarray(middle) - columns @ ((np.asarray(shape) - 1) / 2)
    )
