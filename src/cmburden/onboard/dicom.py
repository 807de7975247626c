"""Reads what a DICOM file says of itself: series, place of its slice, part of the signal.

The pixels are not read. `elements` reads the usual files; pydicom reads what `elements` leaves.
"""

from __future__ import annotations

import dataclasses
import functools
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.errors import InvalidDicomError

from cmburden.onboard import elements
from cmburden.onboard.parts import Header

_SOP_CLASS, _SOP, _IMAGE_TYPE, _MAKER = 0x00080016, 0x00080018, 0x00080008, 0x00080070
_ECHO, _SERIES, _INSTANCE = 0x00180081, 0x0020000E, 0x00200013
_POSITION, _ORIENTATION, _IN_ACQUISITION = 0x00200032, 0x00200037, 0x00201002
_SAMPLES, _FRAMES, _ROWS = 0x00280002, 0x00280008, 0x00280010
_COLUMNS, _BITS = 0x00280011, 0x00280100
_SYNTAX, _MODALITY = 0x00020010, 0x00080060
#: GE's part of the signal, in a private element behind much else.
_GE_PART = 0x0043102F
_PARTS = {0: "mag", 1: "phase", 2: "real", 3: "imag"}

#: Elements that a header holds, by their keyword. No name, no birth date.
_KEYWORDS = """
    SpecificCharacterSet ImageType SOPClassUID StudyDate SeriesDate AcquisitionDate StudyTime
    SeriesTime AcquisitionTime Modality Manufacturer SeriesDescription ManufacturerModelName
    PatientID PatientSex PatientAge BodyPartExamined ScanningSequence SequenceVariant
    ScanOptions MRAcquisitionType SequenceName SliceThickness RepetitionTime EchoTime
    InversionTime MagneticFieldStrength SpacingBetweenSlices EchoTrainLength DeviceSerialNumber
    SoftwareVersions ProtocolName ReceiveCoilName FlipAngle PulseSequenceName
    ComplexImageComponent SeriesInstanceUID SeriesNumber NumberOfFrames Rows Columns
    PixelSpacing
"""
_TAGS = {int(tag_for_keyword(k) or 0): k for k in _KEYWORDS.split()}
_NUMBERS = frozenset(
    keyword for tag, keyword in _TAGS.items() if dictionary_VR(tag) in ("DS", "IS", "FD", "FL")
)
#: Groups of an enhanced image: of all frames, and of each.
_GROUPS = (0x52009229, 0x52009230)
#: Elements that pydicom reads of a file that `elements` leaves.
_WANTED = sorted(
    {*_TAGS, _SOP, _INSTANCE, _POSITION, _ORIENTATION, _IN_ACQUISITION, _SAMPLES, _BITS, *_GROUPS}
)
_ALL = frozenset({*_WANTED, _SYNTAX})
#: Transfer syntaxes whose pixels have the size that the header says.
_UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_ENHANCED = "1.2.840.10008.5.1.4.1.1.4.1"
#: Storage classes that are no image of the scanner -> what they are.
_OTHER_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.104.1": "an encapsulated PDF",
    "1.2.840.10008.5.1.4.1.1.104": "an encapsulated document",
    "1.2.840.10008.5.1.4.1.1.7": "a screenshot (secondary capture)",
    "1.2.840.10008.5.1.4.1.1.88": "a structured report",
    "1.2.840.10008.5.1.4.1.1.11": "a presentation state",
    "1.2.840.10008.5.1.4.1.1.66": "raw data",
    "1.2.840.10008.5.1.4.1.1.4.2": "a spectrum",
    "1.3.12.2.1107.5.9.1": "non-image data of Siemens",
    "1.2.840.10008.1.3.10": "a table of contents (DICOMDIR)",
}


class NoImage(Exception):
    """A file without an image of a scanner; ``str(error)`` says what it is."""


