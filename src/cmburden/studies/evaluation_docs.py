"""Writes docs/evaluation.md from the results of ``make evaluation``; nobody copies figures."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from cmburden.core import resources
from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.files import whole_file
from cmburden.core.markdown import table as markdown_table
from cmburden.core.paths import Layout
from cmburden.core.stages import BUCKET_STAGES
from cmburden.evaluate import page as evaluation_page
from cmburden.evaluate.cases import contract_of_run, model_folder
from cmburden.evaluate.measures import levels_of
from cmburden.run import timings

#: Parts of the page in their order. Each has a heading of its own.
PARTS = ("evaluation.md", "distributions.md", "anatomy.md", "benchmark.md")
_PICTURES = "evaluation"
#: Result of the evaluation on the plainer simulator's scans.
PLAIN = Path("plain/figures/evaluation.json")
#: Sensitivity that a cohort is to reach at 0.5 false positives per scan. For a cohort that was left
#: out of training and calibration this is the stricter one of its two targets.
_SENSITIVITY_AT_HALF = 0.85


@dataclasses.dataclass(frozen=True)
class Target:
    """A row of the table of targets.

    ``interval`` has the keys ci_low and ci_high; None where the value has no interval. The target
    is met where ``value`` is at least (``at_least``) or at most ``limit``; ``words`` say so.
    """

    name: str
    words: str
    value: float | None
    limit: float
    at_least: bool
    interval: dict[str, float | None] | None = None

    @property
    def met(self) -> bool:
        if self.value is None:
            return False
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def cells(self) -> list[str]:
        """Name, target, measured value, interval and whether the target is met."""
        value = "-" if self.value is None else f"{self.value:.3f}"
        interval = ""
        if self.value is not None and self.interval and self.interval["ci_low"] is not None:
            interval = f"{self.interval['ci_low']:.3f} to {self.interval['ci_high']:.3f}"
        return [self.name, self.words, value, interval, "yes" if self.met else "no"]


def at_least(name: str, limit: float, entry: dict[str, Any], words: str | None = None) -> Target:
    """A lower bound of an estimate with its interval."""
    text = words or f">= {limit:.2f}"
    return Target(name, text, entry["estimate"], limit, at_least=True, interval=entry)


def at_most(name: str, words: str, limit: float, entry: dict[str, Any]) -> Target:
    """An upper bound of an estimate with its interval."""
    return Target(name, words, entry["estimate"], limit, at_least=False, interval=entry)


def write(evaluation: Path, docs: Path) -> Path:
    """Write ``docs``/evaluation.md and its pictures; returns the page.

    ``evaluation`` holds ``figures`` (of evaluate, distributions, benchmark, evaluate_anatomy),
    ``derivatives`` and ``plain/figures`` (of evaluate on the plainer simulator's scans).

    Raises
    ------
    CMBurdenError
        When a part is missing.
    """
    figures = evaluation / "figures"
    needed = ("evaluation.json", "benchmark.json", *PARTS)
    missing = [name for name in needed if not (figures / name).exists()]
    if not (evaluation / PLAIN).exists():
        missing.append(str(PLAIN))
    if missing:
        raise CMBurdenError(f"{figures}: {', '.join(missing)} missing; run make evaluation")
    result = json.loads((figures / "evaluation.json").read_text(encoding="utf-8"))
    benchmark = json.loads((figures / "benchmark.json").read_text(encoding="utf-8"))
    made = datetime.datetime.fromtimestamp(
        (figures / "evaluation.json").stat().st_mtime, datetime.UTC
    )
    blocks = [
        "# Evaluation",
        "Simulated scans only: nothing here is a result on ADNI, AIBL, MAS or OATS, nor on any "
        "real scan. The people (label maps 13-14) and the seed were used for neither training nor "
        "calibration; [training](training.md) says what is simulated.",
        f"`make evaluation ANATOMY=...` makes this whole page. Run on {made:%Y-%m-%d}{_commit()}; "
        f"{benchmark['models']['detector']}, {benchmark['models']['verifier']}.",
        "## Targets",
        targets(result, benchmark, Layout(evaluation / "derivatives")),
        *(_part(figures / name) for name in PARTS),
        "## Scans of another simulator",
        evaluation_page.another(json.loads((evaluation / PLAIN).read_text(encoding="utf-8"))),
        "## Seconds of the whole way",
        timings.markdown(timings.by_stage(Layout(evaluation / "derivatives"))),
    ]
    pictures = docs / _PICTURES
    pictures.mkdir(parents=True, exist_ok=True)
    for path in sorted(figures.glob("*.png")):
        shutil.copyfile(path, pictures / path.name)
    page = docs / "evaluation.md"
    with whole_file(page) as temporary:
        temporary.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    return page


def _commit() -> str:
    """The commit of this checkout, since later commits may simulate differently; else nothing."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=resources.root(),
            capture_output=True,
            text=True,
            check=True,
        )
        return f", commit {commit.stdout.strip()}"
    return ""


