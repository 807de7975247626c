"""Reads sidecars by the inheritance principle of BIDS, from the root down to the image's folder.

A sidecar applies to an image with the same suffix that has all entities of the sidecar's name. Of
several in one folder the most specific applies. The nearer folder wins.

Reference: BIDS specification 1.10, "The Inheritance Principle".
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cmburden.core.foreign import UnreadableFile, printable, read_bytes, read_json_object
from cmburden.images import annex
from cmburden.index.names import BidsFile, split_name

#: Fields that are used.
FIELDS = (
    "EchoTime",
    "MagneticFieldStrength",
    "Manufacturer",
    "ImageType",
    "SeriesDescription",
    "ProtocolName",
    "BodyPartExamined",
    "SkullStripped",
    "ManufacturersModelName",
    "RepetitionTime",
    "RepetitionTimeExcitation",
    "FlipAngle",
    "MRAcquisitionType",
    "SliceThickness",
    "SpacingBetweenSlices",
)
_JSON = re.compile(r"\.json$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Sidecar:
    """``FIELDS`` of an image as its sidecars give them, and remarks on the files in sentences.

    ``exists`` says whether any file applies, readable or not.
    """

    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    exists: bool = False


@dataclasses.dataclass(frozen=True)
class _Name:
    """A sidecar's name in parts; ``entities`` without that of the participant."""

    file: str
    entities: frozenset[tuple[str, str]]
    loose: frozenset[str]


class Sidecars:
    """Sidecars of one tree.

    ``in_root`` are names of the JSON files of the root.
    """

    def __init__(self, bids_dir: Path, in_root: Iterable[str]):
        self.bids_dir = bids_dir
        self._in_root = list(in_root)
        #: Files of the root are read once for all images.
        self._read: dict[str, dict[str, Any] | UnreadableFile] = {}
        #: Names in parts of the participant at hand, by folder and session.
        self._in_parts: dict[tuple[str, str | None], dict[str, list[_Name]]] = {}
        self._participant = ""

    def of(self, image: BidsFile, folders: Mapping[str, list[str]]) -> Sidecar:
        """What the sidecars say of ``image``; a file that cannot be read is a remark.

        ``folders``: names of the JSON files in each folder of the participant.
        """
        fields: dict[str, Any] = {}
        notes: list[str] = []
        exists = False
        for folder, names in self._levels(image, folders):
            file, rivals = _most_specific(image, self._by_suffix(image, folder, names))
            if file is None:
                continue
            exists = True
            where = f"{folder}/{file}" if folder else file
            if rivals:
                notes.append(f"The sidecars {file} and {rivals[0]} fit alike; the first is used.")
            content = self._content(where, keep=not folder)
            if isinstance(content, UnreadableFile):
                notes.append(f"The sidecar {printable(where)} cannot be read: {content}.")
            else:
                fields |= content
        return Sidecar(fields, tuple(notes), exists)

    def _levels(
        self, image: BidsFile, folders: Mapping[str, list[str]]
    ) -> Iterable[tuple[str, list[str]]]:
        yield "", self._in_root
        parts = image.path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            if folder in folders:
                yield folder, folders[folder]

    def _by_suffix(self, image: BidsFile, folder: str, names: list[str]) -> list[_Name]:
        """Sidecars of a folder with the suffix of ``image`` that may be of its participant."""
        if image.folder != self._participant:
            self._participant, self._in_parts = image.folder, {}
        key = (folder, image.session)
        if key not in self._in_parts:
            self._in_parts[key] = _in_parts(names, image)
        return self._in_parts[key].get(image.suffix, [])

    def _content(self, path: str, *, keep: bool) -> dict[str, Any] | UnreadableFile:
        if path in self._read:
            return self._read[path]
        content = _read(self.bids_dir / path)
        if keep:
            self._read[path] = content
        return content


def _in_parts(names: Iterable[str], image: BidsFile) -> dict[str, list[_Name]]:
    """Names of sidecars by suffix, without those of another participant."""
    by_suffix: dict[str, list[_Name]] = {}
    for file in names:
        stem = _JSON.sub("", file)
        if stem.startswith(f"{image.folder}_"):
            stem = stem.removeprefix(f"{image.folder}_")
        elif stem.startswith("sub-"):
            continue
        entities, loose, suffix = split_name(stem, image.session)
        name = _Name(file, frozenset(entities), frozenset(loose))
        by_suffix.setdefault(suffix, []).append(name)
    return by_suffix


def _most_specific(image: BidsFile, names: Iterable[_Name]) -> tuple[str | None, list[str]]:
    """The sidecar of one folder that applies to ``image``, and others that fit as well."""
    mine, loose = set(image.entities), set(image.loose)
    fitting = [n for n in names if n.entities <= mine and n.loose <= loose]
    if not fitting:
        return None, []

    def rank(name: _Name) -> tuple[bool, int, int, str]:
        same = _JSON.sub("", name.file) == image.stem
        return not same, -len(name.entities), -len(name.loose), name.file

    best, *others = sorted(fitting, key=rank)
    return best.file, [other.file for other in others if rank(other)[:3] == rank(best)[:3]]


def _read(path: Path) -> dict[str, Any] | UnreadableFile:
    """``FIELDS`` of the file, or why it cannot be read."""
    try:
        content = read_json_object(path)
    except UnreadableFile as error:
        try:
            if annex.is_pointer(read_bytes(path)):
                return UnreadableFile("it is git-annex's pointer to content that is not here")
        except UnreadableFile:
            pass
        return error
    return {key: content[key] for key in FIELDS if key in content}
