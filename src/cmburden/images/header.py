"""The geometry that a NIfTI header gives: one affine to scanner mm, and what is doubtful about it.

A header has two forms, sform and qform, and the voxel sizes ``pixdim``; each may be absent or
wrong. The sform wins, as in nibabel, unless it contradicts the voxel sizes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import aff2axcodes
from nibabel.spatialimages import HeaderDataError

from cmburden.core.errors import ScanError

#: Relative difference between the voxel sizes of a form and those of the header that is rounding
#: (by eye).
_SIZE_TOLERANCE = 0.1
#: Determinant of the unit column vectors below which an affine is degenerate (by eye).
_LEAST_DETERMINANT = 0.1
#: Cosine of an angle between two voxel axes from which an affine shears (3 degrees, by eye).
_MOST_COSINE = 0.05
#: Extent of a head's field of view along an axis, mm: a few thick slices to a whole body coil.
_EXTENT_MM = (40.0, 500.0)
#: Length units of a NIfTI header, mm.
_UNITS_MM = {"meter": 1000.0, "micron": 0.001}


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Affine (4 x 4), voxel index to scanner RAS mm, and the form that it is from.

    ``form`` is 'sform', 'qform', or 'none' where left and right are a convention. ``notes`` are
    sentences about contradictions.
    """

    affine: np.ndarray
    form: str
    notes: tuple[str, ...] = ()


def geometry_of(header: nib.Nifti1Header, sizes: np.ndarray) -> Geometry:
    """Geometry of an image by its ``header`` and the voxel ``sizes`` (3,) that the file holds.

    Without a form: voxel sizes with x to the left, which is the ANALYZE convention and nibabel's.

    Raises
    ------
    ScanError
        voxel_size where neither a form nor ``sizes`` give one.
    """
    shape = np.asarray(header.get_data_shape()[:3], dtype=float)
    known = bool(np.all(np.isfinite(sizes)) and np.all(sizes > 0))
    forms = list(_sound_forms(header, with_qform=known))
    if not forms and not known:
        raise ScanError("voxel_size", "Its header gives no voxel size.")
    affine, name = _chosen(forms, sizes if known else None, shape) or (
        header.get_base_affine(),
        "none",
    )
    notes = [*_contradictions(forms, name), *_sheared(affine)]
    unit = _UNITS_MM.get(header.get_xyzt_units()[0])
    if unit is not None and _fits_head(affine * unit, shape) and not _fits_head(affine, shape):
        affine = affine.copy()
        affine[:3] *= unit
        notes.append(f"Its header is in {header.get_xyzt_units()[0]}s, and was read in mm.")
    return Geometry(affine, name, tuple(notes))


def _chosen(
    forms: list[tuple[np.ndarray, str]], sizes: np.ndarray | None, shape: np.ndarray
) -> tuple[np.ndarray, str] | None:
    """The form that agrees with the voxel sizes, or that alone has the extent of a head.

    A qform agrees by construction: with wrong voxel sizes it is wrong and a sound sform right.
    """
    if not forms or sizes is None:
        return forms[0] if forms else None
    fitting = [form for form in forms if _fits_head(form[0], shape)]
    if len(fitting) == 1:
        return fitting[0]
    for affine, name in forms:
        if np.allclose(voxel_sizes(affine), sizes, rtol=_SIZE_TOLERANCE):
            return affine, name
    return forms[0]


def _contradictions(forms: list[tuple[np.ndarray, str]], name: str) -> Iterator[str]:
    """Sentences about two forms that disagree in voxel sizes or in the direction of an axis."""
    if len(forms) < 2:
        return
    (first, _), (second, _) = forms
    if not np.allclose(voxel_sizes(first), voxel_sizes(second), rtol=_SIZE_TOLERANCE):
        yield f"Its sform and its qform disagree on the voxel size: the {name} was used."
    if aff2axcodes(first) != aff2axcodes(second):
        yield (
            "Its sform and its qform disagree on the orientation"
            f" ({''.join(aff2axcodes(first))}, {''.join(aff2axcodes(second))}): the {name} was"
            " used; check left and right."
        )


def _sheared(affine: np.ndarray) -> Iterator[str]:
    """A sentence where the voxel axes are not orthogonal: registration takes them as such."""
    axes = affine[:3, :3] / voxel_sizes(affine)
    cosine = np.abs(axes.T @ axes - np.eye(3)).max()
    if cosine > _MOST_COSINE:
        degrees = np.degrees(np.arcsin(min(cosine, 1.0)))
        yield f"Its header shears the image by {degrees:.0f} degrees, which registration ignores."


def _fits_head(affine: np.ndarray, shape: np.ndarray) -> bool:
    if shape.size < 3:
        return False
    least, most = _EXTENT_MM
    extent = voxel_sizes(affine) * shape
    return bool(np.all((extent >= least) & (extent <= most)))


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
