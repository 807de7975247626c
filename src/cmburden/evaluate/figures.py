"""Figures of an evaluation, drawn from its result (evaluation.json) alone.

``python -m cmburden.evaluate.figures evaluation.json OUT`` draws them again. A mark or a dash
repeats what a colour says. Positions and widths are by eye.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from cmburden.core.errors import exit_code
from cmburden.core.truth_origin import SIMULATED
from cmburden.evaluate.measures import DIAMETERS, levels_of
from cmburden.evaluate.style import (
    BAND,
    BARS,
    BLACK,
    COLOURS,
    DASHES,
    GREY,
    MARKS,
    STYLE,
    error_bar,
    error_bars,
    new_figure,
    numbers,
    save,
)

#: Stage: its name in the figures, its colour, mark and dash.
_STAGES = {
    "cnn": ("CNN alone", COLOURS[4], "s", ":"),
    "cnn_yolo": ("CNN and YOLO", COLOURS[5], "^", "--"),
    "final": ("calibrated probability", COLOURS[0], "o", "-"),
}
#: Contrast: its colour and mark.
_CONTRASTS = {"GRE": (COLOURS[1], "s"), "SWI": (COLOURS[0], "o")}
_OTHER = (BLACK, "D")
_FP, _SENSITIVITY = "false positives per scan", "sensitivity"
#: Range of an axis of shares, with room for marks at 0 and 1.
_SHARES = (-0.02, 1.02)
#: Range of an axis of sensitivity.
_SENSITIVITIES = (0, 1.02)
#: False positives per scan at the left edge of a FROC figure: 0 has no place on a log axis.
_EDGE = 0.05
_FROC_TICKS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20)
#: Counts at the ticks of the figure of counts.
_COUNT_TICKS = (0, 1, 2, 5, 10, 20, 50, 100)


def draw(result: dict[str, Any], out: Path, names: Collection[str] | None = None) -> list[Path]:
    """Write every figure of ``result``, the content of evaluation.json, into ``out``.

    ``names`` chooses some. Returns the paths.
    """
    paths = []
    for name, (height, panels) in FIGURES.items():
        if names is not None and name not in names:
            continue
        with rc_context(STYLE):
            figure = new_figure(height)
            panels(figure, result)
            paths.append(save(figure, Path(out) / f"{name}.png"))
    return paths


# --- FROC ---


def _froc(figure: Figure, result: dict[str, Any]) -> None:
    axes = figure.subplots()
    for stage, (words, colour, mark, dash) in _STAGES.items():
        curve = result["froc_curves"]["all"][stage]
        at = curve["fp_per_scan"]
        low, high = (numbers(curve[key]) for key in ("ci_low", "ci_high"))
        axes.fill_between(at, low, high, color=colour, alpha=BAND, linewidth=0)
        axes.plot(at, numbers(curve["sensitivity"]), color=colour, ls=dash, lw=1.8, label=words)
        points = result["froc"][stage]
        values = numbers(entry["estimate"] for entry in points.values())
        axes.plot([float(point) for point in points], values, mark, color=colour, ms=5)
    _operating_point(axes, result["lesion"]["all"], BLACK, label="definite threshold")
    _froc_axes(axes)
    axes.set_title(
        f"FROC of {_scans(result)}; bands: 95 %, bootstrap over participants", loc="left"
    )
    axes.legend(loc="lower right")


def _froc_presets(figure: Figure, result: dict[str, Any]) -> None:
    axes = figure.subplots()
    cohorts = levels_of(result["froc_curves"], "cohort")
    for number, (cohort, stages) in enumerate(cohorts.items()):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        curve, lesion = stages["final"], result["lesion"][f"cohort={cohort}"]
        axes.plot(
            curve["fp_per_scan"],
            numbers(curve["sensitivity"]),
            color=colour,
            ls=dash,
            lw=1.8,
            label=f"{cohort} ({_contrast_of(result, cohort)}"
            f"{lesion['scans']} scans, {lesion['microbleeds']} microbleeds)",
        )
        _operating_point(axes, lesion, colour, mark=MARKS[number % len(MARKS)])
    _froc_axes(axes)
    axes.set_title(
        f"FROC of the calibrated probability by cohort{_preset(result)}; marks: definite "
        "threshold, 95 %",
        loc="left",
    )
    axes.legend(loc="lower right")


def _preset(result: dict[str, Any]) -> str:
    """' preset' where the scans are simulated: a cohort is then a preset of the acquisition."""
    return " preset" if result.get("truth", {}).get("origin") == SIMULATED else ""


def _contrast_of(result: dict[str, Any], cohort: str) -> str:
    """'GRE, ' or 'SWI, ' where the cohort has one contrast, else nothing."""
    contrasts = {row["contrast"] for row in result["per_scan"] if row["cohort"] == cohort}
    return f"{next(iter(contrasts))}, " if len(contrasts) == 1 else ""


def _operating_point(
    axes: Axes, lesion: dict[str, Any], colour: str, *, label: str | None = None, mark: str = "*"
) -> None:
    """Sensitivity and false positives of the decision itself, with both intervals."""
    x, y = lesion["fp_per_scan"], lesion["sensitivity"]
    if x["estimate"] is None or y["estimate"] is None:
        return
    # A cohort without a false positive has no place on a logarithmic axis: it stands at the edge.
    axes.errorbar(
        max(x["estimate"], _EDGE),
        y["estimate"],
        xerr=error_bar(x, _EDGE),
        yerr=error_bar(y),
        color=colour,
        fmt=mark,
        ms=12 if mark == "*" else 7,
        mec="white",
        mew=0.8,
        label=label,
        zorder=5,
        **BARS,
    )


def _froc_axes(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_xlim(_EDGE * 0.93, 20)
    axes.set_ylim(*_SENSITIVITIES)
    axes.xaxis.set_major_locator(FixedLocator(_FROC_TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(f"{_FP} (log scale)")
    axes.set_ylabel(_SENSITIVITY)


# --- sensitivity ---


def _sensitivity(figure: Figure, result: dict[str, Any]) -> None:
    blocks = _sensitivity_blocks(result)
    widths = [len(entries) for entries in blocks.values()]
    panels = figure.subplots(1, len(blocks), sharey=True, squeeze=False, width_ratios=widths)[0]
    whole = result["lesion"]["all"]["sensitivity"]["estimate"]
    for number, (axes, (variable, entries)) in enumerate(zip(panels, blocks.items(), strict=True)):
        _sensitivity_panel(axes, entries, COLOURS[number], MARKS[number])
        if whole is not None:
            axes.axhline(whole, color=GREY, lw=1, ls="--")
        axes.set_xlabel(f"by {variable}")
    panels[0].set_ylabel("sensitivity at the definite threshold")
    figure.suptitle(
        f"{_scans(result)}; bars: 95 %; dashed: all microbleeds", x=0.01, ha="left", fontsize=10
    )


def _sensitivity_blocks(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Entries of the lesion level by variable and level, without empty variables."""
    parts = result["lesion_parts"]
    blocks = {
        # evaluation.json sorts its keys by the alphabet, which is no order of diameters.
        "diameter": {name: parts["diameter"][name] for name, *_ in DIAMETERS},
        "group": parts["group"],
        "contrast": levels_of(result["lesion"], "contrast"),
    }
    return {variable: entries for variable, entries in blocks.items() if entries}


