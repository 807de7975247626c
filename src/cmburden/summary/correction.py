"""Prevalence corrected for the detector's error (Rogan and Gladen 1978), with all uncertainty.

Sensitivity and specificity are those of presence in a scan ("any microbleed"), by contrast and
threshold. They come from counts: of the verifier's contract, or of a reader's review of the cohort.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core.keys import seed_of
from cmburden.stats import intervals
from cmburden.stats.agreement import rogan_gladen
from cmburden.stats.intervals import PERCENTILES, Z95
from cmburden.summary.measures import Counted, DetectorRate, Prevalence, PrevalenceAt
from cmburden.summary.rows import WILSON, Row, of_stratum, row, share
from cmburden.summary.strata import Stratum

DRAWS = 10_000
#: Threshold: the key of the contract's metrics, and the lesions that make a scan positive.
THRESHOLDS: dict[str, tuple[str, Counted]] = {
    "definite": ("presence", ""),
    "possible": ("presence_possible", "definite or possible"),
}
#: Sensitivities and specificities of the sensitivity analysis where none was measured.
ASSUMED = (0.7, 0.8, 0.9)
#: Jeffreys' prior of a proportion: Beta(0.5, 0.5).
_JEFFREYS = 0.5
#: Binary fractions: 0.58 + 0.42 may be a hair above 1.
_ROUNDING = 1e-9
_COUNTS = ("positive_found", "positive_scans", "negative_clean", "negative_scans")


def presence_counts(called: np.ndarray, real: np.ndarray) -> dict[str, int]:
    """``_COUNTS`` of scans (n,): whether each was ``called`` positive, and whether it is."""
    return {
        "positive_scans": int(real.sum()),
        "positive_found": int((called & real).sum()),
        "negative_scans": int((~real).sum()),
        "negative_clean": int((~called & ~real).sum()),
    }


@dataclasses.dataclass(frozen=True)
class DetectorError:
    """Numbers of scans with and without a microbleed that a detector called rightly.

    ``true_positive`` of the ``positive`` scans had a lesion called, ``true_negative`` of the
    ``negative`` scans had none. ``source``: where the numbers are from, in words.
    """

    true_positive: int
    positive: int
    true_negative: int
    negative: int
    source: str

    @property
    def sensitivity(self) -> float:
        return self.true_positive / self.positive

    @property
    def specificity(self) -> float:
        return self.true_negative / self.negative

    @property
    def informs(self) -> bool:
        """Whether a positive scan is called more often than a negative one."""
        return self.sensitivity + self.specificity > 1


def detector_errors(
    contract: Mapping[str, Any] | None, reviews: Mapping[str, Any] | None = None
) -> dict[tuple[str, str], DetectorError]:
    """The detector's errors by (threshold, contrast); errors that nobody measured are absent.

    ``contract``: the verifier's, whose ``metrics.presence`` and ``metrics.presence_possible`` map
    a contrast to positive_scans, positive_found, negative_scans and negative_clean. ``reviews``:
    the same two keys from a reader's review of this cohort; they take the contract's place contrast
    by contrast. Impossible counts (positive_found above positive_scans, no scan at all) count as
    absent.
    """
    metrics = (contract or {}).get("metrics") or {}
    name = (contract or {}).get("id", "the verifier")
    errors = {}
    for source, counts_by_key in (
        (f"the contract of {name}, on its validation set", metrics),
        ("readers' review of this cohort", reviews or {}),
    ):
        for threshold, (key, _) in THRESHOLDS.items():
            for contrast, counts in _mapping(counts_by_key.get(key)).items():
                if error := _error(_mapping(counts), source):
                    errors[threshold, str(contrast)] = error
    return errors


def false_positives(
    contract: Mapping[str, Any] | None, in_use: Mapping[str, float] | None = None
) -> dict[str, float] | str:
    """Definite false positives a scan by contrast, of the verifier's contract; else why not.

    The contract's ``metrics.fp_per_scan_definite_GRE`` and ``_SWI``, or ``fp_per_scan_definite``
    for both. ``in_use``: the thresholds in use.
    """
    metrics = _mapping((contract or {}).get("metrics"))
    if "definite" in _moved(contract, in_use):
        return "verify.thresholds sets another definite threshold than the contract's"
    per_scan = {}
    for contrast in ("GRE", "SWI"):
        pooled = metrics.get("fp_per_scan_definite")
        value = metrics.get(f"fp_per_scan_definite_{contrast}", pooled)
        if isinstance(value, (int, float)) and value >= 0:
            per_scan[contrast] = float(value)
    return per_scan or "the verifier's contract does not say how many false positives a scan has"


def _mapping(content: Any) -> Mapping[str, Any]:
    return content if isinstance(content, Mapping) else {}


def _error(counts: Mapping[str, Any], source: str) -> DetectorError | None:
    values = [counts[name] for name in _COUNTS if name in counts]
    if len(values) < len(_COUNTS) or not all(map(_whole_number, values)):
        return None
    true_positive, positive, true_negative, negative = map(int, values)
    error = DetectorError(true_positive, positive, true_negative, negative, source)
    possible = (
        0 <= error.true_positive <= error.positive
        and 0 <= error.true_negative <= error.negative
        and error.positive
        and error.negative
    )
    return error if possible else None


def _whole_number(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


# --- intervals ---


def corrected(
    called: int, total: int, error: DetectorError, seed: str = ""
) -> tuple[float, float, float]:
    """Rogan-Gladen prevalence of ``called`` of ``total`` people, with its 95 % interval.

    Parametric bootstrap: apparent prevalence, sensitivity and specificity are each drawn from the
    Beta distribution of their counts under Jeffreys' prior; percentiles of the corrected draws. A
    draw whose sensitivity and specificity add up to 1 or less is uninformative: it counts as 0 at
    the lower end and as 1 at the upper. The ends are NaN where the error is uninformative.
    """
    estimate = rogan_gladen(called / total, error.sensitivity, error.specificity)
    if not error.informs:
        return estimate, np.nan, np.nan
    random = np.random.default_rng(seed_of("rogan gladen", seed))
    apparent, sensitivity, specificity = (
        random.beta(part + _JEFFREYS, whole - part + _JEFFREYS, DRAWS)
        for part, whole in (
            (called, total),
            (error.true_positive, error.positive),
            (error.true_negative, error.negative),
        )
    )
    low, high = _percentiles(apparent, sensitivity, specificity)
    return estimate, low, high


def _percentiles(
    apparent: np.ndarray, sensitivity: np.ndarray, specificity: np.ndarray
) -> tuple[float, float]:
    """Ends of the 95 % interval of the corrected prevalence, of draws (n,)."""
    information = sensitivity + specificity - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.clip((apparent + specificity - 1) / information, 0, 1)
    useless = information <= 0
    low = np.percentile(np.where(useless, 0.0, drawn), PERCENTILES[0])
    high = np.percentile(np.where(useless, 1.0, drawn), PERCENTILES[1])
    return float(low), float(high)


def binomial_bootstrap(
    called: int, total: int, error: DetectorError, seed: str = ""
) -> tuple[float, float]:
    """Interval as of ``corrected``, the three counts drawn from binomials. For comparison.

    A sensitivity of 30 of 30 is then certain, so that the interval is too narrow.
    """
    random = np.random.default_rng(seed_of("binomial", seed))
    return _percentiles(
        random.binomial(total, called / total, DRAWS) / total,
        random.binomial(error.positive, error.sensitivity, DRAWS) / error.positive,
        random.binomial(error.negative, error.specificity, DRAWS) / error.negative,
    )


def lang_reiczigel(called: int, total: int, error: DetectorError) -> tuple[float, float]:
    """Interval of Lang and Reiczigel 2014 (Prev Vet Med 113:13, eq. 16). For comparison.

    >>> low, high = lang_reiczigel(23, 150, DetectorError(96, 100, 89, 100, "an example"))
    >>> f"{low:.3f} {high:.3f}"
    '0.000 0.146'
    """
    p_n, se_n, sp_n = total + Z95**2, error.positive + 2, error.negative + 2
    p, se, sp = (
        (called + Z95**2 / 2) / p_n,
        (error.true_positive + 1) / se_n,
        (error.true_negative + 1) / sp_n,
    )
    information = se + sp - 1
    if information <= 0:
        return 0.0, 1.0
    true = (p + sp - 1) / information
    se_part, sp_part = se * (1 - se) / se_n, sp * (1 - sp) / sp_n
    shift = 2 * Z95**2 * (true * se_part - (1 - true) * sp_part)
    variance = (p * (1 - p) / p_n + true**2 * se_part + (1 - true) ** 2 * sp_part) / information**2
    half = Z95 * np.sqrt(variance)
    low, high = np.clip([true + shift - half, true + shift + half], 0, 1)
    return float(low), float(high)


# --- rows of `summary` ---


def rows(
    participants: pd.DataFrame,
    contract: Mapping[str, Any] | None,
    in_use: Mapping[str, float] | None = None,
    reviews: Mapping[str, Any] | None = None,
) -> Iterator[Row]:
    """Apparent and corrected prevalence of each contrast, and what they rest on.

    ``participants``: rows of `participants`. ``in_use``: the thresholds in use. The contract's
    error does not apply to a threshold that the contract does not state. ``reviews``: see
    ``detector_errors``.
    """
    usable = participants[participants["scan_id"].notna()]
    errors = detector_errors(contract, reviews)
    moved = _moved(contract, in_use)
    for contrast, people in usable.groupby("contrast", sort=True):
        definite = people["n_cmb"].fillna(0)
        called = {"definite": definite, "possible": definite + people["n_possible"].fillna(0)}
        for threshold, (key, of) in THRESHOLDS.items():
            error = errors.get((threshold, contrast))
            called_positive = _Called(int((called[threshold] > 0).sum()), len(people), of)
            why = _why_not(error, contrast, key, moved.get(threshold))
            yield from of_stratum(
                Stratum(contrast=contrast), _of_threshold(called_positive, error, why, contrast)
            )


@dataclasses.dataclass(frozen=True)
class _Called:
    """``positive`` of ``total`` participants have a lesion ``of`` the threshold."""

    positive: int
    total: int
    of: Counted


def _moved(
    contract: Mapping[str, Any] | None, in_use: Mapping[str, float] | None
) -> dict[str, tuple[float, float]]:
    """Thresholds in use that are not the contract's: name to (contract's, in use)."""
    stated = _mapping((contract or {}).get("thresholds"))
    return {
        name: (stated[name], value)
        for name, value in (in_use or {}).items()
        if name in stated and stated[name] != value
    }


def _why_not(
    error: DetectorError | None, contrast: str, key: str, moved: tuple[float, float] | None
) -> str | None:
    """The sentence why a prevalence cannot be corrected; None where it can."""
    if error is None:
        return (
            f"neither the verifier's contract (metrics.{key}) nor a review of this cohort "
            f"says in how many {contrast} scans presence was right"
        )
    if moved and error.source.startswith("the contract"):
        return (
            f"the contract's {key} was measured at threshold {moved[0]:g}, "
            f"and verify.thresholds sets {moved[1]:g}"
        )
    if not error.informs:
        return (
            f"sensitivity {error.true_positive}/{error.positive} and specificity "
            f"{error.true_negative}/{error.negative} do not add up to more than 1"
        )
    return None


def _of_threshold(
    called: _Called, error: DetectorError | None, why: str | None, contrast: str
) -> Iterator[Row]:
    positive, total, of = called.positive, called.total, called.of
    yield share(Prevalence("apparent", of), positive, total)
    if error is not None:
        method = f"{WILSON}; {error.source}"
        yield share(DetectorRate("sensitivity", of), error.true_positive, error.positive, method)
        yield share(DetectorRate("specificity", of), error.true_negative, error.negative, method)
    measure = Prevalence("corrected", of)
    if error is None or why:
        yield row(measure, None, positive, total, f"not estimated: {why}")
        yield from _assumed(called, None)
        return
    method = (
        f"Rogan-Gladen with sensitivity {error.true_positive}/{error.positive} and specificity "
        f"{error.true_negative}/{error.negative} of {error.source}; parametric bootstrap of all "
        f"three, {DRAWS} draws"
    )
    seed = f"{contrast} {of}".rstrip()
    estimate, low, high = corrected(positive, total, error, seed)
    yield row(measure, estimate, positive, total, method, low, high)
    yield from _assumed(called, error)


def _assumed(called: _Called, error: DetectorError | None) -> Iterator[Row]:
    """The corrected prevalence at other sensitivities and specificities."""
    positive, total, of = called.positive, called.total, called.of
    if error is None:
        grid, because = [list(ASSUMED), list(ASSUMED)], "assumed"
    else:
        grid = [
            _around(error.true_positive, error.positive),
            _around(error.true_negative, error.negative),
        ]
        because = "ends of the Wilson intervals and estimates"
    ends = intervals.wilson(positive, total)
    for sensitivity, specificity in itertools.product(*grid):
        measure = PrevalenceAt(sensitivity, specificity, of)
        if sensitivity + specificity <= 1 + _ROUNDING:
            method = "not estimated: sensitivity and specificity do not add up to more than 1"
            yield row(measure, None, positive, total, method)
            continue
        estimate, low, high = (
            rogan_gladen(apparent, sensitivity, specificity)
            for apparent in (positive / total, *ends)
        )
        method = f"Rogan-Gladen at a fixed error ({because}), of the Wilson 95 % interval"
        yield row(measure, estimate, positive, total, method, low, high)


def _around(part: int, whole: int) -> list[float]:
    """A share with the ends of its Wilson interval, rising, each once, rounded to 0.01."""
    low, high = intervals.wilson(part, whole)
    return list(dict.fromkeys(round(float(v), 2) for v in (low, part / whole, high)))
