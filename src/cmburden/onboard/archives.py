"""Zip archives of a download: the wanted members, unpacked below one folder, each whole or absent.

A foreign archive may be cut off, hold names that lead out of the folder, or be a bomb. Whatever is
wrong with a member or an archive is a row of `onboard.tsv`, and the rest goes on. Members of equal
name and content in several archives are one file: a series may lie in two zips.
"""

from __future__ import annotations

import dataclasses
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from cmburden.core.errors import sentence, short_text
from cmburden.core.files import whole_file
from cmburden.core.foreign import kind_of, printable
from cmburden.onboard.parts import Passed

#: Most bytes of a member: an image of 4 GB, as `images.reading` takes it.
MOST_BYTES = 4 * 1000**3
#: Most bytes of a member's content for each byte of the archive, and the size from which this is
#: asked. A NIfTI image of a few organs in zeros has 100.
_MOST_RATIO, _RATIO_FROM = 300, 64 * 2**20
#: Most members of an archive: a download of ADNI in one file has some 10^6.
_MOST_MEMBERS = 4_000_000
#: Bytes that are unpacked at a time.
_PIECE = 2**20
#: Bit of a member's flags: the content is encrypted.
_ENCRYPTED = 0x1


@dataclasses.dataclass(frozen=True)
class Unpacked:
    """A file that an archive holds: its ``path`` on disk, and ``place`` as `onboard.tsv` names it.

    ``member`` is the name within the archive. In a dry run the file is not written.
    """

    path: Path
    place: str
    member: str


class _Unusable(Exception):
    """A member or an archive that is left out; ``str(error)`` is a sentence."""


def zips_of(root: Path) -> list[Path]:
    """The zip archives in ``root``, or ``root`` itself where it is one; sorted."""
    if root.is_file():
        return [root] if root.suffix.lower() == ".zip" else []
    return sorted(path for path in root.rglob("*") if path.suffix.lower() == ".zip")


def place_of(path: Path, root: Path) -> str:
    """``path`` as `onboard.tsv` names it: relative to ``root``, with escapes for odd names."""
    shown = path.relative_to(root) if path != root and path.is_relative_to(root) else path.name
    return printable(str(shown))


