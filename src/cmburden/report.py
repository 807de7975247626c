"""The report of the cohort and a page a participant, from the tables alone.

Pages hold no script and load nothing from elsewhere: charts are tables and bars of HTML, so they
read aloud, print, and follow light and dark.
"""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

import cmburden
from cmburden import burden, report_participant, summary
from cmburden.mars import REGIONS
from cmburden.paths import Layout
from cmburden.records import whole_file
from cmburden.report_tables import (
    ACQUISITION,
    QUALITY,
    ReportTables,
    decimal,
    figure,
    grouped,
    percent,
    plain,
)
from cmburden.tables import GROUPS, PATTERNS

STAGE = "report"
VERSION = 1
#: Montages are embedded while they fit into this, so that the page can be sent alone; the others
#: stay on the pages of their participants.
_EMBED_BYTES = 8_000_000
_MOST_ROWS = 500
_MOST_BARS = 24
_SECTIONS = [
    ("flow", "Participant flow"),
    ("burden", "Burden"),
    ("acquisition", "Acquisition"),
    ("operating-point", "Operating point"),
    ("lesions", "Detected lesions"),
    ("not-used", "Scans not read"),
    ("quality", "Quality"),
    ("provenance", "Provenance"),
]
#: Reason codes as a reader says them; other codes by their own words.
_REASON_WORDS = {
    "unreadable": "not readable as NIfTI",
    "empty_file": "file without bytes",
    "truncated": "file cut short",
    "not_finite": "NaN or infinite voxels",
    "not_3d": "not one 3D volume",
    "constant": "all voxels alike",
    "is_phase": "phase given as magnitude",
    "voxel_size": "voxels too coarse",
    "coverage": "brain not covered",
    "not_brain": "not a brain",
    "polarity": "not a GRE or SWI contrast",
    "brain_mask": "implausible brain mask",
    "registration": "not aligned to MNI152",
    "no_scan": "no GRE or SWI scan",
    "wrong_suffix": "other kinds of image",
    "part_phase": "phase images",
    "echo_not_chosen": "other echoes of a scan",
    "filtered": "filtered out by the configuration",
    "duplicate": "duplicates",
    "cohort": "in no configured cohort",
    "not_run": "not run to the end",
}


def run(layout: Layout, config: dict[str, Any]) -> None:
    """Write report/index.html and sub-*.html from the cohort tables."""
    tables = ReportTables(layout)
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("cmburden", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"percent": percent, "decimal": decimal}
    shared = {"version": cmburden.__version__, "title": config["report"]["title"]}
    cohort_page = pages.get_template("index.html.j2")
    _write(layout.report, cohort_page.render(shared | _cohort(tables, layout, config)))
    participant_page = pages.get_template("participant.html.j2")
    scans = grouped(tables.scans, "participant_id")
    lesions = grouped(tables.lesions, "scan_id")
    for person in tables.participants.to_dict("records"):
        name = person["participant_id"]
        content = report_participant.content(person, scans[name], lesions, tables, layout)
        _write(layout.subject_page(name), participant_page.render(shared | content))


# --- the cohort's page ---


def _cohort(tables: ReportTables, layout: Layout, config: dict[str, Any]) -> dict[str, Any]:
    contracts = [(stage, summary.contract_of(config, stage)) for stage in ("detect", "verify")]
    contracts = [(stage, contract) for stage, contract in contracts if contract]
    contrasts = tables.contrasts()
    axis, forest = _forest(tables, config)
    return {
        "sections": _SECTIONS,
        "cohorts": tables.cohorts(),
        "macro_mm": f"{config['aggregate']['macrohaemorrhage_mm']:g}",
        "training": _training(contracts),
        "flow": _flow(tables),
        "problems": _problems(layout),
        "arms": [
            {"name": name, "definite": tables.estimate(stratum, "presence definite")}
            for name, stratum in contrasts
        ],
        "pooled": len(contrasts) > 1,
        "axis": axis,
        "forest": forest,
        "histograms": _histograms(tables, contrasts),
        "shapes": _shapes(tables, contrasts, config),
        "regions": [_regions(tables, name, stratum) for name, stratum in contrasts],
        "acquisition": _acquisition(tables),
        "models": [_model(tables, stage, contract, config) for stage, contract in contracts],
        "failures": _failures(tables),
        "quality": _quality(tables),
        "provenance": _provenance(tables),
        **_montages(tables, layout),
    }


def _training(contracts) -> str:
    """What the networks learned from, in a sentence; the plain warning where nothing else says."""
    simulated = "The networks were trained on simulated scans"
    said = dict.fromkeys(
        str(contract["training_data"])
        for _, contract in contracts
        if isinstance(contract.get("training_data"), str)
    )
    return f"{simulated} ({'; '.join(said).rstrip('.')})." if said else f"{simulated}."