def _sensitivity_panel(axes: Axes, entries: dict[str, Any], colour: str, mark: str) -> None:
    for place, entry in enumerate(entries.values()):
        estimate = entry["sensitivity"]
        if estimate["estimate"] is not None:
            axes.errorbar(
                place,
                estimate["estimate"],
                yerr=error_bar(estimate),
                fmt=mark,
                color=colour,
                ms=7,
                elinewidth=1.6,
                capsize=4,
            )
    labels = [f"{level}\nn = {entry['microbleeds']}" for level, entry in entries.items()]
    axes.set_xticks(range(len(entries)), labels, fontsize=8)
    axes.set_xlim(-0.6, len(entries) - 0.4)
    axes.set_ylim(*_SENSITIVITIES)
    axes.grid(False, axis="x")


# --- stages ---


def _ablation(figure: Figure, result: dict[str, Any]) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    for place, stage in enumerate(_STAGES):
        _matched_bar(left, place, stage, result["ablation"][stage]["matched_fp_per_scan"])
        _stage_points(right, place, stage, list(result["froc"][stage].values()))
    left.set_yticks(
        range(len(_STAGES)), [words.replace(" ", "\n", 1) for words, *_ in _STAGES.values()]
    )
    left.invert_yaxis()
    left.set_xlim(left=0)
    left.set_xlabel(_FP)
    target = result["ablation"]["target_sensitivity"]
    value = "" if target is None else f" {target:.3f}"
    left.set_title(f"At the sensitivity of the whole,{value}", loc="left")
    left.grid(False, axis="y")
    points = list(result["froc"]["final"])
    right.set_xticks(range(len(points)), points)
    right.set_xlabel(_FP)
    right.set_ylabel(_SENSITIVITY)
    right.set_ylim(*_SENSITIVITIES)
    right.set_title("At false positives per scan", loc="left")
    right.legend(loc="lower right")


