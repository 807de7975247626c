"""What stands on the page of one participant."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from cmburden.core.paths import Layout
from cmburden.core.rows import grouped, plain
from cmburden.register import figure as quality_figure
from cmburden.report.tables import ACQUISITION, QUALITY, ReportTables, decimal, figure
from cmburden.space import regions as mars
from cmburden.summary import image_checks
from cmburden.verify.planes import TILE, TILES


class People:
    """Content of the pages; what they all look up is made once."""

    def __init__(self, tables: ReportTables, layout: Layout):
        self.tables, self.layout = tables, layout
        self.lesions = grouped(tables.lesions, "scan_id")
        z = image_checks.robust_z(tables.scans)
        odd = z.abs() > image_checks.OUTLYING
        ids = tables.scans["scan_id"]
        self.odd = {ids[row]: set(odd.columns[odd.loc[row]]) for row in odd.index[odd.any(axis=1)]}

    def content(self, person: dict[str, Any], scans: list[dict[str, Any]]) -> dict[str, Any]:
        """What participant.html.j2 shows; ``person`` a row of `participants`, its `scans`."""
        named = [
            (column, person[column])
            for column in ("cohort", "age", "sex", "site", "diagnosis")
            if not pd.isna(person[column])
        ]
        if pd.isna(person["scan_id"]):
            lede = f"{person['chosen_because'][:1].upper()}{person['chosen_because'][1:]}"
        else:
            lede = f"{_many(person['n_cmb'], 'definite microbleed')}, pattern {person['pattern']}"
            if person["n_scans"] > 1:
                lede += f"; scan chosen by {person['chosen_because']}"
        page = self.layout.subject_page(person["participant_id"])
        rows = [self._scan(row, person["scan_id"], page) for row in scans]
        return {
            "participant": person["participant_id"],
            "lede": lede.replace("pattern none", "no pattern"),
            "facts": [(name.capitalize(), figure(value)) for name, value in named],
            "scans": rows,
            "has_viewer": any(row["viewer"] for row in rows),
            "library": _link(self.layout.viewer_script, page),
            "region_colours": _region_colours(),
        }

    def _scan(self, row: dict[str, Any], chosen, page: Path) -> dict[str, Any]:
        scan = row | {"chosen": row["scan_id"] == plain(chosen)}
        read = scan["status"] == "ok"
        source = self.tables.sources.get(scan["scan_id"]) if read else None
        lesions = self.lesions.get(scan["scan_id"], []) if read else []
        for key, builder in (
            ("planes", self.layout.lesion_planes),
            ("quality_figure", self.layout.quality_figure),
            ("viewer", self.layout.viewer),
            ("preproc", self.layout.preproc),
        ):
            path = builder(source) if source else None
            scan[key] = _link(path, page) if path and path.exists() else None
        # Rows of the picture are by lesion_id; the list is by falling probability.
        order = {id_: n for n, id_ in enumerate(sorted(one["lesion_id"] for one in lesions))}
        lesions = sorted(lesions, key=lambda one: (-one["probability"], one["lesion_id"]))
        scan["lesions"] = [
            one
            | {
                "anchor": f"{scan['scan_id']}-lesion-{one['lesion_id']}",
                "place": _place(one),
                "tiles": _tiles(order[one["lesion_id"]]) if scan["planes"] else [],
            }
            for one in lesions
        ]
        scan["marks"] = json.dumps(
            [
                {
                    "id": one["lesion_id"],
                    "label": one["label"],
                    "x": one["x_mm"],
                    "y": one["y_mm"],
                    "z": one["z_mm"],
                    "reach": max(3.0, (one["diameter_mm"] or 0.0) / 2),
                }
                for one in lesions
            ]
        )
        scan["sentence"] = (
            f"{scan['contrast']}, {_many(scan['n_cmb'], 'definite microbleed')}, "
            f"{scan['n_possible']} possible, {scan['n_macrohaemorrhage']} too large for a "
            "microbleed."
            if read
            else ""
        )
        scan["measures"] = self._measures(scan)
        return scan

    def _measures(self, scan: dict[str, Any]) -> list[dict[str, Any]]:
        """Acquisition and quality, with the median of the scans of its cohort and contrast."""
        kind = f"cohort={scan['cohort']} & contrast={scan['contrast']}"
        odd = self.odd.get(scan["scan_id"], set())
        known = [
            ("acquisition", name, title, scale, digits)
            for name, (title, scale, digits) in ACQUISITION.items()
        ]
        known += [("qc", name, title, 1.0, digits) for name, (title, digits) in QUALITY.items()]
        rows = []
        for sort, name, title, scale, digits in known:
            if scan[name] is None:
                continue
            usual = self.tables.estimate(kind, f"{sort} {name} median")["estimate"]
            rows.append(
                {
                    "name": title,
                    "value": decimal(scan[name] * scale, digits),
                    "usual": decimal(None if usual is None else usual * scale, digits),
                    "odd": name in odd,
                }
            )
        return rows


def _tiles(row: int) -> list[dict[str, Any]]:
    """Where the tiles of a lesion lie in the picture of its scan."""
    words = {"projection": "minimum over neighbouring slices"}
    return [
        {
            "name": words.get(name, f"{name} slice"),
            "plain": name == "projection",
            "x": column * TILE,
            "y": row * TILE,
        }
        for column, name in enumerate(TILES)
    ]


def _place(lesion: dict[str, Any]) -> str:
    """Side, region and group in words."""
    side = "" if lesion["hemisphere"] in (None, "unknown") else f"{lesion['hemisphere']} "
    group = "" if lesion["group"] == "unknown" else f" ({lesion['group']})"
    return f"{side}{lesion['region']}{group}"


def _region_colours() -> dict[int, tuple[int, ...]]:
    """Colour of each value of the region volume, as in the QC figure."""
    colours: dict[int, tuple[int, ...]] = {}
    for value, colour in sorted(quality_figure.COLOURS.items()):
        colours[value] = colour
        colours[value + mars.RIGHT_OFFSET] = tuple(round(0.8 * part) for part in colour)
    return colours


def _link(path: Path, page: Path) -> str:
    return Path(os.path.relpath(path, page.parent)).as_posix()


def _many(number: int, noun: str) -> str:
    return f"{'no' if number == 0 else number} {noun}{'' if number == 1 else 's'}"
