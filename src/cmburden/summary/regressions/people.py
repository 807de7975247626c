"""The participants of the regressions: usable ones with the acquisition of the scan chosen."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from cmburden.core.tables import PATTERNS
from cmburden.stats.sandwich import Sample
from cmburden.summary.covariates import Design, design
from cmburden.summary.sampling import INDEPENDENT, Sampling

#: Columns of `scans` that a model may take from the scan chosen.
_OF_SCAN = (
    "slice_mm",
    "voxel_x_mm",
    "voxel_y_mm",
    "field_strength_t",
    "echo_time_s",
    "repetition_time_s",
    "flip_angle_deg",
    "slice_gap_mm",
    "manufacturer",
    "scanner_model",
    "dimension",
    "image_kind",
    "snr",
    "brain_volume_ml",
    "coverage",
)
SiteModel = Literal["fixed", "gee"]
#: Sites that estimating equations need: with fewer their errors are too small.
FEWEST_SITES = 10


def table_of(participants: pd.DataFrame, scans: pd.DataFrame) -> pd.DataFrame:
    """Usable participants with the acquisition of the scan chosen; index from 0."""
    usable = participants[participants["scan_id"].notna() & participants["n_cmb"].notna()]
    columns = [name for name in _OF_SCAN if name not in usable]
    return usable.merge(scans[["scan_id", *columns]], on="scan_id", how="left")


@dataclasses.dataclass(frozen=True)
class People:
    """Usable participants, of ``table_of``, and what the models are to do with them.

    ``covariates``: names wanted. ``nominal``: those whose numbers are codes. ``site``: whether site
    is a term, or the group of estimating equations. ``why_fixed``: the sentence where estimating
    equations were asked for and cannot be. ``wanted``, ``wanted_site``: as asked for.
    """

    table: pd.DataFrame
    covariates: tuple[str, ...]
    sampling: Sampling = INDEPENDENT
    nominal: tuple[str, ...] = ()
    site: SiteModel = "fixed"
    why_fixed: str = ""
    wanted: tuple[str, ...] = ()
    wanted_site: SiteModel = "fixed"

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        covariates: Sequence[str],
        sampling: Sampling = INDEPENDENT,
        nominal: Sequence[str] = (),
        site: SiteModel = "fixed",
    ) -> People:
        """The people of ``table`` who have a weight, if there are weights."""
        table = table[sampling.has_weight(table)].reset_index(drop=True)
        wanted, wanted_site, why = tuple(dict.fromkeys(covariates)), site, ""
        names = wanted
        if site == "gee":
            sites = table["site"].nunique()
            if sites < FEWEST_SITES:
                why = f"; site is a fixed term, since estimating equations need {FEWEST_SITES} "
                why += f"sites and there are {sites}"
                site = "fixed"
            else:
                names = tuple(name for name in names if name != "site")
        return cls(table, names, sampling, tuple(nominal), site, why, wanted, wanted_site)

    def of_cohort(self, cohort: str) -> People:
        """The people of one cohort, with the covariates that were asked for but ``cohort``."""
        table = self.table[(self.table["cohort"] == cohort).to_numpy(dtype=bool)]
        names = [name for name in self.wanted if name != "cohort"]
        return People.of(table, names, self.sampling, self.nominal, self.wanted_site)

    @property
    def counts(self) -> np.ndarray:
        """Definite microbleeds, int (n,)."""
        return self.table["n_cmb"].to_numpy(dtype=int)

    @property
    def positive(self) -> np.ndarray:
        """Whether there is a definite microbleed, int (n,)."""
        return (self.counts > 0).astype(int)

    @property
    def patterns(self) -> np.ndarray:
        return self.table["pattern"].fillna(PATTERNS[0]).to_numpy(dtype=object)

    @property
    def sample(self) -> Sample:
        """Clusters and weights of the rows of ``table``; of estimating equations, sites."""
        weights = self.sampling.weights_of(self.table)
        if self.site == "gee":
            return Sample(self._sites(), weights)
        return Sample(self.sampling.clusters_of(self.table), weights)

    def _sites(self) -> np.ndarray:
        """A code a site; people of unknown site are a site each."""
        site = self.table["site"].astype("string")
        alone = pd.Series([f"\0{row}" for row in range(len(site))], index=site.index)
        return pd.factorize(site.fillna(alone))[0]

    @property
    def words(self) -> str:
        """What the sample does to a model's errors, to be put behind its method."""
        if self.site == "gee":
            return (
                "; sandwich errors clustered by site, t quantiles" + self.sampling.words_of_weights
            )
        return self.sampling.words_of_models + self.why_fixed

    @functools.cached_property
    def of_presence(self) -> Design:
        """The terms of the models of presence."""
        return self.design(self.positive)

    @functools.cached_property
    def of_count(self) -> Design:
        """The terms of the models of counts."""
        return self.design(self.positive, two_sided=False)

    def design(
        self,
        outcome: np.ndarray,
        covariates: list[str] | None = None,
        *,
        rows: np.ndarray | slice = slice(None),
        two_sided: bool = True,
    ) -> Design:
        """The terms of a model of ``outcome`` (n,) over ``rows`` of the table."""
        wanted = list(self.covariates) if covariates is None else covariates
        table = self.table[rows].reset_index(drop=True)
        return design(table, outcome[rows], wanted, two_sided=two_sided, nominal=self.nominal)
