"""Stage index: from a BIDS tree to a row for each scan, and a row for each other image.

Each image and each participant's folder of the tree is in one of the two tables. The stage reads
the records of preprocess. The content of an annexed scan may have been dropped after preprocess
read the scan. Such a scan keeps its content key and does not run again.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cmburden.core import config as configuration
from cmburden.core import stages
from cmburden.core.errors import CMBurdenError, with_advice
from cmburden.core.keys import bucket_of, hash_of
from cmburden.core.manifest import read_scans, scan_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.core.schema import Table
from cmburden.core.tables import MANIFEST, REJECTED
from cmburden.index import choose, kinds, unchanged, values
from cmburden.index.choose import ChosenScan, Rules
from cmburden.index.digests import Digests
from cmburden.index.filters import check_labels, labels_of
from cmburden.index.names import BidsFile, Rejection
from cmburden.index.protocol import protocol_of
from cmburden.index.sidecars import Sidecars
from cmburden.index.tree import (
    BidsTree,
    Participant,
    dataset_name,
    participant_of,
    read_tree,
    suffixes_of,
)

#: Fields of sidecars that are a part of the content key.
_KEY_FIELDS = ("EchoTime", "MagneticFieldStrength", "Manufacturer")
#: Seconds before a progress bar is shown.
_BAR_DELAY_S = 3

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Study:
    """Facts about the tree and the configuration that the rows depend on.

    ``cohorts`` are the contents of the cohort files. Without such a file all scans are of the
    cohort ``name``.
    """

    bids_dir: Path
    layout: Layout
    config: dict[str, Any]
    rules: Rules
    name: str
    cohorts: Sequence[dict[str, Any]]
    digests: Digests
    sidecars: Sidecars

    def cohort(self, label: str) -> str:
        """Cohort of a participant label: the first whose pattern matches, else ``unassigned``."""
        if not self.cohorts:
            return self.name
        matches = (c["name"] for c in self.cohorts if re.search(c["participant_pattern"], label))
        return next(matches, "unassigned")

    def digest(self, file: BidsFile, scan_id: str) -> str:
        """Digest of a file of the scan ``scan_id``; OSError where it cannot be read."""
        path = self.bids_dir / file.path
        return self.digests.digest(path, lambda: _was_preprocessed(self.layout, scan_id))


def run(bids_dir: Path, layout: Layout, config: dict[str, Any]) -> list[Scan]:
    """Index ``bids_dir``; write manifest and rejected table if their content changed.

    Raises
    ------
    CMBurdenError
        If the folder is missing or not BIDS, a label is unknown, or no scan matches.
    """
    bids_dir = Path(bids_dir).absolute()
    rules, name, cohorts = Rules.of(config), dataset_name(bids_dir), configuration.cohorts(config)
    # Before anything is read: what changes meanwhile is seen by the next run.
    key = unchanged.key_of(bids_dir, config, rules, name, cohorts, layout.manifest.name)
    if key is not None and unchanged.stands(layout, key):
        return read_scans(layout.manifest, bids_dir)
    tree = read_tree(bids_dir, config["index"]["skip_bids_validation"])
    labels = [participant.label for participant in tree.participants]
    sessions = {session for image in tree.images if (session := image.session)}
    check_labels(labels, sessions, config)
    study = Study(
        bids_dir,
        layout,
        config,
        rules,
        name,
        cohorts,
        Digests(layout.index_cache),
        Sidecars(bids_dir, tree.sidecars),
    )
    wanted = labels_of(config, "participant_label")
    participants = [p for p in tree.participants if not wanted or p.label in wanted]
    rows, rejected = _rows(participants, study)
    if not wanted:
        rejected += [_rejected_row(r, participant_of(r), study) for r in tree.rejected]
    if not rows:
        raise CMBurdenError(_nothing(bids_dir, study.rules, tree, rejected))
    study.digests.save()
    _write_if_changed(MANIFEST, layout.manifest, rows)
    _write_if_changed(REJECTED, layout.rejected, rejected)
    if key is not None:
        unchanged.remember(layout, key, rows, rejected)
    return read_scans(layout.manifest, bids_dir)


def possible_scans(bids_dir: Path, config: dict[str, Any]) -> list[tuple[str, str]]:
    """Participant and suffix of each possible scan by the names of images; no sidecar is read.

    Raises
    ------
    CMBurdenError
        As ``run``.
    """
    bids_dir = Path(bids_dir).absolute()
    tree = read_tree(bids_dir, config["index"]["skip_bids_validation"])
    rules = Rules.of(config)
    scans = choose.possible_scans(tree.images, rules)
    if not scans:
        raise CMBurdenError(_nothing(bids_dir, rules, tree, []))
    return [(image.folder, image.suffix) for image in scans]


def _rows(participants: Sequence[Participant], study: Study) -> tuple[list[Row], list[Row]]:
    """Rows of both tables. Each participant has a scan, or a row that says why there is none."""
    from tqdm import tqdm

    rows: dict[str, Row] = {}
    outputs: dict[tuple[str, ...], str] = {}
    rejected: list[Row] = []
    # The first run reads all files of a cohort. The bar is shown on a terminal only.
    for participant in tqdm(
        participants,
        "indexing",
        unit=" participants",
        disable=None,
        delay=_BAR_DELAY_S,
        leave=False,
    ):
        scans, rejections = _choose(participant, study)
        some = False
        for scan in sorted(scans, key=lambda scan: study.rules.preference(scan.image)):
            row = _row(scan, participant, study)
            clash = row if isinstance(row, Rejection) else _clash(row, outputs, study)
            if clash is not None:
                rejections.append(clash)
            elif not isinstance(row, Rejection):
                rows[row["scan_id"]], some = row, True
        if not some and not any(r.path == participant.folder for r in rejections):
            rejections.append(_no_scan(participant, rejections))
        rejected += [_rejected_row(r, participant.folder, study) for r in rejections]
    return list(rows.values()), rejected


def _choose(participant: Participant, study: Study) -> tuple[list[ChosenScan], list[Rejection]]:
    scans, rejections = choose.choose(
        participant.images,
        study.rules,
        lambda image: study.sidecars.of(image, participant.sidecars),
    )
    return scans, [*participant.rejected, *rejections]


def _clash(row: Row, outputs: dict[tuple[str, ...], str], study: Study) -> Rejection | None:
    """The rejection of a scan whose results would have the names of another scan's.

    ``outputs`` (parts of the name -> path of the image) gets the names of a scan without a clash.
    """
    scan = scan_of(row, study.bids_dir)
    folders = (scan.participant_id, scan.session_id or "")
    names = ((*folders, study.layout.stem(scan)), (scan.scan_id,))
    other = next((outputs[name] for name in names if name in outputs), None)
    if other is None:
        outputs |= {name: str(row["path"]) for name in names}
        return None
    fact = f"Its results would have the names of those of {other}."
    session = row["session_id"] and row["session_id"].removeprefix("ses-")
    return Rejection(row["path"], "duplicate", fact, session)


def _row(scan: ChosenScan, participant: Participant, study: Study) -> Row | Rejection:
    """Row of the manifest, or why the image cannot be read."""
    image, fields = scan.image, scan.sidecar.fields
    try:
        digest = study.digest(image, image.scan_id)
    except OSError as error:
        fact = f"It cannot be read ({error.strerror or error})."
        return choose.rejection_of(image, "no_access", fact)
    t1w, t1w_digest, t1w_note = _t1w_of(scan, study)
    seconds, echo_note = values.echo_time(fields.get("EchoTime"))
    tesla, field_note = values.field_strength(fields.get("MagneticFieldStrength"))
    maker, maker_note = values.text("Manufacturer", fields.get("Manufacturer"))
    contrast, contrast_note = kinds.contrast_of(image, fields, study.rules.suffixes[image.suffix])
    protocol, protocol_notes = protocol_of(image, fields, contrast)
    phase, phase_digest, phase_note = _phase_of(image, participant.images, study)
    stripped, stripped_note = values.yes_or_no("SkullStripped", fields.get("SkullStripped"))
    notes = [
        _missing(scan, echo_note, field_note),
        *scan.sidecar.notes,
        echo_note,
        field_note,
        maker_note,
        *protocol_notes,
        stripped_note,
        kinds.contradiction(image, fields),
        contrast_note,
        *image.notes,
        t1w_note,
        phase_note,
    ]
    return {
        "scan_id": image.scan_id,
        "cohort": study.cohort(participant.label),
        "participant_id": participant.folder,
        "session_id": f"ses-{image.session}" if image.session else None,
        "suffix": image.suffix,
        "contrast": contrast,
        "path": image.path,
        "entities": json.dumps(image.entities),
        "t1w_path": t1w.path if t1w else None,
        "phase_path": phase.path if phase else None,
        "echo_time_s": seconds,
        "field_strength_t": tesla,
        "manufacturer": maker,
        **protocol,
        "skull_stripped": stripped,
        "bucket": bucket_of(image.scan_id, study.config["buckets"]),
        "content_key": hash_of(
            digest, {key: _plain(fields.get(key)) for key in _key_fields(stripped)}, t1w_digest
        ),
        "phase_key": phase_digest,
        "warning": " ".join(note for note in notes if note) or None,
    }


def _key_fields(stripped: bool | None) -> tuple[str, ...]:
    """Fields of a scan's content key. Scans that are not stated to be stripped keep older keys."""
    return (*_KEY_FIELDS, "SkullStripped") if stripped else _KEY_FIELDS