def members_of(archive: Path) -> list[str]:
    """Names of all files in ``archive``; empty where it cannot be read (:func:`unpack` says so)."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return [info.filename for info in opened.infolist() if not info.is_dir()]
    except Exception as error:
        if isinstance(error, OSError) and sentence(error) is not None:
            raise
        return []


def unpack(
    archive: Path,
    folder: Path,
    wanted: Callable[[str], bool],
    *,
    place: str,
    dry_run: bool = False,
) -> Iterator[Unpacked | Passed]:
    """Write the ``wanted`` members of ``archive`` below ``folder``, and yield each.

    Parameters
    ----------
    archive : Path
    folder : Path
        Several archives may share it: their trees are then one tree.
    wanted : function of a member's name (with ``/``) to bool
    place : str
        Name of the archive in `onboard.tsv`.
    dry_run : bool
        Yield what would be written.

    Yields
    ------
    Unpacked, or Passed with the reason where a member, or the whole archive, cannot be read.
    """
    try:
        opened = _opened(archive)
    except _Unusable as error:
        yield Passed(place, str(error))
        return
    with opened:
        for info in opened.infolist():
            name = info.filename
            if info.is_dir() or not wanted(name):
                continue
            where = f"{place}!{printable(name)}"
            try:
                _check(info)
                path = _below(folder, name)
                if not dry_run:
                    _write(opened, info, path)
            except _Unusable as error:
                yield Passed(where, str(error))
            else:
                yield Unpacked(path, where, name)


def _opened(archive: Path) -> zipfile.ZipFile:
    """The archive with its list of members; _Unusable where it has none that can be read."""
    try:
        kind = kind_of(archive.stat().st_mode)
        if kind is not None:
            raise _Unusable(f"it is {kind}, not an archive")
        opened = zipfile.ZipFile(archive)
    except _Unusable:
        raise
    except Exception as error:
        if isinstance(error, OSError) and sentence(error) is not None:
            raise
        raise _Unusable(
            "the archive cannot be opened: it is no zip, or its download was cut off; download it"
            " again"
        ) from error
    infos = opened.infolist()
    packed = sum(info.compress_size for info in infos)
    if len(infos) > _MOST_MEMBERS or packed > archive.stat().st_size:
        opened.close()
        raise _Unusable(
            f"the archive announces {len(infos)} members of {packed} packed bytes, more than it can"
            " hold; it is not unpacked"
        )
    return opened


def _check(info: zipfile.ZipInfo) -> None:
    """Raise _Unusable for a member that is no plain file, is encrypted, or is a bomb."""
    mode = info.external_attr >> 16
    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
        raise _Unusable("it is a link or a device within the archive; it is not unpacked")
    if info.flag_bits & _ENCRYPTED:
        raise _Unusable("it is encrypted; unpack the archive with its password first")
    ratio = info.file_size / max(info.compress_size, 1)
    if info.file_size > MOST_BYTES or (info.file_size > _RATIO_FROM and ratio > _MOST_RATIO):
        raise _Unusable(
            f"it would unpack to {info.file_size / 1e9:.1f} GB, {ratio:.0f} times its size; it is"
            " not unpacked"
        )


def _below(folder: Path, name: str) -> Path:
    """The path of a member below ``folder``; _Unusable for a name that leads elsewhere.

    >>> str(_below(Path("work"), "SWI/SWI.nii.gz"))
    'work/SWI/SWI.nii.gz'
    """
    plain = PurePosixPath(name.replace("\\", "/"))
    drive = bool(plain.parts) and plain.parts[0].endswith(":")
    if plain.is_absolute() or drive or ".." in plain.parts or "\0" in name or not plain.parts:
        raise _Unusable("its name leads out of the archive's folder; it is not unpacked")
    return folder.joinpath(*plain.parts)


def _write(opened: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    """Write a member to ``path``, unless it is there with this content."""
    if path.exists():
        if path.stat().st_size == info.file_size and _crc(path) == info.CRC:
            return
        raise _Unusable(
            "another archive, or an earlier version of this one, holds a different file of this"
            f" name; keep one, or remove {path.parent.name}/{path.name} from work/onboard"
        )
    stream_of = opened.open
    try:
        with whole_file(path, durable=False) as temporary, stream_of(info) as source:
            with temporary.open("wb") as target:
                left = info.file_size
                while piece := source.read(_PIECE):
                    left -= len(piece)
                    if left < 0:
                        raise _Unusable("it holds more bytes than it announces; it is not unpacked")
                    target.write(piece)
            if left:
                raise _Unusable("it is cut off within the archive; download the archive again")
    except _Unusable:
        raise
    except Exception as error:
        if isinstance(error, OSError) and sentence(error) is not None:
            raise  # a full disk or a closed folder is no fault of the member
        raise _Unusable(
            f"it cannot be unpacked ({_cause(error)}); download the archive again"
        ) from error


def _cause(error: Exception) -> str:
    """Why a member cannot be unpacked, in a few words."""
    if isinstance(error, zipfile.BadZipFile) and "CRC" in str(error):
        return "its checksum is wrong"
    if isinstance(error, EOFError):
        return "it is cut off"
    return short_text(error)


def _crc(path: Path) -> int:
    """CRC-32 of a file, as zip archives store it."""
    value = 0
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            value = zlib.crc32(piece, value)
    return value


def unpack_all(
    roots: Sequence[Path], folder: Path, wanted: Callable[[str], bool], *, dry_run: bool = False
) -> Iterator[Unpacked | Passed]:
    """:func:`unpack` of all archives below ``roots`` into one tree, each file once.

    A download that the archive splits over several zips, as LONI's do, becomes whole again.
    """
    seen: set[Path] = set()
    for root in roots:
        for archive in zips_of(root):
            place = place_of(archive, root)
            for part in unpack(archive, folder, wanted, place=place, dry_run=dry_run):
                if isinstance(part, Unpacked):
                    if part.path in seen:
                        continue
                    seen.add(part.path)
                yield part
