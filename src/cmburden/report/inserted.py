"""Section: sensitivity for lesions that were inserted into copies of the scans.

The section reads what ``cmburden insert`` wrote, and no other part of the report does.
"""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

from cmburden.core.files import read_json
from cmburden.core.made_with import made_with
from cmburden.core.paths import Layout
from cmburden.core.schema import as_records
from cmburden.core.tables import INSERTION, RENDERERS
from cmburden.report.charts import inserted as chart
from cmburden.report.charts.chart import Chart
from cmburden.report.typeset import Row

#: Axes of `insertion` that are curves, with the end of the chart's name.
_CURVES = {"apparent diameter, mm": "diameter", "loss of signal": "loss"}
_ALL, _PUBLISHED, _UNSEEN = "all", "published sizes", "below visibility"
_LOWEST = "lowest"
#: What each way to draw a lesion is, in words.
RENDERER_WORDS = {
    "physics": "by physics: a clot’s field, dephasing and the limits of k-space at this scan’s "
    "field, echo time and voxel; the networks were not trained on it",
    "transplant": "by transplant: what lesions of this cohort that readers confirmed take of the "
    "signal, from other people’s scans",
    "plain": "plain: a dark ellipsoid with a soft edge",
}


@dataclasses.dataclass(frozen=True)
class OfContrast:
    """``headline``: rows by renderer, all lesions and weighted to published sizes; the lowest last.

    ``unseen``: rows of lesions that no reader would see. ``strata``: rows of the lowest estimate by
    axis.
    """

    name: str
    headline: list[tuple[str, Row, Row]]
    unseen: list[Row]
    charts: list[Chart]
    strata: dict[str, list[Row]]


@dataclasses.dataclass(frozen=True)
class InsertedSection:
    """Content of _inserted.html.j2; ``stale``: the run has other settings or models now.

    ``about`` is what the insertion says of itself; ``renderers`` are those in use, in words;
    ``transplanted``: that of confirmed lesions is one of them. ``examples`` is the address of the
    picture.
    """

    about: dict[str, Any]
    stale: bool
    renderers: list[str]
    transplanted: bool
    contrasts: list[OfContrast]
    examples: str | None


def select(layout: Layout, config: dict[str, Any]) -> InsertedSection | None:
    """The section; None where nothing was inserted, or where its files are not whole."""
    about, path = read_json(layout.insertion), layout.inserted_table(INSERTION.name)
    if not isinstance(about, dict) or not path.exists():
        return None
    rows = [_named(row) for row in as_records(INSERTION.read(path))]
    if not rows:
        return None
    used = [name for name in RENDERERS if any(row["renderer"] == name for row in rows)]
    return InsertedSection(
        about=about,
        stale=about.get("MadeWith") != made_with(config),
        renderers=[RENDERER_WORDS[name] for name in used],
        transplanted="transplant" in used,
        contrasts=[
            _of_contrast(name, [row for row in rows if row["contrast"] == name])
            for name in sorted({row["contrast"] for row in rows})
        ],
        examples=_picture(layout),
    )


def _picture(layout: Layout) -> str | None:
    """The picture of some inserted lesions, embedded; None where there is none."""
    path = layout.inserted_examples
    if not path.exists():
        return None
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _named(row: Row) -> Row:
    """``row`` with the names by which a number of the page says where it is from."""
    stratum = f"{row['contrast']}, {row['axis']}: {row['level']}"
    return row | {"stratum": stratum, "measure": f"{row['label']}, {row['renderer']}"}


def _of_contrast(contrast: str, rows: list[Row]) -> OfContrast:
    definite = [row for row in rows if row["label"] == "definite"]
    names = [name for name in RENDERERS if _of(definite, _ALL, name)]
    apart = {_ALL, _PUBLISHED, _UNSEEN, *_CURVES}
    axes = list(dict.fromkeys(row["axis"] for row in definite if row["axis"] not in apart))
    return OfContrast(
        contrast,
        [
            (name, whole, standard)
            for name in (*names, _LOWEST)
            for whole, standard in zip(
                _of(definite, _ALL, name), _of(definite, _PUBLISHED, name), strict=True
            )
        ],
        [row for name in names for row in _of(definite, _UNSEEN, name) if row["denominator"]],
        _charts(contrast, definite, names),
        {axis: _of(definite, axis, _LOWEST) for axis in axes},
    )


def _of(rows: list[Row], axis: str, renderer: str) -> list[Row]:
    """Rows of an axis and a renderer, in the order of their levels."""
    here = [row for row in rows if (row["axis"], row["renderer"]) == (axis, renderer)]
    return sorted(here, key=lambda row: (row["x"] is None, row["x"] or 0, row["level"]))


def _charts(contrast: str, rows: list[Row], renderers: list[str]) -> list[Chart]:
    charts = []
    for axis, end in _CURVES.items():
        of_renderers = {name: _of(rows, axis, name) for name in renderers}
        name = f"inserted-{contrast.lower()}-{end}"
        drawn = chart.draw(chart.Curve(name, contrast, axis, of_renderers))
        charts += [drawn] if drawn is not None else []
    return charts