def _missing(scan: ChosenScan, *explained: str | None) -> str | None:
    """A remark on values that no sidecar gives. ``explained``: remarks on unusable values."""
    if not scan.sidecar.exists:
        return "No sidecar: echo time and field strength are unknown."
    if scan.sidecar.notes and not scan.sidecar.fields:
        return "Echo time and field strength are unknown."
    missing = [
        key for key in ("EchoTime", "MagneticFieldStrength") if key not in scan.sidecar.fields
    ]
    return f"Its sidecar gives no {' and no '.join(missing)}." if missing else None


def _t1w_of(scan: ChosenScan, study: Study) -> tuple[BidsFile | None, str | None, str | None]:
    """The T1w of a scan if it can be read, its digest, and a remark if it cannot."""
    if scan.t1w is None:
        return None, None, None
    try:
        return scan.t1w, study.digest(scan.t1w, scan.image.scan_id), None
    except OSError as error:
        return None, None, f"Its T1w cannot be read ({error.strerror or error})."


def _plain(value: Any) -> Any:
    """A value of a sidecar as the content key takes it: what is no scalar, as text."""
    return value if value is None or isinstance(value, (str, int, float)) else str(type(value))


def _phase_of(
    image: BidsFile, of_participant: Iterable[BidsFile], study: Study
) -> tuple[BidsFile | None, str | None, str | None]:
    """The phase image of the same name, with ``part-phase``, its digest, and a remark.

    The remark is on an image that cannot be read, of which there is no other word.
    """
    entities = dict(image.entities) | {"part": "phase"}
    same = (i for i in of_participant if i.suffix == image.suffix and dict(i.entities) == entities)
    phase = next(same, None)
    if phase is None:
        return None, None, None
    try:
        return phase, study.digest(phase, image.scan_id), None
    except OSError as error:
        return None, None, f"Its phase image cannot be read ({error.strerror or error})."