@dataclasses.dataclass(frozen=True, slots=True)
class DicomFile:
    """What one file says of itself.

    ``position`` and ``orientation`` are DICOM's, LPS mm; empty where it has none. ``part`` is mag,
    phase, real, imag or None. ``types`` is its ImageType as it stands. ``frames`` is None for a
    file of one slice.
    """

    path: str
    uid: str
    sop: str
    types: str
    echo_ms: float | None
    part: str | None
    instance: int | None
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    in_acquisition: int | None
    frames: int | None
    torn: bool

    @property
    def kind(self) -> tuple[str, str | None]:
        """What parts files of a series into images beside the echo: ImageType, part."""
        return self.types, self.part


def read(path: str) -> tuple[DicomFile, elements.Elements]:
    """The file at ``path`` and its elements, for `header_of`.

    Raises
    ------
    NoImage
        Where it is no DICOM, or DICOM of something else than an image of a scanner.
    OSError
        Where it cannot be read.
    """
    content, size = elements.first_of(path)
    if size == 0:
        raise NoImage("an empty file (half-downloaded)")
    content_elements = None
    if elements.is_dicom(content):
        content_elements = elements.read(content, wanted=_ALL)
    if content_elements is None:
        content_elements = _by_pydicom(path, forced=not elements.is_dicom(content))
    return _file(path, content_elements, content, size), content_elements


def _file(path: str, content: elements.Elements, first_bytes: bytes, size: int) -> DicomFile:
    """``content`` as a DicomFile."""
    sop_class = elements.text(content, _SOP_CLASS)
    other = _other_class(sop_class, elements.text(content, _MODALITY))
    if other:
        raise NoImage(other)
    uid = elements.text(content, _SERIES)
    if not uid:
        raise NoImage("a DICOM file without SeriesInstanceUID")
    types = elements.text(content, _IMAGE_TYPE)
    instance = elements.number(content, _INSTANCE)
    n_in = elements.number(content, _IN_ACQUISITION)
    frames = elements.number(content, _FRAMES)
    return DicomFile(
        path=path,
        uid=uid,
        sop=elements.text(content, _SOP),
        types=types,
        echo_ms=elements.number(content, _ECHO),
        part=_ge_part(content, first_bytes) or part_of(types),
        instance=None if instance is None else int(instance),
        position=elements.numbers(content, _POSITION),
        orientation=elements.numbers(content, _ORIENTATION),
        in_acquisition=None if n_in is None else int(n_in),
        frames=int(frames) if frames and (frames > 1 or sop_class == _ENHANCED) else None,
        torn=size < _least_size(content, int(frames or 1)),
    )


def _other_class(sop_class: str, modality: str) -> str | None:
    """What a file without an MR image is; None for an MR image."""
    for prefix, what in _OTHER_CLASSES.items():
        # A class of the same family has a number more: 1.2...7.1 is a multi-frame capture.
        if sop_class == prefix or sop_class.startswith(prefix + "."):
            return what
    if modality not in ("MR", ""):
        return f"an image of modality {modality[:16]}, not MR"
    return None


