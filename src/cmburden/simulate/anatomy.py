"""Anatomies: whole-head label maps of people, or the MNI152 template where there are none.

Label codes are FreeSurfer's in the brain; outside it 507 soft tissue, 511 air, 515 bone and 516
marrow (the codes of the SynthSeg training label maps, Apache-2.0).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import nibabel as nib
import numpy as np
import torch
from scipy import ndimage

from cmburden.core.errors import CMBurdenError
from cmburden.simulate.volumes import Lookup, dilated, distance_to, eroded
from cmburden.space import atlas, template
from cmburden.space.regions import without_side

Codes = tuple[int, ...]

WHITE, CORTEX, VENTRICLES = (2, 41), (3, 42), (4, 5, 14, 15, 43, 44)
CEREBELLUM, BRAINSTEM, THALAMUS = (7, 8, 46, 47), (16,), (10, 49)
CAUDATE, PUTAMEN, PALLIDUM, ACCUMBENS = (11, 50), (12, 51), (13, 52), (26, 58)
#: The four nuclei of the left side, then those of the right in the same order.
BASAL_GANGLIA = (11, 12, 13, 26, 50, 51, 52, 58)
VENTRAL_DC = (28, 60)
#: Bodies of the lateral ventricles, where the choroid plexus lies; and the third ventricle.
LATERAL_VENTRICLES, THIRD_VENTRICLE = (4, 43), 14
#: Third and fourth ventricle are left out: no white matter is called periventricular for them.
_PERIVENTRICULAR_OF = (4, 5, 43, 44)
CSF, SOFT, AIR, BONE, MARROW = 24, 507, 511, 515, 516
#: Codes of the brain are below the first number, all codes below the second.
BRAIN_CODES_END, CODES_END = 100, 600
#: Codes from here on are outside the skull's inner surface.
OUTSIDE_CODES_START = 500

#: White matter nearer than this to a lateral ventricle is deep or periventricular, and nearer than
#: CAPSULE_MM to basal ganglia or thalamus a capsule: the truth's convention for MARS groups.
PERIVENTRICULAR_MM = 10.0
CAPSULE_MM = 4.0

#: MNI152 is larger than people (1.9 l of brain); this scale gives 1.4 l.
TEMPLATE_SCALE = 0.9
#: Tissue of the template: probability of grey or white matter above the first; a voxel is cortex
#: above the second. By eye.
_TISSUE_PROBABILITY, _GREY_PROBABILITY = 0.3, 0.25
#: Closing of the sulci, in voxels of 1 mm, and the padding that the closing needs.
_CLOSING, _PADDING = 6, 8
#: Outer surface of each layer about the template's brain, mm. Drawn by eye: the template has no
#: head.
_CSF_MM, _INNER_TABLE_MM, _MARROW_MM, _SKULL_MM, _HEAD_MM = 3, 4, 6, 8, 14
#: Air of the sinuses lies below and in front of these shares of the template's extent, and so far
#: from the brain, mm. By eye.
_SINUS_BELOW, _SINUS_BEFORE, _SINUS_MM = 0.35, 0.72, (4, 12)
#: Fluid deeper in the brain than this is a ventricle, mm. By eye.
_VENTRICLE_DEPTH_MM = 18
#: MARS regions of the atlas (left hemisphere) that the template's labels are taken from.
_MARS_BRAINSTEM, _MARS_CEREBELLUM, _MARS_BASAL_GANGLIA, _MARS_THALAMUS = 1, 2, 3, 4

#: How people differ from their label map, by choice: scale of each axis, standard deviation of the
#: shear, displacement in mm, its control points along each axis and their smoothing.
_SCALES, _SHEAR_SD, _DISPLACEMENT_MM = (0.94, 1.06), 0.02, 2.0
_CONTROL_POINTS, _CONTROL_SMOOTHING = 12, 1.2
#: Half the box that holds every head, mm.
_HALF_BOX_MM = (110.0, 130.0, 120.0)

#: Takes points (..., 3) in mm of a scan to mm of an anatomy.
PointMap = Callable[[torch.Tensor], torch.Tensor]
_Item = TypeVar("_Item")


@dataclasses.dataclass(frozen=True, eq=False)
class Anatomy:
    """A person's label map with distances.

    ``labels`` (x, y, z) int16, RAS, voxels of about 1 mm, ``affine`` (4, 4) to mm;
    ``to_ventricle`` and ``to_deep_grey`` (x, y, z) float16, distances in mm; ``brain`` the mask of
    the brain.
    """

    name: str
    labels: np.ndarray
    affine: np.ndarray
    to_ventricle: np.ndarray
    to_deep_grey: np.ndarray
    brain: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class GridAnatomy:
    """An anatomy at the voxel centres of some grid with ``affine`` (4, 4) to mm.

    ``labels`` (x, y, z) int16; ``to_ventricle`` and ``to_deep_grey`` (x, y, z), mm.
    """

    labels: np.ndarray
    to_ventricle: np.ndarray
    to_deep_grey: np.ndarray
    affine: np.ndarray

    @property
    def tissue(self) -> np.ndarray:
        """Mask of the brain's codes: tissue, ventricles and the fluid in sulci."""
        return in_brain(self.labels)

    def voxels_mm(self, flat: np.ndarray) -> np.ndarray:
        """Centres (n, 3) in mm of the voxels with flat indices ``flat`` (n,)."""
        index = np.stack(np.unravel_index(flat, self.labels.shape), 1)
        return index @ self.affine[:3, :3].T + self.affine[:3, 3]

    def draw_point(self, flat: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A point (3,) in mm, even over the voxels with flat indices ``flat``.

        Draws: a voxel, then three offsets within the voxel.
        """
        index = np.array(np.unravel_index(rng.choice(flat), self.labels.shape), float)
        return self.affine[:3, :3] @ (index + rng.uniform(-0.5, 0.5, 3)) + self.affine[:3, 3]


def is_any(labels: np.ndarray, codes: Codes) -> np.ndarray:
    """Where a label map (any shape) holds one of ``codes``, by a table of all codes."""
    table = np.zeros(CODES_END, bool)
    table[list(codes)] = True
    return table[labels]


def in_brain(labels: np.ndarray) -> np.ndarray:
    """Where a label map (any shape) holds a code of the brain, fluid included."""
    return (labels > 0) & (labels < BRAIN_CODES_END)


def brain_of(labels: np.ndarray) -> np.ndarray:
    """Brain mask of a label map (x, y, z): tissue and the CSF about the tissue, up to the skull.

    Extraction tools for T1w are trained to give this mask. In GRE a bright rim of CSF stays inside,
    so that microbleeds at the cortical edge lie well within the mask.
    """
    inside = (labels > 0) & (labels < OUTSIDE_CODES_START)
    brain = np.zeros_like(inside)
    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    parts, _ = ndimage.label(inside[box])
    largest = parts == np.bincount(parts[inside[box]]).argmax()
    brain[box] = ndimage.binary_fill_holes(largest)
    return brain


def parenchyma(labels: np.ndarray) -> np.ndarray:
    """Where a label map holds brain tissue: neither fluid nor anything outside the brain."""
    return in_brain(labels) & ~is_any(labels, (*VENTRICLES, CSF))


def available(folder: Path | None) -> list[Path | None]:
    """Label maps in ``folder``, by name; without a folder one ``None``: the MNI template.

    Raises
    ------
    CMBurdenError
        When the folder holds no label map.
    """
    if folder is None:
        return [None]
    paths: list[Path | None] = [*sorted(Path(folder).glob("*.nii.gz"))]
    if not paths:
        raise CMBurdenError(f"{folder}: holds no label map (*.nii.gz); name another folder")
    return paths


def selected(maps: list[_Item], people: str | None) -> list[_Item]:
    """The label maps that ``people`` names, first-last from 1; all maps for None.

    >>> selected(["a", "b", "c"], "2-3"), selected(["a", "b"], None)
    (['b', 'c'], ['a', 'b'])
    """
    if not people:
        return maps
    first, last = (int(n) for n in people.split("-"))
    return maps[first - 1 : last]


# All people of a training set: loading one takes seconds, holding one 150 MB.
@lru_cache(maxsize=16)
def load(path: Path | None) -> Anatomy:
    """The anatomy of a label map, or of the MNI152 template for None; kept for the next call."""
    labels, affine = _from_template() if path is None else _from_file(path)
    spacing = nib.affines.voxel_sizes(affine)
    ventricle = is_any(labels, _PERIVENTRICULAR_OF)
    grey = is_any(labels, BASAL_GANGLIA + THALAMUS)
    return Anatomy(
        "MNI152" if path is None else Path(path).name.split(".")[0],
        labels,
        affine,
        distance_to(ventricle, spacing, np.float16),
        distance_to(grey, spacing, np.float16),
        brain_of(labels),
    )


def _from_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = nib.as_closest_canonical(nib.load(path))
    # The order in memory stays the file's: Fourier transforms differ by it in their last bits.
    labels = np.asarray(image.dataobj).astype(np.int16)
    return labels, image.affine


def _from_template() -> tuple[np.ndarray, np.ndarray]:
    """Labels and affine of MNI152: nilearn's tissue, regions of this project's atlas, a drawn head.

    The template's voxels are 1 mm, so that distances in voxels are distances in mm.
    """
    grey, white, affine = template.grey_and_white(1)
    grey, white = grey.astype(np.float32), white.astype(np.float32)
    tissue = (grey > _TISSUE_PROBABILITY) | (white > _TISSUE_PROBABILITY)
    closed = eroded(dilated(np.pad(tissue, _PADDING), _CLOSING), _CLOSING)
    inner = (slice(_PADDING, -_PADDING),) * 3
    brain = ndimage.binary_fill_holes(closed)[inner]
    labels = _drawn_head(brain)
    _label_brain(labels, grey, white, tissue, brain, affine)
    return labels, np.diag([TEMPLATE_SCALE] * 3 + [1.0]) @ affine


def _drawn_head(brain: np.ndarray) -> np.ndarray:
    """Labels (x, y, z) int16 of fluid, skull, scalp and sinuses about the mask ``brain``."""
    labels = np.zeros(brain.shape, np.int16)
    reach = distance_to(brain, dtype=np.float64)
    labels[reach <= _HEAD_MM] = SOFT
    labels[reach <= _SKULL_MM] = BONE
    labels[(reach <= _MARROW_MM) & (reach > _INNER_TABLE_MM)] = MARROW
    labels[reach <= _CSF_MM] = CSF
    z, y = np.indices(brain.shape)[2], np.indices(brain.shape)[1]
    least, most = _SINUS_MM
    sinus = (reach > least) & (reach <= most)
    sinus &= (z < brain.shape[2] * _SINUS_BELOW) & (y > brain.shape[1] * _SINUS_BEFORE)
    labels[sinus] = AIR
    return labels


def _label_brain(
    labels: np.ndarray,
    grey: np.ndarray,
    white: np.ndarray,
    tissue: np.ndarray,
    brain: np.ndarray,
    affine: np.ndarray,
) -> None:
    """Write the codes of the template's brain into ``labels``, by tissue and by the atlas."""
    across = np.arange(grey.shape[0]) * affine[0, 0] + affine[0, 3]
    right = np.broadcast_to((across > 0)[:, None, None], grey.shape)
    region = without_side(atlas.regions_on(grey.shape, affine))

    def put(where: np.ndarray, left_code: int, right_code: int) -> None:
        labels[where & ~right] = left_code
        labels[where & right] = right_code

    labels[brain] = CSF
    put(brain & (white > np.maximum(grey, _GREY_PROBABILITY)), *WHITE)
    put(brain & (grey >= white) & (grey > _GREY_PROBABILITY), *CORTEX)
    hollow = template.deep_fluid(brain, ~tissue, affine, _VENTRICLE_DEPTH_MM)
    put(hollow, *LATERAL_VENTRICLES)
    cerebellum = (region == _MARS_CEREBELLUM) & tissue
    put(cerebellum & (grey >= white), 8, 47)
    put(cerebellum & (grey < white), 7, 46)
    put((region == _MARS_BRAINSTEM) & tissue, *BRAINSTEM, *BRAINSTEM)
    put((region == _MARS_BASAL_GANGLIA) & tissue, *PUTAMEN)
    put((region == _MARS_THALAMUS) & tissue, *THALAMUS)


@dataclasses.dataclass(frozen=True)
class Deformation:
    """Scan mm (RAS) to anatomy mm: an affine and a smooth displacement, of one participant.

    ``displacement`` is (3, n, n, n) in mm over ``box_mm`` = (low, high), each of 3.
    """

    matrix: np.ndarray
    displacement: np.ndarray
    box_mm: tuple[np.ndarray, np.ndarray]

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        """``points`` (..., 3) mm in scan space to mm in anatomy space."""
        low, high = (torch.as_tensor(side, dtype=torch.float32) for side in self.box_mm)
        unit = (points - low).div_(high - low).mul_(2).sub_(1)
        shift = torch.nn.functional.grid_sample(
            torch.as_tensor(self.displacement, dtype=torch.float32)[None],
            unit.reshape(1, -1, 1, 1, 3).flip(-1),
            align_corners=True,
            padding_mode="border",
        )[0, :, :, 0, 0].T.reshape(points.shape)
        matrix = torch.as_tensor(self.matrix, dtype=torch.float32)
        return (points @ matrix[:3, :3].T).add_(matrix[:3, 3]).add_(shift)


def deformation(anatomy: Anatomy, rng: np.random.Generator) -> Deformation:
    """A random person of this anatomy: mirrored or not, scaled by 6 %, locally displaced by 2 mm.

    Draws: three scales, the mirroring, nine shears, the displacement.
    """
    centre = nib.affines.apply_affine(anatomy.affine, _middle_of(in_brain(anatomy.labels)))
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag(rng.uniform(*_SCALES, 3))
    if rng.random() < 0.5:
        matrix[0] *= -1
    matrix[:3, :3] += rng.normal(0, _SHEAR_SD, (3, 3))
    matrix[:3, 3] = centre
    noise = rng.normal(0, 1, (3, *(_CONTROL_POINTS,) * 3))
    field = ndimage.gaussian_filter(noise, (0, *(_CONTROL_SMOOTHING,) * 3))
    field *= _DISPLACEMENT_MM / field.std()
    half = np.array(_HALF_BOX_MM)
    return Deformation(matrix, field, (-half, half))


def _middle_of(mask: np.ndarray) -> np.ndarray:
    """Mean index (3,) of the voxels of ``mask``, by the number of voxels in each plane."""
    sheet = mask.sum(2)
    planes = sheet.sum(1), sheet.sum(0), mask.sum((0, 1))
    return np.array([(count * np.arange(len(count))).sum() / count.sum() for count in planes])


def sample(
    volume: np.ndarray, affine: np.ndarray, points: torch.Tensor, *, nearest: bool = False
) -> torch.Tensor:
    """``volume`` (x, y, z) at ``points`` (..., 3) in mm, float32; zero outside."""
    lookup = Lookup(volume.shape, affine, points)
    (values,) = lookup.nearest(volume) if nearest else lookup.linear(volume)
    return torch.from_numpy(values.astype(np.float32, copy=False))


def lookup_of(anatomy: Anatomy, points: torch.Tensor) -> Lookup:
    """The place of ``points`` (..., 3), in mm, among the voxels of ``anatomy``."""
    return Lookup(anatomy.labels.shape, anatomy.affine, points)


def on_grid(anatomy: Anatomy, lookup: Lookup, affine: np.ndarray) -> GridAnatomy:
    """The anatomy on another grid with ``affine``.

    ``lookup`` (:func:`lookup_of`) is of the grid's voxel centres (x, y, z, 3).
    """
    (labels,) = lookup.nearest(anatomy.labels)
    to_ventricle, to_deep_grey = lookup.linear(anatomy.to_ventricle, anatomy.to_deep_grey)
    return GridAnatomy(labels, to_ventricle, to_deep_grey, affine)
