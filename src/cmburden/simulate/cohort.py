"""A simulated BIDS cohort: scans, T1w of some, participants.tsv, sidecars and the truth.

Order of draws (a contract, as in ``scan``): :func:`plan_cohort` draws each participant's plan by a
seed of its own, before any image; :func:`write_participant` then draws, by the plan's seed, the
deformation, the acquisition, the findings, the scan, and the T1w. The phase image is drawn by a
seed of its own (``phase_images``).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from scipy import ndimage, stats

from cmburden.core import schema, tables, truth_origin
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import whole_file, write_json
from cmburden.core.keys import seed_of
from cmburden.core.threads import end_with_parent
from cmburden.images import volume as images
from cmburden.simulate import acquisition as aq
from cmburden.simulate import anatomy as an
from cmburden.simulate import phase_images
from cmburden.simulate.mimics import MANY, POPULATION
from cmburden.simulate.scan import Simulated, simulate
from cmburden.simulate.sources import population_findings, usual_findings

#: Microbleeds of a scan with some: lognormal, mean and deviation of its logarithm (957 microbleeds
#: of five published sets: median 2, 90 % 11); and the most that a scan gets.
COUNT_LOG, _MOST = (0.69, 1.33), 60
#: The quantile that a count is drawn at stays away from 0 and 1 by this.
_LEAST_QUANTILE = 1e-9
#: Age of participants, years: mean, standard deviation and limits. By choice.
_AGE, _AGE_LIMITS = (74, 8), (50, 95)
#: BIDS writes no age above this one: few people are older, and could be recognised.
_MOST_AGE_WRITTEN = 89.0
#: Presence of microbleeds: odds at the reference age (15 %) and the odds ratio of ten years. By
#: choice, after population studies.
_REFERENCE_AGE, _REFERENCE_ODDS, _ODDS_RATIO_DECADE = 70, 0.15 / 0.85, 1.8
_README = (
    "# Simulated GRE and SWI scans\n\nMade by `cmburden simulate`: no person was scanned. "
    "The microbleeds are listed in `truth.tsv` beside this folder.\n"
)
#: Steps of low-discrepancy sequences over participants (fractional parts of multiples): the golden
#: ratio for presence, the plastic number for T1w. Any run of participants then has nearly the share
#: that is asked for.
_PRESENCE_STEP, _T1W_STEP = 0.618034, 0.7548

#: Brightness of a T1w by label code; other codes the last value. By eye.
_T1W = {
    **dict.fromkeys(an.WHITE, 1.0),
    **dict.fromkeys(an.CORTEX, 0.65),
    **dict.fromkeys((4, 14, 15, 43, an.CSF), 0.2),
    an.SOFT: 0.5,
    an.BONE: 0.1,
    an.MARROW: 0.95,
    an.AIR: 0.02,
    0: 0.02,
}
_T1W_OTHER = 0.7
#: Grid of a T1w: step, mm, along each axis, and half its width in steps' units, mm.
_T1W_MM, _T1W_AXES, _T1W_HALF_MM = 1.2, (0.85, 1.05, 0.95), 100
#: The head's motion before the T1w: standard deviation in degrees and mm. By choice.
_T1W_TURN_DEG, _T1W_SHIFT_MM = 1.0, 1.0
#: Smoothing, voxels, and noise of a T1w, white matter 1.
_T1W_SMOOTHING, _T1W_NOISE = 0.5, 0.03

#: Images are stored as int16: this percentile gets this value, and no voxel more than the last.
_STORED_PERCENTILE, _STORED_LEVEL, _STORED_MOST = 99, 2000, 32000
#: Level of gzip: level 6 takes three times as long for 6 % fewer bytes of noise.
COMPRESSION = 1

#: What the statement beside a truth table says.
_DESCRIBED = "Simulated microbleeds and mimics."
_DESCRIBED_POPULATION = "Simulated microbleeds, and mimics as a population of that age has them."


@dataclasses.dataclass(frozen=True)
class ParticipantPlan:
    """A participant to simulate; drawn before any image, so that the order of work is free.

    ``cohort`` is the preset, ``seed`` that of the images; ``anatomy`` a label map or None for the
    template.
    """

    participant_id: str
    cohort: str
    age: float
    sex: str
    site: str
    diagnosis: str
    n_microbleeds: int
    has_t1w: bool
    anatomy: Path | None
    seed: int


def plan_cohort(
    presets: list[str],
    participants: int,
    maps: Sequence[Path | None],
    seed: int,
    *,
    positive_share: float | None,
    t1w_share: float,
) -> list[ParticipantPlan]:
    """Plans of ``participants`` of each preset.

    Presence rises with age (odds x 1.8 a decade, 15 % at 70) unless ``positive_share`` is given.
    Counts of the positive follow 957 real microbleeds: median 2, 90 % 11.

    With ``positive_share`` presence and counts are stratified: any run of participants has that
    share and those quantiles, the same in each preset, so that few scans still stand for many.

    Order of draws of a participant: age; presence and count (only without ``positive_share``); sex,
    site, diagnosis, label map.
    """
    plans = []
    for preset in presets:
        for number in range(1, participants + 1):
            name = f"sub-{preset}{number:03d}"
            rng = np.random.default_rng(seed_of("participant", seed, name))
            age = float(np.clip(rng.normal(*_AGE), *_AGE_LIMITS))
            count = _draw_count(number, age, positive_share, rng)
            plans.append(
                ParticipantPlan(
                    participant_id=name,
                    cohort=preset,
                    age=round(age, 1),
                    sex=str(rng.choice(["F", "M"])),
                    site=str(rng.choice(["A", "B"])),
                    diagnosis=str(rng.choice(["control", "MCI", "AD"])),
                    n_microbleeds=count,
                    has_t1w=bool(((number * _T1W_STEP) % 1) < t1w_share),
                    anatomy=maps[int(rng.integers(len(maps)))],
                    seed=seed_of("scan", seed, name),
                )
            )
    return plans


def _draw_count(
    number: int, age: float, positive_share: float | None, rng: np.random.Generator
) -> int:
    """Microbleeds of the ``number``-th participant of a preset."""
    if positive_share is None:
        odds = _REFERENCE_ODDS * _ODDS_RATIO_DECADE ** ((age - _REFERENCE_AGE) / 10)
        share = odds / (1 + odds)
        draw, quantile = rng.random(), rng.random()
    else:
        share = positive_share
        draw = (number * _PRESENCE_STEP) % 1
        quantile = draw / share if share else 1.0
    if draw >= share:
        return 0
    within = np.clip(quantile, _LEAST_QUANTILE, 1 - _LEAST_QUANTILE)
    return int(np.clip(np.round(np.exp(stats.norm.ppf(within, *COUNT_LOG))), 1, _MOST))


def write_participant(
    plan: ParticipantPlan,
    root: Path,
    painted: float = 0.0,
    preset: aq.Acquisition | None = None,
    mimics: str = MANY,
    phase_share: float = 0.0,
) -> list[dict[str, Any]]:
    """Simulate one participant's scan (and T1w) below ``root``; returns its truth rows.

    ``painted``: share of the microbleeds that are ``sources.Paint``. ``preset`` is the acquisition
    of a cohort that is none of ``acquisition.PRESETS``. ``mimics`` is MANY or POPULATION.
    ``phase_share``: share of the scans that have a phase image.
    """
    rng = np.random.default_rng(plan.seed)
    person = an.load(plan.anatomy)
    deform = an.deformation(person, rng)
    if plan.cohort == aq.RANDOM:
        acquisition = aq.random_acquisition(rng, tuple(aq.PRESETS.values()))
    else:
        acquisition = aq.vary(preset or aq.PRESETS[plan.cohort], rng)
    if mimics == POPULATION:
        findings = population_findings(rng, plan.n_microbleeds, plan.age)
    else:
        findings = usual_findings(rng, plan.n_microbleeds)
    findings = dataclasses.replace(findings, painted=painted)
    scan = simulate(person, deform, acquisition, rng, findings)
    folder = root / plan.participant_id / "anat"
    stem = f"{plan.participant_id}_{acquisition.suffix}"
    write_scan(folder, stem, scan, acquisition)
    phase = phase_images.of_participant(plan.seed, phase_share)
    if phase is not None:
        phase_images.write(root, folder, stem, scan, phase, COMPRESSION)
    if plan.has_t1w:
        _write_t1w(folder, f"{plan.participant_id}_T1w", person, deform, rng)
    mask = root / "sourcedata" / "truth" / f"{plan.participant_id}_brain.nii.gz"
    images.save_volume(mask, scan.brain, scan.affine, np.uint8, compression=COMPRESSION)
    return truth_rows(plan, stem, scan)


def write_scan(folder: Path, stem: str, scan: Simulated, acquisition: aq.Acquisition) -> None:
    """Write the image and its sidecar."""
    _write_image(folder / f"{stem}.nii.gz", scan.image, scan.affine)
    write_json(
        folder / f"{stem}.json",
        {
            "EchoTime": acquisition.echo_time_s,
            "MagneticFieldStrength": acquisition.field_t,
            "Manufacturer": "Simulated",
            "SliceThickness": acquisition.voxel_mm[2],
            "MRAcquisitionType": "3D" if acquisition.contrast == "SWI" else "2D",
        },
    )


def _write_image(path: Path, image: np.ndarray, affine: np.ndarray) -> None:
    """Write an image as scanners do: int16, 0 to about 3000."""
    scaled = np.round(image * (_STORED_LEVEL / np.percentile(image, _STORED_PERCENTILE)))
    stored = np.clip(scaled, 0, _STORED_MOST)
    images.save_volume(path, stored, affine, np.int16, compression=COMPRESSION)


def _write_t1w(
    folder: Path, stem: str, person: an.Anatomy, deform: an.PointMap, rng: np.random.Generator
) -> None:
    """Write a T1w of the same session, for which the head has moved by a millimetre and a degree.

    Draws: three angles, three shifts, the noise.
    """
    axis = np.arange(-_T1W_HALF_MM, _T1W_HALF_MM + 1, _T1W_MM)
    grid = np.stack(np.meshgrid(*(axis * step for step in _T1W_AXES), indexing="ij"), -1)
    turn = nib.eulerangles.euler2mat(*np.deg2rad(rng.normal(0, _T1W_TURN_DEG, 3)))
    moved = grid @ turn.T + rng.normal(0, _T1W_SHIFT_MM, 3)
    points = torch.as_tensor(moved.astype(np.float32))
    labels = an.sample(person.labels, person.affine, deform(points), nearest=True).numpy()
    brightness = np.full(an.CODES_END, _T1W_OTHER, np.float32)
    for code, value in _T1W.items():
        brightness[code] = value
    image = ndimage.gaussian_filter(brightness[labels.astype(int)], _T1W_SMOOTHING)
    image = np.abs(image + rng.normal(0, _T1W_NOISE, image.shape))
    affine = np.diag([*(_T1W_MM * step for step in _T1W_AXES), 1.0])
    affine[:3, 3] = -_T1W_HALF_MM * np.array(_T1W_AXES)
    _write_image(folder / f"{stem}.nii.gz", image, affine)
    write_json(folder / f"{stem}.json", {"MagneticFieldStrength": 3.0, "Manufacturer": "Simulated"})


def truth_rows(plan: ParticipantPlan, stem: str, scan: Simulated) -> list[dict[str, Any]]:
    """Rows of ``tables.TRUTH``, one a source; a scan without any has a row of kind 'none'."""
    base: dict[str, Any] = {
        "scan_id": stem,
        "cohort": plan.cohort,
        "participant_id": plan.participant_id,
    }
    rows = []
    for number, source in enumerate(scan.sources, start=1):
        x, y, z = (round(float(v), 3) for v in source.centre)
        rows.append(
            base
            | {
                "source_id": number,
                "kind": source.kind,
                "x_mm": x,
                "y_mm": y,
                "z_mm": z,
                "radius_mm": round(source.visible_mm, 3),
                "source_radius_mm": round(source.radius_mm, 3),
                "susceptibility_ppm": round(source.chi_ppm, 3),
                "region": source.region,
                "group": source.group if source.kind == "microbleed" else None,
            }
        )
    return rows or [base | {"source_id": 0, "kind": "none"}]


def run(
    out: Path,
    *,
    presets: list[str],
    participants: int,
    seed: int,
    anatomy: Path | None = None,
    people: str | None = None,
    positive_share: float | None = None,
    t1w_share: float = 0.5,
    painted: float = 0.0,
    mimics: str = MANY,
    phase_share: float = 0.0,
    jobs: int = 2,
) -> pd.DataFrame:
    """Write a cohort to ``out`` (a new BIDS folder) and its truth to ``out``/../truth.tsv.

    Returns the truth (``tables.TRUTH``). ``mimics`` is MANY or POPULATION; ``phase_share`` of the
    scans have a phase image.

    Raises
    ------
    CMBurdenError
        For an unknown preset, a share outside 0 to 1, or a folder that holds files.
    """
    out = Path(out)
    unknown = sorted(set(presets) - {*aq.PRESETS, aq.RANDOM})
    if unknown:
        raise CMBurdenError(
            f"presets {unknown} are unknown; choose from {[*aq.PRESETS, aq.RANDOM]}"
        )
    for option, share in (("--painted", painted), ("--phase-share", phase_share)):
        if not 0 <= share <= 1:
            raise CMBurdenError(f"{option} {share:g}: is a share, from 0 to 1")
    plans = prepared(
        out,
        presets,
        participants,
        seed,
        anatomy=anatomy,
        people=people,
        positive_share=positive_share,
        t1w_share=t1w_share,
    )
    work = [(plan, out, painted, None, mimics, phase_share) for plan in plans]
    described = _DESCRIBED_POPULATION if mimics == POPULATION else _DESCRIBED
    return write_all(write_participant, work, out, tables.TRUTH, jobs, described)


def truth_of(out: Path) -> Path:
    """The table of the truth of the cohort in ``out``: beside the folder, not in the tree."""
    return out.parent / "truth.tsv"


def write_all(
    write: Callable[..., list[dict[str, Any]]],
    work: Sequence[tuple[Any, ...]],
    out: Path,
    table: schema.Table,
    jobs: int,
    described: str = _DESCRIBED,
) -> pd.DataFrame:
    """Call ``write(*arguments)`` for each of ``work``, ``jobs`` at a time in processes.

    ``write`` returns rows of the truth. All rows go to ``out``/../truth.tsv in the columns of
    ``table``, and are returned. The statement beside the table says ``described``.
    """
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(jobs, get_context("spawn"), _start_worker, (jobs,)) as pool:
        for number, part in enumerate(pool.map(write, *zip(*work, strict=True)), 1):
            rows += part
            print(f"simulated {number} of {len(work)}", flush=True)
    truth = table.frame(rows)
    with whole_file(truth_of(out)) as temporary:
        truth.to_csv(temporary, sep="\t", index=False, na_rep="n/a")
    truth_origin.state(truth_of(out), truth_origin.SIMULATED, described)
    return truth


def prepared(
    out: Path,
    presets: list[str],
    participants: int,
    seed: int,
    *,
    anatomy: Path | None,
    people: str | None,
    positive_share: float | None,
    t1w_share: float,
) -> list[ParticipantPlan]:
    """Plan a cohort and write the files of the new BIDS folder ``out`` that come before any scan.

    Raises
    ------
    CMBurdenError
        When ``out`` holds files, when a truth of another cohort lies beside it, or when
        ``anatomy`` holds no label map.
    """
    if out.exists() and any(out.iterdir()):
        raise CMBurdenError(f"{out}: holds files already; name a new folder")
    if truth_of(out).exists():
        raise CMBurdenError(
            f"{truth_of(out)}: is the truth of another cohort and would be lost; name a new folder "
            f"in another place, such as {out.parent / f'{out.name}-cohort' / out.name}"
        )
    maps = an.selected(an.available(anatomy), people)
    plans = plan_cohort(
        presets, participants, maps, seed, positive_share=positive_share, t1w_share=t1w_share
    )
    # People of one anatomy together: a worker then loads each label map once.
    plans.sort(key=lambda plan: (str(plan.anatomy), plan.participant_id))
    write_json(
        out / "dataset_description.json",
        {
            "Name": "Simulated GRE and SWI scans with known microbleeds",
            "BIDSVersion": "1.10.0",
            "DatasetType": "raw",
            "License": "CC0",
        },
    )
    with whole_file(out / "README.md") as temporary:
        temporary.write_text(_README, encoding="utf-8")
    with whole_file(out / ".bidsignore") as temporary:
        temporary.write_text("# no suffix for SWI in raw BIDS yet\n**/*_swi.*\n", encoding="utf-8")
    columns = ("participant_id", "age", "sex", "site", "diagnosis")
    people_rows = [
        {column: getattr(plan, column) for column in columns}
        | {"age": min(plan.age, _MOST_AGE_WRITTEN)}
        for plan in sorted(plans, key=lambda plan: plan.participant_id)
    ]
    with whole_file(out / "participants.tsv") as temporary:
        pd.DataFrame(people_rows).to_csv(temporary, sep="\t", index=False, na_rep="n/a")
    return plans


def _start_worker(jobs: int) -> None:
    """Give a worker its share of the cores, and end it with the command, even a killed command."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // jobs))
    end_with_parent()
