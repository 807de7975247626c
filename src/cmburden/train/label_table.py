"""Labels as a table (TSV): a row is a lesion, or says that a scan was read without a finding."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from cmburden.core.errors import CMBurdenError
from cmburden.images import geometry, stated
from cmburden.train.lesions import RADIUS_MM, Labelled, Lesion, Run, labelled, which
from cmburden.train.slabs import FAINT, MICROBLEED

#: A centre this far outside the brain mask is in other coordinates, mm.
OUTSIDE_MM = 6.0
#: Kinds that lie in the brain.
_BLEEDS = (MICROBLEED, FAINT)
#: Radii must be below this, mm.
RADIUS_BELOW_MM = 50
#: Scans whose volumes are asked for the convention of the coordinates.
_MOST_SCANS = 40
_POSITION = ("x_mm", "y_mm", "z_mm")


@dataclasses.dataclass
class _Rows:
    """What the rows of a table said so far.

    ``lesions`` has a list for each scan that was read, ``nothing`` the first line of a scan that
    says: no finding. Scans of ``spoiled`` have a wrong row.
    """

    lesions: dict[str, list[Lesion]] = dataclasses.field(default_factory=dict)
    nothing: dict[str, int] = dataclasses.field(default_factory=dict)
    spoiled: set[str] = dataclasses.field(default_factory=set)
    problems: list[str] = dataclasses.field(default_factory=list)


def from_table(
    path: Path, run: Run, read: Path | None, *, trust_coordinates: bool = False
) -> Labelled:
    """Lesions of a TSV: ``scan_id`` or ``participant_id`` [``session_id``], ``x_mm`` ... in RAS.

    A row whose three coordinates are empty (or n/a) says: read, no finding. So does a line of the
    file ``read`` for a scan without rows. Raises CMBurdenError where ``path`` is no such table, and
    where the images contradict its coordinates, which are not asked with ``trust_coordinates``.
    """
    rows = _Rows()
    for line, row in enumerate(_table(path).to_dict("records"), start=2):
        if not any(row.values()):
            continue
        fitting = scans_of_row(row, run)
        try:
            _add(rows, row, line, fitting, run)
        except ValueError as error:
            rows.spoiled.update(fitting)
            rows.problems.append(f"{path}, line {line}: {error}")
    for scan_id, line in rows.nothing.items():
        if rows.lesions[scan_id]:
            rows.spoiled.add(scan_id)
            rows.problems.append(
                f"{path}, line {line}: nothing was found in {scan_id}, but other lines name "
                "lesions; remove one or the other"
            )
    for scan_id in _lines(read) if read else []:
        rows.lesions.setdefault(scan_id, [])
        if scan_id not in run.scans:
            rows.spoiled.add(scan_id)
            rows.problems.append(
                f"{read}: {scan_id} is no scan of the run; write one scan_id a line"
            )
    if not trust_coordinates:
        _require_ras(rows, path, run)
    return labelled(rows.lesions, rows.spoiled, rows.problems)


def _require_ras(rows: _Rows, path: Path, run: Run) -> None:
    """CMBurdenError where the prepared volumes contradict that the points are scanner RAS mm."""
    points = {
        scan_id: np.array([lesion.centre for lesion in lesions if lesion.kind == Lesion.kind])
        for scan_id, lesions in rows.lesions.items()
        if scan_id in run.usable
    }
    verdict = stated.check(run.layout, run.scans, points, most=_MOST_SCANS)
    if verdict is None or verdict.fits:
        return
    if verdict.fits is False:
        raise CMBurdenError(
            f"{path}: {verdict.sentence}; give scanner RAS mm, or use "
            "the table as it is by --trust-coordinates"
        )
    print(f"{path}: {verdict.sentence}")


def _add(rows: _Rows, row: dict[str, str], line: int, fitting: list[str], run: Run) -> None:
    """Count one row, which may be of the scans ``fitting``; ValueError for what is wrong in it."""
    if len(fitting) != 1:
        raise ValueError(f"{which(fitting)}; give a scan_id of cohort/scans.parquet")
    scan_id = fitting[0]
    lesions = rows.lesions.setdefault(scan_id, [])
    lesion = lesion_of_row(row)
    if lesion is None:
        rows.nothing.setdefault(scan_id, line)
        return
    lesions.append(lesion)
    # A vessel or a calcification outside of the mask teaches nothing, and says nothing wrong: veins
    # run on the brain's surface.
    if scan_id in run.usable and lesion.kind in _BLEEDS:
        _check_in_brain(lesion, scan_id, run)


def _table(path: Path) -> pd.DataFrame:
    try:
        rows = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, skip_blank_lines=False)
    except (OSError, ValueError) as error:
        raise CMBurdenError(f"{path}: not a readable TSV table ({error})") from error
    missing = [name for name in _POSITION if name not in rows]
    if "scan_id" not in rows and "participant_id" not in rows:
        missing.insert(0, "scan_id or participant_id")
    if missing:
        raise CMBurdenError(
            f"{path}: column(s) {', '.join(missing)} are missing; separate columns by tabs"
        )
    return rows.fillna("").apply(lambda column: column.str.strip()).replace("n/a", "")


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def scans_of_row(row: dict[str, str], run: Run) -> list[str]:
    """Ids of the scans that a table row may be of."""
    if row.get("scan_id"):
        return [row["scan_id"]] if row["scan_id"] in run.scans else []
    person, session = row.get("participant_id", ""), row.get("session_id", "")
    return sorted(
        scan_id
        for scan_id, scan in run.scans.items()
        if scan.participant_id == "sub-" + person.removeprefix("sub-")
        and (not session or scan.session_id == "ses-" + session.removeprefix("ses-"))
    )


def lesion_of_row(row: dict[str, str]) -> Lesion | None:
    """The lesion of a table row, None where the row says: no finding; ValueError if neither.

    >>> lesion_of_row({"x_mm": "1", "y_mm": "-2", "z_mm": "3.5"})
    Lesion(centre=(1.0, -2.0, 3.5), radius_mm=1.4, kind='microbleed')
    >>> lesion_of_row({"x_mm": "", "y_mm": "", "z_mm": ""}) is None
    True
    """
    kind = row.get("kind", "")
    if not any(row[name] for name in _POSITION):
        if kind not in ("", "none"):
            raise ValueError(f"a {kind} without coordinates; give x_mm, y_mm and z_mm")
        return None
    x, y, z = (_number(name, row[name]) for name in _POSITION)
    radius = _number("radius_mm", row["radius_mm"]) if row.get("radius_mm") else RADIUS_MM
    if not 0 < radius < RADIUS_BELOW_MM:
        raise ValueError(f"radius_mm is {radius:g}; give millimetres above 0")
    if (kind or Lesion.kind) not in _kinds():
        raise ValueError(f"kind {kind!r}; allowed are {', '.join(_kinds())}")
    return Lesion((x, y, z), radius, kind or Lesion.kind)


def _kinds() -> list[str]:
    # The module loads torch, which takes seconds; masks need neither.
    from cmburden.train.mine import CLASS_OF_KIND

    return sorted(CLASS_OF_KIND)


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} is {text!r}; give a number in mm, or leave all three empty")
    return value


def _check_in_brain(lesion: Lesion, scan_id: str, run: Run) -> None:
    """ValueError where the brain mask has no voxel in the cube of 2 ``OUTSIDE_MM`` about it."""
    image = nib.Nifti1Image.from_filename(run.layout.brain_mask(run.scans[scan_id]))
    middle = nib.affines.apply_affine(np.linalg.inv(image.affine), lesion.centre)
    reach = OUTSIDE_MM / np.array(geometry.voxel_sizes(image.affine))
    low = np.maximum(np.floor(middle - reach), 0).astype(int)
    high = np.minimum(np.ceil(middle + reach) + 1, image.shape).astype(int)
    box = tuple(slice(a, max(a, b)) for a, b in zip(low, high, strict=True))
    if not np.asanyarray(image.dataobj)[box].any():
        raise ValueError(
            f"{lesion.centre} is more than {OUTSIDE_MM:g} mm outside the brain of {scan_id}; "
            "give scanner RAS mm, not voxels, LPS or MNI; where they are, the mask has lost this "
            "part of the brain: leave the scan out by --keep-going"
        )
