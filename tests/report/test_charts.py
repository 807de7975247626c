"""Which rows the charts take, on tables of a few rows written by hand."""

from pathlib import Path

import numpy as np
import pytest

from cmburden.core.paths import Layout
from cmburden.core.tables import (
    CURVES,
    LESION_CELLS,
    LESIONS,
    MANIFEST,
    PARTICIPANTS,
    RUNS,
    SCANS,
    SUMMARY,
)
from cmburden.report import brain_picture, burden, correction, models, overview
from cmburden.report.charts import age, counts, forest, froc, lesion_map, regions, thresholds
from cmburden.report.charts.chart import PALETTE, PERCENT, TEMPLATE
from cmburden.report.tables import ReportTables, UnknownEstimateError
from cmburden.space.regions import REGIONS
from cmburden.summary.published import ANCHORS

NO_INTERVAL = {"ci_low": None, "ci_high": None}


def estimate(stratum: str, measure: str, value: float | None, n: int = 1, of: int | None = 10):
    """A row of `summary`, its names written out as in the file."""
    row = {"stratum": stratum, "measure": measure, "estimate": value, "n": n, "denominator": of}
    return row | {"method": "by hand"}


def tables(
    tmp_path: Path, summary: list[dict], curves: tuple = (), cells: tuple = ()
) -> ReportTables:
    """Tables of a cohort with a usable scan of each contrast and the given rows."""
    layout = Layout(tmp_path)
    for table in (SCANS, LESIONS, PARTICIPANTS, RUNS):
        table.write(layout.table(table.name), [])
    MANIFEST.write(layout.manifest, [])
    usable = [
        estimate(f"contrast={name}", "participants usable", 1.0, 10) for name in ("GRE", "SWI")
    ]
    SUMMARY.write(layout.table("summary"), usable + summary)
    CURVES.write(layout.table("curves"), list(curves))
    LESION_CELLS.write(layout.table("lesion_cells"), list(cells))
    return ReportTables(layout)


@pytest.mark.parametrize(
    ("stratum", "measure"), [("all", "presence certain"), ("everyone", "presence definite")]
)
def test_a_name_that_no_class_reads_is_an_error(tmp_path, stratum, measure):
    with pytest.raises(UnknownEstimateError, match=f"{measure}.*{stratum}"):
        tables(tmp_path, [estimate(stratum, measure, 0.5)])


def test_an_estimate_that_is_not_there_is_of_nobody(tmp_path):
    made = tables(tmp_path, [])
    row = made.estimate(made.strata[0], counts.ParticipantsByCount(3))
    assert row["estimate"] is None and row["n"] == 0
    assert (row["stratum"], row["measure"]) == ("contrast=GRE", "participants count=3")


def test_counts_by_contrast_and_none_without_a_microbleed(tmp_path):
    rows = [
        estimate("contrast=GRE", "participants count=0", 7, 7),
        estimate("contrast=GRE", "participants count=2", 3, 3),
        estimate("contrast=SWI", "participants count=0", 10, 10),
    ]
    gre, swi = counts.select(tables(tmp_path / "some", rows))
    assert (gre.contrast, swi.contrast) == ("GRE", "SWI")
    assert {count: row["n"] for count, row in gre.rows.items()} == {0: 7, 2: 3}
    assert counts.select(tables(tmp_path / "none", [rows[0], rows[2]])) == []
    assert counts.draw([]) is None


def test_bars_end_at_the_most_and_the_table_goes_on(tmp_path):
    most = counts.MOST_COUNTS
    rows = [estimate("contrast=SWI", f"participants count={n}", 1, 1) for n in (1, most, most + 1)]
    chart = counts.draw(counts.select(tables(tmp_path, rows)))
    assert chart is not None
    assert list(chart.figure.data[1].x) == [1, most]
    assert [row[0] for row in chart.rows] == ["1", str(most), str(most + 1)]
    assert f"numbers above {most}" in chart.caption


