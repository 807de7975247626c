"""Puts converted images under their names into the BIDS tree, and takes out what has none any more.

An image in the tree is a hard link to the converted one: it takes no further space, and a kill
between two names loses nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmburden.core.files import read_json, whole_file, write_json
from cmburden.onboard.paths import Onboarded

#: Path below the BIDS folder -> converted file, and its sidecar.
Content = Mapping[str, tuple[Path, Mapping[str, Any]]]


def write(paths: Onboarded, content: Content) -> list[tuple[str, str]]:
    """Make the images of the tree those of ``content``; returns (old, new) names that changed.

    Files that no onboarding has written stay.
    """
    stored = read_json(paths.tree)
    before: dict[str, str] = stored if isinstance(stored, dict) else {}
    now = {
        name: os.path.relpath(source, paths.work) for name, (source, _) in sorted(content.items())
    }
    # Whoever is killed from here on finds both lists in the next run.
    if now != before:
        write_json(paths.tree, {**before, **now}, durable=False)
    for name in sorted(set(before) - set(now)):
        _remove(paths.bids, name)
    for name, (source, fields) in sorted(content.items()):
        _put(source, paths.bids / name)
        _put_json(paths.bids / sidecar_of(name), fields)
    if now != before:
        write_json(paths.tree, now, durable=False)
    names = {source: name for name, source in now.items()}
    return sorted(
        (name, names[source])
        for name, source in before.items()
        if source in names and names[source] != name
    )


def sidecar_of(name: str) -> str:
    """Name of an image's sidecar."""
    return name.removesuffix(".gz").removesuffix(".nii") + ".json"


def _put(source: Path, target: Path) -> None:
    """``target`` is the content of ``source``."""
    if source.is_symlink():
        aim = source.readlink()
        if not (target.is_symlink() and target.readlink() == aim):
            target.unlink(missing_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(aim)
        return
    if target.exists() and not target.is_symlink():
        here, there = target.stat(), source.stat()
        if (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev):
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        with whole_file(target, durable=False) as temporary:
            shutil.copyfile(source, temporary)


def _put_json(target: Path, fields: Mapping[str, Any]) -> None:
    if not target.exists() or read_json(target) != dict(fields):
        write_json(target, dict(fields), durable=False)


def _remove(bids: Path, name: str) -> None:
    """Remove an image with its sidecar, and folders that are empty then."""
    for path in (bids / name, bids / sidecar_of(name)):
        path.unlink(missing_ok=True)
    folder = (bids / name).parent
    while folder != bids and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
