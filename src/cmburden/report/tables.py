"""Input of the report: the cohort's tables and the index, with a look-up of estimates.

Beside the tables, the report reads the models' contracts (``operating_point``, ``methods``,
``overview``), the problems of participants.tsv (``flow``), and the pictures of the stages.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal, TypeVar

from cmburden.core.manifest import scan_of
from cmburden.core.paths import Layout
from cmburden.core.schema import Table, as_records
from cmburden.core.tables import (
    CURVES,
    LESION_CELLS,
    LESIONS,
    MANIFEST,
    PARTICIPANTS,
    RUNS,
    SCANS,
    SUMMARY,
)
from cmburden.report.typeset import Row
from cmburden.summary import disclosure, measures
from cmburden.summary.counted import Counts
from cmburden.summary.measures import Participants
from cmburden.summary.names import Measure
from cmburden.summary.strata import Stratum

AnyMeasure = TypeVar("AnyMeasure", bound=Measure)
_CONTRASTS = ("GRE", "SWI")
_NOTHING = {"estimate": None, "ci_low": None, "ci_high": None, "n": 0, "denominator": 0}


@dataclasses.dataclass(frozen=True)
class Title:
    """How the report prints a column of `scans`: in the title's unit, ``factor`` times as large."""

    text: str
    digits: int
    factor: float = 1.0


#: Columns on the acquisition.
ACQUISITION = {
    "echo_time_s": Title("Echo time, ms", 1, 1000.0),
    "field_strength_t": Title("Field, T", 1),
    "voxel_x_mm": Title("In plane, mm", 2),
    "slice_mm": Title("Slice, mm", 2),
    "slice_gap_mm": Title("Gap, mm", 2),
    "repetition_time_s": Title("Repetition time, ms", 0, 1000.0),
    "flip_angle_deg": Title("Flip angle, °", 0),
}
#: QC measures.
QUALITY = {
    "brain_volume_ml": Title("Brain volume, ml", 0),
    "mask_compactness": Title("Mask compactness", 2),
    "mask_side_gap_mm": Title("Gap between mask and skull, right against left, mm", 1),
    "coverage": Title("Coverage", 2),
    "snr": Title("Signal to noise", 1),
    "contrast_csf_tissue": Title("95th percentile / median", 2),
    "dark_fraction": Title("Fraction of dark voxels", 3),
    "bias_spread": Title("Bias spread", 2),
    "registration_correlation": Title("Alignment to MNI152", 3),
}


class UnknownEstimateError(Exception):
    """A row of `summary` whose stratum or measure no dataclass of `summary` can read."""

    def __init__(self, stratum: str, measure: str):
        super().__init__(
            f"summary.parquet holds an estimate of unknown name: measure {measure!r}, stratum "
            f"{stratum!r}; the code that wrote the table is another version: aggregate again"
        )