def _matched_bar(axes: Axes, place: int, stage: str, entry: dict[str, Any]) -> None:
    """A stage's false positives per scan at the sensitivity of the whole."""
    value = entry["estimate"]
    if value is None:
        return
    axes.barh(place, value, color=_STAGES[stage][1], height=0.55, alpha=0.85)
    axes.errorbar(value, place, xerr=error_bar(entry), color=BLACK, capsize=3, lw=1.2)
    axes.annotate(f"{value:.2f}", (value, place), (4, 9), textcoords="offset points", fontsize=9)


def _stage_points(axes: Axes, place: int, stage: str, estimates: list[dict[str, Any]]) -> None:
    """A stage's sensitivity at the points of the FROC table; the stages stand side by side."""
    words, colour, mark, dash = _STAGES[stage]
    axes.errorbar(
        np.arange(len(estimates)) + (place - 1) * 0.13,
        numbers(entry["estimate"] for entry in estimates),
        yerr=error_bars(estimates),
        color=colour,
        fmt=mark,
        ls=dash,
        lw=1,
        ms=5,
        label=words,
        **BARS,
    )


# --- calibration ---


def _calibration(figure: Figure, result: dict[str, Any]) -> None:
    content = result["calibration"]
    columns = {"all": content["all"], **levels_of(content, "contrast")}
    if len(columns) == 2:
        # A single contrast is the same as all.
        columns.pop("all")
    grid = figure.subplots(
        2, len(columns), squeeze=False, sharex=True, sharey="row", height_ratios=[3, 1]
    )
    for (upper, lower), (name, entry) in zip(grid.T, columns.items(), strict=True):
        look = _CONTRASTS.get(name, _OTHER)
        bins = [one for one in entry["all"]["bins"] if one["candidates"]]
        _reliability(upper, bins, *look)
        upper.set_title(_calibration_title(name, entry), loc="left", fontsize=8.5)
        _candidates_by_bin(lower, bins, look[0])
    grid[0, 0].set_ylabel("share that are microbleeds")
    grid[1, 0].set_ylabel("candidates")


def _reliability(axes: Axes, bins: list[dict[str, Any]], colour: str, mark: str) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    shares = [one["share_true"] for one in bins]
    axes.errorbar(
        [one["mean_probability"] for one in bins],
        numbers(share["estimate"] for share in shares),
        yerr=error_bars(shares),
        color=colour,
        fmt=mark,
        ls="-",
        lw=1,
        ms=5,
        **BARS,
    )
    axes.set_xlim(*_SHARES)
    axes.set_ylim(*_SHARES)


def _calibration_title(name: str, subsets: dict[str, Any]) -> str:
    lines = [f"{'GRE and SWI' if name == 'all' else name}: calibration error"]
    for subset, entry in subsets.items():
        words = "all" if subset == "all" else f"p ≥ {subset.removeprefix('from_')}"
        lines.append(f"{words}: {_text(entry['expected_calibration_error'])}")
    return "\n".join(lines)


def _candidates_by_bin(axes: Axes, bins: list[dict[str, Any]], colour: str) -> None:
    axes.bar(
        [one["from"] for one in bins],
        [one["candidates"] for one in bins],
        width=[one["to"] - one["from"] for one in bins],
        align="edge",
        color=colour,
        alpha=0.6,
        edgecolor="white",
    )
    axes.set_yscale("log")
    axes.set_xlabel("calibrated probability")


# --- counts ---


