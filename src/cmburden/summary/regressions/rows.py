"""All regressions of a cohort as rows of `summary`.

A quantity that cannot be estimated is a row with the reason and no error, since cohorts may be
small or of one sex.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from cmburden.summary.correction import DetectorErrors
from cmburden.summary.detector_figures import NO_FIGURES
from cmburden.summary.regressions import counts, crude, hypotheses, patterns, pooling, presence
from cmburden.summary.regressions.people import People, SiteModel, table_of
from cmburden.summary.rows import Row, of_stratum
from cmburden.summary.sampling import INDEPENDENT, Sampling
from cmburden.summary.strata import EVERYBODY


def rows(
    participants: pd.DataFrame,
    scans: pd.DataFrame,
    covariates: Sequence[str],
    errors: DetectorErrors | str = NO_FIGURES,
    *,
    sampling: Sampling = INDEPENDENT,
    nominal: Sequence[str] = (),
    site: SiteModel = "fixed",
) -> list[Row]:
    """All models' rows, of everybody and of each cohort.

    ``errors``: the detector's, checked, or the reason why they are missing.
    ``nominal``: covariates whose numbers are codes. ``site``: a term, or the group of estimating
    equations.
    """
    people = People.of(table_of(participants, scans), covariates, sampling, nominal, site)
    models = (
        *presence.rows(people),
        *counts.rows(people, errors),
        *patterns.rows(people),
        *crude.rows(people),
        *hypotheses.rows(people),
    )
    return [*of_stratum(EVERYBODY, models), *pooling.rows(people)]
