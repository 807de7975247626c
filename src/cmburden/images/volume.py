"""NIfTI in and out: every scan in canonical RAS or a ``ScanError``, every output with fixed bytes.

A file is read whole and once: the gzip checksum is then verified, a torn file is told from a
foreign one, and a scan whose sform and qform disagree is read by the one that is sound.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

from cmburden.core.errors import ScanError
from cmburden.core.files import whole_file
from cmburden.images import annex
from cmburden.images.geometry import slice_axis

_GZIP_MAGIC = b"\x1f\x8b"
#: Rounding of stored intensities (tissue is about 1): far below noise, and it compresses twice
#: as well and three times as fast.
_STEP = 2.0**-12
#: gzip's levels. Noise in a volume hardly compresses: a higher level costs seconds and gains little
#: (unmeasured). Masks and labels compress well.
_FLOAT_COMPRESSION, _INTEGER_COMPRESSION = 1, 6


@dataclasses.dataclass(frozen=True)
class Volume:
    """A 3D image in canonical RAS: ``data`` (x, y, z) float32, ``affine`` voxel to scanner mm.

    ``orientation`` says where the affine is from: 'sform', 'qform', or 'none' where the header has
    neither, in which case left and right are a convention and not known.
    """

    data: np.ndarray
    affine: np.ndarray
    orientation: str = "sform"

    @property
    def zooms(self) -> tuple[float, float, float]:
        """Voxel size in mm along x, y, z."""
        x, y, z = (float(size) for size in voxel_sizes(self.affine))
        return x, y, z

    @property
    def slice_axis(self) -> int:
        return slice_axis(self.affine)

    @property
    def in_plane_mm(self) -> tuple[float, float]:
        """Voxel size of the two axes that are not the slice axis."""
        x, y = (size for axis, size in enumerate(self.zooms) if axis != self.slice_axis)
        return x, y

    @property
    def slice_mm(self) -> float:
        return self.zooms[self.slice_axis]


def load_volume(path: Path, *, phase_allowed: bool = False) -> Volume:
    """Read a NIfTI-1 or NIfTI-2 image, compressed or not, as a 3D volume in canonical RAS.

    Raises
    ------
    ScanError
        With one of these reasons: not_present, empty_file, unreadable, truncated, not_3d,
        not_finite, constant, voxel_size; also is_phase, unless ``phase_allowed``.
    """
    image = _parse(_read_bytes(Path(path)))
    affine, orientation = _sound_affine(image.header)
    array = _squeezed(_read_array(image))
    if np.iscomplexobj(array):
        raise ScanError("is_phase", "It holds complex values, not a magnitude.")
    if array.dtype.names is not None:
        raise ScanError("unreadable", "It holds colours, not intensities.")
    data = np.asarray(array, dtype=np.float32)
    bad = int(data.size - np.count_nonzero(np.isfinite(data)))
    if bad:
        raise ScanError("not_finite", f"{bad} of {data.size} voxels are NaN or infinite.")
    if data.max() == data.min():
        raise ScanError("constant", f"All voxels are {data.flat[0]:g}.")
    if data.max() <= 0:
        # A negative scl_slope over a stored magnitude: the sign carries nothing.
        data = -data
    canonical = nib.as_closest_canonical(nib.Nifti1Image(data, affine))
    data = np.ascontiguousarray(np.asanyarray(canonical.dataobj), dtype=np.float32)
    if not phase_allowed and looks_like_phase(data):
        raise ScanError(
            "is_phase", "Its values are those of phase: of both signs alike, or wrapping."
        )
    return Volume(data, canonical.affine, orientation)


def load_labels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Whole-numbered labels (x, y, z) of a mask or segmentation in canonical RAS, and the affine.

    Unlike a scan it may be of one value: an empty mask says that nothing was found.

    Raises
    ------
    ScanError
        not_present, empty_file, unreadable, truncated, not_3d, not_finite, voxel_size.
    """
    image = _parse(_read_bytes(Path(path)))
    affine, _ = _sound_affine(image.header)
    array = _squeezed(_read_array(image))
    if array.dtype.names is not None or np.iscomplexobj(array):
        raise ScanError("unreadable", "It holds colours or complex values, not labels.")
    if not np.isfinite(array).all():
        raise ScanError("not_finite", "It holds NaN or infinite voxels.")
    labels = np.rint(array).astype(np.int32)
    canonical = nib.as_closest_canonical(nib.Nifti1Image(labels, affine))
    return np.asanyarray(canonical.dataobj), canonical.affine


def _read_bytes(path: Path) -> bytes:
    if not path.exists():
        if path.is_symlink():
            raise ScanError("not_present", "It is a link to content that is not here.")
        raise ScanError("unreadable", "There is no such file.")
    try:
        content = path.read_bytes()
    except (PermissionError, IsADirectoryError) as error:
        raise ScanError("unreadable", f"It cannot be opened ({error.strerror}).") from error
    if not content:
        raise ScanError("empty_file", "It has 0 bytes.")
    if annex.is_pointer(content):
        raise ScanError("not_present", "It is git-annex's pointer to content that is not here.")
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except EOFError as error:
        raise ScanError("truncated", "Its compressed data end early.") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ScanError("unreadable", f"Its compressed data are damaged ({error}).") from error