def _flow(tables: ReportTables) -> dict[str, Any]:
    usable = tables.estimate("all", "participants usable")
    not_ok = []
    for status in ("failed", "excluded"):
        prefix = f"scans status={status}"
        if number := tables.count("all", prefix):
            reasons = tables.levels("all", f"{prefix} reason=")
            not_ok.append({"status": status, "n": number, "reasons": _in_words(reasons)})
    return {
        "participants": tables.count("all", "participants"),
        "usable": usable["n"],
        "without": tables.count("all", "participants") - usable["n"],
        "missing": _in_words(tables.levels("all", "participants missing reason=")),
        "scans": tables.count("all", "scans"),
        "ok": tables.count("all", "scans status=ok"),
        "not_ok": not_ok,
        "files": _in_words(tables.levels("all", "files not searched reason=")),
        "definite": tables.count("all", "lesions definite"),
        "possible": tables.count("all", "lesions possible"),
        "macro": tables.count("all", "lesions macrohaemorrhage"),
    }


def _in_words(levels: list[tuple[str, int]]) -> list[dict[str, Any]]:
    return [
        {"words": _REASON_WORDS.get(code, code.replace("_", " ")), "n": number}
        for code, number in levels
    ]


def _forest(tables: ReportTables, config) -> tuple[float, list[dict[str, Any]]]:
    """End of the axis, and blocks of strata with their prevalence."""
    blocks: dict[str, list[dict[str, Any]]] = {}
    for stratum in sorted(tables.strata, key=summary.stratum_order):
        if not tables.count(stratum, "participants"):
            continue
        pairs = [part.split("=", 1) for part in stratum.split(" & ")]
        variable = "" if stratum == "all" else " and ".join(pair[0] for pair in pairs)
        blocks.setdefault(variable, []).append(
            {
                "name": "All"
                if stratum == "all"
                else ", ".join(_level(pair[1], pair[0]) for pair in pairs),
                "usable": tables.count(stratum, "participants usable"),
                "all": tables.count(stratum, "participants"),
                "definite": tables.estimate(stratum, "presence definite"),
                "either": tables.estimate(stratum, "presence definite or possible"),
                "mean": tables.estimate(stratum, "mean count"),
            }
        )
    if len(blocks.get("cohort and contrast", [])) <= len(tables.cohorts()):
        blocks.pop("cohort and contrast", None)  # each cohort has one contrast: the same rows
    rows = [row for block in blocks.values() for row in block]
    highest = max((row["definite"]["ci_high"] or 0 for row in rows), default=0) or 1.0
    axis = min(1.0, math.ceil(highest * 10) / 10)
    for row in rows:
        ends = {"low": "ci_low", "high": "ci_high", "at": "estimate"}
        row |= {
            key: f"{100 * (row['definite'][name] or 0) / axis:.2f}" for key, name in ends.items()
        }
    order = ["", "contrast", "cohort", "cohort and contrast", *config["report"]["strata"]]
    names = sorted(blocks, key=lambda name: order.index(name) if name in order else len(order))
    words = {"age_band": "Age, years", "cohort and contrast": "Cohort and contrast"}
    return axis, [
        {"name": name and words.get(name, name.capitalize()), "rows": blocks[name]}
        for name in names
    ]


def _level(level: str, variable: str) -> str:
    """A level as print sets it."""
    if variable == "age_band":
        return level.replace(">=", "≥").replace("-", "–")
    return level


def _histograms(tables: ReportTables, contrasts) -> list[dict[str, Any]]:
    """Participants by their number of definite microbleeds, on one axis; those with none apart."""
    panels = []
    for name, stratum in contrasts:
        levels = tables.levels(stratum, "participants count=")
        counts = {int(level): number for level, number in levels}
        panels.append(
            {
                "name": name,
                "none": counts.pop(0, 0),
                "counts": counts,
                "positive": sum(counts.values()),
                "mean": tables.estimate(stratum, "mean count"),
                "median": tables.estimate(stratum, "median count"),
            }
        )
    longest = max((max(panel["counts"], default=0) for panel in panels), default=0)
    last = min(longest, _MOST_BARS)
    for panel in panels:
        panel["bars"] = _bars(panel.pop("counts"), last, longest > last)
    return panels


def _bars(counts: dict[int, int], last: int, open_end: bool) -> list[dict[str, Any]]:
    """Bars of 1 to ``last``; the last one takes everybody above it where ``open_end``."""
    people = [counts.get(number, 0) for number in range(1, last + 1)]
    if open_end:
        people[-1] += sum(number for count, number in counts.items() if count > last)
    highest = max(people, default=0) or 1
    step = 1 if last <= 12 else 5
    return [
        {
            "n": number,
            "label": f"{place}+" if open_end and place == last else f"{place}",
            "height": f"{88 * number / highest:.2f}",
            "shown": place == 1 or place % step == 0 or (open_end and place == last),
        }
        for place, number in enumerate(people, start=1)
    ]


