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
    # Slices first: each slice lies in one piece, and is sampled by itself.
    image = np.clip(volume[part].transpose(2, 0, 1).astype(np.float32, order="C"), 0, CLIP)
    inside = mask[part].transpose(2, 0, 1).astype(np.float32, order="C")

    target = np.array([PLANE_MM, PLANE_MM, max(MIN_SLICE_MM, spacing[2])])
    size = np.array([stop - start for start, stop in ((side.start, side.stop) for side in part)])
    shape = np.maximum(np.round(size * spacing / target), 1).astype(int)
    shrink = target / spacing
    # Averaging over what a coarser voxel covers keeps small dark spots from falling between.
    blur = _SMOOTHING * np.sqrt(np.maximum(shrink**2 - 1, 0))
    for axis, sigma in enumerate(np.where(shrink > _SMOOTHED_FROM, blur, 0)):
        if sigma:
            image = ndimage.gaussian_filter1d(image, sigma, (axis + 1) % 3)
    zoom = shape / size
    if (shape != size).any():
        image, inside = _resampled(image, shape), _resampled(inside, shape)
    step = 1 / zoom
    matrix = affine.copy()
    matrix[:3, :3] = affine[:3, :3] * step
    matrix[:3, 3] = affine[:3, :3] @ (low + (step - 1) / 2) + affine[:3, 3]
    x_mm, y_mm, slice_mm = (float(size) for size in spacing * step)
    return NetworkVolume(
        np.ascontiguousarray(image.transpose(1, 2, 0)),
        # Voxels of which at least half is brain.
        np.ascontiguousarray((inside > 0.5).transpose(1, 2, 0), dtype=np.float32),
        matrix,
        (x_mm, y_mm, slice_mm),
    )


def _resampled(slices: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """``slices`` (slice, x, y) float32 on a grid of ``shape`` (x, y, slice), of the same extent.

    The same sums in the same order as ``scipy.ndimage.zoom`` of order 1 with ``grid_mode`` and
    mode "nearest", slice by slice.
    """
    (x, weights_x), (y, weights_y), (z, weights_z) = (
        _beside(length, number)
        for length, number in zip((*slices.shape[1:], slices.shape[0]), shape, strict=True)
    )
    result = np.empty((shape[2], shape[0], shape[1]), np.float32)
    for at in range(shape[2]):
        total = np.zeros(result.shape[1:])
        # The sums go along x first, then along y, then across slices.
        for rows, weight_x in zip(x, weights_x, strict=True):
            weighted = [slices[k][rows] * weight_x[:, None] for k in z[:, at]]
            for columns, weight_y in zip(y, weights_y, strict=True):
                for part, weight_z in zip(weighted, weights_z[:, at], strict=True):
                    if weight_z:
                        total += part.take(columns, axis=1) * weight_y * weight_z
        result[at] = total
    return result


def _beside(length: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices (2, n) of the voxels beside each of ``number`` new ones, and their weights (2, n).

    ``length`` is the number of voxels of the line.
    """
    place = np.clip((np.arange(number) + 0.5) * (length / number) - 0.5, 0, length - 1)
    below = np.floor(place)
    first = 1.0 - (place - below)
    index = np.minimum(np.stack([below, below + 1]).astype(int), length - 1)
    return index, np.stack([first, 1.0 - first])
