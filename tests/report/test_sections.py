"""Sections of the page: the rows that they take, and the words that they add."""

from pathlib import Path

import pytest
from test_charts import estimate, tables

import cmburden.report
from cmburden.core.errors import REASONS
from cmburden.core.paths import Layout
from cmburden.report import (
    acquisition,
    flow,
    included,
    operating_point,
    overview,
    quality,
    review,
    table_one,
    who,
)
from cmburden.report import stage as report


def text(markup) -> str:
    return markup.striptags()


def test_words_are_of_reasons_that_exist():
    assert set(flow.REASON_WORDS) <= set(REASONS)


def test_flow_lists_reasons_by_number_and_leaves_out_what_did_not_happen(tmp_path):
    rows = [
        estimate("all", "scans status=failed", 3, 3),
        estimate("all", "scans status=failed reason=truncated", 1, 1),
        estimate("all", "scans status=failed reason=new_reason", 2, 2),
        estimate("all", "participants missing reason=no_scan", 1, 1),
        estimate("cohort=A", "scans status=failed reason=constant", 9, 9),
    ]
    section = flow.select(tables(tmp_path, rows), Layout(tmp_path))
    (failed,) = section.not_ok
    assert [(one.words, one.row["n"]) for one in failed.reasons] == [
        ("new reason", 2),
        ("file cut short", 1),
    ]
    assert [one.words for one in section.missing] == ["no GRE or SWI scan"]
    assert section.problems == []


def test_range_is_printed_where_scans_differ(tmp_path):
    def rows(column: str, values: tuple[float, float, float]) -> list[dict]:
        named = zip(("median", "min", "max"), values, strict=True)
        return [
            estimate("cohort=A & contrast=SWI", f"acquisition {column} {name}", value)
            for name, value in named
        ]

    made = tables(
        tmp_path, rows("echo_time_s", (0.02, 0.01, 0.0235)) + rows("slice_mm", (2.0, 2.0, 2.0))
    )
    section = acquisition.select(made)
    (kind,) = section.rows
    cells = dict(zip(section.columns, map(text, kind.cells), strict=True))
    assert (kind.cohort, kind.contrast) == ("A", "SWI")
    assert cells["Echo time, ms"] == "20.0 (10.0–23.5)"
    assert cells["Slice, mm"] == "2.00" and cells["Field, T"] == "–"


def test_quality_has_a_line_for_each_measure_with_a_value(tmp_path):
    kind = "cohort=A & contrast=GRE"
    rows = [
        estimate(kind, "qc snr median", 12.0),
        estimate(kind, "qc snr outlying", 2, 2),
        estimate("cohort=B & contrast=GRE", "scans", 4, 4),
    ]
    section = quality.select(tables(tmp_path, rows))
    assert section.columns == ["A GRE", "B GRE"]
    (line,) = section.rows
    assert line.name == "Signal to noise"
    assert line.cells[0].outlying is not None and line.cells[0].outlying["n"] == 2
    assert line.cells[1].outlying is None


def test_contract_gives_thresholds_metrics_and_words(tmp_path):
    rows = [
        estimate("model=m", "thresholds definite", 0.6, 0, None),
        estimate("model=m", "thresholds in use definite", 0.7, 0, None),
        estimate("model=m", "metrics fp_per_scan_definite", 0.25, 0, None),
        estimate("all", "scans outside domain", 1, 1),
        estimate("all", "scans outside domain=echo_time_s", 1, 1),
        estimate("all", "domain echo_time_s low", 0.01, 0, None),
        estimate("all", "domain echo_time_s high", 0.04, 0, None),
    ]
    contract = {"id": "m", "version": "1", "training_data": "simulated"}
    section = operating_point.select(tables(tmp_path, rows), {"verify": contract})
    (model,) = section.models
    assert model.name == "m 1"
    assert [
        (title, text(value) if title[:5] == "Thres" else value) for title, value in model.facts
    ] == [
        ("Threshold in use (configuration), definite", "0.7"),
        ("Threshold, definite", "0.6"),
        ("Trained on", "simulated"),
    ]
    assert [(title, text(value)) for title, value in model.metrics] == [
        ("False positives per scan definite", "0.25")
    ]
    assert section.domain is not None
    (limits,) = section.domain.rows
    assert limits.name == "Echo time, ms" and list(map(text, limits.range)) == ["10.0", "40.0"]
    nothing = operating_point.select(tables(tmp_path / "none", []), {})
    assert (nothing.models, nothing.domain, nothing.froc) == ([], None, None)


def test_agreement_with_the_software_comes_last(tmp_path):
    rows = [
        estimate("all", f"review {statistic}: {pair}", 0.5)
        for titles in review.AGREEMENT.values()
        for statistic in titles
        for pair in ("A / software", "B / software", "A / B")
    ]
    pairs = review.select_agreement(tables(tmp_path, rows))
    assert [pair.label for pair in pairs] == ["A / B", "A / software", "B / software"]
    kinds = {statistic for titles in review.AGREEMENT.values() for statistic in titles}
    assert all(set(pair.statistics) == kinds for pair in pairs)


