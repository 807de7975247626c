"""The probability and the thresholds of adapted networks, on participants they have not seen.

Nobody knows which of these people's detections are microbleeds, nor how many they have. So the
probability keeps the form that it has by the run's verifier, and takes three things from here:

- *slope*: by lesions that were drawn and candidates that are no former detection; a prior holds it
  near 1 (``stats.operating_point.recalibrate``);
- *intercept*: as many microbleeds a scan are expected as before;
- *thresholds*: as many detections a scan as before. What the networks see better then replaces what
  was wrongly called. How many is right, readers tell (`cmburden operating-point`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit

from cmburden.adapt import judged
from cmburden.adapt.network import AFTER
from cmburden.adapt.parts import CALIBRATE
from cmburden.adapt.places import Places
from cmburden.adapt.plan import Plan, Study, Subject
from cmburden.core.files import read_json, write_json
from cmburden.core.tables import LABELS
from cmburden.models import contract as contracts
from cmburden.stats.matching import hungarian
from cmburden.stats.operating_point import logits, recalibrate
from cmburden.train.calibrate import threshold
from cmburden.train.slabs import FAINT, MICROBLEED
from cmburden.train.tuning import scored

#: The least threshold: below it nothing is called, however few the detections were before.
LEAST = 0.01
#: Ends between which the intercept is looked for.
_INTERCEPTS = (-30.0, 30.0)
_AT = ["x_mm", "y_mm", "z_mm"]


def fitted(places: Places, plan: Plan, study: Study) -> dict[str, Any]:
    """Keys of the verifier's contract: probability_model, thresholds and metrics; written once."""
    if places.fitted.exists():
        content: dict[str, Any] = read_json(places.fitted)
        return content
    subjects = study.of(CALIBRATE)
    base = contracts.load_network(Path(plan.base["verifier"]))
    rows = {}
    for one in subjects:
        rows[one.scan.scan_id], _ = scored.load(places.scored(AFTER), one.scan.scan_id)
    now = np.concatenate([_p(table) for table in rows.values()])
    before = np.concatenate([_p(one.candidates) for one in subjects])
    real, drawn = _drawn(places, plan, subjects)
    wrong = _wrong(subjects, rows)
    slope = _slope(real, wrong)
    score = slope * logits(now)
    intercept = _intercept(score, float(before.sum()))
    p = expit(score + intercept)
    content = {
        "probability_model": rescaled(base["probability_model"], slope, intercept),
        "thresholds": _thresholds(
            p, [name for one in subjects for name in one.candidates["label"]]
        ),
        "metrics": {
            "scans": len(subjects),
            "candidates_per_scan": round(len(now) / len(subjects), 2),
            "sensitivity_of_candidates": round(len(real) / drawn, 4) if drawn else 0.0,
        },
    }
    write_json(places.fitted, content)
    return content


def rescaled(model: dict[str, Any], slope: float, intercept: float) -> dict[str, Any]:
    """The logistic ``model`` whose linear predictor is ``slope`` times this one's, shifted.

    >>> one = {"features": ["a"], "coefficient": [2.0], "intercept": -1.0}
    >>> rescaled(one, 0.5, 3.0)["coefficient"], rescaled(one, 0.5, 3.0)["intercept"]
    ([1.0], 2.5)
    """
    return model | {
        "coefficient": [round(float(value) * slope, 6) for value in model["coefficient"]],
        "intercept": round(float(model["intercept"]) * slope + intercept, 6),
    }


def _p(rows: pd.DataFrame) -> np.ndarray:
    return np.asarray(rows["probability"].to_numpy(dtype=float, na_value=0.0))


def _drawn(places: Places, plan: Plan, subjects: list[Subject]) -> tuple[np.ndarray, int]:
    """Former probabilities of candidates at visible drawn lesions, and the lesions' number."""
    found: list[np.ndarray] = []
    number = 0
    for subject in subjects:
        scan_id = subject.scan.scan_id
        for copy in range(plan.schedule.copies):
            if not places.drawn(scan_id, copy).exists():
                continue
            seen = [row for row in read_json(places.drawn(scan_id, copy)) if row["visible"]]
            number += len(seen)
            candidates, _ = scored.load(places.scored(AFTER, copy), scan_id)
            centres = np.array([[row[name] for name in _AT] for row in seen], dtype=float)
            radii = np.array([row["diameter_mm"] / 2 for row in seen], dtype=float)
            points = candidates[_AT].to_numpy(dtype=float)
            pairs = hungarian(points, centres.reshape(-1, 3), radii)
            found.append(_p(candidates)[[point for point, _ in pairs]])
    return np.concatenate([np.zeros(0), *found]), number


def _wrong(subjects: list[Subject], rows: dict[str, pd.DataFrame]) -> np.ndarray:
    """Probabilities of candidates at no former detection, unless readers rejected it."""
    values = []
    for subject in subjects:
        candidates = rows[subject.scan.scan_id]
        points = candidates[_AT].to_numpy(dtype=float)
        unknown = judged.near(points, subject.known, (MICROBLEED, FAINT))
        values.append(_p(candidates)[~unknown])
    return np.concatenate([np.zeros(0), *values])


def _slope(real: np.ndarray, wrong: np.ndarray) -> float:
    """The slope of the recalibration; 1 where there is nothing to tell it by."""
    if not len(real) or not len(wrong):
        return 1.0
    p = np.concatenate([real, wrong])
    is_real = np.repeat([True, False], [len(real), len(wrong)])
    fit = recalibrate(p, np.zeros(len(p)), is_real, np.arange(len(p)))
    return max(float(fit.mode[1]), 0.1)


def _intercept(score: np.ndarray, expected: float) -> float:
    """The intercept with which the probabilities of ``score`` (n,) add up to ``expected``."""
    if not len(score) or not 0 < expected < len(score):
        return 0.0
    return float(brentq(lambda shift: expit(score + shift).sum() - expected, *_INTERCEPTS))


def _thresholds(p: np.ndarray, before: Sequence[str]) -> dict[str, float]:
    """The lowest thresholds with at most as many of ``p`` (n,) as had these labels ``before``."""
    chosen = {}
    for place, name in enumerate(LABELS):
        called = sum(label in LABELS[: place + 1] for label in before)
        chosen[name] = min(threshold(p, called, LEAST), 1.0)
    return chosen
