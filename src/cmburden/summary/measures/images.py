"""Names of estimates of scans and files, and of their checks."""

from __future__ import annotations

import dataclasses
from typing import Literal

from cmburden.summary.names import Measure


@dataclasses.dataclass(frozen=True)
class Scans(Measure):
    """Number of scans: all, those with a status, those with a status for one reason.

    >>> Scans("failed", "not_brain").name
    'scans status=failed reason=not_brain'
    """

    TEMPLATE = "scans[ status={status}[ reason={reason}]]"
    status: str = ""
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class ScansAtLimit(Measure):
    """Number of scans read that have as many candidates as ``detect.max_candidates`` allows: their
    counts may be too low."""

    TEMPLATE = "scans at the limit of candidates"


@dataclasses.dataclass(frozen=True)
class FilesNotSearched(Measure):
    """Number of files that are no scan, by reason code."""

    TEMPLATE = "files not searched reason={reason}"
    reason: str


@dataclasses.dataclass(frozen=True)
class ImageMeasure(Measure):
    """Median or range of a column of `scans`, or the number of scans with an outlying value.

    >>> ImageMeasure("qc", "snr", "median").name
    'qc snr median'
    """

    TEMPLATE = "{kind} {column} {statistic}"
    kind: Literal["acquisition", "qc"]
    column: str
    statistic: Literal["median", "min", "max", "outlying"]


@dataclasses.dataclass(frozen=True)
class ScansWith(Measure):
    """Number of scans with a level of the acquisition, such as a scanner; n/a: not known.

    >>> ScansWith("dimension", "3D").name
    'scans with dimension=3D'
    """

    TEMPLATE = "scans with {column}={level}"
    column: Literal["scanner", "dimension", "image_kind"]
    level: str


@dataclasses.dataclass(frozen=True)
class OutsideDomain(Measure):
    """Number of scans outside the validated domain, by one key of the domain or by any."""

    TEMPLATE = "scans outside domain[={key}]"
    key: str = ""


@dataclasses.dataclass(frozen=True)
class UnknownDomain(Measure):
    """Number of scans without a value for a key of the validated domain."""

    TEMPLATE = "scans of unknown domain={key}"
    key: str


@dataclasses.dataclass(frozen=True)
class DomainLimit(Measure):
    """An end of the validated range of a key of the domain, in the key's unit."""

    TEMPLATE = "domain {key} {end}"
    key: str
    end: Literal["low", "high"]


@dataclasses.dataclass(frozen=True)
class ToCheckFirst(Measure):
    """Number of scans that a reader should look at first, for one reason or for any."""

    TEMPLATE = "scans to check first[ reason={reason}]"
    reason: str = ""
