"""Makes images of a source: dcm2niix converts DICOM, files of NIfTI are linked or copied."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import gzip
import re
import resource
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib

from cmburden.core.errors import CMBurdenError, short_text
from cmburden.core.foreign import UnreadableFile, printable, read_json_object
from cmburden.onboard.parts import Source
from cmburden.onboard.rules import Decision, signal_part
from cmburden.onboard.sidecar import without_person

#: Seconds of computing after which dcm2niix goes round in circles; a large series takes some ten.
_LONGEST_S = 1800
#: Endings that dcm2niix gives to parts of the signal.
_PART_NAMES = {"ph": "phase", "real": "real", "imaginary": "imag"}
_NAMES = re.compile(r"_(ph|real|imaginary)(?![a-z])")
_MS_PER_S = 1000
_ECHO_DECIMALS = 3
#: What dcm2niix says when the disk is full, in the words of zlib and of the C library.
_FULL = re.compile(r"no space left|disk full|quota exceeded", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Made:
    """An image that was made of a source, not yet named.

    ``file`` is relative to the folder of the source. ``entities`` stand behind ``run``.
    """

    file: str
    suffix: str
    entities: tuple[tuple[str, str], ...]
    sidecar: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Conversion:
    """Images of a source, and sentences on those that none could be made of."""

    made: tuple[Made, ...]
    faults: tuple[str, ...] = ()


def convert(
    source: Source,
    decision: Decision,
    folder: Path,
    slots: contextlib.AbstractContextManager[Any] | None = None,
) -> Conversion:
    """Convert the DICOM files of ``source`` into ``folder``, which is new and empty.

    ``slots`` is held while dcm2niix runs.

    Raises
    ------
    CMBurdenError
        Where the disk is full.
    """
    alone = _folder_alone(source.files)
    if alone is not None:
        said = _dcm2niix(alone, folder, slots)
    else:
        with tempfile.TemporaryDirectory(prefix="dicom-", dir=folder) as links:
            _link_all(source.files, Path(links))
            said = _dcm2niix(Path(links), folder, slots)
    images = sorted(path for path in folder.iterdir() if path.name.endswith(".nii.gz"))
    if not images:
        return Conversion((), (f"dcm2niix makes no image of it ({said})",))
    sound, faults = [], []
    for path in images:
        fields = _fields(path)
        fault = _fault_of_shape(_shape(path)) or _unwanted(path, source)
        if fault:
            faults.append(fault)
            path.unlink()
        else:
            sound.append((path, fields))
    for path in folder.iterdir():
        if not path.name.endswith(".nii.gz"):
            path.unlink()
    made = _named(sound, source, decision)
    if len({(one.suffix, one.entities) for one in made}) < len(made):
        # Such as two repeats in one series: a name for each would be a guess.
        for path, _ in sound:
            path.unlink()
        return Conversion((), (f"{len(made)} images in one series that nothing tells apart",))
    return Conversion(tuple(made), tuple(sorted(set(faults))))


def _folder_alone(files: Sequence[Path]) -> Path | None:
    """The folder that holds ``files`` and nothing else, as most archives give a series."""
    folders = {file.parent for file in files}
    if len(folders) > 1:
        return None
    (folder,) = folders
    return folder if sum(1 for _ in folder.iterdir()) == len(files) else None


def _link_all(files: Sequence[Path], folder: Path) -> None:
    """Links to ``files`` in ``folder``: dcm2niix converts folders, and takes their other files too.

    Copies stand where a file system has no links.
    """
    for number, file in enumerate(files):
        link = folder / f"{number:06d}.dcm"
        try:
            link.symlink_to(file.absolute())
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            shutil.copyfile(file, link)


def _dcm2niix(
    source: Path, folder: Path, slots: contextlib.AbstractContextManager[Any] | None
) -> str:
    """Run dcm2niix and return the last thing it says; ``folder`` takes its files."""
    import dcm2niix

    # pigz, where a machine has it, writes other bytes: dcm2niix compresses by itself (-z i). The
    # comment field would hold a comment on the patient (-c "").
    command = [
        dcm2niix.bin,
        "-b",
        "y",
        "-ba",
        "y",
        "-z",
        "i",
        "-c",
        "",
        "-w",
        "2",
        "-d",
        "0",
        "-f",
        "x",
    ]
    with slots or contextlib.nullcontext():
        said, code = _run([*command, "-o", str(folder), str(source)])
    if _FULL.search(said) or shutil.disk_usage(folder).free == 0:
        raise CMBurdenError(
            f"{folder}: no space left; free space and run again: what is done is kept"
        )
    return _last_said(said, code)


def _run(command: Sequence[str]) -> tuple[str, int]:
    """Run a command; returns what it says and its exit code."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        # A wait with a time limit would look for the end of the process now and then, not at once.
        if hasattr(resource, "prlimit"):
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_CPU, (_LONGEST_S, _LONGEST_S))
        said = process.communicate()[0]
        return said, process.returncode


def _last_said(said: str, code: int) -> str:
    """The last warning or error of dcm2niix without paths, for a sentence."""
    lines = [line.strip() for line in said.splitlines() if re.match(r"\s*(Error|Warning)", line)]
    words = re.sub(r"\S*/\S*", "...", lines[-1]) if lines else f"exit code {code}"
    return printable(words[:160]).rstrip(".")


