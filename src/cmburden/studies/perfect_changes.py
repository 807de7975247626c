"""Calls of change against simulated truth: ``python -m cmburden.studies.perfect_changes``.

``perfect`` simulates sessions and treats every microbleed as found. It registers, links and calls
with the product's code, so that errors come from registration and matching alone. ``real`` compares
a run's tables with the truth of ``cmburden simulate --sessions``, with the detector's errors too.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from nibabel.affines import apply_affine

from cmburden.cohort import changes
from cmburden.core import config, schema, tables
from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.files import whole_file, write_json
from cmburden.core.keys import seed_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.follow import midspace
from cmburden.follow.presence import Visit, presence
from cmburden.follow.tracks import Rates
from cmburden.studies.change_scores import THERE, as_plain, markdown, score

if TYPE_CHECKING:
    from cmburden.simulate.sources import Source

#: Scans of ``perfect`` only serve registration: coarse voxels and coarse physics, mm.
_VOXEL_MM, _SUB_MM = (2.0, 2.0, 5.0), (2.0, 2.0, 2.5)
#: Share of microbleeds in clusters.
_CLUSTERED = 0.15
#: The part of the scans' rows that `changes` reads.
_ACQUISITION = {
    "contrast": "GRE",
    "field_strength_t": 1.5,
    "status": "ok",
    "echo_time_s": 0.025,
    "slice_mm": 5.0,
    "voxel_x_mm": 2.0,
}
#: Every microbleed has a candidate; the base rate does not matter without rejected candidates.
_PERFECT = Rates(sensitivity=1.0, base_rate=0.5)
#: Probabilities of a candidate that is certainly a microbleed.
_P_CNN, _P_FINAL = 1.0, 0.999
#: The edge of a mask wanders by this standard deviation, smooth over this length, mm (by eye).
_EDGE_MM, _EDGE_SMOOTH_MM = 1.5, 8.0
#: Registration error is measured at every so many voxels of the brain.
_STEP = 200


# --- a perfect detector ---


@dataclasses.dataclass(frozen=True)
class _Visit:
    """A simulated session: its scan, image, candidates, truth (rows) and true pose (4, 4)."""

    scan: Scan
    image: midspace.Image
    candidates: pd.DataFrame
    truth: list[dict[str, Any]]
    pose: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Followed:
    """Rows of the tables of one participant, and each pair's registration errors (points,), mm."""

    pairs: list[dict[str, Any]]
    changes: list[dict[str, Any]]
    lesions: list[dict[str, Any]]
    truth: list[dict[str, Any]]
    errors: list[np.ndarray]


