"""How an inserted lesion looks in its scan: size, depth, and whether a reader would see it."""

from __future__ import annotations

import dataclasses

import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage

from cmburden.images.geometry import slices_last
from cmburden.images.prepared import Prepared
from cmburden.insert.ground import Ground, about, within
from cmburden.simulate import reader
from cmburden.simulate.sources import VOID
from cmburden.space import template
from cmburden.space.transform import Transform

#: Points a voxel at which the lesion's rim is looked for in the slice.
_FINER = 4
#: The rim lies where the loss is this share of the largest.
_RIM = 0.5
#: Voxels about a lesion whose tissue is looked up, mm, and the template's spacing there.
_AROUND_MM, _TEMPLATE_MM = 16.0, 1.0
_MOST_FLUID = 0.5


@dataclasses.dataclass(frozen=True)
class Looks:
    """``loss``: share of the signal that the darkest voxel lacks; ``surrounded``: share of the ring
    about the lesion that is tissue; ``visible``: a reader would call it a microbleed.
    """

    diameter_mm: float
    loss: float
    surrounded: float
    visible: bool


def diameter_mm(left: np.ndarray, ground: Ground) -> float:
    """Diameter of the disc with the area in which the loss is half of the largest or more.

    ``left`` (x, y, z) is what is left of the signal in the box. The slice where the lesion is
    darkest counts.
    """
    loss = np.moveaxis(1 - left, ground.across, -1)
    plane = loss[..., int(np.argmax(loss.max((0, 1))))]
    fine = ndimage.zoom(plane, _FINER, order=1, grid_mode=True, mode="nearest")
    sizes = np.delete(ground.sizes, ground.across)
    area = float((fine >= _RIM * loss.max()).sum()) * float(sizes.prod()) / _FINER**2
    return float(2 * np.sqrt(area / np.pi))


def look(
    at: np.ndarray,
    diameter: float,
    bare: np.ndarray,
    image: np.ndarray,
    tissue: np.ndarray,
    affine: np.ndarray,
) -> Looks:
    """The lesion at a place (3,) mm by the reader's rule, which the simulator's truth has too.

    ``bare`` and ``image`` (x, y, z) are the scan without and with the lesion, ``tissue`` bool.
    """
    order = slices_last(affine)
    loss, surrounded = reader.in_image(
        image.transpose(order),
        bare.transpose(order),
        tissue.transpose(order),
        affine[:, [*order, 3]],
        at,
        diameter / 2,
    )
    visible = loss >= VOID and surrounded >= reader.SURROUNDED
    return Looks(diameter, loss, surrounded, bool(visible))


def tissue_about(at: np.ndarray, prepared: Prepared, transform: Transform) -> np.ndarray:
    """Mask (x, y, z) of the brain's tissue about a place, without the template's fluid."""
    ground, middle = about(at, prepared.affine, _AROUND_MM)
    part, _ = within(middle, ground.half, prepared.mask.shape)
    tissue = np.zeros(prepared.mask.shape, bool)
    voxels = np.argwhere(prepared.mask[part]) + [side.start for side in part]
    if len(voxels):
        shares = template.tissues_at(transform(apply_affine(prepared.affine, voxels)), _TEMPLATE_MM)
        tissue[tuple(voxels[shares[:, 2] <= _MOST_FLUID].T)] = True
    return tissue
