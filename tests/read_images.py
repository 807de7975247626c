"""Images that readers read: names and ids of an onboarded cohort, and the phantom of F1."""

from pathlib import Path

import nibabel as nib
import numpy as np

from cmburden.onboard.parts import Image, Request, Source

#: The phantom: a dark voxel a slice s, at column 30 of row 20 + s (row 63 - j of the stored array).
SHAPE, PIXEL_MM, SLICE_MM, TILT = (64, 64, 12), 3.436, 4.0, 0.15


def image(
    participant="002_S_9001",
    session="ses-M000",
    *,
    bids=Path("bids"),
    run=None,
    echo=None,
    suffix="T2starw",
    part=None,
    **source,
):
    """An image as `convert` hands it on; ``source`` are fields of `Source`."""
    label = "sub-ADNI" + participant.replace("_", "") if "_S_" in participant else participant
    label = label if label.startswith("sub-") else f"sub-{label}"
    entities = [label, session, run and f"run-{run}", echo and f"echo-{echo}"]
    entities += [part and f"part-{part}", suffix]
    scan_id = "_".join(filter(None, entities))
    path = bids / label / (session or "") / "anat" / f"{scan_id}.nii.gz"
    place = source.pop("place", scan_id)
    made = Source(place=place, files=(), participant=participant, **source)
    return Image(path, scan_id, label, session, suffix, "rule", made)


def f1_affine():
    """Of the array as dcm2niix stores it: j runs against the rows of the DICOM files."""
    cos, sin = np.cos(TILT), np.sin(TILT)
    affine = np.eye(4)
    affine[:3, 0] = [-PIXEL_MM, 0, 0]
    affine[:3, 1] = [0, PIXEL_MM * cos, -PIXEL_MM * sin]
    affine[:3, 2] = [0, SLICE_MM * sin, SLICE_MM * cos]
    affine[:3, 3] = [110, 120 - 63 * PIXEL_MM * cos, -40 + 63 * PIXEL_MM * sin]
    return affine


def write_f1(one):
    """The phantom at the place of image ``one``."""
    data = np.full(SHAPE, 500, np.int16)
    for s in range(SHAPE[2]):
        data[30, 63 - 20 - s, s] = 10 * (s + 1)
    one.path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(data, f1_affine()).to_filename(one.path)


def request(out=Path("out"), cohort="adni", **fields):
    return Request(cohort, (), out, **fields)


F1_HEADER = (
    '"RID","COLPROT","VISCODE","VISCODE2","SCANDATE","LONI_STUDY","LONI_SERIES","LONI_IMG_ID",'
    '"SERIES_NUM","CHOSEN","STUDY_QUALITY","SERIES_QUALITY","EVALDATE","NOFINDINGS","TYPE",'
    '"STATUS","LOCXYZ","SERIES_UID","update_stamp"'
)
_9001 = (
    '9001,"ADNI2","v03","bl",20110708,50001,114041,{},7,1,1,1,20110801,0,"{}","{}","{}","1.2.1",""'
)
F1_ROWS = (
    _9001.format("900001", "MCH", "Definite", "6.9 46.5 -20.8 "),
    _9001.format('"I900001"', "MCH", "Definite", "6.9 40.9 -11.9 "),
    _9001.format("900001", "MCH", "Possible", "6.9 35.3 -2.9 "),
    _9001.format("900001", "Superficial Siderosis", "Definite", "20.0 50.0 10.0 "),
    '9002,"ADNI4","4_bl","bl",20240102,50002,114042,900006,8,1,1,1,20240201,1,"","","","",""',
    '9003,"ADNI2","v11","m12",20120710,50003,114043,900011,9,1,1,1,20120801,0,"MCH","Definite",'
    '"6.9 29.7 6.0 ","",""',
    '9999,"ADNI2","v03","bl",20110101,1,1,999999,1,1,1,1,20110201,1,"","","","",""',
)


def f1_table(folder, *rows, header=F1_HEADER, name="MAYOADIRL_MRI_MCH_01Jan2026.csv"):
    path = folder / name
    path.write_text("\n".join((header, *(rows or F1_ROWS))) + "\n", encoding="utf-8")
    return path


def f1_images(bids=Path("bids")):
    """F1's images: 9002 has three echoes, 9003 a repeat, 9005 a folder of the old style."""
    echoes = {"date": "2024-01-02", "uid": "1.2.2", "image_id": "900006"}
    repeat = {"date": "2012-07-10"}
    return [
        image(bids=bids, date="2011-07-08", uid="1.2.1", image_id="900001", series_id="114041"),
        *(image("002_S_9002", bids=bids, echo=e, suffix="MEGRE", **echoes) for e in (1, 2, 3)),
        *(
            image("002_S_9003", "ses-M012", bids=bids, run=n + 1, image_id=f"90001{n}", **repeat)
            for n in (0, 1)
        ),
        image("002_S_9005", bids=bids, date="2013-01-01", uid="1.2.5", series_id="114050"),
    ]
