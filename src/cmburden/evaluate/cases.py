"""Cases of an evaluation: scans, microbleeds, candidates and mimics, each with its outcome.

Predictions and truth are matched here, once. Every measure is then a sum over these rows.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core import config, keys, resources, table_set
from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.core.tables import CANDIDATES, LESIONS, RUNS, SCANS, TRUTH
from cmburden.evaluate import scanners
from cmburden.models import contract as contracts
from cmburden.stats.matching import hits_by_score, hungarian, only_near
from cmburden.verify.probability import logistic, network_logits

#: Stages of the ablation: the names of their scores, in the order that data flows.
STAGES = ("cnn", "cnn_yolo", "final")
_PLACE = ["x_mm", "y_mm", "z_mm"]
#: Kinds of a reader's table on which readers disagree, or that are counted apart: as faint ones.
_AS_FAINT = {"possible": "faint", "siderosis": "faint", "superficial siderosis": "faint"}


@dataclasses.dataclass(frozen=True)
class Cases:
    """Rows of an evaluation. Participants are numbered: ``person`` in each table.

    Attributes
    ----------
    scans : scan_id, participant_id, cohort, contrast, maker, field, person, n_true, n_pred, top, \
            tp, fp
        Scans that were read. ``top`` is the highest probability of a candidate, 0 without one.
    real : columns of ``tables.TRUTH``, person, contrast, found, diameter (mm)
        The scans' microbleeds.
    candidates : scan_id, person, cohort, contrast, group, a score and a ``hit_`` per stage,
        decided, right
        Candidates at faint microbleeds are left out.
    mimics : scan_id, kind, called
        Sources that are no microbleeds, and faint microbleeds.
    people : int
        Number of participants.
    counted : dict
        How many scans and microbleeds were read, and which were not.
    combination : dict or None
        The model of the score ``cnn_yolo``; None for the geometric mean.
    detector_threshold : float or None
        Operating threshold of ``p_cnn`` by the contract of the run's detector; None where unknown.
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

    def within(self, scan_ids: set[str]) -> Cases:
        """The cases of some scans; participants keep their numbers."""
        scans, real, candidates = (
            table[table["scan_id"].isin(scan_ids)]
            for table in (self.scans, self.real, self.candidates)
        )
        return dataclasses.replace(self, scans=scans, real=real, candidates=candidates)

    def levels(self, variable: str) -> list[str]:
        """Sorted levels of ``cohort``, ``contrast``, ``maker`` or ``field`` among the scans."""
        return sorted(set(self.scans[variable].dropna()))


def read_truth(path: Path, chosen: np.ndarray | None = None) -> pd.DataFrame:
    """A truth table (TSV) with the columns of ``tables.TRUTH``; n/a is missing.

    Of the table's rows only those ``chosen`` (n,) bool, where given.

    Raises
    ------
    CMBurdenError
        When the file cannot be read, lacks a column or breaks the table's contract.
    """
    try:
        rows = pd.read_csv(path, sep="\t", na_values=["n/a"], keep_default_na=True)
    except (OSError, ValueError) as error:
        raise CMBurdenError(f"{path}: not a readable truth table ({error})") from error
    required = [column.name for column in TRUTH.columns if not column.nullable]
    missing = [name for name in (*required, *_PLACE, "radius_mm") if name not in rows]
    if missing:
        raise CMBurdenError(f"{path}: column(s) {', '.join(missing)} are missing")
    if chosen is not None:
        rows = rows[chosen]
    # pandas reads the kind 'none' as missing.
    kind = rows["kind"].fillna("none").astype(str)
    rows["kind"] = kind.map(lambda name: _AS_FAINT.get(name.strip().lower(), name))
    return _as_truth(rows, path)


