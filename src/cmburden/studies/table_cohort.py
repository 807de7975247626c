"""A cohort without images: ``python -m cmburden.studies.table_cohort OUT [--participants 5000]``.

People and a detector of ``population``; scans, lesions and participants.tsv are drawn, and
``aggregate`` makes the cohort tables of them as of a real run, with the truth beside them.
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
from cmburden.core.errors import REASONS, told
from cmburden.core.files import whole_file, write_json
from cmburden.core.keys import bucket_of, seed_of
from cmburden.core.paths import Layout
from cmburden.core.tables import LESIONS, MANIFEST, REJECTED, SCANS, TRUTH
from cmburden.space import atlas as space_atlas
from cmburden.space import regions as mars
from cmburden.studies.distributions import published_shares
from cmburden.studies.population import Detector, Population, validate

BUCKETS = 16
#: Site: cohort, contrasts, field (T), echo time (s), voxel (mm). The last has had two protocols,
#: which is what tells contrast and site apart.
SITES = {
    "site-1": ("north", ("GRE",), 3.0, 0.020, (0.86, 0.86, 4.0)),
    "site-2": ("north", ("GRE",), 1.5, 0.025, (0.90, 0.90, 5.0)),
    "site-3": ("south", ("SWI",), 3.0, 0.020, (0.93, 0.93, 1.75)),
    "site-4": ("south", ("GRE", "SWI"), 3.0, 0.022, (0.80, 0.80, 2.0)),
}
SUFFIX = {"GRE": "T2starw", "SWI": "swi"}
THRESHOLDS = {"definite": 0.6, "possible": 0.2}
#: What becomes of scans that are not read: share, stage, status, reason.
FATES = (
    (0.010, "preprocess", "failed", "truncated"),
    (0.008, "preprocess", "excluded", "voxel_size"),
    (0.006, "preprocess", "excluded", "coverage"),
    (0.010, "register", "failed", "registration"),
)
SECOND_SESSION, NO_AGE, NO_SEX = 0.04, 0.01, 0.005


@dataclasses.dataclass(frozen=True)
class TableCohort:
    """Where it was written, with the configuration that its tables were made with."""

    layout: Layout
    bids_dir: Path
    config: dict[str, Any]
    truth: Path


def write(
    folder: Path,
    participants: int = 5000,
    seed: int = 1,
    population: Population | None = None,
    detector: Detector | None = None,
    validation_scans: int = 100,
) -> TableCohort:
    """Write a cohort into ``folder``: bids/participants.tsv, truth.tsv, models/, derivatives/.

    Equal arguments give equal tables. ``validation_scans``: positive and negative scans of each
    contrast on which the contract's presence metrics were measured.
    """
    population, detector = population or Population(), detector or Detector()
    folder = Path(folder)
    bids_dir, layout = folder / "bids", Layout(folder / "derivatives")
    bids_dir.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed_of("table cohort", seed, participants))
    presence = validate(random, population, detector, validation_scans)
    _models(folder, detector, presence)
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
    scans = _scans(random, people)
    scans["n_true"] = np.where(scans["first"], scans["n_true"], scans["n_true"] + scans["n_new"])
    found = detector.search(random, scans["n_true"].to_numpy(), scans["swi"].to_numpy())
    real, lesions = _lesions(random, scans, found)
    scans = _with_fates(random, scans)
    MANIFEST.write(layout.manifest, scans[[n for n in MANIFEST.names if n in scans]])
    _participants_tsv(random, bids_dir, people)
    truth = folder / "truth.tsv"
    with whole_file(truth) as temporary:
        TRUTH.frame(real).to_csv(temporary, sep="\t", index=False, na_rep="n/a")
    derivatives.write_description(layout, bids_dir)
    write_json(layout.config, settings)  # JSON is YAML
    own = [name for name in SCANS.names if name in scans]
    nothing = REJECTED.frame([])
    aggregate.write_tables(layout, bids_dir, settings, scans[own], lesions, nothing, [])
    return TableCohort(layout, bids_dir, settings, truth)


def _people(random, population: Population, number: int) -> pd.DataFrame:
    age, male = population.draw_people(random, number)
    site = np.array(list(SITES))[random.integers(len(SITES), size=number)]
    protocol = random.integers(2, size=number)
    contrasts = [SITES[name][1] for name in site]
    contrast = np.array([own[i % len(own)] for own, i in zip(contrasts, protocol, strict=True)])
    rate = population.rate(age, male, contrast == "SWI")
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{n:05d}" for n in range(1, number + 1)],
            "age": np.round(age, 1),
            "sex": np.where(male, "M", "F"),
            "site": site,
            "cohort": [SITES[s][0] for s in site],
            "contrast": contrast,
            "n_true": population.counts(random, rate),
            "n_new": random.poisson(0.1 * rate),
            "lobar_share": random.beta(2.2, 2.2 * (1 / published_shares()["lobar"] - 1), number),
            "sessions": 1 + (random.random(number) < SECOND_SESSION),
        }
    )


def _scans(random, people: pd.DataFrame) -> pd.DataFrame:
    """Manifest rows, with the person's truth beside them."""
    scans = people.loc[people.index.repeat(people["sessions"])].reset_index(drop=True)
    order = scans.groupby("participant_id").cumcount()
    session = np.where(scans["sessions"] > 1, "ses-" + (order + 1).astype(str), None)
    suffix = scans["contrast"].map(SUFFIX)
    ids, paths, entities = [], [], []
    for person, ses, end in zip(scans["participant_id"], session, suffix, strict=True):
        pairs = [["sub", person.removeprefix("sub-")]]
        pairs += [["ses", ses.removeprefix("ses-")]] if ses else []
        name = "_".join(f"{key}-{value}" for key, value in pairs) + f"_{end}"
        ids.append(name)
        entities.append(json.dumps(pairs))
        paths.append("/".join(part for part in (person, ses, "anat", f"{name}.nii.gz") if part))
    site = [SITES[name] for name in scans["site"]]
    return scans.assign(
        scan_id=ids,
        session_id=session,
        suffix=suffix,
        path=paths,
        entities=entities,
        first=order == 0,
        swi=scans["contrast"] == "SWI",
        field_strength_t=[s[2] for s in site],
        echo_time_s=[s[3] for s in site],
        bucket=[bucket_of(scan_id, BUCKETS) for scan_id in ids],
        content_key=[scan_id.encode().hex()[:16] for scan_id in ids],
    )


