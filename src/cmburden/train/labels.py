"""A user's own labels as training scans: slab files of whole scans from the output of a run.

Labels are masks or a table of centres. A scan in which a reader found nothing is not the same as
one that nobody read: an empty mask, a table row without coordinates, or a line of ``--read-scans``
says the former; a scan without any of these is not used. All that is wrong is said at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage

from cmburden.core.errors import CMBurdenError, ScanError, told
from cmburden.core.files import whole_file
from cmburden.core.manifest import read_scans
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.core.tables import SCANS
from cmburden.images import geometry
from cmburden.images import volume as images
from cmburden.images.prepared import load_result

#: Radius of a microbleed whose reader gave none, mm.
RADIUS_MM = 1.4
#: Grids agree where no corner of the volume is further off: quaternions in single precision err
#: by hundredths of a millimetre.
GRID_MM = 0.5
#: A centre this far outside the brain mask is in other coordinates, not in the brain.
OUTSIDE_MM = 6.0
#: Entities that say what a file is, not of which scan.
_NOT_OF_THE_SCAN = {"label", "desc", "space", "res", "den", "seg", "atlas"}
_ENDINGS = ("mask.nii.gz", "mask.nii", "dseg.nii.gz", "dseg.nii")
_POSITION = ("x_mm", "y_mm", "z_mm")


@dataclasses.dataclass(frozen=True)
class Lesion:
    """A labelled lesion; ``centre`` in scanner RAS mm, ``kind`` one of the simulated sources'."""

    centre: tuple[float, float, float]
    radius_mm: float = RADIUS_MM
    kind: str = "microbleed"


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Scans that were read, with their lesions (none: nothing was found), and what is wrong."""

    lesions: dict[str, tuple[Lesion, ...]]
    problems: tuple[str, ...]


# --- masks ---


def lesions_of(labels: np.ndarray, affine: np.ndarray, *, segmented: bool) -> tuple[Lesion, ...]:
    """Each connected component (26 neighbours) of ``labels`` (x, y, z) as a lesion.

    The centre is that of mass, the radius that of the sphere of equal volume, (3 V / 4 pi)^(1/3).
    ``segmented`` labels part components that touch; otherwise all that is not 0 is one label.

    >>> lesions_of(np.ones((1, 1, 1), int), np.diag([2.0, 2, 2, 1]), segmented=False)[0].centre
    (0.0, 0.0, 0.0)
    """
    values = [int(v) for v in np.unique(labels) if v] if segmented else [None]
    voxel = abs(np.linalg.det(affine[:3, :3]))
    found = []
    for value in values:
        inside = labels != 0 if value is None else labels == value
        components, _ = ndimage.label(inside, np.ones((3, 3, 3)))
        for index, box in enumerate(ndimage.find_objects(components), start=1):
            voxels = np.argwhere(components[box] == index) + [part.start for part in box]
            centre = nib.affines.apply_affine(affine, voxels.mean(0))
            radius = (3 * len(voxels) * voxel / (4 * math.pi)) ** (1 / 3)
            found.append(Lesion(tuple(float(v) for v in centre), float(radius)))
    return tuple(found)


def from_masks(folder: Path, scans: dict[str, Scan], usable: set[str], layout: Layout) -> Labelled:
    """Lesions of the ``_label-CMB_mask`` and ``_label-CMB_dseg`` files below ``folder``.

    A file belongs to the scan of its entities; only files of ``usable`` scans are opened.
    """
    lesions: dict[str, tuple[Lesion, ...]] = {}
    owner: dict[str, Path] = {}
    problems, spoiled = [], set()
    files = sorted(p for e in _ENDINGS for p in folder.glob(f"sub-*/**/*_label-CMB_{e}"))
    if not files:
        raise CMBurdenError(
            f"{folder}: holds no sub-*/**/*_label-CMB_mask.nii.gz or _dseg.nii.gz; name the folder "
            "of the labels, or use --table"
        )
    for path in files:
        try:
            scan_id = _scan_of_file(path, scans, usable, layout)
            if scan_id in owner:
                spoiled.add(scan_id)
                raise ValueError(f"{owner[scan_id]} is of the same scan {scan_id}; keep one")
            owner[scan_id] = path
            found = _lesions_of_file(path, scans[scan_id], layout) if scan_id in usable else ()
        except (ScanError, ValueError) as error:
            problems.append(f"{path}: {error}")
        else:
            lesions[scan_id] = found
    return _labelled(lesions, spoiled, problems)


def _labelled(lesions: dict, spoiled: set[str], problems: list[str]) -> Labelled:
    # A scan of whose labels one is wrong would be taken for one without that lesion.
    kept = {scan_id: tuple(own) for scan_id, own in lesions.items() if scan_id not in spoiled}
    return Labelled(kept, tuple(sorted(problems, key=_by_numbers)))


def _by_numbers(text: str) -> list[tuple[int, str]]:
    """Sort key that puts line 9 before line 10."""
    parts = re.split(r"(\d+)", text)
    return [(int(part) if part.isdigit() else -1, part) for part in parts]


def _lesions_of_file(path: Path, scan: Scan, layout: Layout) -> tuple[Lesion, ...]:
    labels, affine = images.load_labels(path)
    wrong = _other_grid(labels.shape, affine, layout.preproc(scan))
    if wrong:
        raise ValueError(f"{wrong}; draw or resample it on the scan {scan.scan_id}")
    return lesions_of(labels, affine, segmented="_dseg." in path.name)


def scans_of_file(path: Path, scans: dict[str, Scan], layout: Layout) -> list[str]:
    """Ids of the scans that a label file may be of by its entities: those with just these, or else
    all that have these and more. A scan's derivatives may have an entity of their own
    (``acq-swi``), which counts too."""
    own = _entities(path)
    exact = [
        i
        for i, scan in scans.items()
        if own in (dict(scan.entities), _entities(layout.preproc(scan)))
    ]
    more = [i for i, scan in scans.items() if own.items() <= dict(scan.entities).items()]
    return sorted(exact or more)


def _entities(path: Path) -> dict[str, str]:
    pairs = (part.partition("-") for part in path.name.split(".")[0].split("_"))
    return {key: value for key, dash, value in pairs if dash and key not in _NOT_OF_THE_SCAN}


def _scan_of_file(path: Path, scans: dict[str, Scan], usable: set[str], layout: Layout) -> str:
    """The one scan that a label file is of; ValueError where that is not clear.

    Where names leave several, the grid tells; where that does too (an SWI and the GRE that it was
    made of), the one whose derivatives have the file's name.
    """
    fitting = scans_of_file(path, scans, layout)
    if len(fitting) > 1:
        labels, affine = images.load_labels(path)
        alike = [
            i
            for i in fitting
            if i in usable and not _other_grid(labels.shape, affine, layout.preproc(scans[i]))
        ]
        named = [i for i in alike if _entities(layout.preproc(scans[i])) == _entities(path)]
        fitting = alike if len(alike) == 1 else named or fitting
    if len(fitting) != 1:
        raise ValueError(f"{_which(fitting)}; name it as the scan, with all entities")
    return fitting[0]


def _which(fitting: list[str]) -> str:
    if not fitting:
        return "it fits no scan of the run"
    return f"it fits {len(fitting)} scans ({', '.join(fitting)})"


def _other_grid(shape: tuple[int, ...], affine: np.ndarray, preproc: Path) -> str | None:
    """How a label volume's grid differs from the scan's, both in canonical RAS; None if not."""
    scan = nib.load(preproc)
    if shape != scan.shape:
        return f"its shape is {_by(shape)}, the scan's {_by(scan.shape)} (in RAS order)"
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(shape) - 1)
    away = nib.affines.apply_affine(affine, corners) - nib.affines.apply_affine(
        scan.affine, corners
    )
    worst = float(np.linalg.norm(away, axis=1).max())
    if worst > GRID_MM:
        return f"its affine puts it up to {worst:.1f} mm away from the scan"
    return None


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)


# --- a table ---


def from_table(
    path: Path, scans: dict[str, Scan], usable: set[str], layout: Layout, read: Path | None
) -> Labelled:
    """Lesions of a TSV: ``scan_id`` or ``participant_id`` [``session_id``], ``x_mm`` ... in RAS.

    A row whose three coordinates are empty (or n/a) says: read, nothing found. So does a line of
    the file ``read`` for a scan without rows.
    """
    lesions: dict[str, list[Lesion]] = {}
    nothing: dict[str, int] = {}
    problems, spoiled = [], set()
    for line, row in enumerate(_table(path).to_dict("records"), start=2):
        if not any(row.values()):
            continue
        fitting = scans_of_row(row, scans)
        try:
            if len(fitting) != 1:
                raise ValueError(f"{_which(fitting)}; give a scan_id of cohort/scans.parquet")
            scan_id = fitting[0]
            own = lesions.setdefault(scan_id, [])
            lesion = lesion_of_row(row)
            if lesion is None:
                nothing.setdefault(scan_id, line)
                continue
            own.append(lesion)
            if scan_id in usable:
                _check_in_brain(lesion, scans[scan_id], layout)
        except ValueError as error:
            spoiled.update(fitting)
            problems.append(f"{path}, line {line}: {error}")
    for scan_id, line in nothing.items():
        if lesions[scan_id]:
            spoiled.add(scan_id)
            problems.append(
                f"{path}, line {line}: nothing was found in {scan_id}, but other lines name "
                "lesions; remove one or the other"
            )
    for scan_id in _lines(read) if read else []:
        lesions.setdefault(scan_id, [])
        if scan_id not in scans:
            spoiled.add(scan_id)
            problems.append(f"{read}: {scan_id} is no scan of the run; write one scan_id a line")
    return _labelled(lesions, spoiled, problems)


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
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


def scans_of_row(row: dict[str, str], scans: dict[str, Scan]) -> list[str]:
    """Ids of the scans that a table row may be of."""
    if row.get("scan_id"):
        return [row["scan_id"]] if row["scan_id"] in scans else []
    person, session = row.get("participant_id", ""), row.get("session_id", "")
    return sorted(
        i
        for i, scan in scans.items()
        if scan.participant_id == "sub-" + person.removeprefix("sub-")
        and (not session or scan.session_id == "ses-" + session.removeprefix("ses-"))
    )


def lesion_of_row(row: dict[str, str]) -> Lesion | None:
    """The lesion of a table row, None where it says that nothing was found; ValueError if neither.

    >>> lesion_of_row({"x_mm": "1", "y_mm": "-2", "z_mm": "3.5"})
    Lesion(centre=(1.0, -2.0, 3.5), radius_mm=1.4, kind='microbleed')
    >>> lesion_of_row({"x_mm": "", "y_mm": "", "z_mm": ""}) is None
    True
    """
    position = [row[name] for name in _POSITION]
    kind = row.get("kind", "")
    if not any(position):
        if kind not in ("", "none"):
            raise ValueError(f"a {kind} without coordinates; give x_mm, y_mm and z_mm")
        return None
    centre = tuple(_number(name, row[name]) for name in _POSITION)
    radius = _number("radius_mm", row["radius_mm"]) if row.get("radius_mm") else RADIUS_MM
    if not 0 < radius < 50:
        raise ValueError(f"radius_mm is {radius:g}; give millimetres above 0")
    if (kind or "microbleed") not in _kinds():
        raise ValueError(f"kind {kind!r}; allowed are {', '.join(_kinds())}")
    return Lesion(centre, radius, kind or "microbleed")


def _kinds() -> list[str]:
    # Torch comes with it, which takes seconds; masks do not need it.
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


def _check_in_brain(lesion: Lesion, scan: Scan, layout: Layout) -> None:
    """ValueError where the brain mask has no voxel in the cube of 2 ``OUTSIDE_MM`` about it."""
    image = nib.load(layout.brain_mask(scan))
    middle = nib.affines.apply_affine(np.linalg.inv(image.affine), lesion.centre)
    reach = OUTSIDE_MM / np.array(geometry.voxel_sizes(image.affine))
    low = np.maximum(np.floor(middle - reach), 0).astype(int)
    high = np.minimum(np.ceil(middle + reach) + 1, image.shape).astype(int)
    box = tuple(slice(a, max(a, b)) for a, b in zip(low, high, strict=True))
    if not np.asanyarray(image.dataobj)[box].any():
        raise ValueError(
            f"{lesion.centre} is more than {OUTSIDE_MM:g} mm outside the brain of {scan.scan_id}; "
            "give scanner RAS mm, not voxels, LPS or MNI"
        )


# --- slabs ---


def slab_of(scan: Scan, layout: Layout, lesions: tuple[Lesion, ...]) -> dict[str, np.ndarray]:
    """The scan as a slab file's content (``dataset.slab_content``): its cohort is its name."""
    from cmburden.train.dataset import slab_content

    flat, mask, affine = load_result(scan, layout)
    return slab_content(
        flat,
        mask,
        affine,
        centres=np.array([lesion.centre for lesion in lesions]).reshape(-1, 3),
        radii=np.array([lesion.radius_mm for lesion in lesions]),
        kinds=[lesion.kind for lesion in lesions],
        name=scan.cohort,
        contrast=scan.contrast,
        person=scan.participant_id,
    )


