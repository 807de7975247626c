"""Does adaptation without labels help on shifted domains, and does it harm elsewhere?

``python -m cmburden.studies.adaptation OUT [--anatomy FOLDER] [--domains NAME ...] [--seeds 0 1]``.
Of each domain of the test bed some scans are adapted to, without their truth, and others are read
before and after. The evaluation cohort, of the presets, is read by each adapted model too. What is
there is not made again: a study that was killed goes on. All scans are simulated.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cmburden.adapt.command import NOT_BETTER
from cmburden.adapt.places import Places
from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.files import whole_file, write_json
from cmburden.core.markdown import table as markdown_table
from cmburden.core.paths import Layout
from cmburden.evaluate.cases import gather, read_truth
from cmburden.evaluate.curves import curve_of, sensitivity_at
from cmburden.run import cli
from cmburden.studies.bed import scan as bed
from cmburden.studies.bed.domains import DOMAINS, TUNED

#: False positives a scan at which sensitivity is compared.
POINT = 0.3
#: Scans of a domain that are adapted to and that are read, and people of each preset.
ADAPT, TEST, EVALUATION = 24, 40, 15
#: Seeds of the three cohorts: nothing was trained, calibrated or chosen on them.
_SEEDS = {"adapt": 2711, "test": 2712, "evaluation": 2713}
HEAD = (
    "domain",
    "seed",
    "released",
    f"sensitivity at {POINT} a scan, before",
    "after",
    "share of the gap that is closed",
    "evaluation cohort, before",
    "after",
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A domain adapted to with a seed: sensitivities at ``POINT``, there and on the evaluation."""

    domain: str
    seed: int
    released: bool
    before: float
    after: float
    evaluation_before: float
    evaluation_after: float

    @property
    def closed(self) -> float:
        """Share of the gap to the evaluation cohort that is closed; NaN where there is none."""
        gap = self.evaluation_before - self.before
        return (self.after - self.before) / gap if gap > 0 else float("nan")


@dataclasses.dataclass(frozen=True)
class Study:
    """Where the study's files are, and the options of its commands."""

    out: Path
    anatomy: Path | None
    people: str | None
    cores: int
    options: tuple[str, ...]

    def bids(self, name: str) -> Path:
        return self.out / name / "bids"

    def truth(self, name: str) -> Path:
        return self.out / name / "truth.tsv"

    def simulated(self, name: str, kind: str, domain: str | None, participants: int) -> None:
        """Simulate a cohort of a domain, or of all presets for None, once."""
        if self.truth(name).exists():
            return
        # What a simulation that was killed left is no cohort.
        shutil.rmtree(self.bids(name), ignore_errors=True)
        words = ["--participants", participants, "--seed", _SEEDS[kind], "--jobs", self.cores]
        words += ["--anatomy", self.anatomy] if self.anatomy else []
        words += ["--people", self.people] if self.people else []
        given = [str(word) for word in (self.bids(name), *words)]
        if domain is not None:
            bed.main([*given, "--presets", domain])
        else:
            _done(cli.main(["simulate", *given, "--positive-share", "0.5", "--t1w-share", "0"]))

    def read_by(self, name: str, models: Path | None, folder: str) -> Layout:
        """A cohort read by the models of a folder, or by the shipped ones."""
        layout = Layout(self.out / name / folder)
        chosen = []
        for stage, kind in (("detect", "detector"), ("verify", "verifier")):
            chosen += ["--set", f"{stage}.model={models / kind}"] if models else []
        _done(
            cli.main(
                [
                    *("run", str(self.bids(name)), str(layout.root), "participant"),
                    *("--cores", str(self.cores), "--set", "buckets=4", *chosen),
                ]
            )
        )
        return layout

    def sensitivity(self, name: str, layout: Layout) -> float:
        """Sensitivity of a cohort at ``POINT`` false positives a scan."""
        cases = gather(layout, read_truth(self.truth(name)))
        curve = curve_of(cases, "final")(np.ones(cases.people))
        return float(sensitivity_at(curve.fp_per_scan, curve.sensitivity, np.array([POINT]))[0])


def _done(code: int | None) -> None:
    if code:
        raise CMBurdenError(f"a command of the study ended with {code}; see above, and call again")