def test_age_bands_site_and_sex_in_the_order_of_print(tmp_path):
    bands = (">=90", "50-59", "<50")
    rows = [
        estimate(f"contrast=GRE & age_band={band} & sex=F & site=X", "presence definite", 0.5)
        for band in bands
    ]
    config = {"report": {"age_bands": [0, 50, 60, 70, 80, 90]}}
    section = who.select(tables(tmp_path, rows), config)
    assert [cell.names[1] for cell in section.cells] == ["<50", "50–59", "≥90"]
    assert section.chart is None


def test_a_sentence_for_each_thing_that_is_missing(tmp_path):
    config = {"aggregate": {"macrohaemorrhage_mm": 10.0}, "report": {"counts": "reviewed"}}
    contracts = {"verify": {"training_data": "600 scans."}}
    head = overview.select(tables(tmp_path, []), config, contracts, regressions=False)
    assert head.training == "What the networks were trained on: 600 scans."
    assert any("(model.json) of the detect stage" in sentence for sentence in head.missing)
    assert not any("of the verify stage" in sentence for sentence in head.missing)
    assert head.missing[0].startswith("report.counts is reviewed, but readers have settled no")
    assert head.missing[-1] == "The tables hold no regression model."
    assert [arm.contrast for arm in head.arms] == ["GRE", "SWI"]


@pytest.mark.parametrize(
    "template", sorted((Path(cmburden.report.__file__).parent / "templates").glob("_*.j2"))
)
def test_every_section_s_template_names_its_content(template):
    """The dataclass in the template's first lines exists."""
    if template.name in ("_chart.html.j2", "_viewer.html.j2", "_visits.html.j2"):
        return
    named = template.read_text().split("with content `")[1].split("`")[0]
    module, _, name = named.partition(".")
    imported = vars(report)[module]
    fields = vars(imported)[name].__dataclass_fields__
    assert fields


def test_a_site_with_an_and_is_printed_whole(tmp_path):
    """Audit B6: "A & B" was printed as "A" in the table by age, sex and site."""
    stratum = "contrast=GRE & age_band=70-79 & sex=F & site=A & B"
    section = who.select(
        tables(tmp_path, [estimate(stratum, "presence definite", 0.5)]),
        {"report": {"age_bands": [0, 70, 80]}},
    )
    assert [cell.names for cell in section.cells] == [("GRE", "70–79", "F", "A & B")]


def test_standardised_prevalences_stand_beside_the_crude_ones(tmp_path):
    measure = "presence definite, age-sex standardised"
    null = estimate("contrast=GRE & site=A & B", measure, None) | {"method": "not estimated: few"}
    rows = [
        estimate("contrast=GRE", measure, 0.25),
        estimate("contrast=GRE", "presence definite", 0.5),
        estimate("cohort=C & contrast=GRE", measure, 0.125),
        null,
    ]
    made = tables(tmp_path, rows)
    section = who.select(made, {"report": {"age_bands": [0, 70, 80]}})
    groups = {one.who: (one.standardised["estimate"], one.why) for one in section.standardised}
    assert groups == {
        "All": (0.25, ""),
        "Cohort C": (0.125, ""),
        "Site A & B": (None, "not estimated: few"),
    }
    assert section.standardised[0].crude["estimate"] == 0.5
    assert section.methods == ["GRE: by hand"]


def test_table_one_has_a_column_a_group_and_a_dash_for_what_is_not_there(tmp_path):
    def age(stratum: str, **values: float) -> list[dict]:
        return [estimate(stratum, f"characteristic {name} of age", v) for name, v in values.items()]

    everybody, positive = "included=yes", "included=yes & contrast=GRE & microbleed=yes"
    rows = [
        estimate(everybody, "characteristic participants", 3, 3),
        estimate(positive, "characteristic participants", 1, 1),
        *age(everybody, mean=70, sd=10, median=71, q1=65, q3=76, min=60, max=80, missing=0),
        *age(positive, mean=70, median=70, q1=70, q3=70, min=70, max=70, missing=0),
        *(estimate(everybody, f"characteristic share with site=s{n}", 0.5, 1, 2) for n in (10, 9)),
        *(estimate(one, "characteristic missing of site", 1, 1) for one in (everybody, positive)),
    ]
    section = table_one.select(tables(tmp_path, rows))
    assert section is not None and section.columns == ["All", "GRE, with microbleed"]
    assert [(block.title, [line.name for line in block.lines]) for block in section.blocks] == [
        ("Age, years", ["mean (SD)", "median (quartiles)", "range", "not known"]),
        ("Site", ["s9", "s10", "not known"]),
    ]
    mean, median, *_ = section.blocks[0].lines
    assert list(map(text, mean.cells)) == ["70.0 (10.0)", "70.0 (–)"]
    assert text(median.cells[0]) == "71.0 (65.0–76.0)"
    assert list(map(text, section.blocks[1].lines[0].cells)) == ["1 (50.0 %)", "–"]


def test_nobody_excluded_leaves_the_comparison_out(tmp_path):
    made = tables(tmp_path, [estimate("included=yes", "characteristic participants", 3, 3)])
    assert included.select(made) is None
