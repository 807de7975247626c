"""Reads names of images: participant, session, entities, suffix. A name that has none is refused.

A participant's label is the name of the folder, as it stands there. Names of its files begin with
it, so that labels with ``_`` or ``-`` (ADNI: ``sub-002_S_0413``) are read without doubt.
"""

from __future__ import annotations

import dataclasses
import os
import re
import unicodedata

from cmburden.core.foreign import printable

_NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._+-]*[A-Za-z0-9])?")
_SUFFIX = re.compile(r"[A-Za-z0-9]+")
#: Snakemake reads braces in a path as a wildcard.
_BRACES = "{}"
#: Longest name without ending, bytes. A file system allows 255 bytes; names of our files are the
#: name with up to 50 bytes more.
_LONGEST = 200


@dataclasses.dataclass(frozen=True)
class Rejection:
    """A file or folder that is no scan: path, reason code, the fact behind it, session label.

    ``path`` is relative to the BIDS folder.
    """

    path: str
    reason: str
    fact: str
    session: str | None = None


@dataclasses.dataclass(frozen=True)
class BidsFile:
    """The name of an image of the tree. The file is not read.

    Attributes
    ----------
    path : str
        Relative to the BIDS folder, with ``/``.
    folder : str
        Folder of the participant, with ``sub-``.
    scan_id : str
        Name without ending. If the name lacks the session of its folder, with that session.
    suffix : str
        Last part of the name.
    entities : tuple of (str, str)
        In the order of the name.
    loose : tuple of str
        Parts of the name between the participant and the suffix that are no entities.
    """

    path: str
    folder: str
    scan_id: str
    suffix: str
    entities: tuple[tuple[str, str], ...]
    loose: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """Name of the file without ending."""
        return without_ending(self.path.rsplit("/", 1)[-1])

    def entity(self, key: str) -> str | None:
        return next((value for name, value in self.entities if name == key), None)

    @property
    def subject(self) -> str:
        return self.folder.removeprefix("sub-")

    @property
    def session(self) -> str | None:
        return self.entity("ses")

    @property
    def echo(self) -> str | None:
        return self.entity("echo")

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders between the participant's and the file."""
        return tuple(self.path.split("/")[1:-1])

    @property
    def place(self) -> tuple[int, str]:
        """Sort key: anat/ comes before a folder within it, where people put older versions."""
        return len(self.folders), self.path

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on the name, in sentences."""
        notes = []
        if self.scan_id != self.stem:
            notes.append(f"The name lacks the session; that of the folder is ses-{self.session}.")
        if self.loose:
            notes.append(f"Parts of the name are no entities: {', '.join(self.loose)}.")
        return tuple(notes)


def is_nifti(name: str) -> bool:
    """Whether the ending is .nii or .nii.gz, in any letter case."""
    return _NIFTI.search(name) is not None


def without_ending(name: str) -> str:
    """``name`` without .nii or .nii.gz.

    >>> without_ending("901_T0.SWI.NII"), without_ending("notes.txt")
    ('901_T0.SWI', 'notes.txt')
    """
    return _NIFTI.sub("", name)


def wrong_label(folder: str) -> str | None:
    """Why the name of a participant's folder holds no usable label; None if it does.

    >>> wrong_label("sub-002_S_0413"), wrong_label("sub-01")
    (None, None)
    >>> wrong_label("Sub-05")
    'The name of the folder is to begin with sub-.'
    >>> wrong_label("sub-ü 2").rpartition(", ")[2]
    'such as sub-u2.'
    """
    if not folder.startswith("sub-"):
        return "The name of the folder is to begin with sub-."
    if len(os.fsencode(folder)) > _LONGEST:
        return f"The name of the folder has more than {_LONGEST} bytes."
    if not _LABEL.fullmatch(folder.removeprefix("sub-")):
        letters = unicodedata.normalize("NFKD", folder.removeprefix("sub-"))
        plain = "".join(re.findall(r"[A-Za-z0-9]", letters))
        proposal = f"; BIDS allows letters and digits, such as sub-{plain}" if plain else ""
        return f"The label is empty or has marks other than A-Z, digits, _ - . and +{proposal}."
    return None


def parse_image(path: str, folder: str) -> BidsFile | Rejection:
    """The image at ``path`` in the participant's ``folder`` by its name, or why it is refused."""
    name = path.rsplit("/", 1)[-1]
    stem = without_ending(name)
    sessions = [part for part in path.split("/")[1:-1] if part.startswith("ses-")]
    in_session = sessions[0].removeprefix("ses-") if sessions else None

    def rejected(reason: str, fact: str) -> Rejection:
        return Rejection(printable(path), reason, fact, in_session and printable(in_session))

    unusable = _unusable(path, stem)
    if unusable:
        return rejected("bad_name", unusable)
    if not stem.startswith(f"{folder}_"):
        other = re.match(r"sub-[^_]+", stem)
        if other and stem != folder:
            fact = f"The name says {other[0]}, the folder is that of {folder}."
            return rejected("wrong_folder", fact)
        return rejected("bad_name", f"The name is to begin with {folder}_ and end with a suffix.")
    rest = stem.removeprefix(f"{folder}_")
    entities, loose, suffix = split_name(rest, in_session)
    fault = _fault_of(entities, loose, suffix)
    if fault:
        return rejected("bad_name", fault)
    session = dict(entities).get("ses")
    if in_session is not None and session not in (None, in_session):
        fact = f"The name says ses-{session}, the folder is ses-{in_session}."
        return rejected("wrong_folder", fact)
    scan_id = stem
    if in_session is not None and session is None:
        entities = (("ses", in_session), *entities)
        scan_id = f"{folder}_ses-{in_session}_{rest}"
    entities = (("sub", folder.removeprefix("sub-")), *entities)
    return BidsFile(path, folder, scan_id, suffix, entities, loose)


