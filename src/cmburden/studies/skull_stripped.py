"""What is lost where the skull was taken away before: simulated scans, whole and stripped.

``python -m cmburden.studies.skull_stripped BIDS TRUTH OUT --scans sub-ADNI004_T2starw ...``. Each
scan is searched as it is, and stripped by its own brain mask: with NaN around the mask, and with 0
around the mask eroded by 1 and 2 mm. The stages run without T1w and without SyN. Two further
variants go through preprocess alone: 0 in place of NaN, and the bias-corrected volume.
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
from cmburden.core.markdown import table as markdown_table
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.core.tables import CANDIDATES
from cmburden.images.prepared import Prepared
from cmburden.images.volume import load_volume
from cmburden.index import stage as index
from cmburden.stats.matching import hungarian

#: Variants that are searched: name, depth of the erosion (mm, None: whole head), value outside.
SEARCHED: tuple[tuple[str, float | None, float], ...] = (
    ("whole head", None, 0.0),
    ("NaN", 0.0, np.nan),
    ("eroded by 1 mm", 1.0, 0.0),
    ("eroded by 2 mm", 2.0, 0.0),
)
#: Variants of which only the preparation is looked at.
PREPARED = ("0", "corrected before")


@dataclasses.dataclass(frozen=True)
class Study:
    """Where scans come from and results go, and the configuration of all runs."""

    bids: Path
    out: Path
    config: dict[str, Any]

    def folder(self, variant: str) -> Path:
        return self.out / variant.replace(" ", "-")


def search(study: Study, variant: str, source: Path, image: nib.Nifti1Image) -> dict[str, Any]:
    """Prepare, register and search ``image`` in place of the scan ``source``."""
    from cmburden.detect import stage as detect
    from cmburden.register import stage as register
    from cmburden.verify import stage as verify

    scan, layout, measures = prepare(study, variant, source, image)
    aligned = register.run(scan, layout, study.config["register"])
    scans, bucket = [scan], 0
    detect.run(scans, layout, study.config["detect"], bucket)
    verify.run(scans, layout, study.config["verify"], bucket)
    rows = CANDIDATES.read(layout.bucket("verify", bucket))
    return measures | {"register": aligned.status, **aligned.measures, "candidates": rows}


def prepare(
    study: Study, variant: str, source: Path, image: nib.Nifti1Image
) -> tuple[Scan, Layout, dict[str, Any]]:
    """Run preprocess on ``image``; the scan, its layout, and what preprocess measured."""
    from cmburden.preprocess import stage as preprocess

    folder = study.folder(variant) / source.name.removesuffix(".nii.gz")
    shutil.rmtree(folder, ignore_errors=True)
    path = folder / "bids" / source.relative_to(study.bids)
    path.parent.mkdir(parents=True)
    nib.save(image, path)
    beside = source.with_name(source.name.replace(".nii.gz", ".json"))
    shutil.copy(beside, path.with_name(beside.name))
    shutil.copy(study.bids / "dataset_description.json", folder / "bids")
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


def of_scan(study: Study, source: Path, truth: pd.DataFrame) -> list[dict[str, Any]]:
    """A row for each variant of the scan ``source``."""
    scan_id = source.name.removesuffix(".nii.gz")
    truth = truth[truth["scan_id"] == scan_id]
    rows: list[dict[str, Any]] = []
    mask = np.zeros(0, dtype=bool)
    for variant, depth, outside in SEARCHED:
        if depth is None:
            image = nib.load(source)
        else:
            image = stripped(source, mask, depth, outside)
        result = search(study, variant, source, image)
        candidates = result.pop("candidates")
        if depth is None:
            mask = _prepared(study, variant, scan_id).mask
        rows.append({"scan": scan_id, "variant": variant, **result, **score(candidates, truth)})
        print(json.dumps(rows[-1], default=str), flush=True)
    whole = _prepared(study, SEARCHED[0][0], scan_id)
    corrected = np.where(whole.mask, whole.volume * 1000, 0).astype(np.float32)
    images = (stripped(source, mask, 0.0, 0.0), nib.Nifti1Image(corrected, whole.affine))
    for variant, image in zip(PREPARED, images, strict=True):
        measures = prepare(study, variant, source, image)[2]
        rows.append({"scan": scan_id, "variant": variant, **measures})
        print(json.dumps(rows[-1], default=str), flush=True)
    return rows


def _prepared(study: Study, variant: str, scan_id: str) -> Prepared:
    folder = study.folder(variant) / scan_id
    layout = Layout(folder / "derivatives")
    scan = index.run(folder / "bids", layout, study.config)[0]
    return Prepared.read(scan, layout)


def page(rows: pd.DataFrame) -> str:
    """The table of the variants over all scans, as Markdown."""
    counts = ["microbleeds", "among candidates", "candidates", "definite", "false"]
    searched = rows[rows["microbleeds"].notna()]
    lines = []
    for variant, _, _ in SEARCHED:
        part = searched[searched["variant"] == variant]
        correlation = part["registration_correlation"].astype(float).median()
        numbers = [str(int(part[name].sum())) for name in counts]
        lines.append([variant, str(len(part)), *numbers, f"{correlation:.3f}"])
    header = ["variant", "scans", *counts, "median correlation with MNI152"]
    return markdown_table(header, lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the study and write OUT/rows.json and OUT/table.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bids", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scans", nargs="+", required=True, metavar="SCAN_ID")
    args = parser.parse_args(arguments)
    config = configuration.load(
        {"register": {"use_t1w": False, "nonlinear": False}, "detect": {"device": "cpu"}}
    )
    study = Study(args.bids, args.out, config)
    truth = pd.read_csv(args.truth, sep="\t", na_values="n/a")
    rows: list[dict[str, Any]] = []
    for scan_id in args.scans:
        [source] = args.bids.glob(f"sub-*/**/{scan_id}.nii.gz")
        rows += of_scan(study, source, truth)
        write_json(args.out / "rows.json", json.loads(json.dumps(rows, default=str)))
    text = page(pd.DataFrame(rows))
    with whole_file(args.out / "table.md") as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
