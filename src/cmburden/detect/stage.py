"""detect: the 3D CNN over every scan of a bucket; the network is loaded once.

A scan's result is cached under a key of everything that it depends on, so a bucket that was
killed half-way, or that gained a scan, infers only what is missing.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import torch

from cmburden.core import provenance, resources, stages, tables
from cmburden.core.carry_out import skip
from cmburden.core.errors import CMBurdenError, ScanError
from cmburden.core.files import sha256_of_file, whole_file
from cmburden.core.keys import hash_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.detect import contract as detect_contract
from cmburden.detect.candidates import Candidate, search
from cmburden.detect.describe import describe
from cmburden.detect.network import SpotNet
from cmburden.images.views import stacked
from cmburden.models import contract as contracts
from cmburden.models import weights as models

STAGE, VERSION = stages.DETECT.name, stages.DETECT.version
_LOG = logging.getLogger(__name__)


class Detector:
    """The CNN with its contract: ``volume -> candidates``."""

    def __init__(self, folder: Path, device: str = "auto"):
        self.contract = detect_contract.of_detector(folder)
        self.device = models.choose_device(device)
        self.network = SpotNet(self.contract["input"]["channels"])
        self.network.load_state_dict(
            models.load_tensors(Path(folder) / next(iter(self.contract["weights"])))
        )
        self.network.eval().to(self.device)

    def __call__(self, volume, mask, affine, *, minimum: float, maximum_number: int):
        return search(
            self.network, volume, mask, affine, self.device,
            minimum=minimum, maximum_number=maximum_number,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Described:
    """n candidates of a scan, with their measures (rows of the table), views and extents.

    ``views``: n arrays of ``cmburden.images.views.SHAPE``; ``voxels``: n arrays (m, 3) of indices.
    """

    candidates: list[Candidate]
    rows: list[dict[str, Any]]
    views: list[np.ndarray]
    voxels: list[np.ndarray]


def search_and_describe(
    network: SpotNet,
    volume: np.ndarray,
    mask: np.ndarray,
    affine: np.ndarray,
    device: torch.device,
    *,
    minimum: float,
    maximum_number: int,
) -> Described:
    """Candidates of a scan, for the stage and for training alike.

    ``volume`` (x, y, z) float32 has median 1 in ``mask`` (bool); ``affine`` leads to scanner RAS
    mm. At most ``maximum_number`` candidates have a probability of ``minimum`` or more.
    """
    candidates = search(
        network, volume, mask, affine, device, minimum=minimum, maximum_number=maximum_number
    )
    rows, views, voxels = describe(volume, mask, affine, candidates)
    return Described(candidates, rows, views, voxels)


def run(
    scans: list[Scan], layout: Layout, settings: dict, bucket: int, log: str | None = None
) -> None:
    """Candidates of a bucket's scans: the shard, a record a scan, and cached crops and extents.

    Raises
    ------
    CMBurdenError
        When ``max_failures_in_a_row`` scans fail one after the other: then it is the machine.
    """
    began = time.monotonic()
    detector: Detector | None = None
    folder = resources.root() / settings["model"]
    contract = detect_contract.of_detector(folder)
    what = {k: settings[k] for k in ("min_probability", "max_candidates")}
    shard, failures = [], 0
    for scan in scans:
        before = Outcome.read(layout.record("preprocess", scan.scan_id))
        if not before.ok:
            message = "Not searched: preprocess did not succeed."
            skip(STAGE, VERSION, scan, layout, before.status, message, log)
            continue
        key = hash_of(
            VERSION, what, contracts.weights_hash(contract),
            sha256_of_file(layout.preproc(scan)), sha256_of_file(layout.brain_mask(scan)),
        )  # fmt: skip
        result, views = layout.cached(STAGE, key), layout.cached(STAGE, key, "npz")
        started = time.monotonic()
        if not (result.exists() and views.exists()):
            detector = detector or Detector(folder, settings["device"])
            try:
                _search(scan, layout, detector, what, result, views)
            except ScanError as error:
                failures += 1
                _LOG.error("%s: %s", scan.scan_id, error)
                Outcome(
                    STAGE, scan.scan_id, error.status, error.reason, str(error),
                    version=VERSION, log=log,
                ).write(layout.record(STAGE, scan.scan_id))  # fmt: skip
                if failures >= settings["max_failures_in_a_row"]:
                    raise CMBurdenError(
                        f"bucket {bucket}: {failures} scans failed in a row, last {scan.scan_id} "
                        f"({error.reason}); check device and model, then run again"
                    ) from error
                continue
        failures = 0
        found = tables.CANDIDATES.read(result)
        found["scan_id"] = scan.scan_id
        shard.append(found)
        _LOG.info("%s: %d candidates", scan.scan_id, len(found))
        Outcome(
            STAGE, scan.scan_id, "ok", seconds=round(time.monotonic() - started, 3),
            version=VERSION, log=log, measures={"cache_key": key, "n_candidates": len(found)},
        ).write(layout.record(STAGE, scan.scan_id))  # fmt: skip
    tables.CANDIDATES.write(
        layout.bucket(STAGE, bucket), pd.concat(shard) if shard else tables.CANDIDATES.frame([])
    )
    provenance.write_run(
        layout, STAGE, VERSION, f"bucket-{bucket}", settings,
        weights_sha256=contracts.weights_hash(contract),
        device=models.device_name(detector.device) if detector else "cached",
        seconds=time.monotonic() - began,
    )  # fmt: skip


def _search(scan, layout: Layout, detector: Detector, what: dict, result: Path, views: Path):
    try:
        image = nib.load(layout.preproc(scan))
        volume = np.asarray(image.dataobj, dtype=np.float32)
        mask = np.asarray(nib.load(layout.brain_mask(scan)).dataobj) > 0
    except (OSError, EOFError, nib.filebasedimages.ImageFileError) as error:
        raise ScanError(
            "unreadable", f"The preprocessed volume cannot be read ({error})."
        ) from error
    described = search_and_describe(
        detector.network,
        volume,
        mask,
        image.affine,
        detector.device,
        minimum=what["min_probability"],
        maximum_number=what["max_candidates"],
    )
    with whole_file(views) as temporary, temporary.open("wb") as stream:
        owner = np.repeat(np.arange(len(described.voxels)), [len(v) for v in described.voxels])
        np.savez_compressed(
            stream,
            views=stacked(described.views),
            voxels=np.concatenate([np.zeros((0, 3)), *described.voxels]).astype(np.int16),
            owner=owner.astype(np.int32),
        )
    for number, row in enumerate(described.rows):
        row |= {"scan_id": scan.scan_id, "candidate_id": number}
    tables.CANDIDATES.write(result, tables.CANDIDATES.frame(described.rows))