def _least_size(content: elements.Elements, frames: int) -> int:
    """Bytes that a file has at least, by its rows and columns; 0 where compression decides."""
    syntax = elements.text(content, _SYNTAX)
    sizes = [elements.short(content, tag) for tag in (_ROWS, _COLUMNS, _BITS)]
    if syntax not in _UNCOMPRESSED or None in sizes:
        return 0
    rows, columns, bits = (size or 0 for size in sizes)
    samples = elements.short(content, _SAMPLES) or 1
    return content.end + rows * columns * (bits // 8) * samples * frames


@functools.lru_cache(1024)
def part_of(types: str) -> str | None:
    """Part of the complex signal that an ImageType names; None where it names none, or several.

    >>> part_of("ORIGINAL\\\\PRIMARY\\\\M_FFE"), part_of("ORIGINAL\\\\PRIMARY\\\\P\\\\ND")
    ('mag', 'phase')
    >>> part_of("ORIGINAL\\\\PRIMARY\\\\OTHER") is None
    True
    """
    words = set(types.upper().replace("_", "\\").split("\\")[2:])
    named = {
        part
        for part, names in (
            ("mag", {"M", "MAGNITUDE"}),
            ("phase", {"P", "PHASE"}),
            ("real", {"R", "REAL"}),
            ("imag", {"I", "IMAGINARY"}),
        )
        if words & names
    }
    return named.pop() if len(named) == 1 else None


def _ge_part(content: elements.Elements, first_bytes: bytes) -> str | None:
    """Part of the signal by GE's private element; None for other makers."""
    if not elements.text(content, _MAKER).upper().startswith("GE"):
        return None
    more = elements.read(first_bytes, _GE_PART)
    value = b"" if more is None else more.get(_GE_PART, b"")
    return _PARTS.get(struct.unpack("<h", value[:2])[0]) if len(value) >= 2 else None


# --- what pydicom reads ---


def _by_pydicom(path: str, *, forced: bool) -> elements.Elements:
    """Elements of a file in any encoding, as `elements.read` gives them."""
    if forced and Path(path).suffix.lower() not in (".dcm", ".ima", ""):
        raise NoImage("no DICOM")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(
                path, stop_before_pixels=True, force=forced, specific_tags=_WANTED
            )
            return _raw(dataset)
    except InvalidDicomError:
        raise NoImage("no DICOM") from None
    except OSError:
        raise
    except Exception as error:  # a torn header raises many kinds
        raise NoImage(f"DICOM that cannot be read ({type(error).__name__})") from None


def _raw(dataset: pydicom.Dataset) -> elements.Elements:
    """``dataset`` as tag -> raw value; what frames share stands as if it were the file's."""
    found = elements.Elements()
    if "SOPClassUID" not in dataset:
        raise NoImage("no DICOM")
    _take(dataset, found)
    for tag in _GROUPS:
        groups = dataset.get(tag)
        if groups is not None and groups.value:
            for inner in _nested(groups.value[0]):
                _take(inner, found)
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None)
    if syntax:
        found[_SYNTAX] = str(syntax).encode()
    return found


def _nested(dataset: pydicom.Dataset) -> Iterator[pydicom.Dataset]:
    """The first items of the sequences of a functional group, and of those within them."""
    for element in dataset:
        if element.VR == "SQ" and element.value:
            yield element.value[0]
            yield from _nested(element.value[0])


def _take(dataset: pydicom.Dataset, found: dict[int, bytes]) -> None:
    """Add elements of ``dataset`` to ``found`` that are not there yet."""
    for element in dataset:
        tag = int(element.tag)
        if tag == 0x00189082:  # EffectiveEchoTime of an enhanced image, ms
            tag = _ECHO
        if element.VR == "SQ" or element.value is None or tag in found:
            continue
        found[tag] = _bytes(element.VR, element.value)


def _bytes(kind: str, value: Any) -> bytes:
    """A value of pydicom as a file in little endian has it."""
    if kind == "US" and isinstance(value, int):
        return struct.pack("<H", value)
    if isinstance(value, bytes):
        return value
    several = isinstance(value, (list, tuple, pydicom.multival.MultiValue))
    parts = value if several else [value]
    return "\\".join(str(part) for part in parts).encode("utf-8", "replace")


# --- a header for rules and tables ---


def header_of(content: elements.Elements) -> Header:
    """Fields by keyword: numbers where DICOM has numbers, ImageType as a list, else text."""
    header: dict[str, Any] = {}
    for tag, keyword in _TAGS.items():
        if tag not in content:
            continue
        if keyword in ("Rows", "Columns"):
            header[keyword] = elements.short(content, tag)
        elif keyword in _NUMBERS:
            numbers = elements.numbers(content, tag)
            if numbers:
                header[keyword] = numbers[0] if len(numbers) == 1 else list(numbers)
        elif keyword == "ImageType":
            header[keyword] = [word.strip() for word in elements.text(content, tag).split("\\")]
        elif value := elements.text(content, tag):
            header[keyword] = value
    return header
