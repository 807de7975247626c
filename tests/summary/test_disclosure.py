"""Rows of `summary` to share: no small number, and none that subtraction gives."""

import re

import numpy as np
import pandas as pd
import pytest

from cmburden.stats.intervals import wilson
from cmburden.summary import disclosure
from cmburden.summary.strata import Stratum

LEAST = 5


def share(stratum: str, measure: str, n: int, of: int) -> dict:
    low, high = wilson(n, of)
    row = {"stratum": stratum, "measure": measure, "estimate": n / of, "n": n, "denominator": of}
    return row | {"ci_low": low, "ci_high": high, "method": "share, Wilson 95 % interval"}


def count(stratum: str, measure: str, n: int, of: int | None = None) -> dict:
    row = {"stratum": stratum, "measure": measure, "estimate": float(n), "n": n, "denominator": of}
    return row | {"ci_low": None, "ci_high": None, "method": "counted"}


def cohort(seed: int, people: int) -> list[dict]:
    """Rows by sex, age band, both, and bins, as the product names them."""
    random = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "sex": random.choice(["F", "M"], people),
            "age_band": random.choice(["<50", "50-59", ">=60"], people, p=[0.1, 0.4, 0.5]),
            "n": random.negative_binomial(0.3, 0.3, people),
        }
    )
    rows = []
    for by in ([], ["sex"], ["age_band"], ["age_band", "sex"]):
        groups = table.groupby(by) if by else [((), table)]
        for key, members in groups:
            name = Stratum(contrast="GRE", **dict(zip(by, key, strict=True))).name
            positive, of = int((members["n"] > 0).sum()), len(members)
            rows += [
                count(name, "participants", of),
                share(name, "participants usable", of, of),
                share(name, "presence definite", positive, of),
                share(name, "bin=0", of - positive, of),
                share(name, "bin=1", int((members["n"] == 1).sum()), of),
                share(name, "bin=>=2", int((members["n"] > 1).sum()), of),
            ]
    return rows


@pytest.mark.parametrize("seed", range(6))
def test_no_small_number_is_left_and_none_is_a_difference(seed):
    """Audit 4, item 13: five of sixty cells had a denominator of one."""
    rows = cohort(seed, 150)
    shown = {(row["stratum"], row["measure"]): row for row in disclosure.suppressed(rows, LEAST)}
    assert any(row.get("suppressed") for row in shown.values())
    assert any(row["n"] for row in shown.values())
    for row in shown.values():
        numbers = [row["n"], row["denominator"]]
        if None not in numbers:
            numbers.append(row["denominator"] - row["n"])
        assert not any(number is not None and 0 < number < LEAST for number in numbers), row
        if row.get("suppressed"):
            assert row["ci_low"] is None and row["ci_high"] is None
    for whole, parts in margins(rows):
        known = [shown[key]["n"] for key in parts]
        hidden_ = [key for key, n in zip(parts, known, strict=True) if n is None]
        total = shown[whole]["n"]
        if total is not None and hidden_:
            assert total - sum(n for n in known if n is not None) not in range(1, LEAST)
            assert len(hidden_) > 1 or total == sum(n for n in known if n is not None)
        assert not (total is None and not hidden_)


def margins(rows: list[dict]):
    """Each row with the rows that add up to it: levels of a variable, and bins."""
    keys = {(row["stratum"], row["measure"]) for row in rows}
    for stratum, measure in sorted(keys):
        if measure == "participants usable":
            yield (stratum, measure), [(stratum, f"bin={b}") for b in ("0", "1", ">=2")]
        for variable in ("sex", "age_band"):
            if f"{variable}=" in stratum:
                continue
            of = dict(Stratum.parse(stratum).levels)
            parts = [
                key
                for key in sorted(keys)
                if key[1] == measure
                and variable in key[0]
                and dict(Stratum.parse(key[0]).levels).keys() == {*of, variable}
                and of.items() <= dict(Stratum.parse(key[0]).levels).items()
            ]
            if parts:
                yield (stratum, measure), parts


def test_everybody_of_a_group_is_what_each_member_has():
    rows = [share("contrast=GRE", "presence definite", 9, 9), count("all", "scans", 20)]
    first, second = disclosure.suppressed(rows, LEAST)
    assert first["n"] is None and first["method"].startswith("suppressed")
    assert second["n"] == 20


def test_sentences_lose_their_small_numbers_and_readers_their_names():
    refusal = count("all", "odds ratio presence: sex=M against F", 30, 60) | {
        "estimate": None,
        "method": "not estimated: 4 of 60 participants have a definite microbleed",
    }
    kept = count("all", "mean count", 60, 60) | {
        "method": "percentile bootstrap over participants, 1000 draws; 3 without age",
        "estimate": 0.5,
    }
    pair = count("all", "review icc count: Anna / software", 40) | {"estimate": 0.9}
    out = [row["method"] for row in disclosure.suppressed([refusal, kept], LEAST)]
    assert out == [
        "not estimated: the reason holds a suppressed number",
        "percentile bootstrap over participants, 1000 draws",
    ]
    (read,) = disclosure.suppressed([pair], LEAST)
    assert read["measure"] == "review icc count: reader 1 / software"


def test_what_is_of_one_scan_is_left_out():
    least = count("cohort=A & contrast=GRE", "qc snr min", 60) | {"estimate": 8.0}
    middle = count("cohort=A & contrast=GRE", "qc snr median", 60) | {"estimate": 12.0}
    assert [row["estimate"] for row in disclosure.suppressed([least, middle], LEAST)] == [None, 12]


def test_a_count_of_few_people_is_no_row():
    rows = [
        count("contrast=GRE", f"participants count={n}", people, 30)
        for n, people in ((0, 20), (1, 6), (2, 3), (57, 1))
    ]
    left = {row["measure"] for row in disclosure.suppressed(rows, LEAST)}
    assert not any(re.search("57|count=2", name) for name in left)


def test_points_of_a_curve_do_not_differ_by_a_small_number():
    points = [
        {"curve": "prevalence", "contrast": "GRE", "x": x, "n": n, "denominator": 50}
        for x, n in ((0.3, 40), (0.4, 38), (0.5, 30), (0.6, 3), (0.7, 0))
    ]
    kept = disclosure.of_curve(points, {}, LEAST)
    assert [point["n"] for point in kept] == [40, 30, 0]


def test_cells_of_the_map_with_few_lesions_are_left_out():
    cells = [{"contrast": "SWI", "n": n} for n in (9, 7, 2)]
    assert [cell["n"] for cell in disclosure.of_cells(cells, {}, LEAST)] == [9]
