"""From what readers' tables say to truth.tsv, counts_truth.tsv, folds.tsv and read_scans.txt."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from nibabel.affines import apply_affine, voxel_sizes

from cmburden.core import truth_origin
from cmburden.core.errors import CMBurdenError, ScanError
from cmburden.core.files import whole_file
from cmburden.core.schema import Table
from cmburden.core.tables import COUNTS_TRUTH, FOLDS, RADIUS_MM, READERS_TRUTH, TRUTH
from cmburden.images import conventions
from cmburden.onboard import folds, readers
from cmburden.onboard.parts import Finding, Image, Request, Told
from cmburden.onboard.paths import Onboarded
from cmburden.onboard.readers import Mark
from cmburden.onboard.sheets import stop

#: A place with no signal within this distance is in other coordinates, mm.
OUTSIDE_MM = 6.0
#: Voxels above this share of an image's bright end hold signal.
_SIGNAL, _BRIGHT_PERCENTILE = 0.1, 98
#: Definite lesions that tell the coordinates without the possible ones.
_ENOUGH = 10
#: Kinds of truth whose numbers are told.
_KINDS = ("microbleed", "faint", "none")
#: Decimals of coordinates and radii, mm.
_DECIMALS = 3


@dataclasses.dataclass(frozen=True)
class Written:
    """What was written, for `onboard.json` and the user.

    Attributes
    ----------
    files : tuple of Path
    convention : str or None
        Convention of the table's coordinates; None where it has no places.
    shares : mapping
        Convention -> share of places that are dark by it.
    numbers : mapping
        Of rows of truth by kind, of scans read and of scans left out, and of rows that stood twice.
    left_out : mapping
        scan_id -> sentence why the scan is not in the truth although it was read.
    remarks : tuple of str
        Sentences for the user.
    """

    files: tuple[Path, ...]
    convention: str | None
    shares: Mapping[str, float]
    numbers: Mapping[str, int]
    left_out: Mapping[str, str]
    remarks: tuple[str, ...]


def write(told: Told, images: Sequence[Image], paths: Onboarded, request: Request) -> Written:
    """Write what the readers' tables say of ``images``; equal input gives equal bytes.

    A scan with a place outside of it is left out whole: otherwise it would be one without that
    lesion. A file for which there is nothing is removed, so that none of an earlier run stays.

    Raises
    ------
    CMBurdenError
        When the images do not tell the coordinates of the places, or when no scan with places is
        left.
    """
    by_id = {image.scan_id: image for image in images}
    verdict, marks, left_out = _in_mm(told, by_id, request)
    kept = readers.once(marks)
    truth = _agreed(kept)
    several = len({mark.reader for mark in kept}) > 1
    read = sorted({mark.scan_id for mark in truth} | {one.scan_id for one in told.counts})
    ids = _Ids(by_id, request.cohort)
    files = [
        _write_table(TRUTH, paths.truth, ids.rows(truth)),
        _write_table(READERS_TRUTH, paths.readers_truth, ids.readers_rows(kept) if several else []),
        _write_table(COUNTS_TRUTH, paths.counts_truth, ids.counts(told)),
        _write_table(FOLDS, paths.folds, folds.rows(request.cohort, images)),
        _write_text(paths.read_scans, read),
    ]
    for path in (paths.truth, paths.counts_truth):
        _state_origin(path, request.cohort)
    numbers = {kind: sum(mark.kind == kind for mark in truth) for kind in _KINDS}
    numbers |= {"scans read": len(read), "scans left out": len(left_out)}
    numbers["rows that stood twice"] = len(marks) - len(kept)
    return Written(
        files=tuple(file for file in files if file is not None),
        convention=verdict.name if verdict else None,
        shares=verdict.shares if verdict else {},
        numbers=numbers,
        left_out=left_out,
        remarks=(*_of_verdict(verdict), *([readers.RULE] if several else [])),
    )


def _in_mm(
    told: Told, by_id: Mapping[str, Image], request: Request
) -> tuple[conventions.Verdict | None, list[Mark], dict[str, str]]:
    """The convention of the places, marks in scanner RAS mm, and the scans that are left out."""
    if any(one.point is not None for one in told.findings):
        verdict = _convention(told, by_id, request)
        return verdict, *_placed(told.findings, by_id, str(verdict.name))
    marks = [Mark(one.scan_id, one.kind, reader=_reader(one)) for one in told.findings]
    return None, marks, {}


def _of_verdict(verdict: conventions.Verdict | None) -> tuple[str, ...]:
    return (verdict.sentence, *verdict.unread) if verdict else ()


def _reader(finding: Finding) -> str:
    return finding.reader or readers.UNNAMED


def _convention(told: Told, by_id: Mapping[str, Image], request: Request) -> conventions.Verdict:
    """What the images say of the places' convention; CMBurdenError where they do not tell."""
    given = request.coordinates if request.coordinates != "auto" else told.convention or "auto"
    points: dict[Path, list[tuple[float, float, float]]] = defaultdict(list)
    people: dict[Path, str] = {}
    for one in _asked(told.findings):
        image = by_id[one.scan_id]
        if one.point is not None:
            points[image.path].append(one.point)
            people[image.path] = image.participant_id
    arrays = {path: np.array(rows, dtype=float) for path, rows in points.items()}
    verdict = conventions.find(arrays, people, given)
    if verdict.name is None:
        raise CMBurdenError(
            f"{request.lesions or 'the places'}: {verdict.sentence}; give --coordinates if you "
            "know the convention, or mend the table"
        )
    return verdict


