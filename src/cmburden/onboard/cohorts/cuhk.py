"""Dou et al. 2016 (CUHK): ``nii/01.nii`` to ``20.nii`` and ``ground_truth/01.mat``.

A ``.mat`` holds ``cen`` (n x 3), 1-based voxels of the array as it is stored, and ``gt_num``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import scipy.io

from cmburden.core.foreign import UnreadableFile, read_bytes
from cmburden.onboard import nifti_files, voxel_points
from cmburden.onboard.parts import Fixed, Image, Passed, Person, Request, Source, Told

NOTES = (
    "Dou et al., IEEE Trans Med Imaging 2016;35:1182 (20 SWI of CUHK): for research; ask the"
    " authors before you pass on images, labels or weights tuned on them."
)
_NUMBER = re.compile(r"\d{1,3}")
#: Most bytes of a ``.mat`` file: those of the set have a few hundred, and compressed ones unpack to
#: a thousand times as much.
_MOST_BYTES = 2**20
_FOLDER = "ground_truth"


class _UnusableTable(Exception):
    """A ``.mat`` file that holds no points; ``str(error)`` says why."""


def find(request: Request) -> Iterator[Source | Passed]:
    """The numbered images below the sources."""
    yield from nifti_files.once(_rows(request))


def _rows(request: Request) -> Iterator[Source | Passed]:
    for path, place in nifti_files.files_of(request.sources):
        name = nifti_files.stem(path)
        if _NUMBER.fullmatch(name):
            fixed = Fixed("CUHK SWI", "swi")
            yield Source(place, (path,), f"{int(name):02d}", fixed=fixed)
        else:
            yield Passed(place, "its name is no number, as those of the set are")


def label(source: Source) -> tuple[str, str | None]:
    """Labels of participant and session.

    >>> label(Source("nii/01.nii", (), "01"))
    ('CUHK01', None)
    """
    return f"CUHK{source.participant}", None


def people(request: Request, images: Sequence[Image]) -> list[Person]:
    """Nobody: the set tells nothing of its participants."""
    return []


def findings(request: Request, images: Sequence[Image]) -> Told:
    """Points of the ``.mat`` files, 1-based voxels; a file without points is a clean scan.

    Raises
    ------
    CMBurdenError
        Where files cannot be read, or points lie outside their image: all at once.
    """
    found, remarks, problems = [], [], []
    for image in images:
        path = _table_of(image.source.files[0])
        if path is None:
            remarks.append(f"{image.scan_id}: there is no {_FOLDER}/*.mat; it counts as not read")
            continue
        try:
            points = points_of(path)
            found += voxel_points.findings_of(image, points, f"{_FOLDER}/{path.name}")
        except (_UnusableTable, voxel_points.OutsideImage) as error:
            problems.append(str(error))
    voxel_points.refuse(problems, _FOLDER)
    return Told(tuple(found), (), voxel_points.CONVENTION, remarks=tuple(remarks))


def _table_of(image: Path) -> Path | None:
    """The ``.mat`` file of an image, in ``ground_truth`` beside the image's folder or within it."""
    name = f"{nifti_files.stem(image)}.mat"
    for folder in (image.parent.parent, image.parent):
        path = folder / _FOLDER / name
        if path.exists():
            return path
    return None


def points_of(path: Path) -> list[voxel_points.Point]:
    """The points of a ``.mat`` file as they are stored, each once.

    SciPy reads numbers from the file and runs nothing of it.
    """
    where = f"{_FOLDER}/{path.name}"
    try:
        content = read_bytes(path, _MOST_BYTES)
        held = scipy.io.loadmat(io.BytesIO(content), variable_names=["cen", "gt_num"])
    except UnreadableFile as error:
        raise _UnusableTable(f"{where}: cannot be read: {error}") from error
    except NotImplementedError as error:
        raise _UnusableTable(f"{where}: is of MATLAB 7.3; save it with -v7") from error
    except Exception as error:  # SciPy raises many kinds for a torn file
        raise _UnusableTable(f"{where}: is no MATLAB file, or torn; download it again") from error
    if "cen" not in held:
        raise _UnusableTable(f"{where}: holds no cen, the points; give the files of the set")
    cen = np.asarray(held["cen"])
    if cen.size == 0:
        points: list[voxel_points.Point] = []
    elif cen.ndim != 2 or cen.shape[1] != 3 or cen.dtype.kind not in "iuf":
        shape = " x ".join(map(str, cen.shape))
        raise _UnusableTable(f"{where}: cen is {shape} of {cen.dtype}, not n x 3 numbers")
    elif not np.isfinite(cen.astype(float)).all():
        raise _UnusableTable(f"{where}: cen holds NaN or infinity")
    else:
        points = [(float(x), float(y), float(z)) for x, y, z in cen]
    number = np.asarray(held.get("gt_num", [])).ravel()
    distinct = voxel_points.unique(points)
    if number.size and float(number[0]) not in (len(points), len(distinct)):
        raise _UnusableTable(f"{where}: gt_num is {number[0]:g}, but cen has {len(points)} points")
    return distinct
