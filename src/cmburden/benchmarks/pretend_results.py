"""Makes the files of a finished run for a large cohort, without images: records, shards, run files.

The files serve to time planning, status and aggregate at thousands of scans. Values are drawn, not
measured. The number of candidates per scan is that of the evaluation's scans (115 on average).
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmburden import __version__
from cmburden.core.keys import bucket_of, hash_of, seed_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.core.stages import BUCKET_STAGES, RECORDED_STAGES, SCAN_STAGES
from cmburden.core.tables import CANDIDATES, FEATURES
from cmburden.space.regions import REGIONS

CANDIDATES_A_SCAN = 115
LESIONS_A_SCAN = 5
#: Shares of scans that end in preprocess: failed, and excluded.
FAILED, EXCLUDED = 0.02, 0.02
#: Share of lesions that are definite; the others are possible (by eye).
_DEFINITE = 0.6
#: How far from the origin candidates lie, mm.
_FAR_MM = 60
#: Status and reason in preprocess of a scan with each fate.
_FATES = (("ok", None), ("failed", "truncated"), ("excluded", "voxel_size"))
_STAGES = RECORDED_STAGES


def write(
    layout: Layout,
    scans: list[Scan],
    buckets: dict[str, list[str]],
    *,
    candidates: int = CANDIDATES_A_SCAN,
    lesions: int = LESIONS_A_SCAN,
    seed: int = 0,
) -> int:
    """Results of ``scans``; ``buckets`` holds their ids by bucket.

    ``candidates`` and ``lesions`` are means per scan that was read; lesions are definite or
    possible. Returns the number of lesions.

    Raises
    ------
    ValueError
        When the buckets hold other scans.
    """
    for stage in _STAGES:
        layout.record(stage, "x").parent.mkdir(parents=True, exist_ok=True)
        layout.run_record(stage, "x").parent.mkdir(parents=True, exist_ok=True)
    kept: dict[str, int] = {}
    for bucket, members in sorted(buckets.items()):
        rng = np.random.default_rng(seed_of("synthetic results", seed, bucket))
        kept |= _bucket(layout, bucket, members, (candidates, lesions), rng)
    if {scan.scan_id for scan in scans} != set(kept):
        raise ValueError("the buckets hold other scans")
    return sum(kept.values())


def _bucket(
    layout: Layout,
    bucket: str,
    members: list[str],
    means: tuple[int, int],
    rng: np.random.Generator,
) -> dict[str, int]:
    """Results of a bucket's scans; the number of lesions of each.

    ``means`` are those of candidates and lesions per scan.
    """
    shares = (1 - FAILED - EXCLUDED, FAILED, EXCLUDED)
    fates = dict(zip(members, rng.choice(3, len(members), p=shares).tolist(), strict=True))
    shard = _candidates([scan_id for scan_id in members if not fates[scan_id]], *means, rng)
    for stage in BUCKET_STAGES:
        CANDIDATES.write(layout.bucket(stage, bucket), shard)
        _write(layout.run_record(stage, f"bucket-{bucket}"), _run(stage, f"bucket-{bucket}"))
    numbers = shard.loc[shard["kept"], "scan_id"].value_counts().to_dict()
    kept = {scan_id: numbers.get(scan_id, 0) for scan_id in members}
    for scan_id in members:
        _scan(layout, scan_id, fates[scan_id], kept[scan_id], rng)
    return kept


def buckets_of(scans: list[Scan], number: int) -> dict[str, list[str]]:
    """Ids of ``scans`` by bucket, as the workflow has them."""
    members: dict[str, list[str]] = defaultdict(list)
    for scan in scans:
        members[str(bucket_of(scan.scan_id, number))].append(scan.scan_id)
    return members


def _candidates(
    scans: list[str], mean: int, lesions: int, rng: np.random.Generator
) -> pd.DataFrame:
    """A bucket's shard. Counts of lesions are skewed as in cohorts: a gamma mixture of Poissons."""
    kept = rng.poisson(rng.gamma(0.5, 2 * lesions, len(scans)))
    number = np.maximum(rng.poisson(mean, len(scans)), kept)
    total = int(number.sum())
    place = np.concatenate([np.arange(n) for n in number] or [np.zeros(0, int)])
    is_kept = place < np.repeat(kept, number)
    region = rng.integers(0, len(REGIONS), total)
    x = rng.uniform(-_FAR_MM, _FAR_MM, total).round(3)
    columns = {
        "scan_id": np.repeat(np.array(scans, dtype=object), number),
        "candidate_id": place,
        "kept": is_kept,
        "label": np.where(
            is_kept, np.where(rng.random(total) < _DEFINITE, "definite", "possible"), "rejected"
        ),
        "region": np.array([r.name for r in REGIONS])[region],
        "group": np.array([r.group for r in REGIONS])[region],
        "hemisphere": np.where(x > 0, "right", "left"),
        "yolo_class": np.where(is_kept, "microbleed", "vessel"),
        "x_mm": x,
    }
    scores = ("p_cnn", "p_yolo", "p_mimic", "probability")
    places = ("y_mm", "z_mm", *(c.name for c in FEATURES if c.kind == "float"))
    columns |= {name: rng.random(total).round(6) for name in scores}
    columns |= {name: rng.uniform(0, _FAR_MM, total).round(3) for name in places}
    columns["diameter_mm"] = rng.gamma(9, 0.4, total).round(3)
    return pd.DataFrame(columns)