def _counts(figure: Figure, result: dict[str, Any]) -> None:
    left, right = figure.subplots(1, 2)
    rows, count = result["per_scan"], result["count"]["all"]
    largest = max(max(row["n_true"], row["n_pred"]) for row in rows)
    end = np.log1p(largest) + 0.25
    left.plot([0, end], [0, end], color=GREY, lw=1, ls="--")
    contrasts = sorted({row["contrast"] for row in rows})
    for number, contrast in enumerate(contrasts):
        pairs = [(row["n_true"], row["n_pred"]) for row in rows if row["contrast"] == contrast]
        # Side by side, since most scans of both contrasts stand at the same few places.
        aside = (number - (len(contrasts) - 1) / 2) * 0.16
        _count_points(left, right, np.array(pairs), contrast, aside)
    _count_axes(left, end)
    left.set_title(f"ICC(2,1) {_text(count['icc_2_1'])}", loc="left")
    left.legend(loc="upper left", title="area: number of scans", title_fontsize=8.5)
    _limits_of_agreement(right, count)
    right.set_xlabel("mean of log(1 + count)")
    right.set_ylabel("difference of log(1 + count), predicted - true")
    right.set_title("Bland-Altman, 95 % limits", loc="left")


def _count_points(left: Axes, right: Axes, pairs: np.ndarray, contrast: str, aside: float) -> None:
    """Scans of one contrast in both panels; ``pairs`` (scans, 2) are true and predicted counts."""
    colour, mark = _CONTRASTS.get(contrast, _OTHER)
    places, scans = np.unique(pairs, axis=0, return_counts=True)
    true, predicted = np.log1p(places).T
    look: dict[str, Any] = {
        "s": 20 * scans,
        "color": colour,
        "marker": mark,
        "alpha": 0.6,
        "linewidths": 0.8,
        "edgecolors": "white",
    }
    left.scatter(true + aside, predicted, **look)
    right.scatter((true + predicted) / 2 + aside, predicted - true, **look)
    left.scatter([], [], **look | {"s": 40}, label=contrast)


def _count_axes(axes: Axes, end: float) -> None:
    ticks = [n for n in _COUNT_TICKS if np.log1p(n) <= end]
    for axis, limit in ((axes.xaxis, axes.set_xlim), (axes.yaxis, axes.set_ylim)):
        axis.set_ticks(np.log1p(ticks), [str(n) for n in ticks])
        limit(-0.25, end)
    axes.set_xlabel("true microbleeds in the scan")
    axes.set_ylabel("predicted microbleeds in the scan")


def _limits_of_agreement(axes: Axes, count: dict[str, Any]) -> None:
    for words, dash in (("bias", "-"), ("lower", "--"), ("upper", "--")):
        entry = count[f"log1p_{words}"]
        if entry["estimate"] is None:
            continue
        axes.axhline(entry["estimate"], color=BLACK, lw=1.2, ls=dash)
        if entry["ci_low"] is not None:
            axes.axhspan(entry["ci_low"], entry["ci_high"], color=GREY, alpha=BAND, lw=0)
        axes.annotate(
            f"{words} {entry['estimate']:.2f}",
            (1, entry["estimate"]),
            (-2, 2),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )


# --- pieces ---


def _text(entry: dict[str, Any]) -> str:
    if entry["estimate"] is None:
        return "not known"
    if entry["ci_low"] is None:
        return f"{entry['estimate']:.3f}"
    return f"{entry['estimate']:.3f} ({entry['ci_low']:.3f}-{entry['ci_high']:.3f})"


def _scans(result: dict[str, Any]) -> str:
    scans = result["scans"]
    return f"{scans['read']} scans, {scans['microbleeds']} microbleeds"


#: Name of the file: height in inches, and the function that draws it.
FIGURES: dict[str, tuple[float, Callable[[Figure, dict[str, Any]], None]]] = {
    "froc": (4.2, _froc),
    "froc_presets": (4.2, _froc_presets),
    "sensitivity": (3.4, _sensitivity),
    "ablation": (3.3, _ablation),
    "calibration": (4.2, _calibration),
    "counts": (3.7, _counts),
}


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.evaluate.figures evaluation.json OUT``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("result", type=Path, help="evaluation.json of `cmburden evaluate`")
    parser.add_argument("out", type=Path, help="folder for the pictures")
    args = parser.parse_args(arguments)
    for path in draw(json.loads(args.result.read_text(encoding="utf-8")), args.out):
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
