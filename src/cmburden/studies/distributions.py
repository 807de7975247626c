"""Simulated lesions beside published ones: ``python -m cmburden.studies.distributions TRUTH OUT``.

The study compares places of microbleeds, their apparent size on the scan, and their number in a
person. The published figures are constants of this module, each with its source.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.files import whole_file
from cmburden.core.keys import seed_of
from cmburden.evaluate.cases import read_truth
from cmburden.insert.published import PLACES, RADIUS_MM

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SOURCE = (
    "957 microbleeds in 206 scans of the five sets that del Pozo Lerida et al. tabulate (DOU, "
    "MOMENI, VALDO, RODEJA, CRB; jorgedelpozolerida/MicrobleedNet, data-misc/csv), SWI 66 %, T2* "
    "34 %, radius as it shows on the scan"
)
GROUPS = ("lobar", "deep", "infratentorial")
#: Quantiles of the number of microbleeds of a scan that has any.
PER_POSITIVE_SCAN: dict[float, float] = {0.10: 1, 0.50: 2, 0.90: 11, 0.99: 38}
#: Means of the five sets, smallest and largest, mm.
SET_MEANS_MM = (1.26, 1.8)
#: Share of people with a microbleed who have one in the group's regions (UK Biobank, mean age 62,
#: 7.0 % positive). Most of these people have one microbleed: a set with more of them has larger
#: shares.
POSITIVE_WITH = {"lobar": 0.767, "deep": 0.180, "infratentorial": 0.145}
#: Draws of the bootstrap over scans.
_DRAWS = 500
#: Colours of simulated and published figures (Okabe and Ito 2008).
_BLUE, _ORANGE = "#0072B2", "#D55E00"


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure: ``simulated`` with its 95 % interval (bootstrap over scans), ``published``."""

    about: str
    name: str
    simulated: float
    low: float
    high: float
    published: float | None
    digits: int


def published_shares() -> dict[str, float]:
    """Shares of the groups among the placed microbleeds; they add up to 1.

    >>> {name: round(share, 3) for name, share in published_shares().items()}
    {'lobar': 0.745, 'deep': 0.133, 'infratentorial': 0.122}
    """
    total = sum(share for _, share in PLACES.values())
    return {
        group: sum(share for of, share in PLACES.values() if of == group) / total
        for group in GROUPS
    }


@dataclasses.dataclass(frozen=True)
class Microbleeds:
    """One element a microbleed: number of its ``scan``, ``group`` (or None), ``radius`` in mm.

    All arrays are (n,); scans without a microbleed have no number.
    """

    scan: np.ndarray
    group: np.ndarray
    radius: np.ndarray

    @classmethod
    def of(cls, truth: pd.DataFrame) -> Microbleeds:
        """The microbleeds of a truth table (``tables.TRUTH``); mimics are left out."""
        real = truth[truth["kind"] == "microbleed"]
        return cls(
            pd.factorize(real["scan_id"], sort=True)[0],
            real["group"].astype(object).where(real["group"].notna(), None).to_numpy(),
            real["radius_mm"].to_numpy(dtype=float, na_value=np.nan),
        )

    def drawn(self, scans: np.ndarray) -> Microbleeds:
        """The microbleeds of ``scans`` (m,); a scan that is drawn twice is two scans."""
        rows = [np.flatnonzero(self.scan == number) for number in range(self.scan.max() + 1)]
        chosen = [rows[number] for number in scans]
        all_rows = np.concatenate(chosen)
        numbers = np.repeat(np.arange(len(chosen)), [len(one) for one in chosen])
        return Microbleeds(numbers, self.group[all_rows], self.radius[all_rows])

    def share(self, group: str) -> float:
        """Share of ``group`` among the microbleeds that have one of GROUPS."""
        total = np.isin(self.group.astype(str), GROUPS).sum()
        return float((self.group == group).sum() / total) if total else np.nan

    def share_of_scans(self, group: str) -> float:
        """Share of positive scans with a microbleed of ``group``."""
        return len(np.unique(self.scan[self.group == group])) / len(np.unique(self.scan))

    def radius_at(self, q: float) -> float:
        """Quantile ``q`` of the apparent radius, mm."""
        return _quantile(self.radius[np.isfinite(self.radius)], q)

    def mean_radius(self) -> float:
        """Mean apparent radius, mm."""
        return float(np.nanmean(self.radius))

    def count_at(self, q: float) -> float:
        """Quantile ``q`` of the number in a positive scan."""
        return float(np.quantile(self.counts, q))

    @property
    def counts(self) -> np.ndarray:
        """Number in each scan that has any."""
        return np.unique(self.scan, return_counts=True)[1]


def _quantile(values: np.ndarray, q: float) -> float:
    """Quantile ``q`` of ``values``; NaN where there are none."""
    return float(np.quantile(values, q)) if len(values) else np.nan


@dataclasses.dataclass(frozen=True)
class _Statistic:
    """Figures to compare: measures and published figures by name, digits of the table."""

    measures: dict[str, Callable[[Microbleeds], float]]
    published: dict[str, float]
    digits: int


