"""The contract's figures of scans like a population's: false positives, sensitivity, misplacement.

``python -m cmburden.studies.population_figures FOLDER... [--write MODEL_JSON]``. Each FOLDER holds
``truth.tsv`` of ``cmburden simulate FOLDER/bids --mimics population`` and ``derivatives``, the run
over these scans. Folders whose run is not finished are passed by. ``make population`` makes all.

Matching and the rule for faint microbleeds are those of ``cmburden evaluate``: a call on a faint
microbleed is neither right nor wrong, but counts, presence and patterns hold that call.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmburden.cohort.patterns import pattern_of
from cmburden.core import config, table_set, truth_origin
from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.files import write_json
from cmburden.core.paths import Layout
from cmburden.core.tables import GROUPS, LESIONS, PARTICIPANTS, RUNS, SCANS
from cmburden.evaluate.cases import placed, read_truth, scans_read
from cmburden.evaluate.measures import DIAMETERS
from cmburden.models import contract as contracts
from cmburden.stats.matching import hungarian, only_near
from cmburden.studies.population_tables import markdown
from cmburden.verify.contract import thresholds_of

#: The command that makes the figures of the shipped contract.
COMMAND = "make population ANATOMY=..."
#: Scans without microbleeds that a contrast is to have: the half width of the 95 % interval of a
#: specificity of 0.9 is then 0.04.
WANTED_NEGATIVE = 200
#: Edges of the bands of age, years.
AGE_EDGES = (0.0, 60.0, 70.0, 80.0, math.inf)
_PLACE = ["x_mm", "y_mm", "z_mm"]


@dataclasses.dataclass(frozen=True)
class Calls:
    """The calls of one scan at one threshold, matched with its microbleeds.

    ``groups`` are those of all calls, ``false`` those of the calls that are neither at a microbleed
    nor at a faint one. ``found_as`` has an entry for each microbleed: the group of the call on it,
    None where it was missed.
    """

    groups: list[str]
    found_as: list[str | None]
    false: list[str]

    @classmethod
    def matched(cls, lesions: pd.DataFrame, truth: pd.DataFrame) -> Calls:
        """Calls ``lesions`` (rows of LESIONS) against ``truth`` (rows of TRUTH) of one scan."""
        groups = [str(group) for group in lesions["group"]]
        points = lesions[_PLACE].to_numpy(dtype=float).reshape(-1, 3)
        real = placed(truth[truth["kind"] == "microbleed"])
        call_on = {source: call for call, source in hungarian(points, *real)}
        at_faint = only_near(points, placed(truth[truth["kind"] == "faint"]), real)
        right = set(call_on.values())
        return cls(
            groups,
            [groups[call_on[k]] if k in call_on else None for k in range(len(real[0]))],
            [group for k, group in enumerate(groups) if k not in right and not at_faint[k]],
        )

    @property
    def hits(self) -> int:
        """Microbleeds with a call."""
        return sum(group is not None for group in self.found_as)


@dataclasses.dataclass(frozen=True)
class ScanResult:
    """One scan: its microbleeds by the truth, and its calls at both thresholds.

    ``groups`` and ``diameters_mm`` are of the microbleeds. ``either`` are the calls that are
    definite or possible. ``age`` is in years, NaN where unknown.
    """

    contrast: str
    preset: str
    age: float
    groups: list[str]
    diameters_mm: list[float]
    definite: Calls
    either: Calls

    @classmethod
    def of(
        cls, contrast: str, preset: str, age: float, lesions: pd.DataFrame, truth: pd.DataFrame
    ) -> ScanResult:
        """The result of one scan; ``lesions`` and ``truth`` hold that scan's rows."""
        small = lesions[~lesions["macrohaemorrhage"].fillna(False).astype(bool)]
        real = truth[truth["kind"] == "microbleed"]
        return cls(
            contrast,
            preset,
            age,
            [str(group) for group in real["group"].fillna("unknown")],
            (2 * placed(real)[1]).tolist(),
            Calls.matched(small[small["label"] == "definite"], truth),
            Calls.matched(small, truth),
        )


