"""How often a table's coordinate convention is found: ``python -m cmburden.studies.conventions``.

``BIDS TRUTH OUT`` are simulated scans, their truth, and a folder for the result. Tables are made of
the microbleeds of each acquisition: by every convention, with 3 to 60 points, rounded as tables
are, some points moved by a voxel and some wrong. Each scan is turned in memory to a storage order
that files have. Further tables have no convention of the list. OUT gets tables.tsv, a row a table,
and rates.md. ``--simulate`` makes the scans first: few scans with many microbleeds each.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from cmburden.core.errors import exit_code
from cmburden.core.files import whole_file
from cmburden.core.keys import seed_of
from cmburden.core.tables import TRUTH
from cmburden.evaluate.cases import read_truth
from cmburden.images import conventions

#: Numbers of points of a table.
SIZES = (3, 5, 8, 10, 12, 15, 20, 30, 45, 60)
#: Storage orders: of dcm2niix and of ITK for axial slices, of canonical files, of sagittal slices.
STORED = ("LAS", "LPS", "RAS", "PSR")
#: Shares of points that a reader marked a voxel off, and of points that are no microbleed.
_MOVED, _WRONG = 0.3, (0.0, 0.1, 0.2)
#: Decimals of coordinates, but for this share of scans in voxels: whole voxels.
_DECIMALS, _WHOLE = 1, 0.5
#: Wrong points lie within this share of the field of view about its middle.
_INSIDE = 0.3
#: Tables that have no convention of the list, or two.
FOREIGN = ("half lps", "mirrored voxels", "axes swapped", "shifted 12 mm", "random")
_SHIFT_MM = 12.0


@dataclasses.dataclass(frozen=True, eq=False)
class Scan:
    """A scan in RAS: ``data``, ``affine``, and the centres (n, 3) of its microbleeds in mm."""

    preset: str
    person: str
    data: np.ndarray
    affine: np.ndarray
    centres: np.ndarray


@dataclasses.dataclass(frozen=True)
class Plan:
    """A table to make: ``name`` a convention or one of ``FOREIGN``."""

    preset: str
    name: str
    points: int
    number: int


def scans_of(bids: Path, truth: Path) -> list[Scan]:
    """The scans of a simulated cohort that have microbleeds."""
    rows = read_truth(truth)
    rows = rows[rows["kind"] == "microbleed"]
    scans = []
    for scan_id, own in rows.groupby("scan_id", sort=True):
        first = own.iloc[0]
        path = bids / first["participant_id"] / "anat" / f"{scan_id}.nii.gz"
        data, affine = conventions.stored(path)
        centres = own[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
        scans.append(Scan(first["cohort"], first["participant_id"], data, affine, centres))
    return scans


def stored_as(scan: Scan, order: str) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and affine of ``scan`` as a file in storage ``order`` has them."""
    turn = ornt_transform(io_orientation(scan.affine), axcodes2ornt(tuple(order)))
    data = nib.orientations.apply_orientation(scan.data, turn)
    return data, scan.affine @ inv_ornt_aff(turn, scan.data.shape)


def in_table(
    points: np.ndarray, affine: np.ndarray, shape: tuple[int, ...], name: str
) -> np.ndarray:
    """Points (n, 3) in RAS mm as a table by the convention ``name`` has them, not rounded."""
    # Each convention is an affine map: its inverse follows from the images of four points.
    corners = np.vstack([np.zeros(3), np.eye(3)])
    origin, *axes = conventions.to_ras(corners, affine, shape, name)
    return np.linalg.solve((np.array(axes) - origin).T, (points - origin).T).T