def _by_percent(quantiles: dict[float, float]) -> dict[str, float]:
    return {f"{q:.0%}": value for q, value in quantiles.items()}


#: The statistics that are compared, by what they are about.
_GROUP, _SCANS_WITH = "group of a microbleed, share", "positive scans with one there, share"
_RADIUS, _NUMBER = "apparent radius, mm", "microbleeds of a positive scan"
_STATISTICS = {
    _GROUP: _Statistic(
        {group: partial(Microbleeds.share, group=group) for group in GROUPS},
        published_shares(),
        digits=3,
    ),
    _SCANS_WITH: _Statistic(
        {group: partial(Microbleeds.share_of_scans, group=group) for group in GROUPS},
        POSITIVE_WITH,
        digits=3,
    ),
    _RADIUS: _Statistic(
        {
            **{f"{q:.0%}": partial(Microbleeds.radius_at, q=q) for q in RADIUS_MM},
            "mean": Microbleeds.mean_radius,
        },
        _by_percent(RADIUS_MM),
        digits=2,
    ),
    _NUMBER: _Statistic(
        {f"{q:.0%}": partial(Microbleeds.count_at, q=q) for q in PER_POSITIVE_SCAN},
        _by_percent(PER_POSITIVE_SCAN),
        digits=1,
    ),
}


def compare(truth: pd.DataFrame) -> list[Row]:
    """Rows of microbleeds of ``truth`` (``tables.TRUTH``) beside the published figures.

    Raises
    ------
    CMBurdenError
        When the table holds no microbleed.
    """
    bleeds = Microbleeds.of(truth)
    if not len(bleeds.scan):
        raise CMBurdenError("the truth table holds no microbleed; simulate more scans")
    result = []
    for about, statistic in _STATISTICS.items():
        intervals = _with_intervals(bleeds, about, statistic.measures)
        for name, (value, low, high) in intervals.items():
            published = statistic.published.get(name)
            result.append(Row(about, name, value, low, high, published, statistic.digits))
    return result


def _with_intervals(
    bleeds: Microbleeds, seed: str, measures: dict[str, Callable[[Microbleeds], float]]
) -> dict[str, tuple[float, float, float]]:
    """Each measure with its percentile interval: scans are drawn, lesions come with them."""
    scans = int(bleeds.scan.max()) + 1
    random = np.random.default_rng(seed_of("distributions", seed))
    drawn = []
    for _ in range(_DRAWS):
        sample = bleeds.drawn(random.integers(scans, size=scans))
        drawn.append([measure(sample) for measure in measures.values()])
    low, high = np.nanpercentile(np.array(drawn, float), [2.5, 97.5], axis=0)
    return {
        name: (float(measure(bleeds)), float(low[number]), float(high[number]))
        for number, (name, measure) in enumerate(measures.items())
    }


def markdown(truth: pd.DataFrame, rows: list[Row]) -> str:
    """distributions.md: the comparison, then radius by cohort and the other kinds."""
    bleeds = truth[truth["kind"] == "microbleed"]
    lines = [
        "# Simulated microbleeds beside published ones",
        "",
        f"{len(bleeds)} microbleeds in {bleeds['scan_id'].nunique()} of "
        f"{truth['scan_id'].nunique()} simulated scans; in brackets 95 %, bootstrap over scans. "
        "A published figure "
        "outside of them is a difference that the choice of simulated scans does not explain; the "
        "published ones have an error of their own, which is not known here.",
        "",
        *_comparison(rows),
        "",
        *_radius_by_cohort(bleeds),
        *_other_kinds(truth),
        "",
        f"Published: {_SOURCE}. Groups: 2 % of them are not placed and left out; subcortical "
        "white matter is counted as lobar. Positive scans with one there: UK Biobank, of people "
        "with a microbleed (mean age 62, mostly one each). Radius: its table's grid is 0.5 mm. "
        "None of these scans was used.",
    ]
    return "\n".join(lines) + "\n"


def _comparison(rows: list[Row]) -> list[str]:
    lines = ["| | | simulated | published |", "| --- | --- | --- | --- |"]
    for row in rows:
        published = "" if row.published is None else f"{row.published:.{row.digits}f}"
        if (row.about, row.name) == (_RADIUS, "mean"):
            published = f"{SET_MEANS_MM[0]} to {SET_MEANS_MM[1]} by set"
        interval = f"{row.low:.{row.digits}f}-{row.high:.{row.digits}f}"
        simulated = f"{row.simulated:.{row.digits}f} ({interval})"
        lines.append(f"| {row.about} | {row.name} | {simulated} | {published} |")
    return lines


def _radius_by_cohort(bleeds: pd.DataFrame) -> list[str]:
    lines = ["## Apparent radius by cohort preset, mm", ""]
    lines += ["| cohort | microbleeds | " + " | ".join(f"{q:.0%}" for q in RADIUS_MM) + " |"]
    lines += ["| --- " * (2 + len(RADIUS_MM)) + "|"]
    for cohort, rows in bleeds.groupby("cohort"):
        values = " | ".join(f"{_radius_at(rows, q):.2f}" for q in RADIUS_MM)
        lines.append(f"| {cohort} | {len(rows)} | {values} |")
    return lines


