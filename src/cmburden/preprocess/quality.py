"""Checks and quality measures of a scan and its brain mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from cmburden.core.errors import ScanError
from cmburden.images import brain, geometry
from cmburden.images.volume import Volume

#: Rounding of voxel sizes in headers.
_ROUNDING_MM = 0.01
#: A field of view below this (mm, right-left, back-front, down-up) holds no more than half a brain.
_LEAST_FIELD_MM = (95.0, 115.0, 60.0)
#: Below this sphericity a mask is not a brain. Brains at hand have 0.87-0.90, a brain cut to 60 mm
#: has 0.75, the mask of a neck has 0.66.
_LEAST_SPHERICITY = 0.70

# A T1w has dark fluid and a bright plateau of white matter: see check_polarity for measurements.
#: Distance between the voxels that are looked at, and how deep in the brain they lie.
_STEP_MM, _DEEP_MM = 3.0, 30.0
#: Fewest voxels from which the contrast is judged (by eye).
_FEWEST_DEEP = 500
#: The percentiles that stand for fluid, for white matter and for the top of white matter.
_POLARITY_PERCENTILES = (5, 95, 99)
#: In a T1w fluid is darker and white matter brighter than these multiples of the brain's median,
#: and the top is less than this multiple of white matter.
_T1W_FLUID, _T1W_WHITE, _T1W_PLATEAU = 0.5, 1.3, 1.15

#: The skull lies between these distances from the brain mask, mm, in the upper half of the brain.
_SKULL_MM = (3.0, 8.0)
#: Signal of the skull over that of the brain from which an image is inverted: magnitudes have 0.04
#: to 0.26, inverted ones 1.4 to 2.3.
_BRIGHT_SKULL = 1.0
#: Distance between the voxels of the skull that are looked at, mm, and the fewest of them.
_SKULL_STEP_MM, _FEWEST_SKULL = 1.5, 100

#: Signal below this multiple of the brain's median counts as dark (by eye).
_DARK = 0.4
#: Percentile of the brain's signal that stands for fluid.
_FLUID_PERCENTILE = 95

#: Median of a Rayleigh distribution over the noise's standard deviation: sqrt(2 ln 2).
_RAYLEIGH_MEDIAN = 1.177
#: Signal of air is below this multiple of the brain's median (by eye).
_MOST_AIR = 0.1
#: Least shares of the scan's voxels outside the brain's box with a signal, and in air (by eye).
_LEAST_OUTSIDE, _LEAST_AIR = 0.02, 0.01
#: Percentile below which the signal outside counts as air where noise is strong (by eye).
_AIR_PERCENTILE = 20


def check_voxels(volume: Volume, max_voxel_mm: list[float]) -> None:
    """Raise ScanError (excluded) where voxels are coarser than ``max_voxel_mm``: plane, slice."""
    in_plane, through = max_voxel_mm
    if (
        max(volume.in_plane_mm) > in_plane + _ROUNDING_MM
        or volume.slice_mm > through + _ROUNDING_MM
    ):
        sizes = " x ".join(f"{size:.2f}" for size in volume.zooms)
        raise ScanError(
            "voxel_size",
            f"Its voxels are {sizes} mm; at most {in_plane} in plane and {through} through plane"
            " are accepted.",
            excluded=True,
        )


def check_field(volume: Volume, seen: tuple[slice, ...]) -> None:
    """Raise ScanError (excluded) where the field of view cannot hold half a brain."""
    field = [(part.stop - part.start) * size for part, size in zip(seen, volume.zooms, strict=True)]
    if any(have < least for have, least in zip(field, _LEAST_FIELD_MM, strict=True)):
        sizes = " x ".join(f"{size:.0f}" for size in field)
        raise ScanError(
            "coverage", f"Its field of view is {sizes} mm: a part of a brain.", excluded=True
        )


def shape_measures(mask: np.ndarray, volume: Volume, seen: tuple[slice, ...]) -> dict[str, float]:
    """Volume (ml), sphericity and coverage of a brain mask (x, y, z).

    ``seen`` is the part of the grid that holds signal (``images.brain.field_of_view``).
    """
    return {
        "brain_volume_ml": round(float(mask.sum() * np.prod(volume.zooms)) / 1000, 1),
        "mask_compactness": round(geometry.sphericity(mask, volume.zooms), 4),
        "coverage": round(brain.coverage(mask, volume.affine, seen), 4),
    }


def check_mask(measures: dict[str, Any], settings: dict[str, Any]) -> None:
    """Raise ScanError where the mask is not that of a whole brain: not_brain, coverage, brain_mask.

    ``measures`` are those of :func:`shape_measures`. The order of the checks matters: half a brain
    has half of the volume, and its reason is the coverage.
    """
    volume, share = measures["brain_volume_ml"], measures["coverage"]
    if measures["mask_compactness"] < _LEAST_SPHERICITY:
        raise ScanError(
            "not_brain",
            f"What was taken for the brain has a sphericity of {measures['mask_compactness']:.2f},"
            f" below {_LEAST_SPHERICITY}.",
            excluded=True,
        )
    if share < settings["min_coverage"]:
        raise ScanError(
            "coverage",
            f"It holds {share:.0%} of the brain, below {settings['min_coverage']:.0%}.",
            excluded=True,
        )
    if not settings["min_brain_ml"] <= volume <= settings["max_brain_ml"]:
        raise ScanError(
            "brain_mask",
            f"The brain mask has {volume:.0f} ml, outside {settings['min_brain_ml']} to"
            f" {settings['max_brain_ml']}.",
        )


def check_polarity(
    corrected: np.ndarray, mask: np.ndarray, zooms: tuple[float, float, float]
) -> None:
    """Raise ScanError (excluded) where the image is surely T1-weighted.

    Deep in the brain (30 mm from the mask's edge) a T1w has dark ventricles and, far brighter than
    the median, a plateau of white matter: its 5th, 95th and 99th percentiles were 0.45, 1.49 and
    1.53 of the median. In GRE and SWI fluid may be dark or bright, but white matter is never far
    brighter than the median: 0.71, 1.08, 1.10 in a GRE with dark fluid, 0.79, 1.69, 2.08 in an EPI
    with bright fluid.

    ``corrected`` (x, y, z) has a median of 1 in ``mask``; ``zooms`` are its voxel sizes in mm.
    """
    steps = tuple(max(1, round(_STEP_MM / size)) for size in zooms)
    coarse = tuple(slice(None, None, step) for step in steps)
    depth = ndimage.distance_transform_edt(
        np.pad(mask[coarse], 1), sampling=[a * b for a, b in zip(steps, zooms, strict=True)]
    )[1:-1, 1:-1, 1:-1]
    deep = corrected[coarse][depth > _DEEP_MM]
    if deep.size < _FEWEST_DEEP:
        return
    low, high, highest = np.percentile(deep, _POLARITY_PERCENTILES)
    if low < _T1W_FLUID and high > _T1W_WHITE and highest < _T1W_PLATEAU * high:
        raise ScanError(
            "polarity",
            f"Its fluid is dark ({low:.2f} of the median) and its white matter bright ({high:.2f}),"
            " as in a T1w.",
            excluded=True,
        )


def check_skull(raw: np.ndarray, mask: np.ndarray, zooms: tuple[float, float, float]) -> None:
    """Raise ScanError (excluded) where the skull is brighter than the brain: an inverted image.

    Bone has no signal in any magnitude. A scan whose skull was set to 0 says nothing. ``raw`` and
    ``mask`` are (x, y, z); ``zooms`` are the voxel sizes in mm.
    """
    steps = [max(1, round(_SKULL_STEP_MM / size)) for size in zooms]
    coarse = tuple(slice(None, None, step) for step in steps)
    inside, signal = mask[coarse], raw[coarse]
    distance = ndimage.distance_transform_edt(~inside, np.array(zooms) * steps)
    least, most = _SKULL_MM
    skull = (distance > least) & (distance <= most) & (signal > 0)
    skull[:, :, : int(np.median(np.flatnonzero(inside.any((0, 1)))))] = False
    if np.count_nonzero(skull) < _FEWEST_SKULL:
        return
    ratio = float(np.median(signal[skull]) / np.median(raw[mask]))
    if ratio > _BRIGHT_SKULL:
        raise ScanError(
            "polarity",
            f"Its skull has {ratio:.1f} times the signal of the brain: the image is inverted.",
            excluded=True,
        )


def intensity_measures(
    raw: np.ndarray, corrected: np.ndarray, mask: np.ndarray, gain: np.ndarray | np.float32
) -> dict[str, float | None]:
    """QC measures of intensity; all arrays are (x, y, z).

    ``raw`` over ``gain`` (the bias field, or 1) is ``corrected`` but for a factor: ``corrected``
    has a median of 1 in ``mask``.
    """
    inside = corrected[mask]
    noise = background_noise(raw, mask)
    spread = float(np.std(gain[mask])) if isinstance(gain, np.ndarray) else 0.0
    return {
        "snr": round(float(np.median(raw[mask])) / noise, 2) if noise else None,
        "contrast_csf_tissue": round(float(np.percentile(inside, _FLUID_PERCENTILE)), 4),
        "dark_fraction": round(float(np.mean(inside < _DARK)), 5),
        "bias_spread": round(spread, 4),
        "median_signal": float(np.float32(np.median(raw[mask]))),
    }


def background_noise(raw: np.ndarray, mask: np.ndarray) -> float | None:
    """Standard deviation of the noise, from the air; None where the background has one value.

    Air is the darker part of the scan outside the box of the brain mask, without empty voxels. In
    air a magnitude has a Rayleigh distribution (Gudbjartsson and Patz 1995), whose median is 1.177
    standard deviations of the noise.

    ``raw`` and ``mask`` are (x, y, z).
    """
    outside = np.ones(mask.shape, dtype=bool)
    outside[geometry.box(mask)] = False
    values = raw[outside]
    values = values[values > 0]
    if values.size < _LEAST_OUTSIDE * raw.size:
        return None
    air = values[values < _MOST_AIR * np.median(raw[mask])]
    if air.size < _LEAST_AIR * raw.size:
        air = values[values <= np.percentile(values, _AIR_PERCENTILE)]
    return float(np.median(air)) / _RAYLEIGH_MEDIAN or None
