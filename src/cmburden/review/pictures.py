"""The voxels that the browser draws: blocks around lesions and whole scans, as 16-bit arrays.

The volume is that of ``preprocess``, with phase and brain mask where they can be read. Its values
are multiples of 2^-12 with brain tissue at about 1, so that 16-bit integers in this unit are
lossless below 16. A message is the length of the header
(4 bytes, little-endian), the header as JSON, blanks up to a multiple of 8 bytes, then each channel
as uint16, x fastest. Blocks are gzipped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from nibabel.filebasedimages import ImageFileError

from cmburden.core import stages
from cmburden.core.errors import CMBurdenError, ScanError
from cmburden.core.files import whole_file
from cmburden.core.keys import hash_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.images import geometry
from cmburden.images.prepared import UnreadableDerivative, read_file
from cmburden.images.volume import load_volume
from cmburden.review.beside import Beside, Other
from cmburden.verify.place import places

#: Half the side of a block. By eye.
HALF_MM = 30.0
#: Unit of the 16-bit values: the step of the preprocessed volume.
UNIT = 2.0**-12
_MOST = np.iinfo(np.uint16).max
_VERSION = 2
#: Scans in memory: the one on the screen and the next one.
_MOST_SCANS = 2
#: Largest difference of the affines of phase and magnitude in an element. Unmeasured.
_SAME_GRID_MM = 0.1
#: Layout of a message, bytes: length of the first field, which holds the header's length; and the
#: multiple to which the header is padded, so that the browser reads the channels as typed arrays.
_LENGTH_BYTES, _ALIGNED_BYTES = 4, 8

Point = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class PackedVolume:
    """Channels of a scan (uint16, (x, y, z)) and their affine to scanner RAS mm.

    ``note``: why there is no phase; empty if there is.
    """

    channels: dict[str, np.ndarray]
    affine: np.ndarray
    note: str

    @property
    def shape(self) -> tuple[int, ...]:
        return next(iter(self.channels.values())).shape

    def message(self, first: Sequence[int], full: Sequence[int]) -> bytes:
        """The volume as the browser reads it.

        ``first``: the voxel of the scan at which it begins. ``full``: the scan's shape.
        """
        header = json.dumps(
            {
                "shape": list(self.shape),
                "affine": self.affine.tolist(),
                "unit": UNIT,
                "channels": list(self.channels),
                "note": self.note,
                "first": list(first),
                "full": list(full),
            }
        ).encode()
        header += b" " * (-(len(header) + _LENGTH_BYTES) % _ALIGNED_BYTES)
        parts = [np.asarray(v, "<u2").tobytes(order="F") for v in self.channels.values()]
        return len(header).to_bytes(_LENGTH_BYTES, "little") + header + b"".join(parts)

    def block(self, at: Point) -> bytes:
        """The message of a cube about ``at`` (scanner RAS mm), cut to the scan."""
        box = box_about(at, self.shape, self.affine)
        affine = geometry.cropped(self.affine, box)
        cut = PackedVolume({name: v[box] for name, v in self.channels.items()}, affine, self.note)
        return cut.message([part.start for part in box], self.shape)


def box_about(at: Point, shape: tuple[int, ...], affine: np.ndarray) -> tuple[slice, ...]:
    """The part of a grid that holds a cube of 60 mm about ``at`` (scanner RAS mm)."""
    reach = HALF_MM / np.array(geometry.voxel_sizes(affine))
    middle = apply_affine(np.linalg.inv(affine), at)
    low = np.clip(np.floor(middle - reach), 0, np.array(shape) - 1).astype(int)
    high = np.clip(np.ceil(middle + reach) + 1, low + 1, shape).astype(int)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


class Pictures:
    """Blocks and scans of a run. Blocks are cut once for all readers and lie in work/cache."""

    def __init__(self, layout: Layout, scans: dict[str, Scan]) -> None:
        self._layout, self._scans = layout, scans
        self._volumes: OrderedDict[str, PackedVolume] = OrderedDict()
        self._regions: OrderedDict[str, tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self._lock = threading.Lock()
        self._reading: dict[str, threading.Lock] = {}
        self._stop = threading.Event()
        self._beside = Beside(layout, scans)

    def beside(self, scan_id: str) -> list[Other]:
        """The other images that can be shown beside a scan."""
        return self._beside.of_scan(scan_id)

    def other(self, scan_id: str, number: int, at: Point | None) -> bytes:
        """The gzipped message of an image of :meth:`beside`, on the grid of the scan.

        ``at``: the middle of the block (scanner RAS mm); None for the whole scan.
        """
        shape, affine = self.grid(scan_id)
        box = tuple(slice(0, n) for n in shape) if at is None else box_about(at, shape, affine)
        cut = geometry.cropped(affine, box)
        size = tuple(part.stop - part.start for part in box)
        greys = self._beside.greys(scan_id, number, size, cut)
        volume = PackedVolume({"beside": greys}, cut, "")
        message = volume.message([part.start for part in box], shape)
        return gzip.compress(message, compresslevel=1, mtime=0)

    def block(self, scan_id: str, at: Point) -> bytes:
        """The gzipped message of a cube of 60 mm about ``at`` (scanner RAS mm), cut to the scan."""
        path = self._block_path(scan_id, at)
        content = _cached(path)
        if content is None:
            content = _packed(self._volume(scan_id), at)
            # The reader sees the block also where the cache has no room for it.
            with contextlib.suppress(OSError):
                _write(path, content)
        return content

    def whole(self, scan_id: str) -> bytes:
        """The message of a whole scan, not gzipped: compression takes longer than the loopback."""
        volume = self._volume(scan_id)
        return volume.message((0, 0, 0), volume.shape)

    def grid(self, scan_id: str) -> tuple[tuple[int, ...], np.ndarray]:
        """Shape and affine of a scan, from its header alone."""
        scan = self._scans[scan_id]
        path = self._layout.preproc(scan)
        try:
            image = nib.Nifti1Image.from_filename(path)
        except (OSError, EOFError, ValueError, zlib.error, ImageFileError) as error:
            raise UnreadableDerivative(path, scan.scan_id, error) from error
        return image.shape, image.affine

    def place(self, scan_id: str, at: Point) -> tuple[str, str, str]:
        """Region, group and hemisphere at a point in scanner RAS mm.

        The hemisphere is unknown in a scan whose header has no orientation.
        """
        with self._lock:
            regions = self._regions.get(scan_id)
        if regions is None:
            scan = self._scans[scan_id]
            regions = read_file(self._layout.regions(scan), scan)
            with self._lock:
                self._regions[scan_id] = regions
                while len(self._regions) > _MOST_SCANS:
                    self._regions.popitem(last=False)
        region, group, hemisphere = places(np.array([at]), *regions)[0]
        record = self._layout.record(stages.PREPROCESS.name, scan_id)
        if record.exists() and not Outcome.read(record).left_right_known:
            hemisphere = "unknown"
        return region, group, hemisphere

    def prepare(self, wanted: Iterable[tuple[str, Point]]) -> threading.Thread:
        """Cut blocks in the background, in the order of their scans. Each scan is read once."""
        by_scan: dict[str, list[Point]] = {}
        for scan_id, at in wanted:
            by_scan.setdefault(scan_id, []).append(at)

        def work() -> None:
            for scan_id, centres in by_scan.items():
                if self._stop.is_set():
                    return
                # The page shows the error of an unreadable scan when it requests the block.
                with contextlib.suppress(CMBurdenError, OSError):
                    for at in centres:
                        path = self._block_path(scan_id, at)
                        if _cached(path) is None:
                            _write(path, _packed(self._volume(scan_id), at))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """Stop the background after the present scan."""
        self._stop.set()

    # --- reading and cutting ---

    def _block_path(self, scan_id: str, at: Point) -> Path:
        scan = self._scans[scan_id]
        path = self._layout.preproc(scan)
        try:
            content = path.stat()
        except OSError as error:
            raise UnreadableDerivative(path, scan.scan_id, error) from error
        has_phase = scan.phase_path is not None and scan.phase_path.exists()
        key = hash_of(
            _VERSION,
            HALF_MM,
            scan_id,
            scan.content_key,
            content.st_mtime_ns,
            content.st_size,
            has_phase,
            [round(v, 3) for v in at],
        )
        return self._layout.cached("review", key, "block.gz")

    def _volume(self, scan_id: str) -> PackedVolume:
        """The scan from memory or from its file."""
        with self._lock:
            if scan_id in self._volumes:
                self._volumes.move_to_end(scan_id)
                return self._volumes[scan_id]
            reading = self._reading.setdefault(scan_id, threading.Lock())
        # One thread reads a scan. Any other thread, of the background or a request, waits.
        with reading:
            with self._lock:
                if scan_id in self._volumes:
                    return self._volumes[scan_id]
            volume = read_volume(self._scans[scan_id], self._layout)
            with self._lock:
                self._volumes[scan_id] = volume
                while len(self._volumes) > _MOST_SCANS:
                    self._volumes.popitem(last=False)
        return volume


def _packed(volume: PackedVolume, at: Point) -> bytes:
    return gzip.compress(volume.block(at), compresslevel=1, mtime=0)


def _write(path: Path, block: bytes) -> None:
    with whole_file(path) as temporary:
        temporary.write_bytes(block)


def _cached(path: Path) -> bytes | None:
    """The block of a file; None if there is none, or a torn one, as after a power failure."""
    try:
        content = path.read_bytes()
        gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return None
    return content or None


def read_volume(scan: Scan, layout: Layout) -> PackedVolume:
    """The preprocessed volume of a scan and, if its grid is the same, the phase.

    Raises
    ------
    UnreadableDerivative
        If the volume cannot be read.
    """
    data, affine = read_file(layout.preproc(scan), scan)
    steps = np.rint(np.asarray(data, np.float32) / UNIT)
    channels = {"magnitude": np.clip(steps, 0, _MOST).astype(np.uint16)}
    phase, note = _phase(scan, channels["magnitude"].shape, affine)
    if phase is not None:
        channels["phase"] = phase
    mask = _mask(scan, layout, channels["magnitude"].shape)
    if mask is not None:
        channels["mask"] = mask
    return PackedVolume(channels, affine, note)


def _mask(scan: Scan, layout: Layout, shape: tuple[int, ...]) -> np.ndarray | None:
    """The brain mask as uint16; None where there is none to read: the reader sees the scan anyway.

    The page projects the brain alone, since bone and air are dark, too.
    """
    try:
        mask, _ = read_file(layout.brain_mask(scan), scan)
    except UnreadableDerivative:
        return None
    return (mask > 0).astype(np.uint16) if mask.shape == shape else None


def _phase(scan: Scan, shape: tuple[int, ...], affine: np.ndarray) -> tuple[np.ndarray | None, str]:
    """Phase on the scan's grid as uint16 over its full range, or None and the reason."""
    if scan.phase_path is None:
        return None, "no phase image"
    try:
        image = load_volume(scan.phase_path, phase_allowed=True)
    except ScanError as error:
        return None, f"phase image not shown: {error}"
    if image.data.shape != shape or not np.allclose(image.affine, affine, atol=_SAME_GRID_MM):
        return None, "phase image not shown: its grid is not the scan's"
    low, high = float(image.data.min()), float(image.data.max())
    return np.rint((image.data - low) * (_MOST / (high - low))).astype(np.uint16), ""