def _other_kinds(truth: pd.DataFrame) -> list[str]:
    """Number and size of the mimics; no line where the truth holds none."""
    others = truth[~truth["kind"].isin(["microbleed", "none"])]
    if others.empty:
        return []
    lines = ["", "## Other kinds", "", "| kind | number | per scan | radius 5 / 50 / 95 % |"]
    lines += ["| --- | --- | --- | --- |"]
    for kind, rows in others.groupby("kind"):
        radius = " / ".join(f"{_radius_at(rows, q):.2f}" for q in (0.05, 0.5, 0.95))
        share = len(rows) / truth["scan_id"].nunique()
        lines.append(f"| {kind} | {len(rows)} | {share:.2f} | {radius} |")
    return lines


def _radius_at(rows: pd.DataFrame, q: float) -> float:
    return _quantile(rows["radius_mm"].dropna().to_numpy(dtype=float), q)


def picture(truth: pd.DataFrame, rows: list[Row], path: Path) -> Path:
    """distributions.png: groups, apparent radius and number a scan, simulated and published."""
    from matplotlib import rc_context

    from cmburden.evaluate.style import STYLE, new_figure, save

    bleeds = Microbleeds.of(truth)
    style: dict[Any, Any] = dict(STYLE)
    with rc_context(style):
        figure = new_figure(3.3)
        first, second, third = figure.subplots(1, 3)
        _bars(first, [row for row in rows if row.about == _GROUP])
        radii = bleeds.radius[np.isfinite(bleeds.radius)]
        _cumulative(second, radii, RADIUS_MM, "apparent radius, mm")
        _cumulative(third, bleeds.counts, PER_POSITIVE_SCAN, "count per positive scan")
        second.set_ylabel("share at or below")
        second.set_xlim(0, max(3.0, bleeds.radius_at(0.99)))
        third.set_xscale("log")
        third.set_xticks([1, 2, 5, 10, 40], ["1", "2", "5", "10", "40"])
        third.minorticks_off()
        second.legend(loc="lower right")
        figure.suptitle(
            f"{len(bleeds.scan)} simulated microbleeds and 957 published",
            x=0.01,
            ha="left",
            fontsize=10,
        )
        return save(figure, path)


def _bars(axes: Axes, shares: list[Row]) -> None:
    """Bars of the groups' shares, simulated with their intervals and published."""
    place = np.arange(len(shares))
    simulated = [row.simulated for row in shares]
    axes.bar(place - 0.2, simulated, 0.38, color=_BLUE, label="simulated")
    axes.errorbar(
        place - 0.2,
        simulated,
        yerr=[
            [max(row.simulated - row.low, 0) for row in shares],
            [max(row.high - row.simulated, 0) for row in shares],
        ],
        fmt="none",
        ecolor="#222222",
        capsize=3,
        elinewidth=1,
    )
    axes.bar(
        place + 0.2,
        [np.nan if row.published is None else row.published for row in shares],
        0.38,
        color="white",
        edgecolor=_ORANGE,
        hatch="////",
        label="published",
    )
    names = [row.name.replace("infratentorial", "infra-\ntentorial") for row in shares]
    axes.set_xticks(place, names, fontsize=8.5)
    axes.set_ylabel("share of microbleeds")
    axes.set_ylim(0, 1)
    axes.legend(loc="upper right")


def _cumulative(axes: Axes, values: np.ndarray, published: dict[float, float], about: str) -> None:
    """Cumulative distribution of ``values`` (n,) with published quantiles."""
    values = np.sort(values)
    axes.step(
        np.append(values[:1], values),
        np.arange(len(values) + 1) / len(values),
        color=_BLUE,
        lw=1.8,
        where="post",
        label="simulated",
    )
    axes.plot(
        list(published.values()),
        list(published),
        "D",
        color=_ORANGE,
        ms=6,
        label="published",
        mec="white",
    )
    axes.set_xlabel(about, fontsize=9)
    axes.set_ylim(0, 1.02)


def run(truth: Path, out: Path) -> list[Row]:
    """Write ``out``/distributions.md and .png of a truth table; returns the comparison."""
    table = read_truth(truth)
    rows = compare(table)
    picture(table, rows, Path(out) / "distributions.png")
    with whole_file(Path(out) / "distributions.md") as temporary:
        temporary.write_text(markdown(table, rows), encoding="utf-8")
    return rows


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.distributions TRUTH.tsv OUT``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("truth", type=Path, help="truth.tsv of `cmburden simulate`")
    parser.add_argument("out", type=Path, help="folder for distributions.md and distributions.png")
    given = parser.parse_args(arguments)
    run(given.truth, given.out)
    print((given.out / "distributions.md").read_text(encoding="utf-8"), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
