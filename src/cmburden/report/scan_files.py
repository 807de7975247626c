"""Links from a page to the files of a scan, and what the viewers of pages share."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from cmburden.core.paths import Layout
from cmburden.register import figure as quality_figure
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row
from cmburden.space import regions as mars

#: Least radius of a mark in the viewer, mm, so that the mark of a small lesion is seen. By eye.
_LEAST_REACH_MM = 3.0
#: Regions of the right side are this much as bright, as in the QC figure.
_RIGHT_BRIGHTNESS = 0.8


@dataclasses.dataclass(frozen=True)
class Files:
    """Links from the page to files of the scan; None where a file does not exist."""

    planes: str | None = None
    quality_figure: str | None = None
    viewer: str | None = None
    preproc: str | None = None


def files(tables: ReportTables, layout: Layout, scan_id: str, page: Path) -> Files:
    """Links from ``page`` to the files of a scan; none for a scan that the manifest lacks."""
    source = tables.sources.get(scan_id)
    if source is None:
        return Files()

    def present(path: Path) -> str | None:
        return link(path, page) if path.exists() else None

    return Files(
        planes=present(layout.lesion_planes(source)),
        quality_figure=present(layout.quality_figure(source)),
        viewer=present(layout.viewer(source)),
        preproc=present(layout.preproc(source)),
    )


def mark(lesion: Row) -> dict[str, Any]:
    """What the viewer draws of a lesion: centre in scanner coordinates and radius, mm."""
    return {
        "id": lesion["lesion_id"],
        "label": lesion["label"],
        "x": lesion["x_mm"],
        "y": lesion["y_mm"],
        "z": lesion["z_mm"],
        "reach": max(_LEAST_REACH_MM, (lesion["diameter_mm"] or 0.0) / 2),
    }


def regions() -> dict[int, dict[str, Any]]:
    """Name and colour (RGB, 0 to 255, as in the QC figure) of each value of the region volume."""
    result: dict[int, dict[str, Any]] = {}
    for region in mars.REGIONS:
        colour = quality_figure.COLOURS[region.value]
        words = f"{region.name} ({region.group})"
        result[region.value] = {"name": f"left {words}", "colour": colour}
        darker = tuple(round(_RIGHT_BRIGHTNESS * part) for part in colour)
        result[region.value + mars.RIGHT_OFFSET] = {"name": f"right {words}", "colour": darker}
    return result


def region_legend() -> list[dict[str, Any]]:
    """Name and colour of each region, for the legend."""
    return [
        {"name": region.name, "colour": quality_figure.COLOURS[region.value]}
        for region in mars.REGIONS
    ]


def link(path: Path, page: Path) -> str:
    """The address of ``path`` on ``page``."""
    return Path(os.path.relpath(path, page.parent)).as_posix()
