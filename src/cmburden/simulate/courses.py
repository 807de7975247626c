"""Participants followed over sessions: the head moves, most microbleeds stay, some come or go.

All findings of a person (veins, calcifications, microbleeds, lesions of white matter) are drawn
once, in head mm. Each session shows them with another pose, slice position, angle and noise.

Order of draws (a contract, as in ``scan``): of a participant the course, the findings, the head
(:func:`draw_head`) and the day of the first session; of a session, by the session's own seed, the
acquisition, the pose, the scan, and the time to the next session.
"""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import torch

from cmburden.core import tables
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import whole_file
from cmburden.core.keys import seed_of
from cmburden.images import volume as images
from cmburden.simulate import acquisition as aq
from cmburden.simulate import anatomy as an
from cmburden.simulate import cohort, pathology, placing, sources, vessels
from cmburden.simulate.acquisition import Acquisition
from cmburden.simulate.grid import SUB_MM, brain_box, voxel_points
from cmburden.simulate.scan import VEIN_PPM, Given, Simulated, simulate, vessel_sources
from cmburden.simulate.sources import Findings, Source, usual_findings

#: Head pose between visits, standard deviations: degrees about each axis, mm along each. By choice.
TURN_DEG, SHIFT_MM = 4.0, 4.0
#: The head's own grid, mm, on which vessels grow; and its margin about the brain, mm.
_GRID_MM, _MARGIN_MM = 1.0, 8
#: Microbleeds that persist: at least and at most. Chosen so that every participant has some.
_PERSISTING = (1, 8)
#: Microbleeds gained in an interval with changes: from the first to one less than the second; and
#: how often one is lost. By choice.
_GAINED, _LOST_SHARE = (1, 5), 0.4
#: First sessions lie within this year; days between sessions: from the first to one less than the
#: second.
_BASELINE = datetime.datetime(2015, 3, 2, 10, 0, 0)
_FIRST_YEAR_DAYS, _BETWEEN_DAYS = 365, (330, 900)
_DAYS_A_YEAR = 365.25


@dataclasses.dataclass(frozen=True)
class Moved:
    """Scan mm of a session to anatomy mm: the pose, then the person's own deformation.

    ``rigid`` (4, 4) takes scan mm to head mm.
    """

    rigid: np.ndarray
    deform: an.Deformation

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        """``points`` (..., 3) mm in scan space to mm in anatomy space."""
        return self.deform(_moved(self.rigid, points))


def _moved(matrix: np.ndarray, points: torch.Tensor) -> torch.Tensor:
    """``points`` (..., 3) through ``matrix`` (4, 4), float32."""
    by = torch.as_tensor(matrix, dtype=torch.float32)
    return points @ by[:3, :3].T + by[:3, 3]


@dataclasses.dataclass(frozen=True, eq=False)
class Head:
    """Everything that one person has, in head mm.

    ``veins`` with the susceptibility of their blood and ``crossings``, the vessels that the truth
    names; ``sources``, of which ``present`` holds the sessions of each. ``tissue`` (x, y, z) is the
    factor of the signal less 1, on a grid with ``affine``, or None.
    """

    person: an.Anatomy
    deform: an.Deformation
    veins: vessels.Veins
    vein_ppm: float
    crossings: list[Source]
    sources: list[Source]
    present: list[tuple[int, ...]]
    tissue: np.ndarray | None
    affine: np.ndarray

    def given(self, rigid: np.ndarray, session: int) -> tuple[Given, list[int]]:
        """A session's part of the head in scan mm, and the track of each source, then crossing.

        ``rigid`` (4, 4) takes scan mm to head mm.
        """
        back = np.linalg.inv(rigid)

        def here(source: Source) -> Source:
            return dataclasses.replace(source, centre=nib.affines.apply_affine(back, source.centre))

        def tissue(points: torch.Tensor) -> torch.Tensor:
            if self.tissue is None:
                return torch.ones(points.shape[:-1])
            return 1 + an.sample(self.tissue, self.affine, _moved(rigid, points))

        there = [k for k, sessions in enumerate(self.present) if session in sessions]
        crossings = range(len(self.sources), len(self.sources) + len(self.crossings))
        given = Given(
            self.veins.through(back),
            self.vein_ppm,
            [here(one) for one in self.crossings],
            [here(self.sources[k]) for k in there],
            tissue,
        )
        return given, [k + 1 for k in (*there, *crossings)]


