"""Invented DICOM: 64 x 64 voxels of 3.436 mm, slices of 4 mm, tilted, with a dark voxel in each."""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

TILT = 0.15
PIXEL_MM, SLICE_MM, ORIGIN = 3.436, 4.0, np.array([-110.0, -120.0, -40.0])
SIZE, SLICES = 64, 12
#: Directions of rows and columns, DICOM's LPS.
OBLIQUE = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(TILT), np.sin(TILT)]])
GRE = ("ORIGINAL", "PRIMARY", "M", "ND")


def write(
    folder: Path,
    description: str,
    *,
    number: int = 7,
    image_type: Sequence[str] = GRE,
    echoes: Sequence[float] = (20.0,),
    slices: Iterable[int] = range(SLICES),
    maker: str = "SIEMENS",
    patient: str = "002_S_9001",
    date: str = "20110708",
    time: str = "075915",
    image: str | None = "I900001",
    series: int = 114041,
    axes: np.ndarray = OBLIQUE,
    change: Callable[[FileDataset, int], Any] | None = None,
    size: int = SIZE,
    uid: str | None = None,
    **fields: Any,
) -> str:
    """Write a series into ``folder`` and return its SeriesInstanceUID.

    Slice ``s`` has its dark voxel in row 20 + s, column 30. ``fields`` are DICOM keywords.
    ``change`` alters a file before it is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    uid = uid or _uid(patient, date, time, description, str(number))
    base = _of_series(uid, patient, date, time)
    base.SeriesDescription = base.ProtocolName = description
    base.Manufacturer, base.SeriesNumber, base.ImageType = maker, number, list(image_type)
    base.Rows = base.Columns = size
    base.ImageOrientationPatient = [float(v) for v in axes.ravel()]
    for keyword, value in fields.items():
        setattr(base, keyword, value)
    template = None if change else _template(base)
    count = 0
    for echo, echo_ms in enumerate(echoes, 1):
        for s in slices:
            count += 1
            name = f"{count:04d}.dcm"
            if image is not None:
                stem = f"ADNI_{patient}_MR_{description.replace(' ', '_')}_br_raw_{date}{time}"
                name = f"{stem}_{count}_S{series}_{image}.dcm"
            values = {
                "sop": f"{uid}.{echo}.{s + 10}",
                "number": f"{count:04d}",
                "echo": f"{echo_ms:06.2f}",
                "n_echo": f"{echo} ",
                "x y z": ORIGIN + np.cross(*axes) * SLICE_MM * s,
            }
            pixels = np.full((size, size), 500, np.uint16)
            pixels[(20 + s) % size, 30 % size] = 10 * (s + 1)
            if template is not None:
                (folder / name).write_bytes(_filled(template, uid, values) + pixels.tobytes())
                continue
            assert change is not None
            file = copy.deepcopy(base)
            _set(file, values)
            file.PixelData = pixels.tobytes()
            for keyword, value in fields.items():
                setattr(file, keyword, value)
            if change(file, count) is not False:
                file.save_as(folder / name, enforce_file_format=True)
    return uid


def _set(file: FileDataset, values: dict[str, Any]) -> None:
    """Give a file what differs between the files of a series."""
    file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = values["sop"]
    file.InstanceNumber = values["number"]
    file.EchoTime, file.EchoNumbers = values["echo"], values["n_echo"]
    file.ImagePositionPatient = [f"{value:+016.9f}" for value in values["x y z"]]


def _template(base: FileDataset) -> bytes:
    """A file up to its pixels, with marks of fixed width: pydicom takes 5 ms to write a file."""
    file = copy.deepcopy(base)
    _set(file, _MARKS | {"sop": f"{base.SeriesInstanceUID}.9.99"})
    file.PixelData = bytes(2 * file.Rows * file.Columns)
    stream = io.BytesIO()
    file.save_as(stream, enforce_file_format=True)
    return stream.getvalue()[: -len(file.PixelData)]


_MARKS: dict[str, Any] = {
    "number": "9999",
    "echo": "099.99",
    "n_echo": "9 ",
    "x y z": (111.111111111, 222.222222222, 333.333333333),
}


def _filled(template: bytes, uid: str, values: dict[str, Any]) -> bytes:
    """``template`` with the values of one file."""
    content = template.replace(f"{uid}.9.99".encode(), values["sop"].encode())
    for tag, key in (
        (b"\x20\x00\x13\x00IS\x04\x00", "number"),
        (b"\x18\x00\x81\x00DS\x06\x00", "echo"),
        (b"\x18\x00\x86\x00IS\x02\x00", "n_echo"),
    ):
        content = content.replace(tag + _MARKS[key].encode(), tag + values[key].encode())
    for mark, value in zip(_MARKS["x y z"], values["x y z"], strict=True):
        content = content.replace(f"{mark:+016.9f}".encode(), f"{value:+016.9f}".encode())
    return content


def _uid(*words: str) -> str:
    return f"1.2.3.{int(hashlib.sha256('|'.join(words).encode()).hexdigest()[:16], 16)}"


def _of_series(uid: str, patient: str, date: str, time: str) -> FileDataset:
    """What all files of a series share."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID = MRImageStorage
    file.StudyInstanceUID = _uid(patient, date)
    file.FrameOfReferenceUID = _uid(patient, date, "frame")
    file.SeriesInstanceUID, file.Modality, file.AcquisitionNumber = uid, "MR", 1
    file.PatientID, file.PatientName, file.PatientBirthDate = patient, "Doe^Jo", "19400102"
    file.PatientSex, file.PatientAge = "F", "071Y"
    file.StudyDate = file.SeriesDate = file.AcquisitionDate = date
    file.StudyTime = file.SeriesTime = file.AcquisitionTime = time
    file.RepetitionTime, file.FlipAngle, file.MagneticFieldStrength = 650, 20, 3
    file.ScanningSequence, file.SequenceVariant = "GR", "SP"
    file.MRAcquisitionType, file.SequenceName = "2D", "*fl2d1"
    file.PixelSpacing = [PIXEL_MM, PIXEL_MM]
    file.SliceThickness = file.SpacingBetweenSlices = SLICE_MM
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
    return file


