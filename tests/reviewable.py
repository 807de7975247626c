"""A fabricated cohort with images, for review: a grey ball with a dark dot at each candidate."""

from __future__ import annotations

from pathlib import Path

import fabricate
import numpy as np

from cmburden import aggregate, images
from cmburden.records import seed_of
from cmburden.review.worklist import Options, Study
from cmburden.tables import SCANS

#: Holds the candidates, which lie within 60 mm of the middle on every axis.
SHAPE, SPACING = (74, 80, 38), (2.0, 2.0, 4.0)


def affine_of(shape=SHAPE, spacing=SPACING) -> np.ndarray:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) / 2 * spacing
    return affine


def cohort(tmp: Path, participants: int = 12, shape=SHAPE, spacing=SPACING) -> fabricate.Cohort:
    """Tables by aggregate, and the volumes, masks and regions that a review shows."""
    made = fabricate.cohort(tmp, participants=participants)
    aggregate.run(made.layout, made.bids_dir, made.config)
    ok = set(SCANS.read(made.layout.table("scans")).query("status == 'ok'")["scan_id"])
    of_scan: dict[str, list] = {}
    for row in made.candidates:
        of_scan.setdefault(row["scan_id"], []).append([row[f"{axis}_mm"] for axis in "xyz"])
    for row in made.scans:
        if row["scan_id"] in ok:
            scan = fabricate.scan_object(row, made.bids_dir)
            write_images(made.layout, scan, of_scan.get(row["scan_id"], []), shape, spacing)
    return made


def write_images(layout, scan, centres, shape=SHAPE, spacing=SPACING) -> None:
    random = np.random.default_rng(seed_of("reviewable", scan.scan_id))
    affine = affine_of(shape, spacing)
    grid = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij", sparse=True)
    mm = [axis * spacing[k] + affine[k, 3] for k, axis in enumerate(grid)]
    inside = sum((m / half) ** 2 for m, half in zip(mm, (70, 76, 70), strict=True)) < 1
    data = np.where(inside, 1.0, 0.03).astype(np.float32)
    data += random.normal(0, 0.03, shape).astype(np.float32)
    for at in centres:
        far = sum((m - a) ** 2 for m, a in zip(mm, at, strict=True))
        data *= 1 - 0.8 * np.exp(-far / (2 * 2.5**2)).astype(np.float32)
    images.save_volume(layout.preproc(scan), np.clip(data, 0, None), affine, np.float32)
    images.save_volume(layout.brain_mask(scan), inside, affine, np.uint8)
    regions = np.where(inside, np.where(mm[0] > 0, 109, 9), 0)  # frontal, by side
    images.save_volume(layout.regions(scan), regions, affine, np.uint16)


def study(made: fabricate.Cohort) -> Study:
    return Study.read(made.layout)


BLIND = Options(blind=True)
