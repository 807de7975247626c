"""The files of training: simulated slabs, and the CNN's candidates on slabs.

This module alone knows the keys of these compressed .npz files: a key is the name of a field, and
a class is the list of keys that its readers need. A slab file is read as :class:`Slab` (all of
it), :class:`PatchSource` (what patches are drawn from) or :class:`Origin`; a mined file as
:class:`Mined` or :class:`Origin`. Members that a class does not name are not decompressed.
"""

from __future__ import annotations

import dataclasses
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from cmburden.core.errors import CMBurdenError
from cmburden.core.files import whole_file
from cmburden.images.views import SHAPE, VIEW_MM

#: Kinds of a source of signal loss that have a meaning of their own in training; all other kinds
#: are mimics.
MICROBLEED, FAINT = "microbleed", "faint"


class Spheres(NamedTuple):
    """n sources: ``centre`` (n, 3) in mm or voxels, ``radius`` (n,) in mm."""

    centre: np.ndarray
    radius: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slab:
    """A scan with n sources, simulated or read by a user, and the same scan on the CNN's grid.

    Attributes
    ----------
    scan : (x, y, z) float16
        Intensities on the scan's own grid; the median in ``scan_mask`` is 1.
    scan_mask : (x, y, z) bool
        Brain mask on the same grid.
    affine : (4, 4) float64
        Voxel indices of ``scan`` to scanner RAS, mm.
    centre_mm : (n, 3) float32
        Centres of the sources in scanner RAS, mm.
    image : (x, y, slice) float16
        The scan on the CNN's grid (:func:`cmburden.detect.grid.to_network`), clipped to 0-2.5.
    mask : (x, y, slice) uint8
        Brain mask on the CNN's grid, 0 or 1.
    spacing : (3,) float32
        Voxel size of the CNN's grid, mm.
    centre : (n, 3) float32
        Centres of the sources in voxels of the CNN's grid.
    radius : (n,) float32
        Visible radius of the sources, mm.
    kind : (n,) str
        Kind of the sources: ``MICROBLEED``, ``FAINT`` or a mimic.
    name : str
        Acquisition or cohort, by which slabs are left out.
    contrast : str
        GRE or SWI; empty in older files.
    person : str
        Whose anatomy it is; folds are of persons. Empty in older files.
    """

    scan: np.ndarray
    scan_mask: np.ndarray
    affine: np.ndarray
    centre_mm: np.ndarray
    image: np.ndarray
    mask: np.ndarray
    spacing: np.ndarray
    centre: np.ndarray
    radius: np.ndarray
    kind: np.ndarray
    name: str
    contrast: str = ""
    person: str = ""

    def sources_mm(self, kind: str) -> Spheres:
        """The sources of ``kind``, their centres in scanner RAS mm."""
        chosen = self.kind == kind
        return Spheres(self.centre_mm[chosen], self.radius[chosen])


@dataclasses.dataclass(frozen=True, kw_only=True)
class PatchSource:
    """The fields of a :class:`Slab` that patches are drawn from; centres are in voxels."""

    image: np.ndarray
    mask: np.ndarray
    spacing: np.ndarray
    centre: np.ndarray
    radius: np.ndarray
    kind: np.ndarray

    @property
    def microbleeds(self) -> Spheres:
        return self._chosen(self.kind == MICROBLEED)

    @property
    def faint(self) -> Spheres:
        """Sources on which readers disagree."""
        return self._chosen(self.kind == FAINT)

    @property
    def mimics(self) -> Spheres:
        return self._chosen((self.kind != MICROBLEED) & (self.kind != FAINT))

    def _chosen(self, chosen: np.ndarray) -> Spheres:
        return Spheres(self.centre[chosen], self.radius[chosen])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mined:
    """The n candidates of the CNN on a slab, as YOLO learns them.

    Attributes
    ----------
    views : (n, *cmburden.images.views.SHAPE) uint8
        Views of the candidates.
    classes : (n,) int64
        Index into ``cmburden.models.contract.CLASSES``. Its key in the file is ``class``.
    boxes : (m, 6) float32
        Boxes in the views: candidate, class, and x, y, width, height as shares of the view. The
        first box of a candidate is its own.
    n_microbleeds : int
        Microbleeds of the slab, with or without a candidate.
    view_mm : float
        Width of the views, mm; 0 in files that do not say it.
    name, person : str
        As in :class:`Slab`.
    p_cnn : (n,) float32
        Probability of the CNN.
    """

    views: np.ndarray
    classes: np.ndarray
    boxes: np.ndarray
    n_microbleeds: int
    view_mm: float = 0.0
    name: str
    person: str = ""
    p_cnn: np.ndarray

    def __post_init__(self) -> None:
        if self.views.shape[1:] != SHAPE or self.view_mm != VIEW_MM:
            raise ValueError("its views are of another version")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Acquisition (or cohort) and person of a slab or mined file."""

    name: str
    person: str = ""


_Content = TypeVar("_Content", Slab, PatchSource, Mined, Origin)
#: Fields whose key is no Python name.
_KEYS = {"classes": "class"}
#: What a file should be, and the command that writes it again.
_WRITTEN_BY = {
    Slab: ("slab", "cmburden train dataset (or labels)"),
    PatchSource: ("slab", "cmburden train dataset (or labels)"),
    Mined: ("mined file", "cmburden train mine"),
    Origin: ("slab or mined file", "cmburden train dataset, labels or mine"),
}


def slab_path(folder: Path, name: str | int) -> Path:
    """The slab file of ``name`` (a scan's id, or a number) in ``folder``."""
    if isinstance(name, int):
        name = f"{name:04d}"
    return Path(folder) / f"slab-{name}.npz"


def mined_path(folder: Path, slab: Path) -> Path:
    """The file in ``folder`` for the candidates that were mined on ``slab``."""
    return Path(folder) / slab.name.replace("slab-", "mined-")


def slab_files(folder: Path) -> list[Path]:
    """The slab files of ``folder``, by name."""
    return sorted(Path(folder).glob("slab-*.npz"))


def mined_files(folder: Path) -> list[Path]:
    """The mined files of ``folder``, by name."""
    return sorted(Path(folder).glob("mined-*.npz"))


def save(path: Path, content: Slab | Mined) -> None:
    """Write ``content`` as a compressed .npz file, whole or not at all."""
    members = {
        _key(field.name): getattr(content, field.name) for field in dataclasses.fields(content)
    }
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **members)


def load(path: Path, kind: type[_Content]) -> _Content:
    """The members of the file ``path`` that ``kind`` names.

    Raises CMBurdenError for a file that is torn, is no .npz archive, or lacks a member.
    """
    fields = dataclasses.fields(kind)
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no whole .npz archive")
        with np.load(path, allow_pickle=False) as archive:
            present = [field for field in fields if _key(field.name) in archive.files]
            required = [field for field in fields if field.default is dataclasses.MISSING]
            lacking = [_key(field.name) for field in required if field not in present]
            if lacking:
                raise ValueError(f"it lacks {', '.join(lacking)}")
            return kind(**{f.name: _value(archive[_key(f.name)]) for f in present})
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        noun, command = _WRITTEN_BY[kind]
        raise CMBurdenError(
            f"{path}: not a {noun} of this version ({error}); remove it and run {command} again"
        ) from error


def _key(field: str) -> str:
    return _KEYS.get(field, field)


def _value(array: np.ndarray) -> Any:
    """Scalars as Python's own; arrays as they are."""
    return array if array.ndim else array.item()