def run(
    derivatives: Path,
    out: Path,
    *,
    table: Path | None = None,
    read: Path | None = None,
    labels: Path | None = None,
    keep_going: bool = False,
) -> list[Path]:
    """Write a slab for each labelled scan of the run in ``derivatives``; returns their paths.

    Raises CMBurdenError with all problems, before anything is written, unless ``keep_going``:
    then what is sound is written and the problems are printed.
    """
    layout = Layout(derivatives)
    scans, unused = _scans(layout)
    usable = set(scans) - set(unused)
    if table:
        labelled = from_table(table, scans, usable, layout, read)
    else:
        if labels.resolve() == layout.root.resolve():
            raise CMBurdenError(
                f"{labels}: these are CMBurden's own findings; name the folder of a reader's labels"
            )
        labelled = from_masks(labels, scans, usable, layout)
    problems = labelled.problems
    if problems:
        text = "\n".join(f"  {problem}" for problem in problems)
        if not keep_going:
            raise CMBurdenError(
                f"{len(problems)} problem(s) with the labels, nothing was written; mend them, or "
                f"go on without them by --keep-going:\n{text}"
            )
        print(f"{len(problems)} problem(s), left out:\n{text}")
    left_out = sorted(set(labelled.lesions) & set(unused))
    for scan_id in left_out:
        print(f"{scan_id}: labelled but not used, {unused[scan_id]}")
    written = []
    for scan_id in sorted(set(labelled.lesions) & usable):
        path = out / f"slab-{scan_id}.npz"
        slab = slab_of(scans[scan_id], layout, labelled.lesions[scan_id])
        with whole_file(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **slab)
        print(path.name, len(labelled.lesions[scan_id]), flush=True)
        written.append(path)
    if not written:
        raise CMBurdenError(
            f"{derivatives}: no labelled scan can be used; run cmburden run on the scans that have "
            "labels, and see cmburden status"
        )
    return written