def _no_scan(participant: Participant, rejections: Iterable[Rejection]) -> Rejection:
    """The rejection of a participant without a scan: what the folder holds."""
    reasons = Counter(rejection.reason for rejection in rejections)
    seen = [f"{number} {reason}" for reason, number in sorted(reasons.items())]
    if participant.images:
        fact = f"No usable GRE or SWI scan; the images are {suffixes_of(participant.images)}"
    elif seen:
        fact = "No usable GRE or SWI scan"
    elif participant.other_files or participant.sidecars:
        fact = "The folder holds no image, only other files"
    else:
        fact = "The folder is empty"
    listed = f" (rejected: {', '.join(seen)})" if seen else ""
    return Rejection(participant.folder, "no_scan", f"{fact}{listed}.")


def _nothing(bids_dir: Path, rules: Rules, tree: BidsTree, rejected: Iterable[Row]) -> str:
    """The sentence on a tree without a scan."""
    reasons = Counter(row["reason"] for row in rejected)
    counts = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
    return (
        f"{bids_dir}: no scan matches index.suffixes {sorted(rules.suffixes)} and the "
        f"filters; the tree's images are {suffixes_of(tree.images) or 'none'}"
        + (f"; rejected: {counts}" if counts else "")
    )


def _rejected_row(rejection: Rejection, participant_id: str | None, study: Study) -> Row:
    """Row of the rejected table."""
    label = participant_id.removeprefix("sub-") if participant_id else None
    folders = rejection.path.split("/")[1:]
    session = rejection.session and f"ses-{rejection.session}"
    return {
        "path": rejection.path,
        "participant_id": participant_id,
        "session_id": session or next((f for f in folders if f.startswith("ses-")), None),
        "reason": rejection.reason,
        "message": with_advice(rejection.reason, rejection.fact),
        "cohort": study.cohort(label) if label else None,
    }


def _was_preprocessed(layout: Layout, scan_id: str) -> bool:
    try:
        return Outcome.read(layout.record(stages.PREPROCESS.name, scan_id)).ok
    except (OSError, ValueError, TypeError):
        return False


def _write_if_changed(table: Table, path: Path, rows: list[Row]) -> None:
    """Write the table only if its content changed: no job runs again for the same manifest."""
    if path.exists():
        try:
            if pq.read_table(path, partitioning=None).equals(table.arrow(rows)):
                return
        except (OSError, ValueError):
            pass
    table.write(path, rows)
