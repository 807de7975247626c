"""VALDO 2021, task 2: ``sub-101/sub-101_space-T2S_desc-masked_{T1,T2,T2S}.nii.gz``, CMB masks.

Images are on the grid of the T2*, NaN outside the brain. Participants 1xx are of SABRE, 2xx of the
Rotterdam Scan Study, 3xx of ALFA.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cmburden.onboard import masks, nifti_files
from cmburden.onboard.parts import Fixed, Image, Passed, Person, Request, Source, Told

NOTES = (
    "VALDO 2021 challenge, task 2 (Sudre et al., Med Image Anal 2024;91:103029): given after"
    " registration; read its terms before you pass on images, labels or weights tuned on them."
)
_IMAGE = re.compile(r"sub-(?P<id>\d+)_space-T2S_desc-masked_(?P<kind>T1|T2|T2S)", re.IGNORECASE)
_MASK = re.compile(r"sub-(?P<id>\d+)_space-T2S_CMB", re.IGNORECASE)
_SUFFIXES = {"t1": "T1w", "t2": "T2w", "t2s": "T2starw"}
#: Study of a participant by the first digit of its number.
_STUDIES = {"1": "SABRE", "2": "RSS", "3": "ALFA"}
_STRIPPED = {"SkullStripped": True}


def find(request: Request) -> Iterator[Source | Passed]:
    """Images of task 2 below the sources; masks and files of other tasks are passed by."""
    yield from nifti_files.once(_rows(request))


def _rows(request: Request) -> Iterator[Source | Passed]:
    for path, place in nifti_files.files_of(request.sources):
        name = nifti_files.stem(path)
        image, mask = _IMAGE.fullmatch(name), _MASK.fullmatch(name)
        if image:
            suffix = _SUFFIXES[image["kind"].lower()]
            fixed = Fixed(f"VALDO {image['kind'].upper()}", suffix, (), _STRIPPED)
            yield Source(place, (path,), image["id"], fixed=fixed)
        elif mask:
            reason = "a reader's mask of microbleeds: it is read for the truth"
            yield Passed(place, reason, mask["id"], "VALDO CMB")
        else:
            yield Passed(place, "its name is none of VALDO's task 2")


def label(source: Source) -> tuple[str, str | None]:
    """Labels of participant and session.

    >>> label(Source("", (), "101"))
    ('VALDO101', None)
    """
    return f"VALDO{source.participant}", None


def people(request: Request, images: Sequence[Image]) -> list[Person]:
    """Participants with the study that they are of as site; VALDO gives no age and no sex."""
    studies = {image.participant_id: _STUDIES.get(image.source.participant[:1]) for image in images}
    return [Person(name, None, site=study) for name, study in sorted(studies.items())]


def findings(request: Request, images: Sequence[Image]) -> Told:
    """Microbleeds of the masks beside the T2* images, scanner RAS mm; an empty mask is clean."""
    found, remarks = [], []
    scans = [image for image in images if image.suffix == "T2starw"]
    for image in scans:
        path = image.source.files[0]
        ids = image.source.participant
        beside = sorted(path.parent.glob(f"sub-{ids}_space-T2S_CMB.nii*"))
        if not beside:
            remarks.append(f"{image.scan_id}: no mask lies beside it; it counts as not read")
            continue
        try:
            found += masks.findings_of(beside[0], image, beside[0].name)
        except masks.UnusableMask as error:
            remarks.append(f"{beside[0].name}: {error}; {image.scan_id} counts as not read")
    counted = {"masks that were used": len({one.scan_id for one in found})}
    return Told(tuple(found), (), masks.CONVENTION, counted=counted, remarks=tuple(remarks))
