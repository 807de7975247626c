"""A cohort without images: ``python -m cmburden.studies.table_cohort OUT [--participants 5000]``.

People and detector are those of ``population``. Scans, lesions and participants.tsv are drawn.
``aggregate`` makes the cohort's tables from the draws, as for a real run. The truth lies beside the
tables.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from cmburden.cohort import stage as aggregate
from cmburden.core import config
from cmburden.core import dataset as derivatives
from cmburden.core.errors import exit_code, with_advice
from cmburden.core.files import whole_file, write_json
from cmburden.core.keys import bucket_of, seed_of
from cmburden.core.paths import Layout
from cmburden.core.tables import LESIONS, MANIFEST, REJECTED, SCANS, TRUTH
from cmburden.space import atlas as space_atlas
from cmburden.space import regions as mars
from cmburden.studies.distributions import published_shares
from cmburden.studies.population import Detections, DetectorModel, Population, validate

BUCKETS = 16


@dataclasses.dataclass(frozen=True)
class SimulatedSite:
    """A site's cohort, the contrasts of its protocols, and the acquisition of all its scans."""

    cohort: str
    contrasts: tuple[str, ...]
    field_t: float
    echo_time_s: float
    voxel_mm: tuple[float, float, float]


#: The last site has had two protocols: by it an analysis can tell contrast from site.
SITES = {
    "site-1": SimulatedSite("north", ("GRE",), 3.0, 0.020, (0.86, 0.86, 4.0)),
    "site-2": SimulatedSite("north", ("GRE",), 1.5, 0.025, (0.90, 0.90, 5.0)),
    "site-3": SimulatedSite("south", ("SWI",), 3.0, 0.020, (0.93, 0.93, 1.75)),
    "site-4": SimulatedSite("south", ("GRE", "SWI"), 3.0, 0.022, (0.80, 0.80, 2.0)),
}
SUFFIX = {"GRE": "T2starw", "SWI": "swi"}
THRESHOLDS = {"definite": 0.6, "possible": 0.2}


@dataclasses.dataclass(frozen=True)
class Fate:
    """An end of scans that are not read: their share, and the stage, status and reason."""

    share: float
    stage: str
    status: str
    reason: str


#: All shares and ranges of this module are by choice: they make tables of a plausible cohort.
FATES = (
    Fate(0.010, "preprocess", "failed", "truncated"),
    Fate(0.008, "preprocess", "excluded", "voxel_size"),
    Fate(0.006, "preprocess", "excluded", "coverage"),
    Fate(0.010, "register", "failed", "registration"),
)
SECOND_SESSION, NO_AGE, NO_SEX = 0.04, 0.01, 0.005
#: New microbleeds at a second session, as a share of a person's mean count.
_NEW_SHARE = 0.1
#: Each person has a lobar share of microbleeds; concentration of its Beta distribution.
_LOBAR_CONCENTRATION = 2.2
#: Share of false positives that lie in lobar regions, where veins are.
_FALSE_LOBAR = 0.7
#: Radius of lesions, mm: median, standard deviation of its logarithm, limits.
_RADIUS_MM, _RADIUS_LOG_SD, _RADIUS_LIMITS_MM = 1.4, 0.35, (0.6, 4.5)
#: The scan's coordinates against MNI152, mm: the head lies as the template does, a little off.
_OFFSET_MM = {"x": 0, "y": 4, "z": -6}
#: Probabilities of lesions: Beta distributions between the thresholds, first parameter of definite
#: and possible ones, and the second.
_DEFINITE_BETA, _POSSIBLE_BETA, _BETA = 2.0, 1.2, 1.5
#: Scores of both networks about the probability: standard deviation and limits of each.
_CNN_SD, _CNN_LIMITS, _YOLO_SD, _YOLO_LIMITS = 0.08, (0.05, 0.999), 0.05, (0.01, 0.999)
_PROBABILITY_STEP = 1e-4


