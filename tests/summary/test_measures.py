"""Names of estimates and strata: what is written can be read, by one family and no other."""

import ast
import dataclasses
from pathlib import Path
from typing import get_args, get_type_hints

import fabricate
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cmburden
from cmburden.cohort import stage as aggregate
from cmburden.core.tables import SUMMARY
from cmburden.summary import measures
from cmburden.summary.strata import Stratum

#: Texts as they occur: codes, regions, age bands, readers, study sites; no '=', ':' or ' / '.
WORDS = st.from_regex(r"[A-Za-z0-9_<>.,+-]+( [A-Za-z0-9_<>.,+-]+){0,2}", fullmatch=True)
VALUES = {
    str: WORDS,
    int: st.integers(0, 10**6),
    float: st.integers(0, 100).map(lambda hundredths: hundredths / 100),
}
NAMES = {
    "characteristic mean of age": measures.Characteristic("mean", "age"),
    "characteristic share with sex=F": measures.CharacteristicLevel("sex", "F"),
    "presence definite, age-sex standardised": measures.StandardisedPresence(),
    "standardised difference of age": measures.StandardisedDifference("age"),
    "scans with dimension=3D": measures.ScansWith("dimension", "3D"),
    "participants": measures.Participants(),
    "participants without usable scan": measures.Participants("without usable scan"),
    "presence": measures.Presence(),
    "pattern of positive=mixed": measures.PatternShare("mixed", "positive"),
    "lesions new, possible": measures.ChangedLesions("new", "possible"),
    "lesions region=basal ganglia hemisphere=left": measures.LesionsInRegion(
        "basal ganglia", "left"
    ),
    "scans status=failed reason=not_brain": measures.Scans("failed", "not_brain"),
    "scans outside domain": measures.OutsideDomain(),
    "thresholds in use definite": measures.ContractNumber("thresholds in use", "definite"),
    "prevalence corrected definite or possible at 0.250 false positives per scan": (
        measures.PrevalenceAt(0.25, "definite or possible")
    ),
    "detector presence sensitivity definite or possible": measures.DetectorRate(
        "presence sensitivity", "definite or possible"
    ),
    "corrected pattern of positive=strictly lobar": measures.CorrectedPattern(
        "strictly lobar", "positive"
    ),
    "check of correction false positives by age": measures.CorrectionCheck(
        "false positives by age"
    ),
    "rate ratio count corrected: sex=M against F": measures.Ratio(
        "rate ratio count corrected", "sex=M against F"
    ),
    "relative risk ratio pattern=strictly lobar: age per decade": measures.PatternRatio(
        "strictly lobar", "age per decade"
    ),
    "model count: likelihood ratio of alpha p": measures.ModelFact(
        "count", "likelihood ratio of alpha p"
    ),
    "new lesions per person-year, weighted by 1 - p_missed": measures.LesionRate(
        "new", "weighted by 1 - p_missed"
    ),
    "review weighted kappa bins: AB / software": measures.ReviewAgreement(
        "weighted kappa bins", "AB", "software"
    ),
}


def members(family):
    """Instances of ``family`` with any allowed field."""
    types = get_type_hints(family)
    fields = {
        field.name: st.sampled_from(words)
        if (words := get_args(types[field.name]))
        else VALUES[types[field.name]]
        for field in dataclasses.fields(family)
    }
    return st.builds(family, **fields)


@given(st.one_of(*map(members, measures.FAMILIES)))
def test_a_name_is_read_as_it_was_written_and_by_one_family(measure):
    readings = [family.parse(measure.name) for family in measures.FAMILIES]
    assert [one for one in readings if one is not None] == [measure]
    assert measures.parse(measure.name) == measure


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_that_the_documentation_and_older_tables_have(name):
    assert NAMES[name].name == name
    assert measures.parse(name) == NAMES[name]


@pytest.mark.parametrize(
    "name", ["", "participant", "participants ", "scans status=", "metrics", "detector accuracy"]
)
def test_other_texts_are_no_names(name):
    assert measures.parse(name) is None


@given(st.dictionaries(st.from_regex(r"[a-z_]+", fullmatch=True), WORDS, max_size=4))
def test_a_stratum_is_read_as_it_was_written(levels):
    assert Stratum.parse(Stratum(**levels).name) == Stratum(**levels)


def test_a_level_may_hold_an_ampersand_and_an_age_band_an_equals_sign():
    stratum = Stratum(contrast="GRE", site="Smith & Sons", age_band=">=90")
    assert stratum.name == "contrast=GRE & site=Smith & Sons & age_band=>=90"
    assert Stratum.parse(stratum.name) == stratum
    assert stratum["site"] == "Smith & Sons"
    assert Stratum.parse("nobody") is None


@pytest.mark.slow
def test_every_row_of_a_cohort_has_a_name_and_a_stratum_that_can_be_read(tmp_path):
    made = fabricate.cohort(tmp_path)
    aggregate.run(made.layout, made.bids_dir, made.config)
    table = SUMMARY.read(made.layout.table("summary"))
    for name in sorted(set(table["measure"])):
        readings = [family.parse(name) for family in measures.FAMILIES]
        (measure,) = [one for one in readings if one is not None]
        assert measure.name == name
    for name in sorted(set(table["stratum"])):
        assert Stratum.parse(name).name == name
    families = {type(measures.parse(name)) for name in table["measure"]}
    assert len(families) > 20


def composed(source: str):
    """F-strings that are names if their placeholders are words or numbers, and their lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            for filling in ("x", "1", "definite", "median", "new"):
                parts = [
                    str(part.value) if isinstance(part, ast.Constant) else filling
                    for part in node.values
                ]
                if measures.parse("".join(parts)) is not None:
                    yield "".join(parts), node.lineno


def test_no_other_module_composes_a_name():
    package = Path(cmburden.__file__).parent
    found = [
        f"{path.relative_to(package)}:{line}: {text}"
        for path in sorted(package.rglob("*.py"))
        if path.name not in ("measures.py", "names.py", "strata.py")
        for text, line in composed(path.read_text())
    ]
    assert found == []


def test_the_walk_finds_a_composed_name():
    assert next(composed('name = f"participants count={number}"')) == ("participants count=1", 1)
    assert next(composed('name = f"presence {what}"')) == ("presence definite", 1)
    assert list(composed('message = f"{number} participants"')) == []
