"""What the report reads: the cohort's tables, estimates by name, and figures as print sets them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from cmburden.core.paths import Layout
from cmburden.core.rows import plain
from cmburden.core.scan import Scan
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

_NOTHING = {"estimate": None, "ci_low": None, "ci_high": None, "n": 0, "denominator": 0}
#: Column of `scans`: its title, the factor to the title's unit, and decimals.
ACQUISITION = {
    "echo_time_s": ("Echo time, ms", 1000.0, 1),
    "field_strength_t": ("Field, T", 1.0, 1),
    "voxel_x_mm": ("In plane, mm", 1.0, 2),
    "slice_mm": ("Slice, mm", 1.0, 2),
}
#: QC measure: its title and decimals.
QUALITY = {
    "brain_volume_ml": ("Brain volume, ml", 0),
    "mask_compactness": ("Mask compactness", 2),
    "coverage": ("Coverage", 2),
    "snr": ("Signal to noise", 1),
    "contrast_csf_tissue": ("Bright to median signal", 2),
    "dark_fraction": ("Dark share", 3),
    "bias_spread": ("Bias spread", 2),
    "registration_correlation": ("Alignment to MNI152", 3),
}


class ReportTables:
    """The cohort's tables and a look-up of estimates."""

    def __init__(self, layout: Layout):
        self.scans = SCANS.read(layout.table("scans"))
        self.lesions = LESIONS.read(layout.table("lesions"))
        self.participants = PARTICIPANTS.read(layout.table("participants"))
        self.runs = RUNS.read(layout.table("runs"))
        rows = SUMMARY.read(layout.table("summary"))
        self.estimates = {
            (row["stratum"], row["measure"]): {key: plain(value) for key, value in row.items()}
            for row in rows.to_dict("records")
        }
        self.curves = _labelled(layout, CURVES)
        self.cells = _labelled(layout, LESION_CELLS)
        self.strata = list(dict.fromkeys(rows["stratum"]))
        self.sources = _sources(layout)

    def estimate(self, stratum: str, measure: str) -> dict[str, Any]:
        """The row of `summary`; without estimate, and of nobody, where there is none."""
        known = self.estimates.get((stratum, measure))
        return known or {"stratum": stratum, "measure": measure, "method": ""} | _NOTHING

    def count(self, stratum: str, measure: str) -> int:
        return self.estimate(stratum, measure)["n"]

    def starting(self, stratum: str | None, prefix: str) -> list[dict[str, Any]]:
        """Rows whose measure starts with ``prefix``, of one stratum or (None) of all."""
        return [
            row
            for (own, measure), row in self.estimates.items()
            if stratum in (own, None) and measure.startswith(prefix)
        ]

    def curve(
        self, curve: str, *, contrast: str | None = None, model: str | None = None
    ) -> list[dict[str, Any]]:
        """Points of a curve of `curves`, by rising ``x``."""
        of_curve = (curve, contrast, model)
        points = [p for p in self.curves if (p["curve"], p["contrast"], p["model"]) == of_curve]
        return sorted(points, key=lambda point: point["x"])

    def lesion_cells(self, contrast: str) -> dict[tuple[int, int, int], dict[str, Any]]:
        """Rows of `lesion_cells` of a contrast, by the cell's centre in mm of MNI152."""
        return {
            (row["mni_x"], row["mni_y"], row["mni_z"]): row
            for row in self.cells
            if row["contrast"] == contrast
        }

    def cohorts(self) -> list[str]:
        """Cohorts with a scan of known contrast."""
        known = self.scans[self.scans["contrast"].notna()]
        return sorted(set(known["cohort"]))

    def contrasts(self) -> list[tuple[str, str]]:
        """(name, stratum) of each contrast that somebody has a usable scan of."""
        found = [(name, f"contrast={name}") for name in ("GRE", "SWI")]
        return [pair for pair in found if self.count(pair[1], "participants usable")]


def _labelled(layout: Layout, table: Table) -> list[dict[str, Any]]:
    """Rows of ``table`` that say where they stand, as rows of `summary` do: for :func:`number`.

    ``stratum`` is the table's name, ``measure`` the row's key.
    """
    rows = as_records(table.read(layout.table(table.name)))
    return [
        row
        | {
            "stratum": table.name,
            "measure": ", ".join(str(row[name]) for name in table.key if row[name] is not None),
        }
        for row in rows
    ]


def _sources(layout: Layout) -> dict[str, Scan]:
    """Scans of the manifest by id, as far as the path builder needs them."""
    return {
        row["scan_id"]: Scan(
            scan_id=row["scan_id"],
            cohort=row["cohort"],
            participant_id=row["participant_id"],
            session_id=plain(row["session_id"]),
            suffix=row["suffix"],
            contrast=row["contrast"],
            path=Path(row["path"]),
            entities=tuple((key, value) for key, value in json.loads(row["entities"])),
        )
        for row in MANIFEST.read(layout.manifest).to_dict("records")
    }


# --- figures that say which row of `summary` they are ---


def number(row: dict[str, Any], field: str = "n", digits: int = 0, scale: float = 1.0) -> Markup:
    """A field of a row of `summary` as print sets it, in a ``data`` element that names the row.

    So a reader, and the test, can look it up; a missing value is a dash.

    >>> number({"stratum": "all", "measure": "participants", "n": 12})
    Markup('<data value="12" data-of="all | participants | n">12</data>')
    """
    value = plain(row.get(field))
    if value is None:
        return Markup('<span class="muted">–</span>')
    scaled = "" if scale == 1 else f' data-scale="{scale:g}"'
    of = escape(f"{row['stratum']} | {row['measure']} | {field}")
    shown = decimal(value * scale, digits)
    return Markup(f'<data value="{value!r}" data-of="{of}"{scaled}>{shown}</data>')


def interval(row: dict[str, Any], digits: int = 2, scale: float = 1.0) -> Markup:
    """Estimate with its 95 % interval, where it has one."""
    estimate = number(row, "estimate", digits, scale)
    if plain(row.get("ci_low")) is None or plain(row.get("estimate")) is None:
        return estimate
    ends = [number(row, end, digits, scale) for end in ("ci_low", "ci_high")]
    return Markup('{} <span class="muted">({}–{})</span>').format(estimate, *ends)


def share(row: dict[str, Any]) -> Markup:
    """A share in per cent with its interval."""
    return interval(row, 1, 100)


def of(row: dict[str, Any]) -> Markup:
    """Numerator and denominator."""
    return Markup("{}/{}").format(number(row), number(row, "denominator"))


def of_measure(text: str) -> Markup:
    """A number that is part of a measure's name, such as a threshold."""
    return Markup('<span data-source="measure">{}</span>').format(text)


def decimal(value: float | None, digits: int = 2) -> str:
    """A number as print sets it.

    >>> decimal(-1.256), decimal(3), decimal(None)
    ('−1.26', '3.00', '–')
    """
    if value is None or pd.isna(value):
        return "–"
    return f"{float(value):.{digits}f}".replace("-", "−")


def figure(value: Any) -> str:
    """A number in its shortest form, anything else as it is."""
    return f"{value:.4g}" if isinstance(value, (int, float, np.number)) else str(value)
