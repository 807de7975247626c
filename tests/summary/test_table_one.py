"""Table 1, included against excluded, standardised prevalence: rows counted by hand."""

import math

import pandas as pd
import pytest

from cmburden.core.errors import CMBurdenError
from cmburden.core.tables import PARTICIPANTS, SCANS
from cmburden.stats.intervals import wilson
from cmburden.summary import bins, standardised, standards, table_one

EDGES = [0, 50, 60, 70, 80, 90]
MEASURE = "presence definite, age-sex standardised"


def people(rows):
    """(age, sex, site, contrast, n_cmb); without a usable scan where n_cmb is None."""
    table = pd.DataFrame(rows, columns=["age", "sex", "site", "contrast", "n_cmb"])
    names = [f"sub-{number:03d}" for number in range(len(table))]
    table = table.assign(
        participant_id=names,
        cohort=["A" if number % 2 else "B" for number in range(len(table))],
        scan_id=[
            name if row[-1] is not None else None for name, row in zip(names, rows, strict=True)
        ],
        n_scans=1,
        n_cmb=table["n_cmb"].astype("Int64"),
        age_band=bins.binned(table["age"], EDGES, bins.age_band_labels(EDGES)),
    )
    return PARTICIPANTS.frame(table)


def scans_of(participants, **columns):
    used = participants[participants["scan_id"].notna()]
    rows = used[["scan_id", "cohort", "participant_id", "contrast"]].assign(status="ok", **columns)
    return SCANS.frame(rows)


def by_name(rows):
    return {(row["stratum"], row["measure"]): row for row in rows}


ROWS = [
    (60.0, "F", "X", "GRE", 0),
    (70.0, "M", "X", "GRE", 2),
    (80.0, "F", None, "SWI", 0),
    (None, "M", "Y", "SWI", 1),
    (90.0, "M", "Y", "SWI", None),
    (94.0, "M", "X", None, None),
]


def test_table_one_is_counted_by_hand():
    """Audit, section 4 item 3: n, age, sex, site, field, missing; positive against negative."""
    table = people(ROWS)
    made = by_name(table_one.rows(table, scans_of(table, field_strength_t=2.89), ["age"]))
    stratum = "included=yes"
    assert made[stratum, "characteristic participants"]["n"] == 4
    values = {
        name: made[stratum, f"characteristic {name} of age"]["estimate"]
        for name in ("mean", "sd", "median", "q1", "q3", "min", "max", "missing")
    }
    quartiles = {"median": 70.0, "q1": 65.0, "q3": 75.0}
    ends = {"min": 60.0, "max": 80.0, "missing": 1.0}
    assert values == quartiles | ends | {"mean": 70.0, "sd": 10.0}
    women = made[stratum, "characteristic share with sex=F"]
    assert (women["estimate"], women["n"], women["denominator"]) == (0.5, 2, 4)
    site = made[stratum, "characteristic share with site=X"]
    assert (site["n"], site["denominator"]) == (2, 3)
    assert made[stratum, "characteristic missing of site"]["n"] == 1
    assert made[stratum, "characteristic share with field_strength_t=3 T"]["n"] == 4
    positive = "included=yes & contrast=GRE & microbleed=yes"
    assert made[positive, "characteristic mean of age"]["estimate"] == 70
    spread = made[positive, "characteristic sd of age"]
    assert spread["estimate"] is None and spread["method"].startswith("not estimated: fewer")
    assert made["included=yes & cohort=A", "characteristic participants"]["n"] == 2


def test_included_against_excluded():
    """Audit, section 4 item 4: standardised differences of those with and without a usable scan."""
    table = people(ROWS)
    made = by_name(table_one.rows(table, scans_of(table), []))
    assert made["included=no", "characteristic participants"]["n"] == 2
    assert made["included=no", "characteristic mean of age"]["estimate"] == 92
    age = made["all", "standardised difference of age"]
    assert age["estimate"] == pytest.approx((70 - 92) / math.sqrt((100 + 8) / 2))
    assert age["ci_low"] < age["estimate"] < age["ci_high"] and age["n"] == 5
    sex = made["all", "standardised difference of sex"]
    assert sex["estimate"] == pytest.approx(0.5 / math.sqrt(0.25 / 2)) and sex["ci_low"] is None
    assert not any("contrast" in measure for s, measure in made if s == "included=no")


def test_nobody_excluded_and_nobody_included():
    everybody = people(ROWS[:4])
    made = by_name(table_one.rows(everybody, scans_of(everybody), []))
    assert not any(stratum == "included=no" for stratum, _ in made)
    nobody = people(ROWS[4:])
    made = by_name(table_one.rows(nobody, scans_of(nobody), []))
    assert made["included=yes", "characteristic participants"]["n"] == 0
    age = made.get(("all", "standardised difference of age"))
    assert age is None or age["estimate"] is None


# --- standardised prevalence ---


def cell(number, age, sex, positive, site="X"):
    return [(age, sex, site, "GRE", int(n < positive)) for n in range(number)]


