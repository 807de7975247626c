"""Sandwich covariances of estimating equations: HC1, HC3 and clusters.

A fit solves sum of scores = 0. ``bread`` is the inverse of the information (k, k), ``scores`` are
(n, k). The number of parameters k stands in the corrections for small samples.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

#: A participant who alone determines a parameter has a leverage of 1; HC3 would divide by 0.
_MOST_LEVERAGE = 1 - 1e-6


@dataclasses.dataclass(frozen=True)
class Sample:
    """How the participants of a fit were drawn.

    ``cluster`` (n,): int codes of family or other cluster; None: all are independent. ``weights``
    (n,): positive sampling weights; None: all alike.
    """

    cluster: np.ndarray | None = None
    weights: np.ndarray | None = None

    @property
    def simple(self) -> bool:
        return self.cluster is None and self.weights is None

    def of(self, rows: np.ndarray) -> Sample:
        """The sample of the participants in ``rows``, bool (n,)."""
        return Sample(
            None if self.cluster is None else self.cluster[rows],
            None if self.weights is None else self.weights[rows],
        )


SIMPLE = Sample()


def heteroscedastic(
    scores: np.ndarray,
    bread: np.ndarray,
    kind: Literal["HC0", "HC1", "HC3"],
    leverage: np.ndarray | None = None,
) -> np.ndarray:
    """Covariance (k, k) of independent participants (MacKinnon and White 1985).

    HC1 is n / (n - k) times HC0. HC3 divides each score by 1 - leverage (n,). statsmodels'
    ``Poisson.fit(cov_type="HC1")`` gives HC0 (its issue 7798).
    """
    n, k = scores.shape
    if kind == "HC3":
        assert leverage is not None, "HC3 needs leverages"
        scores = scores / (1 - np.minimum(leverage, _MOST_LEVERAGE))[:, None]
    covariance = bread @ (scores.T @ scores) @ bread
    return covariance * (n / (n - k) if kind == "HC1" else 1.0)


def clustered(scores: np.ndarray, bread: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Covariance (k, k) where scores are summed by ``cluster`` (n,) int codes (Liang, Zeger 1986).

    With the factor G / (G - 1) * (n - 1) / (n - k) of G clusters (CR1).
    """
    n, k = scores.shape
    codes, place = np.unique(cluster, return_inverse=True)
    sums = np.zeros((len(codes), k))
    np.add.at(sums, place, scores)
    groups = len(codes)
    factor = groups / max(groups - 1, 1) * (n - 1) / max(n - k, 1)
    return bread @ (sums.T @ sums) @ bread * factor


def of_sample(
    scores: np.ndarray, bread: np.ndarray, sample: Sample, leverage: np.ndarray | None
) -> tuple[np.ndarray, float]:
    """Covariance (k, k) and the degrees of freedom of its t quantile.

    Clusters: CR1, G - 1. Weights without clusters: HC1, n - k. Else HC3 where there are leverages,
    n - k: its intervals cover best where counts vary much (``studies.model_coverage``).
    """
    n, k = scores.shape
    if sample.cluster is not None:
        groups = len(np.unique(sample.cluster))
        return clustered(scores, bread, sample.cluster), max(groups - 1.0, 1.0)
    freedom = max(n - k, 1.0)
    if sample.weights is not None or leverage is None:
        return heteroscedastic(scores, bread, "HC1"), freedom
    return heteroscedastic(scores, bread, "HC3", leverage), freedom
