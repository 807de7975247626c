"""Stage register: where each voxel of a scan lies in MNI152, and so in which MARS region.

The scan is the fixed image and the template the moving one: a scan that covers part of the brain
then asks nothing of the rest. With a T1w of the same session the scan is aligned rigidly to it and
it to the template; without, the scan goes to the template itself, by mutual information. The result
is one affine and one displacement field from the scan to MNI152, in ANTs' convention (LPS, fixed to
moving, field before affine); points and regions are taken through it here, so that both agree.
"""

from __future__ import annotations

import numpy as np

from cmburden.core import carry_out, stages
from cmburden.core.carry_out import Done, Job, measured
from cmburden.core.errors import ScanError
from cmburden.core.files import write_json
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.images import volume as images
from cmburden.images.prepared import Prepared
from cmburden.register.align import alignment, regions_in_scan, through_t1w, to_template
from cmburden.register.figure import draw
from cmburden.space import atlas
from cmburden.space.transform import compact, save_transform

STAGE, VERSION = stages.REGISTER.name, stages.REGISTER.version


def run(scan: Scan, layout: Layout, settings: dict, log: str | None = None) -> Outcome:
    """Register one scan; what is wrong with it becomes the outcome's reason."""
    job = Job(STAGE, VERSION, layout, settings, log)
    return carry_out.scan(job, scan, lambda: _register(scan, layout, settings))


def _register(scan: Scan, layout: Layout, settings: dict) -> Done:
    """Write transform, regions and figure."""
    before = Outcome.read(layout.record(stages.PREPROCESS.name, scan.scan_id))
    if not before.ok:
        raise ScanError(
            "upstream",
            f"It was {before.status} at preprocess ({before.reason}).",
            excluded=before.status == "excluded",
        )
    prepared = Prepared.read(scan, layout)
    data, mask, affine = prepared.volume, prepared.mask, prepared.affine
    warning = None
    transform = None
    if scan.t1w_path is not None and settings["use_t1w"]:
        try:
            transform = through_t1w(data, mask, affine, scan.t1w_path, settings)
        except ScanError as error:
            warning = f"The T1w was not used: {error}"
    via_t1w = transform is not None
    if transform is None:
        direct = to_template(data, mask, affine, settings["nonlinear"])
        transform = compact(None, direct, mask, affine)
    correlation = alignment(data, mask, affine, transform)
    measures = {"via_t1w": via_t1w, "registration_correlation": round(correlation, 4)}
    with measured(measures):
        if correlation < settings["min_correlation"]:
            raise ScanError(
                "registration",
                f"Its correlation with the template is {correlation:.2f}, below"
                f" {settings['min_correlation']}.",
            )
    save_transform(layout, scan.scan_id, transform)
    regions = regions_in_scan(mask, affine, transform)
    images.save_volume(layout.regions(scan), regions, affine, np.int16)
    write_json(
        layout.regions(scan).with_name(layout.regions(scan).name.removesuffix(".nii.gz") + ".json"),
        {
            "Description": "MARS regions; left value, right value + 100",
            "Sources": [f"bids::{layout.preproc(scan).relative_to(layout.root).as_posix()}"],
            "LabelMap": atlas.label_map(),
        },
    )
    draw(layout.quality_figure(scan), data, mask, regions, affine)
    return Done(measures, warning)
