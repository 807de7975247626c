"""Manufacturer and the other columns of the protocol are covariates; levels are no numbers."""

import pandas as pd

from cmburden.core.tables import SCANS
from cmburden.summary.covariates import design
from cmburden.summary.regressions.people import table_of


def test_the_maker_is_a_term_and_a_named_number_is_a_level():
    n = 80
    ids = [f"s{number}" for number in range(n)]
    makers = ["Siemens" if number % 4 < 2 else "GE" for number in range(n)]
    scans = SCANS.frame(
        pd.DataFrame({"scan_id": ids, "cohort": "A", "participant_id": ids, "status": "ok"}).assign(
            manufacturer=makers, repetition_time_s=[0.02 + number % 3 / 100 for number in range(n)]
        )
    )
    people = pd.DataFrame(
        {
            "scan_id": ids,
            "n_cmb": [number % 2 for number in range(n)],
            "contrast": "GRE",
            "scanner": pd.array([str(number % 5 % 3 + 1) for number in range(n)], dtype="string"),
        }
    )
    table = table_of(people, scans)
    made = design(
        table, table["n_cmb"].to_numpy(), ["manufacturer", "scanner", "repetition_time_s"]
    )
    assert made.terms == (
        "manufacturer=Siemens against GE",
        "scanner=2 against 1",
        "scanner=3 against 1",
        "repetition_time_s per 10 ms",
    )
