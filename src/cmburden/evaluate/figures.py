"""Figures of an evaluation, drawn from its result alone: ``evaluation.json`` holds all they show.

``python -m cmburden.evaluate.figures evaluation.json OUT`` draws them again. Colours are those of
Okabe and Ito (jfly.uni-koeln.de/color, 2008), told apart without colour vision; a mark or a dash
tells the same.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from cmburden.core.errors import told
from cmburden.core.files import whole_file
from cmburden.evaluate.measures import DIAMETERS

_BLACK, _GREY = "#222222", "#777777"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKS = ("o", "s", "^", "D", "v", "P")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
#: Stage: what it is called, its colour, mark and dash.
_STAGES = {
    "cnn": ("CNN alone", _COLOURS[4], "s", ":"),
    "cnn_yolo": ("CNN and YOLO", _COLOURS[5], "^", "--"),
    "final": ("calibrated probability", _COLOURS[0], "o", "-"),
}
_CONTRASTS = {"GRE": (_COLOURS[1], "s"), "SWI": (_COLOURS[0], "o")}
_FP, _SENSITIVITY = "false positives per scan", "sensitivity"
#: 7 inches at 120 dots are 840 pixels; at 700 the letters are still 8 pixels high.
_WIDTH, _DPI = 7.0, 120
STYLE = {
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "legend.fontsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def draw(result: dict[str, Any], out: Path) -> list[Path]:
    """Write every figure of ``result`` (what evaluation.json holds) into ``out``; their paths."""
    paths = []
    for name, (height, panels) in FIGURES.items():
        with rc_context(STYLE):
            figure = new_figure(height)
            panels(figure, result)
            paths.append(save(figure, Path(out) / f"{name}.png"))
    return paths


def new_figure(height: float) -> Figure:
    """A figure without pyplot's state; ``height`` in inches."""
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG by rename, without the drawing library's version in it."""
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    return path


# --- FROC ---


def _froc(figure: Figure, result: dict[str, Any]) -> None:
    axes = figure.subplots()
    for stage, (words, colour, mark, dash) in _STAGES.items():
        curve = result["froc_curves"]["all"][stage]
        at = curve["fp_per_scan"]
        low, high = (_numbers(curve[key]) for key in ("ci_low", "ci_high"))
        axes.fill_between(at, low, high, color=colour, alpha=0.13, linewidth=0)
        axes.plot(at, _numbers(curve["sensitivity"]), color=colour, ls=dash, lw=1.8, label=words)
        points = result["froc"][stage]
        axes.plot(
            [float(point) for point in points],
            _numbers([entry["estimate"] for entry in points.values()]),
            mark, color=colour, ms=5,
        )  # fmt: skip
    _operating_point(axes, result["lesion"]["all"], _BLACK, "definite threshold")
    _froc_axes(axes)
    axes.set_title(
        f"FROC of {_scans(result)}; bands: 95 %, bootstrap over participants", loc="left"
    )
    axes.legend(loc="lower right")


def _froc_presets(figure: Figure, result: dict[str, Any]) -> None:
    axes = figure.subplots()
    cohorts = [name for name in result["froc_curves"] if name.startswith("cohort=")]
    for number, name in enumerate(cohorts):
        colour, dash = (of[number % len(of)] for of in (_COLOURS, _DASHES))
        curve, lesion = result["froc_curves"][name]["final"], result["lesion"][name]
        contrast = _contrast_of(result, name.removeprefix("cohort="))
        axes.plot(
            curve["fp_per_scan"], _numbers(curve["sensitivity"]), color=colour, ls=dash, lw=1.8,
            label=f"{name.removeprefix('cohort=')} ({contrast}"
            f"{lesion['scans']} scans, {lesion['microbleeds']} microbleeds)",
        )  # fmt: skip
        _operating_point(axes, lesion, colour, None, _MARKS[number % len(_MARKS)])
    _froc_axes(axes)
    axes.set_title(
        "FROC of the calibrated probability by cohort preset; marks: definite threshold, 95 %",
        loc="left",
    )
    axes.legend(loc="lower right")


