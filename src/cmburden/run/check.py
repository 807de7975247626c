"""`cmburden check`: what a run would do with a scan, a folder or a BIDS tree, without the networks.

Names and sidecars of a tree are all read, images only some (``--images``). Nothing is written but
the file that ``--json`` names.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from cmburden import RESEARCH_USE_ONLY
from cmburden.core import config as configuration
from cmburden.core.errors import CMBurdenError, ScanError
from cmburden.core.files import write_json
from cmburden.core.paths import Layout
from cmburden.core.tables import MANIFEST, REJECTED
from cmburden.run import options

#: Images of a tree that are opened, unless ``--images`` says so.
IMAGES = 12
#: Seconds of two cores that a scan takes from preprocess to verify, least and most: an ADNI-like
#: scan and one of 0.5 mm (docs/scale.md, docs/accuracy.md).
_SECONDS = (25, 60)
#: Files named in a sentence.
_MOST_NAMED = 3


@dataclasses.dataclass(frozen=True)
class Image:
    """What a run would say of one image before the networks.

    ``status`` is 'ok', 'excluded' or 'failed'; ``message`` a reason's sentence; ``warnings`` what
    was mended or is in doubt. Sizes are mm; ``orientation`` names the header's form.
    """

    path: str
    status: str
    message: str | None = None
    warnings: tuple[str, ...] = ()
    voxel_x_mm: float | None = None
    voxel_y_mm: float | None = None
    slice_mm: float | None = None
    field_of_view_mm: tuple[float, ...] = ()
    orientation: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("path", type=Path, help="a NIfTI file, a folder of them, or a BIDS folder")
    parser.add_argument(
        "--images",
        type=int,
        default=IMAGES,
        metavar="N",
        help=f"images of a BIDS folder to open, spread over it (default {IMAGES}; 0: all)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what is said as JSON too")
    options.add_settings(parser)


def main(args: argparse.Namespace) -> int:
    """Check ``args.path``, print sentences; 0 if something can be searched, else 1."""
    from cmburden.run.participants import nested

    if args.images < 0:
        raise CMBurdenError("--images: give a number of at least 0")
    config = configuration.load(nested(args.set), args.config_file)
    path = args.path
    if not path.exists():
        raise CMBurdenError(f"{path}: there is no such file or folder; name another")
    if path.is_dir() and any(folder.is_dir() for folder in path.glob("sub-*")):
        facts = tree(path, config, args.images)
        print("\n".join(_of_tree(facts)))
        good = facts["scans"] > 0
    else:
        names = [path] if path.is_file() else sorted(path.rglob("*.nii*"))
        if not names:
            raise CMBurdenError(f"{path}: holds no NIfTI file and no sub-* folder; name another")
        images = [examine(name, config) for name in names]
        facts = {"images": [dataclasses.asdict(image) for image in images]}
        print("\n".join(line for image in images for line in _of_image(image)))
        good = any(image.status == "ok" for image in images)
    print(RESEARCH_USE_ONLY)
    if args.json:
        write_json(args.json, facts)
    return 0 if good else 1


def examine(path: Path, config: dict[str, Any]) -> Image:
    """Read the image ``path`` as `preprocess` would, up to the brain mask."""
    from cmburden.images import brain, stripped
    from cmburden.images.volume import load_volume
    from cmburden.preprocess.quality import check_field, check_voxels

    try:
        volume = load_volume(path)
    except ScanError as error:
        return Image(str(path), error.status, str(error))
    warnings = list(volume.notes)
    if volume.orientation == "none":
        warnings.append("Its header has no orientation: left and right are not known.")
    if stripped.brain_of(volume.data, volume.zooms) is not None:
        warnings.append("It is skull-stripped: its own outline will be the brain mask.")
    status, message = "ok", None
    try:
        check_voxels(volume, config["preprocess"]["max_voxel_mm"])
        check_field(volume, brain.field_of_view(volume.data))
    except ScanError as error:
        status, message = error.status, str(error)
    x, y = (round(size, 3) for size in volume.in_plane_mm)
    extent = tuple(round(n * size) for n, size in zip(volume.data.shape, volume.zooms, strict=True))
    sizes = {"voxel_x_mm": x, "voxel_y_mm": y, "slice_mm": round(volume.slice_mm, 3)}
    return Image(
        str(path),
        status,
        message,
        tuple(warnings),
        **sizes,
        field_of_view_mm=extent,
        orientation=volume.orientation,
    )


def tree(bids_dir: Path, config: dict[str, Any], images: int) -> dict[str, Any]:
    """Facts about a BIDS folder, as JSON can hold them."""
    from cmburden.cohort import phenotypes
    from cmburden.index import stage as index

    described = (bids_dir / "dataset_description.json").exists()
    if not described:
        config = configuration.merge(config, {"index": {"skip_bids_validation": True}})
    with tempfile.TemporaryDirectory(prefix="cmburden-check-") as folder:
        layout = Layout(Path(folder))
        scans = index.run(bids_dir, layout, config)
        manifest, rejected = MANIFEST.read(layout.manifest), REJECTED.read(layout.rejected)
    count = len(scans) if images == 0 else min(images, len(scans))
    opened = [scans[at * len(scans) // count] for at in range(count)]
    looked = {scan.scan_id: examine(scan.path, config) for scan in opened}
    people = sorted({scan.participant_id for scan in scans})
    of_people = phenotypes.read(bids_dir, people, config["aggregate"]["phenotypes"])
    columns = [
        name
        for name in of_people.participants.columns
        if name != "participant_id" and of_people.participants[name].notna().any()
    ]
    return {
        "path": str(bids_dir),
        "dataset_description": described,
        "scans": len(scans),
        "participants": len(people),
        "participants_without_scan": int((rejected["reason"] == "no_scan").sum()),
        "contrasts": dict(sorted(Counter(manifest["contrast"]).items())),
        "without_echo_time": int(manifest["echo_time_s"].isna().sum()),
        "without_field_strength": int(manifest["field_strength_t"].isna().sum()),
        "rejected": _reasons(rejected),
        "warnings": _warnings(manifest["warning"].dropna()),
        "outside_domain": _outside(manifest, looked, config),
        "phenotypes": {"columns": columns, "problems": of_people.problems},
        "images": [dataclasses.asdict(image) for image in looked.values()],
        "hours_of_two_cores": [round(len(scans) * each / 3600, 1) for each in _SECONDS],
    }


def _reasons(rejected: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Of each reason the number of files, some of them, and what is said of the first."""
    reasons = {}
    for reason, rows in rejected.groupby("reason", sort=True):
        first = rows.sort_values("path").iloc[:_MOST_NAMED]
        reasons[str(reason)] = {
            "files": len(rows),
            "some": first["path"].tolist(),
            "message": first["message"].iloc[0],
        }
    return reasons


