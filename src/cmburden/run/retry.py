"""`cmburden retry`: forgets the results of failed scans, so that the next run repeats them.

Tables, report and pages stay until the next run replaces them.
"""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path

import pyarrow.parquet as pq

from cmburden.core import remake, tries
from cmburden.core.errors import CMBurdenError
from cmburden.core.keys import bucket_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.core.stages import BUCKET_STAGES, DETECT, LONGITUDINAL, RECORDED_STAGES
from cmburden.run import settings, status
from cmburden.run.lock import only_run

#: Scans that are listed by name; of more, the number is given.
_LISTED = 20


@dataclasses.dataclass(frozen=True)
class Row:
    """A scan of the manifest, as far as its results need it."""

    scan_id: str
    participant_id: str


def retry(layout: Layout, scan_ids: Collection[str] = (), *, dry_run: bool = False) -> int:
    """Forget ``scan_ids``, or all scans that failed or were not run to the end; the exit code.

    With ``dry_run`` nothing is removed.
    """
    status.expected(layout)
    with only_run(layout):
        known = {row.scan_id: row for row in _scans(layout)}
        chosen = _checked(layout, scan_ids, known) or _to_repeat(layout, known)
        for line in _lines(chosen, dry_run=dry_run):
            print(line)
        if chosen and not dry_run:
            for scan_id in chosen:
                _forget(layout, scan_id)
            tries.forget_all(layout)
            _forget_jobs(layout, [known[scan_id] for scan_id in chosen])
    if chosen:
        bids = settings.of_tables(layout)["bids_dir"] or "BIDS_DIR"
        print(f"{'Then' if dry_run else 'Now'}: cmburden run {bids} {layout.root} participant")
    return 0


def _scans(layout: Layout) -> list[Row]:
    """Scans of the manifests: of the tables, and of a part that was run since."""
    rows = []
    for path in (layout.manifest, layout.part, layout.beside):
        if path.exists():
            table = pq.read_table(path, columns=["scan_id", "participant_id"], partitioning=None)
            rows += [Row(**row) for row in table.to_pylist()]
    return rows


def _checked(layout: Layout, scan_ids: Collection[str], known: Collection[str]) -> dict[str, str]:
    """``scan_ids`` with their fate; CMBurdenError if one is no scan of the manifest."""
    unknown = sorted(set(scan_ids) - set(known))
    if unknown:
        raise CMBurdenError(
            f"{', '.join(unknown)}: no such scan in {layout.root}; the column scan_id of "
            f"{layout.table('scans')} names all"
        )
    return {scan_id: _as_text(status.fate(layout, scan_id)) for scan_id in sorted(scan_ids)}


def _to_repeat(layout: Layout, known: Iterable[str]) -> dict[str, str]:
    """Scans that failed, and scans without a readable result, with their fate.

    A scan that no stage has touched is none of them: the next run takes it up by itself.
    """
    chosen = {}
    for scan_id in sorted(known):
        fate = status.fate(layout, scan_id)
        if fate[0] == "failed" and _touched(layout, scan_id):
            chosen[scan_id] = _as_text(fate)
    return chosen


def _touched(layout: Layout, scan_id: str) -> bool:
    """Whether a stage has left something that could keep the next run from the scan."""
    bucket = bucket_of(scan_id, settings.of_tables(layout)["buckets"])
    return any(layout.record(stage, scan_id).exists() for stage in RECORDED_STAGES) or any(
        layout.bucket(stage, bucket).exists() for stage in BUCKET_STAGES
    )


def _as_text(fate: tuple[str, str]) -> str:
    return " ".join(part for part in fate if part)


def _lines(chosen: dict[str, str], *, dry_run: bool) -> list[str]:
    """What is said about the scans."""
    if not chosen:
        return ["no scan has failed: nothing to run again"]
    verb = "would run again" if dry_run else "will run again"
    lines = [f"{scan_id}: {verb} ({fate})" for scan_id, fate in list(chosen.items())[:_LISTED]]
    if len(chosen) > _LISTED:
        lines.append(f"and {len(chosen) - _LISTED} more")
    return [*lines, "tables and report stay as they are until the next run replaces them"]


def _forget(layout: Layout, scan_id: str) -> None:
    """Remove the scan's records, and cached results of it that cannot be read."""
    try:
        key = Outcome.read(layout.record(DETECT.name, scan_id)).measures.get("cache_key")
    except (OSError, ValueError, TypeError, AttributeError):
        key = None
    if key:
        for path in (layout.cached(DETECT.name, key), layout.cached(DETECT.name, key, "npz")):
            if path.exists() and not _readable(path):
                path.unlink()
    for stage in RECORDED_STAGES:
        layout.record(stage, scan_id).unlink(missing_ok=True)


def _readable(path: Path) -> bool:
    """Whether a cached file can be read to its end."""
    try:
        if path.suffix == ".parquet":
            pq.read_table(path, partitioning=None)
            return True
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # zipfile, zlib and Arrow raise many kinds for a damaged file
        return False


def _forget_jobs(layout: Layout, scans: Collection[Row]) -> None:
    """Remove shards and marks of batches that hold the scans, and marks of the last run's end.

    Snakemake makes a missing intermediate file again if the last file of the chain is missing too.
    The records and the cache have the results of the other scans.
    """
    remake.forget_batches(layout, {scan.scan_id for scan in scans})
    buckets = settings.of_tables(layout)["buckets"]
    for number in {bucket_of(scan.scan_id, buckets) for scan in scans}:
        for stage in BUCKET_STAGES:
            layout.bucket(stage, number).unlink(missing_ok=True)
    for number in {bucket_of(scan.participant_id, buckets) for scan in scans}:
        for path in (layout.bucket(LONGITUDINAL.name, number), layout.followed(number)):
            path.unlink(missing_ok=True)
    for path in (layout.aggregated, layout.checked):
        path.unlink(missing_ok=True)