def _scan(layout: Layout, scan_id: str, fate: int, kept: int, rng: np.random.Generator) -> None:
    """Records of one scan's four stages, as the stages write them, and the run files of two.

    ``fate`` is a number of ``_FATES``.
    """
    measures: dict[str, dict[str, Any]] = {
        "preprocess": _preprocess_measures(rng),
        "register": {"registration_correlation": round(rng.normal(0.94, 0.01), 4)},
        "detect": {"cache_key": hash_of(scan_id), "n_candidates": CANDIDATES_A_SCAN},
        "verify": {"n_kept": kept},
    }
    status, reason = _FATES[fate]
    for stage in _STAGES:
        record = {
            "stage": stage,
            "scan_id": scan_id,
            "status": status,
            "reason": "upstream" if fate and stage != _STAGES[0] else reason,
            "message": "Fabricated. To do: nothing." if fate else None,
            "seconds": round(rng.gamma(9, 1.5), 3),
            "version": 1,
            "log": None,
            "measures": {} if fate else measures[stage],
        }
        _write(layout.record(stage, scan_id), record)
    for stage in SCAN_STAGES:
        _write(layout.run_record(stage, scan_id), _run(stage, scan_id))


def _preprocess_measures(rng: np.random.Generator) -> dict[str, float]:
    """Measures of preprocess, drawn about usual values (by eye)."""
    return {
        "voxel_x_mm": 0.9,
        "voxel_y_mm": 0.9,
        "slice_mm": float(rng.choice([1.75, 2.0, 4.0])),
        "brain_volume_ml": round(rng.normal(1350, 110), 1),
        "coverage": 1.0,
        "mask_compactness": round(rng.normal(0.88, 0.01), 4),
        "mask_side_gap_mm": round(abs(rng.normal(1.2, 0.3)), 2),
        "snr": round(rng.normal(18, 4), 2),
        "dark_fraction": round(rng.uniform(0.01, 0.05), 4),
    }


def _run(stage: str, unit: str) -> dict[str, Any]:
    """A run file of a stage for one scan or bucket."""
    return {
        "stage": stage,
        "unit": unit,
        "stage_version": 1,
        "cmburden_version": __version__,
        "versions": json.dumps({"numpy": "0", "torch": "0"}),
        "config_sha256": hash_of(stage),
        "weights_sha256": None,
        "device": "cpu",
        "precision": None,
        "seconds": 10.0,
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    # Not by rename, as the stages do: no job reads here at the same time, and there are 120,000.
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