def _fields(image: Path) -> dict[str, Any]:
    """The sidecar that dcm2niix wrote of ``image``; empty where it wrote none."""
    try:
        return read_json_object(image.with_name(image.name.removesuffix(".nii.gz") + ".json"))
    except UnreadableFile:
        return {}


def fault_of(image: Path) -> str | None:
    """Why the NIfTI file ``image`` is no usable volume; None for a 3D volume."""
    try:
        shape = tuple(nib.load(image).shape)  # type: ignore[attr-defined]
    except OSError as error:
        return f"it cannot be read ({error.strerror or 'no NIfTI'})"
    except Exception as error:  # a torn header raises many kinds
        return f"it is no NIfTI file ({short_text(error)})"
    return _fault_of_shape(shape)


def _shape(image: Path) -> tuple[int, ...]:
    """Shape of an image that dcm2niix wrote, by the bytes of its header (NIfTI-1, ``dim``)."""
    with gzip.open(image) as stream:
        n, *sizes = struct.unpack_from("<8h", stream.read(56), 40)
    return tuple(sizes[:n])


def _fault_of_shape(shape: tuple[int, ...]) -> str | None:
    """Why an image of this shape is no single volume; None for one."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or 1 in shape:
        sizes = " x ".join(map(str, shape))
        return f"it is no single volume but {sizes}: repeats, or the images of single coils"
    return None


def _unwanted(image: Path, source: Source) -> str | None:
    part = _part(image, source)
    return "real or imaginary part of the signal" if part in ("real", "imag") else None


def _part(image: Path, source: Source) -> str | None:
    """Part of the signal of an image of dcm2niix: by its name, which is right where its sidecar,
    copied from the first file of the series, may be wrong; else by the files' headers."""
    named = _NAMES.search(image.name.removesuffix(".nii.gz"))
    return _PART_NAMES[named[1]] if named else signal_part(source.header)


def _named(
    images: Sequence[tuple[Path, Mapping[str, Any]]], source: Source, decision: Decision
) -> list[Made]:
    """``images`` with suffix, echo and part."""
    echoes = sorted({e for _, fields in images if (e := _echo(fields)) is not None})
    phases = [_part(path, source) == "phase" for path, _ in images]
    made = []
    for (path, fields), phase in zip(images, phases, strict=True):
        suffix, entities = decision.suffix or "", []
        if phase and suffix == "swi":
            suffix = "T2starw"
        echo = _echo(fields)
        if len(echoes) > 1 and echo is not None:
            entities.append(("echo", str(echoes.index(echo) + 1)))
            suffix = "MEGRE" if suffix == "T2starw" else suffix
        part = "phase" if phase else _part_beside(decision, any(phases))
        if part is not None:
            entities.append(("part", part))
        made.append(_whole(Made(path.name, suffix, tuple(entities), without_person(fields))))
    return made


def _whole(made: Made) -> Made:
    """``made`` with the units that BIDS asks of a phase image: scanners store no radians."""
    if dict(made.entities).get("part") != "phase" or "Units" in made.sidecar:
        return made
    return dataclasses.replace(made, sidecar={**made.sidecar, "Units": "arbitrary"})


def _part_beside(decision: Decision, phase_too: bool) -> str | None:
    """Part for the name of an image that is no phase by its file; ``phase_too`` if another is."""
    if decision.part == "phase" and phase_too:
        return "mag"
    return decision.part or ("mag" if phase_too else None)


def _echo(fields: Mapping[str, Any]) -> float | None:
    echo = fields.get("EchoTime")
    if isinstance(echo, (int, float)):
        return round(echo * _MS_PER_S, _ECHO_DECIMALS)
    return None


# --- NIfTI ---


def place(source: Source, folder: Path, *, link: bool, ours: Path | None = None) -> Conversion:
    """The NIfTI file of ``source`` in ``folder``, as a link or as a copy.

    A file below ``ours`` came out of an archive: a hard link saves its space.
    """
    assert source.fixed is not None
    (file,) = source.files
    fault = fault_of(file)
    if fault:
        return Conversion((), (fault,))
    ending = ".nii.gz" if file.name.lower().endswith(".gz") else ".nii"
    target = folder / f"x{ending}"
    if link:
        target.symlink_to(file.absolute())
    elif ours is None or ours not in file.parents or not _hard_link(file, target):
        shutil.copyfile(file, target)
    fields = {**without_person(_in_bids_units(source.header)), **source.fixed.sidecar}
    made = Made(target.name, source.fixed.suffix, source.fixed.entities, fields)
    return Conversion((_whole(made),))


def _hard_link(file: Path, target: Path) -> bool:
    """Whether ``target`` is another name of ``file`` now; some file systems have none."""
    try:
        target.hardlink_to(file)
    except OSError:
        return False
    return True


def _in_bids_units(header: Mapping[str, Any]) -> dict[str, Any]:
    """A header with times in s, as sidecars of BIDS have them."""
    fields = dict(header)
    for key in ("EchoTime", "RepetitionTime", "InversionTime"):
        if isinstance(fields.get(key), (int, float)):
            fields[key] = fields[key] / _MS_PER_S
    return fields
