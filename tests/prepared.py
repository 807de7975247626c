"""A cohort whose preprocess and register are done: what is left is inference and tables.

Volumes are small and hold dark spots in noise, so that the networks work for a second or so a
scan; nothing here is a brain.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from cmburden.core import carry_out, config
from cmburden.core.carry_out import Job
from cmburden.core.files import sha256_of_file, write_json
from cmburden.core.keys import batch_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.core.stages import SCAN_STAGES, version_of
from cmburden.images import volume as images
from cmburden.index import stage as index
from cmburden.space.transform import Transform, save_transform

SHAPE, ZOOMS = (112, 128, 28), (1.0, 1.0, 3.0)


def write(bids: Path, layout: Layout, scans: int = 6) -> list[Scan]:
    """BIDS tree of ``scans`` images that nobody reads again, and the results of two stages."""
    for number in range(1, scans + 1):
        path = bids / f"sub-{number:02d}" / "anat" / f"sub-{number:02d}_T2starw.nii.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(f"scan {number}".encode())
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text('{"EchoTime": 0.02}')
    (bids / "dataset_description.json").write_text('{"Name": "ready", "BIDSVersion": "1.10.0"}')
    found = index.run(bids, layout, config.load({}))
    add_results(layout, found)
    return found


def add_results(layout: Layout, scans: list[Scan]) -> None:
    """What preprocess and register would leave of ``scans``."""
    for number, scan in enumerate(scans):
        volume, mask, affine = _volume(number)
        images.save_volume(layout.preproc(scan), volume, affine, np.float32)
        images.save_volume(layout.brain_mask(scan), mask, affine, np.uint8)
        images.save_volume(layout.regions(scan), mask * np.int16(9), affine, np.int16)
        save_transform(layout, scan, Transform(np.eye(3), np.zeros(3)))
        for stage in SCAN_STAGES:
            add_record(layout, scan, stage)


def add_record(
    layout: Layout, scan: Scan, stage: str, settings: dict[str, Any] | None = None
) -> None:
    """The record that preprocess or register would leave of a scan that is ok."""
    chosen = (settings or config.defaults())[stage]
    job = Job(stage, version_of(stage), layout, chosen)
    keys = carry_out.made_from(job, scan)
    job.record(Outcome(stage, scan.scan_id, "ok", seconds=1.0, made_from=keys))


def add_marks(layout: Layout, scans: list[Scan], buckets: int, batches: int = 1) -> None:
    """The marks of the batches of ``scans``: no job of preprocess or register runs."""
    for stage in SCAN_STAGES:
        held: dict[str, dict[str, str]] = defaultdict(dict)
        for scan in scans:
            checksum = sha256_of_file(layout.record(stage, scan.scan_id))
            held[batch_of(scan.scan_id, buckets, batches)][scan.scan_id] = checksum
        for name, records in held.items():
            write_json(layout.batch(stage, name), records)


def _volume(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(number)
    affine = np.diag([*ZOOMS, 1.0])
    affine[:3, 3] = -np.array(SHAPE) * ZOOMS / 2
    points = nib.affines.apply_affine(affine, np.moveaxis(np.indices(SHAPE), 0, -1))
    mask = np.linalg.norm(points / (50.0, 58.0, 38.0), axis=-1) < 1
    volume = np.where(mask, 1.0, 0.05) + rng.normal(0, 0.03, SHAPE)
    for centre in rng.uniform(-25, 25, (12, 3)):
        volume[np.linalg.norm(points - centre, axis=-1) < 2.5] = 0.2
    return volume.astype(np.float32), mask.astype(np.uint8), affine
