"""Simulated scans as a cohort's download: DICOM in the folders of an image archive, readers' table.

``python -m cmburden.studies.pretend_download OUT --cohort BIDS TRUTH [--cohort BIDS TRUTH ...]``
writes OUT/ADNI (a folder an image, as LONI's archive has them), OUT/MAYOADIRL_MRI_MCH_01Jan2026.csv
(a row a finding; the table's layout is that of public code, its rows are simulated) and
OUT/collection.csv. OUT/expected.tsv is the truth that an onboarding has to come to, OUT/read.tsv
the same microbleeds under the scans' names in BIDS, to evaluate these with. Every tenth
participant's first scan was repeated, and every eighth scan was not read.
``studies.download_figures`` compares what becomes of both.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import datetime
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from cmburden.core.errors import exit_code
from cmburden.core.foreign import read_json_object
from cmburden.core.keys import seed_of
from cmburden.evaluate.cases import read_truth

#: Every such participant has a repeat of the first scan; every such scan has no row in the table.
REPEATED, UNREAD = 10, 8
TABLE = "MAYOADIRL_MRI_MCH_01Jan2026.csv"
_TABLE_COLUMNS = (
    "RID", "COLPROT", "VISCODE", "VISCODE2", "SCANDATE", "LONI_STUDY", "LONI_SERIES", "LONI_IMG_ID",
    "SERIES_NUM", "CHOSEN", "STUDY_QUALITY", "SERIES_QUALITY", "EVALDATE", "NOFINDINGS", "TYPE",
    "STATUS", "LOCXYZ", "SERIES_UID", "update_stamp",
)  # fmt: skip
_COLLECTION_COLUMNS = (
    "Image Data ID", "Subject", "Group", "Sex", "Age", "Visit", "Modality", "Description", "Type",
    "Acq Date", "Format", "Downloaded",
)  # fmt: skip
_GROUPS = {"control": "CN", "MCI": "MCI", "AD": "AD"}
_STATUS = {"microbleed": "Definite", "faint": "Possible"}
_FIRST_VISIT = datetime.datetime(2011, 7, 8, 7, 59, 15)
#: Standard deviation of the noise that a repeat has besides, in steps of the stored image.
_REPEAT_NOISE = 5.0


@dataclasses.dataclass(frozen=True)
class Visit:
    """A simulated scan and what the download calls it.

    ``ptid`` is the participant's id (``002_S_0001``), ``number`` counts the scans of the download
    from 1, ``visit`` those of the participant from 0. ``findings`` are rows of ``tables.TRUTH``;
    ``person`` the row of participants.tsv.
    """

    path: Path
    ptid: str
    number: int
    visit: int
    when: datetime.datetime
    findings: pd.DataFrame
    person: dict[str, Any]

    @property
    def rid(self) -> int:
        return int(self.ptid.rsplit("_", 1)[1])

    @property
    def is_repeated(self) -> bool:
        return self.visit == 0 and self.rid % REPEATED == 0

    @property
    def is_read(self) -> bool:
        return self.number % UNREAD != 0

    @property
    def image_id(self) -> int:
        """LONI's number of the image that was read; that of a first attempt is one less."""
        return 900_000 + 2 * self.number

    @property
    def scan_id(self) -> str:
        """Name of the image of the onboarded tree."""
        run = "_run-2" if self.is_repeated else ""
        months = f"M{12 * self.visit:03d}" if self.is_read else f"{self.when:%Y%m%d}"
        return f"sub-ADNI{self.ptid.replace('_', '')}_ses-{months}{run}_T2starw"


def visits(cohorts: Sequence[tuple[Path, Path]]) -> Iterator[Visit]:
    """The scans of simulated cohorts (BIDS folder, truth), participants in order."""
    number = rid = 0
    for bids, truth_path in cohorts:
        truth = read_truth(truth_path)
        people = pd.read_csv(bids / "participants.tsv", sep="\t", dtype=str).set_index(
            "participant_id"
        )
        for participant, folder in ((name, bids / name) for name in sorted(people.index)):
            rid += 1
            scans = sorted(folder.rglob("*_T2starw.nii.gz"))
            for visit, path in enumerate(scans):
                number += 1
                rows = truth[truth["scan_id"] == path.name.removesuffix(".nii.gz")]
                yield Visit(
                    path=path,
                    ptid=f"002_S_{rid:04d}",
                    number=number,
                    visit=visit,
                    when=_FIRST_VISIT + datetime.timedelta(days=365 * visit + rid),
                    findings=rows[rows["kind"].isin(_STATUS)],
                    person=people.loc[participant].to_dict(),
                )


