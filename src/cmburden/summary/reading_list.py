"""The scans that a reader should look at first, and why each."""

from __future__ import annotations

import pandas as pd

from cmburden.summary.image_checks import OUTLYING, robust_z

#: Half width around the definite threshold within which a scan's call is borderline.
BORDERLINE = 0.1
#: At most this many of each kind.
MOST = 20
REASONS = {
    "highest count": "the most definite microbleeds",
    "borderline": f"the most probable lesion within {BORDERLINE:g} of the definite threshold, so "
    "that it alone decides whether the scan counts as positive",
    "outlying quality": f"a QC measure more than {OUTLYING:g} robust standard deviations off",
    "outside the validated domain": "acquired unlike what the detector was tried on",
}


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
    z = robust_z(scans)
    worst = z.abs().max(axis=1)
    table["z"] = worst
    table["measure"] = None
    judged = worst.dropna().index
    if len(judged):
        names = z.loc[judged].abs().idxmax(axis=1)
        table.loc[judged, "measure"] = names
        table.loc[judged, "z"] = [z.at[row, name] for row, name in names.items()]
    far = (table["probability"] - threshold).abs() if threshold is not None else None
    beyond = outside.fillna(False).any(axis=1) if len(outside.columns) else None
    ranked = {
        "highest count": table["n_cmb"].where(table["n_cmb"] > 0).astype("Float64"),
        # Negative: the nearest to the threshold comes first.
        "borderline": -far.where(far <= BORDERLINE) if far is not None else None,
        "outlying quality": worst.where(worst > OUTLYING),
        "outside the validated domain": beyond.where(beyond).astype("Float64")
        if beyond is not None
        else None,
    }
    reasons: dict[int, list[str]] = {}
    place: dict[int, int] = {}
    for reason, score in ranked.items():
        if score is None:
            continue
        order = table.assign(_score=score.astype("Float64")).dropna(subset=["_score"])
        order = order.sort_values(["_score", "scan_id"], ascending=[False, True]).head(MOST)
        for rank, row in enumerate(order.index):
            reasons.setdefault(row, []).append(reason)
            place[row] = min(rank, place.get(row, rank))
    chosen = table.loc[list(reasons)].copy()
    chosen["reasons"] = [reasons[row] for row in chosen.index]
    chosen["_many"] = [-len(found) for found in chosen["reasons"]]
    chosen["_rank"] = [place[row] for row in chosen.index]
    order = ["_many", "_rank", "scan_id"]
    return chosen.sort_values(order).drop(columns=["_many", "_rank"]).reset_index(drop=True)
