"""Stage verify: YOLO over the candidates' views, then shape and place, then one probability each.

The networks' scores are cached per scan. Thresholds are applied to cached scores, so that a changed
threshold runs no network.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core import carry_out, keys, resources, stages, tables
from cmburden.core.arrays import read_arrays, write_arrays
from cmburden.core.carry_out import Bucket, Done, Job
from cmburden.core.errors import DamagedFile, ScanError
from cmburden.core.files import whole_file, write_json
from cmburden.core.keys import hash_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.core.workers import Late
from cmburden.images.prepared import Prepared, read_regions
from cmburden.images.volume import save_volume
from cmburden.models import weights
from cmburden.models.contract import CLASSES, weights_hash
from cmburden.models.precision import SINGLE
from cmburden.space.transform import Transform, load_transform
from cmburden.verify import names, network, planes, ventricles, viewer
from cmburden.verify.contract import of_verifier, thresholds_of
from cmburden.verify.montage import lesion_montage
from cmburden.verify.place import places, ventricle_distance
from cmburden.verify.probability import design, dipole_correlation, probability

STAGE, VERSION = stages.VERIFY.name, stages.VERIFY.version
_LOG = logging.getLogger(__name__)
#: The stages whose results are read here.
_BEFORE = (stages.PREPROCESS.name, stages.REGISTER.name, stages.DETECT.name)


class Verifier:
    """YOLO with its contract: views (n, *SHAPE) to class scores (n, classes)."""

    def __init__(self, folder: Path, device: str = "auto", precision: str = SINGLE):
        self.contract, self.precision = of_verifier(folder), precision
        self.device = weights.choose_device(device)
        self.networks = [
            network.build(Path(folder) / name).to(self.device) for name in self.contract["weights"]
        ]

    @property
    def device_name(self) -> str:
        return weights.device_name(self.device)

    def __call__(self, views: np.ndarray) -> np.ndarray:
        return self.answer(views)

    def answer(self, views: np.ndarray) -> np.ndarray:
        """Class scores (n, classes) of n ``views``."""
        return network.class_scores(self.networks, views, self.device, self.precision)


@dataclasses.dataclass(frozen=True)
class Extents:
    """Voxels of a scan's candidates, as `detect` wrote them.

    ``voxels`` (m, 3) are voxel indices, ``owner`` (m,) the number of each voxel's candidate.
    """

    voxels: np.ndarray
    owner: np.ndarray

    def of(self, candidate_id: int) -> np.ndarray:
        """Voxel indices (k, 3) of one candidate."""
        return self.voxels[self.owner == candidate_id]


@dataclasses.dataclass(frozen=True)
class VerifierInUse:
    """Second half of the verifier: ``probability_model`` of its contract, thresholds in use."""

    probability_model: dict[str, Any]
    thresholds: dict[str, float]


@dataclasses.dataclass(frozen=True)
class ScanAnatomy:
    """Results of preprocess and register for a scan: prepared volume, MARS regions, transform."""

    prepared: Prepared
    regions: np.ndarray
    transform: Transform

    @classmethod
    def read(cls, scan: Scan, layout: Layout) -> ScanAnatomy:
        return cls(
            Prepared.read(scan, layout),
            read_regions(scan, layout),
            load_transform(layout, scan),
        )


def run(
    scans: list[Scan],
    layout: Layout,
    settings: dict[str, Any],
    bucket: int,
    log: str | None = None,
    cores: int = 1,
) -> None:
    """Verify a bucket's candidates: the shard, and each scan's lesions, labels and montage.

    On several ``cores`` scans are verified side by side, with the same results.
    """
    folder = resources.root() / settings["model"]
    contract = of_verifier(folder)
    checksum = weights_hash(contract)
    model = VerifierInUse(contract["probability_model"], thresholds_of(contract, settings))
    verifier = Late(
        lambda: Verifier(folder, settings["device"], settings["precision"]),
        lambda: weights.is_shared(settings["device"]),
    )
    candidates = tables.CANDIDATES.read(layout.bucket(stages.DETECT.name, bucket))

    def lesions_of(scan: Scan) -> Done:
        rows = candidates[candidates["scan_id"] == scan.scan_id].reset_index(drop=True)
        key, views, extents = _crops(scan, layout, len(rows))
        # The key of `detect` holds the precision, which both stages have.
        cached = layout.cached(STAGE, hash_of(VERSION, key, checksum), "npz")
        scores = _cached_scores(cached, len(rows))
        if scores is None:
            scores = verifier.ask(views)
            _check_finite(scores, "score of YOLO")
            write_arrays(cached, scores=scores)
        anatomy = ScanAnatomy.read(scan, layout)
        judged = judge(rows, scores, scan.contrast, anatomy, model)
        judged = one_label_an_extent(judged, extents)
        prepared = Outcome.read(layout.record(stages.PREPROCESS.name, scan.scan_id))
        if not prepared.left_right_known:
            judged = without_side(judged)
        _write_scan(scan, layout, anatomy, judged, extents)
        number = int(judged["kept"].sum())
        _LOG.info("%s: %d of %d candidates kept", scan.scan_id, number, len(judged))
        return Done({"n_kept": number}, rows=judged)

    carry_out.bucket(
        Job(STAGE, VERSION, layout, settings, log, checksum),
        Bucket(
            bucket,
            scans,
            after=_BEFORE,
            skipped="Not verified: an earlier stage did not succeed.",
            cores=cores,
        ),
        lesions_of,
        verifier,
        tables.CANDIDATES,
        note={"records": _records_hash(layout, scans)},
    )


def _crops(scan: Scan, layout: Layout, number: int) -> tuple[str, np.ndarray, Extents]:
    """Key, views (n, *SHAPE) and extents of the ``number`` candidates that `detect` cached.

    Raises DamagedFile where the cache lacks them: `detect` makes them again.
    """
    record = layout.record(stages.DETECT.name, scan.scan_id)
    key = str(Outcome.read(record).measures.get("cache_key"))
    path = layout.cached(stages.DETECT.name, key, "npz")
    crops = read_arrays(path)
    advice = "run again: detect makes it anew"
    if crops is None or not {"views", "voxels", "owner"} <= crops.keys():
        raise DamagedFile(path, "its views are missing or damaged", advice)
    if len(crops["views"]) != number:
        raise DamagedFile(path, f"it holds {len(crops['views'])} of {number} candidates", advice)
    return key, crops["views"].transpose(0, 2, 3, 1), Extents(crops["voxels"], crops["owner"])


def _cached_scores(path: Path, number: int) -> np.ndarray | None:
    """Scores (n, classes) of ``number`` candidates from the cache; None where it lacks them."""
    scores = (read_arrays(path) or {}).get("scores")
    if scores is None or scores.shape != (number, len(CLASSES)) or not np.isfinite(scores).all():
        return None
    return scores


def _records_hash(layout: Layout, scans: list[Scan]) -> str:
    """Hash of the earlier stages' records without their run times.

    The shard holds it, so that a changed record changes the shard: the shard is all of a bucket
    that `aggregate` depends on.
    """
    records = [
        dataclasses.asdict(Outcome.read(layout.record(stage, scan.scan_id))) | {"seconds": None}
        for scan in scans
        for stage in _BEFORE
    ]
    return hash_of(records)


def judge(
    candidates: pd.DataFrame,
    scores: np.ndarray,
    contrast: str,
    anatomy: ScanAnatomy,
    model: VerifierInUse,
) -> pd.DataFrame:
    """The candidates of one scan with place, YOLO scores, probability and label filled in.

    ``candidates`` are n rows of ``tables.CANDIDATES``, ``scores`` (n, classes) YOLO's, ``contrast``
    is GRE or SWI.

    Raises
    ------
    ScanError
        When a score or a probability is not a number. NaN reaches no threshold: the candidate would
        be rejected in silence.
    """
    _check_finite(scores, "score of YOLO")
    judged = candidates.copy()
    _add_place(judged, anatomy)
    judged["p_yolo"] = pd.array(np.round(scores[:, 0].astype(float), 6), dtype="Float64")
    mimic = scores[:, 1:].astype(float).max(1) if len(scores) else np.zeros(0)
    judged["p_mimic"] = pd.array(np.round(mimic, 6), dtype="Float64")
    judged["yolo_class"] = pd.array([CLASSES[k] for k in scores.argmax(1)], dtype="string")
    return labelled(judged, contrast, model)


def labelled(judged: pd.DataFrame, contrast: str, model: VerifierInUse) -> pd.DataFrame:
    """The candidates of one scan, with place and YOLO scores, with probability and label anew.

    Raises ScanError as :func:`judge` does.
    """
    judged = judged.copy()
    p = probability(model.probability_model, design(judged, contrast), dipole_correlation(judged))
    _check_finite(p, "probability")
    judged["probability"] = pd.array(np.round(p, 6), dtype="Float64")
    label = np.where(
        p >= model.thresholds["definite"],
        "definite",
        np.where(p >= model.thresholds["possible"], "possible", "rejected"),
    )
    judged["label"] = pd.array(label, dtype="string")
    judged["kept"] = pd.array(label != "rejected", dtype="boolean")
    return judged


def _check_finite(values: np.ndarray, name: str) -> None:
    """Raise ScanError where one of a scan's ``values`` is NaN or infinite; ``name`` is of one."""
    bad = int(np.size(values) - np.count_nonzero(np.isfinite(values)))
    if bad:
        raise ScanError("score", f"The {name} of {bad} candidate(s) is not a number.")