def results_of(folder: Path) -> list[ScanResult]:
    """The scans of ``folder``/derivatives that have a result and a truth.

    Raises CMBurdenError where a table cannot be read, or where the scans are not simulated.
    """
    layout, path = Layout(folder / "derivatives"), folder / "truth.tsv"
    truth = read_truth(path)
    if truth_origin.origin_of(path, truth) != truth_origin.SIMULATED:
        raise CMBurdenError(f"{path}: does not say that its scans are simulated; name other ones")
    table_set.check(layout)
    read = scans_read(layout, SCANS.read(layout.table("scans")), truth)
    people = PARTICIPANTS.read(layout.table("participants")).set_index("participant_id")["age"]
    ages = people.astype(float).to_dict()
    lesions = LESIONS.read(layout.table("lesions"))
    called, real = (dict(list(rows.groupby("scan_id"))) for rows in (lesions, truth))
    return [
        ScanResult.of(
            str(scan.contrast),
            str(scan.cohort),
            ages.get(scan.participant_id, math.nan),
            called.get(scan.scan_id, lesions.iloc[:0]),
            real[scan.scan_id],
        )
        for scan in read.itertuples()
    ]


def population(results: Sequence[ScanResult], about: str, date: str) -> dict[str, Any]:
    """``metrics.population`` of the contract: :func:`figures` by contrast, and what they are of.

    ``about`` says whose scans these are and of which seeds.
    """
    by_contrast = {
        contrast: figures([scan for scan in results if scan.contrast == contrast])
        for contrast in sorted({scan.contrast for scan in results})
    }
    presets = ", ".join(sorted({scan.preset for scan in results}))
    said = (
        f"{len(results)} simulated scans in the manner of {presets}, with mimics as a population "
        f"of ages 50 to 95 has them and microbleeds by age; no real scan"
    )
    return by_contrast | {
        "about": f"{said}. {about}".strip(),
        "command": COMMAND,
        "date": date,
    }


def figures(results: Sequence[ScanResult]) -> dict[str, Any]:
    """The figures of the scans of one contrast; "false_positives" are definite ones."""
    positive = [scan for scan in results if scan.groups]
    return {
        **_errors_at(results, "definite"),
        "by_diameter": _by_diameter(results),
        "patterns": _patterns(results),
        "groups": _by_group(results),
        "by_preset": {
            preset: _totals([scan for scan in results if scan.preset == preset])
            for preset in sorted({scan.preset for scan in results})
        },
        "by_age": [
            {
                "low_years": low,
                "high_years": high if math.isfinite(high) else None,
                **_totals([scan for scan in results if low <= scan.age < high]),
            }
            for low, high in pairwise(AGE_EDGES)
        ],
        # Of each scan with microbleeds: how many there are, how many were found, how many called.
        "counts_of_positive": sorted(
            [len(scan.groups), scan.definite.hits, len(scan.definite.groups)] for scan in positive
        ),
        "possible": _errors_at(results, "either"),
    }


def _errors_at(results: Sequence[ScanResult], threshold: str) -> dict[str, Any]:
    """Presence, hits and false positives by the calls ``threshold``, "definite" or "either"."""
    calls: list[tuple[bool, Calls]] = [
        (bool(scan.groups), getattr(scan, threshold)) for scan in results
    ]
    negative = [call for positive, call in calls if not positive]
    positive = [call for positive, call in calls if positive]
    return {
        "scans": len(results),
        "negative_scans": len(negative),
        "negative_clean": sum(not call.groups for call in negative),
        "positive_scans": len(positive),
        "positive_found": sum(bool(call.groups) for call in positive),
        "microbleeds": sum(len(call.found_as) for call in positive),
        "found": sum(call.hits for call in positive),
        "false_positives_of_scans": np.bincount(
            [len(call.false) for _, call in calls] or [0], minlength=1
        ).tolist(),
        # Neither right nor wrong, but in the counts of scans.
        "called_at_faint": sum(len(call.groups) - call.hits - len(call.false) for _, call in calls),
    }


def _totals(results: Sequence[ScanResult]) -> dict[str, int]:
    return {
        "scans": len(results),
        "false_positives": sum(len(scan.definite.false) for scan in results),
        "microbleeds": sum(len(scan.groups) for scan in results),
        "found": sum(scan.definite.hits for scan in results),
    }


