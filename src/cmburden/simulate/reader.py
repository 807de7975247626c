"""Microbleeds as a reader sees them in the finished image, with noise, faults and neighbours.

A source is graded without noise, faults and neighbours when it is drawn (``sources.grade``). Here a
microbleed becomes faint if the finished image shows it grey, or not surrounded by visible tissue.
"""

from __future__ import annotations

import dataclasses

import nibabel as nib
import numpy as np

from cmburden.simulate.sources import VOID, Source

#: A spot is compared with a ring about it: gap between the spot's visible edge and the ring, and
#: the ring's outer distance from that edge, mm. By eye.
_GAP_MM, _RING_MM = 0.8, 3.5
#: The spot itself: voxels within its visible radius, or within this share of a voxel in the plane
#: for smaller ones, so that one voxel at least is looked at.
_LEAST_CORE_VOXELS = 0.75
#: Least share of the ring that is tissue (Greenberg 2009: at least half surrounded by parenchyma).
SURROUNDED = 0.5
#: Tissue looks as the median of the tissue within this distance in the slice, mm. A voxel that is a
#: void against this median is no visible tissue: a reader cannot tell it from bone or air. By eye.
_NEAR_MM = 10.0
#: Signal of the ring: this quantile of its tissue, so that bright fluid at the ring's edge does not
#: add contrast. By eye.
_QUANTILE = 0.25
#: Least signal that a loss is divided by.
_LEAST_SIGNAL = 1e-6


def looked_at(
    source: Source, image: np.ndarray, bare: np.ndarray, parenchyma: np.ndarray, affine: np.ndarray
) -> Source:
    """``source``; a microbleed that the image does not show as one gets the kind 'faint'.

    ``image`` and ``bare``, the image without bleeds, are (x, y, slice); so is the mask
    ``parenchyma``.
    """
    if source.kind != "microbleed":
        return source
    loss, surrounded = in_image(image, bare, parenchyma, affine, source.centre, source.visible_mm)
    if loss >= VOID and surrounded >= SURROUNDED:
        return source
    return dataclasses.replace(source, kind="faint")


@dataclasses.dataclass(frozen=True, eq=False)
class _Window:
    """A spot's surroundings in every slice: the in-plane box with masks of its shape.

    ``core`` is the spot, ``ring`` what it is compared with, ``near`` the neighbourhood that says
    how tissue looks; ``slices`` are the slices to look at.
    """

    x: slice
    y: slice
    core: np.ndarray
    ring: np.ndarray
    near: np.ndarray
    slices: range

    @classmethod
    def about(
        cls, at: np.ndarray, voxel_mm: np.ndarray, radius_mm: float, shape: tuple[int, ...]
    ) -> _Window | None:
        """The window about the voxel index ``at`` (3,); None where the spot is outside."""
        reach = radius_mm + _RING_MM
        wide = max(reach, _NEAR_MM)
        low = np.maximum(np.floor(at[:2] - wide / voxel_mm[:2]).astype(int), 0)
        high = np.minimum(np.ceil(at[:2] + wide / voxel_mm[:2]).astype(int) + 1, shape[:2])
        if (low >= high).any():
            return None
        x, y = ((np.arange(low[k], high[k]) - at[k]) * voxel_mm[k] for k in (0, 1))
        distance = np.hypot(x[:, None], y[None])
        far = max(radius_mm, float(voxel_mm[2]) / 2)
        first, last = (at[2] + np.array([-far, far]) / voxel_mm[2]).round(6)
        return cls(
            slice(low[0], high[0]),
            slice(low[1], high[1]),
            core=distance <= max(radius_mm, _LEAST_CORE_VOXELS * float(voxel_mm[:2].max())),
            ring=(distance > radius_mm + _GAP_MM) & (distance <= reach),
            near=distance <= wide,
            slices=range(max(0, int(np.ceil(first))), min(shape[2] - 1, int(np.floor(last))) + 1),
        )

    def loss(
        self, image: np.ndarray, bare: np.ndarray, parenchyma: np.ndarray
    ) -> tuple[float, float] | None:
        """Loss and share of the ring that is tissue in one slice, whose box the arrays are.

        None where the slice shows no tissue in the ring or no voxel of the spot.
        """
        usual = bare[self.near & parenchyma]
        tissue = self.ring & parenchyma
        if usual.size:
            tissue &= bare > (1 - VOID) * np.median(usual)
        if not tissue.any():
            return None
        around = max(float(np.quantile(image[tissue], _QUANTILE)), _LEAST_SIGNAL)
        spot = self.core & (bare > (1 - VOID) * around)
        if not spot.any():
            return None
        without = np.minimum(bare[spot], around)
        return 1 - float((image[spot] / without).min()), float(tissue.sum() / self.ring.sum())


def in_image(
    image: np.ndarray,
    bare: np.ndarray,
    parenchyma: np.ndarray,
    affine: np.ndarray,
    centre_mm: np.ndarray,
    radius_mm: float,
) -> tuple[float, float]:
    """How dark a spot is, and how much of its surroundings is visible tissue.

    Returns the share of the signal that the spot's darkest voxel lacks, and the share of the ring
    about the spot that is tissue, both in the slice where the spot is darkest. The loss is taken
    against the ring and against the same voxel without the bleed; the lesser counts. (0, 0) outside
    the image, and where no slice shows the spot and tissue about it.

    ``image``, ``bare`` (the image without bleeds) and ``parenchyma`` are (x, y, slice). Slices up
    to ``radius_mm`` from the centre are looked at, and always the nearest. A voxel that is a void
    without the bleed too (bone at the brain's edge, a vein) is neither spot nor tissue.
    """
    at = np.linalg.inv(affine)[:3, :3] @ (np.asarray(centre_mm) - affine[:3, 3])
    window = _Window.about(at, nib.affines.voxel_sizes(affine), radius_mm, image.shape)
    best = 0.0, 0.0
    if window is None:
        return best
    for k in window.slices:
        here = (window.x, window.y, k)
        seen = window.loss(image[here], bare[here], parenchyma[here])
        best = best if seen is None else max(best, seen)
    return best