def split_name(
    rest: str, session: str | None = None
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...], str]:
    """Entities, loose parts and suffix of a name without participant and ending.

    ``session`` is the label of the folder: the name's label may hold ``_`` as the folder's does.

    >>> split_name("ses-2_acq-0.5mm-iso_T2starw")
    ((('ses', '2'), ('acq', '0.5mm-iso')), (), 'T2starw')
    """
    entities = []
    if session is not None and rest.startswith(f"ses-{session}_"):
        entities.append(("ses", session))
        rest = rest.removeprefix(f"ses-{session}_")
    *parts, suffix = rest.split("_")
    loose = []
    for part in parts:
        key, dash, value = part.partition("-")
        if dash and value and _SUFFIX.fullmatch(key):
            entities.append((key, value))
        else:
            loose.append(part)
    return tuple(entities), tuple(loose), suffix


def _unusable(path: str, stem: str) -> str | None:
    """Why no file of ours can be named after this one; None if one can."""
    if stem.startswith("."):
        return "The name begins with a dot: a hidden file of an operating system or of a tool."
    if not path.isprintable():
        return "The path has control characters, or is not UTF-8."
    if any(mark in path for mark in _BRACES):
        return "The path has braces, which Snakemake reads as a wildcard."
    if len(stem.encode()) > _LONGEST:
        return f"The name has {len(stem.encode())} bytes; with more than {_LONGEST} no result fits."
    return None


def _fault_of(
    entities: tuple[tuple[str, str], ...], loose: tuple[str, ...], suffix: str
) -> str | None:
    """What is wrong with the parts of a name; None if it can be read."""
    if not _SUFFIX.fullmatch(suffix):
        return f"The name ends with {suffix!r}, which is no suffix such as T2starw."
    keys = [key for key, _ in entities]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice or "sub" in keys:
        return f"The name has {(twice or ['sub'])[0]}- twice."
    if "" in loose:
        return "The name has an empty part (two underscores)."
    return None
