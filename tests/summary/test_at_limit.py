"""Scans whose candidates were cut off."""

import pandas as pd

from cmburden.core.tables import SCANS
from cmburden.summary import scans


def test_scans_at_the_limit_of_candidates_are_counted():
    """Audit C (section 2, edge cases): the detector's limit of 200 censors large counts, untold."""
    numbers = [200, 199, 0, 201, None, 200]
    rows = [
        {"scan_id": f"s{k}", "cohort": "c", "participant_id": f"sub-{k}", "n_candidates": number}
        | {"status": "ok" if k < 5 else "failed"}
        for k, number in enumerate(numbers)
    ]
    row = scans.at_limit(SCANS.frame(rows), 200)
    # One scan has no record of the number, one has failed.
    assert (row["n"], row["denominator"]) == (2, 4)
    assert scans.at_limit(SCANS.frame(pd.DataFrame()), 200)["n"] == 0
