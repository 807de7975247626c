"""A fabricated cohort with images, for review: a grey ball with a dark dot at each candidate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import fabricate
import numpy as np

from cmburden.core.keys import seed_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.core.tables import CANDIDATES, PARTICIPANTS, SCANS, SUMMARY
from cmburden.images import volume as images

Triple = tuple[float, float, float]

#: Voxels, and mm a voxel: holds the candidates, which lie within 60 mm of the middle on every axis.
SHAPE, SPACING = (58, 64, 30), (2.5, 2.5, 5.0)
#: Definite from here on, as `fabricate` labels its candidates.
DEFINITE = 0.6


def affine_of(shape: tuple[int, int, int] = SHAPE, spacing: Triple = SPACING) -> np.ndarray:
    """Voxel to scanner RAS mm, (4, 4): the middle of the grid is the origin."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) / 2 * spacing
    return affine


def cohort(tmp: Path, participants: int = 12) -> fabricate.Cohort:
    """The files that a review reads: tables, and the volume, mask and regions of each scan."""
    made = fabricate.cohort(tmp, participants=participants)
    rows = [row for number, row in enumerate(made.scans) if number not in (3, 5)]
    SCANS.write(
        made.layout.table("scans"),
        [{k: v for k, v in row.items() if k in SCANS.names} | {"status": "ok"} for row in rows],
    )
    # The last scan of a participant is the one chosen.
    chosen = {row["participant_id"]: row for row in rows}
    PARTICIPANTS.write(
        made.layout.table("participants"),
        [
            {"participant_id": name, "scan_id": row["scan_id"], "contrast": row["contrast"]}
            | {"n_scans": 1}
            for name, row in chosen.items()
        ],
    )
    CANDIDATES.write(made.layout.candidates, made.candidates)
    write_threshold(made.layout)
    for row in rows:
        of_scan = [c for c in made.candidates if c["scan_id"] == row["scan_id"]]
        centres = [[c[f"{axis}_mm"] for axis in "xyz"] for c in of_scan]
        write_images(made.layout, fabricate.scan_object(row, made.bids_dir), centres)
    return made


def write_threshold(layout: Layout, **further: float) -> None:
    """`summary` with the threshold of definite lesions, and ``further`` estimates by measure."""
    estimates = {"thresholds definite": DEFINITE} | {
        name.replace("_", " "): value for name, value in further.items()
    }
    SUMMARY.write(
        layout.table("summary"),
        [
            {"stratum": "model=cmb-verifier", "measure": name, "estimate": value, "method": "m"}
            for name, value in estimates.items()
        ],
    )


def write_images(
    layout: Layout,
    scan: Scan,
    centres: Iterable[Sequence[float]],
    shape: tuple[int, int, int] = SHAPE,
    spacing: Triple = SPACING,
) -> None:
    """Volume, brain mask and regions (frontal) of ``scan``; ``centres`` in RAS mm."""
    random = np.random.default_rng(seed_of("reviewable", scan.scan_id))
    affine = affine_of(shape, spacing)
    mm = [
        (axis * spacing[k] + affine[k, 3]).astype(np.float32)
        for k, axis in enumerate(np.ogrid[tuple(slice(n) for n in shape)])
    ]
    inside = sum((m / half) ** 2 for m, half in zip(mm, (70, 76, 72), strict=True)) < 1
    data = np.where(inside, np.float32(1), np.float32(0.03))
    data += random.normal(0, 0.03, shape).astype(np.float32)
    for at in centres:
        low = [int(np.searchsorted(m.ravel(), a - 9)) for m, a in zip(mm, at, strict=True)]
        box = tuple(slice(a, a + int(18 / s) + 1) for a, s in zip(low, spacing, strict=True))
        near = [m.ravel()[b] - a for m, b, a in zip(mm, box, at, strict=True)]
        far = sum(axis**2 for axis in np.ix_(*near))
        data[box] *= 1 - 0.8 * np.exp(-far / (2 * 2.5**2))
    images.save_volume(layout.preproc(scan), np.clip(data, 0, None), affine, np.float32)
    images.save_volume(layout.brain_mask(scan), inside, affine, np.uint8)
    regions = np.where(inside, np.where(mm[0] > 0, 109, 9), 0)
    images.save_volume(layout.regions(scan), regions, affine, np.uint16)
