"""How the participants were sampled: clusters, survey weights, and weights of a usable scan.

``report.cluster`` names a column of families (or of another cluster), ``report.weights`` a column
of sampling weights. ``report.usable_weights`` gives each participant with a usable scan the inverse
of the probability of one, so that they stand for those without.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from cmburden.core.errors import CMBurdenError
from cmburden.stats import firth, survey
from cmburden.summary.measures import SampleFact
from cmburden.summary.names import Measure
from cmburden.summary.rows import Row, count, of_stratum, row
from cmburden.summary.rows import share as plain_share
from cmburden.summary.strata import EVERYBODY
from cmburden.summary.terms import EVENTS_PER_TERM

#: Weights of a usable scan are cut at this quantile: a few people would else stand for many.
_TRIM = 0.99
_NAMED = 3


@dataclasses.dataclass(frozen=True)
class Sampling:
    """``cluster`` and ``weights`` by participant_id, None where there are none.

    ``cluster_words`` and ``weight_words`` say in a method what they are.
    """

    cluster: pd.Series | None = None
    weights: pd.Series | None = None
    cluster_words: str = ""
    weight_words: str = ""

    @property
    def simple(self) -> bool:
        return self.cluster is None and self.weights is None

    def has_weight(self, people: pd.DataFrame) -> np.ndarray:
        """Whether each row of ``people`` has a weight, bool (n,)."""
        if self.weights is None:
            return np.ones(len(people), bool)
        return people["participant_id"].isin(self.weights.index).to_numpy(dtype=bool)

    def clusters_of(self, people: pd.DataFrame) -> np.ndarray | None:
        """A code for each row of ``people``, int (n,)."""
        if self.cluster is None:
            return None
        return pd.factorize(people["participant_id"].map(self.cluster))[0]

    def weights_of(self, people: pd.DataFrame) -> np.ndarray | None:
        """A weight for each row of ``people``, who all have one, float (n,)."""
        if self.weights is None:
            return None
        return people["participant_id"].map(self.weights).to_numpy(dtype=float)

    @property
    def words_of_weights(self) -> str:
        return f"; {self.weight_words}" if self.weight_words else ""

    @property
    def words_of_models(self) -> str:
        """What clusters and weights do to a model."""
        if self.simple:
            return ""
        errors = "sandwich errors, t quantiles"
        if self.cluster is not None:
            errors = f"sandwich errors clustered by {self.cluster_words}, t quantiles"
        return f"; {errors}{self.words_of_weights}"

    def share(
        self, measure: Measure, positive: np.ndarray | pd.Series, people: pd.DataFrame
    ) -> Row:
        """Share of ``people`` who are ``positive`` (n,); ``n`` and denominator are of people."""
        flags = np.asarray(positive, dtype=bool)
        if self.simple:
            return plain_share(measure, int(flags.sum()), len(people))
        weighted = self.has_weight(people)
        people, flags = people[weighted], flags[weighted]
        if not len(people):
            return plain_share(measure, 0, 0)
        estimate, low, high = survey.share(
            flags.astype(float), self.clusters_of(people), self.weights_of(people)
        )
        words = ["share, Wilson 95 % interval of the effective number of participants"]
        if self.cluster is not None:
            words.append(f"clusters: {self.cluster_words} (Rao-Scott)")
        words += [self.weight_words] if self.weight_words else []
        method = "; ".join(words)
        return row(measure, estimate, int(flags.sum()), len(people), method, low, high)

    def facts(self, participants: pd.DataFrame) -> list[Row]:
        """Rows about clusters and weights of the participants with a usable scan."""
        return of_stratum(EVERYBODY, self._facts(participants))

    def _facts(self, participants: pd.DataFrame) -> Iterator[Row]:
        usable = participants[participants["scan_id"].notna()]
        n = len(usable)
        codes = self.clusters_of(usable)
        if codes is not None and n:
            sizes = np.bincount(codes)
            yield count(SampleFact("clusters"), len(sizes), n)
            yield count(SampleFact("participants of the largest cluster"), int(sizes.max()), n)
        if self.weights is None or not n:
            return
        with_weight = usable[self.has_weight(usable)]
        weights = self.weights_of(with_weight)
        yield count(SampleFact("participants without a weight"), n - len(with_weight), n)
        if weights is None or not len(weights):
            return
        method = self.weight_words
        yield row(SampleFact("smallest weight"), float(weights.min()), n, n, method)
        yield row(SampleFact("largest weight"), float(weights.max()), n, n, method)
        effective = survey.effective_number(weights)
        how = "squared sum of the weights over the sum of their squares (Kish 1965)"
        yield row(SampleFact("effective participants"), effective, len(weights), n, how)


INDEPENDENT = Sampling()


def sampling_of(participants: pd.DataFrame, settings: dict[str, Any]) -> Sampling:
    """The sampling that ``settings`` (``config["report"]``) ask for.

    Raises CMBurdenError where a column is missing or cannot be used.
    """
    cluster, cluster_words = None, ""
    if name := settings["cluster"]:
        cluster, cluster_words = _clusters(participants, name)
    weights, words = None, []
    if name := settings["weights"]:
        weights = _survey_weights(participants, name)
        words.append(f"weighted by {name}")
    if settings["usable_weights"]:
        of_usable, how = _usable_weights(participants)
        words.append(how)
        if of_usable is not None:
            weights = of_usable if weights is None else (weights * of_usable).dropna()
    return Sampling(cluster, weights, cluster_words, "; ".join(words))


def _column(participants: pd.DataFrame, name: str, key: str) -> pd.Series:
    """A column of the participants by participant_id; CMBurdenError where nobody has a value."""
    if name not in participants:
        raise CMBurdenError(
            f"config report.{key}: no column {name!r} in participants.tsv or the table "
            f"participants, which has {', '.join(map(str, participants.columns))}"
        )
    values = participants.set_index("participant_id")[name]
    if not values.notna().any():
        raise CMBurdenError(
            f"config report.{key}: nobody has a value of {name!r}; correct the name"
        )
    return values


def _clusters(participants: pd.DataFrame, name: str) -> tuple[pd.Series, str]:
    """Cluster of each participant; one without a value is a cluster of their own."""
    values = _column(participants, name, "cluster").astype("string")
    unknown = int(values.isna().sum())
    alone = pd.Series([f"\0{person}" for person in values.index], index=values.index)
    words = name if not unknown else f"{name} (each of {unknown} without a value is one)"
    return values.fillna(alone), words


def _survey_weights(participants: pd.DataFrame, name: str) -> pd.Series:
    """Weights above 0; people without one are left out of all weighted estimates."""
    values = _column(participants, name, "weights")
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    wrong = values.notna() & ~(np.isfinite(numbers) & (numbers >= 0))
    if wrong.any():
        some = [f"{person}: {values[person]}" for person in values.index[wrong][:_NAMED]]
        raise CMBurdenError(
            f"config report.weights: {int(wrong.sum())} participant(s) have a {name!r} that is no "
            f"weight of 0 or more ({', '.join(some)}); correct participants.tsv, or empty the cell"
        )
    numbers = numbers[numbers > 0]
    if numbers.empty:
        raise CMBurdenError(f"config report.weights: all weights in {name!r} are 0 or missing")
    return numbers


def _usable_weights(participants: pd.DataFrame) -> tuple[pd.Series | None, str]:
    """Share of usable people over each one's probability, and what to say of the weights."""
    usable = participants["scan_id"].notna().to_numpy(dtype=bool)
    without = int((~usable).sum())
    what = "inverse probability of a usable scan"
    if min(without, int(usable.sum())) < EVENTS_PER_TERM:
        return None, f"not weighted by {what}: {without} participants are without one"
    matrix, names = _predictors(participants)
    fit = None
    if names:
        try:
            fit = firth.firth(usable, matrix, profile=False)
        except np.linalg.LinAlgError:
            fit = None
    if fit is None:
        return None, f"not weighted by {what}: age, sex and site do not tell it"
    weights = usable.mean() / expit(matrix @ fit.params)[usable]
    largest = float(np.quantile(weights, _TRIM))
    weights = np.minimum(weights, largest)
    index = participants.loc[usable, "participant_id"]
    words = (
        f"weighted by {what} (logistic on {', '.join(names)}; cut at {largest:.2f}); the interval "
        "takes the weights as known"
    )
    return pd.Series(weights, index=index.to_numpy()), words


def _predictors(participants: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Constant, age, and levels of sex and site, a missing value as a level; the names used."""
    columns, names = [np.ones(len(participants))], []
    age = participants["age"].to_numpy(dtype=float, na_value=np.nan)
    known = np.isfinite(age)
    if known.any() and np.ptp(age[known]) > 0:
        columns.append(np.where(known, (age - age[known].mean()) / 10, 0.0))
        names.append("age")
        if not known.all():
            columns.append((~known) * 1.0)
    for name in ("sex", "site"):
        levels = participants[name].astype("string").fillna("\0").to_numpy(dtype=object)
        common = pd.Series(levels).value_counts()
        common = common[common >= EVENTS_PER_TERM]
        if len(common) > 1:
            columns += [(levels == level) * 1.0 for level in common.index[1:]]
            names.append(name)
    matrix = np.column_stack(columns)
    # A missing age may go with a missing sex: such a column is told by the others.
    kept = [0]
    for place in range(1, matrix.shape[1]):
        if np.linalg.matrix_rank(matrix[:, [*kept, place]]) > len(kept):
            kept.append(place)
    return matrix[:, kept], names
