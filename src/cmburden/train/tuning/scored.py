"""Candidates of a scan by other networks than the run's, on the run's own volumes and regions.

The scan is searched and judged as `detect` and `verify` do. Volume, mask, transform and regions
are those of the run: the networks change none of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from cmburden.core import tables
from cmburden.core.arrays import read_arrays, write_arrays
from cmburden.core.errors import CMBurdenError, ScanError
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.core.stages import PREPROCESS
from cmburden.detect.candidates import OnDevice
from cmburden.detect.network import SpotNet, for_inference
from cmburden.detect.stage import search_and_describe
from cmburden.images.views import stacked
from cmburden.models.weights import choose_device, load_tensors
from cmburden.verify import network as yolo
from cmburden.verify.contract import thresholds_of
from cmburden.verify.stage import (
    Extents,
    ScanAnatomy,
    VerifierInUse,
    judge,
    labelled,
    one_label_an_extent,
    without_side,
)


def in_use(contract: dict[str, Any]) -> VerifierInUse:
    """The probability and thresholds of a verifier's contract, or of a calibration."""
    return VerifierInUse(contract["probability_model"], thresholds_of(contract, {}))


@dataclasses.dataclass(frozen=True)
class Networks:
    """A detector and the verifiers that are asked together, loaded."""

    detector: SpotNet
    verifiers: Sequence[torch.nn.Module]
    device: torch.device

    @classmethod
    def load(cls, detector: Path, verifiers: Sequence[Path]) -> Networks:
        device = choose_device("auto")
        state = load_tensors(detector)
        network = SpotNet(state["entry.weight"].shape[0])
        network.load_state_dict(state)
        loaded = [yolo.build(path).to(device) for path in verifiers]
        return cls(for_inference(network).to(device), loaded, device)


def score(
    networks: Networks, scan: Scan, layout: Layout, search: dict[str, Any], model: VerifierInUse
) -> tuple[pd.DataFrame, Extents]:
    """Judged candidates of ``scan`` (rows of ``tables.CANDIDATES``) and their extents.

    ``search`` are min_probability and max_candidates of `detect`. The label is by ``model``, until
    :func:`by_probability` gives another. Raises CMBurdenError where the scan cannot be judged.
    """
    try:
        anatomy = ScanAnatomy.read(scan, layout)
    except ScanError as error:
        raise _not_judged(scan, error) from error
    return score_anatomy(networks, scan, anatomy, search, model)


def score_anatomy(
    networks: Networks,
    scan: Scan,
    anatomy: ScanAnatomy,
    search: dict[str, Any],
    model: VerifierInUse,
) -> tuple[pd.DataFrame, Extents]:
    """:func:`score` of a volume that need not be on the disk: the ``anatomy`` holds it."""
    try:
        described = search_and_describe(
            OnDevice(networks.detector, networks.device).answer,
            anatomy.prepared.volume,
            anatomy.prepared.mask,
            anatomy.prepared.affine,
            minimum=search["min_probability"],
            maximum_number=search["max_candidates"],
        )
        rows = tables.CANDIDATES.frame(
            [
                row | {"scan_id": scan.scan_id, "candidate_id": number}
                for number, row in enumerate(described.rows)
            ]
        )
        scores = yolo.class_scores(
            list(networks.verifiers), stacked(described.views), networks.device
        )
        judged = judge(rows, scores, scan.contrast, anatomy, model)
    except ScanError as error:
        raise _not_judged(scan, error) from error
    owner = np.repeat(np.arange(len(described.voxels)), [len(v) for v in described.voxels])
    voxels = np.concatenate([np.zeros((0, 3)), *described.voxels]).astype(np.int16)
    return judged, Extents(voxels, owner.astype(np.int32))


def _not_judged(scan: Scan, error: ScanError) -> CMBurdenError:
    return CMBurdenError(f"{scan.scan_id}: cannot be tuned on: {error}")


def by_probability(
    judged: pd.DataFrame, extents: Extents, scan: Scan, layout: Layout, model: VerifierInUse
) -> pd.DataFrame:
    """The candidates of :func:`score` with the probability and the labels of ``model``."""
    rows = one_label_an_extent(labelled(judged, scan.contrast, model), extents)
    prepared = Outcome.read(layout.record(PREPROCESS.name, scan.scan_id))
    return rows if prepared.left_right_known else without_side(rows)


def save(folder: Path, scan_id: str, judged: pd.DataFrame, extents: Extents) -> None:
    """Write a scan's candidates below ``folder``; the table comes last and says: whole."""
    write_arrays(folder / f"{scan_id}.npz", voxels=extents.voxels, owner=extents.owner)
    tables.CANDIDATES.write(_table(folder, scan_id), judged)


def load(folder: Path, scan_id: str) -> tuple[pd.DataFrame, Extents]:
    """What :func:`save` wrote."""
    arrays = read_arrays(folder / f"{scan_id}.npz")
    if arrays is None or not {"voxels", "owner"} <= arrays.keys():
        raise CMBurdenError(
            f"{folder}: the candidates of {scan_id} are damaged; remove the folder and give the "
            "same command again"
        )
    rows = tables.CANDIDATES.read(_table(folder, scan_id))
    return rows, Extents(arrays["voxels"], arrays["owner"])


def is_saved(folder: Path, scan_id: str) -> bool:
    return _table(folder, scan_id).exists()


def _table(folder: Path, scan_id: str) -> Path:
    return folder / f"{scan_id}.parquet"
