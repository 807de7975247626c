"""Tells kinds of images apart, by name and by sidecar: magnitude, phase, projection, coil, map.

The name decides where it says what the image is, since it is the word of a person who looked. The
sidecar decides where the name is silent; converters copy sidecars between images.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from cmburden.index.names import BidsFile
from cmburden.index.walk import DATA_FOLDERS

_OTHER_SUFFIXES = """T1w T2w PDw PDT2 FLAIR inplaneT1 inplaneT2 angio T1rho UNIT1 T1map T2map
    T2starmap R1map R2map R2starmap PDmap MTRmap MTsat MTVmap MWFmap RB1map S0map M0map Chimap
    TB1map T1rhomap defacemask mask dseg probseg VFA IRT1 MP2RAGE mp2rage MPM MTS MTR MESE TB1AFI
    TB1TFL TB1RFM TB1SRGE TB1DAM TB1EPI RB1COR bold cbv sbref dwi ADC FA S0 trace colFA expADC epi
    fieldmap magnitude magnitude1 magnitude2 phase1 phase2 phasediff asl m0scan pet CT photo SPACE
    MPRAGE DIR STIR localizer scout svs mrsi unloc mrsref"""
#: Suffixes of images that are neither GRE nor SWI, of BIDS 1.0 to 1.10. Maps are here too: their
#: values are no signal.
OTHER_SUFFIXES = frozenset(_OTHER_SUFFIXES.split())
#: Folders whose images are of other kinds, whatever their suffix.
OTHER_FOLDERS = DATA_FOLDERS - {"anat", "swi"} | {"derivatives", "sourcedata", "code"}
#: Entities whose labels are free words on the image.
_WORDS = ("acq", "rec", "desc", "mod", "proc")

_PROJECTION = re.compile(
    r"(?:min|max|mn|mx)ip|(?:^|[^a-z]|swi|sw)mip(?:s|swi|images?)?(?![a-z])"
    r"|intensity.?projection|(?:min|max)(?:imum)?[ _-]?proj"
)
_PROJECTION_TYPES = re.compile(r"M[NX]?IP|(?:MIN|MAX)[ _]?IP|(?:M[A-Z]+ )?PROJECTION(?: IMAGE)?")
#: Words before "phase" that make it another term: in-phase images are magnitudes.
_OTHER_PHASE = re.compile(r"(?:in|out|opp|opposed|dual|multi)[ _-]?phase")
_PHASE = re.compile(
    r"(?:^|[^a-z]|swi|gre|filt|filtered|raw|t2star|t2s|unwrapped)"
    r"(?:ph|phs|pha|phase)(?:maps?|images?|img)?(?![a-z])"
)
_PARTS = {
    "real": re.compile(r"(?:^|[^a-z])real(?![a-z]|[-_ ]?time)"),
    "imag": re.compile(r"(?:^|[^a-z])imag(?:inary)?(?![a-z])"),
    "mag": re.compile(r"(?:^|[^a-z]|swi|gre|raw)mag(?:n|nitude)?(?:images?|img)?(?![a-z])"),
}
_PART_TYPES = {
    "mag": {"M", "M_FFE", "M_SE", "MAGNITUDE"},
    "phase": {"P", "P_FFE", "PHASE", "PHASE MAP", "PHASE_MAP"},
    "real": {"R", "R_FFE", "REAL"},
    "imag": {"I", "I_FFE", "IMAGINARY"},
}
_COIL = re.compile(r"uncomb(?:ined?)?[-_]?\d*|(?:coil|channel|chan|ch|rx)[-_]?\d+")
_COMBINED = re.compile(r"comb(?:ined)?|all|sos|rss|sum")
_UNCOMBINED = re.compile(r"uncomb")
_MAP = re.compile(r"(?:^|[^a-z])(?:qsm|chi|chimap|r2star|r2s|t2starmap|t2map|r2starmap)(?![a-z])")
_SWI = re.compile(r"(?:^|[^a-z])(?:swi|swip|swan|swp)(?![a-z])")
_SWI_TYPES = {"SWI", "SW", "SWIP", "SWAN"}
_HEAD = re.compile(r"HEAD|BRAIN|SKULL|NEURO|ORBIT|FACE")
_BODY = re.compile(
    r"SPINE|NECK|CERVIC|CHEST|THORA|HEART|CARDI|ABDOM|LIVER|KIDNEY|PELVI|PROSTAT|BREAST|SHOULDER"
    r"|ELBOW|WRIST|HAND|HIP|KNEE|ANKLE|FOOT|LEG|ARM|THIGH|EXTREMITY|PHANTOM"
)

Fields = Mapping[str, Any]
#: Reason code and fact.
Verdict = tuple[str, str]


# --- by name ---


def part_of(image: BidsFile) -> str | None:
    """Part of the complex signal by the name: mag, phase, real or imag; None if it is silent.

    >>> def part(name, suffix="GRE"):
    ...     return part_of(BidsFile("", "sub-1", "", suffix, (("acq", name),)))
    >>> part("mag"), part("swiPhase"), part("inphase"), part("x", "SWIphase"), part("x")
    ('mag', 'phase', None, 'phase', None)
    """
    if image.entity("part") is not None:
        return image.entity("part")
    return _part_in((*_words(image), image.suffix))


def is_projection(image: BidsFile) -> bool:
    """Whether the name says minimum or maximum projection."""
    return any(_PROJECTION.search(word.lower()) for word in [*_words(image), image.suffix])


def coil_of(image: BidsFile) -> str | None:
    """The part of the name that says a single receive coil; None if it says nothing of it."""
    coil = image.entity("coil")
    if coil is not None and not _COMBINED.fullmatch(coil.lower()):
        return f"coil-{coil}"
    for key in ("rec", "acq"):
        word = image.entity(key)
        if word is not None and _COIL.fullmatch(word.lower()):
            return f"{key}-{word}"
    return None


def verdict_by_name(image: BidsFile, suffixes: Mapping[str, str | None]) -> Verdict | None:
    """Why the image is no scan by its name; None if it may be one.

    ``suffixes`` are those that are searched.
    """
    other_folder = next((f for f in image.folders if f in OTHER_FOLDERS), None)
    searched = suffixes.get(image.suffix) is not None
    if image.suffix in OTHER_SUFFIXES and not searched:
        return "other_kind", f"Suffix {image.suffix} is neither GRE nor SWI."
    if other_folder is not None:
        if searched:
            return "wrong_folder", f"It lies in {other_folder}/."
        return "other_kind", f"Images in {other_folder}/ are neither GRE nor SWI."
    if is_projection(image):
        return "projection", "Its name says minimum or maximum projection."
    return _verdict_of_words(image) if searched else _verdict_of_suffix(image, suffixes)


def _verdict_of_words(image: BidsFile) -> Verdict | None:
    """Why an image with a suffix that is searched is no scan by the rest of its name."""
    if image.loose and image.stem.startswith(f"{image.folder}_{image.loose[0]}_"):
        # sub-01_S_0413_T2starw may be of another person than sub-01.
        return "bad_name", f"{image.loose[0]} after {image.folder} is no entity."
    coil = coil_of(image)
    if coil:
        return "single_coil", f"It is {coil}."
    words = [word for key in ("rec", "desc") if (word := image.entity(key)) is not None]
    if any(_MAP.search(word.lower()) for word in words):
        return "other_kind", f"It is a map ({', '.join(words)})."
    return None


def _verdict_of_suffix(image: BidsFile, suffixes: Mapping[str, str | None]) -> Verdict:
    """Why an image with a suffix that is not searched is no scan."""
    if _part_in((image.suffix,)) in ("phase", "real", "imag"):
        return "part_phase", f"It is {image.suffix}."
    misplaced = next((part for part in image.loose if suffixes.get(part)), None)
    if misplaced:
        fact = f"The suffix {misplaced} is not the last part of the name: {image.suffix} follows."
        return "bad_name", fact
    setting = f"--set index.suffixes.{image.suffix}=GRE (or SWI)"
    return "wrong_suffix", f"Suffix {image.suffix} is not searched; {setting} adds it."


def _words(image: BidsFile) -> list[str]:
    return [word for key in _WORDS if (word := image.entity(key)) is not None]


@functools.lru_cache(maxsize=4096)
def _part_in(words: tuple[str, ...]) -> str | None:
    """The one part that the words name; None if they name none, or magnitude and another."""
    named: list[str] = []
    for word in words:
        # "swiPhase" and "hiresMag" are words of two.
        for text in (word.lower(), re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", word).lower()):
            if _OTHER_PHASE.search(text):
                break
            named += ["phase"] if _PHASE.search(text) else []
            named += [part for part, pattern in _PARTS.items() if pattern.search(text)]
    return named[0] if named and not ("mag" in named and len(set(named)) > 1) else None


# --- by sidecar ---


def verdict_by_sidecar(image: BidsFile, fields: Fields) -> Verdict | None:
    """Why the image is no scan by its name and sidecar; None if it is one."""
    body = str(fields.get("BodyPartExamined") or "").upper()[:30]
    if _BODY.search(body) and not _HEAD.search(body):
        return "not_brain", f"Its sidecar's BodyPartExamined is {_BODY.findall(body)[0]}."
    described = str(fields.get("SeriesDescription") or "").lower()
    types = image_types(fields)
    projected = any(_PROJECTION_TYPES.fullmatch(kind) for kind in types)
    if projected or _PROJECTION.search(described):
        where = "ImageType" if projected else "SeriesDescription"
        return "projection", f"Its sidecar's {where} says minimum or maximum projection."
    if _UNCOMBINED.search(described):
        return "single_coil", "Its sidecar's SeriesDescription says uncombined."
    named, told = part_of(image), part_by_sidecar(fields)
    if named is None:
        return None if told in (None, "mag") else ("part_phase", f"Its sidecar says {told}.")
    if named == "mag":
        return None
    word = f"It is part-{named}" if image.entity("part") else f"Its name says {named}"
    return "part_phase", f"{word}{', although its sidecar says magnitude' * (told == 'mag')}."


def is_processed_swi(fields: Fields) -> bool:
    """Whether ``ImageType`` says SWI: a scanner that processes SWI writes so."""
    return bool(image_types(fields) & _SWI_TYPES)


def is_magnitude_series(fields: Fields) -> bool:
    """Whether ``SeriesDescription`` says magnitude."""
    described = fields.get("SeriesDescription")
    return isinstance(described, str) and _part_in((described,)) == "mag"


def contradiction(image: BidsFile, fields: Fields) -> str | None:
    """A remark where the name says magnitude and the sidecar another part."""
    told = part_by_sidecar(fields)
    if part_of(image) == "mag" and told not in (None, "mag"):
        return f"The name says magnitude, the sidecar {told}: the name was believed."
    return None


def part_by_sidecar(fields: Fields) -> str | None:
    """Part of the complex signal by ``ImageType``, else by ``SeriesDescription``."""
    types = image_types(fields)
    for part, names in _PART_TYPES.items():
        if types & names:
            return part
    described = fields.get("SeriesDescription")
    return _part_in((described,)) if isinstance(described, str) else None


def image_types(fields: Fields) -> set[str]:
    """Values of ``ImageType`` in capitals. Some converters write them as one text.

    >>> sorted(image_types({"ImageType": "ORIGINAL\\\\PRIMARY\\\\p"}))
    ['ORIGINAL', 'P', 'PRIMARY']
    """
    value = fields.get("ImageType")
    if isinstance(value, str):
        value = re.split(r"[\\,]", value)
    values = value if isinstance(value, list) else []
    return {str(item).strip(" '\"[]").upper() for item in values}


def contrast_of(image: BidsFile, fields: Fields, default: str) -> tuple[str, str | None]:
    """GRE or SWI, and a remark where that is not the suffix's ``default``.

    Many trees give SWI a suffix of GRE, since BIDS has none for SWI.
    """
    if default == "SWI":
        return default, None
    sources = {"name": " ".join(_words(image))}
    sources |= {
        key: value
        for key in ("SeriesDescription", "ProtocolName")
        if isinstance(value := fields.get(key), str)
    }
    says = ["ImageType"] if image_types(fields) & _SWI_TYPES else []
    says += [key for key, text in sources.items() if _SWI.search(text.lower())]
    if not says:
        return default, None
    return "SWI", f"It is taken as SWI, not {default}: so says its {says[0]}."
