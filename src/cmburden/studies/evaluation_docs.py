"""docs/evaluation.md from what ``make evaluation`` measured: no figure is copied by hand."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from cmburden.core import resources
from cmburden.core.errors import CMBurdenError, told
from cmburden.core.files import whole_file
from cmburden.core.paths import BUCKET_STAGES, Layout
from cmburden.evaluate import page as evaluation_page
from cmburden.evaluate.cases import contract_of_run, model_folder
from cmburden.run import timings

#: Parts that are put one after the other; each has a heading of its own.
PARTS = ("evaluation.md", "distributions.md", "anatomy.md", "benchmark.md")
_PICTURES = "evaluation"
#: Where the figures of the plainer simulator's scans are.
PLAIN = Path("plain/figures/evaluation.json")


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
    missing = [name for name in ("evaluation.json", "benchmark.json", *PARTS)
               if not (figures / name).exists()]  # fmt: skip
    if not (evaluation / PLAIN).exists():
        missing.append(str(PLAIN))
    if missing:
        raise CMBurdenError(f"{figures}: {', '.join(missing)} missing; run make evaluation")
    result = json.loads((figures / "evaluation.json").read_text())
    benchmark = json.loads((figures / "benchmark.json").read_text())
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
        evaluation_page.another(json.loads((evaluation / PLAIN).read_text())),
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
    """The commit that was run, where this is a checkout: later ones may simulate differently."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        shown = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=resources.root(), capture_output=True,
            text=True, check=True,
        )  # fmt: skip
        return f", commit {shown.stdout.strip()}"
    return ""


def _part(path: Path) -> str:
    """A part one level of headings down, its pictures in their folder."""
    text = re.sub(r"^(#+ )", r"#\1", path.read_text(encoding="utf-8").strip(), flags=re.MULTILINE)
    return re.sub(r"\]\((\w+\.png)\)", rf"]({_PICTURES}/\1)", text)


def targets(result: dict[str, Any], benchmark: dict[str, Any], layout: Layout) -> str:
    """What the networks are to reach, and what they do, each met or not.

    ``layout`` is the run that was evaluated: its models' contracts and weights count.
    """
    effect = result["ablation"]["yolo_effect"]
    found, wrong = (result["lesion"]["all"][name] for name in ("sensitivity", "fp_per_scan"))
    rows = [
        _row(
            "sensitivity at the definite threshold, all scans", ">= 0.90",
            found["estimate"], lambda v: v >= 0.90, _interval(found),
        ),
        _row(
            "false positives per scan there", "<= 0.3",
            wrong["estimate"], lambda v: v <= 0.3, _interval(wrong),
        ),
    ]  # fmt: skip
    left_out = contract_of_run(layout, "detect").get("left_out_acquisitions", [])
    for stratum, stages in result["froc_strata"].items():
        if not stratum.startswith("cohort="):
            continue
        name, at = stratum.removeprefix("cohort="), stages["final"]["0.5"]
        unseen = name in left_out
        rows.append(
            _row(
                f"{name}: sensitivity at 0.5 false positives per scan"
                + (" (left out of training and calibration)" if unseen else ""),
                ">= 0.80 left out, >= 0.85 overall" if unseen else ">= 0.85",
                at["estimate"], lambda v: v >= 0.85, _interval(at),
            )
        )  # fmt: skip
    rows += [
        _row(
            "false positives that YOLO leaves of the CNN's, at most 2 points of sensitivity less",
            "<= 0.5", effect["fp_ratio"]["estimate"], lambda v: v <= 0.5,
            _interval(effect["fp_ratio"]),
        ),
    ]  # fmt: skip
    for stratum, entry in result["candidate"].items():
        if stratum.startswith("cohort="):
            for measure, words in (("balanced_accuracy", "balanced accuracy"), ("auc", "AUC")):
                rows.append(
                    _row(
                        f"{stratum.removeprefix('cohort=')}: {words} of candidates", ">= 0.95",
                        entry[measure]["estimate"], lambda v: v >= 0.95, _interval(entry[measure]),
                    )
                )  # fmt: skip
    error = result["calibration"]["all"]["from_0.02"]["expected_calibration_error"]
    icc = result["count"]["all"]["icc_2_1"]
    seconds = benchmark["median"]["seconds"]
    size = _weights_mb(layout)
    rows += [
        _row("expected calibration error, probability 0.02 and more", "<= 0.05",
             error["estimate"], lambda v: v <= 0.05, _interval(error)),
        _row("ICC(2,1) of counts", ">= 0.95", icc["estimate"], lambda v: v >= 0.95,
             _interval(icc)),
        _row("weights, MB", "<= 25", size, lambda v: v <= 25, ""),
        _row("seconds of CNN and YOLO, whole brain of 0.5 x 0.5 x 2 mm, 2 cores, median",
             "<= 15", sum(seconds.values()), lambda v: v <= 15, ""),
    ]  # fmt: skip
    lines = ["| what | target | measured | interval, 95 % | met |", "|---|---|---|---|---|", *rows]
    return (
        "\n".join(lines) + "\n\nThe second simulator of a lesion's signal agrees with this one "
        "within 5 % (tests/unit/test_heldout_simulator.py)."
    )


def _row(what: str, target: str, value: float | None, met, interval: str) -> str:
    if value is None:
        return f"| {what} | {target} | - | | no |"
    return f"| {what} | {target} | {value:.3f} | {interval} | {'yes' if met(value) else 'no'} |"


def _interval(entry: dict[str, float | None]) -> str:
    if entry["ci_low"] is None:
        return ""
    return f"{entry['ci_low']:.3f} to {entry['ci_high']:.3f}"


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
    raise SystemExit(told(main))
