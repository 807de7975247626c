"""Stage detect: the 3D CNN over every scan of a bucket.

The network is loaded once a bucket. A scan's result is cached under a key of everything that it
depends on: a bucket that was killed half-way, or that gained a scan, searches only the scans that
are missing.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core import carry_out, resources, stages, tables
from cmburden.core.arrays import read_arrays, write_arrays
from cmburden.core.carry_out import Bucket, Done, Job
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import read_json, write_json
from cmburden.core.keys import hash_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.core.workers import Late
from cmburden.detect.candidates import Answer, Candidate, OnDevice, search
from cmburden.detect.contract import of_detector
from cmburden.detect.describe import describe
from cmburden.detect.network import SpotNet, for_inference
from cmburden.detect.phased import ScanPhase
from cmburden.images.prepared import Prepared, checksums
from cmburden.images.views import stacked
from cmburden.models import weights
from cmburden.models.contract import weights_hash
from cmburden.models.precision import SINGLE

STAGE, VERSION = stages.DETECT.name, stages.DETECT.version
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Described:
    """n candidates of a scan, with their measures (rows of the table), views and extents.

    ``views`` are n arrays of ``images.views.SHAPE``, ``voxels`` n arrays (m, 3) of indices.
    """

    candidates: list[Candidate]
    rows: list[dict[str, Any]]
    views: list[np.ndarray]
    voxels: list[np.ndarray]


def search_and_describe(
    answer: Answer,
    volume: np.ndarray,
    mask: np.ndarray,
    affine: np.ndarray,
    *,
    minimum: float,
    maximum_number: int,
) -> Described:
    """Candidates of a scan, for the stage and for training alike.

    ``answer`` is that of the network (``candidates.OnDevice``). ``volume`` (x, y, z) float32 has
    median 1 in ``mask`` (bool); ``affine`` leads to scanner RAS mm. At most ``maximum_number``
    candidates have a probability of ``minimum`` or more.
    """
    candidates = search(
        answer, volume, mask, affine, minimum=minimum, maximum_number=maximum_number
    )
    rows, views, voxels = describe(volume, mask, affine, candidates)
    return Described(candidates, rows, views, voxels)


class Detector(OnDevice):
    """The CNN with its contract: ``volume -> candidates``."""

    def __init__(self, folder: Path, device: str = "auto", precision: str = SINGLE):
        self.contract = of_detector(folder)
        network = SpotNet(self.contract["input"]["channels"])
        path = Path(folder) / next(iter(self.contract["weights"]))
        try:
            network.load_state_dict(weights.load_tensors(path))
        except RuntimeError as error:
            raise CMBurdenError(
                f"{path}: not weights of a detector of {network.channels} channels; "
                "name those of this version"
            ) from error
        place = weights.choose_device(device)
        super().__init__(for_inference(network).to(place), place, precision)

    @property
    def device_name(self) -> str:
        return weights.device_name(self.device)

    def __call__(
        self,
        volume: np.ndarray,
        mask: np.ndarray,
        affine: np.ndarray,
        *,
        minimum: float,
        maximum_number: int,
    ) -> list[Candidate]:
        """Candidates of a scan; the arguments are those of :func:`search_and_describe`."""
        return search(
            self.answer, volume, mask, affine, minimum=minimum, maximum_number=maximum_number
        )


def run(
    scans: list[Scan],
    layout: Layout,
    settings: dict[str, Any],
    bucket: int,
    log: str | None = None,
    cores: int = 1,
) -> None:
    """Search a bucket's scans; write the shard, a record a scan, and cached views and extents.

    On several ``cores`` scans are searched side by side, with the same results.

    Raises
    ------
    RestartJob
        The first time that ``max_failures_in_a_row`` scans crash one after the other.
    """
    folder = resources.root() / settings["model"]
    checksum = weights_hash(of_detector(folder))
    detector = Late(
        lambda: Detector(folder, settings["device"], settings["precision"]),
        lambda: weights.is_shared(settings["device"]),
    )
    asked = {name: settings[name] for name in ("min_probability", "max_candidates", "precision")}

    def candidates_of(scan: Scan) -> Done:
        phased = [] if scan.phase_path is None else [scan.phase_key]
        key = hash_of(VERSION, asked, checksum, *checksums(scan, layout), *phased)
        cached, views = layout.cached(STAGE, key), layout.cached(STAGE, key, "npz")
        rows, noted = _cached_rows(cached, views), _noted(scan, layout, key)
        if rows is None or noted is None:
            noted = _made(detector.ask, scan, layout, settings, key)
            rows = tables.CANDIDATES.read(cached)
        rows["scan_id"] = scan.scan_id  # a scan of equal content may have written the cache
        _LOG.info("%s: %d candidates", scan.scan_id, len(rows))
        measures = {"cache_key": key, "n_candidates": len(rows)} | noted.get("measures", {})
        return Done(measures, noted.get("remark"), rows=rows)

    carry_out.bucket(
        Job(STAGE, VERSION, layout, settings, log, checksum),
        Bucket(
            bucket,
            scans,
            after=(stages.PREPROCESS.name,),
            skipped="Not searched: preprocess did not succeed.",
            max_failures_in_a_row=settings["max_failures_in_a_row"],
            cores=cores,
        ),
        candidates_of,
        detector,
        tables.CANDIDATES,
    )


def _cached_rows(cached: Path, views: Path) -> pd.DataFrame | None:
    """The candidates of a scan from the cache; None where one of the two files is torn or absent.

    Both files must be whole: `verify` reads the views.
    """
    stored = read_arrays(views)
    if stored is None or not {"views", "voxels", "owner"} <= stored.keys() or not cached.exists():
        return None
    try:
        rows = tables.CANDIDATES.read(cached)
    except CMBurdenError as error:
        _LOG.warning("%s: made again", error)
        return None
    return rows if len(rows) == len(stored["views"]) else None


def _made(
    answer: Answer, scan: Scan, layout: Layout, settings: dict[str, Any], key: str
) -> dict[str, Any]:
    """Search a scan and write candidates and views into the cache under ``key``.

    Returns measures and remark on the phase, for the record.
    """
    prepared = Prepared.read(scan, layout)
    described = search_and_describe(
        answer,
        prepared.volume,
        prepared.mask,
        prepared.affine,
        minimum=settings["min_probability"],
        maximum_number=settings["max_candidates"],
    )
    noted = _measure_phase(scan, layout, key, prepared, described.rows)
    _save_views(layout.cached(STAGE, key, "npz"), described.views, described.voxels)
    tables.CANDIDATES.write(layout.cached(STAGE, key), _numbered(described.rows, scan))
    return noted


def _measure_phase(
    scan: Scan, layout: Layout, key: str, prepared: Prepared, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """Add the phase's measure to the ``rows`` of candidates; measures and remark for the record.

    The cache keeps them under ``key``. Nothing is kept of a scan without phase image.
    """
    phase = ScanPhase.of(scan, prepared)
    phase.add(rows, prepared.affine)
    noted = {"measures": phase.measures, "remark": phase.remark}
    if scan.phase_path is not None:
        write_json(layout.cached(STAGE, key, "json"), noted)
    return noted


def _noted(scan: Scan, layout: Layout, key: str) -> dict[str, Any] | None:
    """What :func:`_measure_phase` kept of a scan; None where the cache lacks it."""
    if scan.phase_path is None:
        return {}
    noted = read_json(layout.cached(STAGE, key, "json"))
    whole = isinstance(noted, dict) and isinstance(noted.get("measures"), dict)
    return noted if whole and "remark" in noted else None


def _numbered(rows: list[dict[str, Any]], scan: Scan) -> list[dict[str, Any]]:
    """``rows`` of candidates with the scan's id and the candidates' numbers from 0."""
    return [
        row | {"scan_id": scan.scan_id, "candidate_id": number} for number, row in enumerate(rows)
    ]


def _save_views(path: Path, views: list[np.ndarray], voxels: list[np.ndarray]) -> None:
    """Write what `verify` takes of n candidates: ``views`` and their extents.

    ``views`` are n arrays of ``SHAPE``, stored as (n, channel, x, y).
    ``voxels`` (m, 3) are the extents' voxel indices one after the other; ``owner`` (m,) is the
    number of the candidate that each voxel belongs to.
    """
    owner = np.repeat(np.arange(len(voxels)), [len(extent) for extent in voxels])
    write_arrays(
        path,
        views=np.ascontiguousarray(stacked(views).transpose(0, 3, 1, 2)),  # a tenth smaller so
        voxels=np.concatenate([np.zeros((0, 3)), *voxels]).astype(np.int16),
        owner=owner.astype(np.int32),
    )
