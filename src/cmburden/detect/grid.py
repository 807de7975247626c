"""The grid that the CNN sees: brain box, in-plane 0.75 mm, slices as acquired (at least 1.5 mm).

Only the sampling changes; no registration touches the image. Slices keep their thickness, since
a microbleed looks different in 5 mm slices and in 1 mm slices.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage

from cmburden.images.geometry import box, slices_last

#: Spacing in plane, and the least one across slices. The weights were trained on these.
PLANE_MM = 0.75
MIN_SLICE_MM = 1.5
#: Brighter voxels are clipped to this multiple of the brain's median.
CLIP = 2.5
#: Brain box: margin about the mask. Unmeasured.
MARGIN_MM = 6.0
#: The image is smoothed before it is sampled more coarsely than by this factor. By eye.
_SMOOTHED_FROM = 1.2
#: Standard deviation of the smoothing, in voxels, for a factor f: this times sqrt(f^2 - 1). By eye.
_SMOOTHING = 0.35


@dataclasses.dataclass(frozen=True)
class NetworkVolume:
    """``image`` and ``mask`` (x, y, slice) float32, ready for the network.

    ``affine`` maps its voxel indices to scanner RAS mm; ``spacing_mm`` is (0.75, 0.75, slice).
    """

    image: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    spacing_mm: tuple[float, float, float]


def to_network(
    volume: np.ndarray, mask: np.ndarray, affine: np.ndarray, margin_mm: float = MARGIN_MM
) -> NetworkVolume:
    """Crop to the brain and resample.

    ``volume`` (x, y, z) has median 1 in the brain; ``mask`` bool of the same shape; ``affine`` to
    scanner RAS mm. The axis of the largest voxel size becomes the last.
    """
    spacing = voxel_sizes(affine)
    order = slices_last(affine)
    volume, mask = volume.transpose(order), mask.transpose(order)
    spacing = spacing[order]
    affine = affine[:, [*order, 3]]

    part = box(mask, np.ceil(margin_mm / spacing))
    low = np.array([side.start for side in part])
    image = np.clip(volume[part].astype(np.float32), 0, CLIP)
    inside = mask[part].astype(np.float32)

    target = np.array([PLANE_MM, PLANE_MM, max(MIN_SLICE_MM, spacing[2])])
    shape = np.maximum(np.round(np.array(image.shape) * spacing / target), 1).astype(int)
    shrink = target / spacing
    # Averaging over what a coarser voxel covers keeps small dark spots from falling between.
    blur = _SMOOTHING * np.sqrt(np.maximum(shrink**2 - 1, 0))
    sigma = np.where(shrink > _SMOOTHED_FROM, blur, 0)
    if sigma.any():
        image = ndimage.gaussian_filter(image, sigma)
    zoom = shape / np.array(image.shape)
    if (shape != image.shape).any():
        image = ndimage.zoom(image, zoom, order=1, grid_mode=True, mode="nearest")
        inside = ndimage.zoom(inside, zoom, order=1, grid_mode=True, mode="nearest")
    step = 1 / zoom
    matrix = affine.copy()
    matrix[:3, :3] = affine[:3, :3] * step
    matrix[:3, 3] = affine[:3, :3] @ (low + (step - 1) / 2) + affine[:3, 3]
    x_mm, y_mm, slice_mm = (float(size) for size in spacing * step)
    return NetworkVolume(
        image.astype(np.float32),
        (inside > 0.5).astype(np.float32),  # voxels of which at least half is brain
        matrix,
        (x_mm, y_mm, slice_mm),
    )
