"""Inserted lesions of a finished run: which scans, the work on each, and what is written of all.

The unit of work is a scan's copy. Its record says what became of its lesions and what they were
made from: a command that was killed, or that is asked for more scans, goes on from the records.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmburden import RESEARCH_USE_ONLY
from cmburden.cohort.verdicts import candidates_of
from cmburden.core.arrays import read_arrays, write_arrays
from cmburden.core.errors import CMBurdenError, DamagedFile, ScanError
from cmburden.core.files import read_json, whole_file, write_json
from cmburden.core.keys import hash_of
from cmburden.core.made_with import made_with
from cmburden.core.manifest import scan_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.core.schema import as_records
from cmburden.core.tables import INSERTED, INSERTION, LABELS, MANIFEST, RENDERERS, REVIEWED, SCANS
from cmburden.images.prepared import checksums
from cmburden.insert import hits, lesions, pictures, transplant, way
from cmburden.insert.copies import LeftOut
from cmburden.insert.estimates import estimates
from cmburden.insert.ground import Acquisition
from cmburden.insert.lesions import Drawn, Wish
from cmburden.insert.places import Avoided
from cmburden.insert.transplant import Donor
from cmburden.insert.way import Copy

#: Raise the version when other lesions are inserted, or hits are counted otherwise.
VERSION = 1
_LOG = logging.getLogger(__name__)
_AT = ["x_mm", "y_mm", "z_mm"]
#: Columns of the manifest whose strata take turns.
_STRATA = ("contrast", "cohort", "manufacturer", "scanner_model")
#: Columns of the manifest that `inserted` has too.
_FACTS = ("manufacturer", "scanner_model", "echo_time_s", "field_strength_t")


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A scan that is to get lesions, with all that its copy depends on but the images.

    ``facts`` are columns of `inserted`; ``before`` the candidates of the run. ``key`` is that of
    all that the copy's record is made from.
    """

    scan: Scan
    acquisition: Acquisition
    facts: dict[str, Any]
    avoided: Avoided
    before: pd.DataFrame
    key: str


@dataclasses.dataclass(frozen=True, eq=False)
class Work:
    """What all copies share: the run's folder and settings, the wish, the donors.

    ``disputed`` counts places on which the readers disagree: none is a donor.
    """

    layout: Layout
    config: dict[str, Any]
    wish: Wish
    library: tuple[Donor, ...]
    confirmed: int = 0
    disputed: int = 0

    def record(self, subject: Subject) -> dict[str, Any] | None:
        """The current record of a scan's copy; None where there is none."""
        record = read_json(self.layout.inserted_record(subject.scan.scan_id))
        current = isinstance(record, dict) and record.get("key") == subject.key
        return record if current else None

    def is_done(self, subject: Subject) -> bool:
        """Whether the copy was read. A scan that was left out is tried again."""
        record = self.record(subject)
        return record is not None and record["message"] is None


# --- which scans ---


def prepare(
    layout: Layout, bids: Path, config: dict[str, Any], wish: Wish, number: int | None
) -> tuple[Work, list[Subject]]:
    """The work and the scans of a finished run; at most ``number`` scans, of all strata.

    Raises
    ------
    CMBurdenError
        Where there is no scan with a result, or no image of one.
    """
    rows = scans_read(layout)
    scans = {row["scan_id"]: scan_of(row, bids.absolute()) for row in rows}
    if not any(scan.path.exists() for scan in scans.values()):
        raise CMBurdenError(
            f"{bids}: none of the {len(scans)} scans that were read is here; lesions are inserted "
            "into copies of the images: mount the folder, or run again from where it lies now"
        )
    acquisitions = {
        row["scan_id"]: lesions.acquisition_of(scans[row["scan_id"]], row, row["slice_mm"])
        for row in rows
    }
    reviewed = REVIEWED.read(layout.table("reviewed"))
    places = transplant.confirmed(reviewed)
    library = transplant.donors(places, scans, acquisitions, layout)
    donors = [hash_of(one.participant_id, one.contrast, one.ratio.tobytes()) for one in library]
    common = hash_of(VERSION, dataclasses.asdict(wish), made_with(config), donors)
    chosen = choose(rows, number, wish.seed)
    before = candidates_of(layout, {row["scan_id"] for row in chosen})
    by_scan = dict(list(before.groupby("scan_id")))
    confirmed_at = dict(list(places.groupby("scan_id")))
    subjects = []
    for row in chosen:
        scan_id = row["scan_id"]
        candidates = by_scan.get(scan_id, before.iloc[:0]).reset_index(drop=True)
        avoided = avoided_of(candidates, confirmed_at.get(scan_id))
        scan, acquisition = scans[scan_id], acquisitions[scan_id]
        parts = [candidates.to_json(), avoided.lesions.tolist(), dataclasses.asdict(acquisition)]
        key = hash_of(common, scan.scan_id, scan.content_key, _sums(scan, layout), parts)
        subjects.append(Subject(scan, acquisition, _facts(row), avoided, candidates, key))
    disputed = int((reviewed["settled"] == "disputed").sum())
    return Work(layout, config, wish, tuple(library), len(places), disputed), subjects