def _asked(findings: Iterable[Finding]) -> list[Finding]:
    """The findings whose places tell the coordinates.

    Possible lesions, which are often less dark, are asked only where there are few definite ones.
    """
    placed = [one for one in findings if one.point is not None]
    definite = [one for one in placed if one.kind == "microbleed"]
    if len(definite) >= _ENOUGH:
        return definite
    return [one for one in placed if one.kind in _KINDS] or placed


def _placed(
    findings: Iterable[Finding], by_id: Mapping[str, Image], convention: str
) -> tuple[list[Mark], dict[str, str]]:
    """Marks in scanner RAS mm, and the scans that are left out with the reason."""
    of_scan: dict[str, list[Finding]] = defaultdict(list)
    for one in findings:
        of_scan[one.scan_id].append(one)
    marks: list[Mark] = []
    left_out: dict[str, str] = {}
    for scan_id, rows in sorted(of_scan.items()):
        placed = [one for one in rows if one.point is not None]
        try:
            where = _in_image(placed, by_id[scan_id], convention) if placed else np.zeros((0, 3))
        except (ValueError, ScanError) as error:
            left_out[scan_id] = str(error)
            continue
        marks += [Mark(scan_id, one.kind, reader=_reader(one)) for one in rows if not one.point]
        for one, (x, y, z) in zip(placed, where.round(_DECIMALS).tolist(), strict=True):
            marks.append(Mark(scan_id, one.kind, (x, y, z), one.radius_mm, _reader(one)))
    if not any(mark.place for mark in marks):
        stop(list(left_out.values()))
    return marks, left_out


def _in_image(findings: Sequence[Finding], image: Image, convention: str) -> np.ndarray:
    """Places (n, 3) in scanner RAS mm; ValueError with a sentence for those outside the image."""
    data, affine = conventions.stored(image.path)
    points = np.array([one.point for one in findings], dtype=float)
    places = conventions.to_ras(points, affine, data.shape, convention)
    voxels = apply_affine(np.linalg.inv(affine), places)
    some = np.asarray(data[::2, ::2, ::2], dtype=float)
    some = some[np.isfinite(some) & (some > 0)]
    signal = _SIGNAL * np.percentile(some, _BRIGHT_PERCENTILE) if some.size else np.inf
    problems = []
    for one, voxel in zip(findings, voxels, strict=True):
        if fault := _outside(data, voxel, affine, float(signal)):
            numbers = ", ".join(f"{value:g}" for value in one.point or ())
            problems.append(f"{one.where}: ({numbers}) as {convention} {fault} {image.scan_id}")
    if problems:
        raise ValueError("; ".join(problems) + "; correct the table, or give --coordinates")
    return places