@functools.cache
def _voxels() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """MNI152 mm positions (n, 3) and labels (n,) of the atlas, by group."""
    labels, affine = space_atlas.load()
    where = np.argwhere(labels > 0)
    values = labels[tuple(where.T)]
    group = np.array([mars.region_of(int(v))[0].group for v in range(200) if _known(v)])
    known = np.array([v for v in range(200) if _known(v)])
    own = group[np.searchsorted(known, values)]
    position = nib.affines.apply_affine(affine, where)
    return {name: (position[own == name], values[own == name]) for name in published_shares()}


def _known(value: int) -> bool:
    return value % mars.RIGHT_OFFSET in mars.BY_VALUE


def _placed(random, lobar_share: np.ndarray) -> pd.DataFrame:
    """Places of lesions, each lobar with its own probability; the other groups by their shares."""
    shares = published_shares()
    deep = shares["deep"] / (shares["deep"] + shares["infratentorial"])
    other = np.where(random.random(len(lobar_share)) < deep, "deep", "infratentorial")
    group = np.where(random.random(len(lobar_share)) < lobar_share, "lobar", other)
    position, label = np.zeros((len(group), 3)), np.zeros(len(group), int)
    for name, (points, values) in _voxels().items():
        own = group == name
        chosen = random.integers(len(points), size=int(own.sum()))
        position[own] = points[chosen] + random.uniform(-0.5, 0.5, (len(chosen), 3))
        label[own] = values[chosen]
    places = [mars.region_of(int(value)) for value in label]
    table = pd.DataFrame(position, columns=["mni_x", "mni_y", "mni_z"])
    return table.assign(
        # The head lies as the template does, a little off.
        x_mm=table["mni_x"],
        y_mm=table["mni_y"] + 4,
        z_mm=table["mni_z"] - 6,
        region=[region.name for region, _ in places],
        group=group,
        hemisphere=[side for _, side in places],
    )


def _lesions(random, scans: pd.DataFrame, found) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of `truth` and of `lesions`: every microbleed, and what the detector made of it."""
    counts = scans["n_true"].to_numpy()
    real = _of_scans(random, scans, counts, scans["lobar_share"].to_numpy())
    order = real.groupby("scan_id", sort=False).cumcount().to_numpy()
    row = np.repeat(np.arange(len(scans)), counts)
    label = np.where(
        order < found.true_definite[row],
        "definite",
        np.where(order < (found.true_definite + found.true_possible)[row], "possible", "missed"),
    )
    parts = [real.assign(label=label)[label != "missed"]]
    # Veins are everywhere: a false positive lies where the brain is large.
    for name, number in (("definite", found.false_definite), ("possible", found.false_possible)):
        parts.append(_of_scans(random, scans, number, np.full(len(scans), 0.7)).assign(label=name))
    lesions = _scored(random, pd.concat(parts, ignore_index=True))
    truth = real.assign(source_id=order + 1, kind="microbleed")
    none = scans.loc[counts == 0, ["scan_id", "cohort", "participant_id", "session_id"]]
    truth = pd.concat([truth, none.assign(source_id=0, kind="none")], ignore_index=True)
    return truth[[name for name in TRUTH.names if name in truth]], lesions


def _of_scans(random, scans: pd.DataFrame, number: np.ndarray, lobar: np.ndarray) -> pd.DataFrame:
    row = np.repeat(np.arange(len(scans)), number)
    about = scans[["scan_id", "cohort", "participant_id", "session_id"]].iloc[row]
    radius = np.clip(random.lognormal(np.log(1.4), 0.35, len(row)), 0.6, 4.5)
    return pd.concat(
        [about.reset_index(drop=True), _placed(random, lobar[row])], axis=1
    ).assign(radius_mm=radius)  # fmt: skip


def _scored(random, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of `lesions` with scores that give each its label."""
    definite = (rows["label"] == "definite").to_numpy()
    low = np.where(definite, THRESHOLDS["definite"], THRESHOLDS["possible"])
    high = np.where(definite, 1.0, THRESHOLDS["definite"])
    within = random.beta(np.where(definite, 2.0, 1.2), 1.5)
    probability = np.clip(np.round(low + (high - low) * within, 4), low, high - 1e-4)
    rows = rows.assign(probability=probability)
    rows = rows.sort_values(["scan_id", "probability"], ascending=[True, False], kind="stable")
    diameter = 2 * rows["radius_mm"]
    score = np.clip(rows["probability"] + random.normal(0, 0.08, len(rows)), 0.05, 0.999)
    rows = rows.assign(
        lesion_id=rows.groupby("scan_id").cumcount() + 1,
        p_cnn=score,
        p_yolo=np.clip(score + random.normal(0, 0.05, len(rows)), 0.01, 0.999),
        diameter_mm=diameter,
        volume_mm3=np.pi / 6 * diameter**3,
        macrohaemorrhage=False,
    )
    return rows[LESIONS.names]


