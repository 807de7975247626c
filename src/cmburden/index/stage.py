"""index: from a BIDS tree to one row a scan, and one row for each image that is none.

The tree is listed once by bids2table; content is hashed with a cache keyed by size and mtime, so
that a second look at an unchanged cohort costs no reading.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from cmburden.core import config as configuration
from cmburden.core import stages
from cmburden.core.errors import REASONS, CMBurdenError
from cmburden.core.files import sha256_of_file, whole_file
from cmburden.core.keys import bucket_of, hash_of
from cmburden.core.manifest import read_scans
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.core.stages import SCAN_STAGES
from cmburden.core.tables import MANIFEST, REJECTED
from cmburden.images import annex
from cmburden.index.choose import (
    _check_labels,
    _choose,
    _cohort,
    _filters,
    _grouped,
    _labels,
    _nearest_session,
    _passes,
)
from cmburden.index.tree import _FIELDS, _dataset_name, _list, _number

STAGE, VERSION = stages.INDEX.name, stages.INDEX.version


def run(bids_dir: Path, layout: Layout, config: dict) -> list[Scan]:
    """Index ``bids_dir``; write manifest and rejected table where their content changed.

    Raises
    ------
    CMBurdenError
        Folder missing or not BIDS, unknown labels, or no scan that matches.
    """
    from tqdm import tqdm

    bids_dir = Path(bids_dir).absolute()
    settings = config["index"]
    images = _list(bids_dir, settings["skip_bids_validation"])
    _check_labels(images, config)
    cohorts = configuration.cohorts(config)
    name = _dataset_name(bids_dir)
    filters = _filters(config)
    rows, rejected = [], []
    cache = _Cache(layout.index_cache)

    def reject(image: dict, reason: str, found: str) -> None:
        rejected.append(
            {
                "path": image["path"],
                "participant_id": "sub-" + image["sub"],
                "session_id": "ses-" + image["ses"] if image["ses"] else None,
                "reason": reason,
                "message": f"{found} To do: {REASONS[reason]}.",
                "cohort": _cohort(image["sub"], cohorts, name),
            }
        )

    wanted = _labels(config, "participant_label"), _labels(config, "session_label")
    # The first look at thousands of scans reads them all; nothing is shown but on a terminal.
    for subject, own in tqdm(
        _grouped(images, "sub"), "indexing", unit=" participants", disable=None, delay=3,
        leave=False,
    ):  # fmt: skip
        if wanted[0] and subject not in wanted[0]:
            continue
        chosen = _choose(own, settings, filters, wanted[1], reject, bids_dir)
        t1w = [i for i in own if i["suffix"] == "T1w" and i["part"] in (None, "mag")]
        t1w = [i for i in t1w if _passes(i, filters.get("t1w", {}))]
        kept = 0
        for image in chosen:
            anatomical = _nearest_session(t1w, image)
            if settings["require_t1w"] and anatomical is None:
                reject(image, "filtered", "The participant has no T1w and index.require_t1w is on.")
                continue
            kept += 1
            rows.append(
                _row(image, anatomical, own, bids_dir, layout, config, cohorts, name, cache)
            )
        if not kept:
            folder = {"path": f"sub-{subject}", "sub": subject, "ses": None}
            seen = sorted({i["suffix"] for i in own})
            reject(folder, "no_scan", f"No usable GRE or SWI scan; the images are {seen}.")
    if not rows:
        seen = sorted({i["suffix"] for i in images})
        raise CMBurdenError(
            f"{bids_dir}: no scan matches index.suffixes {sorted(settings['suffixes'])} and the "
            f"filters; the tree's images are {seen or 'none'}"
        )
    cache.save()
    # Suffixes differ but name and entities are the same: the first row is kept.
    rows = _without_duplicates(rows, rejected)
    _write_if_changed(MANIFEST, layout.manifest, rows)
    _write_if_changed(REJECTED, layout.rejected, rejected)
    return read_scans(layout.manifest, bids_dir)


# --- reading the tree ---


# --- choosing ---


# --- rows ---


def _row(image, t1w, own, bids_dir, layout, config, cohorts, name, cache) -> dict:
    entities = dict(image["entities"]) | {"part": "phase"}
    phase = next(
        (i for i in own if i["suffix"] == image["suffix"] and dict(i["entities"]) == entities), None
    )
    sidecar = image["sidecar"]
    warning = None if sidecar else "No sidecar: echo time and field strength are unknown."
    echo = _number(sidecar.get("EchoTime"))
    if echo is not None and echo > 1:
        # Some converters write milliseconds; BIDS says seconds.
        echo, warning = echo / 1000, "EchoTime above 1 s was taken as milliseconds."

    def digest(file: dict) -> str:
        path = bids_dir / file["path"]
        return cache.digest(path, lambda: _was_read(layout, image["stem"]))

    key = hash_of(
        digest(image), {k: sidecar.get(k) for k in _FIELDS[:3]}, digest(t1w) if t1w else None
    )
    return {
        "scan_id": image["stem"],
        "cohort": _cohort(image["sub"], cohorts, name),
        "participant_id": "sub-" + image["sub"],
        "session_id": "ses-" + image["ses"] if image["ses"] else None,
        "suffix": image["suffix"],
        "contrast": config["index"]["suffixes"][image["suffix"]],
        "path": image["path"],
        "entities": json.dumps(image["entities"]),
        "t1w_path": t1w["path"] if t1w else None,
        "phase_path": phase["path"] if phase else None,
        "echo_time_s": echo,
        "field_strength_t": _number(sidecar.get("MagneticFieldStrength")),
        "manufacturer": str(sidecar["Manufacturer"]) if "Manufacturer" in sidecar else None,
        "bucket": bucket_of(image["stem"], config["buckets"]),
        "content_key": key,
        "warning": warning,
    }


def _was_read(layout: Layout, scan_id: str) -> bool:
    try:
        return Outcome.read(layout.record(SCAN_STAGES[0], scan_id)).ok
    except (OSError, ValueError, TypeError):
        return False


def _without_duplicates(rows: list[dict], rejected: list[dict]) -> list[dict]:
    kept: dict[str, dict] = {}
    for row in sorted(rows, key=lambda r: (r["scan_id"], r["path"])):
        first = kept.setdefault(row["scan_id"], row)
        if first is not row:
            rejected.append(
                {k: row[k] for k in ("path", "participant_id", "session_id", "cohort")}
                | {
                    "reason": "duplicate",
                    "message": f"Same name as {first['path']}. To do: {REASONS['duplicate']}.",
                }
            )
    return list(kept.values())


class _Cache:
    """What a file holds: its sha256, kept while size and mtime stay, or git-annex's key of it."""

    def __init__(self, path: Path):
        self.path = path
        self.known: dict[str, tuple] = {}
        self.used: dict[str, tuple] = {}
        if path.exists():
            for row in pq.read_table(path, partitioning=None).to_pylist():
                self.known[row["path"]] = (row["size"], row["mtime_ns"], row["sha256"])

    def digest(self, path: Path, was_read: Callable[[], bool]) -> str:
        """Digest of a file's bytes; of an annexed file (DataLad) git-annex's key, which says the
        same without reading.

        A file whose content is not here has another digest, so that it is read once it has come;
        but one that ``was_read`` keeps its own: content may be dropped when a scan is done.
        """
        key = annex.key_of(path)
        try:
            stat = path.stat()
        except OSError:
            return f"annex:{key}" if key and was_read() else f"absent:{key or ''}"
        if key:
            return f"annex:{key}"
        name, state = str(path), (stat.st_size, stat.st_mtime_ns)
        known = self.known.get(name)
        digest = known[2] if known and known[:2] == state else sha256_of_file(path)
        self.used[name] = (*state, digest)
        return digest

    def save(self) -> None:
        rows = [(path, *values) for path, values in sorted(self.used.items())]
        with whole_file(self.path) as temporary:
            pd.DataFrame(rows, columns=["path", "size", "mtime_ns", "sha256"]).to_parquet(temporary)


def _write_if_changed(table, path: Path, rows: list[dict]) -> None:
    """Write only other content: an untouched manifest makes nothing run again."""
    if path.exists():
        try:
            if pq.read_table(path, partitioning=None).equals(table.arrow(rows)):
                return
        except (OSError, ValueError):
            pass
    table.write(path, rows)
