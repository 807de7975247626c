"""Microbleeds of a scan as DICOM, for a PACS: a segmentation (SEG) and a report (SR, TID 1500).

The scan's own DICOM series gives the grid and the patient. A segment is a lesion. highdicom, an
optional dependency (``pip install cmburden[dicom]``), writes both objects.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from nibabel.affines import apply_affine
from pydicom.uid import MRImageStorage, generate_uid

from cmburden import RESEARCH_USE_ONLY, __version__
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import whole_file

#: Farthest that a voxel of the label image may lie from its pixel, mm: the two are one grid.
_SAME_GRID_MM = 0.1
_MAKER = "CMBurden"
#: Fields of patient and study that may be empty, but not absent (type 2).
_MAY_BE_EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
#: Names that no standard has.
_SCHEME = "99CMBURDEN"


@dataclasses.dataclass(frozen=True)
class Labels:
    """The label image of a scan in canonical RAS, and the rows of its table of lesions.

    ``values`` (x, y, z) holds lesion ids. ``affine`` takes voxel index to RAS mm.
    """

    values: np.ndarray
    affine: np.ndarray
    lesions: list[dict[str, Any]]


def read_series(folder: Path) -> list[pydicom.Dataset]:
    """The slices of the one MR series below ``folder``, from first to last along the normal.

    Raises
    ------
    CMBurdenError
        If there is no such series, there are several, or it has several images a file.
    """
    slices = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            content = pydicom.dcmread(path)
        except (pydicom.errors.InvalidDicomError, OSError):
            continue
        if content.get("SOPClassUID") == MRImageStorage and "PixelData" in content:
            slices.append(_completed(content))
    series = {one.SeriesInstanceUID for one in slices}
    if len(series) != 1:
        raise CMBurdenError(
            f"{folder}: holds {len(series)} MR series with a slice a file; name the folder of the "
            "series that the scan was converted from"
        )
    normal = np.cross(*np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3))
    return sorted(slices, key=lambda one: float(normal @ _position(one)))


def _completed(content: pydicom.Dataset) -> pydicom.Dataset:
    """``content`` with the fields that DICOM wants at least empty, and downloads leave out."""
    for name in _MAY_BE_EMPTY:
        if name not in content:
            setattr(content, name, "")
    return content


def _position(one: pydicom.Dataset) -> np.ndarray:
    return np.array(one.ImagePositionPatient, float)


def on_series(labels: Labels, slices: list[pydicom.Dataset]) -> np.ndarray:
    """Lesion ids (slice, row, column) on the pixels of ``slices``.

    Raises
    ------
    CMBurdenError
        If the label image has another grid than the series.
    """
    first = slices[0]
    across, down = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    by_row, by_column = (float(step) for step in first.PixelSpacing)
    shape = (len(slices), int(first.Rows), int(first.Columns))
    values = np.zeros(shape, np.int32)
    columns, rows = np.meshgrid(np.arange(shape[2]), np.arange(shape[1]))
    in_plane = across * by_column * columns[..., None] + down * by_row * rows[..., None]
    to_voxel = np.linalg.inv(labels.affine)
    worst = 0.0
    for number, one in enumerate(slices):
        # DICOM's axes are LPS.
        points = (in_plane + _position(one)) * (-1, -1, 1)
        at = apply_affine(to_voxel, points)
        voxels = np.round(at).astype(int)
        inside = np.all((voxels >= 0) & (voxels < labels.values.shape), axis=-1)
        if not inside.all():
            raise _another_grid(first)
        off = apply_affine(labels.affine, voxels) - points
        worst = max(worst, float(np.linalg.norm(off, axis=-1).max()))
        values[number] = labels.values[tuple(np.moveaxis(voxels, -1, 0))]
    if values.size != labels.values.size or worst > _SAME_GRID_MM:
        raise _another_grid(first)
    return values


def _another_grid(first: pydicom.Dataset) -> CMBurdenError:
    return CMBurdenError(
        f"series {first.SeriesInstanceUID}: its pixels are not the voxels of the scan; name the "
        "series that the scan was converted from"
    )


def write(folder: Path, scan_id: str, labels: Labels, slices: list[pydicom.Dataset]) -> list[Path]:
    """Write ``SCAN_ID_seg.dcm`` and ``SCAN_ID_sr.dcm`` to ``folder``; returns their paths.

    Raises
    ------
    CMBurdenError
        If there is no lesion (a SEG has a segment at least), or the grids differ.
    """
    if not labels.lesions:
        raise CMBurdenError(f"{scan_id}: has no microbleed; there is nothing to write as DICOM")
    values = on_series(labels, slices)
    uids = {
        name: generate_uid(entropy_srcs=[_MAKER, scan_id, slices[0].SeriesInstanceUID, name])
        for name in ("seg", "seg series", "sr", "sr series")
    }
    with warnings.catch_warnings():
        # A patient's name of one part: it is the series' own, and must stay.
        warnings.simplefilter("ignore", UserWarning)
        segmentation = _segmentation(labels, values, slices, uids)
        report = _report(labels, segmentation, slices, uids)
    paths = []
    for kind, content in (("seg", segmentation), ("sr", report)):
        path = folder / f"{scan_id}_{kind}.dcm"
        with whole_file(path) as temporary:
            content.save_as(temporary)
        paths.append(path)
    return paths


def _tracking(uids: Mapping[str, str], lesion: dict[str, Any]) -> tuple[str, str]:
    """Identifier and UID of a lesion, equal in both objects."""
    name = f"lesion {lesion['lesion_id']}"
    return name, generate_uid(entropy_srcs=[uids["seg"], name])


def _segmentation(
    labels: Labels, values: np.ndarray, slices: list[pydicom.Dataset], uids: Mapping[str, str]
) -> Any:
    """The SEG: a binary segment a lesion."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    algorithm = hd.AlgorithmIdentificationSequence(
        name=_MAKER, version=__version__, family=codes.DCM.ArtificialIntelligence
    )
    descriptions = []
    for number, lesion in enumerate(labels.lesions, start=1):
        name, uid = _tracking(uids, lesion)
        descriptions.append(
            hd.seg.SegmentDescription(
                segment_number=number,
                segment_label=f"{lesion['lesion_id']} {lesion['label']}",
                segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
                segmented_property_type=codes.SCT.Hemorrhage,
                algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=algorithm,
                tracking_uid=uid,
                tracking_id=name,
            )
        )
    ids = np.array([int(lesion["lesion_id"]) for lesion in labels.lesions])
    return hd.seg.Segmentation(
        source_images=slices,
        pixel_array=(values[..., None] == ids).astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=uids["seg series"],
        series_number=9001,
        sop_instance_uid=uids["seg"],
        instance_number=1,
        manufacturer=_MAKER,
        manufacturer_model_name=_MAKER,
        software_versions=__version__,
        device_serial_number="0",
        series_description="Microbleeds, research use only",
        content_label="MICROBLEEDS",
    )


