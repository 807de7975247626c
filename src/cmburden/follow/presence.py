"""Every lesion of a participant in every session: detected there, or its place examined there.

Everything is in the participant's mid-space, in mm, and the same for any order of the sessions.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from nibabel.affines import apply_affine

from cmburden.core import keys, tables
from cmburden.core.scan import Scan
from cmburden.core.text import natural
from cmburden.follow import midspace
from cmburden.follow.tracks import Looked, Rates, link, look

CENTRE = ["x_mm", "y_mm", "z_mm"]
MIDDLE = ["middle_x_mm", "middle_y_mm", "middle_z_mm"]
_PLACE = ("region", "group", "hemisphere")
_OF_LESION = ("lesion_id", "label", "probability", *CENTRE)


@dataclasses.dataclass(frozen=True)
class Visit:
    """A session in the mid-space: its scan, image and ``candidates``.

    ``pose`` (4 x 4) leads from scanner RAS mm to the mid-space; ``candidates`` are rows of
    ``tables.CANDIDATES``.
    """

    scan: Scan
    image: midspace.Image
    pose: np.ndarray
    candidates: pd.DataFrame

    @functools.cached_property
    def lesions(self) -> pd.DataFrame:
        """The candidates that were kept, with their lesion_id."""
        kept = self.candidates[self._kept].reset_index(drop=True)
        return kept.assign(lesion_id=keys.lesion_numbers(kept))

    @functools.cached_property
    def rejected(self) -> pd.DataFrame:
        """The candidates that were not kept."""
        return self.candidates[~self._kept].reset_index(drop=True)

    @property
    def _kept(self) -> np.ndarray:
        return self.candidates["kept"].fillna(False).to_numpy(dtype=bool)

    @functools.cached_property
    def density(self) -> float:
        """Candidates a mm3 of brain; at least one candidate is assumed."""
        mask, affine = self.image.mask, self.image.affine
        brain_mm3 = mask.sum() * abs(np.linalg.det(affine[:3, :3]))
        return float(max(len(self.candidates), 1) / brain_mm3)

    def middle(self, rows: pd.DataFrame) -> np.ndarray:
        """Centres (n, 3) of ``rows`` in the mid-space."""
        return apply_affine(self.pose, rows[CENTRE].to_numpy(dtype=float).reshape(-1, 3))

    def spread(self, error_mm: float) -> np.ndarray:
        """Covariance (3 x 3, mm2) of a lesion's position in the mid-space."""
        return midspace.spread(self.image.affine, self.pose, error_mm)

    def look_for(self, track: Track, rates: Rates, settings: dict[str, Any]) -> Looked:
        """Probability that a lesion that only other sessions show is in this session as well."""
        return look(
            track.middle,
            self.spread(settings["position_error_mm"]) + track.spread,
            track.probability,
            self.middle(self.rejected),
            self.rejected["probability"].to_numpy(dtype=float),
            self.density,
            rates,
            prior=settings["prior_there"],
            max_mm=settings["max_distance_mm"],
        )


@dataclasses.dataclass(frozen=True)
class Track:
    """A lesion of a participant in the sessions that show it.

    ``lesions`` maps the number of a visit to the lesion's row in it, ``middles`` to its centre (3,)
    in the mid-space. ``spread`` (3 x 3, mm2) is the mean covariance of these centres.
    """

    lesions: dict[int, pd.Series]
    middles: dict[int, np.ndarray]
    spread: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        """Mean of the centres (3,) in the mid-space."""
        return np.mean(list(self.middles.values()), axis=0)

    @property
    def probability(self) -> float:
        """The highest probability that a session gives the lesion."""
        return max(float(lesion["probability"]) for lesion in self.lesions.values())


def presence(
    participant: str, visits: Sequence[Visit], settings: dict[str, Any], rates: Rates
) -> pd.DataFrame:
    """Rows of ``tables.TRACKS``: every lesion of any session, in every session.

    ``settings`` is the section ``longitudinal`` of the configuration, ``rates`` the detector's.
    """
    rows = []
    for number, track in enumerate(_tracks(visits, settings), start=1):
        best = max(
            track.lesions,
            key=lambda k: (track.lesions[k]["probability"], visits[k].scan.scan_id),
        )
        place = {name: track.lesions[best][name] for name in _PLACE}
        for k, visit in enumerate(visits):
            row = place | {
                "participant_id": participant,
                "track_id": number,
                "scan_id": visit.scan.scan_id,
                "session_id": visit.scan.session_id,
                "found": k in track.lesions,
            }
            if k in track.lesions:
                row |= _shown(track.lesions[k], track.middles[k])
            else:
                row |= _missing(visit, track, visit.look_for(track, rates, settings))
            rows.append(row)
    return tables.TRACKS.frame(rows)


def _tracks(visits: Sequence[Visit], settings: dict[str, Any]) -> list[Track]:
    """The participant's lesions, each linked over the sessions, in the order of their numbers."""
    spreads = [visit.spread(settings["position_error_mm"]) for visit in visits]
    middles = [visit.middle(visit.lesions) for visit in visits]
    tracks = [
        Track(
            lesions={k: visits[k].lesions.iloc[row] for k, row in linked.items()},
            middles={k: middles[k][row] for k, row in linked.items()},
            spread=np.mean([spreads[k] for k in linked], axis=0),
        )
        for linked in link(middles, spreads, settings["max_distance_mm"])
    ]
    return sorted(tracks, key=lambda track: _first_shown(track, visits))


def _first_shown(track: Track, visits: Sequence[Visit]) -> tuple[Any, int]:
    """Sort key: the first session by label that shows the track, and the lesion's number there."""
    return min(
        (natural(visits[k].scan.session_id), int(lesion["lesion_id"]))
        for k, lesion in track.lesions.items()
    )


def _shown(lesion: pd.Series, middle: np.ndarray) -> dict[str, Any]:
    """Columns of a track in a session that shows it; ``middle`` (3,) in the mid-space."""
    row = {name: lesion[name] for name in _OF_LESION}
    row |= dict(zip(MIDDLE, np.round(middle, 3), strict=True))
    return row | {"in_view": True, "p_there": 1.0}


def _missing(visit: Visit, track: Track, looked: Looked) -> dict[str, Any]:
    """Columns of a track in a session that does not show it."""
    place = apply_affine(np.linalg.inv(visit.pose), track.middle)
    _, in_brain = midspace.in_view(place, visit.image.mask, visit.image.affine)
    row: dict[str, Any] = dict(zip(CENTRE, np.round(place, 3), strict=True))
    row |= dict(zip(MIDDLE, np.round(track.middle, 3), strict=True))
    row |= {"in_view": bool(in_brain[0]), "p_there": round(looked.probability, 4)}
    if looked.nearby is not None:
        candidate = visit.rejected.iloc[looked.nearby.row]
        row |= {
            "candidate_id": candidate["candidate_id"],
            "candidate_probability": candidate["probability"],
            "candidate_mm": round(looked.nearby.distance_mm, 2),
        }
    return row
