"""Settled lesions as labels for fine-tuning: the table that ``cmburden train labels`` reads."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cmburden.cohort import verdicts as settle
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import whole_file, write_json
from cmburden.core.tables import CONSENSUS, REVIEWED, REVIEWS
from cmburden.review import store
from cmburden.review.worklist import Study

#: A reader's class as a kind of labelled lesion; a border is no lesion: it is found by itself.
KINDS = {
    "microbleed": "microbleed",
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


def rows(verdicts: settle.Verdicts) -> list[dict]:
    """A row a settled lesion of each scan without open lesions; one without place for none."""
    whole = verdicts.counts[verdicts.counts["n_cmb_reviewed"].notna()]
    places = REVIEWED.frame(verdicts.places)
    found = []
    for scan_id in sorted(whole["scan_id"]):
        own = [
            {
                "scan_id": scan_id,
                **{
                    name: round(float(getattr(place, name)), 3) for name in ("x_mm", "y_mm", "z_mm")
                },
                "radius_mm": ""
                if pd.isna(place.diameter_mm)
                else round(float(place.diameter_mm) / 2, 3),
                "kind": KINDS[place.reviewed_class],
            }
            for place in places[places["scan_id"] == scan_id].itertuples()
            if not pd.isna(place.reviewed_class) and place.reviewed_class in KINDS
        ]
        found += own or [dict.fromkeys(_DESCRIBED, "") | {"scan_id": scan_id}]
    return found


def main(study: Study, folder: Path) -> int:
    """Write ``folder``/labels.tsv and .json from the decisions of all readers."""
    path = store.export(study.layout)
    reviews = REVIEWS.frame([]) if path is None else REVIEWS.read(path)
    if not len(reviews):
        raise CMBurdenError(f"{study.layout.root}: nobody has reviewed it yet; cmburden review it")
    candidates = settle.candidates_of(study.layout, set(reviews["scan_id"]))
    verdicts = settle.settle(reviews, candidates, study.table)
    table = pd.DataFrame(rows(verdicts), columns=list(_DESCRIBED))
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
    hand = verdicts.readings.loc[verdicts.readings["free_hand"].astype(bool), "scan_id"]
    print(
        f"{int((table['kind'] == 'microbleed').sum())} microbleeds in {len(scans)} scans: {target}"
    )
    shown = len(scans - set(hand))
    if shown:
        print(
            f"{shown} of them were not read free-hand: a microbleed that the software missed and "
            "nobody added is no label there"
        )
    print(f"Next: cmburden train labels {study.layout.root} SLABS --table {target}")
    return 0
