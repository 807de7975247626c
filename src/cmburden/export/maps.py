"""Microbleeds of the cohort as images in MNI152: lesions, and counts in cells.

The space is ICBM 2009a nonlinear symmetric, on the grid of its 1 mm template. Viewers overlay each
image on that template. GRE and SWI are never pooled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cmburden.core.files import write_json
from cmburden.core.paths import TEMPLATE
from cmburden.export.tables import Exported
from cmburden.images.volume import save_volume, sidecar
from cmburden.space import template
from cmburden.summary.lesion_map import CELL_MM

_CONTRASTS = ("GRE", "SWI")
_LABELS = ("definite", "possible")
_MNI = ("mni_x", "mni_y", "mni_z")
#: A lesion is drawn at least as large as this, so that none falls between voxels of 1 mm.
_LEAST_DIAMETER_MM = 2.0


def write(folder: Path, tables: dict[str, Exported]) -> list[Path]:
    """Write the images that ``tables`` allow, each with a sidecar; returns their paths.

    ``lesions`` and ``scans`` give lesions, ``lesion_cells`` gives counts. An export to share has
    cells alone.
    """
    paths: list[Path] = []
    if "lesions" in tables:
        contrast_of = {row["scan_id"]: row["contrast"] for row in tables["scans"].rows}
        for contrast, label, rows in _groups(tables["lesions"].rows, contrast_of):
            paths += _lesions(folder, contrast, label, rows)
    for contrast in _CONTRASTS:
        rows = [row for row in tables["lesion_cells"].rows if row["contrast"] == contrast]
        if rows:
            paths += _cells(folder, contrast, rows)
    return paths


def names() -> list[str]:
    """Names of all images that an export can hold."""
    lesions = [_name(contrast, label) for contrast in _CONTRASTS for label in _LABELS]
    return [*lesions, *(_name(contrast, "cells") for contrast in _CONTRASTS)]


def _name(contrast: str, kind: str) -> str:
    ending = "count" if kind == "cells" else "lesions"
    return f"group_space-{TEMPLATE}_desc-{contrast}{kind}_{ending}.nii.gz"


def _groups(
    lesions: Iterable[dict[str, Any]], contrast_of: dict[str, str]
) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """Lesions with a place in the template, by contrast and certainty; empty groups left out."""
    placed = [row for row in lesions if all(row[axis] is not None for axis in _MNI)]
    for contrast in _CONTRASTS:
        for label in _LABELS:
            rows = [
                row
                for row in placed
                if row["label"] == label and contrast_of[row["scan_id"]] == contrast
            ]
            if rows:
                yield contrast, label, rows


def _lesions(folder: Path, contrast: str, label: str, rows: list[dict[str, Any]]) -> list[Path]:
    """The number of lesions that cover each voxel; a lesion is a ball of its diameter."""
    data, affine = template.read("t1")
    counts = np.zeros(data.shape, np.int16)
    to_voxel = np.linalg.inv(affine)
    for row in rows:
        radius = max(row["diameter_mm"], _LEAST_DIAMETER_MM) / 2
        at = to_voxel[:3, :3] @ [row[axis] for axis in _MNI] + to_voxel[:3, 3]
        low = np.clip(np.floor(at - radius).astype(int), 0, np.array(counts.shape))
        high = np.clip(np.ceil(at + radius).astype(int) + 1, 0, np.array(counts.shape))
        box = tuple(slice(start, stop) for start, stop in zip(low, high, strict=True))
        voxels = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1)
        counts[box] += (np.linalg.norm(voxels - at, axis=-1) <= radius).astype(np.int16)
    return _written(
        folder / _name(contrast, label),
        counts,
        affine,
        f"Number of {label} microbleeds on {contrast} that cover the voxel: balls of their "
        f"diameter, at least {_LEAST_DIAMETER_MM:g} mm, at their place in the template; "
        f"{len(rows)} microbleeds",
    )


def _cells(folder: Path, contrast: str, rows: list[dict[str, Any]]) -> list[Path]:
    """The number of definite microbleeds in each cell; NaN where the number is suppressed."""
    size = np.array(CELL_MM, float)
    centres = np.array([[row[axis] for axis in _MNI] for row in rows], float)
    low = centres.min(0)
    places = np.round((centres - low) / size).astype(int)
    counts = np.zeros(places.max(0) + 1, np.float32)
    for place, row in zip(places, rows, strict=True):
        counts[tuple(place)] = np.nan if row["n"] is None else row["n"]
    affine = np.diag([*size, 1.0])
    affine[:3, 3] = low
    by = " x ".join(f"{edge:g}" for edge in size)
    return _written(
        folder / _name(contrast, "cells"),
        counts,
        affine,
        f"Number of definite microbleeds on {contrast} in cells of {by} mm; the voxel is the cell. "
        "NaN: suppressed, since the number is small",
    )


def _written(path: Path, data: np.ndarray, affine: np.ndarray, text: str) -> list[Path]:
    save_volume(path, data, affine, data.dtype.type)
    description = {"Description": f"{text}. Research use only.", "SpatialReference": TEMPLATE}
    write_json(sidecar(path), description, durable=False)
    return [path, sidecar(path)]
