"""Fabricated results of a cohort, through the tables' contracts: no image, no network.

Enough of the tree and of the output folder for aggregate, report and evaluate to run on.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path

import numpy as np
import yaml

from cmburden.core import carry_out, truth_origin
from cmburden.core.carry_out import Done, Job, measured
from cmburden.core.errors import ScanError
from cmburden.core.files import write_json
from cmburden.core.keys import bucket_of
from cmburden.core.manifest import scan_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.core.stages import BUCKET_STAGES, SCAN_STAGES
from cmburden.core.tables import CANDIDATES, MANIFEST, REJECTED, TRUTH
from cmburden.space.regions import REGIONS

_CONFIG = Path(__file__).parents[1] / "config" / "config.yaml"
BUCKETS = 4
COHORTS = {
    "ADNI": ("GRE", "T2starw", 0.020, 3.0, (0.86, 0.86, 4.0)),
    "AIBL": ("SWI", "swi", 0.020, 3.0, (0.93, 0.93, 1.75)),
    "MAS": ("GRE", "T2starw", 0.023, 1.5, (0.9, 0.9, 5.0)),
    "OATS": ("SWI", "swi", 0.0225, 3.0, (0.5, 0.5, 2.0)),
}
_GROUP_WEIGHTS = {"lobar": 8.0, "deep": 2.0, "infratentorial": 4.0}


@dataclasses.dataclass
class Cohort:
    bids_dir: Path
    layout: Layout
    config: dict
    truth: Path
    scans: list[dict]
    candidates: list[dict]


def config_of(tmp: Path) -> dict:
    config = yaml.safe_load(_CONFIG.read_text())
    config["detect"]["model"] = str(tmp / "models" / "detector")
    config["verify"]["model"] = str(tmp / "models" / "verifier")
    return config


def cohort(tmp: Path, participants: int = 40, seed: int = 0) -> Cohort:
    """A cohort with two broken scans, two people without a scan and one with two sessions."""
    random = np.random.default_rng(seed)
    bids_dir, layout = tmp / "bids", Layout(tmp / "derivatives")
    bids_dir.mkdir(parents=True)
    scans, candidates, truth, phenotypes = [], [], [], []
    config = config_of(tmp)
    for number in range(1, participants + 1):
        name = list(COHORTS)[number % 4]
        participant = f"sub-{name}{number:03d}"
        sessions = ["ses-1", "ses-2"] if number == 7 else [None]
        for session in sessions:
            scans.append(_scan(name, participant, session))
        phenotypes.append(
            f"{participant}\t{random.integers(46, 93)}\t{'MF'[number % 2]}\t"
            f"site{number % 3}\t{['CN', 'MCI', 'AD'][number % 3]}\t{random.normal():.2f}"
        )
    for number, scan in enumerate(scans):
        found, real = _lesions(scan, random)
        truth += real
        if number not in (3, 5):
            candidates += found
        _records(layout, scan_object(scan, bids_dir), config, number, random)
    MANIFEST.write(layout.manifest, scans)
    REJECTED.write(layout.rejected, _rejected())
    for bucket in range(BUCKETS):
        own = [row for row in candidates if bucket_of(row["scan_id"], BUCKETS) == bucket]
        CANDIDATES.write(layout.bucket("verify", bucket), own)
    header = "participant_id\tage\tsex\tsite\tdiagnosis\tmmse_z\n"
    (bids_dir / "participants.tsv").write_text(header + "\n".join(phenotypes) + "\n")
    truth_path = tmp / "truth.tsv"
    TRUTH.frame(truth).to_csv(truth_path, sep="\t", index=False, na_rep="n/a")
    truth_origin.state(truth_path, truth_origin.SIMULATED, "Fabricated.")
    _models(tmp)
    write_json(layout.config, config)  # JSON is YAML
    return Cohort(bids_dir, layout, config, truth_path, scans, candidates)


def scan_object(row: dict, bids_dir: Path) -> Scan:
    return scan_of({"t1w_path": None, "phase_path": None} | row, bids_dir)


def _scan(name: str, participant: str, session: str | None) -> dict:
    contrast, suffix, echo, field, _ = COHORTS[name]
    label = participant.removeprefix("sub-")
    entities = [["sub", label], *([["ses", session.removeprefix("ses-")]] if session else [])]
    scan_id = "_".join(f"{key}-{value}" for key, value in entities) + f"_{suffix}"
    folder = "/".join(part for part in (participant, session, "anat") if part)
    return {
        "scan_id": scan_id,
        "cohort": name,
        "participant_id": participant,
        "session_id": session,
        "suffix": suffix,
        "contrast": contrast,
        "path": f"{folder}/{scan_id}.nii.gz",
        "entities": json.dumps(entities),
        "echo_time_s": echo,
        "field_strength_t": field,
        "manufacturer": "SIEMENS" if contrast == "SWI" else None,
        "scanner_model": "Prisma 3T" if contrast == "SWI" else None,
        "repetition_time_s": 0.027 if contrast == "SWI" else 0.65,
        "flip_angle_deg": 15.0,
        "dimension": "3D" if contrast == "SWI" else "2D",
        "slice_gap_mm": None if contrast == "SWI" else 0.4,
        "image_kind": "processed SWI" if contrast == "SWI" else "magnitude",
        "bucket": bucket_of(scan_id, BUCKETS),
        "content_key": scan_id.encode().hex()[:16],
    }


def _lesions(scan: dict, random) -> tuple[list[dict], list[dict]]:
    """Candidates and truth: most microbleeds found, veins mostly refused by the YOLO stage."""
    real = int(random.choice([0, 1, 2, 5, 12], p=[0.5, 0.2, 0.15, 0.1, 0.05]))
    weights = np.array([_GROUP_WEIGHTS[region.group] for region in REGIONS])
    truth, found = [], []
    for source in range(1, real + 1):
        place = _place(random, weights)
        radius = float(random.uniform(1.0, 3.0))
        truth.append(_truth_row(scan, source, "microbleed", place, radius))
        if random.random() < 0.85:
            found.append(_candidate(place, random, 0.55, 0.99, 2 * radius))
    for _ in range(int(random.integers(3, 9))):
        found.append(_candidate(_place(random, weights), random, 0.05, 0.5, 3.0))
    if random.random() < 0.1:
        found.append(_candidate(_place(random, weights), random, 0.8, 0.95, 14.0))
    if not real:
        truth.append(_truth_row(scan, 0, "none", {}, None))
    found.sort(key=lambda row: -row["p_cnn"])
    for number, row in enumerate(found, start=1):
        row |= {"scan_id": scan["scan_id"], "candidate_id": number}
    return found, truth


def _place(random, weights) -> dict:
    region = REGIONS[int(random.choice(len(REGIONS), p=weights / weights.sum()))]
    x, y, z = random.uniform(-60, 60, 3)
    return {
        "x_mm": float(x),
        "y_mm": float(y),
        "z_mm": float(z),
        "region": region.name,
        "group": region.group,
        "hemisphere": "right" if x > 0 else "left",
    }


def _candidate(place: dict, random, low: float, high: float, diameter: float) -> dict:
    p_yolo = float(random.uniform(low, high))
    probability = round(p_yolo, 4)
    label = "definite" if probability >= 0.6 else "possible" if probability >= 0.3 else "rejected"
    return place | {
        "p_cnn": float(np.clip(p_yolo + random.normal(0, 0.25), 0.05, 0.999)),
        "p_yolo": p_yolo,
        "yolo_class": "microbleed" if p_yolo > 0.5 else "vessel",
        "volume_mm3": 4 / 3 * np.pi * (diameter / 2) ** 3,
        "diameter_mm": diameter,
        "probability": probability,
        "label": label,
        "kept": label != "rejected",
        "mni_x": place["x_mm"],
        "mni_y": place["y_mm"],
        "mni_z": place["z_mm"],
    }


def _truth_row(scan, source, kind, place, radius) -> dict:
    return {
        "scan_id": scan["scan_id"],
        "cohort": scan["cohort"],
        "participant_id": scan["participant_id"],
        "session_id": scan["session_id"],
        "source_id": source,
        "kind": kind,
        "radius_mm": radius,
        **{key: place.get(key) for key in ("x_mm", "y_mm", "z_mm", "region", "group")},
    }


def _records(layout: Layout, scan: Scan, config: dict, number: int, random) -> None:
    """Records of all stages, as the stages' jobs leave them, with the logs that they name.

    Scan 3 cannot be read, scan 5 is no brain.
    """
    voxel = COHORTS[scan.cohort][4]
    measures = {
        "preprocess": {
            **dict(zip(("voxel_x_mm", "voxel_y_mm", "slice_mm"), voxel, strict=True)),
            "brain_volume_ml": float(random.normal(1350, 110)),
            "coverage": float(np.clip(random.normal(0.98, 0.02), 0, 1)),
            "snr": float(random.normal(18, 4)),
        },
        "register": {"registration_correlation": float(random.normal(0.93, 0.02))},
    }
    wrong = {}
    if number == 3:
        wrong["preprocess"] = ScanError("truncated", "The file ends before its header says.")
        wrong["register"] = ScanError("upstream", "Not registered.")
    if number == 5:
        wrong["register"] = ScanError("registration", "Correlation 0.31.", excluded=True)

    for stage in SCAN_STAGES:

        def work(stage: str = stage) -> Done:
            with measured(measures[stage]):
                if stage in wrong:
                    raise wrong[stage]
            return Done(measures[stage])

        log = _log(layout, stage, scan.scan_id)
        job = Job(stage, 1, layout, config[stage], log)
        outcome = carry_out.scan(job, scan, work)
    for stage in BUCKET_STAGES:
        log = _log(layout, stage, str(bucket_of(scan.scan_id, BUCKETS)))
        if outcome.ok:
            done = Outcome(stage, scan.scan_id, "ok", seconds=1.0, log=log)
            done.write(layout.record(stage, scan.scan_id))
        else:
            job = Job(stage, 1, layout, config[stage], log)
            job.skip(scan, outcome.status, "An earlier stage failed.")
    write_json(
        layout.run_record("preprocess", scan.scan_id),
        {
            "stage": "preprocess",
            "unit": scan.scan_id,
            "stage_version": 1,
            "cmburden_version": "0.1.0",
            "versions": "{}",
            "config_sha256": "c" * 64,
            "weights_sha256": None,
            "device": "cpu",
            "precision": None,
            "seconds": 3.0,
        },
    )
    layout.run_record("register", scan.scan_id).unlink()


def _log(layout: Layout, stage: str, unit: str) -> str:
    """A job's log, written; its name as records have it."""
    path = layout.log(stage, unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("INFO fabricated\n")
    return layout.log_name(stage, unit)


def _rejected() -> list[dict]:
    return [
        {
            "path": "sub-ADNI901/anat/sub-ADNI901_T2starw.nii.gz",
            "participant_id": "sub-ADNI901",
            "reason": "empty_file",
            "message": "The file has no bytes. To do: replace the file.",
        },
        {
            "path": "sub-MAS902",
            "participant_id": "sub-MAS902",
            "reason": "no_scan",
            "message": "Only a T1w. To do: check index.suffixes.",
        },
        {
            "path": "sub-MAS902/anat/sub-MAS902_T1w.nii.gz",
            "participant_id": "sub-MAS902",
            "reason": "wrong_suffix",
            "message": "T1w is not searched.",
        },
    ]


def _models(tmp: Path) -> None:
    contract = {
        "id": "cmb-detector",
        "version": "1.0.0",
        "thresholds": {"p_cnn": 0.5},
        "metrics": {"lesion_sensitivity": 0.91, "false_positives_per_scan": 4.2},
        "training_data": "600 simulated GRE and SWI scans",
        "intended_use": "Research use only",
    }
    write_json(tmp / "models" / "detector" / "model.json", contract)
    contract = copy.deepcopy(contract) | {
        "id": "cmb-verifier",
        "thresholds": {"definite": 0.6, "possible": 0.3},
        "metrics": {"lesion_sensitivity": 0.85, "false_positives_per_scan": 0.4},
    }
    write_json(tmp / "models" / "verifier" / "model.json", contract)
