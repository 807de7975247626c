"""verify: YOLO over the candidates' views, then shape and place, then one probability a lesion.

The networks' scores are cached per scan; thresholds are applied afterwards, so a new threshold
runs no network.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from pathlib import Path

import numpy as np
import pandas as pd

from cmburden.core import keys, provenance, resources, stages, tables
from cmburden.core.carry_out import skip
from cmburden.core.files import whole_file, write_json
from cmburden.core.keys import hash_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.images import volume as images
from cmburden.images.prepared import Brain
from cmburden.models import contract as contracts
from cmburden.models import weights as models
from cmburden.models.contract import CLASSES
from cmburden.space.transform import load_transform
from cmburden.verify import contract as verify_contract
from cmburden.verify import planes as lesion_planes
from cmburden.verify import ventricles, viewer
from cmburden.verify.contract import thresholds_of
from cmburden.verify.montage import lesion_montage
from cmburden.verify.place import places, ventricle_distance
from cmburden.verify.probability import design, probability

STAGE, VERSION = stages.VERIFY.name, stages.VERIFY.version
_LOG = logging.getLogger(__name__)


class Verifier:
    """YOLO with its contract: views (n, *SHAPE) to class scores (n, classes)."""

    def __init__(self, folder: Path, device: str = "auto"):
        from cmburden.verify import network as model

        self.contract = verify_contract.of_verifier(folder)
        self.device = models.choose_device(device)
        self.networks = [
            model.build(Path(folder) / name).to(self.device) for name in self.contract["weights"]
        ]
        self._score = model.class_scores

    def __call__(self, views: np.ndarray) -> np.ndarray:
        return self._score(self.networks, views, self.device)


def run(
    scans: list[Scan], layout: Layout, settings: dict, bucket: int, log: str | None = None
) -> None:
    """Verify a bucket's candidates: the shard, and each scan's lesions, labels and montage."""
    began = time.monotonic()
    folder = resources.root() / settings["model"]
    contract = verify_contract.of_verifier(folder)
    thresholds = thresholds_of(contract, settings)
    verifier: Verifier | None = None
    shard = []
    candidates = tables.CANDIDATES.read(layout.bucket("detect", bucket))
    for scan in scans:
        started = time.monotonic()
        status = _upstream(layout, scan)
        if status:
            message = "Not verified: an earlier stage did not succeed."
            skip(STAGE, VERSION, scan, layout, status, message, log)
            continue
        found = candidates[candidates["scan_id"] == scan.scan_id].reset_index(drop=True)
        detect_key = Outcome.read(layout.record("detect", scan.scan_id)).measures["cache_key"]
        crops = np.load(layout.cached("detect", detect_key, "npz"), allow_pickle=False)
        key = hash_of(VERSION, detect_key, contracts.weights_hash(contract))
        cached = layout.cached(STAGE, key, "npz")
        if not cached.exists():
            verifier = verifier or Verifier(folder, settings["device"])
            with whole_file(cached) as temporary, temporary.open("wb") as stream:
                np.savez_compressed(stream, scores=verifier(crops["views"]))
        scores = np.load(cached, allow_pickle=False)["scores"]
        brain = Brain.read(scan, layout)
        judged = judge(found, scores, scan, layout, brain, contract, thresholds)
        judged = one_label_an_extent(judged, crops["voxels"], crops["owner"])
        shard.append(judged)
        _write_scan(scan, layout, brain, judged, crops["voxels"], crops["owner"])
        kept = judged[judged["kept"]]
        _LOG.info("%s: %d of %d candidates kept", scan.scan_id, len(kept), len(judged))
        Outcome(
            STAGE, scan.scan_id, "ok", seconds=round(time.monotonic() - started, 3),
            version=VERSION, log=log, measures={"n_kept": len(kept)},
        ).write(layout.record(STAGE, scan.scan_id))  # fmt: skip
    tables.CANDIDATES.write(
        layout.bucket(STAGE, bucket), pd.concat(shard) if shard else tables.CANDIDATES.frame([]),
        note={"records": _said(layout, scans)},
    )  # fmt: skip
    provenance.write_run(
        layout, STAGE, VERSION, f"bucket-{bucket}", settings,
        weights_sha256=contracts.weights_hash(contract),
        device=models.device_name(verifier.device) if verifier else "cached",
        seconds=time.monotonic() - began,
    )  # fmt: skip


def _said(layout: Layout, scans: list[Scan]) -> str:
    """Hash of what the earlier stages' records say, but for how long they took.

    Aggregate waits for shards alone and reads records too: where one of them says something else
    while the candidates are equal, the shard is to be another file.
    """
    records = [
        dataclasses.asdict(Outcome.read(layout.record(stage, scan.scan_id))) | {"seconds": None}
        for scan in scans
        for stage in ("preprocess", "register", "detect")
    ]
    return hash_of(records)


def _upstream(layout: Layout, scan: Scan) -> str | None:
    """Status of the first earlier stage that did not succeed; None where all did."""
    for stage in ("preprocess", "register", "detect"):
        before = Outcome.read(layout.record(stage, scan.scan_id))
        if not before.ok:
            return before.status
    return None


def judge(
    found, scores, scan: Scan, layout: Layout, brain: Brain, contract: dict, thresholds
) -> pd.DataFrame:
    """``found`` candidates with YOLO scores, place, probability and label filled in."""
    judged = found.copy()
    centres = judged[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
    where = places(centres, brain.regions, brain.affine)
    for column, values in zip(
        ("region", "group", "hemisphere"), zip(*where, strict=True) if where else ([], [], []),
        strict=True,
    ):  # fmt: skip
        judged[column] = pd.array(values, dtype="string")
    transform = load_transform(layout, scan.scan_id)
    mni = np.round(transform(centres), 3)
    for axis, column in enumerate(("mni_x", "mni_y", "mni_z")):
        judged[column] = pd.array(mni[:, axis], dtype="Float64")
    far = ventricle_distance(mni)
    if len(centres):
        own = ventricles.find(brain.volume, brain.mask, brain.affine, transform)
        far = far if own is None else np.minimum(far, own.distance(centres))
    judged["ventricle_mm"] = pd.array(np.round(far, 2), dtype="Float64")
    judged["p_yolo"] = pd.array(np.round(scores[:, 0].astype(float), 6), dtype="Float64")
    mimic = scores[:, 1:].astype(float).max(1) if len(scores) else np.zeros(0)
    judged["p_mimic"] = pd.array(np.round(mimic, 6), dtype="Float64")
    judged["yolo_class"] = pd.array([CLASSES[k] for k in scores.argmax(1)], dtype="string")
    p = probability(contract["probability_model"], design(judged, scan.contrast))
    judged["probability"] = pd.array(np.round(p, 6), dtype="Float64")
    label = np.where(
        p >= thresholds["definite"],
        "definite",
        np.where(p >= thresholds["possible"], "possible", "rejected"),
    )
    judged["label"] = pd.array(label, dtype="string")
    judged["kept"] = pd.array(label != "rejected", dtype="boolean")
    return judged


def one_label_an_extent(judged: pd.DataFrame, voxels: np.ndarray, owner: np.ndarray):
    """Of kept candidates whose extents share half of the smaller one, keep the most probable.

    Two maxima of the network on one dark spot would else be counted as two lesions.
    """
    order = judged[judged["kept"]].sort_values(
        ["probability", "candidate_id"], ascending=[False, True]
    )
    taken: list[set] = []
    drop = []
    for row, number in zip(order.index, order["candidate_id"], strict=True):
        extent = set(map(tuple, voxels[owner == int(number)].tolist()))
        if any(2 * len(extent & other) > min(len(extent), len(other)) for other in taken):
            drop.append(row)
        else:
            taken.append(extent)
    judged.loc[drop, "label"] = "rejected"
    judged.loc[drop, "kept"] = False
    return judged


def _write_scan(scan: Scan, layout: Layout, brain: Brain, judged, voxels, owner) -> None:
    """The scan's label volume, lesion table with sidecar, and what its page shows."""
    volume, mask, regions, affine = brain
    lesions = judged[judged["kept"]].copy()
    lesions["lesion_id"] = keys.lesion_numbers(lesions)
    lesions["participant_id"], lesions["session_id"] = scan.participant_id, scan.session_id
    labels = np.zeros(volume.shape, np.int16)
    for _, lesion in lesions.sort_values("lesion_id", ascending=False).iterrows():
        labels[tuple(voxels[owner == int(lesion["candidate_id"])].T)] = lesion["lesion_id"]
    images.save_volume(layout.lesion_labels(scan), labels, affine, np.int16, intent="label")
    table = tables.LESIONS.frame(
        lesions[[name for name in tables.LESIONS.names if name in lesions]]
    ).drop(columns="macrohaemorrhage")
    with whole_file(layout.lesion_table(scan)) as temporary:
        table.to_csv(temporary, sep="\t", index=False, na_rep="n/a", lineterminator="\n")
    sidecar = {k: v for k, v in tables.LESIONS.sidecar().items() if k in table.columns}
    write_json(layout.lesion_sidecar(scan), sidecar)
    # Figures of an earlier run would show lesions that are no longer held to be any.
    layout.montage(scan).unlink(missing_ok=True)
    layout.lesion_planes(scan).unlink(missing_ok=True)
    if len(lesions):
        rows = lesions.sort_values("lesion_id").to_dict("records")
        lesion_montage(volume, affine, rows, layout.montage(scan), scan.scan_id)
        lesion_planes.draw(volume, affine, rows, layout.lesion_planes(scan))
    viewer.write(layout.viewer(scan), scan.scan_id, volume, mask, regions, labels, affine)