def test_regions_by_side_in_the_order_of_mars(tmp_path):
    place = "lesions region=thalamus hemisphere="
    rows = [
        estimate("contrast=GRE", "lesions definite", 5, 5, None),
        estimate("contrast=GRE", f"{place}left", 2, 2),
        estimate("contrast=GRE", f"{place}right", 3, 3),
    ]
    gre, swi = regions.select(tables(tmp_path, rows))
    at = [region.name for region in REGIONS].index("thalamus")
    assert [gre.rows[side][at]["n"] for side in ("left", "right")] == [2, 3]
    assert sum(row["n"] for rows_ in swi.rows.values() for row in rows_) == 0
    chart = regions.draw([gre, swi])
    assert chart is not None
    # The person's right is on the left, as on every picture.
    right, left = chart.figure.data[:2]
    assert (right.x[at], left.x[at]) == (-3, 2)
    assert chart.columns[2:] == ["GRE, right", "GRE, left", "SWI, right", "SWI, left"]


def test_map_puts_a_cell_where_its_centre_is(tmp_path):
    cell = {"contrast": "SWI", "mni_x": -5, "mni_y": 15, "mni_z": 10, "n": 4, "denominator": 6}
    (cells_of,) = lesion_map.select(tables(tmp_path, [], cells=(cell,)))
    assert cells_of.contrast == "SWI" and {key: row["n"] for key, row in cells_of.rows.items()} == {
        (-5, 15, 10): 4
    }
    chart = lesion_map.draw(cells_of)
    trace = next(trace for trace in chart.figure.data if any(any(line) for line in trace.z))
    column, line = list(trace.x).index(-5), list(trace.y).index(15)
    assert trace.z[line][column] == 4
    assert trace.customdata[line][column] == "lesion_cells | SWI, -5, 15, 10"
    assert "z 10 mm" in trace.hovertemplate
    assert chart.rows[0][0] == "−5, 15, 10"
    # Drawn with the person's right on the left, and the picture so, too.
    axis = chart.figure.layout.xaxis
    assert axis.range[0] > axis.range[1] and chart.figure.layout.images[0].x == axis.range[0]


def test_the_smoothed_map_ends_with_the_brain_and_keeps_the_number_inside():
    brain = brain_picture.density({(-5, 15, 10): 4}, 10)
    # 2 mm a pixel, 5 x 5 a cell; the person's right, x = 80, is the first column.
    row, column = np.unravel_index(brain.argmax(), brain.shape)
    assert abs(80 - 2 * column - -5) <= 4 and abs(80 - 2 * row - 15) <= 4
    assert brain.sum() / 25 == pytest.approx(4, rel=0.1)
    assert brain_picture.density({(-75, 75, 10): 4}, 10)[:5, -5:].max() == 0


def test_age_has_a_line_a_contrast_and_sex_with_people(tmp_path):
    rows = [
        estimate("contrast=GRE & age_band=50-59 & sex=F", "presence definite", 0.5, 5),
        estimate("contrast=GRE & age_band=60-69 & sex=F", "presence definite", None, 0, 0),
        estimate("contrast=SWI & age_band=50-59 & sex=M", "presence definite", 0.2, 2),
    ]
    bands = [("50-59", 55.0), ("60-69", 65.0)]
    lines = age.select(tables(tmp_path, rows), bands, ["F", "M"])
    assert [(line.title, [point[:2] for point in line.points]) for line in lines] == [
        ("GRE, F", [(55.0, "50-59")]),
        ("SWI, M", [(55.0, "50-59")]),
    ]
    assert age.draw([], [], []) is None


def test_thresholds_rise_and_the_one_in_use_is_marked(tmp_path):
    point = {"curve": "prevalence", "contrast": "GRE", "n": 5, "denominator": 10, "method": "m"}
    points = tuple(point | {"x": x, "estimate": y} for x, y in ((0.6, 0.3), (0.4, 0.5)))
    (curve,) = thresholds.select(tables(tmp_path, [], curves=points))
    assert [(row["x"], row["estimate"]) for row in curve.rows] == [(0.4, 0.5), (0.6, 0.3)]
    chart = thresholds.draw([curve], 0.6)
    assert chart is not None
    assert [shape.x0 for shape in chart.figure.layout.shapes] == [0.6]
    assert list(chart.figure.data[0].y) == [50, 30]