def _as_truth(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """``rows`` by the contract of ``tables.TRUTH``, without further columns."""
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
    table_set.check(layout)
    scans = SCANS.read(layout.table("scans"))
    combination = combination_of(scans, contract_of_run(layout, "verify"))
    thresholds = contract_of_run(layout, "detect").get("thresholds") or {}
    candidates = decided(
        CANDIDATES.read(layout.candidates), LESIONS.read(layout.table("lesions")), combination
    )
    read = scans_read(layout, scans, truth)
    if read.empty:
        raise CMBurdenError(
            f"no scan of the truth table was read in {layout.root}: scan_id must agree"
        )
    read["person"], participants = pd.factorize(read["participant_id"])
    matched = _matched(read, truth, candidates)
    read = pd.concat(
        [read.drop(columns="n_cmb"), pd.DataFrame([scan.counts for scan in matched])], axis=1
    )
    real = pd.concat([scan.real for scan in matched], ignore_index=True)
    mimics = [scan.mimics for scan in matched if len(scan.mimics)]
    return Cases(
        scans=read,
        real=real.assign(diameter=2 * placed(real)[1]),
        candidates=pd.concat([scan.candidates for scan in matched], ignore_index=True),
        mimics=pd.concat(mimics, ignore_index=True)
        if mimics
        else pd.DataFrame({"kind": [], "called": []}),
        people=len(participants),
        combination=combination,
        detector_threshold=thresholds.get("p_cnn"),
        counted=_counted(scans, read, truth),
    )


def scans_read(layout: Layout, scans: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Scans of ``truth`` with a result of every stage, with the truth's cohort and participant."""
    read = scans[scans["scan_id"].isin(truth["scan_id"]) & (scans["status"] == "ok")]
    read = read.sort_values("scan_id").reset_index(drop=True)
    of_truth = truth.drop_duplicates("scan_id").set_index("scan_id")
    return read[["scan_id", "contrast", "n_cmb"]].assign(
        cohort=read["scan_id"].map(of_truth["cohort"]),
        participant_id=read["scan_id"].map(of_truth["participant_id"]),
        **scanners.of_scans(layout, read),
    )


def _counted(scans: pd.DataFrame, read: pd.DataFrame, truth: pd.DataFrame) -> dict[str, Any]:
    """``Cases.counted``: ``scans`` of the run, ``read`` of them with counts, and the truth."""
    unread = sorted(set(truth["scan_id"]) - set(read["scan_id"]))
    status = scans.set_index("scan_id")["status"]
    real = truth[truth["kind"] == "microbleed"]
    return {
        "in_truth": int(truth["scan_id"].nunique()),
        "read": len(read),
        "participants": int(read["person"].nunique()),
        "with_microbleeds": int((read["n_true"] > 0).sum()),
        "microbleeds": int(read["n_true"].sum()),
        "not_read": [
            {"scan_id": scan_id, "status": status.get(scan_id, "not in the derivatives")}
            for scan_id in unread
        ],
        "microbleeds_not_read": int(real["scan_id"].isin(unread).sum()),
        "without_truth": int((~scans["scan_id"].isin(truth["scan_id"])).sum()),
    }


def model_folder(layout: Layout, stage: str) -> Path | None:
    """Folder of the model that the run in an output folder used for ``stage`` (detect, verify).

    The run's own configuration names the folder; None where there is no such configuration.
    """
    try:
        return resources.root() / config.stored(layout.config)[stage]["model"]
    except (KeyError, TypeError):
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


def combination_of(scans: pd.DataFrame, contract: dict[str, Any]) -> dict[str, Any] | None:
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


def decided(
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
    place = rows[_PLACE].to_numpy(dtype=float)
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


# --- matching ---


def placed(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Centres (n, 3) and radii (n,) in mm of rows of a truth table."""
    centres = rows[_PLACE].to_numpy(dtype=float, na_value=np.inf)
    return centres.reshape(-1, 3), rows["radius_mm"].to_numpy(dtype=float, na_value=np.nan)


def match(
    points: np.ndarray, chosen: np.ndarray, centres: np.ndarray, radii: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which points and which sources have a partner, in the matching of the chosen points.

    ``points`` (n, 3), ``centres`` (m, 3) and ``radii`` (m,) are in scanner mm; ``chosen`` (n,)
    says which points take part. Returns booleans (n,) and (m,). The matching is that of
    :func:`matching.hungarian`.

    >>> points = np.array([[0.0, 0, 0], [1, 0, 0], [50, 0, 0]])
    >>> match(points, np.array([False, True, True]), points[:1], np.ones(1))
    (array([False,  True, False]), array([ True]))
    """
    rows = np.flatnonzero(chosen)
    pairs = hungarian(points[rows], centres, radii)
    point_matched, source_matched = np.zeros(len(points), bool), np.zeros(len(centres), bool)
    point_matched[rows[[point for point, _ in pairs]]] = True
    source_matched[[source for _, source in pairs]] = True
    return point_matched, source_matched


@dataclasses.dataclass(frozen=True)
class _ScanCases:
    """One scan: ``counts`` for the row of ``Cases.scans``, and its rows of the other tables."""

    counts: dict[str, float]
    real: pd.DataFrame
    candidates: pd.DataFrame
    mimics: pd.DataFrame


def _matched(read: pd.DataFrame, truth: pd.DataFrame, candidates: pd.DataFrame) -> list[_ScanCases]:
    """Each scan of ``read``, its candidates matched with its sources of ``truth``."""
    of_candidates = dict(list(candidates.groupby("scan_id")))
    of_truth = dict(list(truth.groupby("scan_id")))
    return [
        _scan_cases(
            scan, of_candidates.get(scan.scan_id, candidates.iloc[:0]), of_truth[scan.scan_id]
        )
        for scan in read.itertuples()
    ]


def _scan_cases(scan: Any, candidates: pd.DataFrame, truth: pd.DataFrame) -> _ScanCases:
    """``scan`` is a row of the scans that were read; both tables hold that scan's rows."""
    microbleeds = truth[truth["kind"] == "microbleed"]
    mimics = truth[~truth["kind"].isin(["microbleed", "none"])]
    real = placed(microbleeds)
    points = candidates[_PLACE].to_numpy(dtype=float)
    hits = {
        f"hit_{stage}": hits_by_score(points, *real, candidates[stage].to_numpy())
        for stage in STAGES
    }
    decided = candidates["decided"].to_numpy(dtype=bool)
    right, found = match(points, decided, *real)
    _, called = match(points, decided & ~right, *placed(mimics))
    # A call on a faint microbleed is neither right nor wrong.
    faint = only_near(points, placed(mimics[mimics["kind"] == "faint"]), real)
    counted = candidates[~faint]
    stratum = {"person": scan.person, "cohort": scan.cohort, "contrast": scan.contrast}
    return _ScanCases(
        counts={
            "n_true": len(microbleeds),
            "n_pred": int(scan.n_cmb),
            "top": float(counted["final"].max()) if len(counted) else 0.0,
            "tp": int(found.sum()),
            "fp": int((decided & ~right & ~faint).sum()),
        },
        real=microbleeds.assign(found=found, **stratum),
        candidates=candidates.assign(**hits, right=right, **stratum)[~faint],
        mimics=mimics[["scan_id", "kind"]].assign(called=called),
    )