def _add_place(judged: pd.DataFrame, anatomy: ScanAnatomy) -> None:
    """Fill in region, group, hemisphere, MNI152 position and distance to the ventricles."""
    prepared, transform = anatomy.prepared, anatomy.transform
    centres = judged[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
    named = places(centres, anatomy.regions, prepared.affine)
    for number, column in enumerate(("region", "group", "hemisphere")):
        judged[column] = pd.array([place[number] for place in named], dtype="string")
    mni = np.round(transform(centres), 3)
    for axis, column in enumerate(("mni_x", "mni_y", "mni_z")):
        judged[column] = pd.array(mni[:, axis], dtype="Float64")
    distance = ventricle_distance(mni)
    if len(centres):
        in_scan = ventricles.find(prepared.volume, prepared.mask, prepared.affine, transform)
        if in_scan is not None:
            distance = np.minimum(distance, in_scan.distance(centres))
    judged["ventricle_mm"] = pd.array(np.round(distance, 2), dtype="Float64")


def one_label_an_extent(judged: pd.DataFrame, extents: Extents) -> pd.DataFrame:
    """Reject kept candidates that share more than half an extent with a more probable one.

    Half of the smaller extent counts. Without this, two maxima of the network on one dark spot
    would be counted as two lesions.
    """
    order = judged[judged["kept"]].sort_values(
        ["probability", "candidate_id"], ascending=[False, True]
    )
    taken: list[set[tuple[int, ...]]] = []
    rejected = []
    for row, number in zip(order.index, order["candidate_id"], strict=True):
        extent = set(map(tuple, extents.of(int(number)).tolist()))
        if any(2 * len(extent & other) > min(len(extent), len(other)) for other in taken):
            rejected.append(row)
        else:
            taken.append(extent)
    judged.loc[rejected, "label"] = "rejected"
    judged.loc[rejected, "kept"] = False
    return judged


def without_side(judged: pd.DataFrame) -> pd.DataFrame:
    """``judged`` of a scan whose left and right are unknown: neither hemisphere nor MNI152 x.

    Region and group stay: the regions of the two sides mirror each other.
    """
    return judged.assign(
        hemisphere=pd.array(["unknown"] * len(judged), dtype="string"),
        mni_x=pd.array([None] * len(judged), dtype="Float64"),
    )


def _write_scan(
    scan: Scan, layout: Layout, anatomy: ScanAnatomy, judged: pd.DataFrame, extents: Extents
) -> None:
    """Write the scan's label volume, its lesion table with sidecar, and its page's pictures."""
    volume, affine = anatomy.prepared.volume, anatomy.prepared.affine
    lesions = judged[judged["kept"]].copy()
    lesions["lesion_id"] = keys.lesion_numbers(lesions)
    lesions["participant_id"], lesions["session_id"] = scan.participant_id, scan.session_id
    labels = np.zeros(volume.shape, np.int16)
    for _, lesion in lesions.sort_values("lesion_id", ascending=False).iterrows():
        labels[tuple(extents.of(int(lesion["candidate_id"])).T)] = lesion["lesion_id"]
    save_volume(layout.lesion_labels(scan), labels, affine, np.int16, intent="label")
    names.write(scan, layout, lesions.sort_values("lesion_id").to_dict("records"))
    _write_table(scan, layout, lesions)
    # Figures of an earlier run may show lesions that are rejected now.
    layout.montage(scan).unlink(missing_ok=True)
    layout.lesion_planes(scan).unlink(missing_ok=True)
    if len(lesions):
        rows = lesions.sort_values("lesion_id").to_dict("records")
        lesion_montage(volume, affine, rows, layout.montage(scan), scan.scan_id)
        mask = anatomy.prepared.mask
        planes.draw(volume, affine, rows, layout.lesion_planes(scan), mask)
    viewer.write(
        layout.viewer(scan),
        scan.scan_id,
        viewer.Shown(volume, anatomy.prepared.mask, anatomy.regions, labels, affine),
    )


def _write_table(scan: Scan, layout: Layout, lesions: pd.DataFrame) -> None:
    """Write the scan's lesion table (TSV) and its sidecar (JSON)."""
    table = tables.LESIONS.frame(
        lesions[[name for name in tables.LESIONS.names if name in lesions]]
    ).drop(columns="macrohaemorrhage")
    with whole_file(layout.lesion_table(scan)) as temporary:
        table.to_csv(temporary, sep="\t", index=False, na_rep="n/a", lineterminator="\n")
    sidecar = {k: v for k, v in tables.LESIONS.sidecar().items() if k in table.columns}
    write_json(layout.lesion_sidecar(scan), sidecar)