def _shapes(tables: ReportTables, contrasts, config) -> dict[str, Any]:
    def rows(prefix: str, levels: list[str]) -> list[dict[str, Any]]:
        return [
            {
                "name": level.replace(">=", "≥").replace("-", "–"),
                "cells": [tables.estimate(stratum, f"{prefix}{level}") for _, stratum in contrasts],
            }
            for level in levels
        ]

    extra = rows("", ["boston imaging", "presence macrohaemorrhage"])
    extra[0]["name"] = "at least 2, strictly lobar (imaging item of Boston v2.0)"
    largest = config["aggregate"]["macrohaemorrhage_mm"]
    extra[1]["name"] = f"a lesion above {largest:g} mm (macrohaemorrhage)"
    return {
        "columns": [name for name, _ in contrasts],
        "blocks": [
            {"name": "Count", "rows": rows("bin=", burden.bin_labels(config["report"]["bins"]))},
            {"name": "Pattern, of all usable", "rows": rows("pattern=", list(PATTERNS))},
            {
                "name": "Pattern, of those with a definite microbleed",
                "rows": rows("pattern of positive=", list(PATTERNS[1:])),
            },
            {"name": "Presence", "rows": [*rows("presence group=", list(GROUPS[:3])), *extra]},
        ],
    }


def _regions(tables: ReportTables, name: str, stratum: str) -> dict[str, Any]:
    def number(region: str, side: str) -> int:
        return tables.count(stratum, f"lesions region={region} hemisphere={side}")

    found = {(r.name, side): number(r.name, side) for r in REGIONS for side in ("left", "right")}
    most = max(found.values()) or 1
    blocks = []
    for group in GROUPS[:3]:
        rows = [
            {
                "name": region.name.replace("deep and periventricular", "deep, periventricular"),
                "left": found[region.name, "left"],
                "right": found[region.name, "right"],
                "left_width": f"{100 * found[region.name, 'left'] / most:.1f}",
                "right_width": f"{100 * found[region.name, 'right'] / most:.1f}",
            }
            for region in REGIONS
            if region.group == group
        ]
        blocks.append({"name": group.capitalize(), "rows": rows})
    total = tables.count(stratum, "lesions definite")
    unknown = total - sum(found.values())
    return {"name": name, "total": total, "blocks": blocks, "unknown": unknown}


def _acquisition(tables: ReportTables) -> dict[str, Any]:
    rows = []
    for stratum, cohort, contrast in _cohort_contrasts(tables):
        cells = [
            _range(tables, stratum, f"acquisition {name}", digits, scale)
            for name, (_, scale, digits) in ACQUISITION.items()
        ]
        rows.append(
            {
                "cohort": cohort,
                "contrast": contrast,
                "scans": tables.count(stratum, "scans"),
                "cells": cells,
            }
        )
    return {"columns": [name for name, _, _ in ACQUISITION.values()], "rows": rows}


def _cohort_contrasts(tables: ReportTables) -> list[tuple[str, str, str]]:
    found = []
    for stratum in sorted(tables.strata):
        parts = [part.split("=", 1) for part in stratum.split(" & ")]
        if [part[0] for part in parts] == ["cohort", "contrast"]:
            found.append((stratum, parts[0][1], parts[1][1]))
    return found


def _range(
    tables: ReportTables, stratum: str, measure: str, digits: int, scale: float = 1.0
) -> str:
    values = [tables.estimate(stratum, f"{measure} {what}") for what in ("median", "min", "max")]
    if values[0]["estimate"] is None:
        return "–"
    median, low, high = (decimal(value["estimate"] * scale, digits) for value in values)
    return median if low == high else f"{median} ({low}–{high})"


def _model(tables: ReportTables, stage: str, contract, config) -> dict[str, Any]:
    stratum = f"model={contract.get('id', stage)}"
    facts = []
    for key, title in (("thresholds", "Threshold"), ("metrics", "Expected")):
        prefix = f"{key} "
        for (own, measure), row in tables.estimates.items():
            if own == stratum and measure.startswith(prefix):
                words = measure.removeprefix(prefix).replace("_", " ")
                facts.append((f"{title}, {words}", figure(row["estimate"])))
    for key, title in (
        ("training_data", "Trained on"),
        ("validation_set", "Thresholds chosen on"),
        ("intended_use", "Intended use"),
    ):
        if isinstance(contract.get(key), str):
            facts.append((title, contract[key]))
    kind = {"detect": "First stage, 3D network", "verify": "Second stage, YOLO, place and shape"}
    name = " ".join(str(contract[key]) for key in ("id", "version") if key in contract)
    return {"title": f"{kind[stage]}: {name}", "facts": facts}