# --- the images ---


def write_series(
    image: nib.Nifti1Image, sidecar: dict[str, Any], folder: Path, visit: Visit, *, first: bool
) -> str:
    """Write ``image`` as DICOM, a file a slice, without private tags; returns its series' UID.

    ``first`` is the attempt before the one that was read. Rows and columns run as scanners store
    axial slices: columns to the left, rows to the back.
    """
    to_lps = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt("LPS")
    )
    turned = image.as_reoriented(to_lps)
    values = np.asarray(turned.dataobj)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ turned.affine
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    directions = affine[:3, :3] / steps
    when = visit.when - datetime.timedelta(minutes=10 if first else 0)
    image_id = visit.image_id - first
    common = _common(sidecar, visit, when, 7 if first else 8, steps)
    stem = f"ADNI_{visit.ptid}_MR_Axial_T2_Star__br_raw_{when:%Y%m%d%H%M%S}"
    folder.mkdir(parents=True)
    for at in range(values.shape[2]):
        uid = generate_uid(entropy_srcs=[common["SeriesInstanceUID"], str(at)])
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, uid
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        content = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        content.SOPClassUID, content.SOPInstanceUID = MRImageStorage, uid
        for name, value in common.items():
            setattr(content, name, value)
        content.InstanceNumber = at + 1
        content.ImagePositionPatient = _numbers(affine[:3, :3] @ [0, 0, at] + affine[:3, 3])
        content.ImageOrientationPatient = _numbers([*directions[:, 0], *directions[:, 1]])
        content.Columns, content.Rows = values.shape[:2]
        content.PixelData = values[:, :, at].T.astype(np.uint16).tobytes()
        name = f"{stem}_{at + 1}_I{image_id}.dcm"
        content.save_as(folder / name, enforce_file_format=True)
    return str(common["SeriesInstanceUID"])


def _common(
    sidecar: dict[str, Any], visit: Visit, when: datetime.datetime, number: int, steps: np.ndarray
) -> dict[str, Any]:
    """Fields that all slices of a series share."""
    return {
        "StudyInstanceUID": generate_uid(entropy_srcs=[visit.ptid, str(visit.visit)]),
        "SeriesInstanceUID": generate_uid(entropy_srcs=[visit.ptid, str(visit.visit), str(number)]),
        "FrameOfReferenceUID": generate_uid(entropy_srcs=[visit.ptid, str(visit.visit), "frame"]),
        "Modality": "MR",
        "Manufacturer": "SIEMENS",
        "PatientID": visit.ptid,
        "PatientName": visit.ptid,
        "StudyDate": f"{when:%Y%m%d}",
        "SeriesDate": f"{when:%Y%m%d}",
        "AcquisitionDate": f"{when:%Y%m%d}",
        "StudyTime": f"{when:%H%M%S}",
        "SeriesTime": f"{when:%H%M%S}",
        "AcquisitionTime": f"{when:%H%M%S}",
        "SeriesDescription": "Axial T2 Star",
        "ProtocolName": "Axial T2 Star",
        "SeriesNumber": number,
        "AcquisitionNumber": 1,
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
        "EchoTime": _number(1000 * sidecar["EchoTime"]),
        "RepetitionTime": 650,
        "FlipAngle": 20,
        "MagneticFieldStrength": _number(sidecar["MagneticFieldStrength"]),
        "ScanningSequence": "GR",
        "SequenceVariant": "SP",
        "MRAcquisitionType": "2D",
        "SequenceName": "*fl2d1",
        "PixelSpacing": _numbers([steps[1], steps[0]]),
        "SliceThickness": _number(steps[2]),
        "SpacingBetweenSlices": _number(steps[2]),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
    }


def _number(value: float) -> str:
    """A decimal string of DICOM: 16 characters at most."""
    for digits in range(14, 5, -1):
        if len(text := f"{value:.{digits}g}") <= 16:
            return text
    raise ValueError(f"{value} is no decimal string")


def _numbers(values: Sequence[float] | np.ndarray) -> list[str]:
    return [_number(float(value)) for value in values]


# --- the tables ---


