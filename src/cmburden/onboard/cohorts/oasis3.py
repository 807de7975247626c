"""OASIS-3 as NITRC's scripts download it: ``OAS30001_MR_d0757/swi1/[NIFTI/]sub-..._swi.nii.gz``.

Sessions are days since the entry into the study. A folder of a scan (``anat1``, ``swi2``) holds the
image, and its sidecar beside it or in ``BIDS/``. Older downloads write ``sess-`` for ``ses-``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cmburden.core.foreign import UnreadableFile, read_json_object
from cmburden.onboard import nifti_files
from cmburden.onboard.parts import Fixed, Image, Passed, Person, Request, Source, Told

NOTES = (
    "OASIS-3 (LaMontagne et al., medRxiv 2019.12.13.19014902), under the OASIS data use agreement:"
    " cite it, and do not pass on images; weights tuned on them need clearance."
)
_SESSION = re.compile(r"(?P<participant>OAS3\d{4})_MR_(?P<session>d\d+)", re.IGNORECASE)
_NAMED = re.compile(r"sub-(?P<participant>OAS3\d+)_sess?-(?P<session>d\d+)", re.IGNORECASE)
#: Suffixes of the download that are taken, in small letters, with those of BIDS.
_TAKEN = {"t1w": "T1w", "t2star": "T2starw", "t2starw": "T2starw", "swi": "swi", "gre": "T2starw"}
_PROJECTIONS = {"minip", "mip"}
#: Entities that are kept, in BIDS' order.
_ENTITIES = ("acq", "rec", "run", "echo", "part")
#: Fields of sidecars that are kept: none is of a person.
_FIELDS = (
    "EchoTime",
    "RepetitionTime",
    "FlipAngle",
    "MagneticFieldStrength",
    "Manufacturer",
    "ManufacturersModelName",
    "ImageType",
    "SeriesDescription",
    "ProtocolName",
    "SliceThickness",
    "ScanningSequence",
    "SequenceName",
    "MRAcquisitionType",
)
_SCAN = re.compile(r"(?P<kind>[a-z]+)\d+", re.IGNORECASE)


def find(request: Request) -> Iterator[Source | Passed]:
    """Images of the sessions below the sources."""
    yield from nifti_files.once(_rows(request))


def _rows(request: Request) -> Iterator[Source | Passed]:
    for path, place in nifti_files.files_of(request.sources):
        owner = _owner(path)
        if owner is None:
            yield Passed(place, "it lies in no folder OAS3xxxx_MR_dxxxx and has no such name")
            continue
        yield _row(path, place, *owner)


def _owner(path: Path) -> tuple[str, str] | None:
    """Participant and day of an image, by the name of its file or its session's folder."""
    match = _NAMED.match(path.name) or next(
        (found for part in reversed(path.parts) if (found := _SESSION.fullmatch(part))), None
    )
    return (match["participant"].upper(), match["session"].lower()) if match else None


def _row(path: Path, place: str, participant: str, session: str) -> Source | Passed:
    words = nifti_files.stem(path).split("_")
    suffix = words[-1].lower()
    entities = dict(word.split("-", 1) for word in words[:-1] if "-" in word)
    try:
        fields = _sidecar(path)
    except UnreadableFile as error:
        return Passed(place, f"its sidecar cannot be read: {error}", participant)
    types = fields.get("ImageType")
    types = {str(one).upper() for one in types} if isinstance(types, list) else set()
    if suffix in _PROJECTIONS or types & {"MNIP", "MIN IP", "MIP"}:
        return Passed(place, "minimum projection", participant, "OASIS-3 projection")
    bids = _TAKEN.get(suffix)
    if bids is None and _kind(path) == "swi":
        bids, part = _of_swi(f"{words[-1]} {fields.get('SeriesDescription', '')}".lower(), types)
        if bids is None:
            reason = "neither its name nor its sidecar tells which image of an SWI scan it is"
            return Passed(place, reason, participant)
        entities |= part
    if bids is None:
        return Passed(place, f"{words[-1]} is no GRE, SWI or T1w", participant)
    kept = tuple((key, entities[key]) for key in _ENTITIES if key in entities)
    fixed = Fixed(f"OASIS-3 {words[-1]}", bids, kept, fields)
    return Source(place, (path,), participant, session, header=_as_header(fields), fixed=fixed)


def _of_swi(text: str, types: set[str]) -> tuple[str | None, dict[str, str]]:
    """Suffix and part of an image of an SWI scan, whose names are published nowhere.

    >>> _of_swi("pha pha_images", set())
    ('T2starw', {'part': 'phase'})
    """
    if types & {"P", "PHASE"} or "pha" in text:
        return "T2starw", {"part": "phase"}
    if "SWI" in types or "swi_images" in text:
        return "swi", {}
    if "mag" in text:
        return "T2starw", {"part": "mag"}
    return None, {}


def _kind(path: Path) -> str:
    """The kind of scan by its folder: ``swi`` of ``swi2``."""
    for part in reversed(path.parts[:-1]):
        match = _SCAN.fullmatch(part)
        if match:
            return match["kind"].lower()
    return ""


def _sidecar(path: Path) -> Mapping[str, Any]:
    """Fields of the sidecar beside an image or in ``BIDS`` beside its folder; none without one.

    Raises
    ------
    UnreadableFile
        Where there is one that cannot be read.
    """
    name = f"{nifti_files.stem(path)}.json"
    for folder in (path.parent, path.parent.parent / "BIDS", path.parent / "BIDS"):
        beside = folder / name
        if beside.exists():
            content = read_json_object(beside)
            return {key: content[key] for key in _FIELDS if key in content}
    return {}


def _as_header(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a sidecar with times in ms, as DICOM has them."""
    header = dict(fields)
    for key in ("EchoTime", "RepetitionTime"):
        if isinstance(header.get(key), (int, float)):
            header[key] = header[key] * 1000
    return header


def label(source: Source) -> tuple[str, str | None]:
    """Labels of participant and session: the day since the entry.

    >>> label(Source("", (), "OAS30001", "d0757"))
    ('OAS30001', 'd0757')
    """
    return source.participant, source.session


def people(request: Request, images: Sequence[Image]) -> list[Person]:
    """Age, sex and diagnosis from the tables of ``--tables``."""
    from cmburden.onboard import phenotypes

    return phenotypes.oasis3(request.tables, images)


def findings(request: Request, images: Sequence[Image]) -> Told:
    """Nothing: OASIS-3 publishes no reads of microbleeds; give your own by ``--lesions``."""
    return Told(remarks=("OASIS-3 publishes no microbleeds: give your own reads by --lesions.",))
