"""The files of a BIDS tree: its images, and the metadata that their sidecars give them.

Folders are listed once and sidecars read once. bids2table, used before, takes 0.7 ms a scan for the
same (docs/decisions.md), which at thousands of scans is a fifth of planning.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

IMAGES = (".nii.gz", ".nii")
#: Folders below a participant: session, datatype and a few that are no BIDS. A link that leads
#: back up would else never end.
_DEEPEST = 6


def images(bids_dir: Path) -> list[str]:
    """Paths of the images below ``sub-*``, relative to ``bids_dir``, in order."""
    found: list[str] = []
    with os.scandir(bids_dir) as entries:
        subjects = sorted(e.name for e in entries if e.name.startswith("sub-") and e.is_dir())
    for subject in subjects:
        found += _below(f"{bids_dir}/{subject}", subject, 0)
    return sorted(found)


def _below(folder: str, name: str, depth: int) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{name}/{entry.name}"
            # By name first: of a link that leads nowhere nothing else can be asked.
            if entry.name.startswith("sub-") and entry.name.endswith(IMAGES):
                yield path
            elif entry.is_dir() and not entry.name.startswith(".") and depth < _DEEPEST:
                yield from _below(entry.path, path, depth + 1)


class Sidecars:
    """Metadata of images by BIDS' inheritance principle: of the JSON files in an image's folder and
    above whose suffix is the image's and whose entities are all among its own, the nearer wins."""

    def __init__(self, bids_dir: Path):
        self._root = str(bids_dir)
        #: Folder (relative) -> suffix -> (entities, path), fewest entities first.
        self._listed: dict[str, dict[str, list[tuple[frozenset, str]]]] = {}
        self._read: dict[str, dict] = {}

    def of(self, path: str) -> dict:
        """Metadata of the image at ``path``, relative to the BIDS folder; empty without any."""
        *folders, name = path.split("/")
        entities, suffix = _parts(name)
        metadata: dict = {}
        for depth in range(len(folders) + 1):
            of_folder = self._listing("/".join(folders[:depth]))
            for own, sidecar in of_folder.get(suffix, ()):
                if own <= entities:
                    metadata.update(self._content(sidecar))
        return metadata

    def _listing(self, folder: str) -> dict[str, list[tuple[frozenset, str]]]:
        if folder not in self._listed:
            found: dict[str, list[tuple[frozenset, str]]] = {}
            with os.scandir(f"{self._root}/{folder}") as entries:
                names = [entry.name for entry in entries if entry.name.endswith(".json")]
            for name in sorted(names):
                entities, suffix = _parts(name)
                path = f"{folder}/{name}" if folder else name
                found.setdefault(suffix, []).append((entities, path))
            for sidecars in found.values():
                sidecars.sort(key=lambda one: len(one[0]))
            self._listed[folder] = found
        return self._listed[folder]

    def _content(self, path: str) -> dict:
        if path not in self._read:
            try:
                content = json.loads(Path(self._root, path).read_bytes())
            except (OSError, ValueError):
                content = None
            self._read[path] = content if isinstance(content, dict) else {}
        return self._read[path]


def _parts(name: str) -> tuple[frozenset[str], str]:
    """Entities (``key-value``) and suffix of a file's name.

    >>> sorted(_parts("sub-01_echo-2_MEGRE.nii.gz")[0]), _parts("T2starw.json")[1]
    (['echo-2', 'sub-01'], 'T2starw')
    """
    *pairs, suffix = name.split(".", 1)[0].split("_")
    return frozenset(pairs), suffix
