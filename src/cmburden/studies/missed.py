"""What a run's candidates say of a microbleed that another session shows, the answer being known:
``python -m cmburden.studies.missed DERIVATIVES TRUTH --out OUT``. No sessions are needed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core import config, schema, tables
from cmburden.core.errors import told
from cmburden.core.files import whole_file, write_json
from cmburden.core.keys import seed_of
from cmburden.core.paths import Layout
from cmburden.evaluate import cases as evaluate_cases
from cmburden.follow.tracks import Rates, look
from cmburden.models.contract import contract_of
from cmburden.stats.intervals import wilson
from cmburden.stats.matching import hungarian

_CENTRE, _MNI = ["x_mm", "y_mm", "z_mm"], ["mni_x", "mni_y", "mni_z"]
#: Probability of the lesion where it was found.
_SEEN = 0.9


def lookup(
    layout: Layout, truth: pd.DataFrame, rates: Rates, settings: dict[str, Any], seed: int = 0
) -> dict[str, Any]:
    """The probability of having been missed, where the answer is known.

    'nothing there': the place of a microbleed of one scan, by MNI152, in up to ten scans of the
    same contrast of others, who have theirs elsewhere; 'missed': a microbleed of ``truth``
    (``tables.TRUTH``) of which no candidate was kept, looked up in its own scan as if another
    session had shown it, with the errors of a repeated position.
    """
    candidates = tables.CANDIDATES.read(layout.candidates)
    scans = tables.SCANS.read(layout.table("scans"))
    scans = scans[(scans["status"] == "ok") & scans["scan_id"].isin(truth["scan_id"])]
    real = truth[truth["kind"] == "microbleed"]
    rng = np.random.default_rng(seed_of("lookup", seed))
    own, bleeds = dict(list(candidates.groupby("scan_id"))), dict(list(real.groupby("scan_id")))
    there: list[float] = []
    empty: list[float] = []
    places: dict[str, list[tuple[str, np.ndarray]]] = {"GRE": [], "SWI": []}
    by_scan = []
    for scan in schema.as_records(scans):
        rows = own.get(scan["scan_id"], candidates.iloc[:0])
        kept = rows["kept"].fillna(False).to_numpy(dtype=bool)
        density = max(len(rows), 1) / (1000 * scan["brain_volume_ml"])
        sizes = np.array([scan[name] for name in ("voxel_x_mm", "voxel_y_mm", "slice_mm")])
        spread = np.diag(sizes**2 / 6 + 2 * settings["position_error_mm"] ** 2)

        def ask(at, columns, rows=rows[~kept], spread=spread, density=density) -> float:
            return look(
                at, spread, _SEEN, rows[columns].to_numpy(dtype=float),
                rows["probability"].to_numpy(dtype=float), density, rates,
                prior=settings["prior_there"], max_mm=settings["max_distance_mm"],
            ).probability  # fmt: skip

        by_scan.append((scan, ask))
        mine = bleeds.get(scan["scan_id"])
        if mine is None:
            continue
        points = mine[_CENTRE].to_numpy(dtype=float)
        radii = mine["radius_mm"].to_numpy(dtype=float, na_value=np.nan)
        found = {j for _, j in hungarian(rows[kept][_CENTRE].to_numpy(dtype=float), points, radii)}
        for j in sorted(set(range(len(points))) - found):
            there.append(ask(points[j] + rng.normal(0, np.sqrt(np.diag(spread) / 2)), _CENTRE))
        for i, _ in hungarian(rows[_CENTRE].to_numpy(dtype=float), points, radii):
            places[scan["contrast"]].append(
                (scan["participant_id"], rows[_MNI].iloc[i].to_numpy(dtype=float))
            )
    for contrast, known in places.items():
        others = [(scan, ask) for scan, ask in by_scan if scan["contrast"] == contrast]
        for participant, at in known:
            strangers = [ask for scan, ask in others if scan["participant_id"] != participant]
            for k in rng.permutation(len(strangers))[:10]:
                empty.append(strangers[k](at, _MNI))
    limit = settings["missed_from"]
    result = {}
    for name, values in (("nothing there", empty), ("missed", there)):
        above = int(np.sum(np.array(values) >= limit))
        low, high = wilson(above, len(values))
        result[name] = {
            "places": len(values), "held_to_be_there": above,
            "share": above / len(values) if values else None,
            "ci_low": low if values else None, "ci_high": high if values else None,
            "mean_p_missed": float(np.mean(values)) if values else None,
        }  # fmt: skip
    return result


def markdown(result: dict[str, Any]) -> str:
    lines = ["| place | places | held to be there, 95 % | mean p_missed |", "|---|---|---|---|"]
    for name, row in result.items():
        share = "-"
        if row["places"]:
            share = f"{row['share']:.3f} ({row['ci_low']:.3f}-{row['ci_high']:.3f})"
        mean = "-" if row["mean_p_missed"] is None else f"{row['mean_p_missed']:.3f}"
        lines.append(f"| {name} | {row['places']} | {share} | {mean} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cmburden.studies.missed")
    parser.add_argument("derivatives", type=Path, help="a run over simulated scans")
    parser.add_argument("truth", type=Path, help="their truth.tsv")
    parser.add_argument("--out", type=Path, required=True, help="folder for lookup.json and .md")
    args = parser.parse_args(arguments)
    settings = config.load()
    result = lookup(
        Layout(args.derivatives),
        evaluate_cases.read_truth(args.truth),
        Rates.of_contract(contract_of(settings, "verify") or {}),
        settings["longitudinal"],
    )
    write_json(args.out / "lookup.json", result)
    with whole_file(args.out / "lookup.md") as temporary:
        temporary.write_text(markdown(result), encoding="utf-8")
    print(markdown(result), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(told(main))
