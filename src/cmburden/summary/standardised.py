"""Prevalence standardised to the ages and sexes of a standard population: rows of `summary`.

The standard is restricted to the age bands of which the contrast has women and men with a usable
scan, the same for all strata of that contrast: their figures can then be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from cmburden.stats.standards import standardised_share
from cmburden.summary import bins
from cmburden.summary.measures import StandardisedPresence
from cmburden.summary.rows import Row, not_estimated, of_stratum, row
from cmburden.summary.standards import SEXES, Standard
from cmburden.summary.strata import Stratum

#: Width of bands of published standards: an open lowest band begins at such an age.
_STEP_YEARS = 5
#: The open band ends here.
_END_YEARS = 105.0
_MEASURE = StandardisedPresence()
_INTERVAL = "interval of the cells' Wilson intervals (MOVER)"


def rows(
    participants: pd.DataFrame, standard: Standard, edges: Sequence[int]
) -> Iterator[dict[str, object]]:
    """Rows of each contrast, then of its cohorts and of its sites.

    ``participants`` of its contract; ``edges``: lower edges of the age bands (report.age_bands).
    """
    usable = participants[participants["scan_id"].notna() & participants["n_cmb"].notna()]
    usable = usable.assign(positive=(usable["n_cmb"] > 0).astype(bool))
    for contrast, people in usable.groupby("contrast", sort=True):
        cells = _Cells.of(people, standard, edges)
        yield from of_stratum(Stratum(contrast=contrast), [cells.estimate(people)])
        for cohort, members in people.groupby("cohort", sort=True):
            stratum = Stratum(cohort=cohort, contrast=contrast)
            yield from of_stratum(stratum, [cells.estimate(members)])
        for site, members in people.groupby("site", sort=True):
            stratum = Stratum(contrast=contrast, site=str(site))
            yield from of_stratum(stratum, [cells.estimate(members)])


class _Cells:
    """Age bands in use of a contrast, and the weight of each by sex."""

    def __init__(self, bands: list[str], weights: dict[tuple[str, str], float], method: str):
        self.bands, self.weights, self.method = bands, weights, method

    @classmethod
    def of(cls, people: pd.DataFrame, standard: Standard, edges: Sequence[int]) -> _Cells:
        known = people[people["sex"].isin(SEXES) & people["age_band"].notna()]
        labels = bins.age_band_labels(edges)
        ends = [*edges[1:], _END_YEARS]
        bands: list[str] = []
        weights: dict[tuple[str, str], float] = {}
        ages: list[float] = []
        for label, low, high in zip(labels, edges, ends, strict=True):
            of_band = known[known["age_band"] == label]
            if of_band["sex"].nunique() < len(SEXES):
                continue
            # A band from 0 is open: people of 45 do not stand for children.
            youngest = float(of_band["age"].min()) // _STEP_YEARS * _STEP_YEARS
            from_age = youngest if low == 0 else low
            bands.append(label)
            ages.append(from_age)
            weights |= {(label, s): standard.weight(s, from_age, high) for s in SEXES}
        method = f"direct standardisation by age and sex to {standard.name}"
        if bands:
            method += f", ages from {ages[0]:g}, bands {', '.join(bands)}; {_INTERVAL}"
        return cls(bands, weights, method)

    def estimate(self, people: pd.DataFrame) -> Row:
        """The standardised share of ``people`` with a definite microbleed."""
        inside = people[people["sex"].isin(SEXES) & people["age_band"].isin(self.bands)]
        grouped = inside.groupby(["age_band", "sex"])["positive"].agg(["sum", "size"])
        weighted = {key: weight for key, weight in self.weights.items() if weight > 0}
        empty = [key for key in weighted if key not in grouped.index]
        n, total = int(inside["positive"].sum()), len(inside)
        if not weighted:
            why = "no age band has women and men with a usable scan and a weight in the standard"
            return row(_MEASURE, None, n, total, not_estimated(why))
        if empty:
            band, sex = empty[0]
            more = f" and {len(empty) - 1} more such cells" if len(empty) > 1 else ""
            why = f"nobody with a usable scan of age {band} and sex {sex}{more}"
            return row(_MEASURE, None, n, total, not_estimated(why))
        cells = grouped.loc[list(weighted)]
        estimate, low, high = standardised_share(
            cells["sum"].to_numpy(float),
            cells["size"].to_numpy(float),
            np.array([*weighted.values()]),
        )
        return row(_MEASURE, estimate, n, total, self.method, low, high)
