"""Points that a table gives as 1-based voxels of the image as it is stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import nibabel as nib

from cmburden.core.errors import CMBurdenError, ScanError
from cmburden.images.reading import read_image
from cmburden.onboard.parts import Finding, Image

#: Coordinates of these points, as `parts.Told` names them.
CONVENTION = "voxel1"
#: Sentences of a table that are listed at once.
_MOST_LISTED = 10

Point = tuple[float, float, float]


class OutsideImage(Exception):
    """A point that is no voxel of its image; ``str(error)`` says which."""


def findings_of(image: Image, points: Sequence[Point], where: str) -> list[Finding]:
    """A microbleed for each of ``points``, which are 1-based voxels; equal points count once.

    Without points the scan was read and is clean.

    Raises
    ------
    OutsideImage
        Where a point lies beyond the grid as it is stored, or the image cannot be read.
    """
    if not points:
        return [Finding(image.scan_id, "none", where=where)]
    shape = stored_shape(image.path)
    for point in points:
        if any(not 1 <= value <= length for value, length in zip(point, shape, strict=True)):
            shown, grid = _by(point), _by(shape)
            raise OutsideImage(
                f"{where}: the point {shown} is no voxel of {image.scan_id}, which has {grid}"
            )
    return [Finding(image.scan_id, "microbleed", point, None, where) for point in unique(points)]


def unique(points: Iterable[Point]) -> list[Point]:
    """``points`` in their order, each once.

    >>> unique([(10, 12, 7), (1, 2, 3), (10, 12, 7)])
    [(10, 12, 7), (1, 2, 3)]
    """
    return list(dict.fromkeys(points))


def stored_shape(path: Path) -> tuple[int, ...]:
    """Number of voxels along the three axes as they are stored; OutsideImage for other axes."""
    try:
        image: nib.Nifti1Image = read_image(path)[0]
    except ScanError as error:
        raise OutsideImage(f"{path.name}: its points cannot be checked: {error}") from error
    shape = tuple(int(length) for length in image.shape)
    if len(shape) < 3 or any(length > 1 for length in shape[3:]):
        raise OutsideImage(f"{path.name}: its points cannot be checked: its shape is {_by(shape)}")
    return shape[:3]


def refuse(problems: Sequence[str], what: str) -> None:
    """Raise CMBurdenError with all ``problems`` of ``what``; nothing without any."""
    if not problems:
        return
    lines = "\n".join(f"  {problem}" for problem in problems[:_MOST_LISTED])
    more = len(problems) - _MOST_LISTED
    lines += f"\n  and {more} more" if more > 0 else ""
    raise CMBurdenError(f"{what}: {len(problems)} problem(s); mend the files:\n{lines}")


def _by(values: Iterable[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)
