"""Makes large BIDS trees of files of a few bytes, to time indexing and planning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from cmburden.core.files import write_json
from cmburden.core.keys import bucket_of, hash_of, seed_of
from cmburden.core.tables import MANIFEST

#: Shares of participants with one, two and three sessions (by eye).
SESSIONS = (0.55, 0.3, 0.15)
#: Share of participants with SWI; the others have T2*w (by eye).
SWI_SHARE = 0.4
#: Echo times in seconds by suffix; field strength in tesla.
_ECHO_S = {"T2starw": 0.02, "swi": 0.0225}
_FIELD_T = 3.0
#: Mean and standard deviation of participants' ages, years.
_AGE = (74, 8)


def names(scans: int, seed: int = 0) -> list[str]:
    """Paths of ``scans`` images below a BIDS folder, participants in order.

    >>> names(2)[0].startswith("sub-S00001/ses-1/anat/sub-S00001_ses-1_")
    True
    """
    paths: list[str] = []
    number = 0
    while len(paths) < scans:
        number += 1
        rng = np.random.default_rng(seed_of("synthetic manifest", seed, number))
        suffix = "swi" if rng.random() < SWI_SHARE else "T2starw"
        sub = f"sub-S{number:05d}"
        for session in range(1, 2 + int(rng.choice(len(SESSIONS), p=SESSIONS))):
            paths.append(f"{sub}/ses-{session}/anat/{sub}_ses-{session}_{suffix}.nii.gz")
    return paths[:scans]


def write_tree(bids_dir: Path, scans: int, seed: int = 0) -> None:
    """A BIDS tree of ``scans`` images of a few bytes each, no two alike, and their phenotypes."""
    people = []
    for name in names(scans, seed):
        path = bids_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
        people.append(name.split("/")[0])
    for suffix, echo in _ECHO_S.items():
        sidecar = {
            "EchoTime": echo,
            "MagneticFieldStrength": _FIELD_T,
            "Manufacturer": "Synthetic",
        }
        write_json(bids_dir / f"{suffix}.json", sidecar)
    write_json(
        bids_dir / "dataset_description.json", {"Name": "synthetic", "BIDSVersion": "1.10.0"}
    )
    write_participants(bids_dir, people, seed)


def write_participants(bids_dir: Path, people: list[str], seed: int = 0) -> None:
    """participants.tsv of ``people`` (each as often as they have scans) with drawn ages."""
    participants = list(dict.fromkeys(people))
    ages = np.random.default_rng(seed).normal(*_AGE, len(participants)).round(1)
    rows = [f"{name}\t{age}" for name, age in zip(participants, ages, strict=True)]
    (bids_dir / "participants.tsv").write_text(
        "\n".join(["participant_id\tage", *rows]) + "\n", encoding="utf-8"
    )


def manifest_rows(scans: int, buckets: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of ``tables.MANIFEST`` for such a tree, without writing it."""
    rows = []
    for name in names(scans, seed):
        stem = name.rsplit("/", 1)[1].removesuffix(".nii.gz")
        participant, session = name.split("/")[:2]
        suffix = stem.rpartition("_")[2]
        rows.append(
            {
                "scan_id": stem,
                "cohort": "synthetic",
                "participant_id": participant,
                "session_id": session,
                "suffix": suffix,
                "contrast": "SWI" if suffix == "swi" else "GRE",
                "path": name,
                "entities": json.dumps([part.split("-") for part in (participant, session)]),
                "echo_time_s": _ECHO_S[suffix],
                "field_strength_t": _FIELD_T,
                "manufacturer": "Synthetic",
                "image_kind": "processed SWI" if suffix == "swi" else "magnitude",
                "bucket": bucket_of(stem, buckets),
                "content_key": hash_of(name),
            }
        )
    return rows


def write_manifest(path: Path, scans: int, buckets: int, seed: int = 0) -> None:
    """The manifest (``tables.MANIFEST``) of such a tree."""
    MANIFEST.write(path, manifest_rows(scans, buckets, seed))
