"""Estimates by stratum: every number that the report prints is a row of `summary`.

Measures are named ``what`` or ``what level=...``. GRE and SWI differ in what they show: in a
stratum that holds both only what is counted is given; the strata of one contrast stand beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core.keys import seed_of
from cmburden.core.tables import GROUPS, PATTERNS, QC
from cmburden.models.contract import contract_of
from cmburden.space.regions import REGIONS, UNKNOWN
from cmburden.summary import bins as summary_bins
from cmburden.summary import correction, image_checks, lesion_map, published, reading_list
from cmburden.summary import regressions as burden_models
from cmburden.summary.rows import COUNTED
from cmburden.summary.rows import count as _count
from cmburden.summary.rows import row as _row
from cmburden.summary.rows import share as _share
from cmburden.summary.rows import tally as _tally
from cmburden.summary.strata import crossed_strata, strata

_DRAWS = 1000
BOOTSTRAP = f"percentile bootstrap over participants, {_DRAWS} draws"
#: Said of what would pool both contrasts without adjustment.
POOLED = "not estimated: holds GRE and SWI, which show microbleeds to different degrees; see the "
POOLED += "strata of one contrast"
_ACQUISITION = ("echo_time_s", "field_strength_t", "voxel_x_mm", "voxel_y_mm", "slice_mm")


def estimates(
    scans: pd.DataFrame,
    lesions: pd.DataFrame,
    participants: pd.DataFrame,
    rejected: pd.DataFrame,
    config: dict[str, Any],
    reviews: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Rows of `summary` from the other cohort tables (frames of their contracts).

    ``reviews``: how the detector did on scans of this cohort that readers looked at, as
    ``correction.detector_errors`` takes it.
    """
    rows = []
    variables = config["report"]["strata"]
    for stratum, members in strata(participants, variables):
        usable = members[members["scan_id"].notna()]
        pooled = usable["contrast"].nunique() > 1
        own = lesions[lesions["scan_id"].isin(usable["scan_id"])]
        rows += [{"stratum": stratum} | row for row in _flow(members, usable)]
        for row in (
            *_presence(usable),
            *_shapes_of_burden(usable, config["report"]["bins"]),
            *_counts(stratum, usable),
            *_places(usable, own),
        ):
            if pooled and row["method"] != COUNTED:
                row |= {"estimate": None, "ci_low": None, "ci_high": None, "method": POOLED}
            rows.append({"stratum": stratum} | row)
    for stratum, members in crossed_strata(participants, variables):
        usable = members[members["scan_id"].notna()]
        mean = [row for row in _counts(stratum, usable) if row["measure"] == "mean count"]
        for row in (*_flow(members, usable), *list(_presence(usable))[:2], *mean):
            rows.append({"stratum": stratum} | row)
    rows += _thresholds_and_map(lesions, participants, config)
    rows += _image_checks(scans, lesions, config)
    rows += _published()
    rows += _scan_flow(scans, rejected)
    rows += _images(scans)
    rows += _operating_points(config)
    contract, overridden = contract_of(config, "verify"), config["verify"].get("thresholds")
    rows += correction.rows(participants, contract, overridden, reviews)
    covariates = config["report"]["covariates"]
    background = correction.false_positives(contract, overridden)
    rows += burden_models.rows(participants, scans, covariates, background)
    return rows


def _flow(members, usable):
    yield _count("participants", len(members))
    yield _share("participants usable", len(usable), len(members))
    yield _count("participants without usable scan", len(members) - len(usable), len(members))
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
    for label in summary_bins.bin_labels(edges):
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


def definite_threshold(config: dict[str, Any]) -> float | None:
    """The threshold of definite lesions in use: the configuration's, else the contract's."""
    contract = contract_of(config, "verify") or {}
    chosen = (contract.get("thresholds") or {}) | (config["verify"].get("thresholds") or {})
    return chosen.get("definite")