@dataclasses.dataclass(frozen=True)
class TableCohort:
    """Folders and truth of a written cohort, with the configuration of its tables."""

    layout: Layout
    bids_dir: Path
    config: dict[str, Any]
    truth: Path


def write(
    folder: Path,
    participants: int = 5000,
    seed: int = 1,
    population: Population | None = None,
    detector: DetectorModel | None = None,
    validation_scans: int = 400,
) -> TableCohort:
    """Write a cohort into ``folder``: bids/participants.tsv, truth.tsv, models/, derivatives/.

    Equal arguments give equal tables. ``validation_scans``: scans of each contrast on which the
    contract's figures were measured.

    Order of draws: validation, people, new microbleeds, detections, lesions, fates and measures,
    missing ages, missing sexes.
    """
    population, detector = population or Population(), detector or DetectorModel()
    folder = Path(folder)
    bids_dir, layout = folder / "bids", Layout(folder / "derivatives")
    bids_dir.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed_of("table cohort", seed, participants))
    _models(folder, detector, validate(random, population, detector, validation_scans))
    settings = config.load(
        {
            "bids_dir": str(bids_dir.absolute()),
            "output_dir": str(layout.root.absolute()),
            "buckets": BUCKETS,
            "detect": {"model": str((folder / "models" / "detector").absolute())},
            "verify": {"model": str((folder / "models" / "verifier").absolute())},
        }
    )
    people = _people(random, population, participants)
    scans = _scans(people)
    scans["n_true"] = np.where(scans["first"], scans["n_true"], scans["n_true"] + scans["n_new"])
    detections = detector.search(random, scans["n_true"].to_numpy(), scans["swi"].to_numpy())
    real, lesions = _lesions(random, scans, detections)
    scans = _with_fates(random, scans)
    MANIFEST.write(layout.manifest, scans[[n for n in MANIFEST.names if n in scans]])
    _participants_tsv(random, bids_dir, people)
    truth = folder / "truth.tsv"
    with whole_file(truth) as temporary:
        TRUTH.frame(real).to_csv(temporary, sep="\t", index=False, na_rep="n/a")
    derivatives.write_description(layout, bids_dir)
    write_json(layout.config, settings)  # JSON is YAML
    columns = [name for name in SCANS.names if name in scans]
    nothing = REJECTED.frame([])
    records = aggregate.Records(scans[columns], lesions, nothing, runs=[])
    aggregate.write_tables(layout, bids_dir, settings, records)
    return TableCohort(layout, bids_dir, settings, truth)


def _people(random: np.random.Generator, population: Population, number: int) -> pd.DataFrame:
    """One row a person, with the person's true counts."""
    age, male = population.draw_people(random, number)
    site = np.array(list(SITES))[random.integers(len(SITES), size=number)]
    protocol = random.integers(2, size=number)
    choices = [SITES[name].contrasts for name in site]
    contrast = np.array([some[i % len(some)] for some, i in zip(choices, protocol, strict=True)])
    lobar = published_shares()["lobar"]
    rate = population.rate(age, male, contrast == "SWI")
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{n:05d}" for n in range(1, number + 1)],
            "age": np.round(age, 1),
            "sex": np.where(male, "M", "F"),
            "site": site,
            "cohort": [SITES[name].cohort for name in site],
            "contrast": contrast,
            "n_true": population.counts(random, rate),
            "n_new": random.poisson(_NEW_SHARE * rate),
            "lobar_share": random.beta(
                _LOBAR_CONCENTRATION, _LOBAR_CONCENTRATION * (1 / lobar - 1), number
            ),
            "sessions": 1 + (random.random(number) < SECOND_SESSION),
        }
    )