def _report(
    labels: Labels, segmentation: Any, slices: list[pydicom.Dataset], uids: Mapping[str, str]
) -> Any:
    """The SR: volume, diameter, probability and certainty of each segment."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    groups = []
    for number, lesion in enumerate(labels.lesions, start=1):
        name, uid = _tracking(uids, lesion)
        groups.append(
            hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=hd.sr.TrackingIdentifier(identifier=name, uid=uid),
                referenced_segment=hd.sr.ReferencedSegment.from_segmentation(segmentation, number),
                finding_type=codes.SCT.Hemorrhage,
                measurements=[
                    hd.sr.Measurement(name=concept, value=float(value), unit=unit)
                    for concept, value, unit in _measured(lesion)
                ],
                qualitative_evaluations=[
                    hd.sr.QualitativeEvaluation(
                        name=_concept("certainty", "Certainty of a microbleed"),
                        value=_concept(str(lesion["label"]), str(lesion["label"]).capitalize()),
                    )
                ],
            )
        )
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=[_MAKER]), name=_MAKER
    )
    observer = hd.sr.ObserverContext(
        observer_type=codes.DCM.Device, observer_identifying_attributes=device
    )
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.LN.MRIHeadReport,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    return hd.sr.Comprehensive3DSR(
        evidence=[*slices, segmentation],
        content=report,
        series_number=9002,
        series_instance_uid=uids["sr series"],
        sop_instance_uid=uids["sr"],
        instance_number=1,
        manufacturer=_MAKER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=RESEARCH_USE_ONLY[:64],
    )


def _concept(code: str, meaning: str) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(code.upper(), _SCHEME, meaning)


def _measured(lesion: dict[str, Any]) -> list[tuple[Any, Any, Any]]:
    """Name, value and unit of what is known of a lesion."""
    from pydicom.sr.codedict import codes

    known = [
        (codes.SCT.Volume, lesion.get("volume_mm3"), codes.UCUM.CubicMillimeter),
        (codes.SCT.Diameter, lesion.get("diameter_mm"), codes.UCUM.Millimeter),
        (
            _concept("probability", "Probability of being a microbleed"),
            lesion.get("probability"),
            codes.UCUM.NoUnits,
        ),
    ]
    return [row for row in known if row[1] is not None]