def test_froc_needs_both_numbers_of_an_operating_point(tmp_path):
    rows = [
        estimate("model=m", "metrics fp_per_scan_definite", 0.4, 0, None),
        estimate("model=m", "metrics sensitivity_definite", 0.8, 0, None),
        estimate("model=m", "metrics sensitivity_possible_SWI", 0.9, 0, None),
    ]
    point = {"curve": "froc", "model": "m", "method": "m", "x": 1.0, "estimate": 0.7}
    made = tables(tmp_path, rows, curves=(point, point | {"model": "other"}))
    selected = froc.select(made, "m")
    assert [row["estimate"] for row in selected.curve] == [0.7]
    assert [(p.name, p.false_positives["estimate"]) for p in selected.points] == [("definite", 0.4)]
    assert froc.draw(froc.select(made, "unknown")) is None


def test_forest_puts_the_series_of_a_line_side_by_side():
    row = {"stratum": "s", "measure": "m", "estimate": 0.5, "ci_low": 0.4, "ci_high": 0.75}
    row |= {"n": 1, "denominator": 2}
    lines = [
        forest.ForestLine("All", {"GRE": row, "SWI": row}),
        forest.ForestLine("Rest", {"SWI": row | {"estimate": None}}),
    ]
    gre, swi = forest.select(lines)
    assert [len(series.points) for series in (gre, swi)] == [1, 1]
    assert gre.points[0][0] == pytest.approx(-0.18) and swi.points[0][0] == pytest.approx(0.18)
    figure = forest.draw(lines, forest.Axis("%", PERCENT))
    assert figure.data[0].x == (50,)
    assert figure.data[0].error_x.array == (25,)
    assert figure.data[0].error_x.arrayminus == pytest.approx((10,))


def test_prevalence_of_a_level_without_people_has_no_line(tmp_path):
    rows = [
        estimate("sex=F", "participants", 10, 10),
        estimate("sex=M", "participants", 10, 10),
        estimate("contrast=GRE & sex=F", "presence definite", 0.5, 5),
        estimate("contrast=SWI & sex=M", "presence definite", None, 0, 0),
    ]
    lines = burden.prevalence_lines(tables(tmp_path, rows), ["sex", "contrast"])
    assert [(line.label, list(line.rows)) for line in lines] == [
        ("All", ["GRE", "SWI"]),
        ("Sex: F", ["GRE"]),
    ]


def test_regressions_by_family_with_their_stratum(tmp_path):
    rows = [
        estimate("all", "relative risk ratio pattern=mixed: sex=M", 1.5),
        estimate("all", "odds ratio presence: age per decade", 2.0),
        estimate("contrast=GRE", "odds ratio presence: sex=M", None) | {"method": "too few"},
        estimate("all", "rate ratio count poisson: sex=M", 1.1),
    ]
    families = models.select_estimates(tables(tmp_path, rows))
    assert [(one.axis, [term for term, _ in one.rows]) for one in families] == [
        ("Odds ratio", ["age per decade", "sex M (contrast=GRE)"]),
        ("Rate ratio", ["sex M"]),
        ("Relative risk ratio", ["sex M"]),
    ]
    section = models.select(tables(tmp_path, rows))
    assert section.regressions[0].refused == ["sex M (contrast=GRE): too few"]


