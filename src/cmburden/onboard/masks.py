"""Readers' masks of microbleeds: each connected component is a finding, an empty mask a clean scan.

A mask has the grid of its scan, 0 or NaN in the background and one other value. A ``_dseg`` holds a
number for each lesion. A mask that is anything else is a sentence, and its scan counts as not read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cmburden.core.errors import CMBurdenError, ScanError
from cmburden.core.foreign import printable
from cmburden.images.label_images import components_of, other_grid
from cmburden.images.volume import load_label_values
from cmburden.index.names import is_nifti, without_ending
from cmburden.onboard.parts import Finding, Image, Told

#: Coordinates of the findings of masks.
CONVENTION = "ras"
#: Values that a sentence lists.
_MOST_LISTED = 5
#: Words at the end of a mask's name that are not of its scan.
_OF_THE_MASK = re.compile(
    r"([_.-](label|desc|space)-[A-Za-z0-9]+|[_.-](mask|dseg|seg|label|labels|cmb|cmbs|mb))+$",
    re.IGNORECASE,
)


class UnusableMask(Exception):
    """A mask of which nothing can be taken; ``str(error)`` says what to do."""


def findings_of(mask: Path, image: Image, where: str, reader: str | None = None) -> list[Finding]:
    """What the ``mask`` says of ``image``: a microbleed a component, or one row ``none``.

    ``where`` names the mask in sentences. Points are scanner RAS mm; the radius is that of a sphere
    of the component's volume.

    Raises
    ------
    UnusableMask
        Where the mask cannot be read, has another grid, or holds other values than two.
    """
    segmented = without_ending(mask.name).lower().endswith("_dseg")
    try:
        values, affine = load_label_values(mask)
    except ScanError as error:
        raise UnusableMask(f"the mask cannot be read: {_lower(error)}") from error
    try:
        scan, scan_affine = load_label_values(image.path)
    except ScanError as error:
        raise UnusableMask(f"its scan cannot be read: {_lower(error)}") from error
    difference = other_grid(values.shape, affine, scan.shape, scan_affine)
    if difference:
        raise UnusableMask(
            f"{difference}; resample it to the grid of the scan by nearest neighbour"
        )
    labels = _labels(values, segmented)
    found = components_of(labels, affine, segmented=segmented)
    if not found:
        return [Finding(image.scan_id, "none", where=where, reader=reader)]
    return [
        Finding(image.scan_id, "microbleed", part.centre, part.radius_mm, where, reader)
        for part in found
    ]


def _lower(error: ScanError) -> str:
    text = str(error).rstrip(".")
    return text[:1].lower() + text[1:]


def _labels(values: np.ndarray, segmented: bool) -> np.ndarray:
    """Whole-numbered labels of ``values`` (x, y, z), 0 where NaN; UnusableMask for other values."""
    if np.isinf(values).any():
        raise UnusableMask("the mask holds infinite values; draw it anew")
    values = np.where(np.isnan(values), 0, values)
    levels = np.unique(values)
    inside = levels[levels != 0]
    listed = ", ".join(f"{value:g}" for value in levels[:_MOST_LISTED])
    listed += ", ..." if len(levels) > _MOST_LISTED else ""
    if segmented:
        if (inside != np.rint(inside)).any() or (inside < 0).any():
            raise UnusableMask(f"the labels are no whole numbers ({listed})")
        return values.astype(np.int64)
    if len(inside) > 1:
        raise UnusableMask(
            f"the mask holds {len(levels)} values ({listed}) in place of two; save it as 0 and 1,"
            " or name it _dseg where each lesion has its number"
        )
    if (inside < 0).any():
        raise UnusableMask(f"the mask holds negative values ({listed}); save it as 0 and 1")
    return (values != 0).astype(np.int64)


def told_of_folder(folder: Path, images: Sequence[Image]) -> Told:
    """What the masks below ``folder`` say of ``images``, for any cohort.

    A mask belongs to the image whose BIDS name, or whose name in the download, its own name begins
    with (the longest such name), or that alone has all entities of its name. Masks that fit none or
    several, and masks that cannot be used, are remarks: their scans count as not read.

    Raises
    ------
    CMBurdenError
        Where the folder holds no NIfTI file.
    """
    files = sorted(path for path in folder.rglob("*") if is_nifti(path.name))
    if not files:
        raise CMBurdenError(f"{folder}: holds no NIfTI file; name the folder of the masks")
    findings: list[Finding] = []
    remarks: list[str] = []
    owner: dict[str, str] = {}
    spoiled: set[str] = set()
    for path in files:
        where = printable(str(path.relative_to(folder)))
        fitting = images_of(path, images)
        if len(fitting) != 1:
            names = ", ".join(image.scan_id for image in fitting) or "none"
            remarks.append(f"{where}: fits {names} of the scans; name it as its scan")
            continue
        image = fitting[0]
        if image.scan_id in owner:
            spoiled.add(image.scan_id)
            remarks.append(f"{where}: {owner[image.scan_id]} is of the same scan; keep one")
            continue
        owner[image.scan_id] = where
        try:
            findings += findings_of(path, image, where)
        except UnusableMask as error:
            remarks.append(f"{where}: {error}")
    kept = tuple(finding for finding in findings if finding.scan_id not in spoiled)
    counted = {"masks": len(files), "masks that were used": len({one.scan_id for one in kept})}
    return Told(kept, convention=CONVENTION, counted=counted, remarks=tuple(remarks))


def images_of(mask: Path, images: Sequence[Image]) -> list[Image]:
    """Those of ``images`` that a mask may be of by its name."""
    name = without_ending(mask.name)
    begins: dict[int, list[Image]] = {}
    for image in images:
        known = {image.scan_id, *(without_ending(file.name) for file in image.source.files)}
        longest = max((len(one) for one in known if _begins(name, one)), default=0)
        if longest:
            begins.setdefault(longest, []).append(image)
    if begins:
        return begins[max(begins)]
    entities = set(_OF_THE_MASK.sub("", name).split("_"))
    if not any(part.startswith("sub-") for part in entities):
        return []
    suffixes = {part for part in entities if "-" not in part}
    asked = entities - suffixes
    return [
        image
        for image in images
        if asked <= set(image.scan_id.split("_")) and suffixes <= {image.suffix}
    ]


def _begins(name: str, with_this: str) -> bool:
    """Whether a mask's ``name`` is a scan's, or continues it behind a separator."""
    return name == with_this or (name.startswith(with_this) and name[len(with_this)] in "_.-")