@dataclasses.dataclass(frozen=True)
class SimulatedCourse:
    """A person's microbleeds by the sessions in which they are present.

    ``persisting`` of them are present in all sessions; ``gained`` and ``lost`` hold the number of
    each interval.
    """

    persisting: int
    gained: tuple[int, ...]
    lost: tuple[int, ...]

    def present(self) -> list[tuple[int, ...]]:
        """Sessions of each microbleed, 0 the first.

        >>> SimulatedCourse(1, (0, 1), (1, 0)).present()
        [(0, 1, 2), (2,), (0,)]
        """
        every = tuple(range(len(self.gained) + 1))
        present = [every] * self.persisting
        for k, number in enumerate(self.gained):
            present += [every[k + 1 :]] * number
        for k, number in enumerate(self.lost):
            present += [every[: k + 1]] * number
        return present


def draw_course(rng: np.random.Generator, sessions: int, changes: list[bool]) -> SimulatedCourse:
    """A course in which interval k changes where ``changes[k]``.

    One to eight microbleeds persist. In an interval with changes one to four are gained and at
    times one is lost. Order of draws: persisting, gained by interval, lost by interval.
    """
    persisting = int(np.clip(np.round(np.exp(rng.normal(*cohort.COUNT_LOG))), *_PERSISTING))
    gained = tuple(int(rng.integers(*_GAINED)) if changes[k] else 0 for k in range(sessions - 1))
    lost = tuple(int(rng.random() < _LOST_SHARE) if changes[k] else 0 for k in range(sessions - 1))
    return SimulatedCourse(persisting, gained, lost)


def draw_pose(rng: np.random.Generator) -> np.ndarray:
    """A rigid motion (4, 4): scan mm of a session to head mm. Draws: three angles, three shifts."""
    pose = np.eye(4)
    pose[:3, :3] = nib.eulerangles.euler2mat(*np.deg2rad(rng.normal(0, TURN_DEG, 3)))
    pose[:3, 3] = rng.normal(0, SHIFT_MM, 3)
    return pose


def draw_head(
    person: an.Anatomy,
    acquisition: Acquisition,
    course: SimulatedCourse,
    findings: Findings,
    rng: np.random.Generator,
) -> Head:
    """One person with the microbleeds of ``course`` and everything else of ``findings``.

    A reader would see each microbleed in even tissue at this acquisition.

    Order of draws: deformation, veins (none where ``findings.veins`` is 0), crossing vessels, the
    susceptibility of blood, sources, which microbleed has which sessions, changes of tissue.
    """
    deform = an.deformation(person, rng)
    low, high = brain_box(person, deform)
    shape = np.ceil((high - low + 2 * _MARGIN_MM) / _GRID_MM).astype(int)
    affine = np.diag([_GRID_MM] * 3 + [1.0])
    affine[:3, 3] = low - _MARGIN_MM
    anatomy = an.on_grid(person, an.lookup_of(person, deform(voxel_points(affine, shape))), affine)

    labels, wall = anatomy.labels, anatomy.to_ventricle
    grown = [vessels.grow(labels, wall, findings.veins, rng)] if findings.veins else []
    crossing, middles = vessels.crossing(labels, findings.crossing_vessels, rng)
    veins = vessels.Veins.joined([*grown, *crossing]).through(affine)
    vein_ppm = float(rng.uniform(*VEIN_PPM))
    crossings = vessel_sources(crossing, nib.affines.apply_affine(affine, middles), vein_ppm)

    present = course.present()

    def grade(source: Source) -> str:
        return _grade_alone(source, acquisition, rng)

    drawing = placing.Drawing(anatomy, acquisition, veins.points, grade, rng)
    drawn = drawing.draw(dataclasses.replace(findings, microbleeds=len(present)))
    # Which microbleeds stay, come and go is chance; all other sources stay.
    rng.shuffle(present)
    courses = iter(present)
    every = tuple(range(len(course.gained) + 1))
    sessions = [next(courses) if source.kind == "microbleed" else every for source in drawn]
    factor = pathology.tissue_factor(anatomy, acquisition.csf, findings, rng)
    tissue = None if factor is None else factor - 1
    return Head(person, deform, veins, vein_ppm, crossings, drawn, sessions, tissue, affine)


def _grade_alone(source: Source, acquisition: Acquisition, rng: np.random.Generator) -> str:
    """Grade of a source in even tissue: 'microbleed' or 'unseen'.

    A head holds no faint bleeds; a session may well show a microbleed as faint. Draws: the source's
    place in its voxel.
    """
    loss = sources.loss_in_even_tissue(source, acquisition, rng)
    call = sources.grade(loss, 1.0, 1 / acquisition.snr)
    return "microbleed" if call == "microbleed" else "unseen"


def scan_session(
    head: Head,
    acquisition: Acquisition,
    session: int,
    rng: np.random.Generator,
    *,
    sub_mm: tuple[float, float, float] = SUB_MM,
) -> tuple[Simulated, list[int], np.ndarray]:
    """One session's scan, the track of each of its sources, and its pose (scan mm to head mm)."""
    pose = draw_pose(rng)
    given, tracks = head.given(pose, session)
    moved = Moved(pose, head.deform)
    scan = simulate(head.person, moved, acquisition, rng, Findings(), given=given, sub_mm=sub_mm)
    return scan, tracks, pose


