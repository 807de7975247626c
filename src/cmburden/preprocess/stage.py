"""Stage preprocess: one scan in, brain mask, bias-corrected normalised volume and QC measures out.

The volume keeps the scan's grid (in canonical RAS) and the head; the median inside the brain mask
is 1. What makes a scan unfit is checked here, before the slow stages, and becomes its record.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from cmburden.core.carry_out import carry_out
from cmburden.core.errors import ScanError
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan, write_json
from cmburden.images import brain, geometry
from cmburden.images import volume as images
from cmburden.images.volume import Volume
from cmburden.space.ants import ants_image, load_ants

STAGE = "preprocess"
VERSION = 1

#: A field of view below this (mm, right-left, back-front, down-up) holds no more than half a brain.
_LEAST_FIELD_MM = (95.0, 115.0, 60.0)
#: Below this sphericity a mask is not a brain: whole brains at hand have 0.87-0.90, a brain cut to
#: 60 mm 0.75, the structures that are found in a neck 0.66.
_LEAST_SPHERICITY = 0.70
_BIAS_SPACING_MM = 6.0


def run(scan: Scan, layout: Layout, settings: dict, log: str | None = None) -> Outcome:
    """Preprocess one scan; what is wrong with it becomes the outcome's reason."""
    return carry_out(
        STAGE, VERSION, scan, layout, settings,
        lambda measures: _preprocess(scan, layout, settings, measures), log,
    )  # fmt: skip


def _preprocess(scan: Scan, layout: Layout, settings: dict, measures: dict) -> str | None:
    """Write the scan's derivatives, fill ``measures``; return a warning or None."""
    measures |= {"echo_time_s": scan.echo_time_s, "field_strength_t": scan.field_strength_t}
    volume = images.load_volume(scan.path)
    measures["voxel_x_mm"], measures["voxel_y_mm"] = (round(v, 4) for v in volume.in_plane_mm)
    measures["slice_mm"] = round(volume.slice_mm, 4)
    check_voxels(volume, settings["max_voxel_mm"])
    seen = brain.field_of_view(volume.data)
    check_field(volume, seen)
    threads = int(settings.get("threads", 1))
    mask = brain.brain_mask(volume.data, threads)
    measures |= shape_measures(mask, volume, seen)
    check_mask(measures, settings)
    gain = bias_field(volume, mask) if settings["bias_correction"] else np.float32(1)
    corrected = volume.data / gain
    median = float(np.median(corrected[mask]))
    if median <= 0:
        raise ScanError("not_brain", "What was taken for the brain has no signal.")
    corrected /= median
    check_polarity(corrected, mask, volume.zooms)
    measures |= intensity_measures(volume.data, corrected, mask, gain)
    images.save_volume(layout.brain_mask(scan), mask, volume.affine, np.uint8)
    images.save_volume(layout.preproc(scan), corrected, volume.affine, np.float32)
    _write_sidecars(scan, layout, settings)
    if volume.orientation == "none":
        return "Its header has no orientation: left and right may be swapped."
    return None


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


def bias_field(volume: Volume, mask: np.ndarray) -> np.ndarray:
    """Multiplicative bias (x, y, z) by N4 (Tustison 2010) within the mask, 1 on average there.

    Estimated on voxels of about 6 mm around the brain, which hold all that N4's splines (knots
    180 mm to 45 mm apart) can describe, and interpolated linearly. Further out the nearest value
    holds.
    """
    ants = load_ants()
    factors = [max(1, round(_BIAS_SPACING_MM / size)) for size in volume.zooms]
    box = geometry.box(mask, factors)
    small, small_mask, affine = _block_means(volume, mask, box, factors)
    inside = small_mask > 0.5
    image = ants_image(np.maximum(small, 1e-6 * small.max()), affine)
    field = ants.n4_bias_field_correction(
        image,
        mask=ants_image(inside.astype(np.float32), affine),
        shrink_factor=1,
        convergence={"iters": [30, 30, 20], "tol": 1e-4},
        spline_param=180,
        return_bias_field=True,
    ).numpy()
    field = np.clip(field, *np.percentile(field[inside], [0.5, 99.5])).astype(np.float32)
    field /= field[inside].mean()
    # Centre of block i lies at voxel start + factor * i + (factor - 1) / 2.
    for axis, (factor, size) in enumerate(zip(factors, volume.data.shape, strict=True)):
        at = (np.arange(size) - box[axis].start - (factor - 1) / 2) / factor
        at = np.clip(at, 0, field.shape[axis] - 1)
        low = np.minimum(at.astype(int), max(field.shape[axis] - 2, 0))
        weight = (at - low).astype(np.float32)
        shape = [1, 1, 1]
        shape[axis] = -1
        high = np.minimum(low + 1, field.shape[axis] - 1)
        weight = weight.reshape(shape)
        field = np.take(field, low, axis) * (1 - weight) + np.take(field, high, axis) * weight
    return field


def _block_means(
    volume: Volume, mask: np.ndarray, box: tuple[slice, ...], factors: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means of volume and mask over blocks of ``factors`` voxels in a box, and their affine.

    The last block of an axis is filled up with the box's outermost plane.
    """
    padding = [
        (0, -(part.stop - part.start) % factor) for part, factor in zip(box, factors, strict=True)
    ]
    data, inside = (
        geometry.block_means(np.pad(array[box].astype(np.float32), padding, mode="edge"), factors)
        for array in (volume.data, mask)
    )
    starts = [part.start for part in box]
    return data, inside, geometry.affine_of_blocks(volume.affine, factors, starts)


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


def _write_sidecars(scan: Scan, layout: Layout, settings: dict) -> None:
    source = "bids:raw:" + _relative_source(scan)
    corrected = "N4 bias correction, " if settings["bias_correction"] else ""
    write_json(
        _sidecar(layout.brain_mask(scan)),
        {"Type": "Brain", "Sources": [source], "Description": "Brain mask by deepbet"},
    )
    write_json(
        _sidecar(layout.preproc(scan)),
        {
            "Description": f"{corrected}scaled to a median of 1 in the brain mask; canonical RAS",
            "SkullStripped": False,
            "Sources": [source],
        },
    )


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")


def _relative_source(scan: Scan) -> str:
    """The source relative to the BIDS folder: from the participant's folder on."""
    parts = scan.path.parts
    if scan.participant_id in parts:
        return "/".join(parts[parts.index(scan.participant_id) :])
    return scan.path.name


def load_result(scan: Scan, layout: Layout) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Volume, brain mask (bool) and affine that this stage wrote."""
    data, affine = images.read_derivative(layout.preproc(scan))
    mask, _ = images.read_derivative(layout.brain_mask(scan))
    return np.asarray(data, dtype=np.float32), mask > 0, affine