def _outside(data: np.ndarray, voxel: np.ndarray, affine: np.ndarray, signal: float) -> str | None:
    """How a ``voxel`` (3,) lies outside of what an image shows; None where it lies inside.

    Voxels above ``signal`` show something.
    """
    if not ((voxel >= -0.5) & (voxel <= np.array(data.shape) - 0.5)).all():
        return "is outside of the image"
    reach = OUTSIDE_MM / voxel_sizes(affine)
    low = np.maximum(np.floor(voxel - reach), 0).astype(int)
    high = np.minimum(np.ceil(voxel + reach) + 1, data.shape).astype(int)
    box = np.asarray(data[low[0] : high[0], low[1] : high[1], low[2] : high[2]], dtype=float)
    if (np.nan_to_num(box, nan=0.0) > signal).any():
        return None
    return f"is more than {OUTSIDE_MM:g} mm from any signal of"


def _agreed(marks: Iterable[Mark]) -> list[Mark]:
    """One truth of each scan."""
    of_scan: dict[str, list[Mark]] = defaultdict(list)
    for mark in marks:
        of_scan[mark.scan_id].append(mark)
    return [one for scan in of_scan.values() for one in readers.agreed(scan)]


@dataclasses.dataclass(frozen=True)
class _Ids:
    """Makes rows of tables: the ids of each scan come first."""

    images: Mapping[str, Image]
    cohort: str

    def of(self, scan_id: str) -> dict[str, Any]:
        image = self.images[scan_id]
        return {
            "scan_id": scan_id,
            "cohort": folds.cohort_of(self.cohort, image.participant_id),
            "participant_id": image.participant_id,
            "session_id": image.session_id,
        }

    def rows(self, marks: Iterable[Mark]) -> list[dict[str, Any]]:
        """Rows of ``TRUTH`` of marks, numbered within each scan, from 1, in their order."""
        numbers: dict[str, int] = defaultdict(int)
        found = []
        for mark in sorted(marks, key=readers.order):
            row = self.of(mark.scan_id) | {"source_id": 0, "kind": mark.kind}
            if mark.place is not None:
                numbers[mark.scan_id] += 1
                x, y, z = (round(value, _DECIMALS) for value in mark.place)
                radius = RADIUS_MM if mark.radius_mm is None else mark.radius_mm
                row |= {"x_mm": x, "y_mm": y, "z_mm": z, "radius_mm": round(radius, _DECIMALS)}
                row["source_id"] = numbers[mark.scan_id]
            found.append(row)
        return found

    def readers_rows(self, marks: Iterable[Mark]) -> list[dict[str, Any]]:
        """Rows of ``READERS_TRUTH``, numbered within each scan and reader."""
        by_reader: dict[str, list[Mark]] = defaultdict(list)
        for mark in marks:
            by_reader[mark.reader].append(mark)
        return [
            row | {"reader": reader}
            for reader, own in sorted(by_reader.items())
            for row in self.rows(own)
        ]

    def counts(self, told: Told) -> list[dict[str, Any]]:
        """Rows of ``COUNTS_TRUTH``."""
        return [
            self.of(one.scan_id)
            | {"n_cmb": one.n_cmb, "n_lobar": one.n_lobar, "n_deep": one.n_deep}
            for one in told.counts
        ]


def _write_table(table: Table, path: Path, rows: list[dict[str, Any]]) -> Path | None:
    """Write rows as TSV, sorted by the table's key; without rows remove the file."""
    if not rows:
        path.unlink(missing_ok=True)
        return None
    frame: pd.DataFrame = table.frame(rows)
    with whole_file(path) as temporary:
        frame.to_csv(temporary, sep="\t", index=False, na_rep="n/a", lineterminator="\n")
    return path


def _state_origin(path: Path, cohort: str) -> None:
    """State beside a table of truth that readers, and no simulator, are its source."""
    if path.exists():
        text = f"What readers said of scans of {cohort}; made by cmburden onboard"
        truth_origin.state(path, truth_origin.READERS, text)
    else:
        truth_origin.statement_of(path).unlink(missing_ok=True)


def _write_text(path: Path, lines: Sequence[str]) -> Path | None:
    if not lines:
        path.unlink(missing_ok=True)
        return None
    with whole_file(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
