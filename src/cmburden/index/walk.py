"""Lists the tree as it lies on disk: images, sidecars, and what cannot be taken, with the reason.

Links to files are followed. A link to a folder is followed where it stands for a participant, a
session or a kind of data, and does not lead back. Hidden folders (.git) are passed by.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from cmburden.core.errors import CMBurdenError
from cmburden.core.foreign import UnreadableFile, first_bytes, kind_of, printable
from cmburden.index.names import Rejection, is_nifti

#: Folders that BIDS names after kinds of data.
DATA_FOLDERS = frozenset(
    (
        *("anat", "swi", "func", "dwi", "fmap", "perf", "pet", "meg", "eeg", "ieeg"),
        *("beh", "micr", "nirs", "motion", "mrs"),
    )
)
#: Images in other formats. The second group are header and voxels of one image.
_OTHER_FORMATS = re.compile(
    r"\.(?:(mgz|mgh|mif|mif\.gz|nrrd|mha|mnc|minc|nii\.(?:zip|bz2|xz|zst)|par|head)"
    r"|(img|hdr|img\.gz|hdr\.gz|nhdr|mhd))$",
    re.IGNORECASE,
)
_DICOM = re.compile(r"\.(dcm|ima|dicom)$", re.IGNORECASE)
#: The letters at byte 128 of a DICOM file.
_DICOM_MARK, _DICOM_MARK_AT = b"DICM", 128
#: Folders in the root that look like those of participants but are named otherwise.
_ALMOST_SUBJECT = re.compile(r"sub(?:[-_ ]\w|\d)", re.IGNORECASE)
#: Links to folders that may follow each other: more are a loop.
_MOST_LINKS = 3


@dataclasses.dataclass
class Listing:
    """What a participant's folder holds; paths are relative to the BIDS folder.

    Attributes
    ----------
    folder : str
        Name of the folder. It may hold surrogates for bytes that are not UTF-8.
    images : list of str
        Files that end with .nii or .nii.gz, and links to absent ones.
    sidecars : dict
        Folder -> names of its JSON files.
    rejected : list of Rejection
        What cannot be an image, and folders that cannot be listed.
    other_files : int
        Number of other files.
    """

    folder: str
    images: list[str] = dataclasses.field(default_factory=list)
    sidecars: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    rejected: list[Rejection] = dataclasses.field(default_factory=list)
    other_files: int = 0


@dataclasses.dataclass(frozen=True)
class Root:
    """The BIDS folder: names of participants' folders, of JSON files, and files out of place."""

    folders: tuple[str, ...]
    sidecars: tuple[str, ...]
    rejected: tuple[Rejection, ...]


def list_root(bids_dir: Path) -> Root:
    """The root of the tree.

    Raises
    ------
    CMBurdenError
        Where the folder is absent or cannot be listed.
    """
    try:
        with os.scandir(bids_dir) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        raise CMBurdenError(f"{bids_dir}: there is no such folder; name the BIDS folder") from None
    except OSError as error:
        raise CMBurdenError(
            f"{bids_dir}: the folder cannot be listed ({error.strerror}); give yourself the "
            "permission, or repair the disk"
        ) from None
    folders, sidecars, rejected = [], [], []
    for entry in ordered:
        name = entry.name
        of_participant = name.startswith("sub-") and (_is_folder(entry) or _is_nowhere(entry))
        if of_participant or (_ALMOST_SUBJECT.match(name) and _is_folder(entry)):
            folders.append(name)
        elif is_nifti(name) and not name.startswith("."):
            fact = "It lies beside the participants' folders."
            rejected.append(Rejection(printable(name), "wrong_folder", fact))
        elif name.lower().endswith(".json"):
            sidecars.append(name)
        elif name.startswith("sub-") and "." not in name:
            fact = "It is a file, not the folder of a participant."
            rejected.append(Rejection(printable(name), "wrong_format", fact))
    return Root(tuple(folders), tuple(sidecars), tuple(rejected))


def list_folder(bids_dir: Path, folder: str) -> Listing:
    """The content of a participant's folder. No content of the tree raises an error."""
    listing = Listing(folder)
    if (bids_dir / folder).is_symlink():
        fact = _stray_link(bids_dir / folder)
        if fact:
            listing.rejected.append(Rejection(printable(folder), "no_scan", fact))
            return listing
    todo = [(folder, 0)]
    while todo:
        path, links = todo.pop()
        todo += _list_one(bids_dir, path, links, listing)
    listing.images.sort()
    listing.rejected.sort(key=lambda rejection: (rejection.path, rejection.reason))
    return listing


