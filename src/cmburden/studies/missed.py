"""The probability that a microbleed was missed, on scans whose truth is known.

``python -m cmburden.studies.missed DERIVATIVES TRUTH --out OUT``. Sessions are not needed: a
microbleed of the truth stands for one that another session shows.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core import config, schema, tables
from cmburden.core.errors import exit_code
from cmburden.core.files import whole_file, write_json
from cmburden.core.keys import seed_of
from cmburden.core.markdown import table as markdown_table
from cmburden.core.paths import Layout
from cmburden.evaluate import cases as evaluate_cases
from cmburden.follow import midspace
from cmburden.follow.tracks import Rates, look
from cmburden.models.contract import contract_of
from cmburden.stats.intervals import wilson
from cmburden.stats.matching import hungarian

_CENTRE, _MNI = ["x_mm", "y_mm", "z_mm"], ["mni_x", "mni_y", "mni_z"]
#: Probability of the lesion in the session that shows it (unmeasured).
_SEEN = 0.9
#: Other participants' scans in which the place of a microbleed is looked up.
_STRANGERS = 10
_MM3_PER_ML = 1000


@dataclasses.dataclass(frozen=True)
class Scene:
    """A scan with its candidates, as the look-up of ``longitudinal`` sees it.

    ``spread`` (3, 3) is the covariance of the difference of two positions, mm2; ``density`` the
    number of candidates per mm3 of brain.
    """

    participant: str
    contrast: str
    candidates: pd.DataFrame
    microbleeds: pd.DataFrame
    spread: np.ndarray
    density: float

    @property
    def kept(self) -> np.ndarray:
        """Which candidates are lesions, (n,)."""
        return self.candidates["kept"].fillna(False).to_numpy(dtype=bool)

    def p_missed(
        self, at: np.ndarray, columns: list[str], rates: Rates, settings: dict[str, Any]
    ) -> float:
        """Probability that a microbleed at ``at`` (3,) is there although no lesion is.

        ``columns`` name the candidates' coordinates in the space of ``at``, ``settings`` is the
        section ``longitudinal`` of the configuration.
        """
        rejected = self.candidates[~self.kept]
        return look(
            at,
            self.spread,
            _SEEN,
            rejected[columns].to_numpy(dtype=float),
            rejected["probability"].to_numpy(dtype=float),
            self.density,
            rates,
            prior=settings["prior_there"],
            max_mm=settings["max_distance_mm"],
        ).probability

    def missed_places(self) -> list[np.ndarray]:
        """Centres (3,) in scanner mm of the microbleeds without a lesion."""
        lesions = self.candidates[self.kept][_CENTRE].to_numpy(dtype=float)
        centres, radii = evaluate_cases.placed(self.microbleeds)
        found = {source for _, source in hungarian(lesions, centres, radii)}
        return [centre for number, centre in enumerate(centres) if number not in found]

    def candidate_places(self) -> list[np.ndarray]:
        """MNI152 positions (3,) of the candidates that are microbleeds."""
        points = self.candidates[_CENTRE].to_numpy(dtype=float)
        pairs = hungarian(points, *evaluate_cases.placed(self.microbleeds))
        mni = self.candidates[_MNI].to_numpy(dtype=float)
        return [mni[candidate] for candidate, _ in pairs]


def lookup(
    layout: Layout, truth: pd.DataFrame, rates: Rates, settings: dict[str, Any], seed: int = 0
) -> dict[str, Any]:
    """The probability of having been missed at places with a known answer.

    ``truth`` is a table of ``tables.TRUTH``, ``settings`` the section ``longitudinal`` of the
    configuration. Two kinds of places:

    - 'nothing there': the place of a microbleed of one scan, by MNI152, in up to ten scans of other
      participants with the same contrast, whose microbleeds lie elsewhere;
    - 'missed': a microbleed of which no candidate was kept, looked up in its own scan with the
      error of a repeated position.
    """
    rng = np.random.default_rng(seed_of("lookup", seed))
    scenes = scenes_of(layout, truth, settings["position_error_mm"])
    missed = [
        scene.p_missed(place + rng.normal(0, _position_error(scene)), _CENTRE, rates, settings)
        for scene in scenes
        for place in scene.missed_places()
    ]
    empty = [
        stranger.p_missed(place, _MNI, rates, settings)
        for contrast in ("GRE", "SWI")
        for scene in scenes
        if scene.contrast == contrast
        for place in scene.candidate_places()
        for stranger in _strangers(scene, scenes, rng)
    ]
    return {
        "nothing there": _summary(empty, settings["missed_from"]),
        "missed": _summary(missed, settings["missed_from"]),
    }


def scenes_of(layout: Layout, truth: pd.DataFrame, error_mm: float) -> list[Scene]:
    """The run's scans that ``truth`` has; ``error_mm`` is the error of a position in one scan."""
    candidates = tables.CANDIDATES.read(layout.candidates)
    scans = tables.SCANS.read(layout.table("scans"))
    scans = scans[(scans["status"] == "ok") & scans["scan_id"].isin(truth["scan_id"])]
    real = truth[truth["kind"] == "microbleed"]
    of_candidates = dict(list(candidates.groupby("scan_id")))
    of_real = dict(list(real.groupby("scan_id")))
    scenes = []
    for scan in schema.as_records(scans):
        rows = of_candidates.get(scan["scan_id"], candidates.iloc[:0])
        affine = np.diag([scan["voxel_x_mm"], scan["voxel_y_mm"], scan["slice_mm"], 1.0])
        scenes.append(
            Scene(
                participant=scan["participant_id"],
                contrast=scan["contrast"],
                candidates=rows,
                microbleeds=of_real.get(scan["scan_id"], real.iloc[:0]),
                # Two positions: that of this scan and that of another session of equal voxels.
                spread=2 * midspace.spread(affine, np.eye(4), error_mm),
                density=max(len(rows), 1) / (_MM3_PER_ML * scan["brain_volume_ml"]),
            )
        )
    return scenes


