"""Anatomies: whole-head label maps of people, or the MNI152 template where there are none.

Label codes are FreeSurfer's in the brain; outside it 507 soft tissue, 511 air, 515 bone and 516
marrow (the codes of the SynthSeg training label maps, Apache-2.0).
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from scipy import ndimage

from cmburden.core.errors import CMBurdenError

WHITE, CORTEX, VENTRICLES = (2, 41), (3, 42), (4, 5, 14, 15, 43, 44)
CEREBELLUM, BRAINSTEM, THALAMUS = (7, 8, 46, 47), (16,), (10, 49)
BASAL_GANGLIA = (11, 12, 13, 26, 50, 51, 52, 58)
PALLIDUM, VENTRAL_DC, HIPPOCAMPUS = (13, 52), (28, 60), (17, 18, 53, 54)
CSF, SOFT, AIR, BONE, MARROW = 24, 507, 511, 515, 516

#: White matter nearer than this to a lateral ventricle is deep or periventricular, and nearer than
#: CAPSULE_MM to basal ganglia or thalamus a capsule: the truth's convention for MARS groups.
PERIVENTRICULAR_MM = 10.0
CAPSULE_MM = 4.0
#: MNI152 is larger than people (1.9 l of brain); so shrunk, it has 1.4 l.
TEMPLATE_SCALE = 0.9


@dataclasses.dataclass(frozen=True, eq=False)
class Anatomy:
    """``labels`` (x, y, z) int16, RAS, about 1 mm; ``brain`` its mask; distances in mm, float16."""

    name: str
    labels: np.ndarray
    affine: np.ndarray
    to_ventricle: np.ndarray
    to_deep_grey: np.ndarray
    brain: np.ndarray


def brain_of(labels: np.ndarray) -> np.ndarray:
    """Brain mask of a label map: tissue and all CSF about it, up to the skull.

    That is what extraction tools for T1w are trained to give, and what is left of a bright rim of
    CSF in GRE; microbleeds at the cortical edge stay well inside.
    """
    inside = (labels > 0) & (labels < 500)
    parts, _ = ndimage.label(inside)
    largest = parts == np.bincount(parts[inside]).argmax()
    return ndimage.binary_fill_holes(largest)


def parenchyma(labels: np.ndarray) -> np.ndarray:
    """Where a label map holds brain tissue: neither fluid nor anything outside the brain."""
    return (labels > 0) & (labels < 100) & ~np.isin(labels, (*VENTRICLES, CSF))


def available(folder: Path | None) -> list[Path | None]:
    """Label maps in ``folder``; without any, one ``None`` that stands for the MNI template."""
    if folder is None:
        return [None]
    paths = sorted(Path(folder).glob("*.nii.gz"))
    if not paths:
        raise CMBurdenError(f"{folder}: holds no label map (*.nii.gz); name another folder")
    return list(paths)


def selected(maps: list, people: str | None) -> list:
    """Of ``maps`` those that ``people`` names, first-last from 1; all where it names none.

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
    labels, affine = _from_template() if path is None else _from_file(path)
    spacing = nib.affines.voxel_sizes(affine)
    ventricle = np.isin(labels, VENTRICLES[:2] + VENTRICLES[4:])
    grey = np.isin(labels, BASAL_GANGLIA + THALAMUS)
    return Anatomy(
        "MNI152" if path is None else Path(path).name.split(".")[0],
        labels,
        affine,
        ndimage.distance_transform_edt(~ventricle, spacing).astype(np.float16),
        ndimage.distance_transform_edt(~grey, spacing).astype(np.float16),
        brain_of(labels),
    )


def _from_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = nib.as_closest_canonical(nib.load(path))
    labels = np.asarray(image.dataobj).astype(np.int16)
    return labels, image.affine


