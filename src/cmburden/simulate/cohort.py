"""A simulated BIDS cohort: scans, T1w for some, participants.tsv, sidecars and the truth."""

from __future__ import annotations

import argparse
import dataclasses
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import stats

from cmburden.core import schema, tables
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import whole_file, write_json
from cmburden.core.keys import seed_of
from cmburden.images import volume as images
from cmburden.simulate import acquisition as aq
from cmburden.simulate import anatomy as an
from cmburden.simulate.scan import Simulated, simulate
from cmburden.simulate.sources import usual_findings

#: T1 weighting of a 1.2 mm T1w: label code -> brightness.
_T1W = {**dict.fromkeys(an.WHITE, 1.0), **dict.fromkeys(an.CORTEX, 0.65), 24: 0.2, 4: 0.2, 43: 0.2,
        14: 0.2, 15: 0.2, 507: 0.5, 515: 0.1, 516: 0.95, 511: 0.02, 0: 0.02}  # fmt: skip
_T1W_MM = 1.2
#: Microbleeds of a scan with some: lognormal, mean and deviation of its logarithm.
COUNT_LOG = (0.69, 1.33)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What one participant is to be; drawn before any image, so it does not depend on order."""

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
    presets: list[str], participants: int, maps: list, seed: int, *,
    positive_share: float | None, t1w_share: float,
) -> list[Plan]:  # fmt: skip
    """``participants`` a preset. Presence rises with age (odds x 1.8 a decade, 15 % at 70) unless
    ``positive_share`` is given; counts of the positive follow 957 real ones: median 2, 90 % 11.

    With ``positive_share`` presence and counts are stratified: any run of participants has that
    share and those quantiles, the same in each preset, so that few scans still stand for many.
    """
    plans = []
    for preset in presets:
        for number in range(1, participants + 1):
            name = f"sub-{preset}{number:03d}"
            rng = np.random.default_rng(seed_of("participant", seed, name))
            age = float(np.clip(rng.normal(74, 8), 50, 95))
            odds = 0.15 / 0.85 * 1.8 ** ((age - 70) / 10)
            share = odds / (1 + odds) if positive_share is None else positive_share
            if positive_share is None:
                draw, quantile = rng.random(), rng.random()
            else:
                draw = (number * 0.618034) % 1
                quantile = draw / positive_share
            spread = stats.norm.ppf(np.clip(quantile, 1e-9, 1 - 1e-9), *COUNT_LOG)
            count = int(np.clip(np.round(np.exp(spread)), 1, 60))
            plans.append(
                Plan(
                    name, preset, round(age, 1), str(rng.choice(["F", "M"])),
                    str(rng.choice(["A", "B"])), str(rng.choice(["control", "MCI", "AD"])),
                    count if draw < share else 0, bool(((number * 0.7548) % 1) < t1w_share),
                    maps[int(rng.integers(len(maps)))], seed_of("scan", seed, name),
                )
            )  # fmt: skip
    return plans


def write_participant(plan: Plan, root: Path, painted: float = 0.0) -> list[dict]:
    """Simulate one participant's scan (and T1w) below ``root``; returns its truth rows.

    ``painted``: share of the microbleeds that are ``sources.Paint``.
    """
    rng = np.random.default_rng(plan.seed)
    person = an.load(plan.anatomy)
    deform = an.deformation(person, rng)
    if plan.cohort == aq.RANDOM:
        acquisition = aq.random_acquisition(rng, tuple(aq.PRESETS.values()))
    else:
        acquisition = aq.vary(aq.PRESETS[plan.cohort], rng)
    findings = dataclasses.replace(usual_findings(rng, plan.n_microbleeds), painted=painted)
    scan = simulate(person, deform, acquisition, rng, findings)
    folder = root / plan.participant_id / "anat"
    stem = f"{plan.participant_id}_{acquisition.suffix}"
    write_scan(folder, stem, scan, acquisition)
    if plan.has_t1w:
        _write_t1w(plan, folder, person, deform, rng)
    truth = root / "sourcedata" / "truth" / f"{plan.participant_id}_brain.nii.gz"
    images.save_volume(truth, scan.brain, scan.affine, np.uint8)
    return truth_rows(plan, stem, scan)


def write_scan(folder: Path, stem: str, scan: Simulated, acquisition: aq.Acquisition) -> None:
    """The image and its sidecar."""
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
    """As scanners write: int16, 0 to about 3000."""
    scaled = np.clip(np.round(image * (2000 / np.percentile(image, 99))), 0, 32000)
    images.save_volume(path, scaled, affine, np.int16)


def _write_t1w(plan: Plan, folder: Path, person: an.Anatomy, deform, rng) -> None:
    """A T1w of the same session: the head has moved by about a millimetre and a degree."""
    import torch
    from scipy import ndimage

    axis = np.arange(-100, 101, _T1W_MM)
    grid = np.stack(np.meshgrid(axis * 0.85, axis * 1.05, axis * 0.95, indexing="ij"), -1)
    angle = np.deg2rad(rng.normal(0, 1.0, 3))
    turn = nib.eulerangles.euler2mat(*angle)
    points = torch.as_tensor((grid @ turn.T + rng.normal(0, 1.0, 3)).astype(np.float32))
    labels = an.sample(person.labels, person.affine, deform(points), nearest=True).numpy()
    table = np.full(600, 0.7, np.float32)
    for code, value in _T1W.items():
        table[code] = value
    image = ndimage.gaussian_filter(table[labels.astype(int)], 0.5)
    image = np.abs(image + rng.normal(0, 0.03, image.shape))
    affine = np.diag([_T1W_MM * 0.85, _T1W_MM * 1.05, _T1W_MM * 0.95, 1.0])
    affine[:3, 3] = -100 * np.array([0.85, 1.05, 0.95])
    _write_image(folder / f"{plan.participant_id}_T1w.nii.gz", image, affine)
    write_json(
        folder / f"{plan.participant_id}_T1w.json",
        {"MagneticFieldStrength": 3.0, "Manufacturer": "Simulated"},
    )


def truth_rows(plan: Plan, stem: str, scan: Simulated) -> list[dict]:
    base = {"scan_id": stem, "cohort": plan.cohort, "participant_id": plan.participant_id}
    rows = [
        base
        | {
            "source_id": number,
            "kind": source.kind,
            **{
                f"{axis}_mm": round(float(v), 3)
                for axis, v in zip("xyz", source.centre, strict=True)
            },
            "radius_mm": round(source.visible_mm, 3),
            "source_radius_mm": round(source.radius_mm, 3),
            "susceptibility_ppm": round(source.chi_ppm, 3),
            "region": source.region,
            "group": source.group if source.kind == "microbleed" else None,
        }
        for number, source in enumerate(scan.sources, start=1)
    ]
    # A scan without any source is a row too: zero is a value.
    return rows or [base | {"source_id": 0, "kind": "none"}]


def run(
    out: Path, *, presets: list[str], participants: int, seed: int, anatomy: Path | None = None,
    people: str | None = None, positive_share: float | None = None, t1w_share: float = 0.5,
    painted: float = 0.0, jobs: int = 2,
) -> pd.DataFrame:  # fmt: skip
    """Write a cohort to ``out`` (a new BIDS folder) and its truth to ``out``/../truth.tsv.

    Returns the truth table (``tables.TRUTH``).
    """
    out = Path(out)
    unknown = sorted(set(presets) - {*aq.PRESETS, aq.RANDOM})
    if unknown:
        raise CMBurdenError(
            f"presets {unknown} are unknown; choose from {[*aq.PRESETS, aq.RANDOM]}"
        )
    if not 0 <= painted <= 1:
        raise CMBurdenError(f"--painted {painted:g}: is a share, from 0 to 1")
    plans = prepared(
        out, presets, participants, seed, anatomy=anatomy, people=people,
        positive_share=positive_share, t1w_share=t1w_share,
    )  # fmt: skip
    work = [(plan, out, painted) for plan in plans]
    return write_all(write_participant, work, out, tables.TRUTH, jobs)


def write_all(write, work: list[tuple], out: Path, table: schema.Table, jobs: int) -> pd.DataFrame:
    """``write(*one)`` of each of ``work`` in processes of their own; its rows are the truth, which
    goes to ``out``/../truth.tsv as ``table`` has it and is returned."""
    rows: list[dict] = []
    with ProcessPoolExecutor(jobs, get_context("spawn"), _start_worker, (jobs,)) as pool:
        for done, part in enumerate(pool.map(write, *zip(*work, strict=True)), 1):
            rows += part
            print(f"simulated {done} of {len(work)}", flush=True)
    truth = table.frame(rows)
    with whole_file(out.parent / "truth.tsv") as temporary:
        truth.to_csv(temporary, sep="\t", index=False, na_rep="n/a")
    return truth


def prepared(
    out: Path, presets: list[str], participants: int, seed: int, *, anatomy: Path | None,
    people: str | None, positive_share: float | None, t1w_share: float,
) -> list[Plan]:  # fmt: skip
    """Who is to be simulated, with the files of the new BIDS folder ``out`` that come before any
    scan."""
    if out.exists() and any(out.iterdir()):
        raise CMBurdenError(f"{out}: holds files already; name a new folder")
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
    with whole_file(out / ".bidsignore") as temporary:
        temporary.write_text("# no suffix for SWI in raw BIDS yet\n**/*_swi.*\n")
    with whole_file(out / "participants.tsv") as temporary:
        pd.DataFrame(
            [
                {k: getattr(p, k) for k in ("participant_id", "age", "sex", "site", "diagnosis")}
                for p in sorted(plans, key=lambda p: p.participant_id)
            ]
        ).to_csv(temporary, sep="\t", index=False, na_rep="n/a")
    return plans


def _start_worker(jobs: int) -> None:
    """A share of the cores; and an end with the command, even where that was killed."""
    import os
    import threading

    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // jobs))

    def follow() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, help="new BIDS folder; the truth goes beside it")
    parser.add_argument("--presets", nargs="+", default=list(aq.PRESETS), metavar="NAME",
                        help=f"acquisitions like those of {', '.join(aq.PRESETS)}, or "
                        f"{aq.RANDOM} for one unlike them, drawn anew each time")  # fmt: skip
    parser.add_argument("--participants", type=int, default=4, help="a preset (default 4)")
    parser.add_argument("--anatomy", type=Path, help="folder of label maps; none: MNI152 template")
    parser.add_argument("--people", help="label maps to use, first-last from 1")
    parser.add_argument("--positive-share", type=float,
                        help="share with microbleeds (default: by age)")  # fmt: skip
    parser.add_argument("--t1w-share", type=float, default=0.5, help="share with a T1w")
    parser.add_argument("--painted", type=float, default=0.0, metavar="SHARE",
                        help="share of the microbleeds drawn as dark ellipsoids, without physics: "
                        "to calibrate on (default 0)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)


def main(args: argparse.Namespace) -> int:
    truth = run(
        args.out, presets=args.presets, participants=args.participants, seed=args.seed,
        anatomy=args.anatomy, people=args.people, positive_share=args.positive_share,
        t1w_share=args.t1w_share, painted=args.painted, jobs=args.jobs,
    )  # fmt: skip
    real = truth[truth["kind"] == "microbleed"]
    print(f"{args.out}: {truth['scan_id'].nunique()} scans, {len(real)} microbleeds")
    return 0
