"""Other images of a person on the grid of a scan: T1w, FLAIR, T2w, QSM maps and other sessions.

The reader compares a dark spot with them: calcium is dark on a Chimap, a cavernoma bright on T2w,
and what an earlier session shows is not new. An image is resampled to the scan's grid, so that one
point, one ruler and one zoom hold for both.
"""

from __future__ import annotations

import dataclasses
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from cmburden.core import config, stages
from cmburden.core.errors import CMBurdenError, ScanError
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.follow.stage import known_motion
from cmburden.images.volume import load_volume
from cmburden.register.t1w import kept
from cmburden.space.ants import FLIP
from cmburden.space.transform import load_transform

#: BIDS suffixes of the session's images that are shown, with their words.
_SUFFIXES = {
    "T1w": "T1w",
    "FLAIR": "FLAIR",
    "T2w": "T2w",
    "Chimap": "Chimap (QSM)",
    "R2starmap": "R2* map",
}
_NAME = re.compile(r"_([A-Za-z0-9]+)\.nii(?:\.gz)?")
#: Percentiles of an image that are drawn black and white, and the 16-bit value of the latter.
_BLACK, _WHITE, WHITE = 1.0, 99.5, 40_000
_MOST = np.iinfo(np.uint16).max
#: Images in memory: those of the scan on the screen and of the next one.
_MOST_IMAGES = 6
#: How a place of the scan is found in another image.
_T1W_WAY, _SCANNER_WAY = "registered to the scan", "by the scanner's coordinates, not registered"


@dataclasses.dataclass(frozen=True)
class Other:
    """An image beside a scan.

    ``words``: its name for the reader. ``path``: a NIfTI file. ``motion`` (4 x 4) leads from RAS mm
    of the scan to those of the image; ``way`` says how it is known.
    """

    words: str
    path: Path
    motion: np.ndarray
    way: str


@dataclasses.dataclass(frozen=True)
class _Image:
    """Grey values (x, y, z), float32, black at 0 and white at 1; ``affine`` voxel to RAS mm."""

    greys: np.ndarray
    affine: np.ndarray


class Beside:
    """The other images of the scans of a run; an image is read once and kept for a while."""

    def __init__(self, layout: Layout, scans: dict[str, Scan]) -> None:
        self._layout, self._scans = layout, scans
        self._others: dict[str, list[Other]] = {}
        self._images: OrderedDict[Path, _Image] = OrderedDict()
        self._lock = threading.Lock()

    def of_scan(self, scan_id: str) -> list[Other]:
        """The images that can be shown beside a scan: of its session, then of other sessions."""
        with self._lock:
            if scan_id not in self._others:
                scan = self._scans[scan_id]
                self._others[scan_id] = [*self._same_session(scan), *self._other_sessions(scan)]
            return self._others[scan_id]

    def greys(
        self, scan_id: str, number: int, shape: tuple[int, ...], affine: np.ndarray
    ) -> np.ndarray:
        """Image ``number`` of ``of_scan`` as uint16 (x, y, z) on a grid; 0 outside of the image.

        ``affine`` takes voxels of the grid to RAS mm of the scan. Percentile 1 is 0 and percentile
        99.5 ``WHITE``.

        Raises
        ------
        ScanError
            If the image cannot be read.
        """
        other = self.of_scan(scan_id)[number]
        with self._lock:
            image = self._images.get(other.path)
            if image is None:
                image = self._images[other.path] = _read(other.path)
            self._images.move_to_end(other.path)
            while len(self._images) > _MOST_IMAGES:
                self._images.popitem(last=False)
        to_voxels = np.linalg.inv(image.affine) @ other.motion @ affine
        placed = ndimage.affine_transform(
            image.greys, to_voxels[:3, :3], to_voxels[:3, 3], shape, order=1, cval=0.0
        )
        return np.clip(np.rint(placed * WHITE), 0, _MOST).astype(np.uint16)

    def _same_session(self, scan: Scan) -> list[Other]:
        motion = _to_t1w(self._layout, scan, self._settings(stages.REGISTER.name))
        return [
            Other(_SUFFIXES[suffix], path, motion, _T1W_WAY)
            if path == scan.t1w_path and motion is not None
            else Other(_SUFFIXES[suffix], path, np.eye(4), _SCANNER_WAY)
            for path, suffix in _images_of_session(scan).items()
        ]

    def _other_sessions(self, scan: Scan) -> list[Other]:
        """Other sessions of the participant whose registration ``longitudinal`` has kept."""
        least = self._settings(stages.LONGITUDINAL.name).get("min_overlap")
        others: list[Other] = []
        if least is None:
            return others
        for one in sorted(self._scans.values(), key=lambda other: other.scan_id):
            if one.participant_id != scan.participant_id or one.session_id == scan.session_id:
                continue
            motion = known_motion(scan, one, self._layout, float(least))
            if motion is not None:
                words = f"Session {one.session_id}, {one.contrast}"
                others.append(Other(words, self._layout.preproc(one), motion, _T1W_WAY))
        return others

    def _settings(self, stage: str) -> dict[str, Any]:
        """Settings of a stage at the last run; empty where they cannot be read."""
        settings = config.stored(self._layout.config).get(stage)
        return settings if isinstance(settings, dict) else {}


def _images_of_session(scan: Scan) -> dict[Path, str]:
    """BIDS suffix by file; of several T1w the one that the registration used is shown."""
    suffixes = {} if scan.t1w_path is None else {scan.t1w_path: "T1w"}
    folder = scan.path.parent
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = _NAME.search(path.name)
        if name and name[1] in _SUFFIXES and not (name[1] == "T1w" and scan.t1w_path is not None):
            suffixes[path] = name[1]
    return {path: suffix for path, suffix in suffixes.items() if path.exists()}


def _read(path: Path) -> _Image:
    """The image with black at 0 and white at 1."""
    volume = load_volume(path, phase_allowed=True)
    seen = volume.data[volume.data != 0]
    low, high = np.percentile(seen if seen.size else volume.data, [_BLACK, _WHITE])
    if not high > low:
        raise ScanError("constant", f"{path.name} has one grey value.")
    return _Image((volume.data - np.float32(low)) / np.float32(high - low), volume.affine)


def _to_t1w(layout: Layout, scan: Scan, settings: dict[str, Any]) -> np.ndarray | None:
    """The rigid motion (4 x 4, RAS mm) from a scan to its T1w; None where it is not known.

    The registration keeps two transforms: from the T1w to the template, in the cache, and from the
    scan to the template, which is the rigid one and then the T1w's.
    """
    record = layout.record(stages.REGISTER.name, scan.scan_id)
    path = scan.t1w_path
    if path is None or "nonlinear" not in settings:
        return None
    if not Outcome.read(record).measures.get("via_t1w"):
        return None
    t1w = _or_none(lambda: kept(path, scan.participant_id, layout, settings))
    whole = _or_none(lambda: load_transform(layout, scan))
    if t1w is None or whole is None:
        return None
    back = np.linalg.inv(t1w.to_mni.matrix)
    motion = np.eye(4)
    motion[:3, :3] = FLIP @ back @ whole.matrix @ FLIP
    motion[:3, 3] = FLIP @ back @ (whole.offset - t1w.to_mni.offset)
    return motion


def _or_none(read: Callable[[], Any]) -> Any:
    """What ``read`` gives; None where its file is missing or damaged: the scan is shown anyway."""
    try:
        return read()
    except (CMBurdenError, ScanError, OSError, ValueError):
        return None