def dark_point(s: int, axes: np.ndarray = OBLIQUE) -> np.ndarray:
    """Scanner RAS mm of the dark voxel of slice ``s``, by DICOM's own formula (PS3.3 C.7.6.2)."""
    lps = ORIGIN + np.cross(*axes) * SLICE_MM * s + axes[0] * 30 * PIXEL_MM
    return (lps + axes[1] * (20 + s) * PIXEL_MM) * [-1, -1, 1]


def adni_tree(root: Path) -> dict[str, str]:
    """Fixture F1: five participants of ADNI; returns SeriesInstanceUID by participant."""
    top = root / "ADNI"

    def place(patient: str, description: str, when: str, folder: str) -> Path:
        return top / patient / description.replace(" ", "_") / when / folder

    def adni(patient: str, description: str, when: str, folder: str, **options: Any) -> str:
        date, time = when[:10].replace("-", ""), when[11:19].replace("_", "")
        options = {"patient": patient, "date": date, "time": time, "image": folder} | options
        return write(place(patient, description, when, folder), description, **options)

    three = {"echoes": (6.7, 13.4, 20.1), "SequenceName": "*fl3d3", "MRAcquisitionType": "3D"}
    trap = "Axial T2 Star-Repeated with exact copy of FLAIR"
    return {
        "9001": adni("002_S_9001", "Axial T2-Star", "2011-07-08_07_59_15.0", "I900001"),
        "9002": adni(
            "002_S_9002", "Axial 3D ME T2 GRE", "2024-01-02_10_00_00.0", "I900006", **three
        ),
        "9003": adni("002_S_9003", "Axial T2 Star", "2012-07-10_09_00_00.0", "I900010"),
        "9003 repeat": adni(
            "002_S_9003", "Axial T2 Star REPEAT", "2012-07-10_09_20_00.0", "I900011", number=9
        ),
        "9004": adni("002_S_9004", trap, "2012-08-10_09_00_00.0", "I900012"),
        "9005": adni("002_S_9005", "AXIAL T2 STAR", "2013-01-10_09_00_00.0", "S114050", image=None),
    }


HEADER = (
    '"RID","COLPROT","VISCODE","VISCODE2","SCANDATE","LONI_STUDY","LONI_SERIES","LONI_IMG_ID",'
    '"SERIES_NUM","CHOSEN","STUDY_QUALITY","SERIES_QUALITY","EVALDATE","NOFINDINGS","TYPE",'
    '"STATUS","LOCXYZ","SERIES_UID","update_stamp"'
)


def mch_table(path: Path, uids: dict[str, str]) -> Path:
    """The readers' table of F1."""

    def row(rid: int, visit: str, date: int, series: int, image: str, clean: int, *finding: str):
        kind, status, place, uid = finding
        cells = f'{rid},"ADNI2","v03","{visit}",{date},50001,{series},{image},7,1,1,1,20110801'
        return f'{cells},{clean},"{kind}","{status}","{place}","{uid}",""'

    first = (9001, "bl", 20110708, 114041)
    uid = uids["9001"]
    siderosis = "Superficial Siderosis"
    rows = [
        row(*first, "900001", 0, "MCH", "Definite", "6.9 46.5 -20.8 ", uid),
        row(*first, '"I900001"', 0, "MCH", "Definite", "6.9 40.9 -11.9 ", uid),
        row(*first, "900001", 0, "MCH", "Possible", "6.9 35.3 -2.9 ", uid),
        row(*first, "900001", 0, siderosis, "Definite", "20.0 50.0 10.0 ", uid),
        row(9002, "bl", 20240102, 114042, "900006", 1, "", "", "", ""),
        row(9003, "m12", 20120710, 114043, "900011", 0, "MCH", "Definite", "6.9 29.7 6.0 ", ""),
        row(9999, "bl", 20110101, 1, "999999", 1, "", "", "", ""),
    ]
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return path
