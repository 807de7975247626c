"""What is lost where the skull was taken away before: simulated scans, whole and stripped.

``python -m cmburden.studies.skull_stripped BIDS DERIVATIVES TRUTH OUT --scans SCAN_ID ...``. The
run DERIVATIVES of BIDS has searched the whole heads. Each scan is stripped by the brain mask of
that run, with NaN around the mask, and with 0 around the mask eroded by 1 and 2 mm, and searched
again with the registration of the run. Further variants go through preprocess alone: 0 in place of
NaN, and the volume whose bias was corrected.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage

from cmburden.core import config as configuration
from cmburden.core.errors import exit_code
from cmburden.core.files import whole_file, write_json
from cmburden.core.manifest import read_scans
from cmburden.core.markdown import table as markdown_table
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.core.tables import CANDIDATES
from cmburden.images.prepared import Prepared
from cmburden.images.volume import load_volume
from cmburden.index import stage as index
from cmburden.stats.matching import hungarian

#: The scan as the run has searched it.
WHOLE = "whole head"
#: Variants that are searched: name, depth of the erosion in mm, value outside.
SEARCHED = (("NaN", 0.0, np.nan), ("eroded by 1 mm", 1.0, 0.0), ("eroded by 2 mm", 2.0, 0.0))
#: Variants of which only the preparation is looked at.
PREPARED = ("0", "corrected before")


@dataclasses.dataclass(frozen=True)
class Study:
    """The BIDS folder, the run of its whole heads, where results go, and the configuration."""

    bids: Path
    run: Layout
    out: Path
    config: dict[str, Any]


def search(study: Study, variant: str, whole: Scan, image: nib.Nifti1Image) -> dict[str, Any]:
    """Prepare and search ``image`` in place of the scan ``whole``, with its registration."""
    from cmburden.detect import stage as detect
    from cmburden.verify import stage as verify

    scan, layout, measures = prepare(study, variant, whole, image)
    _take_registration(study.run, whole, layout, scan)
    detect.run([scan], layout, configuration.of_stage(study.config, "detect"), 0)
    verify.run([scan], layout, configuration.of_stage(study.config, "verify"), 0)
    return measures | {"candidates": CANDIDATES.read(layout.bucket("verify", 0))}


def _take_registration(run: Layout, whole: Scan, layout: Layout, scan: Scan) -> None:
    """Copy transform, regions and record of ``whole`` in ``run`` to those of ``scan``."""
    for name in ("affine.mat", "warp.nii.gz", "json"):
        if run.transform(whole, name).exists():
            _copy(run.transform(whole, name), layout.transform(scan, name))
    _copy(run.regions(whole), layout.regions(scan))
    _copy(run.record("register", whole.scan_id), layout.record("register", scan.scan_id))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def prepare(
    study: Study, variant: str, whole: Scan, image: nib.Nifti1Image
) -> tuple[Scan, Layout, dict[str, Any]]:
    """Run preprocess on ``image``; the scan, its layout, and what preprocess measured."""
    from cmburden.preprocess import stage as preprocess

    folder = study.out / variant.replace(" ", "-") / whole.scan_id
    shutil.rmtree(folder, ignore_errors=True)
    path = folder / "bids" / whole.path.relative_to(study.bids)
    path.parent.mkdir(parents=True)
    nib.save(image, path)
    beside = whole.path.with_name(whole.path.name.replace(".nii.gz", ".json"))
    _copy(beside, path.with_name(beside.name))
    _copy(study.bids / "dataset_description.json", folder / "bids" / "dataset_description.json")
    layout = Layout(folder / "derivatives")
    scan = index.run(folder / "bids", layout, study.config)[0]
    done = preprocess.run(scan, layout, study.config["preprocess"])
    return scan, layout, {"status": done.status, "message": done.message, **done.measures}


def stripped(path: Path, mask: np.ndarray, depth_mm: float, outside: float) -> nib.Nifti1Image:
    """The image ``path`` with the value ``outside`` around its ``mask``, eroded by ``depth_mm``."""
    volume = load_volume(path)
    depth = ndimage.distance_transform_edt(mask, volume.zooms)
    inside = np.where(depth > depth_mm, volume.data, np.float32(outside))
    return nib.Nifti1Image(inside.astype(np.float32), volume.affine)


def score(candidates: pd.DataFrame, truth: pd.DataFrame) -> dict[str, int]:
    """Microbleeds among the candidates and the definite lesions, and false ones among the latter.

    Faint microbleeds count neither way.
    """
    real = truth[truth["kind"] == "microbleed"]
    faint = truth[truth["kind"] == "faint"]
    xyz = ["x_mm", "y_mm", "z_mm"]
    definite = candidates[candidates["label"] == "definite"]

    def hits(rows: pd.DataFrame, sought: pd.DataFrame) -> list[tuple[int, int]]:
        points = [frame[xyz].to_numpy(dtype=float).reshape(-1, 3) for frame in (rows, sought)]
        return hungarian(points[0], points[1], sought["radius_mm"].to_numpy(dtype=float))

    right = {row for row, _ in hits(definite, real)}
    others = definite.iloc[[row for row in range(len(definite)) if row not in right]]
    return {
        "microbleeds": len(real),
        "among candidates": len(hits(candidates, real)),
        "candidates": len(candidates),
        "definite": len(right),
        "false": len(others) - len(hits(others, faint)),
    }


def of_scan(study: Study, whole: Scan, truth: pd.DataFrame) -> list[dict[str, Any]]:
    """A row for each variant of the scan ``whole``."""
    truth = truth[truth["scan_id"] == whole.scan_id]
    prepared = Prepared.read(whole, study.run)
    candidates = CANDIDATES.read(study.run.candidates)
    candidates = candidates[candidates["scan_id"] == whole.scan_id]
    measures = Outcome.read(study.run.record("preprocess", whole.scan_id)).measures
    rows = [{"variant": WHOLE, **measures, **score(candidates, truth)}]
    for variant, depth, outside in SEARCHED:
        image = stripped(whole.path, prepared.mask, depth, outside)
        result = search(study, variant, whole, image)
        candidates = result.pop("candidates")
        rows.append({"variant": variant, **result, **score(candidates, truth)})
    corrected = np.where(prepared.mask, prepared.volume * 1000, 0).astype(np.float32)
    images = (
        stripped(whole.path, prepared.mask, 0.0, 0.0),
        nib.Nifti1Image(corrected, prepared.affine),
    )
    for variant, image in zip(PREPARED, images, strict=True):
        rows.append({"variant": variant, **prepare(study, variant, whole, image)[2]})
    return [{"scan": whole.scan_id, **row} for row in rows]


def page(rows: pd.DataFrame) -> str:
    """The table of the variants over all scans, as Markdown."""
    counts = ["microbleeds", "among candidates", "candidates", "definite", "false"]
    lines = []
    for variant in (WHOLE, *(name for name, _, _ in SEARCHED)):
        part = rows[rows["variant"] == variant]
        lines.append([variant, len(part), *(int(part[name].sum()) for name in counts)])
    return markdown_table(["input", "scans", *counts], lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the study and write OUT/rows.json and OUT/table.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("bids", "derivatives", "truth", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--scans", nargs="+", required=True, metavar="SCAN_ID")
    args = parser.parse_args(arguments)
    run = Layout(args.derivatives)
    study = Study(args.bids.absolute(), run, args.out, configuration.load())
    scans = {scan.scan_id: scan for scan in read_scans(run.manifest, study.bids)}
    truth = pd.read_csv(args.truth, sep="\t", na_values="n/a")
    rows: list[dict[str, Any]] = []
    for scan_id in args.scans:
        rows += of_scan(study, scans[scan_id], truth)
        write_json(args.out / "rows.json", json.loads(json.dumps(rows, default=str)))
        text = page(pd.DataFrame(rows))
        with whole_file(args.out / "table.md") as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        print(text, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
