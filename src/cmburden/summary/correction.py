"""Prevalence corrected for the detector's error (Rogan and Gladen 1978), with all its uncertainty.

Sensitivity and specificity are of presence in a scan ("any microbleed"), by contrast and threshold,
from counts: of the verifier's contract, or of a reader's review of the cohort itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core.keys import seed_of
from cmburden.stats import intervals
from cmburden.stats.agreement import rogan_gladen
from cmburden.stats.intervals import Z95
from cmburden.summary.rows import WILSON, row, share

DRAWS = 10_000
#: Threshold: the key of the contract's metrics, and how measures are named after it.
THRESHOLDS = {
    "definite": ("presence", ""),
    "possible": ("presence_possible", " definite or possible"),
}
#: Sensitivities and specificities of the sensitivity analysis where none was measured.
ASSUMED = (0.7, 0.8, 0.9)
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
    """How a detector did on scans whose truth is known.

    ``found`` of the ``positive`` scans had a lesion called, ``clean`` of the ``negative`` ones had
    none. ``source``: who says so.
    """

    found: int
    positive: int
    clean: int
    negative: int
    source: str

    @property
    def sensitivity(self) -> float:
        return self.found / self.positive

    @property
    def specificity(self) -> float:
        return self.clean / self.negative

    @property
    def informs(self) -> bool:
        """Whether a positive scan is called more often than a negative one."""
        return self.sensitivity + self.specificity > 1


def detector_errors(
    contract: Mapping[str, Any] | None, reviews: Mapping[str, Any] | None = None
) -> dict[tuple[str, str], DetectorError]:
    """The detector's errors by (threshold, contrast); what nobody measured is absent.

    ``contract``: the verifier's, whose ``metrics.presence`` and ``metrics.presence_possible`` map
    a contrast to positive_scans, positive_found, negative_scans and negative_clean. ``reviews``:
    the same two keys from a reader's review of this cohort; they take the contract's place contrast
    by contrast. Counts that cannot be (found above positive, no scan at all) are as absent.
    """
    metrics = (contract or {}).get("metrics") or {}
    name = (contract or {}).get("id", "the verifier")
    found = {}
    for source, given in (
        (f"the contract of {name}, on its validation set", metrics),
        ("readers' review of this cohort", reviews or {}),
    ):
        for threshold, (key, _) in THRESHOLDS.items():
            for contrast, counts in _mapping(given.get(key)).items():
                if error := _error(_mapping(counts), source):
                    found[threshold, str(contrast)] = error
    return found


def false_positives(
    contract: Mapping[str, Any] | None, overridden: Mapping[str, float] | None = None
) -> dict[str, float] | str:
    """Definite false positives a scan by contrast, of the verifier's contract; else why not.

    ``metrics.fp_per_scan_definite_GRE`` and ``_SWI``, or ``fp_per_scan_definite`` for both.
    """
    metrics = _mapping((contract or {}).get("metrics"))
    if "definite" in _moved(contract, overridden):
        return "verify.thresholds sets another definite threshold than the contract's"
    found = {}
    for contrast in ("GRE", "SWI"):
        pooled = metrics.get("fp_per_scan_definite")
        value = metrics.get(f"fp_per_scan_definite_{contrast}", pooled)
        if isinstance(value, (int, float)) and value >= 0:
            found[contrast] = float(value)
    return found or "the verifier's contract does not say how many false positives a scan has"


def _mapping(content: Any) -> Mapping[str, Any]:
    return content if isinstance(content, Mapping) else {}


def _error(counts: Mapping[str, Any], source: str) -> DetectorError | None:
    values = [counts.get(name) for name in _COUNTS]
    if not all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in values):
        return None
    found, positive, clean, negative = (int(v) for v in values)
    if not (0 <= found <= positive and 0 <= clean <= negative and positive and negative):
        return None
    return DetectorError(found, positive, clean, negative, source)


# --- intervals ---


def corrected(
    called: int, total: int, error: DetectorError, seed: str = ""
) -> tuple[float, float, float]:
    """Rogan-Gladen prevalence of ``called`` of ``total`` people, with its 95 % interval.

    Parametric bootstrap: apparent prevalence, sensitivity and specificity are each drawn from the
    Beta distribution of their counts under Jeffreys' prior; percentiles of the corrected draws. A
    draw whose sensitivity and specificity add up to 1 or less says nothing: it counts as 0 at the
    lower end and as 1 at the upper. NaN where the error itself says nothing.
    """
    estimate = rogan_gladen(called / total, error.sensitivity, error.specificity)
    if not error.informs:
        return estimate, np.nan, np.nan
    random = np.random.default_rng(seed_of("rogan gladen", seed))
    apparent, sensitivity, specificity = (
        random.beta(part + 0.5, whole - part + 0.5, DRAWS)
        for part, whole in (
            (called, total),
            (error.found, error.positive),
            (error.clean, error.negative),
        )
    )
    low, high = _percentiles(apparent, sensitivity, specificity)
    return estimate, low, high


def _percentiles(apparent, sensitivity, specificity) -> tuple[float, float]:
    information = sensitivity + specificity - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.clip((apparent + specificity - 1) / information, 0, 1)
    useless = information <= 0
    low = np.percentile(np.where(useless, 0.0, drawn), 2.5)
    high = np.percentile(np.where(useless, 1.0, drawn), 97.5)
    return float(low), float(high)


def binomial_bootstrap(
    called: int, total: int, error: DetectorError, seed: str = ""
) -> tuple[float, float]:
    """Interval as ``corrected``, the three counts drawn from binomials: what it is compared with.

    It takes a sensitivity of 30 of 30 for certain.
    """
    random = np.random.default_rng(seed_of("binomial", seed))
    return _percentiles(
        random.binomial(total, called / total, DRAWS) / total,
        random.binomial(error.positive, error.sensitivity, DRAWS) / error.positive,
        random.binomial(error.negative, error.specificity, DRAWS) / error.negative,
    )


def lang_reiczigel(called: int, total: int, error: DetectorError) -> tuple[float, float]:
    """Interval of Lang and Reiczigel 2014 (Prev Vet Med 113:13, eq. 16): what it is compared with.

    >>> low, high = lang_reiczigel(23, 150, DetectorError(96, 100, 89, 100, "an example"))
    >>> f"{low:.3f} {high:.3f}"
    '0.000 0.146'
    """
    p_n, se_n, sp_n = total + Z95**2, error.positive + 2, error.negative + 2
    p, se, sp = (called + Z95**2 / 2) / p_n, (error.found + 1) / se_n, (error.clean + 1) / sp_n
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
    overridden: Mapping[str, float] | None = None,
    reviews: Mapping[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Apparent and corrected prevalence of each contrast, and what they rest on.

    ``participants``: rows of `participants`. ``overridden``: config verify.thresholds, which may
    make the contract's error that of another threshold. ``reviews``: see ``detector_errors``.
    """
    usable = participants[participants["scan_id"].notna()]
    errors = detector_errors(contract, reviews)
    moved = _moved(contract, overridden)
    for contrast, own in usable.groupby("contrast", sort=True):
        definite = own["n_cmb"].fillna(0)
        called = {"definite": definite, "possible": definite + own["n_possible"].fillna(0)}
        for threshold, (key, words) in THRESHOLDS.items():
            error, why = errors.get((threshold, contrast)), None
            if error is None:
                why = (
                    f"neither the verifier's contract (metrics.{key}) nor a review of this cohort "
                    f"says in how many {contrast} scans presence was right"
                )
            elif threshold in moved and error.source.startswith("the contract"):
                why = (
                    f"the contract's {key} was measured at threshold {moved[threshold][0]:g}, "
                    f"and verify.thresholds sets {moved[threshold][1]:g}"
                )
            elif not error.informs:
                why = (
                    f"sensitivity {error.found}/{error.positive} and specificity "
                    f"{error.clean}/{error.negative} do not add up to more than 1"
                )
            positive = int((called[threshold] > 0).sum())
            for found in _of_threshold(positive, len(own), error, why, words, contrast):
                yield {"stratum": f"contrast={contrast}"} | found


