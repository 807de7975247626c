"""Estimates by stratum: every number that the report prints is a row of `summary`.

Measures are named ``what`` or ``what level=...``. GRE and SWI differ in what they show: a stratum
that holds both says so in ``method``, and the contrast strata stand beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmburden import burden
from cmburden.mars import REGIONS, UNKNOWN
from cmburden.records import seed_of
from cmburden.tables import GROUPS, PATTERNS, QC

_DRAWS = 1000
WILSON = "share, Wilson 95 % interval"
COUNTED = "counted"
BOOTSTRAP = f"percentile bootstrap over participants, {_DRAWS} draws"
POOLED = "; pools GRE and SWI unadjusted: compare the contrast strata"
_ACQUISITION = ("echo_time_s", "field_strength_t", "voxel_x_mm", "voxel_y_mm", "slice_mm")
#: Level of a stratum for people whose value is not known: the levels then add up to all.
MISSING = "missing"


def estimates(
    scans: pd.DataFrame,
    lesions: pd.DataFrame,
    participants: pd.DataFrame,
    rejected: pd.DataFrame,
    config: dict[str, Any],
) -> list[dict[str, Any]]:
    """Rows of `summary` from the other cohort tables (frames of their contracts)."""
    rows = []
    for stratum, members in strata(participants, config["report"]["strata"]):
        usable = members[members["scan_id"].notna()]
        method = POOLED if usable["contrast"].nunique() > 1 else ""
        own = lesions[lesions["scan_id"].isin(usable["scan_id"])]
        rows += [{"stratum": stratum} | row for row in _flow(members, usable)]
        for row in (
            *_presence(usable),
            *_shapes_of_burden(usable, config["report"]["bins"]),
            *_counts(stratum, usable),
            *_places(usable, own),
        ):
            row["method"] += method
            rows.append({"stratum": stratum} | row)
    rows += _scan_flow(scans, rejected)
    rows += _images(scans)
    rows += _operating_points(config)
    return rows


def strata(participants: pd.DataFrame, variables: list[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """('all', everybody), then ('variable=level', those people) and cohort by contrast.

    A variable that nobody has a value of is left out.
    """
    yield "all", participants
    for variable in dict.fromkeys([*variables, "age_band"]):
        if variable not in participants or participants[variable].isna().all():
            continue
        levels = participants[variable].astype("string").fillna(MISSING)
        for level in sorted(set(levels), key=_level_order):
            yield f"{variable}={level}", participants[levels == level]
    known = participants[participants["contrast"].notna()]
    for (cohort, contrast), members in known.groupby(["cohort", "contrast"], sort=True):
        yield f"cohort={cohort} & contrast={contrast}", members


def stratum_order(stratum: str) -> tuple:
    """Sort key of strata within a variable.

    >>> sorted(["age_band=missing", "age_band=>=90", "age_band=50-59", "age_band=<50"],
    ...        key=stratum_order)
    ['age_band=<50', 'age_band=50-59', 'age_band=>=90', 'age_band=missing']
    """
    return tuple(_level_order(part.partition("=")[2]) for part in stratum.split(" & "))


def _level_order(name: str) -> tuple:
    """Age bands by age, other levels by natural order, unknown last."""
    return (name == MISSING, name.startswith(">="), not name.startswith("<"), burden.natural(name))


def _row(measure, estimate, n, denominator=None, method=COUNTED, low=None, high=None):
    def number(value):
        return None if value is None or pd.isna(value) else float(value)

    return {
        "measure": measure,
        "estimate": number(estimate),
        "ci_low": number(low),
        "ci_high": number(high),
        "n": int(n),
        "denominator": None if denominator is None else int(denominator),
        "method": method,
    }


def _share(measure: str, positive: int, total: int) -> dict[str, Any]:
    low, high = burden.wilson(positive, total)
    share = positive / total if total else None
    return _row(measure, share, positive, total, WILSON, low, high)


def _count(measure: str, number: int, denominator: int | None = None) -> dict[str, Any]:
    return _row(measure, number, number, denominator)


#: For the other estimates: rows by the same rules.
estimate_row, share_row, count_row = _row, _share, _count


def _flow(members, usable):
    yield _count("participants", len(members))
    yield _share("participants usable", len(usable), len(members))
    for reason, number in _tally(members["missing_reason"]):
        yield _count(f"participants missing reason={reason}", number, len(members))


def _presence(usable):
    definite = usable["n_cmb"].fillna(0)
    either = definite + usable["n_possible"].fillna(0)
    yield _share("presence definite", int((definite > 0).sum()), len(usable))
    yield _share("presence definite or possible", int((either > 0).sum()), len(usable))
    yield _share("boston imaging", int(usable["boston_imaging"].fillna(False).sum()), len(usable))
    large = int((usable["n_macrohaemorrhage"].fillna(0) > 0).sum())
    yield _share("presence macrohaemorrhage", large, len(usable))


def _shapes_of_burden(usable, edges):
    patterns = usable["pattern"].value_counts()
    positive = int((usable["n_cmb"].fillna(0) > 0).sum())
    for pattern in PATTERNS:
        yield _share(f"pattern={pattern}", int(patterns.get(pattern, 0)), len(usable))
    for pattern in PATTERNS[1:]:
        yield _share(f"pattern of positive={pattern}", int(patterns.get(pattern, 0)), positive)
    bins = usable["cmb_bin"].value_counts()
    for label in burden.bin_labels(edges):
        yield _share(f"bin={label}", int(bins.get(label, 0)), len(usable))


def _counts(stratum, usable):
    """Mean and median count, and how many participants have each count."""
    values, numbers = np.unique(
        usable["n_cmb"].dropna().to_numpy(dtype=np.int64), return_counts=True
    )
    total = int(numbers.sum())
    if total:
        # Drawing people with replacement is drawing how often each count occurs: so 20,000
        # people cost no more than 20.
        random = np.random.default_rng(seed_of("summary", stratum))
        drawn = random.multinomial(total, numbers / total, size=_DRAWS)
        means = drawn @ values / total
        medians = _medians(values, drawn)
        mean, median = values @ numbers / total, _medians(values, numbers[None, :])[0]
        yield _row("mean count", mean, total, total, BOOTSTRAP, *np.percentile(means, [2.5, 97.5]))
        yield _row(
            "median count", median, total, total, BOOTSTRAP, *np.percentile(medians, [2.5, 97.5])
        )
    else:
        yield _row("mean count", None, 0, 0, BOOTSTRAP)
        yield _row("median count", None, 0, 0, BOOTSTRAP)
    for value, number in zip(values, numbers, strict=True):
        yield _count(f"participants count={value}", int(number), total)


def _medians(values: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Medians of samples given as counts (draws x values) of rising ``values``."""
    below = drawn.cumsum(axis=1)
    total = below[:, -1]
    low = values[(below >= ((total + 1) // 2)[:, None]).argmax(axis=1)]
    high = values[(below >= (total // 2 + 1)[:, None]).argmax(axis=1)]
    return (low + high) / 2


def _places(usable, lesions):
    small = lesions[~lesions["macrohaemorrhage"]]
    definite = small[small["label"] == "definite"]
    yield _count("lesions definite", len(definite))
    yield _count("lesions possible", int((small["label"] == "possible").sum()))
    yield _count("lesions macrohaemorrhage", int((lesions["macrohaemorrhage"]).sum()))
    for group in GROUPS[:3]:
        own = definite[definite["group"] == group]
        yield _share(f"presence group={group}", own["scan_id"].nunique(), len(usable))
    found = definite.groupby(["region", "hemisphere"]).size().to_dict()
    places = [(region.name, side) for region in REGIONS for side in ("left", "right")]
    places.append((UNKNOWN.name, "unknown"))
    for region, side in [*places, *sorted(set(found) - set(places))]:
        number = int(found.get((region, side), 0))
        yield _count(f"lesions region={region} hemisphere={side}", number, len(definite))


def _scan_flow(scans, rejected):
    images = scans[scans["path"].notna()]
    groups = [("all", images)]
    groups += [(f"cohort={cohort}", own) for cohort, own in images.groupby("cohort", sort=True)]
    for stratum, own in groups:
        yield {"stratum": stratum} | _count("scans", len(own))
        for status, of_status in own.groupby("status", sort=True):
            measure = f"scans status={status}"
            yield {"stratum": stratum} | _count(measure, len(of_status), len(own))
            for reason, number in _tally(of_status["reason"]):
                name = f"{measure} reason={reason}"
                yield {"stratum": stratum} | _count(name, number, len(own))
    files = rejected[rejected["reason"] != "no_scan"]  # that one is a participant, not a file
    for reason, number in _tally(files["reason"]):
        yield {"stratum": "all"} | _count(f"files not searched reason={reason}", number)


def _images(scans):
    """Acquisition and QC by cohort and contrast: median and range over the scans that have it."""
    images = scans[scans["contrast"].notna()]
    for (cohort, contrast), own in images.groupby(["cohort", "contrast"], sort=True):
        stratum = f"cohort={cohort} & contrast={contrast}"
        yield {"stratum": stratum} | _count("scans", len(own))
        read = own[own["status"] == "ok"]
        for kind, names, rows in (
            ("acquisition", _ACQUISITION, own),
            ("qc", [column.name for column in QC], read),
        ):
            for name in names:
                values = rows[name].dropna().to_numpy(dtype=float)
                if not len(values):
                    continue
                for what, value in (
                    ("median", np.median(values)),
                    ("min", values.min()),
                    ("max", values.max()),
                ):
                    row = _row(f"{kind} {name} {what}", value, len(values), len(rows), what)
                    yield {"stratum": stratum} | row


def _operating_points(config):
    """Thresholds and expected performance, from the contracts of the models."""
    for stage in ("detect", "verify"):
        contract = contract_of(config, stage)
        if not contract:
            continue
        stratum = f"model={contract.get('id', stage)}"
        for kind in ("thresholds", "metrics"):
            for name, value in _numbers(contract.get(kind)):
                method = "the model's contract, on its validation set"
                yield {"stratum": stratum} | _row(f"{kind} {name}", value, 0, method=method)
        overridden = config[stage].get("thresholds")
        for name, value in _numbers(overridden):
            row = _row(f"thresholds in use {name}", value, 0, method=f"config {stage}.thresholds")
            yield {"stratum": stratum} | row


def _numbers(content: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Numbers in nested mappings, named by their keys joined with spaces."""
    if isinstance(content, dict):
        for key in sorted(content):
            yield from _numbers(content[key], f"{path} {key}".strip())
    elif isinstance(content, (int, float)) and not isinstance(content, bool):
        yield path, content


def _tally(values: pd.Series) -> list[tuple[str, int]]:
    """Levels with their number, the most frequent first, ties by name."""
    counts = values.dropna().value_counts()
    return sorted(((str(k), int(v)) for k, v in counts.items()), key=lambda kv: (-kv[1], kv[0]))


def contract_of(config: dict[str, Any], stage: str) -> dict[str, Any] | None:
    """Contract of the model of ``detect`` or ``verify``."""
    return read_contract(config[stage]["model"])


def read_contract(folder: Path | str) -> dict[str, Any] | None:
    """model.json of a model's folder; None where it holds no readable one.

    A relative folder is looked for from here, then from the root of the project.
    """
    for base in (Path(), Path(__file__).resolve().parents[2]):
        try:
            content = json.loads((base / folder / "model.json").read_text())
        except (OSError, ValueError):
            continue
        return content if isinstance(content, dict) else None
    return None
