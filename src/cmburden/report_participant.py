"""What stands on the page of one participant."""

from __future__ import annotations

from typing import Any

import pandas as pd

from cmburden.paths import Layout
from cmburden.report_tables import ACQUISITION, QUALITY, ReportTables, decimal, figure, plain


def content(
    person: dict[str, Any],
    scans: list[dict[str, Any]],
    lesions: dict[str, list[dict[str, Any]]],
    tables: ReportTables,
    layout: Layout,
) -> dict[str, Any]:
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
    return {
        "participant": person["participant_id"],
        "lede": lede.replace("pattern none", "no pattern"),
        "facts": [(name.capitalize(), figure(value)) for name, value in named],
        "scans": [_scan(row, person["scan_id"], lesions, tables, layout) for row in scans],
    }


def _scan(row, chosen, lesions, tables, layout) -> dict[str, Any]:
    scan = row | {"chosen": row["scan_id"] == plain(chosen)}
    scan["lesions"] = lesions.get(scan["scan_id"], [])
    scan["montage"] = scan["quality_figure"] = None
    source = tables.sources.get(scan["scan_id"])
    if source:
        for key, path in (
            ("montage", layout.montage(source)),
            ("quality_figure", layout.quality_figure(source)),
        ):
            if path.exists():
                scan[key] = path.relative_to(layout.root).as_posix()
    scan["sentence"] = (
        f"{scan['contrast']}, {_many(scan['n_cmb'], 'definite microbleed')}, "
        f"{scan['n_possible']} possible, {scan['n_macrohaemorrhage']} too large for a microbleed."
        if scan["status"] == "ok"
        else ""
    )
    if not scan["lesions"]:
        scan["montage"] = None
    measures = [
        (title, scan[name] if scan[name] is None else scan[name] * scale, digits)
        for name, (title, scale, digits) in ACQUISITION.items()
    ]
    measures += [(title, scan[name], digits) for name, (title, digits) in QUALITY.items()]
    scan["measures"] = [
        (title, decimal(value, digits)) for title, value, digits in measures if value is not None
    ]
    return scan


def _many(number: int, noun: str) -> str:
    return f"{'no' if number == 0 else number} {noun}{'' if number == 1 else 's'}"