def look_at(
    scan: Scan, chosen: np.ndarray, made: str, rng: np.random.Generator
) -> conventions.Seen:
    """What the table's points show in one scan.

    ``chosen`` numbers the microbleeds; ``made`` is a convention or one of ``FOREIGN``.
    """
    data, affine = stored_as(scan, str(rng.choice(STORED)))
    index = nib.affines.apply_affine(np.linalg.inv(affine), scan.centres[chosen])
    moved = rng.random(len(index)) < _MOVED
    index += moved[:, None] * rng.uniform(-1, 1, index.shape)
    wrong = rng.random(len(index)) < rng.choice(_WRONG)
    middle, half = (np.array(data.shape) - 1) / 2, _INSIDE * np.array(data.shape)
    anywhere = middle + rng.uniform(-1, 1, index.shape) * half
    index[wrong | (made == "random")] = anywhere[wrong | (made == "random")]
    name, shift, order = made, np.zeros(3), [0, 1, 2]
    if name in FOREIGN:
        name = "ras"
    if made == "mirrored voxels":
        name = "voxel0"
        index[:, 0] = data.shape[0] - 1 - index[:, 0]
    elif made == "axes swapped":
        order = [1, 0, 2]
    elif made == "shifted 12 mm":
        shift[1] = _SHIFT_MM
    points = nib.affines.apply_affine(affine, index)[:, order] + shift
    table = in_table(points, affine, data.shape, name)
    whole = name.startswith("voxel") and rng.random() < _WHOLE
    return conventions.look(data, affine, np.round(table, 0 if whole else _DECIMALS), scan.person)


def drawn(scans: list[Scan], plan: Plan, seed: int) -> conventions.Seen | None:
    """The table of ``plan`` as the images show it; None where there are too few microbleeds."""
    rng = np.random.default_rng(seed_of("conventions", seed, *dataclasses.astuple(plan)))
    own = [scan for scan in scans if plan.preset in ("all", scan.preset)]
    places = [(number, row) for number, scan in enumerate(own) for row in range(len(scan.centres))]
    if len(places) < plan.points:
        return None
    picked = np.array(places)[rng.choice(len(places), plan.points, replace=False)]
    names = np.full(len(picked), plan.name, dtype=object)
    if plan.name == "half lps":
        names = np.resize(np.array(["ras", "lps"], dtype=object), len(picked))
    parts = [
        look_at(own[number], picked[(picked[:, 0] == number) & (names == name), 1], name, rng)
        for name in sorted(set(names))
        for number in np.unique(picked[names == name, 0])
    ]
    return conventions.Seen.joined(parts)


def plans(presets: list[str], repeats: int) -> Iterator[Plan]:
    """Tables by every convention and number of points, for each preset and for all together."""
    for preset in (*presets, "all"):
        for name in (*conventions.NAMES, *FOREIGN):
            for points in SIZES:
                for number in range(repeats):
                    yield Plan(preset, name, points, number)


def outcome(plan: Plan, seen: conventions.Seen) -> dict[str, Any]:
    """A row of tables.tsv."""
    verdict = conventions.decide(seen)
    true = plan.name if plan.name in conventions.NAMES else None
    stated = {
        f"as_{given}": {True: "proven", False: "refused", None: "passed"}[
            conventions.check(seen, given).fits
        ]
        for given in ("ras", "lps")
    }
    return {
        **dataclasses.asdict(plan),
        "found": verdict.name,
        "outcome": "refused"
        if verdict.name is None
        else "right"
        if verdict.name == true
        else "wrong",
        "share": verdict.shares[true] if true else None,
        "next": max(share for name, share in verdict.shares.items() if name != true),
        "people": verdict.people,
        **stated,
        "sentence": verdict.sentence,
    }


