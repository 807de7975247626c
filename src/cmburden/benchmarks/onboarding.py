"""Time of ``cmburden onboard`` over that of dcm2niix alone, on many tiny series of DICOM.

``python -m cmburden.benchmarks.onboarding --series 1000`` prints both and their ratio. dcm2niix is
called once a series, on one core, as the command does with one job.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import tempfile
import time
from pathlib import Path

import dcm2niix
import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from cmburden.onboard import stage
from cmburden.onboard.parts import Request

SLICES, SIZE = 12, 64
_SLICE_MM, _PIXEL_MM = 4.0, 3.436
#: Series of a participant.
_OF_PERSON = 4


def write(root: Path, number: int) -> list[Path]:
    """Folders of ``number`` T2* series below ``root``, a file a slice."""
    folders = []
    for n in range(number):
        person = f"P{n // _OF_PERSON:05d}"
        folder = root / person / f"series-{n % _OF_PERSON}"
        folder.mkdir(parents=True)
        for s in range(SLICES):
            (folder / f"{s:04d}.dcm").write_bytes(_file(person, n, s))
        folders.append(folder)
    return folders


def _file(person: str, n: int, s: int) -> bytes:
    """Slice ``s`` of series ``n``."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = MRImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.{n + 1}.{s + 1}")
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    file.SeriesInstanceUID, file.StudyInstanceUID = f"1.2.3.{n + 1}", f"1.2.4.{n + 1}"
    file.FrameOfReferenceUID, file.PatientID = f"1.2.5.{n + 1}", person
    file.Modality, file.Manufacturer, file.ImageType = "MR", "SIEMENS", ["ORIGINAL", "PRIMARY", "M"]
    file.StudyDate = file.SeriesDate = file.AcquisitionDate = f"2011{1 + n % _OF_PERSON:02d}08"
    file.StudyTime = file.SeriesTime = file.AcquisitionTime = "075915"
    file.SeriesDescription = file.ProtocolName = "Axial T2 Star"
    file.SeriesNumber, file.InstanceNumber, file.AcquisitionNumber = 7, s + 1, 1
    file.EchoTime, file.EchoNumbers, file.RepetitionTime, file.FlipAngle = 20, 1, 650, 20
    file.ScanningSequence, file.SequenceVariant, file.MRAcquisitionType = "GR", "SP", "2D"
    file.SequenceName, file.MagneticFieldStrength = "*fl2d1", 3
    file.Rows = file.Columns = SIZE
    file.PixelSpacing = [_PIXEL_MM, _PIXEL_MM]
    file.SliceThickness = file.SpacingBetweenSlices = _SLICE_MM
    file.ImagePositionPatient = [-110, -120, -40 + _SLICE_MM * s]
    file.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
    file.PixelData = np.full((SIZE, SIZE), 500 + s, np.uint16).tobytes()
    stream = io.BytesIO()
    file.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def alone(folders: list[Path], out: Path) -> float:
    """Seconds of dcm2niix, called once for each folder."""
    begin = time.perf_counter()
    for number, folder in enumerate(folders):
        target = out / str(number)
        target.mkdir(parents=True)
        command = [dcm2niix.bin, "-b", "y", "-ba", "n", "-z", "i", "-f", "x", "-o", str(target)]
        subprocess.run([*command, str(folder)], check=True, capture_output=True)
    return time.perf_counter() - begin


def onboarded(root: Path, out: Path) -> float:
    """Seconds of the whole onboarding with one job."""
    begin = time.perf_counter()
    stage.run(Request("dicom", (root,), out, jobs=1))
    return time.perf_counter() - begin


def measured(series: int, rounds: int = 1) -> dict[str, float]:
    """Seconds of both, the least of ``rounds`` that take turns, and their ratio."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        folders = write(place / "in", series)
        times = [
            (alone(folders, place / f"alone-{n}"), onboarded(place / "in", place / f"ours-{n}"))
            for n in range(rounds)
        ]
        again = onboarded(place / "in", place / "ours-0")
    of_dcm2niix, ours = (min(of_one) for of_one in zip(*times, strict=True))
    return {
        "series": series,
        "dcm2niix_s": round(of_dcm2niix, 2),
        "onboard_s": round(ours, 2),
        "second_run_s": round(again, 2),
        "ratio": round(ours / of_dcm2niix, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    print(json.dumps(measured(args.series, args.rounds)))


if __name__ == "__main__":
    main()