def _scans(people: pd.DataFrame) -> pd.DataFrame:
    """Manifest rows, with the person's truth beside them."""
    scans = people.loc[people.index.repeat(people["sessions"])].reset_index(drop=True)
    order = scans.groupby("participant_id").cumcount()
    sessions = [
        f"ses-{number + 1}" if count > 1 else None
        for number, count in zip(order, scans["sessions"], strict=True)
    ]
    suffix = scans["contrast"].map(SUFFIX)
    named = [
        _named(person, session, end)
        for person, session, end in zip(scans["participant_id"], sessions, suffix, strict=True)
    ]
    site = [SITES[name] for name in scans["site"]]
    return scans.assign(
        scan_id=[scan_id for scan_id, _, _ in named],
        session_id=np.array(sessions, object),
        suffix=suffix,
        path=[path for _, path, _ in named],
        entities=[entities for _, _, entities in named],
        first=order == 0,
        swi=scans["contrast"] == "SWI",
        field_strength_t=[one.field_t for one in site],
        echo_time_s=[one.echo_time_s for one in site],
        bucket=[bucket_of(scan_id, BUCKETS) for scan_id, _, _ in named],
        content_key=[scan_id.encode().hex()[:16] for scan_id, _, _ in named],
    )


def _named(person: str, session: str | None, suffix: str) -> tuple[str, str, str]:
    """Identifier, path in the BIDS folder and entities (JSON) of a scan."""
    pairs = [["sub", person.removeprefix("sub-")]]
    if session is not None:
        pairs.append(["ses", session.removeprefix("ses-")])
    scan_id = "_".join(f"{key}-{value}" for key, value in pairs) + f"_{suffix}"
    path = "/".join(part for part in (person, session, "anat", f"{scan_id}.nii.gz") if part)
    return scan_id, path, json.dumps(pairs)


@functools.cache
def _voxels() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """MNI152 mm positions (n, 3) and labels (n,) of the atlas, by group."""
    labels, affine = space_atlas.load()
    where = np.argwhere(labels > 0)
    values = labels[tuple(where.T)]
    of_atlas = np.array([v for v in range(2 * mars.RIGHT_OFFSET) if _in_atlas(v)])
    groups = np.array([mars.region_of(int(v))[0].group for v in of_atlas])
    group = groups[np.searchsorted(of_atlas, values)]
    position = nib.affines.apply_affine(affine, where)
    return {name: (position[group == name], values[group == name]) for name in published_shares()}


def _in_atlas(value: int) -> bool:
    return value % mars.RIGHT_OFFSET in mars.BY_VALUE


def _placed(random: np.random.Generator, lobar_share: np.ndarray) -> pd.DataFrame:
    """Places of lesions, each lobar with its own probability; the other groups by their shares."""
    shares = published_shares()
    deep = shares["deep"] / (shares["deep"] + shares["infratentorial"])
    other = np.where(random.random(len(lobar_share)) < deep, "deep", "infratentorial")
    group = np.where(random.random(len(lobar_share)) < lobar_share, "lobar", other)
    position, label = np.zeros((len(group), 3)), np.zeros(len(group), int)
    for name, (points, values) in _voxels().items():
        rows = group == name
        chosen = random.integers(len(points), size=int(rows.sum()))
        position[rows] = points[chosen] + random.uniform(-0.5, 0.5, (len(chosen), 3))
        label[rows] = values[chosen]
    places = [mars.region_of(int(value)) for value in label]
    table = pd.DataFrame(position, columns=["mni_x", "mni_y", "mni_z"])
    return table.assign(
        **{f"{axis}_mm": table[f"mni_{axis}"] + offset for axis, offset in _OFFSET_MM.items()},
        region=[region.name for region, _ in places],
        group=group,
        hemisphere=[side for _, side in places],
    )


