"""Definite microbleeds in MNI152: counts in cells, and the slices behind the map."""

from __future__ import annotations

import numpy as np
import pandas as pd

#: Cells of 10 x 10 mm in slabs of 20 mm: a few hundred, and larger than registration errs.
CELL_MM = (10, 10, 20)
#: Centres of the slabs, from the cerebellum to the vertex.
SLABS = (-50, -30, -10, 10, 30, 50, 70)
#: Field of view of the drawn slices: x and y of the outer edges, mm.
EXTENT = ((-80, 80), (-120, 80))


def cells(lesions: pd.DataFrame) -> dict[tuple[int, int, int], int]:
    """Number of lesions in each cell that has one, by the cell's centre (x, y, z mm of MNI152).

    ``lesions``: mni_x, mni_y, mni_z; those without a place are left out. A cell holds its lower
    edge: x from -10 to below 0 has the centre -5, z from -60 to below -40 the centre -50.
    """
    points = lesions[["mni_x", "mni_y", "mni_z"]].dropna().to_numpy(dtype=float)
    size = np.asarray(CELL_MM, float)
    # Slabs start at -60, a multiple of all cell sizes, so one floor serves all axes.
    centres = (np.floor(points / size) * size + size / 2).astype(int)
    occupied, numbers = np.unique(centres.reshape(-1, 3), axis=0, return_counts=True)
    return {
        (int(x), int(y), int(z)): int(number)
        for (x, y, z), number in zip(occupied, numbers, strict=True)
    }