def _from_template() -> tuple[np.ndarray, np.ndarray]:
    """MNI152 as a label map: tissue of nilearn's template, regions of our atlas, a drawn head."""
    from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

    from cmburden.space import atlas as space_atlas

    grey_image = load_mni152_gm_template(resolution=1)
    grey = np.asarray(grey_image.dataobj, dtype=np.float32)
    white = np.asarray(load_mni152_wm_template(resolution=1).dataobj, dtype=np.float32)
    affine = grey_image.affine
    across = np.arange(grey.shape[0]) * affine[0, 0] + affine[0, 3]
    right = np.broadcast_to((across > 0)[:, None, None], grey.shape)
    mars = space_atlas.regions_on(grey.shape, affine) % 100
    tissue = (grey > 0.3) | (white > 0.3)
    brain = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(tissue, 8), iterations=6))
    brain = brain[8:-8, 8:-8, 8:-8]

    labels = np.zeros(grey.shape, np.int16)
    reach = ndimage.distance_transform_edt(~brain)
    labels[reach <= 14] = SOFT
    labels[reach <= 8] = BONE
    labels[(reach <= 6) & (reach > 4)] = MARROW
    labels[reach <= 3] = CSF
    z, y = np.indices(grey.shape)[2], np.indices(grey.shape)[1]
    sinus = (reach > 4) & (reach <= 12) & (z < grey.shape[2] * 0.35) & (y > grey.shape[1] * 0.72)
    labels[sinus] = AIR

    def put(where: np.ndarray, left: int, other: int) -> None:
        labels[where & ~right] = left
        labels[where & right] = other

    labels[brain] = CSF
    put(brain & (white > np.maximum(grey, 0.25)), *WHITE)
    put(brain & (grey >= white) & (grey > 0.25), *CORTEX)
    hollow = brain & ~tissue & (ndimage.distance_transform_edt(brain) > 18) & ~np.isin(mars, (1, 2))
    put(hollow, 4, 43)
    put((mars == 2) & tissue & (grey >= white), 8, 47)
    put((mars == 2) & tissue & (grey < white), 7, 46)
    put((mars == 1) & tissue, 16, 16)
    put((mars == 3) & tissue, 12, 51)
    put((mars == 4) & tissue, 10, 49)
    return labels, np.diag([TEMPLATE_SCALE] * 3 + [1.0]) @ affine


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
        unit = (points - low) / (high - low) * 2 - 1
        shift = torch.nn.functional.grid_sample(
            torch.as_tensor(self.displacement, dtype=torch.float32)[None],
            unit.reshape(1, -1, 1, 1, 3).flip(-1),
            align_corners=True,
            padding_mode="border",
        )[0, :, :, 0, 0].T.reshape(points.shape)
        matrix = torch.as_tensor(self.matrix, dtype=torch.float32)
        return points @ matrix[:3, :3].T + matrix[:3, 3] + shift


def deformation(anatomy: Anatomy, rng: np.random.Generator) -> Deformation:
    """A random person of this anatomy: mirrored or not, 5 % scaled, locally 2 mm displaced."""
    where = np.argwhere((anatomy.labels > 0) & (anatomy.labels < 100))
    centre = nib.affines.apply_affine(anatomy.affine, where.mean(0))
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag(rng.uniform(0.94, 1.06, 3))
    if rng.random() < 0.5:
        matrix[0] *= -1
    matrix[:3, :3] += rng.normal(0, 0.02, (3, 3))
    matrix[:3, 3] = centre
    field = ndimage.gaussian_filter(rng.normal(0, 1, (3, 12, 12, 12)), (0, 1.2, 1.2, 1.2))
    field *= 2.0 / field.std()
    half = np.array([110.0, 130.0, 120.0])
    return Deformation(matrix, field, (-half, half))


def sample(
    volume: np.ndarray, affine: np.ndarray, points: torch.Tensor, *, nearest: bool = False
) -> torch.Tensor:
    """``volume`` at ``points`` (..., 3) in mm; zero outside."""
    inverse = torch.as_tensor(np.linalg.inv(affine), dtype=torch.float32)
    index = points @ inverse[:3, :3].T + inverse[:3, 3]
    size = torch.tensor(volume.shape, dtype=torch.float32)
    unit = index / (size - 1) * 2 - 1
    flat = unit.reshape(1, -1, 1, 1, 3).flip(-1)
    source = torch.as_tensor(np.ascontiguousarray(volume, dtype=np.float32))[None, None]
    values = torch.nn.functional.grid_sample(
        source, flat, mode="nearest" if nearest else "bilinear", align_corners=True
    )
    return values.reshape(points.shape[:-1])
