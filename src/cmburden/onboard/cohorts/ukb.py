"""UK Biobank: ``<eid>_20251_<2|3>_0.zip`` (SWI) and ``<eid>_20252_<2|3>_0.zip`` (T1), NIfTI.

Archives lie anywhere below the source: the research platform sorts them into folders by the first
digits of the eid, a download into one. Of field 20251 the combined SWI and the magnitude and phase
of the second echo are taken. ``T2star`` is a map and no image. What the archive itself calls
unusable is passed by.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from cmburden.index.names import is_nifti, without_ending
from cmburden.onboard import archives, nifti_files
from cmburden.onboard.parts import Fixed, Image, Passed, Person, Request, Source, Told

NOTES = (
    "UK Biobank (Alfaro-Almagro et al., NeuroImage 2018;166:400), fields 20251 and 20252, under"
    " your application: its material transfer agreement forbids passing on images and derived data"
    " of participants; weights tuned on them need clearance."
)
_ARCHIVE = re.compile(r"(?P<eid>\d+)_(?P<field>\d{5})_(?P<instance>\d+)_(?P<array>\d+)")
_NIFTI_FIELDS = {"20251", "20252"}
#: Fields of DICOM archives, and the field that holds the same as NIfTI.
_DICOM_FIELDS = {"20219": "20251", "20216": "20252"}
_SCANNER = {"MagneticFieldStrength": 3, "Manufacturer": "Siemens", **nifti_files.FROM_PROTOCOL}
_SECOND_ECHO = {"EchoTime": 0.020, **_SCANNER}
_ECHO = ("echo", "2")
#: Images that are taken, by field and the name within the archive without ending.
_TAKEN = {
    ("20251", "SWI"): Fixed("UKB 20251 SWI", "swi", (), _SECOND_ECHO),
    ("20251", "SWI_TOTAL_MAG_TE2"): Fixed(
        "UKB 20251 magnitude of echo 2", "MEGRE", (_ECHO, ("part", "mag")), _SECOND_ECHO
    ),
    ("20251", "SWI_TOTAL_PHA_TE2"): Fixed(
        "UKB 20251 phase of echo 2", "MEGRE", (_ECHO, ("part", "phase")), _SECOND_ECHO
    ),
    ("20252", "T1"): Fixed("UKB 20252 T1", "T1w", (), _SCANNER),
}
_UNUSABLE = "unusable"
#: Folder of an archive's members below OUT/work/onboard.
UNPACKED = Path("work", "onboard", "unpacked")


def find(request: Request) -> Iterator[Source | Passed]:
    """Images of the archives below the sources, and of archives that were unpacked to folders."""
    yield from nifti_files.once(_rows(request))


def _rows(request: Request) -> Iterator[Source | Passed]:
    for root in request.sources:
        for archive in archives.zips_of(root):
            place = archives.place_of(archive, root)
            match = _ARCHIVE.fullmatch(archive.stem)
            if match is None:
                yield Passed(place, "its name is none of UK Biobank: <eid>_<field>_<i>_<n>.zip")
            elif match["field"] in _NIFTI_FIELDS:
                yield from _of_archive(archive, place, match, request)
            else:
                yield Passed(place, _other_field(match["field"]), match["eid"])
        if root.is_dir():
            yield from _of_folders(root)


def _other_field(field: str) -> str:
    same = _DICOM_FIELDS.get(field)
    if same is None:
        return f"field {field} is neither 20251 (SWI) nor 20252 (T1)"
    return f"field {field} holds DICOM: give the archives of field {same}"


def _of_archive(
    archive: Path, place: str, match: re.Match[str], request: Request
) -> Iterator[Source | Passed]:
    """Images of an archive, and rows for what it holds besides."""
    folder = request.out / UNPACKED / archive.stem
    others = 0
    for name in archives.members_of(archive):
        if not is_nifti(name):
            continue
        if _UNUSABLE in name.lower().split("/"):
            if _known(match["field"], name):
                yield _unusable(f"{place}!{name}", match)
        elif not _known(match["field"], name):
            others += 1
    if others:
        reason = f"{others} more images: maps, single coils, other echoes and registered copies"
        yield Passed(place, reason, match["eid"])

    def wanted(name: str) -> bool:
        usable = _UNUSABLE not in name.lower().split("/")
        return usable and _known(match["field"], name) is not None

    parts = archives.unpack(archive, folder, wanted, place=place, dry_run=request.dry_run)
    for part in parts:
        if isinstance(part, Passed):
            yield Passed(part.place, part.reason, match["eid"])
        else:
            yield _source(part.path, part.place, match, part.member)


def _of_folders(root: Path) -> Iterator[Source | Passed]:
    """Images in folders that have the name of an archive."""
    for path, place in nifti_files.files_of([root]):
        within = Path(path).relative_to(root)
        names = [_ARCHIVE.fullmatch(part) for part in within.parts[:-1]]
        match = next((name for name in names if name), None)
        if match is None:
            yield Passed(place, "it lies in no archive or folder <eid>_<field>_<i>_<n>")
        elif _UNUSABLE in (part.lower() for part in within.parts):
            yield _unusable(place, match)
        elif _known(match["field"], path.name):
            yield _source(path, place, match, path.name)
        else:
            reason = "not needed: a map, a single coil, another echo or a registered copy"
            yield Passed(place, reason, match["eid"])


def _known(field: str, member: str) -> Fixed | None:
    """What an archive's member is; None where it is not taken."""
    return _TAKEN.get((field, without_ending(PurePosixPath(member).name)))


def _unusable(place: str, match: re.Match[str]) -> Passed:
    reason = "unusable: UK Biobank put it into the folder of unusable images"
    return Passed(place, reason, match["eid"], f"UKB {match['field']}")


def _source(path: Path, place: str, match: re.Match[str], member: str) -> Source:
    fixed = _known(match["field"], member)
    return Source(place, (path,), match["eid"], session=match["instance"], fixed=fixed)


def label(source: Source) -> tuple[str, str | None]:
    """Labels of participant and session: 2 is the first imaging visit, 3 the repeat.

    >>> label(Source("", (), "1000001", "2"))
    ('UKB1000001', '2')
    """
    return f"UKB{source.participant}", source.session


def people(request: Request, images: Sequence[Image]) -> list[Person]:
    """Age and sex from the tables of ``--tables``."""
    from cmburden.onboard import phenotypes

    return phenotypes.ukb(request.tables, images)


def findings(request: Request, images: Sequence[Image]) -> Told:
    """Nothing: UK Biobank publishes no reads of microbleeds; give your own by ``--lesions``."""
    return Told(remarks=("UK Biobank publishes no microbleeds: give your own reads by --lesions.",))
