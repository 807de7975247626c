"""Fabricated results of participants with several sessions, as the stages before leave them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from cmburden.core.files import write_json
from cmburden.core.keys import bucket_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.core.tables import CANDIDATES
from cmburden.images import volume as images

BUCKETS = 2
SHAPE, VOXEL_MM = (40, 44, 24), (3.0, 3.0, 5.0)


def scan(participant: str, session: int, **further) -> Scan:
    label = participant.removeprefix("sub-")
    stem = f"{participant}_ses-{session}_T2starw"
    return Scan(
        stem,
        "cohort",
        participant,
        f"ses-{session}",
        "T2starw",
        "GRE",
        Path(f"{stem}.nii.gz"),
        (("sub", label), ("ses", str(session))),
        echo_time_s=0.02,
        field_strength_t=3.0,
        content_key=stem,
        **further,
    )


def contract(folder: Path) -> Path:
    """A verifier's model.json without weights, with what its detector misses."""
    write_json(
        folder / "model.json",
        {
            "id": "none",
            "version": "0",
            "weights": {},
            "input": {},
            "training_data": "none",
            "intended_use": "tests",
            "thresholds": {"definite": 0.6, "possible": 0.3},
            "metrics": {
                "sensitivity_of_candidates": 0.9,
                "candidates_per_scan": 50.0,
                "microbleeds": 20,
                "scans": 10,
            },
        },
    )
    return folder


def affine_of(pose: np.ndarray) -> np.ndarray:
    """Grid of a session whose head has ``pose`` (4 x 4, scanner to head mm): the head in it."""
    affine = np.diag([*VOXEL_MM, 1.0])
    affine[:3, 3] = -np.array(VOXEL_MM) * (np.array(SHAPE) - 1) / 2
    return np.linalg.inv(pose) @ affine


def write_session(layout: Layout, one: Scan, pose: np.ndarray, **outcomes) -> None:
    """Volume and mask (a ball of brain, in head mm) and records that say 'ok'."""
    affine = affine_of(pose)
    head = nib.affines.apply_affine(pose @ affine, np.stack(np.indices(SHAPE), -1).reshape(-1, 3))
    mask = (np.linalg.norm(head, axis=1) < 50).reshape(SHAPE)
    images.save_volume(layout.preproc(one), mask * 1.0, affine, np.float32)
    images.save_volume(layout.brain_mask(one), mask, affine, np.uint8)
    for stage in ("preprocess", "register", "detect", "verify"):
        measures = {"voxel_x_mm": 3.0, "slice_mm": 5.0} if stage == "preprocess" else {}
        Outcome(stage, one.scan_id, outcomes.get(stage, "ok"), measures=measures).write(
            layout.record(stage, one.scan_id)
        )


def candidates(one: Scan, pose: np.ndarray, *found: tuple) -> list[dict]:
    """Rows of CANDIDATES of (head mm, probability): definite from 0.6, possible from 0.3."""
    rows = []
    for number, (at, p) in enumerate(found):
        place = nib.affines.apply_affine(np.linalg.inv(pose), np.array(at, float))
        label = "definite" if p >= 0.6 else "possible" if p >= 0.3 else "rejected"
        rows.append(
            dict(zip(("x_mm", "y_mm", "z_mm"), place, strict=True))
            | {
                "scan_id": one.scan_id,
                "candidate_id": number,
                "p_cnn": p,
                "probability": p,
                "label": label,
                "kept": label != "rejected",
                "region": "frontal",
                "group": "lobar",
                "hemisphere": "left",
                "diameter_mm": 3.0,
            }
        )
    return rows


def write_shards(layout: Layout, rows: list[dict]) -> None:
    for bucket in range(BUCKETS):
        own = [row for row in rows if bucket_of(row["scan_id"], BUCKETS) == bucket]
        CANDIDATES.write(layout.bucket("verify", bucket), own)