def perfect(
    participants: int, number: int, seed: int, anatomy: list[Path | None], settings: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Simulated participants with ``number`` sessions each, everything found; scored after each.

    Scans have the OATS-like contrast with voxels of 2 x 2 x 5 mm and coarse physics, and no veins:
    they only serve the registration. Brain masks are the true ones with an edge that wanders by
    some millimetres, differently in each session, as that of brain extraction does.
    """
    followed = []
    for k in range(1, participants + 1):
        followed.append(_follow_one(k, number, seed, anatomy[k % len(anatomy)], settings))
        so_far = _joined(followed)
        result = as_plain(
            score(
                tables.PAIRS.frame(so_far.pairs),
                tables.CHANGES.frame(so_far.changes),
                pd.DataFrame(so_far.lesions),
                tables.TRACKED_TRUTH.frame(so_far.truth),
            )
        )
        yield result | {"participants": k, "registration_error_mm": _error_summary(so_far.errors)}


def _joined(participants: list[_Followed]) -> _Followed:
    """The rows and errors of several participants, in their order."""
    names = [field.name for field in dataclasses.fields(_Followed)]
    return _Followed(
        **{name: [row for one in participants for row in getattr(one, name)] for name in names}
    )


def _error_summary(errors: list[np.ndarray]) -> dict[str, float]:
    means = [error.mean() for error in errors]
    return {
        "pairs": len(errors),
        "mean": float(np.mean(means)),
        "worst_mean": float(np.max(means)),
        "largest": float(max(error.max() for error in errors)),
    }


def _follow_one(
    k: int, number: int, seed: int, anatomy: Path | None, settings: dict[str, Any]
) -> _Followed:
    """Participant ``k``: simulated, registered, linked and called."""
    visits = _simulate(k, number, seed, anatomy)
    poses, errors = _register(visits)
    return _call(visits, poses, errors, settings)


def _simulate(k: int, number: int, seed: int, anatomy: Path | None) -> list[_Visit]:
    """The sessions of participant ``k``; the course is drawn first, then each session."""
    from cmburden.simulate import acquisition as aq
    from cmburden.simulate import anatomy as an
    from cmburden.simulate import courses as simulated
    from cmburden.simulate.sources import Findings

    rng = np.random.default_rng(seed_of("perfect", seed, k))
    preset = dataclasses.replace(aq.PRESETS["OATS"], voxel_mm=_VOXEL_MM)
    course = simulated.draw_course(rng, number, simulated.changing(k, number))
    findings = Findings(veins=0.0, clustered=_CLUSTERED)
    head = simulated.draw_head(an.load(anatomy), preset, course, findings, rng)
    visits = []
    for session in range(number):
        of_session = np.random.default_rng(seed_of("perfect", seed, k, session))
        acquisition = aq.vary(preset, of_session)
        made, tracks, pose = simulated.scan_session(
            head, acquisition, session, of_session, sub_mm=_SUB_MM
        )
        mask = wandering(made.brain, preset.voxel_mm, of_session)
        scan = _scan(f"sub-{k:03d}", f"ses-{session + 1}")
        truth = _truth(scan, made.sources, tracks)
        image = midspace.Image(made.image / np.median(made.image[mask]), mask, made.affine)
        visits.append(_Visit(scan, image, _all_found(truth, image), truth, pose))
    return visits


def _register(visits: list[_Visit]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pose of each session (4, 4), and each pair's registration errors (points,), mm."""
    motions, errors = {}, []
    for i, one in enumerate(visits):
        for j in range(i + 1, len(visits)):
            other = visits[j]
            motion = midspace.register_pair(one.image, other.image).motion
            motions[i, j] = motion
            errors.append(_error(one.image, motion, np.linalg.inv(other.pose) @ one.pose))
    centres = np.array([visit.image.centre for visit in visits])
    return midspace.synchronise(motions, centres), errors


def _call(
    visits: list[_Visit],
    poses: list[np.ndarray],
    errors: list[np.ndarray],
    settings: dict[str, Any],
) -> _Followed:
    """Tracks and changes of one participant, whose sessions have these poses in the mid-space."""
    participant = visits[0].scan.participant_id
    together = [
        Visit(visit.scan, visit.image, pose, visit.candidates)
        for visit, pose in zip(visits, poses, strict=True)
    ]
    tracks = presence(participant, together, settings, _PERFECT)
    lesions = tracks[tracks["found"]].assign(macrohaemorrhage=False)
    followed = tables.FOLLOWED_SESSIONS.frame(
        [
            {
                "participant_id": participant,
                "session_id": visit.scan.session_id,
                "scan_id": visit.scan.scan_id,
                "status": "followed",
            }
            for visit in visits
        ]
    )
    scans = pd.DataFrame([{"scan_id": visit.scan.scan_id, **_ACQUISITION} for visit in visits])
    pairs, called = changes.of_cohort(tracks, followed, scans, lesions, pd.DataFrame(), settings)
    return _Followed(
        pairs=pairs,
        changes=called,
        lesions=schema.as_records(lesions[["scan_id", "lesion_id", "x_mm", "y_mm", "z_mm"]]),
        truth=[row for visit in visits for row in visit.truth],
        errors=errors,
    )


def wandering(
    brain: np.ndarray, voxel_mm: tuple[float, float, float], rng: np.random.Generator
) -> np.ndarray:
    """The mask with its edge moved by a smooth random distance, 1.5 mm (standard deviation).

    ``brain`` (x, y, z) is boolean, ``voxel_mm`` the sizes of its voxels.
    """
    from scipy import ndimage

    voxel = np.asarray(voxel_mm)
    noise = ndimage.gaussian_filter(rng.normal(size=brain.shape), _EDGE_SMOOTH_MM / voxel)
    inside = ndimage.distance_transform_edt(brain, voxel)
    outside = ndimage.distance_transform_edt(~brain, voxel)
    # Distances are between voxels' centres: the edge lies half a voxel from both.
    half = voxel.min() / 2
    signed = np.where(brain, inside - half, half - outside)
    return signed + _EDGE_MM * noise / noise.std() > 0


def _scan(participant: str, session: str) -> Scan:
    entities = (("sub", participant.removeprefix("sub-")), ("ses", session.removeprefix("ses-")))
    return Scan(
        scan_id=f"{participant}_{session}_T2starw",
        cohort="perfect",
        participant_id=participant,
        session_id=session,
        suffix="T2starw",
        contrast="GRE",
        path=Path(),
        entities=entities,
    )


def _truth(scan: Scan, sources: Sequence[Source], tracks: list[int]) -> list[dict[str, Any]]:
    """Rows of ``tables.TRACKED_TRUTH`` of a session's microbleeds."""
    return [
        {
            "scan_id": scan.scan_id,
            "cohort": scan.cohort,
            "participant_id": scan.participant_id,
            "session_id": scan.session_id,
            "source_id": number,
            "track_id": track,
            "kind": source.kind,
            "radius_mm": source.visible_mm,
            **dict(zip(("x_mm", "y_mm", "z_mm"), source.centre, strict=True)),
        }
        for number, (source, track) in enumerate(zip(sources, tracks, strict=True), start=1)
        if source.kind in THERE
    ]


def _all_found(truth: list[dict[str, Any]], image: midspace.Image) -> pd.DataFrame:
    """Candidates of a detector that finds every microbleed within the brain mask."""
    places = np.array([[row[f"{axis}_mm"] for axis in "xyz"] for row in truth]).reshape(-1, 3)
    _, in_brain = midspace.in_view(places, image.mask, image.affine)
    return tables.CANDIDATES.frame(
        [
            {
                "scan_id": row["scan_id"],
                "x_mm": row["x_mm"],
                "y_mm": row["y_mm"],
                "z_mm": row["z_mm"],
                "candidate_id": number,
                "p_cnn": _P_CNN,
                "probability": _P_FINAL,
                "kept": True,
                "label": "definite",
                "region": "unknown",
                "group": "unknown",
                "hemisphere": "unknown",
            }
            for number, row in enumerate(truth)
            if in_brain[number]
        ]
    )


def _error(image: midspace.Image, motion: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Distances (n,) in mm between the images of points of the brain under two motions (4, 4)."""
    points = apply_affine(image.affine, np.argwhere(image.mask)[::_STEP])
    return np.linalg.norm(apply_affine(motion - true, points), axis=1)


# --- a run ---


def of_run(layout: Layout, truth: pd.DataFrame) -> dict[str, Any]:
    """A run's `pairs`, `changes` and `lesions` against ``truth`` (``tables.TRACKED_TRUTH``)."""
    pairs = tables.PAIRS.read(layout.table("pairs"))
    pairs = pairs[pairs["scan_id_1"].isin(truth["scan_id"])]
    if pairs.empty:
        raise CMBurdenError(
            f"{layout.table('pairs')}: no pair of sessions of the truth was compared; "
            "run the cohort of `cmburden simulate --sessions` first"
        )
    called = tables.CHANGES.read(layout.table("changes"))
    return as_plain(score(pairs, called, tables.LESIONS.read(layout.table("lesions")), truth))


def read_truth(path: Path) -> pd.DataFrame:
    """The truth table of ``cmburden simulate --sessions`` (``tables.TRACKED_TRUTH``).

    Raises
    ------
    CMBurdenError
        When the file is not such a table.
    """
    try:
        rows = pd.read_csv(path, sep="\t", na_values=["n/a"])
        rows["kind"] = rows["kind"].fillna("none")
        return tables.TRACKED_TRUTH.frame(rows)
    except (OSError, ValueError, KeyError) as error:
        raise CMBurdenError(
            f"{path}: not a truth table of `cmburden simulate --sessions` ({error})"
        ) from error


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.perfect_changes {perfect,real}``."""
    args = _parsed(arguments)
    text = ""
    for result in _results(args):
        text = markdown(result)
        write_json(args.out / f"changes_{args.way}.json", result)
        with whole_file(args.out / f"changes_{args.way}.md") as temporary:
            temporary.write_text(text, encoding="utf-8")
        if args.way == "perfect":
            print(f"{result['participants']} of {args.participants} participants", flush=True)
    print(text, end="")
    return 0


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m cmburden.studies.perfect_changes")
    ways = parser.add_subparsers(required=True, dest="way", metavar="{perfect,real}")
    ideal = ways.add_parser("perfect", help="simulate; every microbleed is found")
    ideal.add_argument("--participants", type=int, default=20)
    ideal.add_argument("--sessions", type=int, default=3)
    ideal.add_argument("--anatomy", type=Path, help="folder of label maps; none: MNI152 template")
    ideal.add_argument("--people", help="label maps to use, first-last from 1")
    ideal.add_argument("--seed", type=int, default=0)
    real = ways.add_parser("real", help="a run over `cmburden simulate --sessions`")
    real.add_argument("derivatives", type=Path)
    real.add_argument("truth", type=Path)
    for way in (ideal, real):
        way.add_argument("--out", type=Path, required=True, help="folder for changes.json and .md")
    return parser.parse_args(arguments)


def _results(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Results of the way that the arguments name: one, or for ``perfect`` one per participant."""
    if args.way == "real":
        yield of_run(Layout(args.derivatives), read_truth(args.truth))
        return
    from cmburden.simulate.anatomy import available, selected

    maps = selected(available(args.anatomy), args.people)
    settings = config.load()["longitudinal"]
    yield from perfect(args.participants, args.sessions, args.seed, maps, settings)


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
