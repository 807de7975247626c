"""What an evaluation counts: scans, microbleeds, candidates, mimics, and what became of each.

Predictions and truth are matched here, once; every measure is then a sum over these rows.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from cmburden.core import keys, resources
from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.core.tables import CANDIDATES, LESIONS, RUNS, SCANS, TRUTH
from cmburden.models import contract as contracts
from cmburden.stats.matching import hits_by_score, hungarian, only_near
from cmburden.verify.probability import logistic, network_logits

#: Stages of the ablation: the names of their scores, in the order that data flows.
STAGES = ("cnn", "cnn_yolo", "final")


@dataclasses.dataclass(frozen=True)
class Cases:
    """What is evaluated, in rows. Participants are numbered; every row knows its own (``person``).

    ``scans``: scan_id, cohort, contrast, person, n_true, n_pred, top, tp, fp. ``real``: microbleeds
    with group, region, diameter (mm), found. ``candidates``: a score and a ``hit_`` a stage,
    decided, right; those at faint microbleeds are not among them. ``mimics``: kind, called; the
    faint ones as well. ``people``: how many participants. ``counted``: what was read and what was
    not. ``combination``: the model of the score ``cnn_yolo``, None for the geometric mean.
    ``detector_threshold``: where the run's CNN is sure by its contract, None where that is unknown.
    """

    scans: pd.DataFrame
    real: pd.DataFrame
    candidates: pd.DataFrame
    mimics: pd.DataFrame
    people: int
    counted: dict[str, Any]
    combination: dict[str, Any] | None = None
    detector_threshold: float | None = None

    def only(self, variable: str, level: str) -> Cases:
        """The cases of one cohort or contrast; participants keep their numbers."""
        return dataclasses.replace(
            self,
            scans=self.scans[self.scans[variable] == level],
            real=self.real[self.real[variable] == level],
            candidates=self.candidates[self.candidates[variable] == level],
        )

    def levels(self, variable: str) -> list[str]:
        return sorted(set(self.scans[variable].dropna()))


def read_truth(path: Path) -> pd.DataFrame:
    """A truth table of ``tables.TRUTH``; n/a is missing."""
    try:
        rows = pd.read_csv(path, sep="\t", na_values=["n/a"], keep_default_na=True)
    except (OSError, ValueError) as error:
        raise CMBurdenError(f"{path}: not a readable truth table ({error})") from error
    needed = [column.name for column in TRUTH.columns if not column.nullable]
    needed += ["x_mm", "y_mm", "z_mm", "radius_mm"]
    missing = [name for name in needed if name not in rows]
    if missing:
        raise CMBurdenError(f"{path}: column(s) {', '.join(missing)} are missing")
    # A kind written 'none' is a level here, not a missing value.
    rows["kind"] = rows["kind"].fillna("none")
    text = [column.name for column in TRUTH.columns if column.kind == "str"]
    rows = rows.astype({name: object for name in text if name in rows})
    try:
        return TRUTH.frame(rows[[name for name in rows if name in TRUTH.names]])
    except (ValueError, TypeError) as error:
        raise CMBurdenError(f"{path}: {error}") from error


def gather(layout: Layout, truth: pd.DataFrame) -> Cases:
    """Match a run's candidates with ``truth`` (of :func:`read_truth`).

    Raises
    ------
    CMBurdenError
        When no scan of the truth table was read.
    """
    scans = SCANS.read(layout.table("scans"))
    combination = _combination(scans, contract_of_run(layout, "verify"))
    thresholds = contract_of_run(layout, "detect").get("thresholds") or {}
    candidates = _decided(
        CANDIDATES.read(layout.candidates), LESIONS.read(layout.table("lesions")), combination
    )
    known = scans[scans["scan_id"].isin(truth["scan_id"])]
    read = known[known["status"] == "ok"].sort_values("scan_id").reset_index(drop=True)
    if read.empty:
        raise CMBurdenError(
            f"no scan of the truth table was read in {layout.root}: scan_id must agree"
        )
    cohorts = truth.drop_duplicates("scan_id").set_index("scan_id")
    read = read[["scan_id", "contrast", "n_cmb"]].assign(
        cohort=read["scan_id"].map(cohorts["cohort"]),
        participant_id=read["scan_id"].map(cohorts["participant_id"]),
    )
    read["person"], people = pd.factorize(read["participant_id"])
    real = truth[truth["kind"] == "microbleed"]
    rows = _matched(read, real, truth, candidates)
    unread = sorted(set(truth["scan_id"]) - set(read["scan_id"]))
    status = known.set_index("scan_id")["status"]
    return Cases(
        *rows,
        people=len(people),
        combination=combination,
        detector_threshold=thresholds.get("p_cnn"),
        counted={
            "in_truth": int(truth["scan_id"].nunique()),
            "read": len(read),
            "participants": len(people),
            "with_microbleeds": int((rows[0]["n_true"] > 0).sum()),
            "microbleeds": len(rows[1]),
            "not_read": [
                {"scan_id": scan_id, "status": status.get(scan_id, "not in the derivatives")}
                for scan_id in unread
            ],
            "microbleeds_not_read": int(real["scan_id"].isin(unread).sum()),
            "without_truth": int((~scans["scan_id"].isin(truth["scan_id"])).sum()),
        },
    )


def model_folder(layout: Layout, stage: str) -> Path | None:
    """Folder of the model that the run in an output folder used for ``stage`` (detect, verify).

    The run's own configuration names the folder; None where there is no such configuration.
    """
    try:
        settings = yaml.safe_load(layout.config.read_text())
        return resources.root() / settings[stage]["model"]
    except (FileNotFoundError, yaml.YAMLError, KeyError, TypeError):
        return None


def contract_of_run(layout: Layout, stage: str) -> dict[str, Any]:
    """The contract of the model that the run in an output folder used for ``stage``.

    Empty where the model is gone, or where its folder now holds other weights than ``runs``
    records: the contract of another model says nothing of this run.
    """
    folder = model_folder(layout, stage)
    contract = contracts.read(folder) if folder else None
    if not contract:
        return {}
    runs = RUNS.read(layout.table("runs"))
    recorded = set(runs.loc[runs["stage"] == stage, "weights_sha256"].dropna())
    weights = contracts.weights_hash(contract) if "weights" in contract else None
    return contract if recorded <= {weights} else {}


def _combination(scans: pd.DataFrame, contract: dict[str, Any]) -> dict[str, Any] | None:
    """``cnn_yolo_model`` of the verifier's contract; None where it has none.

    None too where another verifier made the scans: the coefficients belong to its scores.
    """
    made_by = set(scans["verifier_id"].dropna())
    return contract.get("cnn_yolo_model") if made_by == {contract.get("id")} else None


def combined(p_cnn: np.ndarray, p_yolo: np.ndarray, model: dict[str, Any] | None) -> np.ndarray:
    """One score of both networks, (n,) in 0..1.

    ``model`` {"coefficient": [a, b], "intercept": c} is logistic on the logits of both; None is
    their geometric mean.

    >>> p = np.array([0.2, 0.9])
    >>> combined(p, p, {"coefficient": [0.5, 0.5], "intercept": 0.0}).round(3).tolist()
    [0.2, 0.9]
    """
    if model is None:
        return np.sqrt(p_cnn * p_yolo)
    return logistic(network_logits(p_cnn, p_yolo), model)


def _decided(
    candidates: pd.DataFrame, lesions: pd.DataFrame, combination: dict[str, Any] | None
) -> pd.DataFrame:
    """Candidates with their scores as numbers and ``decided``: counted as a microbleed."""
    kept = candidates[candidates["label"].isin(["definite", "possible"])]
    numbers = kept.assign(lesion_id=keys.lesion_numbers(kept))[
        ["scan_id", "candidate_id", "lesion_id"]
    ]
    large = lesions[["scan_id", "lesion_id", "macrohaemorrhage"]]
    large = numbers.merge(large, on=["scan_id", "lesion_id"], how="left")
    rows = candidates.merge(
        large[["scan_id", "candidate_id", "macrohaemorrhage"]],
        on=["scan_id", "candidate_id"],
        how="left",
    )
    p_cnn, p_yolo, final = (
        rows[name].fillna(0.0).to_numpy(dtype=float) for name in ("p_cnn", "p_yolo", "probability")
    )
    place = rows[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
    return pd.DataFrame(
        {
            "scan_id": rows["scan_id"],
            "candidate_id": rows["candidate_id"].to_numpy(dtype=int),
            "x_mm": place[:, 0],
            "y_mm": place[:, 1],
            "z_mm": place[:, 2],
            "group": rows["group"].fillna("unknown"),
            "cnn": p_cnn,
            "cnn_yolo": combined(p_cnn, p_yolo, combination),
            "final": final,
            "decided": (rows["label"] == "definite").fillna(False).to_numpy(dtype=bool)
            & ~rows["macrohaemorrhage"].fillna(False).to_numpy(dtype=bool),
        }
    )


def placed(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Centres (n, 3) and radii (n,) in mm of rows of a truth table."""
    centres = rows[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float, na_value=np.inf)
    return centres.reshape(-1, 3), rows["radius_mm"].to_numpy(dtype=float, na_value=np.nan)


