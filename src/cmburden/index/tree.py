"""The BIDS tree as it lies on disk: images by name, and their sidecars."""

from __future__ import annotations

import json
from pathlib import Path

from cmburden.core.errors import CMBurdenError

IMAGES = (".nii.gz", ".nii")


#: Parts of a path that bids2table gives beside the entities.
_NO_ENTITIES = ("datatype", "suffix", "ext")


#: Suffixes that look like the wanted sequences without being searched: they get a reason.
RELATED = {"T2starw", "MEGRE", "swi", "SWI", "GRE", "minIP", "mIP", "T2starmap", "Chimap", "T2star"}


_FIELDS = ("EchoTime", "MagneticFieldStrength", "Manufacturer", "ImageType")


def listing(bids_dir: Path, config: dict) -> list[tuple[str, str]]:
    """Participant and suffix of every image that may be a scan, by name alone: nothing is read."""
    settings = config["index"]
    return [
        ("sub-" + image["sub"], image["suffix"])
        for image in _list(Path(bids_dir).absolute(), settings["skip_bids_validation"])
        if image["suffix"] in settings["suffixes"]
        and image["part"] in (None, "mag")
        # Of several echoes one is searched.
        and image["echo"] in (None, "1")
    ]


def _list(bids_dir: Path, skip_validation: bool) -> list[dict]:
    """Images of the raw tree: path, sub, ses, suffix, part, echo and the entities as written."""
    import bids2table

    if not bids_dir.is_dir():
        raise CMBurdenError(f"{bids_dir}: there is no such folder; name the BIDS folder")
    described = (bids_dir / "dataset_description.json").exists()
    if not described and not skip_validation:
        raise CMBurdenError(
            f"{bids_dir}: not a BIDS folder, dataset_description.json is missing; "
            "name the folder that holds it, or use --skip-bids-validation"
        )
    if not any(bids_dir.glob("sub-*")):
        raise CMBurdenError(f"{bids_dir}: not a BIDS folder, it holds no sub-* folder")
    table = bids2table.index_dataset(bids_dir) if described else None
    paths = table.column("path").to_pylist() if table is not None else []
    if not paths:
        paths = [p.relative_to(bids_dir).as_posix() for p in bids_dir.glob("sub-*/**/*.nii*")]
    images = []
    for path in sorted(set(paths)):
        name = bids2table.parse_bids_entities(path)
        if name.get("ext") not in IMAGES or "sub" not in name:
            continue
        if not path.startswith("sub-") or path.split("/")[-2] == "func":
            continue
        images.append(
            {
                "path": path,
                "stem": path.rsplit("/", 1)[-1].removesuffix(name["ext"]),
                "suffix": name.get("suffix"),
                "entities": [pair for pair in name.items() if pair[0] not in _NO_ENTITIES],
                "sub": name["sub"],
                "ses": name.get("ses"),
                "part": name.get("part"),
                "echo": name.get("echo"),
            }
        )
    return images


def _dataset_name(bids_dir: Path) -> str:
    try:
        content = json.loads((bids_dir / "dataset_description.json").read_text())
        return str(content.get("Name") or bids_dir.name)
    except (FileNotFoundError, json.JSONDecodeError):
        return bids_dir.name


def _sidecar(bids_dir: Path, path: str) -> dict:
    """Used fields of the image's metadata, by BIDS inheritance (the nearest file wins)."""
    import bids2table

    try:
        content = bids2table.load_bids_metadata(bids_dir / path, inherit=True)
    except (OSError, ValueError):
        content = {}
    return {key: content[key] for key in _FIELDS if key in content}


def _number(value) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