def scans_read(layout: Layout) -> list[dict[str, Any]]:
    """Rows of the manifest of scans with a result, with the size of their slices."""
    manifest, scans = MANIFEST.read(layout.manifest), SCANS.read(layout.table("scans"))
    ok = scans.loc[scans["status"] == "ok", ["scan_id", "slice_mm"]]
    rows = as_records(manifest.merge(ok, on="scan_id").sort_values("scan_id"))
    if not rows:
        raise CMBurdenError(
            f"{layout.root}: no scan has a result here; run cmburden run first, and insert after it"
        )
    return rows


def choose(
    rows: Sequence[Mapping[str, Any]], number: int | None, seed: int
) -> list[Mapping[str, Any]]:
    """At most ``number`` of the manifest's ``rows``: one scan a person before a second one.

    Strata (contrast, cohort, scanner) take turns, so that a small one is not missed. The order
    depends on ids alone: more scans are the same ones and others.
    """
    of_person: dict[str, int] = defaultdict(int)
    strata: dict[tuple[str, ...], list[tuple[int, str, Mapping[str, Any]]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: hash_of(seed, row["scan_id"])):
        turn = of_person[row["participant_id"]]
        of_person[row["participant_id"]] += 1
        stratum = tuple(
            str(row[n]) for n in ("contrast", "cohort", "manufacturer", "scanner_model")
        )
        strata[stratum].append((turn, hash_of(seed, row["scan_id"]), row))
    order = []
    for members in strata.values():
        members.sort(key=lambda one: one[:2])
        order += [(turn, place, key, row) for place, (turn, key, row) in enumerate(members)]
    order.sort(key=lambda one: one[:3])
    return [row for *_, row in order[:number]]


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    named = ("scan_id", "cohort", "participant_id", "session_id", "contrast", "slice_mm")
    return {name: row[name] for name in (*named, *_FACTS)}


def _sums(scan: Scan, layout: Layout) -> list[str]:
    """Checksums of the prepared volume; none where it is damaged, as the work then says."""
    try:
        return list(checksums(scan, layout))
    except DamagedFile:
        return []


def avoided_of(candidates: pd.DataFrame, confirmed: pd.DataFrame | None) -> Avoided:
    """Places that no lesion is inserted near."""
    kept = candidates["label"].isin(LABELS)
    rejected = candidates.loc[~kept, _AT].to_numpy(dtype=float)
    lesions_at = candidates.loc[kept, _AT].to_numpy(dtype=float)
    marked = np.zeros((0, 3)) if confirmed is None else confirmed[_AT].to_numpy(dtype=float)
    return Avoided(rejected, np.concatenate([lesions_at, marked]))


# --- the work ---


def do(work: Work, subjects: Sequence[Subject], name: str) -> list[str]:
    """Insert lesions into copies of some scans, read the copies and write the scans' records.

    ``name`` is that of the folder of the copies, which is removed afterwards. Returns a line for
    each scan.
    """
    folder = work.layout.copies / name
    shutil.rmtree(folder, ignore_errors=True)
    try:
        return _do(work, subjects, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _do(work: Work, subjects: Sequence[Subject], folder: Path) -> list[str]:
    here = Layout(folder / "derivatives")
    drawn: dict[str, Drawn] = {}
    copies: list[Copy] = []
    lines = []
    for subject in subjects:
        scan = subject.scan
        target = folder / "images" / f"{scan.scan_id}.nii"
        try:
            way.require_results(scan, work.layout)
            drawn[scan.scan_id] = lesions.insert(
                scan,
                subject.acquisition,
                subject.avoided,
                work.library,
                work.layout,
                work.wish,
                target,
            )
        except (ScanError, LeftOut) as error:
            lines.append(_left_out(work, subject, str(error)))
            continue
        except DamagedFile as error:
            said = (
                f"A file of the run cannot be read ({error.fault}); cmburden retry makes it anew."
            )
            lines.append(_left_out(work, subject, said))
            continue
        copies.append(Copy(scan, target))
    if not copies:
        return lines
    now, failed = way.candidates_of(copies, here, work.layout, work.config)
    for subject in subjects:
        scan_id = subject.scan.scan_id
        if scan_id in failed:
            outcome = failed[scan_id]
            said = f"The copy was {outcome.status} at {outcome.stage}: {outcome.message}"
            lines.append(_left_out(work, subject, said))
        elif scan_id in drawn:
            candidates = now[now["scan_id"] == scan_id].reset_index(drop=True)
            lines.append(_read(work, subject, drawn[scan_id], candidates))
    return lines


def _left_out(work: Work, subject: Subject, message: str) -> str:
    scan_id = subject.scan.scan_id
    record = {"key": subject.key, "scan_id": scan_id, "message": message, "rows": []}
    write_json(work.layout.inserted_record(scan_id), record)
    return f"{scan_id}: left out. {message}"


def _read(
    work: Work,
    subject: Subject,
    drawn: Drawn,
    now: pd.DataFrame,
) -> str:
    """Write the pictures and the record of a copy that was read; returns its line."""
    counted = hits.with_hits(drawn.rows, now, subject.before)
    record = {
        "key": subject.key,
        "scan_id": subject.scan.scan_id,
        "message": None,
        "closed": round(drawn.closed, 4),
        "steady": hits.steadiness(drawn.rows, now, subject.before),
        "rows": [subject.facts | row for row in counted],
    }
    scan_id = subject.scan.scan_id
    write_arrays(work.layout.inserted_pictures(scan_id), pictures=drawn.pictures)
    write_json(work.layout.inserted_record(scan_id), record)
    seen = [row for row in counted if row["visible"] and not row["before"]]
    hit = sum(row["label"] == LABELS[0] for row in seen)
    hidden = len(counted) - len(seen)
    said = f"{hit} of {len(seen)} visible ones detected"
    return f"{scan_id}: {len(counted)} inserted, {said}" + (
        f", {hidden} below visibility" if hidden else ""
    )


# --- what is written of all ---


def write(work: Work, subjects: Sequence[Subject]) -> dict[str, Any]:
    """Write the tables of all ``subjects`` and what is to be said of them; returns the latter."""
    layout = work.layout
    records = [record for one in subjects if (record := work.record(one)) is not None]
    rows = INSERTED.frame([row for record in records for row in record["rows"]])
    about = _about(work, records, rows)
    INSERTED.write(layout.inserted_table("inserted"), rows)
    INSERTION.write(layout.inserted_table("insertion"), estimates(rows))
    for table in (INSERTED, INSERTION):
        write_json(layout.inserted_table(table.name, "json"), table.sidecar())
    _write_examples(layout, rows)
    write_json(layout.insertion, about)
    return about


def _write_examples(layout: Layout, rows: pd.DataFrame) -> None:
    """Write a picture of the first visible lesions of each renderer, one of a scan."""
    shown: dict[str, list[np.ndarray]] = {name: [] for name in RENDERERS}
    seen = rows[rows["visible"].astype(bool)].drop_duplicates(["scan_id", "renderer"])
    for row in seen.itertuples():
        if len(shown[row.renderer]) < pictures.MOST:
            stored = read_arrays(layout.inserted_pictures(row.scan_id)) or {}
            greys = stored.get("pictures")
            if greys is not None and len(greys) >= row.number:
                shown[row.renderer].append(greys[row.number - 1])
    if not any(shown.values()):
        # The picture of a former insertion would be taken for one of this.
        layout.inserted_examples.unlink(missing_ok=True)
        return
    with whole_file(layout.inserted_examples) as part:
        part.write_bytes(pictures.examples(shown))


def _about(work: Work, records: Sequence[Mapping[str, Any]], rows: pd.DataFrame) -> dict[str, Any]:
    """Facts of the insertion that no row holds."""
    read = [record for record in records if record["message"] is None]
    steady = {
        name: sum(record["steady"][name] for record in read)
        for name in ("before", "again", "other")
    }
    reasons: dict[str, int] = defaultdict(int)
    for record in records:
        if record["message"] is not None:
            reasons[record["message"]] += 1
    return {
        "Description": "Sensitivity for lesions that were inserted into copies of the scans. No "
        f"lesion of this folder is in another file of the output folder. {RESEARCH_USE_ONLY}",
        "Version": VERSION,
        "MadeWith": made_with(work.config),
        "Seed": work.wish.seed,
        "LesionsOfACopy": work.wish.lesions,
        "Scans": len(read),
        "Participants": int(rows["participant_id"].nunique()),
        "Inserted": len(rows),
        "NotVisible": int((~rows["visible"].astype(bool)).sum()),
        "PhysicsAssumed": int(rows.loc[rows["assumed"].astype(bool), "scan_id"].nunique()),
        "Closed": round(float(np.mean([r["closed"] for r in read])), 4) if read else None,
        "Confirmed": work.confirmed,
        "Disputed": work.disputed,
        "Donors": len(work.library),
        "Steady": steady,
        "LeftOut": dict(sorted(reasons.items())),
    }