def _moved(contract, overridden) -> dict[str, tuple[float, float]]:
    """Thresholds in use that are not the contract's: name to (contract's, in use)."""
    stated = _mapping((contract or {}).get("thresholds"))
    return {
        name: (stated[name], value)
        for name, value in (overridden or {}).items()
        if name in stated and stated[name] != value
    }


def _of_threshold(positive, total, error, why, words, contrast) -> Iterator[dict[str, Any]]:
    yield share(f"prevalence apparent{words}", positive, total)
    name = f"prevalence corrected{words}"
    if error is not None:
        for measure, part, whole in (
            ("sensitivity", error.found, error.positive),
            ("specificity", error.clean, error.negative),
        ):
            yield share(f"detector {measure}{words}", part, whole, f"{WILSON}; {error.source}")
    if why:
        yield row(name, None, positive, total, f"not estimated: {why}")
    else:
        method = (
            f"Rogan-Gladen with sensitivity {error.found}/{error.positive} and specificity "
            f"{error.clean}/{error.negative} of {error.source}; parametric bootstrap of all three, "
            f"{DRAWS} draws"
        )
        estimate, low, high = corrected(positive, total, error, f"{contrast}{words}")
        yield row(name, estimate, positive, total, method, low, high)
    yield from _assumed(positive, total, None if why else error, words)


def _assumed(positive, total, error, words) -> Iterator[dict[str, Any]]:
    """What the corrected prevalence would be at other sensitivities and specificities."""
    if error is None:
        grid, because = [ASSUMED, ASSUMED], "assumed"
    else:
        grid = []
        for part, whole in ((error.found, error.positive), (error.clean, error.negative)):
            low, high = intervals.wilson(part, whole)
            grid.append(dict.fromkeys(round(float(v), 2) for v in (low, part / whole, high)))
        because = "ends of the Wilson intervals and estimates"
    ends = intervals.wilson(positive, total)
    for sensitivity in grid[0]:
        for specificity in grid[1]:
            name = (
                f"prevalence corrected{words} at sensitivity {sensitivity:.2f} "
                f"specificity {specificity:.2f}"
            )
            if sensitivity + specificity <= 1 + 1e-9:  # 0.58 + 0.42 may be a hair more
                method = "not estimated: sensitivity and specificity do not add up to more than 1"
                yield row(name, None, positive, total, method)
                continue
            estimate, low, high = (
                rogan_gladen(apparent, sensitivity, specificity)
                for apparent in (positive / total, *ends)
            )
            method = f"Rogan-Gladen at a fixed error ({because}), of the Wilson 95 % interval"
            yield row(name, estimate, positive, total, method, low, high)