def _position_error(scene: Scene) -> np.ndarray:
    """Standard deviations (3,) in mm of one position; a scene's spread is that of two."""
    return np.sqrt(np.diag(scene.spread) / 2)


def _strangers(scene: Scene, scenes: list[Scene], rng: np.random.Generator) -> list[Scene]:
    """Up to ten random scans of other participants with the same contrast."""
    others = [
        other
        for other in scenes
        if other.contrast == scene.contrast and other.participant != scene.participant
    ]
    return [others[k] for k in rng.permutation(len(others))[:_STRANGERS]]


def _summary(p_missed: list[float], limit: float) -> dict[str, Any]:
    """How many of the places are held to be a missed microbleed, with a Wilson interval."""
    number = len(p_missed)
    above = int(np.sum(np.array(p_missed) >= limit))
    low, high = wilson(above, number)
    return {
        "places": number,
        "held_to_be_there": above,
        "share": above / number if number else None,
        "ci_low": low if number else None,
        "ci_high": high if number else None,
        "mean_p_missed": float(np.mean(p_missed)) if number else None,
    }


def markdown(result: dict[str, Any]) -> str:
    """A row per kind of place of :func:`lookup`."""
    rows = []
    for name, row in result.items():
        share = "-"
        if row["places"]:
            share = f"{row['share']:.3f} ({row['ci_low']:.3f}-{row['ci_high']:.3f})"
        mean = "-" if row["mean_p_missed"] is None else f"{row['mean_p_missed']:.3f}"
        rows.append([name, row["places"], share, mean])
    return (
        markdown_table(["place", "places", "held to be there, 95 %", "mean p_missed"], rows) + "\n"
    )


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.missed DERIVATIVES TRUTH --out OUT``."""
    parser = argparse.ArgumentParser(prog="python -m cmburden.studies.missed")
    parser.add_argument("derivatives", type=Path, help="a run over simulated scans")
    parser.add_argument("truth", type=Path, help="their truth.tsv")
    parser.add_argument("--out", type=Path, required=True, help="folder for lookup.json and .md")
    args = parser.parse_args(arguments)
    settings = config.load()
    result = lookup(
        Layout(args.derivatives),
        evaluate_cases.read_truth(args.truth),
        Rates.of_contract(contract_of(settings, "verify") or {}),
        settings["longitudinal"],
    )
    write_json(args.out / "lookup.json", result)
    with whole_file(args.out / "lookup.md") as temporary:
        temporary.write_text(markdown(result), encoding="utf-8")
    print(markdown(result), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
