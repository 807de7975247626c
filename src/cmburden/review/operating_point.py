"""The command ``cmburden operating-point``: a threshold of one's own, from reviewed candidates.

Sensitivity is no part of it: candidates that the networks did not propose cannot be judged. Scans
read free-hand tell it (docs/review.md).
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from cmburden import RESEARCH_USE_ONLY
from cmburden.cohort import verdicts
from cmburden.core import config, table_set
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import whole_file, write_json
from cmburden.core.keys import seed_of
from cmburden.core.markdown import table as markdown_table
from cmburden.core.numbers import is_number
from cmburden.core.paths import Layout
from cmburden.core.tables import REVIEWS, SCANS
from cmburden.evaluate.cases import contract_of_run
from cmburden.review import store
from cmburden.stats import operating_point as statistics
from cmburden.stats.operating_point import Cohort, Point, Recalibration
from cmburden.verify.contract import thresholds_of

#: Thresholds of the table.
GRID = tuple(round(0.05 * number, 2) for number in range(1, 20))
#: Judged candidates, and of each verdict, below which nothing can be said (by the study
#: ``operating_points``).
LEAST_JUDGED, LEAST_EACH = 30, 5
#: Nothing is said of a threshold within this distance of which fewer candidates are judged.
_NEAR, _LEAST_NEAR = 0.15, 5
#: The posterior's mode tells in a moment whether a wish is nearly fulfilled; draws tell the rest.
_NEARLY = 0.05
#: Digits of probabilities of a threshold.
_DIGITS = 3
#: Precision that is recommended without a wish.
DEFAULT_PRECISION = 0.8


@dataclasses.dataclass(frozen=True)
class Review:
    """What readers judged of a run: all candidates with verdicts, and how they fit.

    ``persons`` is the number of people with a judged candidate, ``scans`` that of scans read by the
    software.
    """

    cohort: Cohort
    fit: Recalibration
    scans: int
    persons: int
    thresholds: dict[str, float]

    @property
    def judged(self) -> np.ndarray:
        """Probabilities of the judged candidates."""
        return self.cohort.probability[~np.isnan(self.cohort.verdict)]

    def supported(self, threshold: float) -> bool:
        """Whether readers judged candidates near a threshold."""
        return int((np.abs(self.judged - threshold) <= _NEAR).sum()) >= _LEAST_NEAR

    def point(self, threshold: float) -> Point:
        random = np.random.default_rng(seed_of("operating point", f"{threshold:.4f}"))
        return statistics.point(self.cohort, self.fit, threshold, self.scans, random)


def read(layout: Layout) -> Review:
    """The review of a finished run, settled anew from the readers' files.

    Raises
    ------
    CMBurdenError
        Where the run is not complete, nobody reviewed, or too few candidates are judged.
    """
    table_set.check(layout)
    reviewed = store.export(layout)
    if reviewed is None:
        raise CMBurdenError(
            f"{layout.root}: no reader has judged a candidate; review some first: cmburden review "
            f"{layout.root} --reader ID --order random --near-misses 30"
        )
    reviews, scans = REVIEWS.read(reviewed), SCANS.read(layout.table("scans"))
    ok = scans[scans["status"] == "ok"]
    of_reviewed = verdicts.candidates_of(layout, set(reviews["scan_id"]))
    places = verdicts.settle(reviews, of_reviewed, ok).places
    judged = _judged(places)
    real = judged["microbleed"].to_numpy(dtype=bool)
    fewest = min(int(real.sum()), int((~real).sum()))
    if len(judged) < LEAST_JUDGED or fewest < LEAST_EACH:
        raise CMBurdenError(
            f"{layout.root}: {len(judged)} candidates are judged, {int(real.sum())} of them "
            f"microbleeds; {LEAST_JUDGED} with {LEAST_EACH} of each verdict are needed: go on with "
            f"cmburden review {layout.root} --reader ID --near-misses 30"
        )
    candidates = verdicts.candidates_of(layout, set(ok["scan_id"]))
    cohort = _cohort(candidates, ok, judged)
    fit = statistics.recalibrate(
        judged["probability"].to_numpy(dtype=float),
        (judged["contrast"] == "SWI").to_numpy(dtype=float),
        real,
        judged["participant_id"].to_numpy(dtype=str),
    )
    in_use = thresholds_of(
        contract_of_run(layout, "verify"), config.stored(layout.config).get("verify") or {}
    )
    return Review(cohort, fit, len(ok), judged["participant_id"].nunique(), in_use)


def _judged(places: pd.DataFrame) -> pd.DataFrame:
    """Rows of `reviewed` that are candidates with a verdict."""
    if not len(places):
        return pd.DataFrame(columns=["microbleed", "probability", "contrast", "participant_id"])
    judged = places[places["candidate_id"].notna() & places["microbleed"].notna()]
    return judged[judged["probability"].notna()]


def _cohort(candidates: pd.DataFrame, scans: pd.DataFrame, judged: pd.DataFrame) -> Cohort:
    """All candidates with a probability, each with its verdict."""
    rows = candidates[candidates["probability"].notna()]
    key = ["scan_id", "candidate_id"]
    rows = rows[[*key, "probability"]].merge(
        judged[[*key, "microbleed"]].astype({"microbleed": float}), on=key, how="left"
    )
    contrast = rows["scan_id"].map(scans.set_index("scan_id")["contrast"])
    return Cohort(
        rows["probability"].to_numpy(dtype=float),
        (contrast == "SWI").to_numpy(dtype=float),
        rows["microbleed"].to_numpy(dtype=float, na_value=np.nan),
    )


# --- the threshold ---


def recommended(review: Review, wanted: Wish) -> Point | None:
    """The lowest threshold that fulfils a wish; None where none does.

    Thresholds are looked at in steps of a hundredth, where readers judged candidates.
    """
    for threshold in np.round(np.arange(0.01, 1.0, 0.01), 2).tolist():
        called = review.cohort.from_threshold(threshold)
        number = len(called.probability)
        if not number or not review.supported(threshold):
            continue
        real = statistics.expected_real(called, review.fit)
        if not wanted.fulfilled(real / number, (number - real) / review.scans, _NEARLY):
            continue
        point = review.point(threshold)
        if wanted.fulfilled(point.precision[0], point.false_positives[0]):
            return point
    return None


@dataclasses.dataclass(frozen=True)
class Wish:
    """A precision that is to be reached, or false positives a scan not to be exceeded."""

    precision: float | None = None
    false_positives: float | None = None

    def fulfilled(self, precision: float, false_positives: float, nearly: float = 0.0) -> bool:
        """Whether both estimates fulfil the wish, or all but the share ``nearly`` of it."""
        if self.false_positives is not None:
            return false_positives <= self.false_positives * (1 + nearly)
        return precision >= (self.precision or DEFAULT_PRECISION) * (1 - nearly)

    def __str__(self) -> str:
        if self.false_positives is not None:
            return f"at most {self.false_positives:g} false positives a scan"
        return f"a precision of {self.precision or DEFAULT_PRECISION:g}"


# --- what is printed and written ---

HEAD = ("threshold", "candidates called", "judged", "precision", "false positives a scan")


def points_of(review: Review) -> list[Point]:
    """The points of the grid and of the thresholds in use."""
    named = {*GRID, *(round(value, _DIGITS) for value in review.thresholds.values())}
    return [review.point(one) for one in sorted(named)]


def table(review: Review, points: Sequence[Point]) -> str:
    """The points in Markdown; a threshold that nobody judged near has no numbers."""
    names = {round(value, _DIGITS): name for name, value in review.thresholds.items()}
    cells = []
    for one in points:
        mark = f" ({names[one.threshold]} in use)" if one.threshold in names else ""
        measured = [_text(one.precision), _text(one.false_positives)]
        if not review.supported(one.threshold):
            measured = ["not estimated: nobody judged near it"] * 2
        cells.append([f"{one.threshold:g}{mark}", one.called, one.judged, *measured])
    return markdown_table(HEAD, cells)


def _text(estimate: tuple[float, float, float]) -> str:
    if math.isnan(estimate[0]):
        return "-"
    return f"{estimate[0]:.2f} ({estimate[1]:.2f}-{estimate[2]:.2f})"


def write(
    layout: Layout, review: Review, points: Sequence[Point], wanted: Wish, chosen: Point | None
) -> list[Path]:
    """Write table, statement and, where there is a recommendation, the settings of the next run."""
    columns = ["threshold", "called", "judged", "precision", "false_positives"]
    lines = ["\t".join([*columns, "precision_low", "precision_high", "fp_low", "fp_high"])]
    for one in points:
        supported = review.supported(one.threshold)
        numbers = [*one.precision, *one.false_positives] if supported else [math.nan] * 6
        ordered = [numbers[place] for place in (0, 3, 1, 2, 4, 5)]
        cells = ["n/a" if math.isnan(value) else f"{value:.4f}" for value in ordered]
        lines.append("\t".join([f"{one.threshold:g}", str(one.called), str(one.judged), *cells]))
    paths = [layout.operating_point("tsv"), layout.operating_point("json")]
    with whole_file(paths[0]) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(
        paths[1],
        {
            "Description": f"Operating point by readers of this cohort. {RESEARCH_USE_ONLY}",
            "Wanted": str(wanted),
            "CandidatesJudged": len(review.judged),
            "Participants": review.persons,
            "Scans": review.scans,
            "Recalibration": [round(float(value), 4) for value in review.fit.mode],
            "DesignEffect": round(review.fit.effect, 3),
            "Recommended": None if chosen is None else dataclasses.asdict(chosen),
        },
    )
    settings = layout.operating_point("yaml")
    if chosen is None:
        # The settings of a former wish would be taken for those of this one.
        settings.unlink(missing_ok=True)
        return paths
    possible = min(review.thresholds.get("possible", chosen.threshold), chosen.threshold)
    stated = {"verify": {"thresholds": {"definite": chosen.threshold, "possible": possible}}}
    with whole_file(settings) as part:
        part.write_text(
            f"# {wanted}: precision {_text(chosen.precision)}, false positives a scan "
            f"{_text(chosen.false_positives)}, by {len(review.judged)} candidates that readers "
            f"judged.\n{yaml.safe_dump(stated)}",
            encoding="utf-8",
        )
    return [*paths, settings]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "From the candidates that readers judged: precision and false positives a scan to be "
        "expected at each threshold in this cohort, and the threshold for a wanted one. "
        "See docs/review.md."
    )
    add = parser.add_argument
    add("output_dir", type=Path, help="output folder of `cmburden run`")
    wish = parser.add_mutually_exclusive_group()
    wish.add_argument("--precision", type=float, metavar="SHARE", help="wanted (default 0.8)")
    wish.add_argument("--false-positives", type=float, metavar="N", help="wanted a scan, at most")
    add(
        "--width",
        type=float,
        metavar="SHARE",
        help="say how many more to judge for a 95 %% interval of the precision so wide",
    )


def main(args: argparse.Namespace) -> int:
    """Print the table and the recommendation, and write both beside the readers' files."""
    for name in ("precision", "width"):
        value = getattr(args, name)
        if value is not None and not (is_number(value) and 0 < value < 1):
            raise CMBurdenError(f"--{name} {value:g}: is a share between 0 and 1, such as 0.8")
    if args.false_positives is not None and not args.false_positives > 0:
        raise CMBurdenError(f"--false-positives {args.false_positives:g}: give a number above 0")
    layout, wanted = Layout(args.output_dir), Wish(args.precision, args.false_positives)
    review = read(layout)
    points, chosen = points_of(review), recommended(review, wanted)
    print(f"{RESEARCH_USE_ONLY}\n\n{table(review, points)}\n")
    print("\n".join(_said(layout, review, wanted, chosen, args.width)))
    written = write(layout, review, points, wanted, chosen)
    print(f"written: {', '.join(map(str, written))}")
    return 0


def _said(
    layout: Layout, review: Review, wanted: Wish, chosen: Point | None, width: float | None
) -> Sequence[str]:
    """Sentences about the recommendation."""
    if chosen is None:
        return [
            f"No threshold near which candidates were judged gives {wanted}. Judge more of the "
            "candidates of high probability, or wish for less."
        ]
    said = [
        f"For {wanted}: definite from {chosen.threshold:g}. To be expected: precision "
        f"{_text(chosen.precision)}, false positives a scan {_text(chosen.false_positives)}.",
        f"The next run takes it: cmburden run BIDS_DIR {layout.root} participant --config-file "
        f"{layout.operating_point('yaml')}",
    ]
    if width is not None:
        more = statistics.further_for_width(review.cohort, review.fit, chosen.threshold, width)
        said.append(
            f"For an interval of the precision {width:g} wide: judge {more} more of the candidates "
            f"called at {chosen.threshold:g}, those nearest to it first."
        )
    return said
