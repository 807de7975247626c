"""Exports settled lesions as labels, in the table that ``cmburden train labels`` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from cmburden.cohort import verdicts
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import whole_file, write_json
from cmburden.core.rows import grouped
from cmburden.core.tables import CONSENSUS, REVIEWED
from cmburden.review.sample import first_decisions
from cmburden.review.worklist import Study

#: A reader's class -> kind of a labelled lesion. Borders are no labels: training finds borders.
KINDS = {
    "microbleed": "microbleed",
    "possible microbleed": "microbleed",
    "vessel": "vessel",
    "calcification": "calcification",
    "haemorrhage": "macrohaemorrhage",
}
_DESCRIBED = {
    "scan_id": {"Description": "Name of the source image without extension"},
    "x_mm": {"Description": "Centre, scanner RAS; empty: read, nothing found", "Units": "mm"},
    "y_mm": {"Description": "Centre, scanner RAS", "Units": "mm"},
    "z_mm": {"Description": "Centre, scanner RAS", "Units": "mm"},
    "radius_mm": {"Description": "Half the software's diameter; empty: unknown", "Units": "mm"},
    "kind": {"Description": "microbleed, or the mimic that readers agree on"},
}


def rows(settled: verdicts.Verdicts) -> list[dict[str, Any]]:
    """Rows of labels.tsv: the settled lesions of each scan without open lesions.

    A scan without lesions is a row without a place.
    """
    whole = settled.counts[settled.counts["n_cmb_reviewed"].notna()]
    places = REVIEWED.frame(settled.places)
    labelled = grouped(places[places["reviewed_class"].isin(list(KINDS))], "scan_id")
    result = []
    for scan_id in sorted(whole["scan_id"]):
        lesions = [_row(place) for place in labelled.get(scan_id, [])]
        result += lesions or [dict.fromkeys(_DESCRIBED, "") | {"scan_id": scan_id}]
    return result


def _row(place: dict[str, Any]) -> dict[str, Any]:
    diameter = place["diameter_mm"]
    return {
        "scan_id": place["scan_id"],
        **{name: round(place[name], 3) for name in ("x_mm", "y_mm", "z_mm")},
        "radius_mm": "" if diameter is None else round(diameter / 2, 3),
        "kind": KINDS[place["reviewed_class"]],
    }


def main(study: Study, folder: Path) -> int:
    """Write ``folder``/labels.tsv and .json from the decisions of all readers.

    Raises
    ------
    CMBurdenError
        If nobody has reviewed the run, or no scan is settled.
    """
    reviews = first_decisions(study.layout)
    if not len(reviews):
        raise CMBurdenError(f"{study.layout.root}: nobody has reviewed it yet; cmburden review it")
    candidates = verdicts.candidates_of(study.layout, set(reviews["scan_id"]))
    settled = verdicts.settle(reviews, candidates, study.table)
    table = pd.DataFrame(rows(settled), columns=list(_DESCRIBED))
    if not len(table):
        raise CMBurdenError(
            f"{study.layout.root}: no scan is settled yet; finish the lesions of a scan, or let "
            f"--reader {CONSENSUS} settle what is in dispute"
        )
    target = Path(folder) / "labels.tsv"
    with whole_file(target) as temporary:
        table.to_csv(temporary, sep="\t", index=False)
    write_json(target.with_suffix(".json"), _DESCRIBED)
    scans = set(table["scan_id"])
    free_hand = settled.readings.loc[settled.readings["free_hand"].astype(bool), "scan_id"]
    n_microbleeds = int((table["kind"] == "microbleed").sum())
    print(f"{n_microbleeds} microbleeds in {len(scans)} scans: {target}")
    n_unread = len(scans - set(free_hand))
    if n_unread:
        print(
            f"{n_unread} of them were not read free-hand: a microbleed that the software missed "
            "and nobody added is no label there"
        )
    print(f"Next: cmburden train labels {study.layout.root} SLABS --table {target}")
    return 0
