"""Estimates about images: flow of scans and files, acquisition, quality, scans to check first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd

from cmburden.core.tables import QC
from cmburden.summary import image_checks, reading_list
from cmburden.summary.cohort import Cohort
from cmburden.summary.measures import (
    DomainLimit,
    FilesNotSearched,
    ImageMeasure,
    OutsideDomain,
    Scans,
    ScansAtLimit,
    ScansWith,
    ToCheckFirst,
    UnknownDomain,
)
from cmburden.summary.rows import Row, count, of_stratum, row, tally
from cmburden.summary.strata import EVERYBODY, MISSING, Stratum

_ACQUISITION = (
    *("echo_time_s", "field_strength_t", "voxel_x_mm", "voxel_y_mm", "slice_mm"),
    *("repetition_time_s", "flip_angle_deg", "slice_gap_mm"),
)
_QUALITY = tuple(column.name for column in QC)


def rows(cohort: Cohort, config: dict[str, Any]) -> list[Row]:
    """Rows of all scans, of each cohort, and of each cohort by contrast."""
    checks = reading_list.checks(cohort.scans, cohort.lesions, config)
    return [
        *_flow(cohort.scans, cohort.rejected),
        *of_stratum(EVERYBODY, [at_limit(cohort.scans, config["detect"]["max_candidates"])]),
        *_images(cohort.scans),
        *of_stratum(EVERYBODY, _domain(checks)),
        *_outlying(cohort.scans, checks.z),
        *of_stratum(EVERYBODY, _to_check(checks)),
    ]


def _flow(scans: pd.DataFrame, rejected: pd.DataFrame) -> Iterator[Row]:
    images = scans[scans["path"].notna()]
    yield from of_stratum(EVERYBODY, _statuses(images))
    for cohort, members in images.groupby("cohort", sort=True):
        yield from of_stratum(Stratum(cohort=cohort), _statuses(members))
    # A row with the path of a participant's folder is of the participant, not of a file.
    of_participant = (rejected["path"] == rejected["participant_id"]).fillna(False)
    files = rejected[~of_participant & (rejected["reason"] != "no_scan")]
    reasons = tally(files["reason"])
    yield from of_stratum(
        EVERYBODY, (count(FilesNotSearched(reason), number) for reason, number in reasons)
    )


def _statuses(images: pd.DataFrame) -> Iterator[Row]:
    yield count(Scans(), len(images))
    for status, of_status in images.groupby("status", sort=True):
        yield count(Scans(status), len(of_status), len(images))
        for reason, number in tally(of_status["reason"]):
            yield count(Scans(status, reason), number, len(images))


def at_limit(scans: pd.DataFrame, most: int) -> Row:
    """Scans whose candidates were cut off: the counts of people with very many are censored."""
    numbers = scans.loc[scans["status"] == "ok", "n_candidates"].dropna()
    return count(ScansAtLimit(), int((numbers >= most).sum()), len(numbers))


def _images(scans: pd.DataFrame) -> Iterator[Row]:
    """Acquisition and QC by cohort and contrast: median and range over the scans with a value."""
    images = scans[scans["contrast"].notna()]
    for (cohort, contrast), members in images.groupby(["cohort", "contrast"], sort=True):
        read = members[members["status"] == "ok"]
        yield from of_stratum(
            Stratum(cohort=cohort, contrast=contrast),
            (
                count(Scans(), len(members)),
                *_ranges("acquisition", _ACQUISITION, members),
                *_levels(members),
                *_ranges("qc", _QUALITY, read),
            ),
        )


def _levels(scans: pd.DataFrame) -> Iterator[Row]:
    """Number of scans by maker and model, by 2D or 3D, by magnitude or processed SWI."""
    both = scans[["manufacturer", "scanner_model"]].astype("string").fillna("")
    scanner = (both["manufacturer"] + " " + both["scanner_model"]).str.strip()
    columns: tuple[tuple[Literal["scanner", "dimension", "image_kind"], pd.Series], ...] = (
        ("scanner", scanner.mask(scanner == "")),
        ("dimension", scans["dimension"].astype("string")),
        ("image_kind", scans["image_kind"].astype("string")),
    )
    for name, values in columns:
        for level, number in tally(values.fillna(MISSING)):
            yield count(ScansWith(name, level), number, len(scans))


def _ranges(
    kind: Literal["acquisition", "qc"], columns: tuple[str, ...], scans: pd.DataFrame
) -> Iterator[Row]:
    for column in columns:
        values = scans[column].dropna().to_numpy(dtype=float)
        if not len(values):
            continue
        n, total = len(values), len(scans)
        yield row(ImageMeasure(kind, column, "median"), np.median(values), n, total, "median")
        yield row(ImageMeasure(kind, column, "min"), values.min(), n, total, "min")
        yield row(ImageMeasure(kind, column, "max"), values.max(), n, total, "max")


def _domain(checks: reading_list.Checks) -> Iterator[Row]:
    """Scans outside the validated domain, by key of the domain."""
    outside, total = checks.outside, len(checks.outside)
    method = "the model's contract"
    for key, (low, high) in checks.ranges.items():
        beyond = int(outside[key].fillna(False).sum())
        yield count(OutsideDomain(key), beyond, total)
        yield count(UnknownDomain(key), int(outside[key].isna().sum()), total)
        yield row(DomainLimit(key, "low"), low, 0, method=method)
        yield row(DomainLimit(key, "high"), high, 0, method=method)
    if checks.ranges:
        yield count(OutsideDomain(), int(outside.fillna(False).any(axis=1).sum()), total)


def _outlying(scans: pd.DataFrame, z: pd.DataFrame) -> Iterator[Row]:
    """Scans with an outlying QC measure, by cohort and contrast."""
    method = f"|robust z| above {image_checks.OUTLYING:g} within the stratum"
    read = scans[scans["status"] == "ok"]
    for (cohort, contrast), index in read.groupby(["cohort", "contrast"], sort=True).groups.items():
        for column in z.columns:
            values = z.loc[index, column].dropna()
            if not len(values):
                continue
            number = int((values.abs() > image_checks.OUTLYING).sum())
            measure = ImageMeasure("qc", column, "outlying")
            outlying = row(measure, number, number, len(values), method)
            yield from of_stratum(Stratum(cohort=cohort, contrast=contrast), [outlying])


def _to_check(checks: reading_list.Checks) -> Iterator[Row]:
    total = len(checks.outside)
    yield count(ToCheckFirst(), len(checks.to_check), total)
    for reason in reading_list.REASONS:
        number = sum(reason in reasons for reasons in checks.to_check["reasons"])
        yield count(ToCheckFirst(reason), number, total)
