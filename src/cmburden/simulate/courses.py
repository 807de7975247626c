"""Participants followed over sessions: the head moves, most microbleeds stay, some come or go.

What a person has (veins, calcifications, microbleeds, lesions of white matter) is drawn once in the
head's own millimetres; each session sees it with another pose, slice position, angle and noise.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
from pathlib import Path

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
from cmburden.simulate import cohort, pathology, sources, vessels
from cmburden.simulate.acquisition import Acquisition
from cmburden.simulate.physics import phase_per_ppm
from cmburden.simulate.scan import VEIN_PPM, Given, Simulated, brain_box, simulate, vessel_sources
from cmburden.simulate.sources import Findings, Source, usual_findings

#: Head pose between visits, standard deviations: degrees about each axis, mm along each.
TURN_DEG, SHIFT_MM = 4.0, 4.0
#: The head's own grid, mm: what vessels are grown on.
_GRID_MM = 1.0
_BASELINE = datetime.datetime(2015, 3, 2, 10, 0, 0)


@dataclasses.dataclass(frozen=True)
class Moved:
    """Scan mm of a session to anatomy mm: the pose ``rigid`` (4 x 4, scan to head), then the
    person's own deformation."""

    rigid: np.ndarray
    deform: an.Deformation

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        matrix = torch.as_tensor(self.rigid, dtype=torch.float32)
        return self.deform(points @ matrix[:3, :3].T + matrix[:3, 3])


