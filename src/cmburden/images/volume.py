"""NIfTI in and out: every scan in canonical RAS or a ``ScanError``, every output with fixed bytes.

A file is read whole and once. The gzip checksum is verified, and a torn file has another reason
than a foreign one. If sform and qform disagree, the form that is invertible and matches the voxel
sizes is used (sform first).
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from cmburden.core.errors import ScanError
from cmburden.core.files import whole_file
from cmburden.images import annex
from cmburden.images.geometry import slice_axis

_GZIP_MAGIC = b"\x1f\x8b"
#: Length of a NIfTI-1 and of a NIfTI-2 header in bytes, which is the first value of the file.
_HEADER_BYTES, _HEADER_BYTES_2 = 348, 540
#: Rounding of stored intensities (tissue is about 1): far below noise. The file is half as large
#: and written three times as fast.
_STEP = 2.0**-12
#: gzip's levels. Noise in a volume hardly compresses: a higher level costs seconds and gains little
#: (unmeasured). Masks and labels compress well.
_FLOAT_COMPRESSION, _INTEGER_COMPRESSION = 1, 6


#: Relative difference between the voxel sizes of a form and those of the header that is rounding
#: (by eye).
_SIZE_TOLERANCE = 0.1
#: Determinant of the unit column vectors below which an affine is degenerate (by eye).
_LEAST_DETERMINANT = 0.1

# Limits of looks_like_phase. Those without a measurement are by eye.
#: Percentiles of the intensities that stand for the two ends of their range.
_ENDS_PERCENTILES = (0.1, 99.9)
#: A value of more than this share of the voxels is the value that a mask was filled with.
_FILL_SHARE = 0.05
#: Fewest voxels besides the fill from which something can be said.
_FEWEST_VOXELS = 100
#: Largest ratio between the positive and the negative end of signed phase.
_MOST_ASYMMETRY = 1.25
#: Least share of voxels of either sign in signed phase.
_LEAST_SIGN_SHARE = 0.2
#: Difference between neighbours that is a wrap, as a share of the range.
_WRAP = 0.8
#: Least share of wraps in unsigned phase: it has 4 % in noise, magnitudes at hand have at most
#: 0.04 %.
_LEAST_WRAP_SHARE = 0.005
#: Share of the range that counts as one of its ends, and the least share of voxels there.
_END, _LEAST_END_SHARE = 0.25, 0.1


@dataclasses.dataclass(frozen=True)
class Volume:
    """A 3D image in canonical RAS: ``data`` (x, y, z) float32, ``affine`` voxel to scanner mm.

    ``orientation`` names the form that the affine is from, 'sform' or 'qform'. It is 'none' where
    the header has neither: left and right are then a convention.
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
    image, sizes = _parse(_read_bytes(Path(path)))
    affine, orientation = _sound_affine(image.header, sizes)
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
        # A negative scl_slope over a stored magnitude: the sign has no meaning.
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

    Unlike a scan, a label image may have one value only: an empty mask is a result.

    Raises
    ------
    ScanError
        not_present, empty_file, unreadable, truncated, not_3d, not_finite, voxel_size.
    """
    image, sizes = _parse(_read_bytes(Path(path)))
    affine, _ = _sound_affine(image.header, sizes)
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


def _parse(content: bytes) -> tuple[nib.Nifti1Image, np.ndarray]:
    """The image of ``content`` without its voxels, and the voxel sizes (3,) in its header.

    The length of ``content`` is checked against the header. The voxel sizes are read before nibabel
    replaces a size of 0 by 1 mm.
    """
    lengths = {int.from_bytes(content[:4], order) for order in ("little", "big")}
    lengths &= {_HEADER_BYTES, _HEADER_BYTES_2}
    if not lengths:
        raise ScanError("unreadable", "It does not begin with a NIfTI header.")
    length = max(lengths)
    if len(content) < length:
        raise ScanError("truncated", f"Its header ends after {len(content)} bytes.")
    kind = nib.Nifti2Image if length == _HEADER_BYTES_2 else nib.Nifti1Image
    try:
        with np.errstate(invalid="ignore"):  # of infinite voxel sizes, which are refused later
            image = kind.from_bytes(content)
        stored = type(image.header)(content[:length], check=False)
        sizes = np.abs(np.asarray(stored["pixdim"][1:4], dtype=float))
        voxels = int(np.prod(image.shape, dtype=np.int64))
        due = cast(ArrayProxy, image.dataobj).offset + stored.get_data_dtype().itemsize * voxels
    except Exception as error:  # nibabel raises many kinds for a header that makes no sense
        raise ScanError("unreadable", f"Its header makes no sense ({error}).") from error
    if len(content) < due:
        raise ScanError("truncated", f"It has {len(content)} of the {due} bytes of its header.")
    return image, sizes


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


def _sound_affine(header: nib.Nifti1Header, sizes: np.ndarray) -> tuple[np.ndarray, str]:
    """Affine (4 x 4) of the first sound form that matches the voxel ``sizes`` (3,), and its name.

    sform before qform, as in nibabel. Without a form: voxel sizes with x to the left, which is the
    ANALYZE convention and nibabel's.

    Raises
    ------
    ScanError
        voxel_size where neither a form nor ``sizes`` give one.
    """
    known = bool(np.all(np.isfinite(sizes)) and np.all(sizes > 0))
    forms = list(_sound_forms(header, with_qform=known))
    for affine, name in forms:
        if not known or np.allclose(voxel_sizes(affine), sizes, rtol=_SIZE_TOLERANCE):
            return affine, name
    if forms:
        return forms[0]
    if not known:
        raise ScanError("voxel_size", "Its header gives no voxel size.")
    return header.get_base_affine(), "none"


def _sound_forms(header: nib.Nifti1Header, *, with_qform: bool) -> Iterator[tuple[np.ndarray, str]]:
    """Affines of the forms that are set, finite and invertible, with the forms' names.

    A qform has the header's voxel sizes: without them, ``with_qform`` must be False.
    """
    forms = {"sform": header.get_sform}
    if with_qform:
        forms["qform"] = header.get_qform
    for name, form in forms.items():
        try:
            affine, code = form(coded=True)
        except (ValueError, HeaderDataError):
            continue
        if affine is None or code == 0 or not np.all(np.isfinite(affine)):
            continue
        if min(voxel_sizes(affine)) > 0 and abs(_obliquity(affine)) >= _LEAST_DETERMINANT:
            yield affine, name


def _obliquity(affine: np.ndarray) -> float:
    """Determinant of the unit column vectors: 1 for orthogonal axes, 0 for a degenerate affine."""
    columns = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.linalg.det(columns))


def looks_like_phase(data: np.ndarray) -> bool:
    """True where the values of ``data`` (x, y, z) are those of a phase image.

    Signed phase (-pi to pi) goes as far below 0 as above, which no magnitude does. Unsigned phase
    (0 to 4095) wraps: neighbours differ by almost the whole range, and both ends of the range are
    well filled. A magnitude has its background at the lower end and few voxels at the upper end.
    """
    sample = data[::2, ::2, ::2]
    low, high = (float(value) for value in np.percentile(sample, _ENDS_PERCENTILES))
    if high <= low:
        return False
    values = _without_fill(sample)
    if values.size < _FEWEST_VOXELS:
        return False
    return _is_signed(values, low, high) or _wraps(data, values, low, high)


def _without_fill(sample: np.ndarray) -> np.ndarray:
    """Values of ``sample`` without the commonest one, where a mask may have been filled with it."""
    values, counts = np.unique(sample, return_counts=True)
    if counts.max() > _FILL_SHARE * counts.sum():
        return sample[sample != values[np.argmax(counts)]]
    return sample


def _is_signed(values: np.ndarray, low: float, high: float) -> bool:
    """Whether ``values`` from ``low`` to ``high`` lie about 0."""
    if not low < 0 < high:
        return False
    symmetric = 1 / _MOST_ASYMMETRY < -low / high < _MOST_ASYMMETRY
    return symmetric and bool(_LEAST_SIGN_SHARE < np.mean(values < 0) < 1 - _LEAST_SIGN_SHARE)


def _wraps(data: np.ndarray, values: np.ndarray, low: float, high: float) -> bool:
    """Whether neighbours of ``data`` jump over the range and ``values`` fill both of its ends."""
    span = high - low
    jumps = sum(np.mean(np.abs(np.diff(data, axis=axis)) > _WRAP * span) for axis in (0, 1))
    lowest, highest = np.mean(values < low + _END * span), np.mean(values > high - _END * span)
    return bool(jumps > _LEAST_WRAP_SHARE and min(lowest, highest) > _LEAST_END_SHARE)


def save_volume(
    path: Path,
    data: np.ndarray,
    affine: np.ndarray,
    dtype: type[Any],
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


def open_image(path: Path) -> nib.Nifti1Image:
    """A NIfTI image whose voxels are read from ``path`` when they are asked for.

    Raises
    ------
    ImageFileError
        Where the file is no NIfTI image.
    """
    image = nib.load(path)
    if not isinstance(image, nib.Nifti1Image):
        raise ImageFileError(f"{path} is no NIfTI image")
    return image


def read_derivative(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Data and affine of an image that ``save_volume`` wrote."""
    image = open_image(path)
    return np.asanyarray(image.dataobj), image.affine


def sidecar(path: Path) -> Path:
    """The JSON file beside a compressed image.

    >>> sidecar(Path("anat/sub-1_desc-brain_mask.nii.gz")).name
    'sub-1_desc-brain_mask.json'
    """
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")