def test_a_standardised_prevalence_by_hand():
    """Weights of the European standard: 13,500 of 50-59 years, 11,500 of 60-69; sexes alike."""
    table = people(
        cell(20, 55.0, "F", 2)
        + cell(10, 55.0, "M", 3)
        + cell(5, 65.0, "F", 1)
        + cell(10, 65.0, "M", 5)
        + cell(4, 75.0, "F", 4)  # no men of this age: the standard ends at 69
    )
    made = by_name(standardised.rows(table, standards.standard_of("european2013"), EDGES))
    row = made["contrast=GRE", MEASURE]
    right = (13500 * (0.1 + 0.3) / 2 + 11500 * (0.2 + 0.5) / 2) / 25000
    assert row["estimate"] == pytest.approx(right)
    assert (row["n"], row["denominator"]) == (11, 45)
    assert "European Standard Population 2013, ages from 50, bands 50-59, 60-69" in row["method"]
    assert row["ci_low"] < right < row["ci_high"]


def test_the_lowest_band_is_of_the_ages_that_the_cohort_has():
    """People of 45 to 49 stand for these ages (7,000), not for children."""
    table = people(
        cell(10, 46.0, "F", 1)
        + cell(10, 48.0, "M", 1)
        + cell(10, 55.0, "F", 5)
        + cell(10, 55.0, "M", 5)
    )
    made = by_name(standardised.rows(table, standards.standard_of("european2013"), EDGES))
    right = (7000 * 0.1 + 13500 * 0.5) / 20500
    assert made["contrast=GRE", MEASURE]["estimate"] == pytest.approx(right)


def test_a_site_without_a_cell_is_not_estimated_and_others_have_the_same_bands():
    table = people(
        cell(10, 55.0, "F", 1)
        + cell(10, 55.0, "M", 0)
        + cell(10, 65.0, "F", 2)
        + cell(10, 65.0, "M", 2)
        + cell(6, 55.0, "F", 0, "Y")
    )
    made = by_name(standardised.rows(table, standards.standard_of("who2000"), EDGES))
    whole = made["contrast=GRE & site=X", MEASURE]
    assert whole["estimate"] == pytest.approx((9.92 * 0.05 + 6.68 * 0.2) / (9.92 + 6.68))
    part = made["contrast=GRE & site=Y", MEASURE]
    assert part["estimate"] is None and part["ci_low"] is None
    assert part["method"] == (
        "not estimated: nobody with a usable scan of age 50-59 and sex M and 2 more such cells"
    )


def test_no_positive_and_no_pair_of_sexes():
    none = people(cell(10, 55.0, "F", 0) + cell(10, 55.0, "M", 0))
    row = by_name(standardised.rows(none, standards.standard_of("who2000"), EDGES))[
        "contrast=GRE", MEASURE
    ]
    assert row["estimate"] == 0 and row["ci_low"] == 0
    assert row["ci_high"] == pytest.approx(wilson(0, 10)[1] / math.sqrt(2))
    women = people(cell(10, 55.0, "F", 3))
    row = by_name(standardised.rows(women, standards.standard_of("who2000"), EDGES))[
        "contrast=GRE", MEASURE
    ]
    assert row["estimate"] is None and "women and men" in row["method"]


def test_published_standards_add_up():
    europe, world = (standards.standard_of(name) for name in ("european2013", "who2000"))
    assert europe.weight("F", 0, 105) + europe.weight("M", 0, 105) == pytest.approx(100_000)
    # Ahmad et al. 2001: the percentages of the table add up to 100.035.
    assert 2 * world.weight("M", 0, 105) == pytest.approx(100.035)
    assert europe.weight("F", 52.5, 55) == pytest.approx(7000 / 2 / 2)


def test_a_standard_of_ones_own(tmp_path):
    path = tmp_path / "ours.tsv"
    path.write_text("age_from\tsex\tweight\n50\tF\t3\n50\tM\t1\n60\tM\t2\n60\tfemale\t4\n")
    own = standards.standard_of(str(path))
    assert own.name == "ours.tsv"
    assert [own.weight(sex, 50, 60) for sex in "FM"] == [3, 1]
    assert [own.weight(sex, 60, 105) for sex in "FM"] == [4, 2]
    assert own.weight("F", 0, 50) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "there is no such file"),
        ("", "no column age_from"),
        ("age\tsex\tweight\n", "no column age_from"),
        ("age_from\tsex\tweight\n50\tX\t1\n", "row 2 is no age, M or F"),
        ("age_from\tsex\tweight\n50\tF\t-1\n", "row 2 is no age, M or F"),
        ("age_from\tsex\tweight\n50\tF\tnan\n", "row 2 is no age, M or F"),
        ("age_from\tsex\tweight\n50\tF\t1\n", "no weight of sex M"),
        ("age_from,sex,weight\n50,F,1\n50,F,2\n50,M,1\n", "age_from of sex F twice"),
    ],
)
def test_a_standard_that_is_none_is_one_sentence(tmp_path, text, words):
    path = tmp_path / "ours.tsv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CMBurdenError, match=r"config report\.standard") as error:
        standards.standard_of(str(path))
    assert words in str(error.value)
