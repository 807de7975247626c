"""Audit B6: a level with ' & ' or '=' stays whole; a level called missing is not the unknown."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from cmburden.summary.strata import MISSING, Stratum, crossed_strata, strata

LEVEL = st.one_of(
    st.text(alphabet="A &=\\F", min_size=1, max_size=12),
    st.sampled_from(["A & B", "A & sex=F", "A \\& sex=F", "A & & sex=F", "x=y", "missing"]),
).map(lambda text: " ".join(text.split()) or "A")


@given(LEVEL, LEVEL)
def test_whatever_the_levels_a_name_gives_them_back(one, other):
    stratum = Stratum(contrast="GRE", site=one, sex=other)
    assert Stratum.parse(stratum.name) == stratum


def people():
    return pd.DataFrame(
        {
            "cohort": "C",
            "contrast": "GRE",
            "age_band": None,
            "site": ["missing"] * 3 + [None] * 2 + ["A & sex=F"],
        }
    )


def test_a_site_called_missing_is_not_pooled_with_the_unknown():
    numbers = {
        s["site"]: len(rows) for s, rows in strata(people(), ["site"]) if "site" in s.variables
    }
    assert numbers == {"missing": 3, MISSING: 2, "A & sex=F": 1}
    crossed = {s["site"]: len(rows) for s, rows in crossed_strata(people(), ["site"])}
    assert crossed == numbers


def test_the_name_of_the_unknown_is_no_level_of_a_table(tmp_path):
    from cmburden.cohort.phenotypes import read

    (tmp_path / "participants.tsv").write_text(
        f"participant_id\tsite\nsub-1\t{MISSING}\nsub-2\t{MISSING.upper()}\n"
    )
    assert read(tmp_path, ["sub-1", "sub-2"]).participants["site"].isna().all()
