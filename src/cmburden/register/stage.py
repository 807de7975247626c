"""Stage register: where each voxel of a scan lies in MNI152, and in which MARS region.

The scan is the fixed image and the template the moving one: voxels of the template outside the
scan's field of view then have no weight. With a T1w of the same session, the scan is aligned
rigidly to the T1w and the T1w to the template; without, the scan goes to the template directly, by
mutual information. The result is one affine and one displacement field from the scan to MNI152, in
ANTs' convention (LPS, fixed to moving, field before affine). Points and regions both go through
this transform, so that they agree.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cmburden.core import carry_out, remarks, stages
from cmburden.core.carry_out import Done, Job, measured
from cmburden.core.errors import ScanError
from cmburden.core.files import write_json
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.images.prepared import Prepared
from cmburden.images.volume import save_volume, sidecar
from cmburden.register import orientation, t1w
from cmburden.register.align import alignment, regions_in_scan, to_template
from cmburden.register.figure import draw
from cmburden.space.transform import Transform, compact, moved, save_transform

STAGE, VERSION = stages.REGISTER.name, stages.REGISTER.version


def run(scan: Scan, layout: Layout, settings: dict[str, Any]) -> Outcome:
    """Register one scan; a fault of the scan becomes the outcome's status and reason."""
    job = Job(STAGE, VERSION, layout, settings)
    return carry_out.scan(job, scan, lambda: of_scan(scan, layout, settings))


def of_scan(scan: Scan, layout: Layout, settings: dict[str, Any]) -> Done:
    """Write transform, regions and figure of a scan; ScanError where the result does not fit."""
    before = carry_out.read_record(layout, stages.PREPROCESS.name, scan.scan_id)
    if not before.ok:
        raise ScanError(
            "upstream",
            f"It was {before.status} at preprocess ({before.reason}).",
            excluded=before.status == "excluded",
        )
    prepared = Prepared.read(scan, layout)
    fit, doubt = orientation.check(prepared)
    transform, warning = _through_t1w(prepared, scan, layout, settings)
    measures: dict[str, Any] = {"via_t1w": transform is not None}
    if transform is None:
        transform = _direct(prepared, fit, settings)
    with measured(measures):
        correlation = alignment(prepared.volume, prepared.mask, prepared.affine, transform)
        measures["registration_correlation"] = round(correlation, 4)
        if not correlation >= settings["min_correlation"]:  # NaN is below every number too
            raise ScanError(
                "registration",
                f"Its correlation with the template is {correlation:.2f}, below"
                f" {settings['min_correlation']}.",
            )
    save_transform(layout, scan, transform)
    regions = regions_in_scan(prepared.mask, prepared.affine, transform)
    _write_regions(scan, layout, regions, prepared.affine)
    draw(layout.quality_figure(scan), prepared.volume, prepared.mask, regions, prepared.affine)
    return Done(measures, remarks.join([doubt, warning]))


def _through_t1w(
    prepared: Prepared, scan: Scan, layout: Layout, settings: dict[str, Any]
) -> tuple[Transform | None, str | None]:
    """The transform through the session's T1w, and a warning where that T1w cannot be used."""
    if scan.t1w_path is None or not settings["use_t1w"]:
        return None, None
    try:
        image = t1w.of_session(scan.t1w_path, scan.participant_id, layout, settings)
        return t1w.through(image, prepared.volume, prepared.mask, prepared.affine), None
    except ScanError as error:
        return None, f"The T1w was not used: {error}"


def _direct(prepared: Prepared, fit: orientation.Fit, settings: dict[str, Any]) -> Transform:
    """The transform without a T1w; the registration goes on from ``fit``."""
    volume, mask, affine = prepared.volume, prepared.mask, prepared.affine
    turned = moved(affine, fit.start)
    second = to_template(volume, mask, turned, settings["nonlinear"], fit.linear)
    return compact(fit.start, second, mask, affine)


def _write_regions(scan: Scan, layout: Layout, regions: np.ndarray, affine: np.ndarray) -> None:
    """Write the label image of the MARS regions and its sidecar."""
    save_volume(layout.regions(scan), regions, affine, np.int16)
    write_json(
        sidecar(layout.regions(scan)),
        {
            "Description": "MARS regions; left value, right value + 100. Names and colours: "
            f"{layout.region_names('tsv').name} of the dataset",
            "Sources": [f"bids::{layout.preproc(scan).relative_to(layout.root).as_posix()}"],
        },
    )