def _parse(content: bytes) -> nib.Nifti1Image:
    """The image of ``content`` without its voxels; their number is checked against the header."""
    size = {int.from_bytes(content[:4], order) for order in ("little", "big")}
    kind = nib.Nifti2Image if 540 in size else nib.Nifti1Image
    if not size & {348, 540}:
        raise ScanError("unreadable", "It does not begin with a NIfTI header.")
    if len(content) < max(size & {348, 540}):
        raise ScanError("truncated", f"Its header ends after {len(content)} bytes.")
    try:
        image = kind.from_bytes(content)
        due = image.dataobj.offset + image.header.get_data_dtype().itemsize * int(
            np.prod(image.shape, dtype=np.int64)
        )
    except Exception as error:  # nibabel raises many kinds for a header that makes no sense
        raise ScanError("unreadable", f"Its header makes no sense ({error}).") from error
    if len(content) < due:
        raise ScanError("truncated", f"It has {len(content)} of the {due} bytes of its header.")
    return image


def _read_array(image: nib.Nifti1Image) -> np.ndarray:
    try:
        return np.asanyarray(image.dataobj)
    except (ValueError, OSError, OverflowError) as error:
        raise ScanError("unreadable", f"Its voxels cannot be read ({error}).") from error


def _squeezed(array: np.ndarray) -> np.ndarray:
    """Drop trailing axes of length 1; what is left must have three axes of 2 or more."""
    shape = array.shape
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or min(array.shape) < 2:
        raise ScanError("not_3d", f"Its shape is {' x '.join(map(str, shape))}.")
    return array


def _sound_affine(header: nib.Nifti1Header) -> tuple[np.ndarray, str]:
    """The affine of the form that is set, invertible and true to the voxel sizes, and its name.

    sform before qform, as nibabel has it. With neither: voxel sizes with x to the left, which is
    what the ANALYZE convention and nibabel assume.
    """
    sizes = np.abs(np.asarray(header["pixdim"][1:4], dtype=float))
    candidates = []
    for name, get in (("sform", header.get_sform), ("qform", header.get_qform)):
        try:
            affine, code = get(coded=True)
        except (ValueError, nib.spatialimages.HeaderDataError):
            continue
        if affine is None or code == 0 or not np.all(np.isfinite(affine)):
            continue
        if min(voxel_sizes(affine)) <= 0 or abs(_obliquity(affine)) < 0.1:
            continue
        candidates.append((affine, name))
    known = np.all(np.isfinite(sizes)) and np.all(sizes > 0)
    for affine, name in candidates:
        if not known or np.allclose(voxel_sizes(affine), sizes, rtol=0.1):
            return affine, name
    if candidates:
        return candidates[0]
    if not known:
        raise ScanError("voxel_size", "Its header gives no voxel size.")
    return header.get_base_affine(), "none"


def _obliquity(affine: np.ndarray) -> float:
    """Determinant of the unit column vectors: 1 for orthogonal axes, 0 for a degenerate affine."""
    columns = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.linalg.det(columns))


def looks_like_phase(data: np.ndarray) -> bool:
    """True where values have both signs alike, or wrap between the two ends of their range.

    Signed phase (-pi to pi) goes as far below 0 as above, which no magnitude does. Unsigned phase
    (0 to 4095) wraps: neighbours differ by almost the whole range (in noise 4 % of them by more
    than 0.8 of it; in the magnitudes at hand at most 0.04 %), and both ends of the range are well
    filled, while a magnitude has its background at the lower end and few voxels at the upper.
    """
    sample = data[::2, ::2, ::2]
    low, high = (float(value) for value in np.percentile(sample, [0.1, 99.9]))
    if high <= low:
        return False
    # The commonest value may be what a mask was filled with: it is left out.
    values, counts = np.unique(sample, return_counts=True)
    fill = values[np.argmax(counts)] if counts.max() > 0.05 * counts.sum() else None
    kept = sample if fill is None else sample[sample != fill]
    if kept.size < 100:
        return False
    if low < 0 < high and 0.8 < -low / high < 1.25 and 0.2 < np.mean(kept < 0) < 0.8:
        return True
    span = high - low
    jumps = sum(np.mean(np.abs(np.diff(data, axis=axis)) > 0.8 * span) for axis in (0, 1))
    lowest, highest = np.mean(kept < low + span / 4), np.mean(kept > high - span / 4)
    return bool(jumps > 0.005 and min(lowest, highest) > 0.1)


def save_volume(
    path: Path,
    data: np.ndarray,
    affine: np.ndarray,
    dtype: type,
    *,
    intent: str = "none",
    compression: int | None = None,
) -> None:
    """Write ``data`` as .nii.gz by rename, both forms set; equal input gives equal bytes.

    Floating data are rounded to 2^-12. ``intent`` is NIfTI's name of the data's meaning.
    ``compression``: gzip's level, 1 to 9; by default 1 for floating data and 6 for integers.
    """
    floating = np.issubdtype(dtype, np.floating)
    if floating:
        data = np.round(np.asarray(data, dtype=np.float32) / _STEP) * _STEP
    image = nib.Nifti1Image(np.asarray(data).astype(dtype), affine)
    image.header.set_data_dtype(dtype)
    image.header.set_xyzt_units("mm")
    image.header.set_intent(intent)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    if compression is None:
        compression = _FLOAT_COMPRESSION if floating else _INTEGER_COMPRESSION
    packed = io.BytesIO()
    with gzip.GzipFile("", "wb", compresslevel=compression, fileobj=packed, mtime=0) as f:
        f.write(image.to_bytes())
    with whole_file(path) as temporary:
        temporary.write_bytes(packed.getvalue())


def read_derivative(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Data and affine of an image that ``save_volume`` wrote."""
    image = nib.load(path)
    return np.asanyarray(image.dataobj), image.affine