def finding_rows(visit: Visit, uid: str) -> list[dict[str, Any]]:
    """Rows of the readers' table for a scan; none where the scan was not read."""
    if not visit.is_read:
        return []
    base = dict.fromkeys(_TABLE_COLUMNS, "") | {
        "RID": visit.rid,
        "COLPROT": "ADNI2",
        "VISCODE2": f"m{12 * visit.visit:02d}" if visit.visit else "bl",
        "SCANDATE": f"{visit.when:%Y%m%d}",
        "LONI_IMG_ID": visit.image_id,
        "CHOSEN": 1,
        "SERIES_UID": uid,
    }
    if visit.findings.empty:
        return [base | {"NOFINDINGS": 1}]
    return [
        base
        | {
            "NOFINDINGS": 0,
            "TYPE": "MCH",
            "STATUS": _STATUS[row.kind],
            "LOCXYZ": f"{row.x_mm:.1f} {row.y_mm:.1f} {row.z_mm:.1f} ",
        }
        for row in visit.findings.itertuples()
    ]


def expected_rows(visit: Visit) -> list[dict[str, Any]]:
    """Truth that an onboarding has to come to: scan_id, kind, x_mm, y_mm, z_mm."""
    if not visit.is_read:
        return []
    if visit.findings.empty:
        return [{"scan_id": visit.scan_id, "kind": "none"}]
    rows = visit.findings[["kind", "x_mm", "y_mm", "z_mm"]].to_dict("records")
    return [{"scan_id": visit.scan_id, **row} for row in rows]


def run(cohorts: Sequence[tuple[Path, Path]], out: Path) -> pd.DataFrame:
    """Write the download to ``out`` (a new folder); returns the content of expected.tsv."""
    out.mkdir(parents=True)
    findings: list[dict[str, Any]] = []
    collection: list[dict[str, Any]] = []
    expected: list[dict[str, Any]] = []
    read = []
    for visit in visits(cohorts):
        image = nib.Nifti1Image.from_filename(visit.path)
        sidecar = read_json_object(Path(str(visit.path).replace(".nii.gz", ".json")))
        folder = out / "ADNI" / visit.ptid
        if visit.is_repeated:
            _write_first_attempt(image, sidecar, folder, visit)
        uid = write_series(image, sidecar, _place(folder, visit), visit, first=False)
        findings += finding_rows(visit, uid)
        expected += expected_rows(visit)
        if visit.is_read:
            read.append(visit.path.name.removesuffix(".nii.gz"))
        collection.append(
            dict.fromkeys(_COLLECTION_COLUMNS, "")
            | {
                "Image Data ID": f"I{visit.image_id}",
                "Subject": visit.ptid,
                "Group": _GROUPS.get(visit.person.get("diagnosis", ""), ""),
                "Sex": visit.person.get("sex", ""),
                "Age": round(float(visit.person["age"])) + visit.visit,
                "Modality": "MRI",
                "Description": "Axial T2 Star",
                "Type": "Original",
                "Acq Date": f"{visit.when:%-m/%d/%Y}",
                "Format": "DCM",
            }
        )
    _write_csv(out / TABLE, _TABLE_COLUMNS, findings)
    _write_csv(out / "collection.csv", _COLLECTION_COLUMNS, collection)
    table = pd.DataFrame(expected)
    table.to_csv(out / "expected.tsv", sep="\t", index=False, na_rep="n/a")
    truth = pd.concat(read_truth(path) for _, path in cohorts)
    truth[truth["scan_id"].isin(read)].to_csv(out / "read.tsv", sep="\t", index=False, na_rep="n/a")
    return table


def _place(folder: Path, visit: Visit) -> Path:
    return folder / "Axial_T2_Star" / f"{visit.when:%Y-%m-%d_%H_%M_%S.0}" / f"I{visit.image_id}"


def _write_first_attempt(
    image: nib.Nifti1Image, sidecar: dict[str, Any], folder: Path, visit: Visit
) -> None:
    """The scan once more, ten minutes before the one that was read, with other noise."""
    rng = np.random.default_rng(seed_of("repeat", visit.ptid))
    values = np.asarray(image.dataobj)
    noisy = np.clip(values + rng.normal(0, _REPEAT_NOISE, values.shape).round(), 0, 32000)
    place = _place(folder, visit).with_name(f"I{visit.image_id - 1}")
    write_series(nib.Nifti1Image(noisy, image.affine), sidecar, place, visit, first=True)


def _write_csv(path: Path, columns: Sequence[str], rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, quoting=csv.QUOTE_NONNUMERIC)
        writer.writeheader()
        writer.writerows(rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m cmburden.studies.pretend_download")
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument(
        "--cohort", nargs=2, type=Path, action="append", required=True, metavar=("BIDS", "TRUTH")
    )
    args = parser.parse_args()
    table = run([tuple(pair) for pair in args.cohort], args.out)
    print(f"{table['scan_id'].nunique()} scans that were read, {os.fspath(args.out)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
