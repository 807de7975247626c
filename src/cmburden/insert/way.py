"""The whole way on copies: the pipeline's own stages, in a folder of their own.

Preprocess, detect and verify work on the copy as on any scan. The registration of the original is
taken over where the copy's brain mask is the original's: it works on voxels of 4 mm, of which a
microbleed is a part.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cmburden.core.config import of_stage
from cmburden.core.errors import ScanError
from cmburden.core.keys import hash_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.core.stages import PREPROCESS, RECORDED_STAGES, REGISTER, VERIFY, version_of
from cmburden.core.tables import CANDIDATES
from cmburden.detect import stage as detect
from cmburden.images.prepared import Prepared
from cmburden.preprocess import stage as preprocess
from cmburden.register import stage as register
from cmburden.space.transform import load_transform, save_transform
from cmburden.verify import stage as verify

#: The registration of the original is taken over where so few voxels of the brain differ.
MOST_OTHER = 0.002
#: Number of the one bucket of a folder of copies.
_BUCKET = 0


@dataclasses.dataclass(frozen=True)
class Copy:
    """A ``scan`` of the run, and the image ``path`` that stands for it."""

    scan: Scan
    path: Path

    @property
    def as_scan(self) -> Scan:
        """The copy as the stages see it."""
        key = hash_of("inserted", self.scan.content_key)
        # The phase of the original does not hold the lesions of the copy.
        return dataclasses.replace(
            self.scan, path=self.path, phase_path=None, phase_key="", content_key=key
        )


def candidates_of(
    copies: Sequence[Copy], here: Layout, layout: Layout, config: Mapping[str, Any]
) -> tuple[pd.DataFrame, dict[str, Outcome]]:
    """Rows of `candidates` of the copies, and the failed outcome of each that was not read.

    ``here`` is the folder of the copies, ``layout`` that of the run, whose settings are ``config``.
    """
    for copy in copies:
        scan = copy.as_scan
        preprocess.run(scan, here, config[PREPROCESS.name])
        if not _taken_over(copy, here, layout):
            register.run(scan, here, config[REGISTER.name])
    scans = [copy.as_scan for copy in copies]
    detect.run(scans, here, of_stage(dict(config), "detect"), _BUCKET)
    verify.run(scans, here, of_stage(dict(config), "verify"), _BUCKET)
    rows = CANDIDATES.read(here.bucket(VERIFY.name, _BUCKET))
    failed = {}
    for scan in scans:
        outcomes = [Outcome.read(here.record(stage, scan.scan_id)) for stage in RECORDED_STAGES]
        first = next((outcome for outcome in outcomes if not outcome.ok), None)
        if first is not None:
            failed[scan.scan_id] = first
    return rows, failed


def _taken_over(copy: Copy, here: Layout, layout: Layout) -> bool:
    """Take over the registration of the original; False where the copy needs its own."""
    scan = copy.scan
    if not Outcome.read(here.record(PREPROCESS.name, scan.scan_id)).ok:
        return False
    first, second = Prepared.read(scan, layout).mask, Prepared.read(copy.as_scan, here).mask
    if first.shape != second.shape or (first != second).sum() > MOST_OTHER * first.sum():
        return False
    save_transform(here, scan, load_transform(layout, scan))
    target = here.regions(scan)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(layout.regions(scan), target)
    before = Outcome.read(layout.record(REGISTER.name, scan.scan_id))
    version = version_of(REGISTER.name)
    kept = dataclasses.replace(before, version=version, seconds=None, made_from={})
    kept.write(here.record(REGISTER.name, scan.scan_id))
    return True


def require_results(scan: Scan, layout: Layout) -> None:
    """Raise ScanError where the run has no result of the scan to compare a copy with."""
    for stage in RECORDED_STAGES:
        outcome = Outcome.read(layout.record(stage, scan.scan_id))
        if not outcome.ok:
            raise ScanError("upstream", f"It was {outcome.status} at {stage}.")