def test_corrected_prevalences_by_contrast_and_stratum(tmp_path):
    rows = [
        estimate("contrast=GRE", "prevalence apparent", 0.3),
        estimate("contrast=GRE", "prevalence corrected", 0.2),
        estimate("contrast=GRE", "prevalence corrected definite or possible", 0.2),
        estimate("contrast=GRE", "prevalence corrected at 0.250 false positives per scan", 0.25),
        estimate("contrast=GRE", "relative likelihood of 0.250 false positives per scan", 0.5),
        estimate("contrast=SWI", "prevalence corrected", None) | {"method": "too few"},
        estimate("contrast=SWI & sex=F", "prevalence corrected", None) | {"method": "too few"},
        estimate("contrast=GRE", "detector sensitivity", 0.9),
        estimate("contrast=GRE", "check of correction floor", 2) | {"method": "warning: low"},
        estimate("contrast=GRE", "check of correction mean", 0) | {"method": "holds: high"},
        estimate("contrast=GRE & sex=M", "prevalence corrected", 0.25),
        estimate("contrast=GRE & age_band=50-59", "prevalence corrected", 0.1),
        estimate("contrast=GRE & age_band=<50", "prevalence corrected", 0.05),
        estimate("contrast=GRE", "corrected pattern=mixed", 0.1),
    ]
    made = tables(tmp_path, rows)
    assert [(one.contrast, one.label) for one in correction.select_prevalences(made)] == [
        ("GRE", "Apparent"),
        ("GRE", "Corrected"),
        ("GRE", "Corrected definite or possible"),
        ("SWI", "Corrected"),
    ]
    section = correction.select(made, None)
    assert section.refused == ["SWI, corrected; SWI F, corrected: too few"]
    assert [name for name, _ in section.errors] == ["Sensitivity"]
    assert [row["estimate"] is None for row in section.errors[0][1]] == [False, True]
    assert section.checks == ["GRE: warning: low"]
    labels = [line.label for line in correction.strata_lines(made)]
    assert labels == ["Age: <50", "Age: 50–59", "Sex: M"]
    assert section.profile is not None and len(section.profile.rows) == 1
    assert section.patterns is not None and section.patterns.rows[0][0].startswith("mixed, of all")


def test_a_headline_has_its_false_positive_floor_and_a_corrected_figure_first(tmp_path):
    """Audit C: the figure on top of the page was the apparent prevalence, without its floor."""
    rows = [
        estimate("contrast=GRE", "presence definite", 0.3),
        estimate("contrast=GRE", "prevalence corrected", 0.2),
        estimate("contrast=GRE", "detector false-positive floor", 0.1),
        estimate("contrast=GRE", "check of correction floor", 0) | {"method": "holds: high"},
        estimate("contrast=GRE", "check of correction mean", 2) | {"method": "warning: low"},
        estimate("contrast=SWI", "presence definite", 0.3),
        estimate("contrast=SWI", "prevalence corrected", None) | {"method": "not estimated: x"},
    ]
    gre, swi = overview.arms(tables(tmp_path / "one", rows))
    assert gre.corrected is not None and gre.corrected["estimate"] == 0.2
    assert gre.floor is not None and gre.floor["estimate"] == 0.1
    assert gre.sentences == ["warning: low"] and swi.sentences == []
    assert swi.corrected is None and swi.floor is None


def test_published_figures_stand_beside_a_floor_only(tmp_path):
    """Audit C: readers' prevalences were drawn beside uncorrected ones."""
    band = "contrast=GRE & age_band=50-59"
    rows = [estimate(band, "presence definite", 0.23, 3)]
    made = tables(tmp_path / "without", rows)
    lines = age.select(made, [("50-59", 55.0)], [])
    published = [(ANCHORS[0], estimate("published=AGES", "presence", 0.11) | NO_INTERVAL)]
    chart = age.draw(lines, published, age.select_floors(made))
    assert chart is not None and len(chart.figure.data) == 1
    assert "published figures of readers are not drawn" in chart.caption
    rows.append(estimate("contrast=GRE", "detector false-positive floor", 0.1))
    made = tables(tmp_path / "with", rows)
    chart = age.draw(lines, published, age.select_floors(made))
    assert chart is not None and [trace.name for trace in chart.figure.data] == [
        "GRE",
        "GRE, floor",
        "published",
    ]


def test_every_colour_of_a_chart_has_one_for_dark_paper(tmp_path):
    """The page exchanges the colours of ``PALETTE`` alone."""
    rows = [estimate("contrast=GRE", "participants count=2", 3, 3)]
    chart = counts.draw(counts.select(tables(tmp_path, rows)))
    assert chart is not None
    text = str(chart.json())
    colours = {text[at : at + 7] for at in range(len(text)) if text[at] == "#"}
    assert colours and colours <= set(PALETTE)
    assert chart.figure.layout.template.layout.font.color in PALETTE and TEMPLATE == "cmburden"