@dataclasses.dataclass(frozen=True)
class Head:
    """What one person has, in head mm. ``present[k]`` holds the sessions of ``sources[k]``.

    ``tissue`` (x, y, z) is the factor of the signal less 1, on a grid with ``affine``, or None.
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
        """What a session with pose ``rigid`` sees, and the track of each source (then crossing)."""
        back = np.linalg.inv(rigid)

        def here(source: Source) -> Source:
            return dataclasses.replace(source, centre=_through(back, source.centre))

        there = [k for k, sessions in enumerate(self.present) if session in sessions]
        matrix = torch.as_tensor(rigid, dtype=torch.float32)

        def tissue(points: torch.Tensor) -> torch.Tensor:
            if self.tissue is None:
                return torch.ones(points.shape[:-1])
            at = points @ matrix[:3, :3].T + matrix[:3, 3]
            return 1 + an.sample(self.tissue, self.affine, at)

        return Given(
            self.veins.through(back),
            self.vein_ppm,
            [here(one) for one in self.crossings],
            [here(self.sources[k]) for k in there],
            tissue,
        ), [k + 1 for k in (*there, *range(len(self.sources),
                                           len(self.sources) + len(self.crossings)))]  # fmt: skip


def _through(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


@dataclasses.dataclass(frozen=True)
class Course:
    """Microbleeds of a person by when they are there: numbers of those that stay over all sessions,
    and of those gained and lost at each interval."""

    persisting: int
    gained: tuple[int, ...]
    lost: tuple[int, ...]

    def present(self) -> list[tuple[int, ...]]:
        """Sessions of each microbleed, 0 the first.

        >>> Course(1, (0, 1), (1, 0)).present()
        [(0, 1, 2), (2,), (0,)]
        """
        every = range(len(self.gained) + 1)
        found = [tuple(every)] * self.persisting
        for k, number in enumerate(self.gained):
            found += [tuple(s for s in every if s > k)] * number
        for k, number in enumerate(self.lost):
            found += [tuple(s for s in every if s <= k)] * number
        return found


def draw_course(rng: np.random.Generator, sessions: int, changes: list[bool]) -> Course:
    """A course in which an interval k changes where ``changes[k]``: then one to four are gained and
    at times one is lost. One to eight persist."""
    persisting = int(np.clip(np.round(np.exp(rng.normal(*cohort.COUNT_LOG))), 1, 8))
    gained = tuple(int(rng.integers(1, 5)) if changes[k] else 0 for k in range(sessions - 1))
    lost = tuple(int(rng.random() < 0.4) if changes[k] else 0 for k in range(sessions - 1))
    return Course(persisting, gained, lost)


def draw_pose(rng: np.random.Generator) -> np.ndarray:
    """4 x 4 of a rigid motion: scan mm of a session to head mm."""
    pose = np.eye(4)
    pose[:3, :3] = nib.eulerangles.euler2mat(*np.deg2rad(rng.normal(0, TURN_DEG, 3)))
    pose[:3, 3] = rng.normal(0, SHIFT_MM, 3)
    return pose


def draw_head(
    person: an.Anatomy, acquisition: Acquisition, course: Course, findings: Findings,
    rng: np.random.Generator,
) -> Head:  # fmt: skip
    """One person with ``course``'s microbleeds and what else ``findings`` says.

    Microbleeds are such as a reader would see in even tissue at this acquisition.
    """
    deform = an.deformation(person, rng)
    low, high = brain_box(person, deform)
    shape = np.ceil((high - low + 16) / _GRID_MM).astype(int)
    affine = np.diag([_GRID_MM] * 3 + [1.0])
    affine[:3, 3] = low - 8
    index = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in shape), indexing="ij"), -1)
    at = deform(index * _GRID_MM + torch.as_tensor(affine[:3, 3], dtype=torch.float32))
    labels = an.sample(person.labels, person.affine, at, nearest=True).numpy().astype(np.int16)
    wall = an.sample(person.to_ventricle, person.affine, at).numpy()
    grey = an.sample(person.to_deep_grey, person.affine, at).numpy()
    del index, at

    grown = [vessels.grow(labels, wall, findings.veins, rng)] if findings.veins else []
    crossing, middles = vessels.crossing(labels, findings.crossing_vessels, rng)
    veins = vessels.Veins.joined([*grown, *crossing]).through(affine)
    vein_ppm = float(rng.uniform(*VEIN_PPM))
    named = vessel_sources(crossing, _through(affine, middles), vein_ppm)

    present = course.present()
    radians = phase_per_ppm(acquisition.field_t, acquisition.echo_time_s)
    still, box = np.diag([*acquisition.voxel_mm, 1.0]), (41, 41, 21)
    middle = still[:3, :3] @ (np.array(box) // 2)

    def seen(source: Source) -> str:
        centre = middle + rng.uniform(-0.5, 0.5, 3) * acquisition.voxel_mm
        alone = dataclasses.replace(source, centre=centre)
        up = np.array([0, 0, 1.0])
        _, left = sources.source_signal(alone, still, box, up, radians)
        loss = sources.darkest_loss(left, acquisition)
        call = sources.grade(loss, 1.0, 1 / acquisition.snr)
        # All are microbleeds in even tissue; a session may well show one as faint.
        return "microbleed" if call == "microbleed" else "unseen"

    drawing = sources.Drawing((labels, wall, grey, affine), acquisition, veins.points, seen, rng)
    drawn = drawing.draw(dataclasses.replace(findings, microbleeds=len(present)))
    # Which of them stay, come and go is chance; what else there is stays.
    rng.shuffle(present)
    bleeds = iter(present)
    every = tuple(range(len(course.gained) + 1))
    own = [next(bleeds) if source.kind == "microbleed" else every for source in drawn]
    fluid = acquisition.csf
    tissue = pathology.tissue_factor(labels, wall, affine, fluid, findings, rng)
    tissue = None if tissue is None else tissue - 1
    return Head(person, deform, veins, vein_ppm, named, drawn, own, tissue, affine)


def scan_session(
    head: Head, acquisition: Acquisition, session: int, rng: np.random.Generator, **further
) -> tuple[Simulated, list[int], np.ndarray]:
    """One session's scan, the track of each of its sources, and its pose (scan mm to head mm)."""
    pose = draw_pose(rng)
    given, tracks = head.given(pose, session)
    scan = simulate(
        head.person, Moved(pose, head.deform), acquisition, rng, Findings(), given=given, **further
    )
    return scan, tracks, pose


def followed_findings(rng: np.random.Generator) -> Findings:
    """As of an old person, but nothing that itself changes the count: no cavernoma, no large
    haemorrhage, no siderosis."""
    return dataclasses.replace(
        usual_findings(rng, 0), cavernomas=0, macrohaemorrhages=0, siderosis=0
    )  # fmt: skip