def _with_fates(random, scans: pd.DataFrame) -> pd.DataFrame:
    """`scans` with status, reason and QC measures: a stage that fails leaves no later measure."""
    ends = np.cumsum([share for share, *_ in FATES])
    fate = np.searchsorted(ends, random.random(len(scans)), side="right")
    noise = random.normal(size=(len(scans), 8))
    rows = []
    for number, scan in enumerate(scans.itertuples()):
        row = {"detector_id": "simulated-detector", "verifier_id": "simulated-verifier"}
        row |= {"status": "ok"} | _quality(scan.site, noise[number])
        if fate[number] < len(FATES):
            _, stage, status, reason = FATES[fate[number]]
            unmeasured = ["registration_correlation", "detector_id", "verifier_id"]
            if reason == "truncated":
                unmeasured = list(row)
            row = {name: value for name, value in row.items() if name not in unmeasured}
            row |= {
                "status": status,
                "reason": reason,
                "stage": stage,
                "message": f"Simulated fault. To do: {REASONS[reason]}.",
            }
        rows.append(row)
    return pd.concat([scans, pd.DataFrame(rows, index=scans.index)], axis=1)


def _quality(site: str, noise: np.ndarray) -> dict[str, float]:
    x, y, z = SITES[site][4]
    return {
        "voxel_x_mm": x,
        "voxel_y_mm": y,
        "slice_mm": z,
        "brain_volume_ml": round(float(1350 + 115 * noise[0]), 1),
        "mask_compactness": round(float(0.62 + 0.02 * noise[1]), 4),
        "coverage": round(float(min(1.0, 0.985 + 0.012 * noise[2])), 4),
        "snr": round(float(18 * np.exp(0.2 * noise[3])), 2),
        "contrast_csf_tissue": round(float(1.35 + 0.06 * noise[4]), 4),
        "dark_fraction": round(float(0.02 * np.exp(0.3 * noise[5])), 5),
        "bias_spread": round(float(0.12 * np.exp(0.2 * noise[6])), 4),
        "registration_correlation": round(float(0.94 + 0.012 * noise[7]), 4),
    }


def _participants_tsv(random, bids_dir: Path, people: pd.DataFrame) -> None:
    table = people[["participant_id", "age", "sex", "site"]].astype({"age": "Float64"})
    table.loc[random.random(len(table)) < NO_AGE, "age"] = pd.NA
    table.loc[random.random(len(table)) < NO_SEX, "sex"] = pd.NA
    with whole_file(bids_dir / "participants.tsv") as temporary:
        table.to_csv(temporary, sep="\t", index=False, na_rep="n/a")


def _models(folder: Path, detector: Detector, presence: dict[str, Any]) -> None:
    """Contracts of the simulated stages; there are no weights."""
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
        | {"id": "simulated-verifier", "thresholds": THRESHOLDS, "metrics": lesions | presence},
    )


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.table_cohort OUT [--participants N] [--seed S] [--report]``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("out", type=Path, help="new folder to write into")
    parser.add_argument("--participants", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--validation-scans", type=int, default=100, metavar="N",
                        help="scans with and without a microbleed behind the contract")  # fmt: skip
    parser.add_argument("--report", action="store_true", help="also make the report")
    args = parser.parse_args(arguments)
    made = write(args.out, args.participants, args.seed, validation_scans=args.validation_scans)
    if args.report:
        from cmburden.report import stage as report

        report.run(made.layout, made.config)
    print(f"{args.participants} simulated participants: tables in {made.layout.cohort}")
    return 0


if __name__ == "__main__":
    raise SystemExit(told(main))
