"""CSIRO's set (Momeni et al. 2021): ``PublicDataShare_2020`` with real and synthetic microbleeds.

Folders of real scans: ``rCMB_DefiniteSubject`` with ``rCMBInformationInfo.xlsx``, and
``NoCMBSubject``. Folders ``sCMB_*`` hold the same scans with drawn microbleeds and are passed by.
Points are 1-based voxels of the image as it is stored. Scans are skull-stripped, bias-corrected and
matched in brightness. They are of AIBL: participants must not be split from AIBL's in folds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from cmburden.onboard import nifti_files, voxel_points
from cmburden.onboard.cohorts import csiro_sheet
from cmburden.onboard.parts import Finding, Fixed, Image, Passed, Person, Request, Source, Told

NOTES = (
    "CSIRO microbleed data (Momeni et al., doi 10.25919/aegy-ny12): non-commercial, with"
    " attribution, no redistribution; neither pass on images nor weights tuned on them without"
    " clearance. The scans are of AIBL: never evaluate on AIBL what was tuned on them."
)
_NAME = re.compile(r"(?P<subject>[A-Za-z0-9]+)_T(?P<visit>\d+)_MRI_SWI_BFC_50mm_HM")
_POSITIVE, _CLEAN = "rcmb_definitesubject", "nocmbsubject"
_SHEET = "rCMBInformationInfo.xlsx"
#: Of AIBL's protocol; the files have no sidecar.
_SIDECAR = {
    "SkullStripped": True,
    "EchoTime": 0.020,
    "MagneticFieldStrength": 3,
    **nifti_files.FROM_PROTOCOL,
}


def find(request: Request) -> Iterator[Source | Passed]:
    """Real scans below the sources."""
    yield from nifti_files.once(_rows(request))


def _rows(request: Request) -> Iterator[Source | Passed]:
    for path, place in nifti_files.files_of(request.sources):
        folder, name = path.parent.name.lower(), nifti_files.stem(path)
        match = _NAME.match(name)
        if folder.startswith("scmb") or "_rscmb" in name.lower():
            subject = match["subject"] if match else ""
            yield Passed(place, "synthetic microbleeds were drawn into it", subject, "CSIRO sCMB")
        elif match is None or match.end() != len(name):
            yield Passed(place, "its name is none of the set: <subject>_T<visit>_MRI_SWI_...")
        elif folder not in (_POSITIVE, _CLEAN):
            yield Passed(
                place,
                "it lies neither in rCMB_DefiniteSubject nor in NoCMBSubject, so that nobody tells"
                " whether it has microbleeds",
                match["subject"],
            )
        else:
            fixed = Fixed(f"CSIRO {path.parent.name}", "swi", (), _SIDECAR)
            yield Source(place, (path,), match["subject"], f"T{match['visit']}", fixed=fixed)


def label(source: Source) -> tuple[str, str | None]:
    """Labels of participant and session.

    >>> label(Source("", (), "901", "T0"))
    ('AIBLmom901', 'T0')
    """
    return f"AIBLmom{source.participant}", source.session


def people(request: Request, images: Sequence[Image]) -> list[Person]:
    """Nobody: the set tells nothing of its participants."""
    return []


def findings(request: Request, images: Sequence[Image]) -> Told:
    """Points of the sheet, 1-based voxels; scans of ``NoCMBSubject`` are read and clean.

    Raises
    ------
    CMBurdenError
        Where the sheet is missing or cannot be read, a point lies outside its image, or a scan is
        of the clean ones and has points: all at once.
    """
    positive = [image for image in images if _folder(image) == _POSITIVE]
    rows = csiro_sheet.read(_sheet_of(request, positive)) if positive else {}
    found: list[Finding] = []
    problems: list[str] = []
    remarks: list[str] = []
    counted: Counter[str] = Counter()
    by_name = nifti_files.by_file_name(images)
    for name, given in rows.items():
        if name not in by_name:
            counted["rows without a scan"] += 1
        elif _folder(by_name[name]) == _CLEAN and given.points:
            problems.append(f"{given.where}: {name} lies in NoCMBSubject, but has points")
        counted["rows that repeat a scan"] += given.repeats
    for image in images:
        name = nifti_files.stem(image.source.files[0])
        row = rows.get(name)
        if _folder(image) == _CLEAN:
            found.append(Finding(image.scan_id, "none", where="NoCMBSubject"))
        elif row is None or not row.points:
            remarks.append(f"{image.scan_id}: the sheet has no point of {name}; not read")
        else:
            counted["points that stand twice"] += row.doubled
            try:
                found += voxel_points.findings_of(image, row.points, row.where)
            except voxel_points.OutsideImage as error:
                problems.append(str(error))
    voxel_points.refuse(problems, _SHEET)
    told = {what: number for what, number in counted.items() if number}
    return Told(tuple(found), (), voxel_points.CONVENTION, counted=told, remarks=tuple(remarks))


def _folder(image: Image) -> str:
    return image.source.files[0].parent.name.lower()


def _sheet_of(request: Request, images: Sequence[Image]) -> Path:
    """The sheet of real microbleeds: that of ``--lesions``, or the one beside the scans' folder."""
    if request.lesions is not None:
        return request.lesions
    return images[0].source.files[0].parent.parent / _SHEET