def _by_diameter(results: Sequence[ScanResult]) -> list[dict[str, Any]]:
    """Microbleeds and hits by the diameter that the scan shows (the truth's)."""
    pairs = [
        (diameter, group is not None)
        for scan in results
        for diameter, group in zip(scan.diameters_mm, scan.definite.found_as, strict=True)
    ]
    classes = []
    for _, low, high in DIAMETERS:
        hits = [hit for diameter, hit in pairs if low <= diameter < high]
        classes.append(
            {
                "low_mm": low,
                "high_mm": high if math.isfinite(high) else None,
                "microbleeds": len(hits),
                "found": sum(hits),
            }
        )
    return classes


def _patterns(results: Sequence[ScanResult]) -> dict[str, dict[str, int]]:
    """Scans by true pattern, then by the pattern of the definite calls."""
    pairs = Counter((pattern_of(scan.groups), pattern_of(scan.definite.groups)) for scan in results)
    return {
        true: {called: number for (at, called), number in sorted(pairs.items()) if at == true}
        for true in sorted({true for true, _ in pairs})
    }


def _by_group(results: Sequence[ScanResult]) -> dict[str, dict[str, Any]]:
    """Microbleeds of each group, by the group of the call on them; false positives by theirs."""
    pairs = Counter(
        pair for scan in results for pair in zip(scan.groups, scan.definite.found_as, strict=True)
    )
    false = Counter(group for scan in results for group in scan.definite.false)
    return {
        group: {
            "microbleeds": sum(number for (true, _), number in pairs.items() if true == group),
            "found_as": {called: pairs[group, called] for called in GROUPS if pairs[group, called]},
            "false_positives": false[group],
        }
        for group in GROUPS
    }


# --- command ---


def finished(folders: Sequence[Path]) -> list[Path]:
    """Those of ``folders`` whose run wrote its tables; says which are passed by.

    Raises CMBurdenError where none is finished.
    """
    done = []
    for folder in folders:
        if Layout(folder / "derivatives").table_set.exists() and (folder / "truth.tsv").exists():
            done.append(folder)
        else:
            print(f"{folder}: passed by, its run is not finished")
    if not done:
        raise CMBurdenError(
            "none of the folders holds truth.tsv and a finished run in derivatives; make them: "
            f"{COMMAND}"
        )
    return done


def write_into(path: Path, content: dict[str, Any], folders: Sequence[Path]) -> None:
    """Put ``content`` into ``metrics.population`` of the verifier's contract ``path``.

    Raises CMBurdenError where a run of ``folders`` used other weights or thresholds than those.
    """
    contract = contracts.load(path.parent)
    weights = contracts.weights_hash(contract)
    for folder in folders:
        layout = Layout(folder / "derivatives")
        runs = RUNS.read(layout.table("runs"))
        used = set(runs.loc[runs["stage"] == "verify", "weights_sha256"].dropna())
        settings = config.stored(layout.config).get("verify") or {}
        if used != {weights} or thresholds_of(contract, settings) != contract["thresholds"]:
            raise CMBurdenError(
                f"{layout.root}: its scans were read with other weights or thresholds than those "
                f"of {contract['id']}; run them again with {path.parent}"
            )
    contract["metrics"] = contract.get("metrics", {}) | {"population": content}
    write_json(path, contract)


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.population_figures FOLDER... [--write MODEL_JSON]``."""
    parser = argparse.ArgumentParser(prog="python -m cmburden.studies.population_figures")
    parser.add_argument("folders", type=Path, nargs="+", help="each with truth.tsv, derivatives")
    parser.add_argument("--about", default="", help="whose scans these are: people, seeds")
    parser.add_argument("--write", type=Path, metavar="MODEL_JSON", help="the verifier's contract")
    args = parser.parse_args(arguments)
    folders = finished(args.folders)
    results = [scan for folder in folders for scan in results_of(folder)]
    content = population(results, args.about, datetime.date.today().isoformat())
    print(markdown(content))
    for contrast in ("GRE", "SWI"):
        negative = content.get(contrast, {}).get("negative_scans", 0)
        if negative < WANTED_NEGATIVE:
            print(f"{contrast}: {negative} scans without microbleeds, {WANTED_NEGATIVE} are wanted")
    if args.write:
        write_into(args.write, content, folders)
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
