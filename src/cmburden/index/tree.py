"""Reads the BIDS tree: names of images, and their sidecars. No image is opened."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cmburden.core.errors import CMBurdenError

#: Endings of images.
IMAGES = (".nii.gz", ".nii")
#: Parts of a path that bids2table gives beside the entities.
_NO_ENTITIES = ("datatype", "suffix", "ext")
#: Fields of a sidecar that are used.
SIDECAR_FIELDS = ("EchoTime", "MagneticFieldStrength", "Manufacturer", "ImageType")


@dataclasses.dataclass(frozen=True)
class BidsFile:
    """The name of an image of the tree. The file is not read.

    Attributes
    ----------
    path : str
        Relative to the BIDS folder, with ``/``.
    ending : str
        One of ``IMAGES``.
    suffix : str or None
        None if the name ends with an entity.
    entities : tuple of (str, str)
        In the order of the name.
    """

    path: str
    ending: str
    suffix: str | None
    entities: tuple[tuple[str, str], ...]

    @property
    def stem(self) -> str:
        """Name without ending: the ``scan_id``."""
        return self.path.rsplit("/", 1)[-1].removesuffix(self.ending)

    def entity(self, key: str) -> str | None:
        return dict(self.entities).get(key)

    @property
    def subject(self) -> str:
        return dict(self.entities)["sub"]

    @property
    def session(self) -> str | None:
        return self.entity("ses")

    @property
    def part(self) -> str | None:
        return self.entity("part")

    @property
    def echo(self) -> str | None:
        return self.entity("echo")

    @property
    def may_be_magnitude(self) -> bool:
        return self.part in (None, "mag")


def images_of(bids_dir: Path, skip_validation: bool) -> list[BidsFile]:
    """Images of the raw tree, sorted by path.

    Raises
    ------
    CMBurdenError
        If the folder is missing or is no BIDS folder.
    """
    import bids2table

    paths = _paths(bids_dir, skip_validation)
    images = []
    for path in paths:
        name = bids2table.parse_bids_entities(path)
        if name.get("ext") not in IMAGES or "sub" not in name:
            continue
        if not path.startswith("sub-") or path.split("/")[-2] == "func":
            continue
        entities = tuple(pair for pair in name.items() if pair[0] not in _NO_ENTITIES)
        images.append(BidsFile(path, name["ext"], name.get("suffix"), entities))
    return images


def _paths(bids_dir: Path, skip_validation: bool) -> list[str]:
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
    paths = bids2table.index_dataset(bids_dir).column("path").to_pylist() if described else []
    if not paths:
        paths = [p.relative_to(bids_dir).as_posix() for p in bids_dir.glob("sub-*/**/*.nii*")]
    return sorted(set(paths))


def possible_scans(bids_dir: Path, config: dict[str, Any]) -> list[tuple[str, str]]:
    """Participant and suffix of each image that is a possible scan by its name.

    The first echo stands for all echoes of a scan, since one of them will be searched.
    """
    settings = config["index"]
    images = images_of(Path(bids_dir).absolute(), settings["skip_bids_validation"])
    return [
        (f"sub-{image.subject}", image.suffix)
        for image in images
        if image.suffix in settings["suffixes"]
        and image.suffix is not None
        and image.may_be_magnitude
        and image.echo in (None, "1")
    ]


def by_subject(images: Iterable[BidsFile]) -> list[tuple[str, list[BidsFile]]]:
    """Images of each participant label, sorted by label."""
    groups: dict[str, list[BidsFile]] = {}
    for image in images:
        groups.setdefault(image.subject, []).append(image)
    return sorted(groups.items())


def suffixes_of(images: Iterable[BidsFile]) -> list[str]:
    """Suffixes that occur among ``images``, sorted."""
    return sorted({image.suffix for image in images if image.suffix is not None})


def dataset_name(bids_dir: Path) -> str:
    """``Name`` of dataset_description.json, else the folder's name."""
    try:
        content = json.loads((bids_dir / "dataset_description.json").read_text(encoding="utf-8"))
        return str(content.get("Name") or bids_dir.name)
    except (FileNotFoundError, json.JSONDecodeError):
        return bids_dir.name


def sidecar_of(bids_dir: Path, image: BidsFile) -> Mapping[str, Any]:
    """``SIDECAR_FIELDS`` of the image's metadata, by BIDS inheritance (the nearest file wins)."""
    import bids2table

    try:
        content = bids2table.load_bids_metadata(bids_dir / image.path, inherit=True)
    except (OSError, ValueError):
        content = {}
    return {key: content[key] for key in SIDECAR_FIELDS if key in content}


def number(value: Any) -> float | None:
    """``value`` of a sidecar as a number; None if the value is no number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