def rates(tables: pd.DataFrame) -> str:
    """Markdown: right, wrong and refused tables by number of points, and the tables of FOREIGN."""
    listed = tables[tables["name"].isin(conventions.NAMES)]
    lines = [
        "| points | tables | right | refused | wrong |",
        "|---|---|---|---|---|",
        *(_row(str(points), part) for points, part in listed.groupby("points")),
        _row("all", listed),
        "",
        "| acquisition, 10 points or more | tables | right | refused | wrong |",
        "|---|---|---|---|---|",
        *(_row(name, part) for name, part in listed[listed["points"] >= 10].groupby("preset")),
        "",
        "| table of no convention, or of two | tables | right | refused | wrong |",
        "|---|---|---|---|---|",
        *(_row(name, tables[tables["name"] == name]) for name in FOREIGN),
        "",
        "| the table is | stated as | points | tables | proven | passed with a remark | refused |",
        "|---|---|---|---|---|---|---|",
    ]
    small = {"3 to 8": tables["points"] <= 8, "10 to 60": tables["points"] >= 10}
    for name in ("ras", "lps", "las", "voxel0", *FOREIGN):
        for words, fits in small.items():
            part = tables[(tables["name"] == name) & fits]
            shares = [f"{(part['as_ras'] == level).mean():.3f}" for level in _STATED]
            lines.append(f"| {name} | ras | {words} | {len(part)} | {' | '.join(shares)} |")
    return "\n".join(lines) + "\n"


_STATED = ("proven", "passed", "refused")


def _row(title: str, part: pd.DataFrame) -> str:
    right, refused = ((part["outcome"] == level).mean() for level in ("right", "refused"))
    wrong = int((part["outcome"] == "wrong").sum())
    return f"| {title} | {len(part)} | {right:.3f} | {refused:.3f} | {wrong} |"


def run(bids: Path, truth: Path, out: Path, *, repeats: int, seed: int) -> pd.DataFrame:
    """Make the tables, ask the images, and write ``out``/tables.tsv and rates.md."""
    scans = scans_of(bids, truth)
    rows = []
    for plan in plans(sorted({scan.preset for scan in scans}), repeats):
        seen = drawn(scans, plan, seed)
        if seen is not None:
            rows.append(outcome(plan, seen))
    tables = pd.DataFrame(rows)
    out.mkdir(parents=True, exist_ok=True)
    with whole_file(out / "tables.tsv") as temporary:
        tables.to_csv(temporary, sep="\t", index=False, na_rep="n/a", float_format="%.3f")
    with whole_file(out / "rates.md") as temporary:
        temporary.write_text(rates(tables), encoding="utf-8")
    return tables


def simulate(
    bids: Path, *, anatomy: Path | None, participants: int, microbleeds: int, seed: int
) -> None:
    """Write ``participants`` scans of each acquisition with ``microbleeds`` drawn in each."""
    from cmburden.simulate import acquisition, cohort

    made = cohort.prepared(
        bids,
        [*acquisition.PRESETS, acquisition.RANDOM],
        participants,
        seed,
        anatomy=anatomy,
        people=None,
        positive_share=1.0,
        t1w_share=0.0,
    )
    work = [(dataclasses.replace(plan, n_microbleeds=microbleeds), bids) for plan in made]
    cohort.write_all(cohort.write_participant, work, bids, TRUTH, 1)


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.conventions BIDS TRUTH OUT``."""
    parser = argparse.ArgumentParser(prog="python -m cmburden.studies.conventions")
    add = parser.add_argument
    add("bids", type=Path)
    add("truth", type=Path)
    add("out", type=Path)
    add("--repeats", type=int, default=2, help="tables of each kind (default 2)")
    add("--seed", type=int, default=0, help="of the tables, and of the scans")
    add("--simulate", type=int, metavar="N", help="make BIDS first: N scans of each acquisition")
    add("--microbleeds", type=int, default=15, help="with --simulate: drawn in each scan")
    add("--anatomy", type=Path, help="with --simulate: folder of label maps; none: MNI152")
    args = parser.parse_args(arguments)
    if args.simulate:
        simulate(
            args.bids,
            anatomy=args.anatomy,
            participants=args.simulate,
            microbleeds=args.microbleeds,
            seed=args.seed,
        )
    run(args.bids, args.truth, args.out, repeats=args.repeats, seed=args.seed)
    print((args.out / "rates.md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
