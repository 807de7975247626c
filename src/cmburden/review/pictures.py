"""What the browser draws: blocks about lesions and whole scans as lossless 16-bit arrays.

The volume is that of ``preprocess``, whose values are multiples of 2^-12 (brain tissue at about 1):
as 16-bit integers of that unit nothing is lost below 16. A message is a little-endian length, a
JSON header, padding to 8 bytes, then each channel as uint16, x fastest. Blocks are gzipped.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable

import nibabel as nib
import numpy as np

from cmburden.core.errors import CMBurdenError, ScanError
from cmburden.core.files import whole_file
from cmburden.core.keys import hash_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.images import geometry
from cmburden.images import volume as images
from cmburden.verify.place import places

#: Half the side of a block.
HALF_MM = 30.0
#: Unit of the 16-bit values.
UNIT = 2.0**-12
_VERSION = 1
#: Whole scans held in memory: the one in view and the one to come.
_SCANS_HELD = 2


class Pictures:
    """Blocks and scans of a run; blocks are kept in work/cache, cut once for all readers."""

    def __init__(self, layout: Layout, scans: dict[str, Scan]):
        self._layout, self._scans = layout, scans
        self._held: OrderedDict[str, tuple] = OrderedDict()
        self._regions: OrderedDict[str, tuple] = OrderedDict()
        self._lock = threading.Lock()
        self._reading: dict[str, threading.Lock] = {}
        self._stop = threading.Event()

    def block(self, scan_id: str, at: tuple[float, float, float]) -> bytes:
        """The gzipped message of a cube of 60 mm about ``at`` (scanner RAS mm), cut to the scan."""
        path = self._block_path(scan_id, at)
        if not path.exists():
            self._cut(scan_id, [at])
        return path.read_bytes()

    def whole(self, scan_id: str) -> bytes:
        """The message of a whole scan, as it is: packing it takes longer than the loopback."""
        channels, affine, note = self._volume(scan_id)
        shape = list(channels["magnitude"].shape)
        return _message(channels, affine, note, first=[0, 0, 0], full=shape)

    def grid(self, scan_id: str) -> tuple[tuple[int, ...], np.ndarray]:
        """Shape and affine of a scan, from its header alone."""
        image = nib.load(self._layout.preproc(self._scans[scan_id]))
        return image.shape, image.affine

    def place(self, scan_id: str, at: tuple[float, float, float]) -> tuple[str, str, str]:
        """Region, group and hemisphere of a place."""
        with self._lock:
            found = self._regions.get(scan_id)
        if found is None:
            found = images.read_derivative(self._layout.regions(self._scans[scan_id]))
            with self._lock:
                self._regions[scan_id] = found
                while len(self._regions) > _SCANS_HELD:
                    self._regions.popitem(last=False)
        return places(np.array([at]), *found)[0]

    def prepare(self, wanted: Iterable[tuple[str, tuple[float, float, float]]]) -> threading.Thread:
        """Cut blocks in the background, in the order of their scans, each scan read once."""
        by_scan: dict[str, list] = {}
        for scan_id, at in wanted:
            by_scan.setdefault(scan_id, []).append(at)

        def work() -> None:
            for scan_id, centres in by_scan.items():
                if self._stop.is_set():
                    return
                # What is wrong with a scan is said when it is asked for.
                with contextlib.suppress(CMBurdenError, OSError):
                    missing = [at for at in centres if not self._block_path(scan_id, at).exists()]
                    if missing:
                        self._cut(scan_id, missing)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        self._stop.set()

    # --- reading and cutting ---

    def _block_path(self, scan_id: str, at):
        scan = self._scans[scan_id]
        content = self._layout.preproc(scan).stat()
        phase = scan.phase_path is not None and scan.phase_path.exists()
        key = hash_of(
            _VERSION, HALF_MM, scan_id, scan.content_key, content.st_mtime_ns, content.st_size,
            phase, [round(v, 3) for v in at],
        )  # fmt: skip
        return self._layout.cached("review", key, "block.gz")

    def _cut(self, scan_id: str, centres) -> None:
        channels, affine, note = self._volume(scan_id)
        shape = channels["magnitude"].shape
        reach = HALF_MM / np.array(geometry.voxel_sizes(affine))
        for at in centres:
            middle = np.linalg.inv(affine)[:3, :3] @ (np.array(at) - affine[:3, 3])
            low = np.clip(np.floor(middle - reach), 0, np.array(shape) - 1).astype(int)
            high = np.clip(np.ceil(middle + reach) + 1, low + 1, shape).astype(int)
            box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            shifted = affine.copy()
            shifted[:3, 3] = affine[:3, :3] @ low + affine[:3, 3]
            cut = {name: v[box] for name, v in channels.items()}
            message = _message(cut, shifted, note, first=low.tolist(), full=list(shape))
            with whole_file(self._block_path(scan_id, at)) as temporary:
                temporary.write_bytes(gzip.compress(message, compresslevel=1, mtime=0))

    def _volume(self, scan_id: str) -> tuple[dict[str, np.ndarray], np.ndarray, str]:
        with self._lock:
            if scan_id in self._held:
                self._held.move_to_end(scan_id)
                return self._held[scan_id]
            reading = self._reading.setdefault(scan_id, threading.Lock())
        with reading:  # the background and a request may want the same scan at once
            with self._lock:
                if scan_id in self._held:
                    return self._held[scan_id]
            found = self._read(self._scans[scan_id])
            with self._lock:
                self._held[scan_id] = found
                while len(self._held) > _SCANS_HELD:
                    self._held.popitem(last=False)
        return found

    def _read(self, scan: Scan) -> tuple[dict[str, np.ndarray], np.ndarray, str]:
        path = self._layout.preproc(scan)
        try:
            data, affine = images.read_derivative(path)
            data = np.asarray(data, np.float32)
        except (OSError, EOFError, ValueError, zlib.error, nib.filebasedimages.ImageFileError):
            raise CMBurdenError(
                f"{path.name} cannot be read; end the review and make it again: cmburden retry "
                f"OUTPUT_DIR --scan {scan.scan_id}, then cmburden run"
            ) from None
        steps = np.rint(data / UNIT)
        channels = {"magnitude": np.clip(steps, 0, 65535).astype(np.uint16)}
        phase, note = _phase(scan, channels["magnitude"].shape, affine)
        if phase is not None:
            channels["phase"] = phase
        return channels, affine, note


def _phase(scan: Scan, shape: tuple[int, ...], affine: np.ndarray):
    """Phase on the scan's grid, its range over 0..65535, or None with why there is none."""
    if scan.phase_path is None:
        return None, "no phase image"
    try:
        found = images.load_volume(scan.phase_path, phase_allowed=True)
    except ScanError as error:
        return None, f"phase image not shown: {error}"
    if found.data.shape != shape or not np.allclose(found.affine, affine, atol=0.1):
        return None, "phase image not shown: its grid is not the scan's"
    low, high = float(found.data.min()), float(found.data.max())
    return np.rint((found.data - low) * (65535 / (high - low))).astype(np.uint16), ""


def _message(channels: dict[str, np.ndarray], affine: np.ndarray, note: str, **place) -> bytes:
    """``place``: the ``first`` voxel within the scan, and the scan's ``full`` shape."""
    header = json.dumps(
        {
            "shape": list(channels["magnitude"].shape),
            "affine": affine.tolist(),
            "unit": UNIT,
            "channels": list(channels),
            "note": note,
            **place,
        }
    ).encode()
    header += b" " * (-(len(header) + 4) % 8)
    parts = [np.asarray(v, "<u2").tobytes(order="F") for v in channels.values()]
    return len(header).to_bytes(4, "little") + header + b"".join(parts)
