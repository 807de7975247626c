"""A session's T1w as the registration uses it: brain, mask, and transform to MNI152.

All of them are worked out once and kept in the cache, for the other scans that use the T1w and for
the next run. The file's name begins with the participant's id, so that ``cmburden forget`` removes
the file with the participant. Two jobs may work on one T1w at once: both write the same values.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage

from cmburden.core import stages
from cmburden.core.arrays import read_arrays, write_arrays
from cmburden.core.errors import ScanError
from cmburden.core.files import sha256_of_file
from cmburden.core.keys import hash_of
from cmburden.core.paths import Layout
from cmburden.images import brain, stripped
from cmburden.images.volume import Volume, load_volume
from cmburden.register.align import to_template
from cmburden.space import ants
from cmburden.space.transform import (
    FIELD_SPACING_MM,
    Transform,
    block_grid,
    brain_image,
    coarse_brain,
    compact,
)

#: Overlap (Dice) of the two brain masks below which a T1w is not of the scan's head (by eye).
_LEAST_OVERLAP = 0.85
#: Least and most volume of a T1w's brain mask, ml (by eye). A T1w's mask is of an entire brain.
_BRAIN_ML = (500, 2500)


@dataclasses.dataclass(frozen=True)
class T1w:
    """A T1w: its brain on coarse voxels, its brain mask, and the transform to MNI152.

    ``coarse`` (x, y, z) float32 and ``coarse_affine`` are what ``space.transform.coarse_brain``
    gives; ``mask`` (x, y, z) bool and ``affine`` are on the image's grid. Affines take voxel index
    to RAS mm.
    """

    coarse: np.ndarray
    coarse_affine: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    to_mni: Transform


def through(t1w: T1w, data: np.ndarray, mask: np.ndarray, affine: np.ndarray) -> Transform:
    """Transform from a scan to MNI152 through ``t1w``: rigid to the T1w, then the T1w's own.

    ``data`` and brain ``mask`` (bool) are (x, y, z), ``affine`` is voxel index to RAS mm.

    Raises
    ------
    ScanError
        registration, where the T1w is of another head.
    """
    fixed = brain_image(data, mask, affine)
    to_t1w = Transform(*ants.rigid(fixed, ants.ants_image(t1w.coarse, t1w.coarse_affine)))
    _check_overlap(mask, affine, t1w, to_t1w)
    return compact(to_t1w, t1w.to_mni, mask, affine)


def _check_overlap(mask: np.ndarray, affine: np.ndarray, t1w: T1w, to_t1w: Transform) -> None:
    """Raise ScanError where, after the rigid step, the two brain masks are not of one head."""
    voxels = block_grid(mask.shape, affine, FIELD_SPACING_MM)
    inside = mask[tuple(np.round(voxels).astype(int).T)]
    at = apply_affine(np.linalg.inv(t1w.affine), to_t1w(apply_affine(affine, voxels)))
    in_t1w = ndimage.map_coordinates(t1w.mask.astype(np.float32), at.T, order=1) > 0.5
    overlap = 2 * np.sum(in_t1w & inside) / max(np.sum(in_t1w) + np.sum(inside), 1)
    if overlap < _LEAST_OVERLAP:
        raise ScanError("registration", f"Its brain overlaps with the scan's by {overlap:.2f}.")


def of_session(path: Path, participant_id: str, layout: Layout, settings: dict[str, Any]) -> T1w:
    """The T1w of file ``path``, from the cache where it has been worked out before.

    Raises
    ------
    ScanError
        Where the T1w cannot be used: it is unreadable, or has no brain.
    """
    try:
        cached = _cached(path, participant_id, layout, settings)
    except OSError:
        load_volume(path)  # raises the reason
        raise
    t1w = _from_arrays(read_arrays(cached))
    if t1w is None:
        t1w = _worked_out(load_volume(path), settings)
        write_arrays(cached, **_as_arrays(t1w))
    return t1w


def kept(path: Path, participant_id: str, layout: Layout, settings: dict[str, Any]) -> T1w | None:
    """The T1w of :func:`of_session` if the cache holds it; OSError where ``path`` is gone."""
    return _from_arrays(read_arrays(_cached(path, participant_id, layout, settings)))


def _cached(path: Path, participant_id: str, layout: Layout, settings: dict[str, Any]) -> Path:
    """The cache's file of a T1w, by the content of ``path``."""
    content = sha256_of_file(path)
    key = hash_of("t1w", stages.REGISTER.version, content, settings["nonlinear"])
    return layout.cached_t1w(participant_id, key)


def _worked_out(volume: Volume, settings: dict[str, Any]) -> T1w:
    mask = stripped.brain_of(volume.data, volume.zooms)
    if mask is None:
        mask = brain.brain_mask(volume.data, int(settings.get("threads", 1)))
    ml = float(mask.sum() * np.prod(volume.zooms)) / 1000
    least, most = _BRAIN_ML
    if not least <= ml <= most:
        raise ScanError("brain_mask", f"Its brain mask has {ml:.0f} ml.")
    return T1w(
        *coarse_brain(volume.data, mask, volume.affine),
        mask,
        volume.affine,
        to_template(volume.data, mask, volume.affine, settings["nonlinear"]),
    )


def _as_arrays(t1w: T1w) -> dict[str, np.ndarray]:
    arrays = {
        "coarse": t1w.coarse,
        "coarse_affine": t1w.coarse_affine,
        "mask": t1w.mask,
        "affine": t1w.affine,
        "matrix": t1w.to_mni.matrix,
        "offset": t1w.to_mni.offset,
    }
    if t1w.to_mni.field is not None and t1w.to_mni.grid is not None:
        arrays |= {"field": t1w.to_mni.field, "grid": t1w.to_mni.grid}
    return arrays


def _from_arrays(arrays: dict[str, np.ndarray] | None) -> T1w | None:
    """The T1w of ``_as_arrays``; None where arrays are missing."""
    if arrays is None:
        return None
    try:
        to_mni = Transform(
            arrays["matrix"], arrays["offset"], arrays.get("field"), arrays.get("grid")
        )
        return T1w(
            arrays["coarse"], arrays["coarse_affine"], arrays["mask"], arrays["affine"], to_mni
        )
    except (KeyError, ValueError):
        return None
