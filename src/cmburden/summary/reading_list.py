"""The scans that a reader should look at first, and the reasons of each."""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd

from cmburden.models.contract import contract_of
from cmburden.summary import thresholds
from cmburden.summary.image_checks import OUTLYING, domain_of, outside, robust_z

#: Half width around the definite threshold within which a scan's call is borderline. By eye.
BORDERLINE = 0.1
#: Most scans for one reason.
MOST = 20
REASONS = {
    "highest count": "the most definite microbleeds",
    "borderline": f"the most probable lesion within {BORDERLINE:g} of the definite threshold, so "
    "that it alone decides whether the scan counts as positive",
    "outlying quality": f"a QC measure more than {OUTLYING:g} robust standard deviations off",
    "outside the validated domain": "acquired unlike what the detector was tried on",
}


@dataclasses.dataclass(frozen=True)
class Checks:
    """What is unusual about the scans with status ok.

    ``z``: robust z of each QC measure, of ``image_checks.robust_z``. ``ranges``: the validated
    domain of the verifier. ``outside``: of ``image_checks.outside``. ``z`` and ``outside`` have the
    index of those scans. ``to_check``: of ``reading_list``.
    """

    z: pd.DataFrame
    ranges: dict[str, tuple[float, float]]
    outside: pd.DataFrame
    to_check: pd.DataFrame


def checks(scans: pd.DataFrame, lesions: pd.DataFrame, config: dict[str, Any]) -> Checks:
    """The checks of a cohort's scans; both `summary` and the report's pages show these.

    ``scans`` and ``lesions`` of their contracts.
    """
    ranges = domain_of(contract_of(config, "verify"))
    beyond = outside(scans[scans["status"] == "ok"], ranges)
    definite = thresholds.in_use(config).get("definite")
    to_check = reading_list(scans, lesions, definite, beyond)
    return Checks(robust_z(scans), ranges, beyond, to_check)


def reading_list(
    scans: pd.DataFrame, lesions: pd.DataFrame, threshold: float | None, outside: pd.DataFrame
) -> pd.DataFrame:
    """Scans to check first, most reasons first, then by their rank among those of one reason.

    ``scans`` and ``lesions`` of their contracts; ``threshold`` of definite lesions (None: no scan
    is borderline); ``outside`` of ``image_checks.outside`` over those read. Columns: scan_id,
    participant_id, contrast, n_cmb, probability (of the most probable lesion), z (largest robust z,
    signed), measure (its name), reasons (list of keys of ``REASONS``).
    """
    read = scans[scans["status"] == "ok"]
    small = lesions[~lesions["macrohaemorrhage"].fillna(False)]
    highest = small.groupby("scan_id")["probability"].max()
    table = read[["scan_id", "participant_id", "contrast", "n_cmb"]].copy()
    table["probability"] = table["scan_id"].map(highest).astype("Float64")
    table = table.join(_most_outlying(scans))
    reasons: dict[int, list[str]] = {}
    place: dict[int, int] = {}
    for reason, score in _scores(table, threshold, outside).items():
        order = table.assign(_score=score.astype("Float64")).dropna(subset=["_score"])
        order = order.sort_values(["_score", "scan_id"], ascending=[False, True]).head(MOST)
        for rank, row in enumerate(order.index):
            reasons.setdefault(row, []).append(reason)
            place[row] = min(rank, place.get(row, rank))
    chosen = table.loc[list(reasons)].copy()
    chosen["reasons"] = [reasons[row] for row in chosen.index]
    chosen["_many"] = [-len(of_scan) for of_scan in chosen["reasons"]]
    chosen["_rank"] = [place[row] for row in chosen.index]
    order = ["_many", "_rank", "scan_id"]
    return chosen.sort_values(order).drop(columns=["_many", "_rank"]).reset_index(drop=True)


def _most_outlying(scans: pd.DataFrame) -> pd.DataFrame:
    """Signed ``z`` of the most outlying QC measure, and the ``measure``; null without any."""
    all_z = robust_z(scans)
    worst = pd.DataFrame({"z": all_z.abs().max(axis=1), "measure": None}, dtype=object)
    worst["z"] = worst["z"].astype(float)
    judged = worst["z"].dropna().index
    if len(judged):
        names = all_z.loc[judged].abs().idxmax(axis=1)
        worst.loc[judged, "measure"] = names
        worst.loc[judged, "z"] = [all_z.at[row, name] for row, name in names.items()]
    return worst


def _scores(
    table: pd.DataFrame, threshold: float | None, outside: pd.DataFrame
) -> dict[str, pd.Series]:
    """By reason, a score of each scan: the higher, the earlier; null where the reason is none."""
    worst = table["z"].abs()
    scores = {
        "highest count": table["n_cmb"].where(table["n_cmb"] > 0),
        "outlying quality": worst.where(worst > OUTLYING),
    }
    if threshold is not None:
        distance = (table["probability"] - threshold).abs()
        # Negative: the scan nearest to the threshold comes first.
        scores["borderline"] = -distance.where(distance <= BORDERLINE)
    if len(outside.columns):
        beyond = outside.fillna(False).any(axis=1)
        scores["outside the validated domain"] = beyond.where(beyond)
    return {reason: scores[reason] for reason in REASONS if reason in scores}
