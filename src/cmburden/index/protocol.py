"""The acquisition of a scan beyond echo time and field, as HARNESS asks to report it.

Reference: Smith et al., Alzheimers Dement 2019;15:840 (HARNESS). Nothing here is a part of the
content key: no image is read another way for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cmburden.core.tables import DIMENSIONS, IMAGE_KINDS
from cmburden.index import kinds, values
from cmburden.index.names import BidsFile

#: Repetition times of GRE and SWI, s, and numbers that are taken as milliseconds.
_TR_S, _TR_MS = (0.004, 10.0), (10.0, 10_000.0)
_FLIP_DEG = (0.5, 180.0)
#: Thickness and spacing of slices, mm.
_SLICE_MM = (0.1, 30.0)
#: Smaller gaps are the rounding of two numbers, mm.
_NO_GAP_MM = 0.01


def protocol_of(
    image: BidsFile, fields: Mapping[str, Any], contrast: str
) -> tuple[dict[str, Any], list[str | None]]:
    """Columns of the manifest on the protocol, null where unknown, and remarks in sentences."""
    seconds, time_note = repetition_time(
        fields.get("RepetitionTime", fields.get("RepetitionTimeExcitation"))
    )
    angle, angle_note = flip_angle(fields.get("FlipAngle"))
    model, model_note = values.text("ManufacturersModelName", fields.get("ManufacturersModelName"))
    dimension = str(fields.get("MRAcquisitionType") or "").strip().upper()
    known = dimension if dimension in DIMENSIONS else None
    columns = {
        "scanner_model": model,
        "repetition_time_s": seconds,
        "flip_angle_deg": angle,
        "dimension": known,
        "slice_gap_mm": slice_gap(fields, known),
        "image_kind": image_kind(image, fields, contrast),
    }
    return columns, [time_note, angle_note, model_note]


def repetition_time(value: Any) -> tuple[float | None, str | None]:
    """Repetition time in s of ``RepetitionTime``, and a remark in a sentence.

    >>> repetition_time(0.027), repetition_time(650)
    ((0.027, None), (0.65, 'RepetitionTime 650 was taken as milliseconds.'))
    """
    if value is None:
        return None, None
    seconds = values.number(value)
    if seconds is not None and _TR_S[0] <= seconds <= _TR_S[1]:
        return seconds, None
    if seconds is not None and _TR_MS[0] < seconds <= _TR_MS[1]:
        said = f"RepetitionTime {values.shown(value)} was taken as milliseconds."
        return seconds / 1000, said
    return None, f"RepetitionTime {values.shown(value)} is no repetition time in seconds."


def flip_angle(value: Any) -> tuple[float | None, str | None]:
    """Flip angle in degrees of ``FlipAngle``, and a remark in a sentence.

    >>> flip_angle(15), flip_angle("x")
    ((15.0, None), (None, "FlipAngle 'x' is no angle of 0.5 to 180 degrees."))
    """
    if value is None:
        return None, None
    angle = values.number(value)
    if angle is None or not _FLIP_DEG[0] <= angle <= _FLIP_DEG[1]:
        return None, f"FlipAngle {values.shown(value)} is no angle of 0.5 to 180 degrees."
    return angle, None


def slice_gap(fields: Mapping[str, Any], dimension: str | None) -> float | None:
    """Gap between slices in mm: SpacingBetweenSlices without SliceThickness; null for 3D.

    Null where slices overlap: the scanner has then interpolated them.

    >>> round(slice_gap({"SliceThickness": 4, "SpacingBetweenSlices": 4.4}, "2D"), 3)
    0.4
    """
    thickness = values.number(fields.get("SliceThickness"))
    spacing = values.number(fields.get("SpacingBetweenSlices"))
    if dimension == "3D" or thickness is None or spacing is None:
        return None
    low, high = _SLICE_MM
    gap = spacing - thickness
    if not (low <= thickness <= high and low <= spacing <= high) or gap < -_NO_GAP_MM:
        return None
    return gap if gap > _NO_GAP_MM else 0.0


def image_kind(image: BidsFile, fields: Mapping[str, Any], contrast: str) -> str | None:
    """Magnitude, or SWI that was multiplied with the phase mask; None where nothing says which.

    >>> def kind(suffix, contrast, **fields):
    ...     return image_kind(BidsFile("", "sub-1", "", suffix, ()), fields, contrast)
    >>> kind("T2starw", "GRE"), kind("SWImag", "SWI"), kind("swi", "SWI")
    ('magnitude', 'magnitude', 'processed SWI')
    >>> kind("T2starw", "SWI", ImageType=["ORIGINAL", "PRIMARY", "M", "SWI"])
    'processed SWI'
    """
    magnitude, processed = IMAGE_KINDS
    if contrast == "GRE" or kinds.part_of(image) == "mag":
        return magnitude
    if kinds.is_processed_swi(fields):
        return processed
    if kinds.is_magnitude_series(fields):
        return magnitude
    # An ImageType that says magnitude and not SWI is that of the magnitude on some scanners only.
    return None if kinds.part_by_sidecar(fields) == "mag" else processed