def outcome(study: Study, domain: str, seed: int, number: tuple[int, int]) -> Outcome:
    """Adapt to ``number[0]`` scans of a domain, and read ``number[1]`` others before and after."""
    there, other = f"{domain}-adapt", f"{domain}-test"
    study.simulated(there, "adapt", domain, number[0])
    study.simulated(other, "test", domain, number[1])
    models = (study.out / f"{domain}-models-{seed}").absolute()
    run = study.read_by(there, None, "shipped")
    words = [str(run.root), str(models), "--seed", str(seed), *study.options]
    code = cli.main(["adapt", *words])
    if code not in (0, NOT_BETTER):
        _done(code)
    # Models that are not released are measured too: nobody uses them, and they show what the
    # check is worth.
    folder = models if code == 0 else Places(models).unreleased("detector").parent
    name = f"adapted-{domain}-{seed}"
    measured = {
        cohort: [
            study.sensitivity(cohort, study.read_by(cohort, one, path))
            for one, path in ((None, "shipped"), (folder, name))
        ]
        for cohort in (other, "evaluation")
    }
    return Outcome(domain, seed, code == 0, *measured[other], *measured["evaluation"])


def report(outcomes: Sequence[Outcome]) -> str:
    """Table and sentences in Markdown."""
    cells = [
        [
            one.domain,
            one.seed,
            "yes" if one.released else "no",
            f"{one.before:.3f}",
            f"{one.after:.3f}",
            "-" if np.isnan(one.closed) else f"{one.closed:.2f}",
            f"{one.evaluation_before:.3f}",
            f"{one.evaluation_after:.3f}",
        ]
        for one in outcomes
    ]
    lines = ["Scans are simulated.", "", markdown_table(HEAD, cells), ""]
    for domain in sorted({one.domain for one in outcomes}):
        gains = [one.after - one.before for one in outcomes if one.domain == domain]
        lines.append(
            f"{domain}: {100 * statistics.mean(gains):+.1f} points over {len(gains)} seeds "
            f"({100 * min(gains):+.1f} to {100 * max(gains):+.1f})."
        )
    used = [one for one in outcomes if one.released]
    lines.append(
        f"Released: {len(used)} of {len(outcomes)}. Largest loss of a released model: "
        f"{100 * max([one.before - one.after for one in used] or [0.0]):.1f} points on its domain, "
        f"{100 * max([one.evaluation_before - one.evaluation_after for one in used] or [0.0]):.1f} "
        "points on the evaluation cohort."
    )
    return "\n".join(lines) + "\n"


def parser() -> argparse.ArgumentParser:
    """The study's arguments."""
    parser = argparse.ArgumentParser(prog="python -m cmburden.studies.adaptation")
    add = parser.add_argument
    add("out", type=Path)
    add("--anatomy", type=Path, help="folder of label maps; none: MNI152 template")
    add("--people", help="label maps to use, first-last from 1")
    add("--domains", nargs="+", choices=list(DOMAINS), default=list(TUNED), metavar="NAME")
    add("--seeds", nargs="+", type=int, default=[0, 1])
    add("--scans", nargs=2, type=int, default=(ADAPT, TEST), metavar=("ADAPT", "TEST"))
    add("--evaluation", type=int, default=EVALUATION, help="people of each preset")
    add("--cores", type=int, default=2)
    add("--adapt", nargs=argparse.REMAINDER, default=[], help="options of cmburden adapt, last")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.adaptation OUT``."""
    args = parser().parse_args(arguments)
    study = Study(args.out, args.anatomy, args.people, args.cores, tuple(args.adapt))
    study.simulated("evaluation", "evaluation", None, args.evaluation)
    outcomes: list[Outcome] = []
    for domain in args.domains:
        for seed in args.seeds:
            outcomes.append(outcome(study, domain, seed, tuple(args.scans)))
            text = report(outcomes)
            with whole_file(args.out / "adaptation.md") as part:
                part.write_text(text, encoding="utf-8")
            plain: list[dict[str, Any]] = [dataclasses.asdict(one) for one in outcomes]
            write_json(args.out / "adaptation.json", plain)
    print(report(outcomes))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
