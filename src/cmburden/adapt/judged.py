"""What is known of the detections of a scan: confirmed, rejected, or nothing, which is left out.

Nobody has judged most detections: they may be microbleeds or not. Training takes them, and what is
about them, neither for the one nor for the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cmburden.cohort import verdicts
from cmburden.cohort.places import POSSIBLE, definite
from cmburden.core.paths import Layout
from cmburden.core.tables import LABELS, RADIUS_MM, REVIEWED, REVIEWS
from cmburden.review import store
from cmburden.stats.matching import reaches
from cmburden.train.slabs import FAINT, MICROBLEED

#: A candidate that nobody judged is left out from this probability on, below the threshold of
#: possible ones too: the models are not at home on these scans. By choice.
DOUBTFUL_P = 0.02
#: What is left out about a detection, beyond its radius, mm. By choice.
ABOUT_MM = 2.0
#: Kind of source of training for a reader's class of what is no microbleed.
_KIND = {
    "vessel": "vessel",
    "calcification": "calcification",
    "border": "border",
    "haemorrhage": "macrohaemorrhage",
}
#: Kind of what readers rejected without a class.
_OTHER = "vessel"
_AT = ["x_mm", "y_mm", "z_mm"]


@dataclasses.dataclass(frozen=True)
class Known:
    """Something at a place of a scan, scanner RAS mm: a source of training, of its ``kind``."""

    at: tuple[float, float, float]
    radius_mm: float
    kind: str


@dataclasses.dataclass(frozen=True, eq=False)
class Verdicts:
    """Rows of `reviewed` (columns of places), settled from the readers' files as they are now."""

    places: pd.DataFrame

    @property
    def disputed(self) -> int:
        """Places on which the readers disagree."""
        return int((self.places["settled"] == "disputed").sum())

    @property
    def confirmed(self) -> pd.DataFrame:
        """Places that the readers hold for definite microbleeds."""
        return self.places[definite(self.places).fillna(False).to_numpy(dtype=bool)]

    @property
    def rejected(self) -> pd.DataFrame:
        """Places that the readers hold for no microbleed."""
        return self.places[self.places["microbleed"].eq(False).fillna(False).to_numpy(dtype=bool)]


def read(layout: Layout, scans: pd.DataFrame) -> Verdicts:
    """The verdicts of a run's readers on ``scans`` (rows of `scans`); none where nobody read."""
    reviewed = store.export(layout)
    if reviewed is None:
        return Verdicts(REVIEWED.frame([]))
    reviews = REVIEWS.read(reviewed)
    candidates = verdicts.candidates_of(layout, set(reviews["scan_id"]))
    places = verdicts.settle(reviews, candidates, scans).places
    return Verdicts(REVIEWED.frame(places if len(places) else []))


def known_of(candidates: pd.DataFrame, places: pd.DataFrame) -> tuple[Known, ...]:
    """What is known of a scan: ``candidates`` of the run, ``places`` that readers judged.

    The order is that of the places, then of the candidates that nobody judged.
    """
    known = [_of_place(row) for row in places.to_dict("records")]
    judged = set(places["candidate_id"].dropna().astype(int))
    doubtful = candidates["label"].isin(LABELS) | (candidates["probability"] >= DOUBTFUL_P)
    for row in candidates[doubtful.fillna(False).to_numpy(dtype=bool)].to_dict("records"):
        if int(row["candidate_id"]) not in judged:
            known.append(_left_out(row))
    return tuple(known)


def _of_place(row: Mapping[str, Any]) -> Known:
    """A place with a verdict, or left out where the readers have none, or hold it for possible."""
    microbleed = row["microbleed"]
    if microbleed is None or pd.isna(microbleed):
        return _left_out(row)
    name = None if pd.isna(row["reviewed_class"]) else str(row["reviewed_class"])
    if not microbleed:
        return Known(_at(row), _radius(row), _KIND.get(name or "", _OTHER))
    if name == POSSIBLE:
        return _left_out(row)
    return Known(_at(row), _radius(row), MICROBLEED)


def _left_out(row: Mapping[str, Any]) -> Known:
    return Known(_at(row), _radius(row) + ABOUT_MM, FAINT)


def _at(row: Mapping[str, Any]) -> tuple[float, float, float]:
    x, y, z = (float(row[name]) for name in _AT)
    return x, y, z


def _radius(row: Mapping[str, Any]) -> float:
    diameter = row.get("diameter_mm")
    return RADIUS_MM if diameter is None or pd.isna(diameter) else float(diameter) / 2


def near(points: np.ndarray, known: tuple[Known, ...], kinds: tuple[str, ...]) -> np.ndarray:
    """Whether each of ``points`` (n, 3) lies within the radius, or 3 mm, of one of the kinds."""
    chosen = [one for one in known if one.kind in kinds]
    if not chosen or not len(points):
        return np.zeros(len(points), bool)
    centres = np.array([one.at for one in chosen])
    radii = np.array([one.radius_mm for one in chosen])
    return np.asarray(reaches(points, centres, radii)[1].any(axis=1))