class ReportTables:
    """Tables of a cohort, with a look-up of estimates by stratum and measure.

    Rows of `curves` and `lesion_cells` get a ``stratum``, the table's name, and a ``measure``, the
    row's key, so that their numbers are named as those of `summary` are.
    """

    def __init__(self, layout: Layout, least: int | None = None):
        """Read ``layout.cohort`` and the manifest.

        ``least``: the smallest count to show; smaller ones are suppressed with their complements.
        The frames of scans, lesions and participants stay as they are.

        Raises ``UnknownEstimateError`` for a row of `summary` of unknown name.
        """
        self.scans = SCANS.read(layout.table("scans"))
        self.lesions = LESIONS.read(layout.table("lesions"))
        self.participants = PARTICIPANTS.read(layout.table("participants"))
        self.runs = RUNS.read(layout.table("runs"))
        #: Scans of the manifest by id: of these the layout builds the paths of pictures.
        # Layout builds paths of a scan without its place in the BIDS folder, which is not here.
        scans = (scan_of(row, Path()) for row in as_records(MANIFEST.read(layout.manifest)))
        self.sources = {scan.scan_id: scan for scan in scans}
        rows = as_records(SUMMARY.read(layout.table("summary")))
        if least is not None:
            rows = disclosure.suppressed(rows, least)
        self._estimates = {(row["stratum"], row["measure"]): row for row in rows}
        self._named = [(*_names(row), row) for row in rows]
        self._curves = _with_names(CURVES, layout)
        self._cells = _with_names(LESION_CELLS, layout)
        if least is not None:
            self._curves = disclosure.of_curve(self._curves, self._estimates, least)
            self._cells = disclosure.of_cells(self._cells, self._estimates, least)
        self.strata = list(dict.fromkeys(stratum for stratum, _, _ in self._named))

    def estimate(self, stratum: Stratum, measure: Measure) -> Row:
        """The row of `summary`. Where there is none: a row without estimate, of nobody."""
        nothing = {"stratum": stratum.name, "measure": measure.name, "method": ""} | _NOTHING
        return self._estimates.get((stratum.name, measure.name), nothing)

    def count(self, stratum: Stratum, measure: Measure) -> int:
        """``n`` of the row of `summary`; 0 where there is none, and where it is suppressed."""
        return self.estimate(stratum, measure)["n"] or 0

    def of(
        self, family: type[AnyMeasure], stratum: Stratum | None = None
    ) -> list[tuple[AnyMeasure, Row]]:
        """The rows of a family of measures, of one stratum or of all, in the order of `summary`."""
        return [
            (measure, row)
            for of_stratum, measure, row in self._named
            if isinstance(measure, family) and stratum in (of_stratum, None)
        ]

    def rows_of(self, families: tuple[type[Measure], ...]) -> list[tuple[Stratum, Measure, Row]]:
        """The rows of some families with their strata, in the order of `summary`."""
        return [one for one in self._named if isinstance(one[1], families)]

    def curve(
        self,
        curve: Literal["prevalence", "froc"],
        *,
        contrast: str | None = None,
        model: str | None = None,
    ) -> list[Row]:
        """Points of a curve of `curves`, by rising ``x``."""
        key = (curve, contrast, model)
        points = [row for row in self._curves if _curve_key(row) == key]
        return sorted(points, key=lambda row: row["x"])

    def lesion_cells(self, contrast: str) -> dict[tuple[int, int, int], Row]:
        """Rows of `lesion_cells` of a contrast, by the cell's centre in mm of MNI152."""
        return {
            (row["mni_x"], row["mni_y"], row["mni_z"]): row
            for row in self._cells
            if row["contrast"] == contrast
        }

    @property
    def counts(self) -> Counts:
        """The counts that burden and models are of: those whose strata have no ``counts=``."""
        beside = {one["counts"] for one in self.strata if one.variables[:1] == ("counts",)}
        if "automatic" not in beside:
            return "automatic"
        return "combined" if "reviewed" in beside else "reviewed"

    def stratum_of(self, counts: Counts, contrast: str) -> Stratum:
        """The stratum of a contrast by a kind of count."""
        if counts == self.counts:
            return Stratum(contrast=contrast)
        return Stratum(counts=counts, contrast=contrast)

    def cohorts(self) -> list[str]:
        """Cohorts with a scan whose contrast the index could tell."""
        return sorted(set(self.scans.loc[self.scans["contrast"].notna(), "cohort"]))

    def contrasts(self) -> list[str]:
        """Contrasts of which a participant has a usable scan."""
        return [
            name
            for name in _CONTRASTS
            if self.count(Stratum(contrast=name), Participants("usable"))
        ]

    def kinds(self) -> list[Stratum]:
        """Strata by cohort and contrast, sorted by name."""
        kinds = [one for one in self.strata if one.variables == ("cohort", "contrast")]
        return sorted(kinds, key=lambda stratum: stratum.name)

    def levels(self, variable: str) -> list[str]:
        """Levels of a variable that have a stratum, in the order of print."""
        strata = [stratum for stratum in self.strata if stratum.variables == (variable,)]
        strata.sort(key=lambda stratum: stratum.order)
        return [stratum[variable] for stratum in strata]


def _names(row: Row) -> tuple[Stratum, Measure]:
    stratum, measure = Stratum.parse(row["stratum"]), measures.parse(row["measure"])
    if stratum is None or measure is None:
        raise UnknownEstimateError(row["stratum"], row["measure"])
    return stratum, measure


def _curve_key(row: Row) -> tuple[str, str | None, str | None]:
    return row["curve"], row["contrast"], row["model"]


def _with_names(table: Table, layout: Layout) -> list[Row]:
    """Rows of ``table`` with ``stratum``, the table's name, and ``measure``, the row's key."""
    return [
        row
        | {
            "stratum": table.name,
            "measure": ", ".join(str(row[name]) for name in table.key if row[name] is not None),
        }
        for row in as_records(table.read(layout.table(table.name)))
    ]
