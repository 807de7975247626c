"""Labels as masks: each connected component of a ``_label-CMB_mask`` file is a lesion."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from cmburden.core.errors import CMBurdenError, ScanError
from cmburden.images import volume as images
from cmburden.images.label_images import components_of, other_grid
from cmburden.train.lesions import Labelled, Lesion, Run, labelled, which

#: Entities of a file's content, not of its scan.
_NOT_OF_THE_SCAN = {"label", "desc", "space", "res", "den", "seg", "atlas"}
_ENDINGS = ("mask.nii.gz", "mask.nii", "dseg.nii.gz", "dseg.nii")


def from_masks(folder: Path, run: Run) -> Labelled:
    """Lesions of the ``_label-CMB_mask`` and ``_label-CMB_dseg`` files below ``folder``.

    A file belongs to the scan of its entities; only files of usable scans are opened. Raises
    CMBurdenError where ``folder`` holds no such file.
    """
    lesions: dict[str, tuple[Lesion, ...]] = {}
    owner: dict[str, Path] = {}
    problems: list[str] = []
    spoiled: set[str] = set()
    files = sorted(p for e in _ENDINGS for p in folder.glob(f"sub-*/**/*_label-CMB_{e}"))
    if not files:
        raise CMBurdenError(
            f"{folder}: holds no sub-*/**/*_label-CMB_mask.nii.gz or _dseg.nii.gz; name the folder "
            "of the labels, or use --table"
        )
    for path in files:
        try:
            scan_id = _scan_of_file(path, run)
            if scan_id in owner:
                spoiled.add(scan_id)
                raise ValueError(f"{owner[scan_id]} is of the same scan {scan_id}; keep one")
            owner[scan_id] = path
            lesions[scan_id] = _lesions_of_file(path, scan_id, run)
        except (ScanError, ValueError) as error:
            problems.append(f"{path}: {error}")
    return labelled(lesions, spoiled, problems)


def lesions_of(labels: np.ndarray, affine: np.ndarray, *, segmented: bool) -> tuple[Lesion, ...]:
    """Each connected component of ``labels`` (``images.label_images.components_of``) as a lesion.

    >>> lesions_of(np.ones((1, 1, 1), int), np.diag([2.0, 2, 2, 1]), segmented=False)[0].centre
    (0.0, 0.0, 0.0)
    """
    return tuple(
        Lesion(part.centre, part.radius_mm)
        for part in components_of(labels, affine, segmented=segmented)
    )


def _lesions_of_file(path: Path, scan_id: str, run: Run) -> tuple[Lesion, ...]:
    """The lesions of a label file, none where its scan is not usable; ValueError for its grid."""
    if scan_id not in run.usable:
        return ()
    labels, affine = images.load_labels(path)
    difference = _other_grid(labels.shape, affine, run.layout.preproc(run.scans[scan_id]))
    if difference:
        raise ValueError(f"{difference}; draw or resample it on the scan {scan_id}")
    return lesions_of(labels, affine, segmented="_dseg." in path.name)


def scans_of_file(path: Path, run: Run) -> list[str]:
    """Ids of the scans that a label file may be of by its entities.

    Scans of just these entities come first; if there are none, all that have these and more. A
    scan's derivatives may have an entity of their own (``acq-swi``), which counts too.
    """
    entities = _entities(path)
    exact = [
        scan_id
        for scan_id, scan in run.scans.items()
        if entities in (dict(scan.entities), _entities(run.layout.preproc(scan)))
    ]
    more = [
        scan_id
        for scan_id, scan in run.scans.items()
        if entities.items() <= dict(scan.entities).items()
    ]
    return sorted(exact or more)


def _entities(path: Path) -> dict[str, str]:
    """BIDS entities of a file name that belong to the scan."""
    pairs = (part.partition("-") for part in path.name.split(".")[0].split("_"))
    return {key: value for key, dash, value in pairs if dash and key not in _NOT_OF_THE_SCAN}


def _scan_of_file(path: Path, run: Run) -> str:
    """The one scan that a label file is of; ValueError where there is not exactly one.

    Where names leave several, the grid decides. An SWI and the GRE that it was made of share a
    grid: then the scan whose derivatives have the file's name is taken.
    """
    fitting = scans_of_file(path, run)
    if len(fitting) > 1:
        labels, affine = images.load_labels(path)
        preproc = {scan_id: run.layout.preproc(run.scans[scan_id]) for scan_id in fitting}
        alike = [
            scan_id
            for scan_id in fitting
            if scan_id in run.usable and not _other_grid(labels.shape, affine, preproc[scan_id])
        ]
        named = [i for i in alike if _entities(preproc[i]) == _entities(path)]
        fitting = alike if len(alike) == 1 else named or fitting
    if len(fitting) != 1:
        raise ValueError(f"{which(fitting)}; name it as the scan, with all entities")
    return fitting[0]


def _other_grid(shape: tuple[int, ...], affine: np.ndarray, preproc: Path) -> str | None:
    """How a label volume's grid differs from the scan's, both in canonical RAS; None if not."""
    scan = nib.Nifti1Image.from_filename(preproc)
    return other_grid(shape, affine, scan.shape, scan.affine)