def _matched(read, real, truth, candidates):
    """Scans, microbleeds, candidates and mimics with what was found of each."""
    places = ["x_mm", "y_mm", "z_mm"]
    of_scan = {key: dict(list(rows.groupby("scan_id"))) for key, rows in (
        ("real", real), ("candidates", candidates),
        ("mimics", truth[~truth["kind"].isin(["microbleed", "none"])]),
    )}  # fmt: skip
    scans, reals, founds, mimics = [], [], [], []
    for scan in read.itertuples():
        own = of_scan["candidates"].get(scan.scan_id, candidates.iloc[:0]).copy()
        lesions = of_scan["real"].get(scan.scan_id, real.iloc[:0]).copy()
        centres, radius = placed(lesions)
        points = own[places].to_numpy(dtype=float)
        for stage in STAGES:
            own[f"hit_{stage}"] = hits_by_score(points, centres, radius, own[stage].to_numpy())
        decided = np.flatnonzero(own["decided"])
        pairs = hungarian(points[decided], centres, radius)
        found = np.zeros(len(lesions), bool)
        found[[lesion for _, lesion in pairs]] = True
        right = np.zeros(len(own), bool)
        right[decided[[candidate for candidate, _ in pairs]]] = True
        own["right"] = right
        lesions["found"] = found
        odd = of_scan["mimics"].get(scan.scan_id)
        if odd is not None:
            wrong = points[decided][~right[decided]]
            called = np.zeros(len(odd), bool)
            pairs = hungarian(wrong, *placed(odd))
            called[[mimic for _, mimic in pairs]] = True
            mimics.append(odd[["scan_id", "kind"]].assign(called=called))
            # A call on a faint microbleed is neither right nor wrong.
            faint = odd[odd["kind"] == "faint"]
            aside = only_near(points, placed(faint), (centres, radius))
            own = own[~aside]
        for rows in (own, lesions):
            rows["person"] = scan.person
            rows["cohort"], rows["contrast"] = scan.cohort, scan.contrast
        reals.append(lesions)
        founds.append(own)
        scans.append(
            {
                "n_true": len(lesions),
                "n_pred": int(scan.n_cmb),
                "top": float(own["final"].max()) if len(own) else 0.0,
                "tp": int(found.sum()),
                "fp": int((own["decided"] & ~own["right"]).sum()),
            }
        )
    read = pd.concat([read.drop(columns="n_cmb"), pd.DataFrame(scans)], axis=1)
    real = pd.concat(reals, ignore_index=True)
    radius = real["radius_mm"].to_numpy(dtype=float, na_value=np.nan)
    return (
        read,
        real.assign(diameter=2 * radius),
        pd.concat(founds, ignore_index=True),
        pd.concat(mimics, ignore_index=True)
        if mimics
        else pd.DataFrame({"kind": [], "called": []}),
    )