def changing(number: int, sessions: int) -> list[bool]:
    """Which intervals of the ``number``-th participant change: with three sessions one is without
    any change, the first and the second in turn; with two, in every third participant.

    >>> [changing(n, 3) for n in (1, 2)], [changing(n, 2) for n in (1, 2, 3)]
    ([[True, False], [False, True]], [[True], [True], [False]])
    """
    if sessions == 2:
        return [number % 3 != 0]
    return [k % 2 == (number + 1) % 2 for k in range(sessions - 1)]


def write_participant(plan: cohort.Plan, number: int, sessions: int, root: Path) -> list[dict]:
    """Simulate a participant's sessions below ``root``; returns the rows of the truth."""
    rng = np.random.default_rng(seed_of("sessions", plan.seed))
    preset = aq.PRESETS[plan.cohort]
    course = draw_course(rng, sessions, changing(number, sessions))
    head = draw_head(an.load(plan.anatomy), preset, course, followed_findings(rng), rng)
    rows, visits, time = [], [], _BASELINE + datetime.timedelta(days=int(rng.integers(365)))
    for session in range(sessions):
        # Each session has a seed of its own: one more session changes none before it.
        own = np.random.default_rng(seed_of("session", plan.seed, session))
        acquisition = aq.vary(preset, own)
        scan, tracks, _ = scan_session(head, acquisition, session, own)
        name = f"ses-{session + 1}"
        stem = f"{plan.participant_id}_{name}_{acquisition.suffix}"
        folder = root / plan.participant_id / name / "anat"
        cohort.write_scan(folder, stem, scan, acquisition)
        truth = root / "sourcedata" / "truth" / f"{plan.participant_id}_{name}_brain.nii.gz"
        images.save_volume(truth, scan.brain, scan.affine, np.uint8)
        own_rows = cohort.truth_rows(plan, stem, scan)
        for row, track in zip(own_rows, tracks or [None], strict=True):
            rows.append(row | {"session_id": name, "track_id": track})
        years = (time - _BASELINE).days / 365.25
        visits.append((name, time.isoformat(), round(plan.age + years, 1)))
        time += datetime.timedelta(days=int(own.integers(330, 900)))
    with whole_file(root / plan.participant_id / f"{plan.participant_id}_sessions.tsv") as path:
        pd.DataFrame(visits, columns=["session_id", "acq_time", "age"]).to_csv(
            path, sep="\t", index=False
        )
    return rows


def run(
    out: Path, *, presets: list[str], participants: int, sessions: int, seed: int,
    anatomy: Path | None = None, people: str | None = None, jobs: int = 2,
) -> pd.DataFrame:  # fmt: skip
    """Write a cohort with ``sessions`` sessions each to ``out``, its truth to ``out``/../truth.tsv.

    Everybody has microbleeds, nobody a T1w. Returns the truth (``tables.TRACKED_TRUTH``): a row a
    source and session; ``track_id`` is one source's in all sessions of a participant.
    """
    out = Path(out)
    if sessions < 2:
        raise CMBurdenError("--sessions: give 2 or more")
    unknown = sorted(set(presets) - set(aq.PRESETS))
    if unknown:
        raise CMBurdenError(f"presets {unknown} have no sessions; choose from {[*aq.PRESETS]}")
    plans = cohort.prepared(
        out, presets, participants, seed, anatomy=anatomy, people=people, positive_share=1.0,
        t1w_share=0.0,
    )  # fmt: skip
    work = [(plan, int(plan.participant_id[-3:]), sessions, out) for plan in plans]
    return cohort.write_all(write_participant, work, out, tables.TRACKED_TRUTH, jobs)


def main(args: argparse.Namespace) -> int:
    truth = run(
        args.out, presets=args.presets, participants=args.participants, sessions=args.sessions,
        seed=args.seed, anatomy=args.anatomy, people=args.people, jobs=args.jobs,
    )  # fmt: skip
    real = truth[truth["kind"] == "microbleed"]
    tracks = real[["participant_id", "track_id"]].drop_duplicates()
    print(f"{args.out}: {truth['scan_id'].nunique()} scans, {len(tracks)} microbleeds followed")
    return 0
