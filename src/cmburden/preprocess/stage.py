"""Stage preprocess: one scan in; brain mask, bias-corrected normalised volume, QC measures out.

The volume keeps the scan's grid (in canonical RAS) and, by default, the head. Its median inside the
brain mask is 1. A skull-stripped scan has its mask in itself (``images.stripped``). The stage
rejects an unfit scan before the slow stages, and writes the reason into its record.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cmburden.core import carry_out, remarks, stages
from cmburden.core.carry_out import Done, Job, measured
from cmburden.core.errors import ScanError
from cmburden.core.files import write_json
from cmburden.core.paths import Layout
from cmburden.core.scan import LEFT_RIGHT, SKULL_STRIPPED, Outcome, Scan
from cmburden.images import brain, stripped
from cmburden.images.prepared import require_finite
from cmburden.images.volume import load_volume, save_volume, sidecar
from cmburden.preprocess import artefacts, bias, sides
from cmburden.preprocess.bias import bias_field
from cmburden.preprocess.quality import (
    check_field,
    check_mask,
    check_polarity,
    check_skull,
    check_voxels,
    intensity_measures,
    shape_measures,
)

STAGE, VERSION = stages.PREPROCESS.name, stages.PREPROCESS.version


def run(scan: Scan, layout: Layout, settings: dict[str, Any]) -> Outcome:
    """Preprocess one scan; a fault of the scan becomes the outcome's status and reason."""
    job = Job(STAGE, VERSION, layout, settings)
    return carry_out.scan(job, scan, lambda: of_scan(scan, layout, settings))


def of_scan(scan: Scan, layout: Layout, settings: dict[str, Any]) -> Done:
    """Write mask, volume and sidecars of a scan; ScanError where the scan is unfit."""
    measures: dict[str, Any] = {
        "echo_time_s": scan.echo_time_s,
        "field_strength_t": scan.field_strength_t,
    }
    with measured(measures):
        volume = load_volume(scan.path)
        measures["voxel_x_mm"], measures["voxel_y_mm"] = (round(v, 4) for v in volume.in_plane_mm)
        measures["slice_mm"] = round(volume.slice_mm, 4)
        measures[LEFT_RIGHT] = volume.orientation != "none"
        check_voxels(volume, settings["max_voxel_mm"])
        seen = brain.field_of_view(volume.data)
        check_field(volume, seen)
        outline = stripped.brain_of(volume.data, volume.zooms, stated=scan.skull_stripped)
        if outline is None:
            mask = brain.brain_mask(volume.data, int(settings.get("threads", 1)))
        else:
            mask = outline
            measures[SKULL_STRIPPED] = True
        measures |= shape_measures(mask, volume, seen)
        check_mask(measures, settings)
        gain = bias_field(volume, mask) if settings["bias_correction"] else np.float32(1)
        if outline is not None and isinstance(gain, np.ndarray) and not bias.helps(gain, mask):
            gain = np.float32(1)
        corrected = volume.data / gain
        require_finite(corrected, "Its bias field leaves {} of {} voxels NaN or infinite.")
        median = float(np.median(corrected[mask]))
        if not median > 0:  # nor NaN
            raise ScanError("not_brain", "What was taken for the brain has no signal.")
        corrected /= median
        check_polarity(corrected, mask, volume.zooms)
        check_skull(volume.data, mask, volume.zooms)
        faults = artefacts.measure(volume, corrected, mask, stripped=outline is not None)
        measures["coverage"] = round(measures["coverage"] * faults.seen_share, 4)
        check_mask(measures, settings)
        faults.check()
        measures |= intensity_measures(volume.data, corrected, mask, gain)
        measures["mask_side_gap_mm"] = sides.gap_mm(corrected, mask, volume.zooms)
    if not settings["keep_head"]:
        corrected[~mask] = 0
    save_volume(layout.brain_mask(scan), mask, volume.affine, np.uint8)
    save_volume(layout.preproc(scan), corrected, volume.affine, np.float32)
    origin = "deepbet" if outline is None else "the outline of a skull-stripped image"
    no_head = outline is not None or not settings["keep_head"]
    _write_sidecars(scan, layout, origin, no_head=no_head, corrected=isinstance(gain, np.ndarray))
    about = _about_skull(scan, outline is not None, settings["bias_correction"], gain)
    cut = sides.warning(measures["mask_side_gap_mm"])
    warnings = [about, cut, *volume.notes, *faults.warnings()]
    if volume.orientation == "none":
        warnings.insert(0, "Its header has no orientation: left and right may be swapped.")
    return Done(measures, remarks.join(warnings))


def _about_skull(
    scan: Scan, is_stripped: bool, asked: bool, gain: np.ndarray | np.float32
) -> str | None:
    """A remark on a skull-stripped scan, and on a sidecar that the image does not bear out.

    ``asked``: the settings ask for bias correction, of which ``gain`` is 1 where it was left out.
    """
    if not is_stripped:
        if scan.skull_stripped:
            return "Its sidecar says SkullStripped, but nothing around the brain is blank."
        return None
    text = "It is skull-stripped: its own outline is the brain mask"
    if asked and not isinstance(gain, np.ndarray):
        text += ", and no bias correction was needed"
    return f"{text}."


def _write_sidecars(
    scan: Scan, layout: Layout, origin: str, *, no_head: bool, corrected: bool
) -> None:
    """Write the sidecars of mask and volume; ``origin`` says where the mask comes from."""
    source = "bids:raw:" + _relative_source(scan)
    n4 = "N4 bias correction, " if corrected else ""
    write_json(
        sidecar(layout.brain_mask(scan)),
        {"Type": "Brain", "Sources": [source], "Description": f"Brain mask by {origin}"},
    )
    write_json(
        sidecar(layout.preproc(scan)),
        {
            "Description": f"{n4}scaled to a median of 1 in the brain mask; canonical RAS",
            "SkullStripped": no_head,
            "Sources": [source],
        },
    )


def _relative_source(scan: Scan) -> str:
    """The source relative to the BIDS folder: from the participant's folder on."""
    parts = scan.path.parts
    if scan.participant_id in parts:
        return "/".join(parts[parts.index(scan.participant_id) :])
    return scan.path.name