def _contrast_of(result: dict[str, Any], cohort: str) -> str:
    """'GRE, ' and the like, where the cohort has but one."""
    own = {row["contrast"] for row in result["per_scan"] if row["cohort"] == cohort}
    return f"{next(iter(own))}, " if len(own) == 1 else ""


def _operating_point(axes: Axes, lesion: dict[str, Any], colour, label, mark="*") -> None:
    """Sensitivity and false positives of the decision itself, with both intervals."""
    x, y = lesion["fp_per_scan"], lesion["sensitivity"]
    if x["estimate"] is None or y["estimate"] is None:
        return
    # A cohort without a false positive has no place on a logarithmic axis: it stands at the edge.
    place = max(x["estimate"], _EDGE)
    axes.errorbar(
        place, y["estimate"], xerr=_error(x, _EDGE), yerr=_error(y), color=colour, fmt=mark,
        ms=12 if mark == "*" else 7, mec="white", mew=0.8, elinewidth=1, capsize=2, label=label,
        zorder=5,
    )  # fmt: skip


_EDGE = 0.05


def _froc_axes(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_xlim(_EDGE * 0.93, 20)
    axes.set_ylim(0, 1.02)
    ticks = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(f"{_FP} (log scale)")
    axes.set_ylabel(_SENSITIVITY)


# --- sensitivity ---


def _sensitivity(figure: Figure, result: dict[str, Any]) -> None:
    parts, lesion = result["lesion_parts"], result["lesion"]
    contrasts = {
        name.removeprefix("contrast="): entry
        for name, entry in lesion.items()
        if name.startswith("contrast=")
    }
    # evaluation.json has its keys by the alphabet, which is no order of diameters.
    diameters = {name: parts["diameter"][name] for name, *_ in DIAMETERS}
    blocks = {"diameter": diameters, "group": parts["group"], "contrast": contrasts}
    blocks = {name: entries for name, entries in blocks.items() if entries}
    widths = [len(entries) for entries in blocks.values()]
    panels = figure.subplots(1, len(blocks), sharey=True, squeeze=False, width_ratios=widths)[0]
    for number, (axes, (variable, entries)) in enumerate(zip(panels, blocks.items(), strict=True)):
        for place, entry in enumerate(entries.values()):
            estimate = entry["sensitivity"]
            if estimate["estimate"] is None:
                continue
            axes.errorbar(
                place, estimate["estimate"], yerr=_error(estimate), fmt=_MARKS[number],
                color=_COLOURS[number], ms=7, elinewidth=1.6, capsize=4,
            )  # fmt: skip
        if lesion["all"]["sensitivity"]["estimate"] is not None:
            axes.axhline(lesion["all"]["sensitivity"]["estimate"], color=_GREY, lw=1, ls="--")
        labels = [f"{level}\nn = {entry['microbleeds']}" for level, entry in entries.items()]
        axes.set_xticks(range(len(entries)), labels, fontsize=8)
        axes.set_xlim(-0.6, len(entries) - 0.4)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel(f"by {variable}")
        axes.grid(False, axis="x")
    panels[0].set_ylabel("sensitivity at the definite threshold")
    figure.suptitle(
        f"{_scans(result)}; bars: 95 %; dashed: all microbleeds", x=0.01, ha="left", fontsize=10
    )


# --- stages ---


def _ablation(figure: Figure, result: dict[str, Any]) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    ablation = result["ablation"]
    names = list(_STAGES)
    for place, stage in enumerate(names):
        words, colour, mark, dash = _STAGES[stage]
        entry = ablation[stage]["matched_fp_per_scan"]
        if entry["estimate"] is not None:
            left.barh(place, entry["estimate"], color=colour, height=0.55, alpha=0.85)
            left.errorbar(
                entry["estimate"], place, xerr=_error(entry), color=_BLACK, capsize=3, lw=1.2
            )
            left.annotate(
                f"{entry['estimate']:.2f}", (entry["estimate"], place), (4, 9),
                textcoords="offset points", fontsize=9,
            )  # fmt: skip
        points = result["froc"][stage]
        at = np.arange(len(points)) + (place - 1) * 0.13
        estimates = list(points.values())
        right.errorbar(
            at, _numbers([entry["estimate"] for entry in estimates]),
            yerr=_errors(estimates),
            color=colour, fmt=mark, ls=dash, lw=1, ms=5, capsize=2, elinewidth=1, label=words,
        )  # fmt: skip
    target = ablation["target_sensitivity"]
    left.set_yticks(range(len(names)), [_STAGES[name][0].replace(" ", "\n", 1) for name in names])
    left.invert_yaxis()
    left.set_xlim(left=0)
    left.set_xlabel(_FP)
    known = "" if target is None else f" {target:.3f}"
    left.set_title(f"At the sensitivity of the whole,{known}", loc="left")
    left.grid(False, axis="y")
    right.set_xticks(range(len(points)), list(points))
    right.set_xlabel(_FP)
    right.set_ylabel(_SENSITIVITY)
    right.set_ylim(0, 1.02)
    right.set_title("At false positives per scan", loc="left")
    right.legend(loc="lower right")


# --- calibration ---


def _calibration(figure: Figure, result: dict[str, Any]) -> None:
    content = {
        name.removeprefix("contrast="): entry
        for name, entry in result["calibration"].items()
        if name == "all" or name.startswith("contrast=")
    }
    if len(content) == 2:
        # One contrast alone is all of it.
        content.pop("all")
    grid = figure.subplots(
        2, len(content), squeeze=False, sharex=True, sharey="row", height_ratios=[3, 1]
    )
    for (upper, lower), (name, entry) in zip(grid.T, content.items(), strict=True):
        colour, mark = _CONTRASTS.get(name, (_BLACK, "D"))
        bins = [one for one in entry["all"]["bins"] if one["candidates"]]
        upper.plot([0, 1], [0, 1], color=_GREY, lw=1, ls="--")
        right = [one["share_true"] for one in bins]
        upper.errorbar(
            [one["mean_probability"] for one in bins], _numbers([one["estimate"] for one in right]),
            yerr=_errors(right), color=colour, fmt=mark, ls="-", lw=1, ms=5, capsize=2,
            elinewidth=1,
        )  # fmt: skip
        errors = (
            f"{'all' if subset == 'all' else 'p ≥ ' + subset.removeprefix('from_')}: "
            f"{_text(own['expected_calibration_error'])}"
            for subset, own in entry.items()
        )
        upper.set_title(
            f"{'GRE and SWI' if name == 'all' else name}: calibration error\n" + "\n".join(errors),
            loc="left", fontsize=8.5,
        )  # fmt: skip
        upper.set_xlim(-0.02, 1.02)
        upper.set_ylim(-0.02, 1.02)
        lower.bar(
            [one["from"] for one in bins], [one["candidates"] for one in bins],
            width=[one["to"] - one["from"] for one in bins], align="edge", color=colour, alpha=0.6,
            edgecolor="white",
        )  # fmt: skip
        lower.set_yscale("log")
        lower.set_xlabel("calibrated probability")
    grid[0, 0].set_ylabel("share that are microbleeds")
    grid[1, 0].set_ylabel("candidates")


# --- counts ---


def _counts(figure: Figure, result: dict[str, Any]) -> None:
    left, right = figure.subplots(1, 2)
    rows, count = result["per_scan"], result["count"]["all"]
    largest = max(max(row["n_true"], row["n_pred"]) for row in rows)
    end = np.log1p(largest) + 0.25
    left.plot([0, end], [0, end], color=_GREY, lw=1, ls="--")
    contrasts = sorted({row["contrast"] for row in rows})
    for number, contrast in enumerate(contrasts):
        colour, mark = _CONTRASTS.get(contrast, (_BLACK, "D"))
        pairs = np.array(
            [(row["n_true"], row["n_pred"]) for row in rows if row["contrast"] == contrast]
        )
        places, scans = np.unique(pairs, axis=0, return_counts=True)
        true, predicted = np.log1p(places).T
        look = {
            "s": 20 * scans, "color": colour, "marker": mark, "alpha": 0.6, "linewidths": 0.8,
            "edgecolors": "white",
        }  # fmt: skip
        # Side by side, since most scans of both contrasts stand at the same few places.
        aside = (number - (len(contrasts) - 1) / 2) * 0.16
        left.scatter(true + aside, predicted, **look)
        right.scatter((true + predicted) / 2 + aside, predicted - true, **look)
        left.scatter([], [], **look | {"s": 40}, label=contrast)
    ticks = [n for n in (0, 1, 2, 5, 10, 20, 50, 100) if np.log1p(n) <= end]
    for axis, limit in ((left.xaxis, left.set_xlim), (left.yaxis, left.set_ylim)):
        axis.set_ticks(np.log1p(ticks), [str(n) for n in ticks])
        limit(-0.25, end)
    left.set_xlabel("true microbleeds in the scan")
    left.set_ylabel("predicted microbleeds in the scan")
    left.set_title(f"ICC(2,1) {_text(count['icc_2_1'])}", loc="left")
    left.legend(loc="upper left", title="area: number of scans", title_fontsize=8.5)
    for key, dash, words in (
        ("log1p_bias", "-", "bias"), ("log1p_lower", "--", "lower"), ("log1p_upper", "--", "upper"),
    ):  # fmt: skip
        entry = count[key]
        if entry["estimate"] is None:
            continue
        right.axhline(entry["estimate"], color=_BLACK, lw=1.2, ls=dash)
        if entry["ci_low"] is not None:
            right.axhspan(entry["ci_low"], entry["ci_high"], color=_GREY, alpha=0.13, lw=0)
        right.annotate(
            f"{words} {entry['estimate']:.2f}", (1, entry["estimate"]), (-2, 2),
            xycoords=("axes fraction", "data"), textcoords="offset points", ha="right", fontsize=8,
        )  # fmt: skip
    right.set_xlabel("mean of log(1 + count)")
    right.set_ylabel("difference of log(1 + count), predicted - true")
    right.set_title("Bland-Altman, 95 % limits", loc="left")


# --- pieces ---


def _numbers(values: list) -> np.ndarray:
    """Floats; what is not known is NaN, which is not drawn."""
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _error(entry: dict[str, Any], lowest: float = -np.inf) -> np.ndarray:
    """(2, 1) distances of an estimate from its interval's ends, as matplotlib wants them.

    A percentile interval of few participants may leave its estimate out: that side is 0.
    """
    middle, low, high = _numbers([entry["estimate"], entry["ci_low"], entry["ci_high"]])
    middle, low = max(middle, lowest), max(low, lowest)
    return np.nan_to_num(np.maximum([[middle - low], [high - middle]], 0))


def _errors(entries: list[dict[str, Any]]) -> np.ndarray:
    """(2, n) distances of n estimates from their intervals' ends."""
    return np.hstack([np.zeros((2, 0)), *(_error(entry) for entry in entries)])


def _text(entry: dict[str, Any]) -> str:
    if entry["estimate"] is None:
        return "not known"
    if entry["ci_low"] is None:
        return f"{entry['estimate']:.3f}"
    return f"{entry['estimate']:.3f} ({entry['ci_low']:.3f}-{entry['ci_high']:.3f})"


def _scans(result: dict[str, Any]) -> str:
    scans = result["scans"]
    return f"{scans['read']} scans, {scans['microbleeds']} microbleeds"


#: Name of the file: height in inches, what draws it.
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
    given = parser.parse_args(arguments)
    for path in draw(json.loads(given.result.read_text()), given.out):
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(told(main))