def _warnings(texts: pd.Series) -> dict[str, int]:
    from cmburden.core import remarks

    kinds = Counter(remarks.kind(part) for text in texts for part in remarks.split(text))
    return dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))


def _outside(
    manifest: pd.DataFrame, looked: dict[str, Image], config: dict[str, Any]
) -> dict[str, int]:
    """Scans whose acquisition lies outside what the verifier was tried on, by quantity."""
    from cmburden.models import contract
    from cmburden.summary import image_checks

    ranges = image_checks.domain_of(contract.contract_of(config, "verify"))
    scans = manifest[["scan_id", "echo_time_s", "field_strength_t"]].copy()
    for name in ("voxel_x_mm", "slice_mm"):
        scans[name] = [getattr(looked.get(scan), name, None) for scan in scans["scan_id"]]
    beyond = image_checks.outside(scans, ranges)
    return {
        image_checks.DOMAIN[key][1]: int(beyond[key].fillna(False).sum()) for key in beyond.columns
    }


def _of(number: int, noun: str) -> str:
    """The number with the noun.

    >>> _of(1, "scan"), _of(2, "scan")
    ('1 scan', '2 scans')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _of_image(image: Image) -> Iterator[str]:
    """Lines about one image."""
    yield f"{image.path}: {image.message or 'can be searched, as far as it was looked at.'}"
    if image.slice_mm is not None:
        extent = " x ".join(f"{size:.0f}" for size in image.field_of_view_mm)
        yield (
            f"  voxels {image.voxel_x_mm:g} x {image.voxel_y_mm:g} mm, slices"
            f" {image.slice_mm:g} mm, field of view {extent} mm, orientation: {image.orientation}"
        )
    for warning in image.warnings:
        yield f"  {warning}"


def _of_tree(facts: dict[str, Any]) -> Iterator[str]:
    """Lines about a BIDS folder."""
    contrasts = ", ".join(f"{n} {contrast}" for contrast, n in facts["contrasts"].items())
    people = _of(facts["participants"], "participant")
    yield (
        f"{facts['path']}: {_of(facts['scans'], 'scan')} of {people} would be searched"
        f" ({contrasts})."
    )
    if not facts["dataset_description"]:
        yield "dataset_description.json is missing: add it, or run with --skip-bids-validation."
    if facts["participants_without_scan"]:
        yield f"Without a scan to search: {_of(facts['participants_without_scan'], 'participant')}."
    for key, what in (("without_echo_time", "echo time"), ("without_field_strength", "field")):
        if facts[key]:
            yield f"The {what} of {_of(facts[key], 'scan')} is not known: no sidecar gives it."
    for what, number in facts["outside_domain"].items():
        if number:
            yield f"Outside what the networks were tried on: the {what} of {_of(number, 'scan')}."
    if facts["rejected"]:
        yield "Not searched:"
    for reason, group in facts["rejected"].items():
        some = ", ".join(group["some"])
        yield f"  {reason}: {_of(group['files'], 'file')}, such as {some}. {group['message']}"
    if facts["warnings"]:
        yield "Warnings:"
    for kind, number in facts["warnings"].items():
        yield f"  {_of(number, 'scan')}: {kind}"
    yield from _of_images(facts)
    columns = facts["phenotypes"]["columns"]
    yield f"Phenotypes: {', '.join(columns) or 'none'}."
    yield from (f"  {problem}" for problem in facts["phenotypes"]["problems"])
    least, most = facts["hours_of_two_cores"]
    yield (
        f"Time: about {least} to {most} hours on two cores, less on more; `cmburden pilot` measures"
        " it here."
    )


def _of_images(facts: dict[str, Any]) -> Iterator[str]:
    """Lines about the images that were opened."""
    images = facts["images"]
    bad = [image for image in images if image["status"] != "ok" or image["warnings"]]
    good = len(images) - len(bad)
    yield f"Opened: {_of(len(images), 'image')}, of which {good} without a remark."
    for image in bad:
        for text in (image["message"], *image["warnings"]):
            if text:
                yield f"  {image['path']}: {text}"