def _thresholds_and_map(lesions, participants, config):
    """By contrast: prevalence were the threshold another, and where the lesions lie."""
    small = lesions[~lesions["macrohaemorrhage"]]
    contract = contract_of(config, "verify") or {}
    chosen = (contract.get("thresholds") or {}) | (config["verify"].get("thresholds") or {})
    # Lesions below the threshold of possible ones are not in the table.
    tried = {round(step / 20, 2) for step in range(1, 20) if step / 20 >= chosen.get("possible", 1)}
    tried |= {value for value in (chosen.get("definite"), chosen.get("possible")) if value}
    usable = participants[participants["scan_id"].notna()]
    for contrast, people in usable.groupby("contrast", sort=True):
        stratum = {"stratum": f"contrast={contrast}"}
        own = small[small["scan_id"].isin(people["scan_id"])]
        highest = own.groupby("scan_id")["probability"].max()
        for threshold in sorted(tried):
            number = int((highest >= threshold).sum())
            yield stratum | _share(f"presence probability>={threshold:.4g}", number, len(people))
        definite = own[own["label"] == "definite"]
        for (x, y, z), number in sorted(lesion_map.cells(definite).items()):
            yield stratum | _count(f"lesions mni cell={x},{y},{z}", number, len(definite))


def _image_checks(scans, lesions, config):
    """Scans outside the validated domain, outlying QC measures, and what to check first."""
    read = scans[scans["status"] == "ok"]
    ranges = image_checks.domain_of(contract_of(config, "verify"))
    outside = image_checks.outside(read, ranges)
    for key in ranges:
        known = outside[key].notna()
        row = _count(
            f"scans outside domain={key}", int(outside[key].fillna(False).sum()), len(read)
        )
        yield {"stratum": "all"} | row
        row = _count(f"scans of unknown domain={key}", int((~known).sum()), len(read))
        yield {"stratum": "all"} | row
        for end, value in zip(("low", "high"), ranges[key], strict=True):
            row = _row(f"domain {key} {end}", value, 0, method="the model's contract")
            yield {"stratum": "all"} | row
    if ranges:
        number = int(outside.fillna(False).any(axis=1).sum())
        yield {"stratum": "all"} | _count("scans outside domain", number, len(read))
    z = image_checks.robust_z(scans)
    kinds = read.groupby(["cohort", "contrast"], sort=True).groups
    for (cohort, contrast), rows in kinds.items():
        for name in z.columns:
            own = z.loc[rows, name].dropna()
            if len(own):
                number = int((own.abs() > image_checks.OUTLYING).sum())
                row = _count(f"qc {name} outlying", number, len(own))
                row["method"] = f"|robust z| above {image_checks.OUTLYING:g} within the stratum"
                yield {"stratum": f"cohort={cohort} & contrast={contrast}"} | row
    listed = reading_list.reading_list(scans, lesions, definite_threshold(config), outside)
    yield {"stratum": "all"} | _count("scans to check first", len(listed), len(read))
    for reason in reading_list.REASONS:
        number = sum(reason in reasons for reasons in listed["reasons"])
        yield {"stratum": "all"} | _count(
            f"scans to check first reason={reason}", number, len(read)
        )


def _published():
    """Published prevalences, so that what the report prints of them is in the table too."""
    for anchor in published.ANCHORS:
        method = f"published: {published.REFERENCES[anchor.reference].short}, {anchor.contrast}"
        if anchor.n is None:
            row = _row("presence", anchor.share, 0, anchor.denominator, method) | {"n": None}
        else:
            row = _share("presence", anchor.n, anchor.denominator) | {"method": method}
        yield {"stratum": f"published={anchor.study}"} | row


def _operating_points(config):
    """Thresholds and expected performance, from the contracts of the models."""
    method = "the model's contract, on its validation set"
    for stage in ("detect", "verify"):
        contract = contract_of(config, stage)
        if not contract:
            continue
        stratum = f"model={contract.get('id', stage)}"
        for kind in ("thresholds", "metrics"):
            for name, value in _numbers(contract.get(kind)):
                yield {"stratum": stratum} | _row(f"{kind} {name}", value, 0, method=method)
        for point in (contract.get("metrics") or {}).get("froc") or []:
            row = _row(
                f"froc fp_per_scan={point[0]:g}", point[1], 0, method="sensitivity; " + method
            )
            yield {"stratum": stratum} | row
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