def _list_one(bids_dir: Path, path: str, links: int, listing: Listing) -> Iterator[tuple[str, int]]:
    """List one folder into ``listing``; yield the folders in it that are to be listed."""
    try:
        # Joined as text: a path for each folder is a tenth of the time of indexing.
        with os.scandir(f"{bids_dir}/{path}") as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        fact = f"The folder cannot be listed ({error.strerror})."
        listing.rejected.append(Rejection(printable(path), "no_access", fact))
        return
    others = []
    for entry in ordered:
        name, where = entry.name, f"{path}/{entry.name}"
        if _is_folder(entry):
            if not name.startswith("."):
                yield from _folder(entry, where, links, listing)
        elif is_nifti(name):
            _image(entry, where, listing)
        elif name.lower().endswith(".json"):
            listing.sidecars.setdefault(path, []).append(name)
        elif not name.startswith("."):
            others.append(name)
    _other_formats(bids_dir, path, others, listing)


def _other_formats(bids_dir: Path, path: str, names: list[str], listing: Listing) -> None:
    """Reject images of other formats among the files of a folder: DICOM files of it as one."""
    images: dict[str, list[str]] = defaultdict(list)
    dicom, unnamed = [], []
    for name in names:
        if _DICOM.search(name):
            dicom.append(name)
        elif _OTHER_FORMATS.search(name):
            images[_OTHER_FORMATS.sub("", name)].append(name)
        elif "." not in name or name.rpartition(".")[2].isdigit():
            unnamed.append(name)
        else:
            listing.other_files += 1
    if unnamed and _is_dicom(bids_dir / path / unnamed[0]):
        dicom += unnamed
    else:
        listing.other_files += len(unnamed)
    if dicom:
        fact = f"The folder holds {len(dicom)} DICOM file(s)."
        listing.rejected.append(Rejection(printable(path), "wrong_format", fact))
    for of_image in images.values():
        ending = printable(of_image[-1].rpartition(".")[2])
        fact = f"Its format is {ending}, not NIfTI."
        where = printable(f"{path}/{of_image[-1]}")
        listing.rejected.append(Rejection(where, "wrong_format", fact))


def _folder(
    entry: os.DirEntry[str], path: str, links: int, listing: Listing
) -> Iterator[tuple[str, int]]:
    """Yield the folder if it is to be listed, with the number of links that led to it."""
    if is_nifti(entry.name):
        fact = "It is a folder with the name of an image."
        listing.rejected.append(Rejection(printable(path), "wrong_format", fact))
    if not entry.is_symlink():
        yield path, links
        return
    known = entry.name.startswith("ses-") or entry.name in DATA_FOLDERS
    if known and links < _MOST_LINKS and not _leads_back(Path(entry.path)):
        yield path, links + 1
        return
    fact = "It is a link to a folder, which is not followed."
    listing.rejected.append(Rejection(printable(path), "wrong_folder", fact))


def _image(entry: os.DirEntry[str], path: str, listing: Listing) -> None:
    try:
        kind = kind_of(entry.stat().st_mode)
    except FileNotFoundError:
        kind = None  # a link of git-annex to content that is elsewhere
    except OSError as error:
        if error.errno != errno.ELOOP:
            fact = f"It cannot be read ({error.strerror})."
            listing.rejected.append(Rejection(printable(path), "no_access", fact))
            return
        kind = "a link that leads to itself"
    if kind is None:
        listing.images.append(path)
        return
    listing.rejected.append(Rejection(printable(path), "wrong_format", f"It is {kind}, no file."))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_nowhere(entry: os.DirEntry[str]) -> bool:
    """Whether the entry is a link to a folder that is not here."""
    absent = entry.is_symlink() and not os.access(entry.path, os.F_OK)
    return absent and not is_nifti(entry.name)


def _leads_back(link: Path) -> bool:
    """Whether the link leads to one of the folders that it lies in."""
    return Path(os.path.realpath(link.parent)).is_relative_to(os.path.realpath(link))


def _stray_link(link: Path) -> str | None:
    """Why a participant's folder that is a link is not listed; None if it holds a participant."""
    if not os.access(link, os.F_OK):
        return "The folder is a link to a folder that is not here."
    if _leads_back(link):
        return "The folder is a link that leads back to where it lies."
    try:
        with os.scandir(link) as entries:
            names = [entry.name for entry in entries]
    except OSError as error:
        return f"The folder is a link to a folder that cannot be listed ({error.strerror})."
    known = ("ses-", f"{link.name}_", *DATA_FOLDERS)
    if names and not any(name.startswith(known) for name in names):
        return "The folder is a link to a folder that holds no participant."
    return None


def _is_dicom(path: Path) -> bool:
    try:
        return first_bytes(path, _DICOM_MARK_AT + len(_DICOM_MARK)).endswith(_DICOM_MARK)
    except UnreadableFile:
        return False
