"""Checks and quality measures of a scan and its brain mask."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cmburden.core.errors import ScanError
from cmburden.images import brain, geometry
from cmburden.images.volume import Volume

#: A field of view below this (mm, right-left, back-front, down-up) holds no more than half a brain.
_LEAST_FIELD_MM = (95.0, 115.0, 60.0)


#: Below this sphericity a mask is not a brain: whole brains at hand have 0.87-0.90, a brain cut to
#: 60 mm 0.75, the structures that are found in a neck 0.66.
_LEAST_SPHERICITY = 0.70


def check_voxels(volume: Volume, max_voxel_mm: list[float]) -> None:
    """Raise ScanError (excluded) where voxels are coarser than ``max_voxel_mm``: plane, slice."""
    in_plane, through = max_voxel_mm
    # A hundredth of a millimetre is rounding in the header.
    if max(volume.in_plane_mm) > in_plane + 0.01 or volume.slice_mm > through + 0.01:
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


def shape_measures(mask: np.ndarray, volume: Volume, seen: tuple[slice, ...]) -> dict:
    return {
        "brain_volume_ml": round(float(mask.sum() * np.prod(volume.zooms)) / 1000, 1),
        "mask_compactness": round(geometry.sphericity(mask, volume.zooms), 4),
        "coverage": round(brain.coverage(mask, volume.affine, seen), 4),
    }


def check_mask(measures: dict, settings: dict) -> None:
    """Raise ScanError where the mask is not that of a whole brain: not_brain, coverage, brain_mask.

    The order matters: half a brain is small because it is half.
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


def check_polarity(corrected: np.ndarray, mask: np.ndarray, zooms: tuple) -> None:
    """Raise ScanError (excluded) where the image is surely T1-weighted.

    Deep in the brain (30 mm from the mask's edge) a T1w has dark ventricles and, far brighter than
    the median, a plateau of white matter: its 5th, 95th and 99th percentiles were 0.45, 1.49 and
    1.53 of the median. In GRE and SWI fluid may be dark or bright, but white matter never stands
    out: 0.71, 1.08, 1.10 in a GRE with dark fluid, 0.79, 1.69, 2.08 in an EPI with bright fluid.
    """
    steps = tuple(max(1, round(3 / size)) for size in zooms)
    coarse = tuple(slice(None, None, step) for step in steps)
    depth = ndimage.distance_transform_edt(
        np.pad(mask[coarse], 1), sampling=[a * b for a, b in zip(steps, zooms, strict=True)]
    )[1:-1, 1:-1, 1:-1]
    deep = corrected[coarse][depth > 30]
    if deep.size < 500:
        return
    low, high, highest = np.percentile(deep, [5, 95, 99])
    if low < 0.5 and high > 1.3 and highest < 1.15 * high:
        raise ScanError(
            "polarity",
            f"Its fluid is dark ({low:.2f} of the median) and its white matter bright ({high:.2f}),"
            " as in a T1w.",
            excluded=True,
        )


def intensity_measures(
    raw: np.ndarray, corrected: np.ndarray, mask: np.ndarray, gain: np.ndarray
) -> dict:
    """QC measures of intensity; ``corrected`` has median 1 inside ``mask``."""
    inside = corrected[mask]
    noise = background_noise(raw, mask)
    spread = float(np.std(gain[mask])) if np.ndim(gain) else 0.0
    return {
        "snr": round(float(np.median(raw[mask])) / noise, 2) if noise else None,
        "contrast_csf_tissue": round(float(np.percentile(inside, 95)), 4),
        "dark_fraction": round(float(np.mean(inside < 0.4)), 5),
        "bias_spread": round(spread, 4),
        "median_signal": float(np.float32(np.median(raw[mask]))),
    }


def background_noise(raw: np.ndarray, mask: np.ndarray) -> float | None:
    """Spread of the noise in the air; None where the background was set to one value.

    Air: the darker half of what lies outside the box of the brain mask, empty voxels left out. In
    air a magnitude has a Rayleigh distribution (Gudbjartsson and Patz 1995), whose median is 1.177
    of the noise's standard deviation; the lower half is below tissue whatever the head's share.
    """
    box = geometry.box(mask)
    outside = np.ones(mask.shape, dtype=bool)
    outside[box] = False
    values = raw[outside]
    values = values[values > 0]
    if values.size < 0.02 * raw.size:
        return None
    air = values[values < 0.1 * np.median(raw[mask])]
    if air.size < 0.01 * raw.size:
        air = values[values <= np.percentile(values, 20)]
    return float(np.median(air)) / 1.177 or None