def _montages(tables: ReportTables, layout: Layout) -> dict[str, Any]:
    """Montages of scans with lesions, those with the most first, embedded while they fit."""
    scans = tables.scans[tables.scans["status"] == "ok"]
    scans = scans.assign(_all=scans["n_cmb"] + scans["n_possible"] + scans["n_macrohaemorrhage"])
    scans = scans[scans["_all"] > 0].sort_values(
        ["n_cmb", "n_possible", "scan_id"], ascending=[False, False, True]
    )
    shown, spent, left = [], 0, 0
    for scan in scans.to_dict("records"):
        path = layout.montage(tables.sources[scan["scan_id"]])
        if not path.exists():
            continue
        spent += path.stat().st_size
        if spent > _EMBED_BYTES:
            left += 1
            continue
        content = base64.b64encode(path.read_bytes()).decode()
        shown.append(
            {
                "scan_id": scan["scan_id"],
                "participant": scan["participant_id"],
                "contrast": scan["contrast"],
                "definite": scan["n_cmb"],
                "possible": scan["n_possible"],
                "pattern": scan["pattern"],
                "file": path.relative_to(layout.root).as_posix(),
                "source": f"data:image/png;base64,{content}",
            }
        )
    reason = (
        "No scan has a definite or possible lesion."
        if scans.empty
        else "The montages of the scans with lesions are not there: run the verify stage again."
    )
    return {"montages": shown, "montages_left": left, "no_montage": reason}


def _failures(tables: ReportTables) -> dict[str, Any]:
    rows = tables.scans[tables.scans["status"] != "ok"]
    records = [
        {key: plain(value) for key, value in row.items()}
        for row in rows.head(_MOST_ROWS).to_dict("records")
    ]
    return {"rows": records, "left": max(0, len(rows) - _MOST_ROWS)}


def _quality(tables: ReportTables) -> dict[str, Any]:
    groups = _cohort_contrasts(tables)
    rows = [
        {
            "name": title,
            "cells": [_range(tables, stratum, f"qc {name}", digits) for stratum, _, _ in groups],
        }
        for name, (title, digits) in QUALITY.items()
    ]
    rows = [row for row in rows if set(row["cells"]) != {"–"}]
    names = list(QUALITY)
    read = tables.scans[tables.scans["status"] == "ok"]
    values = read[names].astype("Float64").to_numpy(dtype=float, na_value=np.nan)
    values = pd.DataFrame(values, columns=names, index=read.index)
    by = [read["cohort"], read["contrast"]]
    distance = (values - values.groupby(by).transform("median")).abs()
    spread = 1.4826 * distance.groupby(by).transform("median")
    odd = (distance / spread.where(spread > 0)).max(axis=1).fillna(0.0)
    order = read.assign(_odd=odd).sort_values(["_odd", "scan_id"], ascending=[False, True])
    listed = [
        {
            "scan_id": row["scan_id"],
            "participant_id": row["participant_id"],
            "oddness": row["_odd"],
            "cells": [decimal(row[name], digits) for name, (_, digits) in QUALITY.items()],
        }
        for row in order.head(_MOST_ROWS).to_dict("records")
    ]
    return {
        "columns": [f"{cohort} {contrast}" for _, cohort, contrast in groups],
        "rows": rows,
        "measures": [title for title, _ in QUALITY.values()],
        "scans": listed,
        "left": len(order) - len(listed),
    }


def _provenance(tables: ReportTables) -> dict[str, Any]:
    stages, versions = [], set()
    order = {name: place for place, name in enumerate(("index", "preprocess", "register"))}
    for stage, runs in sorted(
        tables.runs.groupby("stage"), key=lambda pair: (order.get(pair[0], 9), pair[0])
    ):
        stages.append(
            {
                "stage": stage,
                "version": _together(runs["stage_version"]),
                "runs": len(runs),
                "device": _together(runs["device"]),
                "settings": _together(runs["config_sha256"].str[:12]),
                "weights": _together(runs["weights_sha256"].str[:12]),
                "seconds": decimal(plain(runs["seconds"].median()), 1),
            }
        )
        for text in set(runs["versions"].dropna()):
            versions |= {f"{name} {version}" for name, version in json.loads(text).items()}
    return {"stages": stages, "versions": sorted(versions, key=str.lower)}


def _together(values: pd.Series) -> str:
    return ", ".join(sorted({str(value) for value in values.dropna()})) or "–"


def _problems(layout: Layout) -> list[str]:
    path = layout.phenotype_problems
    return json.loads(path.read_text()) if path.exists() else []


def _write(path: Path, text: str) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
