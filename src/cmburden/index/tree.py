"""The BIDS tree as people of the tree, with the images of each. No image is opened."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

from cmburden.core.errors import CMBurdenError
from cmburden.core.foreign import UnreadableFile, printable, read_json_object
from cmburden.index.names import BidsFile, Rejection, parse_image, wrong_label
from cmburden.index.walk import Listing, list_folder, list_root

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Participant:
    """A participant's folder: images with a name that can be read, and what was rejected.

    Attributes
    ----------
    folder : str
        Name of the folder, printable.
    images : tuple of BidsFile
        Sorted by path.
    rejected : tuple of Rejection
        A rejection with the folder's own name as path is of the participant.
    sidecars : dict
        Folder -> names of its JSON files.
    other_files : int
        Number of files that are no images.
    """

    folder: str
    images: tuple[BidsFile, ...]
    rejected: tuple[Rejection, ...]
    sidecars: dict[str, list[str]]
    other_files: int = 0

    @property
    def label(self) -> str:
        return self.folder.removeprefix("sub-")


@dataclasses.dataclass(frozen=True)
class BidsTree:
    """Participants by folder, names of the root's JSON files, files out of place in the root."""

    participants: tuple[Participant, ...]
    sidecars: tuple[str, ...]
    rejected: tuple[Rejection, ...]

    @property
    def images(self) -> Iterable[BidsFile]:
        return (image for participant in self.participants for image in participant.images)


def read_tree(bids_dir: Path, skip_validation: bool) -> BidsTree:
    """All participants of the raw tree.

    Raises
    ------
    CMBurdenError
        If the folder is missing, cannot be listed, or is no BIDS folder.
    """
    root = list_root(bids_dir)
    if not skip_validation and not os.path.lexists(bids_dir / "dataset_description.json"):
        raise CMBurdenError(
            f"{bids_dir}: not a BIDS folder, dataset_description.json is missing; "
            "name the folder that holds it, or use --skip-bids-validation"
        )
    if not root.folders:
        raise CMBurdenError(f"{bids_dir}: not a BIDS folder, it holds no sub-* folder")
    participants = tuple(_participant(list_folder(bids_dir, folder)) for folder in root.folders)
    return BidsTree(participants, root.sidecars, root.rejected)


def _participant(listing: Listing) -> Participant:
    """The participant of a folder. A label that cannot be used rejects all images."""
    folder, fault = printable(listing.folder), wrong_label(listing.folder)
    rejected = list(listing.rejected)
    if fault is not None:
        if not any(rejection.path == folder for rejection in rejected):
            rejected.append(Rejection(folder, "bad_name", fault))
        fact = "It lies in a folder whose name is no participant's."
        rejected += [Rejection(printable(path), "bad_name", fact) for path in listing.images]
        return Participant(folder, (), tuple(rejected), {}, listing.other_files)
    images = []
    for path in listing.images:
        image = parse_image(path, listing.folder)
        if isinstance(image, BidsFile):
            images.append(image)
        else:
            rejected.append(image)
    return Participant(
        folder, tuple(images), tuple(rejected), listing.sidecars, listing.other_files
    )


def participant_of(rejection: Rejection) -> str | None:
    """The participant whom the name of a file in the root names, with ``sub-``; None if nobody."""
    match = re.match(r"sub-[A-Za-z0-9]+", rejection.path)
    return match[0] if match else None


def suffixes_of(images: Iterable[BidsFile]) -> list[str]:
    """Suffixes that occur among ``images``, sorted."""
    return sorted({image.suffix for image in images})


def dataset_name(bids_dir: Path) -> str:
    """``Name`` of dataset_description.json, else the folder's name."""
    path = bids_dir / "dataset_description.json"
    if not os.path.lexists(path):
        return printable(bids_dir.name)
    try:
        name = read_json_object(path).get("Name")
    except UnreadableFile as error:
        _log.warning("%s: %s; the cohort is named after the folder", path, error)
        name = None
    return printable(name if isinstance(name, str) and name.strip() else bids_dir.name)