def _scans(layout: Layout) -> tuple[dict[str, Scan], dict[str, str]]:
    """Scans of the run by id, and why those cannot be used that were not read or have no volume."""
    if not layout.manifest.exists() or not layout.table("scans").exists():
        raise CMBurdenError(
            f"{layout.root}: not the output of a complete cmburden run; run it first, on the scans "
            "that have labels"
        )
    # Where the raw scans lie does not matter: the preprocessed volumes are read.
    scans = {scan.scan_id: scan for scan in read_scans(layout.manifest, layout.root)}
    unused = {}
    for row in SCANS.read(layout.table("scans")).itertuples():
        if row.scan_id in scans and row.status != "ok":
            unused[row.scan_id] = f"{row.status} ({row.reason}): {row.message}"
    for scan_id, scan in scans.items():
        if not (layout.preproc(scan).exists() and layout.brain_mask(scan).exists()):
            unused.setdefault(scan_id, "it has no preprocessed volume: run cmburden run again")
    return scans, unused


def main(arguments: list[str] | None = None) -> int:
    """Training slabs from your own labels: ``cmburden train labels DERIVATIVES OUT --labels DIR``.

    A scan that was read without a finding has an empty mask, or a table row without coordinates,
    or a line in --read-scans. Scans without any of these are not used.
    """
    parser = argparse.ArgumentParser(prog="cmburden train labels", description=main.__doc__)
    parser.add_argument("derivatives", type=Path, help="output folder of cmburden run")
    parser.add_argument("out", type=Path, help="folder for slab-*.npz")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--labels", type=Path, help="folder of sub-*/**/*_label-CMB_mask.nii.gz or _dseg.nii.gz"
    )
    source.add_argument(
        "--table",
        type=Path,
        help="TSV: scan_id (or participant_id, session_id), x_mm, y_mm, z_mm in scanner RAS; may "
        f"have radius_mm ({RADIUS_MM}) and kind (microbleed)",
    )
    parser.add_argument(
        "--read-scans", type=Path, help="with --table: scan_ids that were read, one a line"
    )
    parser.add_argument(
        "--keep-going", action="store_true", help="leave out labels that are wrong, write the rest"
    )
    args = parser.parse_args(arguments)
    if args.read_scans and not args.table:
        raise CMBurdenError("--read-scans: only --table needs it; an empty mask says the same")
    written = run(
        args.derivatives,
        args.out,
        table=args.table,
        read=args.read_scans,
        labels=args.labels,
        keep_going=args.keep_going,
    )
    print(f"{len(written)} scans in {args.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(told(main))
