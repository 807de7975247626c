"""Sensitivity by inserted lesions against the true one, on simulated cohorts whose truth is known.

``python -m cmburden.studies.insertion OUT --run DERIVATIVES TRUTH [--run ...]``. A stratum is a
cohort of a run. Lesions are inserted into the runs that have none; the truth's own microbleeds say
what the software detects. An insertion is calibrated where the two agree.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.files import whole_file, write_json
from cmburden.core.markdown import table as markdown_table
from cmburden.core.paths import Layout
from cmburden.core.tables import INSERTED, RENDERERS
from cmburden.evaluate.cases import gather, read_truth
from cmburden.insert.estimates import LOWEST, PUBLISHED, estimate_of
from cmburden.run import cli
from cmburden.stats.intervals import clustered_wilson

#: The figure is drawn with the colours of Okabe and Ito (2008).
_COLOURS = {"physics": "#0072B2", "transplant": "#009E73", "plain": "#D55E00"}


@dataclasses.dataclass(frozen=True)
class Share:
    """A sensitivity with its 95 % interval, of ``number`` lesions."""

    estimate: float
    low: float
    high: float
    number: int

    def agrees(self, other: Share) -> bool:
        """Whether the intervals overlap."""
        return self.low <= other.high and other.low <= self.high

    def __str__(self) -> str:
        return f"{self.estimate:.2f} ({self.low:.2f}-{self.high:.2f}), {self.number}"


@dataclasses.dataclass(frozen=True)
class Stratum:
    """A cohort: ``true`` sensitivity and that by ``inserted`` lesions of each renderer."""

    name: str
    true: Share
    inserted: dict[str, Share]

    @property
    def lowest(self) -> Share | None:
        """The lowest of the renderers' estimates."""
        if not self.inserted:
            return None
        return min(self.inserted.values(), key=lambda share: (share.estimate, share.low))


def strata(layout: Layout, truth: Path) -> Iterator[Stratum]:
    """The cohorts of a run with both sensitivities; those without a microbleed are left out."""
    rows = INSERTED.read(layout.inserted_table("inserted"))
    counted = rows[rows["visible"].astype(bool) & ~rows["before"].astype(bool)]
    cases = gather(layout, read_truth(truth))
    for name in cases.levels("cohort"):
        real = cases.only("cohort", name).real
        if not len(real):
            continue
        found = real["found"].to_numpy(dtype=float)
        ends = clustered_wilson(found, real["person"].to_numpy())
        members = counted[counted["cohort"] == name]
        inserted = {}
        for renderer in RENDERERS:
            made = estimate_of(members[members["renderer"] == renderer], "definite", PUBLISHED)
            if made["estimate"] is not None:
                numbers = (made["estimate"], made["ci_low"], made["ci_high"], made["denominator"])
                inserted[renderer] = Share(*numbers)
        yield Stratum(name, Share(float(found.mean()), *ends, len(found)), inserted)


def report(found: Sequence[Stratum]) -> str:
    """Table and sentences in Markdown."""
    head = ["stratum", "true", *RENDERERS, LOWEST]
    cells = []
    for one in found:
        shares = [one.inserted.get(renderer) for renderer in RENDERERS]
        cells.append([one.name, str(one.true), *(str(s or "-") for s in [*shares, one.lowest])])
    lines = [
        "Sensitivity with its 95 % interval, and the number of lesions. Scans are simulated.",
        "",
        markdown_table(head, cells),
        "",
    ]
    for name, pairs in _pairs(found).items():
        if pairs:
            agree = sum(inserted.agrees(true) for inserted, true in pairs)
            off = np.mean([inserted.estimate - true.estimate for inserted, true in pairs])
            lines.append(
                f"{name}: intervals agree in {agree} of {len(pairs)} strata; mean difference "
                f"{100 * off:+.1f} points."
            )
    return "\n".join(lines) + "\n"


def _pairs(found: Sequence[Stratum]) -> dict[str, list[tuple[Share, Share]]]:
    """Estimate and truth of each stratum, by renderer and for the lowest."""
    pairs = {
        name: [(one.inserted[name], one.true) for one in found if name in one.inserted]
        for name in RENDERERS
    }
    pairs[LOWEST] = [(one.lowest, one.true) for one in found if one.lowest is not None]
    return pairs


def picture(found: Sequence[Stratum], path: Path) -> Path:
    """The scatter: the true sensitivity against that by inserted lesions."""
    from matplotlib import rc_context

    from cmburden.evaluate.style import STYLE, new_figure, save

    style: dict[Any, Any] = dict(STYLE)
    with rc_context(style):
        figure = new_figure(3.6)
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, zorder=0)
        for name, pairs in _pairs(found).items():
            if name == LOWEST or not pairs:
                continue
            x = np.array([true.estimate for _, true in pairs])
            y = np.array([inserted.estimate for inserted, _ in pairs])
            across = [[true.estimate - true.low, true.high - true.estimate] for _, true in pairs]
            along = [[one.estimate - one.low, one.high - one.estimate] for one, _ in pairs]
            axes.errorbar(
                x,
                y,
                xerr=np.clip(np.array(across).T, 0, 1),
                yerr=np.clip(np.array(along).T, 0, 1),
                fmt="o",
                markersize=4,
                linewidth=0.8,
                color=_COLOURS[name],
                label=name,
            )
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
        axes.set_xlabel("true sensitivity (simulated scans)")
        axes.set_ylabel("by inserted lesions")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left")
        return save(figure, path)


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.insertion OUT --run DERIVATIVES TRUTH ...``."""
    parser = argparse.ArgumentParser(prog="python -m cmburden.studies.insertion")
    add = parser.add_argument
    add("out", type=Path)
    add("--run", nargs=2, type=Path, action="append", metavar=("DERIVATIVES", "TRUTH"))
    add("--scans", type=int, default=1000, help="most scans of a run that get lesions")
    add("--lesions", type=int, default=3)
    add("--cores", type=int, default=1)
    args = parser.parse_args(arguments)
    found: list[Stratum] = []
    for folder, truth in args.run or []:
        options = ["--scans", args.scans, "--lesions", args.lesions, "--cores", args.cores]
        if cli.main(["insert", str(folder), *map(str, options)]):
            raise CMBurdenError(f"{folder}: no lesions could be inserted; see above")
        found += strata(Layout(folder), truth)
    if not found:
        raise CMBurdenError("--run: name at least one finished run with microbleeds and its truth")
    text = report(found)
    with whole_file(args.out / "insertion.md") as part:
        part.write_text(text, encoding="utf-8")
    write_json(args.out / "insertion.json", [dataclasses.asdict(one) for one in found])
    picture(found, args.out / "insertion.png")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
