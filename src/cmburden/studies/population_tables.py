"""Tables of ``metrics.population`` of a verifier's contract, for docs/model.md and its card."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cmburden.core.markdown import table
from cmburden.evaluate.measures import DIAMETERS
from cmburden.stats.intervals import Z95, clustered_wilson, wilson

_COUNTS = (("1 microbleed", 1, 1), ("2 to 4", 2, 4), ("5 and more", 5, math.inf))


def markdown(population: dict[str, Any]) -> str:
    """The tables of ``population``, one below the other, after the sentence that says of what."""
    of: dict[str, dict[str, Any]] = {
        name: population[name] for name in ("GRE", "SWI") if name in population
    }
    parts = [population["about"] + ".", _errors(of)]
    parts += [_totals(of, "like", "by_preset"), _totals(of, "age", "by_age")]
    parts += [_patterns(name, of[name]["patterns"]) for name in of]
    parts += [_groups(name, of[name]["groups"]) for name in of]
    return "\n\n".join(parts)


def _errors(of: dict[str, dict[str, Any]]) -> str:
    """Presence, sensitivity and false positives by contrast."""
    rows: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("scans", lambda f: str(f["scans"])),
        ("without a microbleed: none called", _clean),
        ("the same, definite or possible", lambda f: _clean(f["possible"])),
        ("with a microbleed: one called", _found),
        *((f"of {name}", _called(low, high)) for name, low, high in _COUNTS),
        ("microbleeds found", _sensitivity),
        *((f"{name} in diameter", _of_class(k)) for k, (name, *_) in enumerate(DIAMETERS)),
        ("the same, definite or possible", lambda f: _share(f["possible"], "found", "microbleeds")),
        ("false positives a scan", _false_positives),
        ("the same, definite or possible", lambda f: _false_positives(f["possible"])),
        ("scans with 0, 1, 2 ... definite ones", _histogram),
    ]
    return table(
        ["definite, with 95 % interval", *of],
        [[title, *(write(figures) for figures in of.values())] for title, write in rows],
    )


def _of(part: int, whole: int) -> str:
    """'18/20, 0.90 (0.70-0.97)': a share with Wilson's interval.

    >>> _of(18, 20), _of(0, 0)
    ('18/20, 0.90 (0.70-0.97)', '0/0')
    """
    if not whole:
        return f"{part}/{whole}"
    low, high = wilson(part, whole)
    return f"{part}/{whole}, {part / whole:.2f} ({low:.2f}-{high:.2f})"


def _share(figures: dict[str, Any], part: str, whole: str) -> str:
    return f"{figures[part]}/{figures[whole]}"


def _clean(figures: dict[str, Any]) -> str:
    return _of(figures["negative_clean"], figures["negative_scans"])


def _found(figures: dict[str, Any]) -> str:
    return _of(figures["positive_found"], figures["positive_scans"])


def _called(low: float, high: float) -> Callable[[dict[str, Any]], str]:
    """Presence in scans of ``low`` to ``high`` microbleeds."""

    def write(figures: dict[str, Any]) -> str:
        called = [
            number > 0 for true, _, number in figures["counts_of_positive"] if low <= true <= high
        ]
        return _of(sum(called), len(called))

    return write


def _sensitivity(figures: dict[str, Any]) -> str:
    """Microbleeds found; the interval is of microbleeds that are clustered in scans."""
    number, hits, _ = np.array(figures["counts_of_positive"] or [[0, 0, 0]]).T
    if not number.sum():
        return "0/0"
    hit = np.concatenate([np.arange(n) < k for n, k in zip(number, hits, strict=True)])
    low, high = clustered_wilson(hit.astype(float), np.repeat(np.arange(len(number)), number))
    return f"{hits.sum()}/{number.sum()}, {hits.sum() / number.sum():.2f} ({low:.2f}-{high:.2f})"


def _of_class(number: int) -> Callable[[dict[str, Any]], str]:
    return lambda figures: _share(figures["by_diameter"][number], "found", "microbleeds")


def _false_positives(figures: dict[str, Any]) -> str:
    """Mean a scan, with the scans' own variance; the interval is even on the logarithm.

    >>> _false_positives({"false_positives_of_scans": [80, 15, 5]})
    '0.25 (0.16-0.38)'
    """
    of_scans = np.repeat(
        np.arange(len(figures["false_positives_of_scans"])), figures["false_positives_of_scans"]
    )
    mean = of_scans.mean() if len(of_scans) else 0.0
    if mean == 0 or len(of_scans) < 2:
        return f"{mean:.2f}"
    error = of_scans.std(ddof=1) / math.sqrt(len(of_scans)) / mean
    low, high = mean * np.exp(np.array([-1, 1]) * Z95 * error)
    return f"{mean:.2f} ({low:.2f}-{high:.2f})"


def _histogram(figures: dict[str, Any]) -> str:
    return ", ".join(map(str, figures["false_positives_of_scans"]))


def _totals(of: dict[str, dict[str, Any]], title: str, key: str) -> str:
    """A row an acquisition, or a band of age: false positives a scan and microbleeds found."""
    rows = []
    for contrast, figures in of.items():
        entries = figures[key]
        named = entries.items() if isinstance(entries, dict) else ((_band(e), e) for e in entries)
        for name, entry in named:
            rate = f"{entry['false_positives'] / entry['scans']:.2f}" if entry["scans"] else "-"
            hits = _share(entry, "found", "microbleeds")
            rows.append([contrast, name, entry["scans"], entry["false_positives"], rate, hits])
    return table(["", title, "scans", "false positives", "a scan", "microbleeds found"], rows)


def _band(entry: dict[str, Any]) -> str:
    """
    >>> _band({"low_years": 60.0, "high_years": 70.0}), _band({"low_years": 80, "high_years": None})
    ('60 to 70', 'from 80')
    """
    high = entry["high_years"]
    return f"from {entry['low_years']:g}" if high is None else f"{entry['low_years']:g} to {high:g}"


def _patterns(contrast: str, patterns: dict[str, dict[str, int]]) -> str:
    called = sorted({name for row in patterns.values() for name in row} | set(patterns))
    rows = [[true, *(row.get(name, 0) for name in called)] for true, row in patterns.items()]
    return table([f"{contrast}: true pattern, scans called", *called], rows)


def _groups(contrast: str, groups: dict[str, dict[str, Any]]) -> str:
    rows = []
    for group, entry in groups.items():
        found_as = [entry["found_as"].get(name, 0) for name in groups]
        rows.append([group, entry["microbleeds"], *found_as, entry["false_positives"]])
    found = [f"found as {name}" for name in groups]
    return table([f"{contrast}: group", "microbleeds", *found, "false positives"], rows)
