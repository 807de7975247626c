"""Large BIDS trees without images: for what indexing and planning cost at thousands of scans."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from bids2table import parse_bids_entities

from cmburden.core.files import write_json
from cmburden.core.keys import bucket_of, hash_of, seed_of
from cmburden.core.tables import MANIFEST

#: Participants have one to three sessions, as longitudinal cohorts do.
SESSIONS = (0.55, 0.3, 0.15)
SWI_SHARE = 0.4


def names(scans: int, seed: int = 0) -> list[str]:
    """Paths of ``scans`` images below a BIDS folder, participants in order.

    >>> names(2)[0].startswith("sub-S00001/ses-1/anat/sub-S00001_ses-1_")
    True
    """
    found: list[str] = []
    number = 0
    while len(found) < scans:
        number += 1
        rng = np.random.default_rng(seed_of("synthetic manifest", seed, number))
        suffix = "swi" if rng.random() < SWI_SHARE else "T2starw"
        sub = f"sub-S{number:05d}"
        for session in range(1, 2 + int(rng.choice(len(SESSIONS), p=SESSIONS))):
            found.append(f"{sub}/ses-{session}/anat/{sub}_ses-{session}_{suffix}.nii.gz")
    return found[:scans]


def write_tree(bids_dir: Path, scans: int, seed: int = 0) -> None:
    """A BIDS tree of ``scans`` images of a few bytes each, no two alike, and their phenotypes."""
    people = []
    for name in names(scans, seed):
        path = bids_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        people.append(name.split("/")[0])
    for suffix, echo in (("T2starw", 0.02), ("swi", 0.0225)):
        sidecar = {"EchoTime": echo, "MagneticFieldStrength": 3.0, "Manufacturer": "Synthetic"}
        write_json(bids_dir / f"{suffix}.json", sidecar)
    write_json(
        bids_dir / "dataset_description.json", {"Name": "synthetic", "BIDSVersion": "1.10.0"}
    )
    write_participants(bids_dir, people, seed)


def write_participants(bids_dir: Path, people: list[str], seed: int = 0) -> None:
    """participants.tsv of ``people`` (each as often as they have scans) with drawn ages."""
    names = list(dict.fromkeys(people))
    ages = np.random.default_rng(seed).normal(74, 8, len(names)).round(1)
    rows = [f"{name}\t{age}" for name, age in zip(names, ages, strict=True)]
    (bids_dir / "participants.tsv").write_text("\n".join(["participant_id\tage", *rows]) + "\n")


def manifest_rows(scans: int, buckets: int, seed: int = 0) -> list[dict]:
    """Rows of ``tables.MANIFEST`` for such a tree, without writing it."""
    rows = []
    for name in names(scans, seed):
        stem = name.rsplit("/", 1)[1].removesuffix(".nii.gz")
        entities = parse_bids_entities(name)
        swi = entities["suffix"] == "swi"
        rows.append(
            {
                "scan_id": stem,
                "cohort": "synthetic",
                "participant_id": f"sub-{entities['sub']}",
                "session_id": f"ses-{entities['ses']}",
                "suffix": entities["suffix"],
                "contrast": "SWI" if swi else "GRE",
                "path": name,
                "entities": json.dumps([[key, entities[key]] for key in ("sub", "ses")]),
                "echo_time_s": 0.0225 if swi else 0.02,
                "field_strength_t": 3.0,
                "manufacturer": "Synthetic",
                "bucket": bucket_of(stem, buckets),
                "content_key": hash_of(name),
            }
        )
    return rows


def write_manifest(path: Path, scans: int, buckets: int, seed: int = 0) -> None:
    MANIFEST.write(path, manifest_rows(scans, buckets, seed))