def _lesions(
    random: np.random.Generator, scans: pd.DataFrame, detections: Detections
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of `truth` and of `lesions`: every microbleed, and the lesions that are called."""
    counts = scans["n_true"].to_numpy()
    real = _of_scans(random, scans, counts, scans["lobar_share"].to_numpy())
    order = real.groupby("scan_id", sort=False).cumcount().to_numpy()
    row = np.repeat(np.arange(len(scans)), counts)
    definite, either = detections.true_definite, detections.true_definite + detections.true_possible
    label = np.where(
        order < definite[row],
        "definite",
        np.where(order < either[row], "possible", "missed"),
    )
    parts = [real.assign(label=label)[label != "missed"]]
    lobar = np.full(len(scans), _FALSE_LOBAR)
    for name, number in (
        ("definite", detections.false_definite),
        ("possible", detections.false_possible),
    ):
        parts.append(_of_scans(random, scans, number, lobar).assign(label=name))
    lesions = _scored(random, pd.concat(parts, ignore_index=True))
    truth = real.assign(source_id=order + 1, kind="microbleed")
    none = scans.loc[counts == 0, ["scan_id", "cohort", "participant_id", "session_id"]]
    truth = pd.concat([truth, none.assign(source_id=0, kind="none")], ignore_index=True)
    return truth[[name for name in TRUTH.names if name in truth]], lesions


def _of_scans(
    random: np.random.Generator, scans: pd.DataFrame, number: np.ndarray, lobar: np.ndarray
) -> pd.DataFrame:
    """Places and radii of lesions, ``number`` (scans,) of each scan, with its identifiers."""
    row = np.repeat(np.arange(len(scans)), number)
    about = scans[["scan_id", "cohort", "participant_id", "session_id"]].iloc[row]
    radius = random.lognormal(np.log(_RADIUS_MM), _RADIUS_LOG_SD, len(row))
    radius = np.clip(radius, *_RADIUS_LIMITS_MM)
    rows = pd.concat([about.reset_index(drop=True), _placed(random, lobar[row])], axis=1)
    return rows.assign(radius_mm=radius)


def _scored(random: np.random.Generator, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of `lesions` with scores that give each its label."""
    definite = (rows["label"] == "definite").to_numpy()
    low = np.where(definite, THRESHOLDS["definite"], THRESHOLDS["possible"])
    high = np.where(definite, 1.0, THRESHOLDS["definite"])
    within = random.beta(np.where(definite, _DEFINITE_BETA, _POSSIBLE_BETA), _BETA)
    rounded = np.round(low + (high - low) * within, 4)
    probability = np.clip(rounded, low, high - _PROBABILITY_STEP)
    rows = rows.assign(probability=probability)
    rows = rows.sort_values(["scan_id", "probability"], ascending=[True, False], kind="stable")
    diameter = 2 * rows["radius_mm"]
    score = np.clip(rows["probability"] + random.normal(0, _CNN_SD, len(rows)), *_CNN_LIMITS)
    rows = rows.assign(
        lesion_id=rows.groupby("scan_id").cumcount() + 1,
        p_cnn=score,
        p_yolo=np.clip(score + random.normal(0, _YOLO_SD, len(rows)), *_YOLO_LIMITS),
        diameter_mm=diameter,
        volume_mm3=np.pi / 6 * diameter**3,
        macrohaemorrhage=False,
    )
    return rows[LESIONS.names]


def _with_fates(random: np.random.Generator, scans: pd.DataFrame) -> pd.DataFrame:
    """`scans` with status, reason and QC measures: a stage that fails leaves no later measure."""
    ends = np.cumsum([fate.share for fate in FATES])
    number = np.searchsorted(ends, random.random(len(scans)), side="right")
    noise = random.normal(size=(len(scans), 8))
    rows = []
    for k, (scan_id, site) in enumerate(zip(scans["scan_id"], scans["site"], strict=True)):
        fate = FATES[number[k]] if number[k] < len(FATES) else None
        rows.append(_outcome(scan_id, _quality(site, noise[k]), fate))
    return pd.concat([scans, pd.DataFrame(rows, index=scans.index)], axis=1)


def _outcome(scan_id: str, quality: dict[str, float], fate: Fate | None) -> dict[str, Any]:
    """Columns of a scan that its stages write; None is the fate of a scan that is read."""
    row: dict[str, Any] = {
        "detector_id": "simulated-detector",
        "verifier_id": "simulated-verifier",
        "status": "ok",
        **quality,
    }
    if fate is None:
        return row
    unmeasured = {"registration_correlation", "detector_id", "verifier_id"}
    if fate.reason == "truncated":
        unmeasured = set(row)
    row = {name: value for name, value in row.items() if name not in unmeasured}
    return row | {
        "status": fate.status,
        "reason": fate.reason,
        "stage": fate.stage,
        "message": with_advice(fate.reason, "Simulated fault."),
    }


def _quality(site: str, noise: np.ndarray) -> dict[str, float]:
    """QC measures of a scan; ``noise`` (8,) are standard normal numbers."""
    x, y, z = SITES[site].voxel_mm
    return {
        "voxel_x_mm": x,
        "voxel_y_mm": y,
        "slice_mm": z,
        "brain_volume_ml": round(float(1350 + 115 * noise[0]), 1),
        "mask_compactness": round(float(0.62 + 0.02 * noise[1]), 4),
        "mask_side_gap_mm": round(float(1.2 + 0.3 * abs(noise[1])), 2),
        "coverage": round(float(min(1.0, 0.985 + 0.012 * noise[2])), 4),
        "snr": round(float(18 * np.exp(0.2 * noise[3])), 2),
        "contrast_csf_tissue": round(float(1.35 + 0.06 * noise[4]), 4),
        "dark_fraction": round(float(0.02 * np.exp(0.3 * noise[5])), 5),
        "bias_spread": round(float(0.12 * np.exp(0.2 * noise[6])), 4),
        "registration_correlation": round(float(0.94 + 0.012 * noise[7]), 4),
    }


def _participants_tsv(random: np.random.Generator, bids_dir: Path, people: pd.DataFrame) -> None:
    """Write participants.tsv, some ages and sexes of which are missing."""
    table = people[["participant_id", "age", "sex", "site"]].astype({"age": "Float64"})
    table.loc[random.random(len(table)) < NO_AGE, "age"] = pd.NA
    table.loc[random.random(len(table)) < NO_SEX, "sex"] = pd.NA
    with whole_file(bids_dir / "participants.tsv") as temporary:
        table.to_csv(temporary, sep="\t", index=False, na_rep="n/a")


def _models(folder: Path, detector: DetectorModel, population: dict[str, Any]) -> None:
    """Write contracts of the simulated stages; there are no weights."""
    shared = {
        "version": "1.0.0",
        "training_data": "None: a table-level simulation, no network was run",
        "intended_use": "Research use only: simulated results",
        "validation_set": "Simulated scans of the same population (cmburden.studies.population)",
    }
    write_json(
        folder / "models" / "detector" / "model.json",
        shared | {"id": "simulated-detector", "thresholds": {"p_cnn": 0.1}},
    )
    lesions = {
        f"{name}_{contrast}": pair[number]
        for name, pair in (
            ("sensitivity_definite", detector.sensitivity),
            ("fp_per_scan_definite", detector.false_positives),
            ("sensitivity_possible", detector.sensitivity_either),
            ("fp_per_scan_possible", detector.false_positives_either),
        )
        for number, contrast in enumerate(("GRE", "SWI"))
    }
    write_json(
        folder / "models" / "verifier" / "model.json",
        shared
        | {
            "id": "simulated-verifier",
            "thresholds": THRESHOLDS,
            "metrics": lesions | {"population": population},
        },
    )


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.table_cohort OUT [--participants N] [--seed S] [--report]``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("out", type=Path, help="new folder to write into")
    parser.add_argument("--participants", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--validation-scans",
        type=int,
        default=400,
        metavar="N",
        help="scans of each contrast behind the contract",
    )
    parser.add_argument("--report", action="store_true", help="also make the report")
    args = parser.parse_args(arguments)
    made = write(args.out, args.participants, args.seed, validation_scans=args.validation_scans)
    if args.report:
        from cmburden.report import stage as report

        report.run(made.layout, made.config)
    print(f"{args.participants} simulated participants: tables in {made.layout.cohort}")
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
