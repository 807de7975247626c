"""The detector's figures on scans like a population's, as a contract states them.

The verifier's contract has them in ``metrics.population``. Older figures, ``metrics.presence`` and
``fp_per_scan_definite``, are of scans that were chosen for their mimics: no cohort is corrected by
them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from cmburden.stats.intervals import wilson
from cmburden.stats.latent import Validation
from cmburden.summary.measures import Counted

#: Thresholds at which lesions are counted, and the words for the lesions.
THRESHOLDS: dict[str, Counted] = {"definite": "", "possible": "definite or possible"}
CONTRASTS = ("GRE", "SWI")
_COUNTS = (
    "scans",
    "negative_scans",
    "negative_clean",
    "positive_scans",
    "positive_found",
    "microbleeds",
    "found",
)
NO_FIGURES = "the contract has no figures of scans like a population's"


@dataclasses.dataclass(frozen=True)
class Figures:
    """Of ``scans`` of one contrast, the lesions called at one threshold.

    Of the ``negative_scans`` without a microbleed, ``negative_clean`` had no lesion called; of the
    ``positive_scans``, ``positive_found`` had one. Of their ``microbleeds``, ``found`` were called.
    ``false_positives_of_scans``: scans with 0, 1, 2 ... false positives. ``patterns``: scans by
    true and called pattern. ``source``: where the numbers are from, in words. ``effect``: design
    effect of the sensitivity, since microbleeds of one scan are alike.
    """

    scans: int
    negative_scans: int
    negative_clean: int
    positive_scans: int
    positive_found: int
    microbleeds: int
    found: int
    false_positives_of_scans: tuple[int, ...]
    source: str
    patterns: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    effect: float = 1.0

    @property
    def validation(self) -> Validation:
        return Validation(
            self.microbleeds / self.effect,
            self.found / self.effect,
            self.false_positives_of_scans,
        )

    @property
    def sensitivity(self) -> float:
        """Share of microbleeds called."""
        return self.found / self.microbleeds

    @property
    def false_positives(self) -> float:
        """False positives a scan."""
        return self.validation.false_positives

    @property
    def false_positives_interval(self) -> tuple[float, float]:
        """95 % interval of the false positives a scan, log-normal with the variance of the scans.

        Half a false positive stands in where there is none.
        """
        number = np.arange(len(self.false_positives_of_scans))
        weight = np.array(self.false_positives_of_scans) / self.scans
        rate = max(self.false_positives, 0.5 / self.scans)
        spread = max(float(weight @ (number - self.false_positives) ** 2), rate)
        half = 1.96 * np.sqrt(spread / self.scans) / rate
        return float(rate * np.exp(-half)), float(rate * np.exp(half))

    @property
    def floor(self) -> float:
        """Share of scans without a microbleed in which a lesion is called: 1 - specificity."""
        return 1 - self.negative_clean / self.negative_scans

    @property
    def floor_interval(self) -> tuple[float, float]:
        return wilson(self.negative_scans - self.negative_clean, self.negative_scans)


def of_contract(contract: Mapping[str, Any] | None) -> dict[tuple[str, str], Figures]:
    """Figures by (threshold, contrast), of ``metrics.population``; impossible ones are absent."""
    contract = contract or {}
    population = _mapping(_mapping(contract.get("metrics")).get("population"))
    source = f"the contract of {contract.get('id', 'the verifier')}, scans like a population's"
    result = {}
    for contrast in CONTRASTS:
        of_contrast = _mapping(population.get(contrast))
        for threshold in THRESHOLDS:
            counts = (
                of_contrast if threshold == "definite" else _mapping(of_contrast.get(threshold))
            )
            if figures := figures_of(counts, source):
                result[threshold, contrast] = figures
    return result


def figures_of(counts: Mapping[str, Any], source: str) -> Figures | None:
    """Figures from their mapping (format: docs/model.md); None where a count is impossible."""
    numbers = [counts.get(name) for name in _COUNTS]
    histogram = counts.get("false_positives_of_scans")
    if not isinstance(histogram, list) or not all(map(_whole, [*numbers, *histogram])):
        return None
    values = dict(zip(_COUNTS, map(int, numbers), strict=True))  # type: ignore[arg-type]
    parts = (
        ("negative_clean", "negative_scans"),
        ("positive_found", "positive_scans"),
        ("found", "microbleeds"),
        ("positive_scans", "microbleeds"),
    )
    possible = all(values[part] <= values[whole] for part, whole in parts)
    possible &= values["negative_scans"] + values["positive_scans"] == values["scans"]
    possible &= sum(histogram) == values["scans"]
    if not (possible and values["negative_scans"] and values["microbleeds"]):
        return None
    return Figures(
        **values,
        false_positives_of_scans=_with_faint(histogram, counts.get("called_at_faint")),
        source=source,
        patterns=_patterns(counts.get("patterns")),
        effect=_effect(counts.get("counts_of_positive")),
    )


def _mapping(content: Any) -> Mapping[str, Any]:
    return content if isinstance(content, Mapping) else {}


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _with_faint(histogram: list[int], faint: Any) -> tuple[int, ...]:
    """The histogram with calls at faint microbleeds, which a scan's count holds too.

    A faint microbleed is none by the readers' rule. Each such call is put into a scan without a
    false positive.
    """
    number = min(int(faint), histogram[0]) if _whole(faint) else 0
    one = histogram[1] if len(histogram) > 1 else 0
    return (histogram[0] - number, one + number, *histogram[2:])


def _patterns(content: Any) -> dict[str, dict[str, int]]:
    """Scans by true, then called pattern; empty where a number is none."""
    rows = {str(true): dict(_mapping(called)) for true, called in _mapping(content).items()}
    return rows if all(_whole(number) for row in rows.values() for number in row.values()) else {}


def _effect(content: Any) -> float:
    """Design effect of found microbleeds, of [microbleeds, found, ...] of each positive scan.

    Variance of the ratio estimate over the binomial one (Rao and Scott 1992), at least 1.
    """
    if not isinstance(content, list) or len(content) < 2:
        return 1.0
    try:
        table = np.array([row[:2] for row in content], float)
        real, found = table.T
    except (ValueError, TypeError, IndexError):
        return 1.0
    share = found.sum() / max(real.sum(), 1.0)
    if not 0 < share < 1:
        return 1.0
    m = len(table)
    variance = m / (m - 1) * float(((found - share * real) ** 2).sum()) / real.sum() ** 2
    return max(1.0, variance / (share * (1 - share) / real.sum()))
