"""Keys of results, from their content; buckets, batches, seeds, lesion numbers, from ids."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pandas as pd

#: Settings of a stage that change no result: where it works, and where its model lies.
_PLACES = ("device", "model")


def hash_of(*parts: Any) -> str:
    """sha256 over ``parts``, bytes as they are and all else as JSON: the key of a cached result."""
    digest = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def bucket_of(scan_id: str, buckets: int) -> int:
    """Bucket 0..buckets-1 of a scan, from its id alone: a new scan changes one bucket only."""
    return _number_of(scan_id) % buckets


def batch_of(scan_id: str, buckets: int, batches: int) -> str:
    """Batch ``BUCKET-NUMBER`` of a scan, from its id alone: each bucket has ``batches`` of them.

    >>> batch_of("sub-01_T2starw", 16, 5).split("-")[0] == str(bucket_of("sub-01_T2starw", 16))
    True
    """
    number = _number_of(scan_id)
    return f"{number % buckets}-{number // buckets % batches}"


def _number_of(scan_id: str) -> int:
    """64 bits of the id's hash."""
    return int.from_bytes(hashlib.sha256(scan_id.encode()).digest()[:8], "big")


def settings_of_results(settings: dict[str, Any]) -> dict[str, Any]:
    """Those of a stage's ``settings`` that can change its results.

    >>> settings_of_results({"device": "cpu", "model": "models/detector", "max_candidates": 5})
    {'max_candidates': 5}
    """
    return {name: value for name, value in settings.items() if name not in _PLACES}


def seed_of(*parts: Any) -> int:
    """A 63-bit seed from ids, so that results do not depend on the order of work."""
    return int(hash_of(*parts)[:15], 16)


def lesion_numbers(kept: pd.DataFrame) -> pd.Series:
    """Numbers of lesions: 1, 2 ... within a scan, in ascending order of candidate_id.

    The number is the lesion's value in ``_label-CMB_dseg.nii.gz`` and its ``lesion_id`` in every
    table.

    >>> kept = pd.DataFrame({"scan_id": ["a", "b", "a"], "candidate_id": [7, 2, 3]})
    >>> lesion_numbers(kept).tolist()
    [2, 1, 1]
    """
    rank = kept.groupby("scan_id")["candidate_id"].rank(method="first")
    return rank.astype("Int64")