def _part(path: Path) -> str:
    """A part one level of headings down, its pictures in their folder."""
    text = re.sub(r"^(#+ )", r"#\1", path.read_text(encoding="utf-8").strip(), flags=re.MULTILINE)
    return re.sub(r"\]\((\w+\.png)\)", rf"]({_PICTURES}/\1)", text)


def targets(result: dict[str, Any], benchmark: dict[str, Any], layout: Layout) -> str:
    """Table of the networks' targets with the measured values, each met or not.

    ``result`` is the content of evaluation.json, ``benchmark`` that of benchmark.json. ``layout``
    is the run that was evaluated: its models' contracts and weights count.
    """
    rows = [
        *_lesion_targets(result, layout),
        *_candidate_targets(result),
        *_calibration_and_count_targets(result),
        *_cost_targets(benchmark, layout),
    ]
    header = ["what", "target", "measured", "interval, 95 %", "met"]
    return (
        markdown_table(header, [row.cells() for row in rows])
        + "\n\nThe second simulator of a lesion's signal agrees with this one "
        "within 5 % (tests/simulate/test_heldout_simulator.py)."
    )


def _lesion_targets(result: dict[str, Any], layout: Layout) -> list[Target]:
    whole = result["lesion"]["all"]
    effect = result["ablation"]["yolo_effect"]
    left_out = contract_of_run(layout, "detect").get("left_out_acquisitions", [])
    by_cohort = [
        _cohort_target(cohort, stages["final"]["0.5"], left_out=cohort in left_out)
        for cohort, stages in levels_of(result["froc_strata"], "cohort").items()
    ]
    return [
        at_least("sensitivity at the definite threshold, all scans", 0.90, whole["sensitivity"]),
        at_most("false positives per scan there", "<= 0.3", 0.3, whole["fp_per_scan"]),
        *by_cohort,
        at_most(
            "false positives that YOLO leaves of the CNN's, at most 2 points of sensitivity less",
            "<= 0.5",
            0.5,
            effect["fp_ratio"],
        ),
    ]


def _cohort_target(cohort: str, entry: dict[str, Any], *, left_out: bool) -> Target:
    name = f"{cohort}: sensitivity at 0.5 false positives per scan"
    if left_out:
        name += " (left out of training and calibration)"
    words = ">= 0.80 left out, >= 0.85 overall" if left_out else None
    return at_least(name, _SENSITIVITY_AT_HALF, entry, words)


def _candidate_targets(result: dict[str, Any]) -> list[Target]:
    return [
        at_least(f"{cohort}: {words} of candidates", 0.95, entry[measure])
        for cohort, entry in levels_of(result["candidate"], "cohort").items()
        for measure, words in (("balanced_accuracy", "balanced accuracy"), ("auc", "AUC"))
    ]


def _calibration_and_count_targets(result: dict[str, Any]) -> list[Target]:
    error = result["calibration"]["all"]["from_0.02"]["expected_calibration_error"]
    name = "expected calibration error, probability 0.02 and more"
    return [
        at_most(name, "<= 0.05", 0.05, error),
        at_least("ICC(2,1) of counts", 0.95, result["count"]["all"]["icc_2_1"]),
    ]


def _cost_targets(benchmark: dict[str, Any], layout: Layout) -> list[Target]:
    """Size of the run's weights, and seconds of both networks in the benchmark."""
    seconds = sum(benchmark["median"]["seconds"].values())
    name = "seconds of CNN and YOLO, whole brain of 0.5 x 0.5 x 2 mm, 2 cores, median"
    return [
        Target("weights, MB", "<= 25", _weights_mb(layout), 25, at_least=False),
        Target(name, "<= 15", seconds, 15, at_least=False),
    ]


def _weights_mb(layout: Layout) -> float | None:
    """Size of the weights of both of the run's models; None where one of them is gone."""
    size = 0
    for stage in BUCKET_STAGES:
        folder, contract = model_folder(layout, stage), contract_of_run(layout, stage)
        if folder is None or not contract.get("weights"):
            return None
        size += sum((folder / name).stat().st_size for name in contract["weights"])
    return size / 1e6


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.evaluation_docs evaluation docs``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("evaluation", type=Path, help="folder of make evaluation")
    parser.add_argument("docs", type=Path)
    args = parser.parse_args(arguments)
    print(write(args.evaluation, args.docs))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
