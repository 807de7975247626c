"""Walks folders of DICOM and gathers files into series, with what is wrong with a series.

A series is what its SeriesInstanceUID says, whatever folders, roots or archives hold its files.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from cmburden.core.errors import CMBurdenError, sentence
from cmburden.core.foreign import printable
from cmburden.onboard.dicom import DicomFile, NoImage, header_of, read
from cmburden.onboard.elements import Elements
from cmburden.onboard.parts import Header, Passed

#: Endings of files that lie beside images and are no images. Zip archives were looked into.
_BESIDE = frozenset(
    [".xml", ".csv", ".tsv", ".xlsx", ".txt", ".json", ".html", ".md", ".sha256", ".md5"]
)
_USUAL = (".dcm", ".ima")
_NIFTI, _ARCHIVES = (".nii", ".nii.gz"), (".tar", ".tar.gz", ".tgz", ".7z", ".rar")
_PARTIAL = (".part", ".crdownload", ".download", ".aria2", ".tmp")
#: Slices whose distance is this many times the usual one have others missing between them.
_GAP = 1.5
#: Decimals of a position in mm to which two slices are at one place.
_DECIMALS = 2
_LEAST_COSINE = 0.999
_BAR_DELAY_S = 3.0


@dataclasses.dataclass
class Series:
    """Files of one SeriesInstanceUID, ImageType and part of the signal.

    Some scanners write magnitude, phase and SWI into one series. ``echoes`` are the headers of the
    first file of each time of echo. ``folders`` hold files, doubled
    ones too; ``places`` are their names. ``n_doubled`` files
    stand a second time elsewhere. ``several`` tells that the series has other images besides.
    """

    uid: str
    kind: tuple[str, str | None]
    files: list[DicomFile] = dataclasses.field(default_factory=list)
    echoes: dict[float | None, Header] = dataclasses.field(default_factory=dict)
    places: dict[str, int] = dataclasses.field(default_factory=dict)
    folders: set[str] = dataclasses.field(default_factory=set)
    sops: set[str] = dataclasses.field(default_factory=set)
    n_doubled: int = 0
    several: bool = False

    def add(self, file: DicomFile, content: Elements, folder: str) -> None:
        """Add a file, once for each SOPInstanceUID."""
        self.places[folder] = self.places.get(folder, 0) + 1
        self.folders.add(file.path.rpartition(os.sep)[0])
        if file.sop and file.sop in self.sops:
            self.n_doubled += 1
            return
        self.sops.add(file.sop)
        self.files.append(file)
        if file.echo_ms not in self.echoes:
            # GE's part of the signal stands in no element that a header holds.
            part = {"Part": file.part} if file.part else {}
            self.echoes[file.echo_ms] = {**header_of(content), **part}

    @property
    def header(self) -> Header:
        return next(iter(self.echoes.values()))

    @property
    def n_slices(self) -> int | None:
        """Different positions, or frames of a file with several."""
        frames = [file.frames for file in self.files if file.frames]
        if frames:
            return max(frames)
        positions = {_rounded(file.position) for file in self.files if file.position}
        return len(positions) or None

    @property
    def remark(self) -> str:
        remarks = []
        if self.several:
            remarks.append("the series holds images of several kinds")
        if len(self.places) > 1:
            remarks.append(f"its files lie in {len(self.places)} folders")
        if self.n_doubled:
            remarks.append(f"{self.n_doubled} files stand twice and were taken once")
        return "; ".join(remarks)


def gather(
    roots: Sequence[Path], places: Mapping[str, str] | None = None
) -> tuple[list[Series], list[Passed]]:
    """Series below ``roots`` by the place of their first file, and files that are none.

    ``places`` names files that came out of archives.

    Raises
    ------
    CMBurdenError
        Where a root is no folder.
    """
    from tqdm import tqdm

    series: dict[tuple[str, tuple[str, str | None]], Series] = {}
    passed: Counter[tuple[str, str]] = Counter()
    paths = _paths(roots)
    bar = tqdm(
        paths, "reading headers", unit=" files", disable=None, delay=_BAR_DELAY_S, leave=False
    )
    for path, within in bar:
        place = (places or {}).get(path, within)
        other = _by_ending(path)
        if other is not None:
            if other:
                passed[place if other.startswith("a NIfTI") else _folder(place), other] += 1
            continue
        try:
            file, content = read(path)
        except NoImage as error:
            passed[_folder(place), str(error)] += 1
            continue
        except OSError as error:
            passed[_folder(place), f"a file that cannot be read ({error.strerror})"] += 1
            continue
        key = file.uid, file.kind
        series.setdefault(key, Series(*key)).add(file, content, _folder(place))
    kinds = Counter(uid for uid, _ in series)
    for one in series.values():
        one.several = kinds[one.uid] > 1
    rows = [
        Passed(place, reason if number == 1 else f"{reason} ({number} files)")
        for (place, reason), number in sorted(passed.items())
    ]
    return list(series.values()), rows


def _paths(roots: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Files below ``roots`` in the order of names, with their place relative to their root.

    The place begins with the root's name where there are several roots.
    """
    seen: set[str] = set()
    for root in roots:
        if not root.is_dir():
            raise CMBurdenError(f"{root}: there is no such folder; name the folder of the download")

        def refuse(error: OSError) -> None:
            raise CMBurdenError(sentence(error) or f"{error.filename}: {error.strerror}")

        for folder, folders, names in os.walk(root, onerror=refuse, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen:  # a link to a folder above, or a root within another
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            relative = os.path.relpath(folder, root)
            parts = [root.name] if len(roots) > 1 else []
            within = printable("/".join([*parts, *([relative] if relative != "." else [])]))
            for name in sorted(names):
                if not name.startswith("."):
                    shown = printable(name)
                    yield f"{folder}{os.sep}{name}", f"{within}/{shown}" if within else shown


def _folder(place: str) -> str:
    return place.rpartition("/")[0] or "."


def _by_ending(path: str) -> str | None:
    """What a file is by its ending: "" for a table beside images; None where it may be DICOM."""
    name = path.rpartition(os.sep)[2].lower()
    ending = name[name.rfind(".") :] if "." in name else ""
    if ending in _USUAL:
        return None
    if name.endswith(_NIFTI):
        return "a NIfTI file; request the series as DICOM, which has the geometry and the echo time"
    if name.endswith(_ARCHIVES):
        return "an archive; unpack it and run again"
    if name.endswith(_PARTIAL):
        return "a half-downloaded file; download it again"
    return "" if ending in _BESIDE or name == "dicomdir" else None


# --- what is wrong with a series ---


def fault_of(series: Series) -> str | None:
    """Why the files of ``series`` make no sound image; None where they may.

    Each echo is looked at alone.
    """
    torn = sum(file.torn for file in series.files)
    if torn:
        return (
            f"half-downloaded: {torn} of {len(series.files)} files end before their pixels do; "
            "download the series again"
        )
    if any(file.frames for file in series.files):
        return None
    echoes: dict[float | None, list[DicomFile]] = defaultdict(list)
    for file in series.files:
        echoes[file.echo_ms].append(file)
    for files in echoes.values():
        fault = _fault_of_image(files)
        if fault:
            return fault
    sizes = sorted({len(files) for files in echoes.values()})
    if len(sizes) > 1:
        numbers = " and ".join(map(str, sizes))
        return f"slices are missing: echoes have {numbers} slices; download the series again"
    # A series of several kinds, or echoes, is counted by some scanners as a whole.
    return _fault_of_number(series) if len(echoes) == 1 and not series.several else None


def _fault_of_number(series: Series) -> str | None:
    """A sentence where the scanner counted more files than there are."""
    asked = {file.in_acquisition for file in series.files}
    whole = asked.pop() if len(asked) == 1 else None
    if whole is None or len(series.files) >= whole:
        return None
    return (
        f"half-downloaded: {len(series.files)} of {whole} files are here; download the series again"
    )


def _fault_of_image(files: Sequence[DicomFile]) -> str | None:
    """What is wrong with the slices of one image."""
    placed = [file for file in files if len(file.position) == 3 and len(file.orientation) == 6]
    if len(placed) < len(files):
        return f"{len(files) - len(placed)} of {len(files)} files do not say where their slice lies"
    directions = np.array([file.orientation for file in placed])
    normals = np.cross(directions[:, :3], directions[:, 3:])
    if (normals @ normals[0] < _LEAST_COSINE).any():
        return "slices of several orientations, such as those of a localizer"
    depths = np.round(np.array([file.position for file in placed]) @ normals[0], _DECIMALS)
    places, counts = np.unique(depths, return_counts=True)
    gap = _gap(places)
    if gap:
        return gap
    if len(set(counts.tolist())) > 1:
        twice = places[counts > counts.min()]
        return (
            f"duplicated slices: {len(twice)} of {len(places)} places have more files than the "
            f"others, first at {twice[0]:g} mm; download the series again, or remove the doubles"
        )
    return None


def _gap(places: np.ndarray) -> str | None:
    """A sentence on the first gap between slices; ``places`` in mm along their normal, rising."""
    steps = np.diff(places)
    if len(steps) < 2:
        return None
    usual = float(np.median(steps))
    for (below, above), step in zip(pairwise(places), steps, strict=True):
        if step > _GAP * usual:
            missing = round(step / usual) - 1
            return (
                f"slices are missing: {missing} between {below:g} and {above:g} mm, where slices "
                f"are {usual:g} mm apart; download the series again"
            )
    return None


def _rounded(position: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, _DECIMALS) for value in position)