def followed_findings(rng: np.random.Generator) -> Findings:
    """Findings of an old person, without those that change the count by themselves.

    These are cavernomas, large haemorrhages and siderosis.
    """
    return dataclasses.replace(
        usual_findings(rng, 0), cavernomas=0, macrohaemorrhages=0, siderosis=0
    )


def changing(number: int, sessions: int) -> list[bool]:
    """Which intervals of the ``number``-th participant change.

    With three sessions one interval is without any change, the first and the second in turn; with
    two sessions every third participant is.

    >>> [changing(n, 3) for n in (1, 2)], [changing(n, 2) for n in (1, 2, 3)]
    ([[True, False], [False, True]], [[True], [True], [False]])
    """
    if sessions == 2:
        return [number % 3 != 0]
    return [k % 2 == (number + 1) % 2 for k in range(sessions - 1)]


def write_participant(
    plan: cohort.ParticipantPlan, number: int, sessions: int, root: Path
) -> list[dict[str, Any]]:
    """Simulate a participant's sessions below ``root``; returns the rows of the truth."""
    rng = np.random.default_rng(seed_of("sessions", plan.seed))
    preset = aq.PRESETS[plan.cohort]
    course = draw_course(rng, sessions, changing(number, sessions))
    head = draw_head(an.load(plan.anatomy), preset, course, followed_findings(rng), rng)
    rows: list[dict[str, Any]] = []
    visits = []
    time = _BASELINE + datetime.timedelta(days=int(rng.integers(_FIRST_YEAR_DAYS)))
    for session in range(sessions):
        # Each session has its own seed: one more session changes none before it.
        session_rng = np.random.default_rng(seed_of("session", plan.seed, session))
        name = f"ses-{session + 1}"
        rows += _write_session(plan, head, session, name, root, session_rng)
        age = plan.age + (time - _BASELINE).days / _DAYS_A_YEAR
        visits.append((name, time.isoformat(), round(age, 1)))
        time += datetime.timedelta(days=int(session_rng.integers(*_BETWEEN_DAYS)))
    with whole_file(root / plan.participant_id / f"{plan.participant_id}_sessions.tsv") as path:
        pd.DataFrame(visits, columns=["session_id", "acq_time", "age"]).to_csv(
            path, sep="\t", index=False
        )
    return rows


def _write_session(
    plan: cohort.ParticipantPlan,
    head: Head,
    session: int,
    name: str,
    root: Path,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Write one session's scan and brain mask; returns its rows of the truth."""
    acquisition = aq.vary(aq.PRESETS[plan.cohort], rng)
    scan, tracks, _ = scan_session(head, acquisition, session, rng)
    stem = f"{plan.participant_id}_{name}_{acquisition.suffix}"
    cohort.write_scan(root / plan.participant_id / name / "anat", stem, scan, acquisition)
    mask = root / "sourcedata" / "truth" / f"{plan.participant_id}_{name}_brain.nii.gz"
    images.save_volume(mask, scan.brain, scan.affine, np.uint8, compression=cohort.COMPRESSION)
    # A scan without any source has one row, which belongs to no track.
    row_tracks: list[int | None] = [*tracks] or [None]
    return [
        row | {"session_id": name, "track_id": track}
        for row, track in zip(cohort.truth_rows(plan, stem, scan), row_tracks, strict=True)
    ]


def run(
    out: Path,
    *,
    presets: list[str],
    participants: int,
    sessions: int,
    seed: int,
    anatomy: Path | None = None,
    people: str | None = None,
    jobs: int = 2,
) -> pd.DataFrame:
    """Write a cohort with ``sessions`` sessions each to ``out``, its truth to ``out``/../truth.tsv.

    Everybody has microbleeds, nobody a T1w. Returns the truth (``tables.TRACKED_TRUTH``), a row a
    source and session; all rows of one source of a participant have the same ``track_id``.

    Raises
    ------
    CMBurdenError
        For fewer than two sessions, an unknown preset, or a folder that holds files.
    """
    out = Path(out)
    if sessions < 2:
        raise CMBurdenError("--sessions: give 2 or more")
    unknown = sorted(set(presets) - set(aq.PRESETS))
    if unknown:
        raise CMBurdenError(f"presets {unknown} have no sessions; choose from {[*aq.PRESETS]}")
    plans = cohort.prepared(
        out,
        presets,
        participants,
        seed,
        anatomy=anatomy,
        people=people,
        positive_share=1.0,
        t1w_share=0.0,
    )
    work = [(plan, int(plan.participant_id[-3:]), sessions, out) for plan in plans]
    return cohort.write_all(write_participant, work, out, tables.TRACKED_TRUTH, jobs)
