"""Stage index: from a BIDS tree to a row for each scan, and a row for each rejected image.

The stage reads the records of preprocess. The content of an annexed scan may have been dropped
after preprocess read the scan. Such a scan keeps its content key and does not run again.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cmburden.core import config as configuration
from cmburden.core import stages
from cmburden.core.errors import CMBurdenError, with_advice
from cmburden.core.keys import bucket_of, hash_of
from cmburden.core.manifest import read_scans
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.core.schema import Table
from cmburden.core.tables import MANIFEST, REJECTED
from cmburden.index.choose import ChosenScan, Rejection, Rules, check_labels, choose, labels_of
from cmburden.index.digests import Digests
from cmburden.index.tree import (
    SIDECAR_FIELDS,
    BidsFile,
    by_subject,
    dataset_name,
    images_of,
    number,
    sidecar_of,
    suffixes_of,
)

#: An echo time above this, s, is taken as milliseconds: some converters write milliseconds.
LONGEST_ECHO_S = 1.0
#: Seconds before a progress bar is shown.
_BAR_DELAY_S = 3

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Tree:
    """Facts about the tree and the configuration that the rows depend on.

    ``cohorts`` are the contents of the cohort files. Without such a file all scans are of the
    cohort ``name``.
    """

    bids_dir: Path
    layout: Layout
    config: dict[str, Any]
    name: str
    cohorts: Sequence[dict[str, Any]]
    digests: Digests

    def cohort(self, label: str) -> str:
        """Cohort of a participant label: the first whose pattern matches, else ``unassigned``."""
        if not self.cohorts:
            return self.name
        matches = (c["name"] for c in self.cohorts if re.search(c["participant_pattern"], label))
        return next(matches, "unassigned")

    def digest(self, file: BidsFile, scan_id: str) -> str:
        """Digest of a file of the scan ``scan_id``."""
        path = self.bids_dir / file.path
        return self.digests.digest(path, lambda: _was_preprocessed(self.layout, scan_id))


def run(bids_dir: Path, layout: Layout, config: dict[str, Any]) -> list[Scan]:
    """Index ``bids_dir``; write manifest and rejected table if their content changed.

    Raises
    ------
    CMBurdenError
        If the folder is missing or not BIDS, a label is unknown, or no scan matches.
    """
    from tqdm import tqdm

    bids_dir = Path(bids_dir).absolute()
    images = images_of(bids_dir, config["index"]["skip_bids_validation"])
    check_labels(images, config)
    rules, participants = Rules.of(config), labels_of(config, "participant_label")
    cohorts = configuration.cohorts(config)
    name, digests = dataset_name(bids_dir), Digests(layout.index_cache)
    tree = Tree(bids_dir, layout, config, name, cohorts, digests)
    rows: list[Row] = []
    rejected: list[Row] = []
    # The first run reads all files of a cohort. The bar is shown on a terminal only.
    for subject, of_subject in tqdm(
        by_subject(images),
        "indexing",
        unit=" participants",
        disable=None,
        delay=_BAR_DELAY_S,
        leave=False,
    ):
        if participants and subject not in participants:
            continue
        scans, rejections = choose(of_subject, rules, lambda image: sidecar_of(bids_dir, image))
        rows += [_row(scan, of_subject, tree) for scan in scans]
        rejected += [_rejected_row(rejection, subject, tree) for rejection in rejections]
    if not rows:
        raise CMBurdenError(
            f"{bids_dir}: no scan matches index.suffixes {sorted(rules.suffixes)} and the "
            f"filters; the tree's images are {suffixes_of(images) or 'none'}"
        )
    digests.save()
    _write_if_changed(MANIFEST, layout.manifest, rows)
    _write_if_changed(REJECTED, layout.rejected, rejected)
    return read_scans(layout.manifest, bids_dir)


def _row(scan: ChosenScan, of_subject: Sequence[BidsFile], tree: Tree) -> Row:
    """Row of the manifest."""
    image, sidecar = scan.image, scan.sidecar
    phase = _phase_of(image, of_subject)
    warning = None if sidecar else "No sidecar: echo time and field strength are unknown."
    echo = number(sidecar.get("EchoTime"))
    if echo is not None and echo > LONGEST_ECHO_S:
        echo, warning = echo / 1000, "EchoTime above 1 s was taken as milliseconds."
    content = (
        tree.digest(image, image.stem),
        # ImageType decides between images, but changes no result.
        {key: sidecar.get(key) for key in SIDECAR_FIELDS if key != "ImageType"},
        tree.digest(scan.t1w, image.stem) if scan.t1w else None,
    )
    return {
        "scan_id": image.stem,
        "cohort": tree.cohort(image.subject),
        "participant_id": f"sub-{image.subject}",
        "session_id": f"ses-{image.session}" if image.session else None,
        "suffix": image.suffix,
        "contrast": tree.config["index"]["suffixes"][image.suffix],
        "path": image.path,
        "entities": json.dumps(image.entities),
        "t1w_path": scan.t1w.path if scan.t1w else None,
        "phase_path": phase.path if phase else None,
        "echo_time_s": echo,
        "field_strength_t": number(sidecar.get("MagneticFieldStrength")),
        "manufacturer": str(sidecar["Manufacturer"]) if "Manufacturer" in sidecar else None,
        "bucket": bucket_of(image.stem, tree.config["buckets"]),
        "content_key": hash_of(*content),
        "warning": warning,
    }


def _phase_of(image: BidsFile, of_subject: Sequence[BidsFile]) -> BidsFile | None:
    """The phase image of the same name, with ``part-phase``."""
    entities = dict(image.entities) | {"part": "phase"}
    same = (i for i in of_subject if i.suffix == image.suffix and dict(i.entities) == entities)
    return next(same, None)


def _rejected_row(rejection: Rejection, subject: str, tree: Tree) -> Row:
    """Row of the rejected table."""
    return {
        "path": rejection.path,
        "participant_id": f"sub-{subject}",
        "session_id": f"ses-{rejection.session}" if rejection.session else None,
        "reason": rejection.reason,
        "message": with_advice(rejection.reason, rejection.fact),
        "cohort": tree.cohort(subject),
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
