"""The section on models: the table of associations, forests of cohorts, p values, the notice."""

from report.test_charts import estimate, tables

from cmburden.report import model_table, models, pooled


def test_the_table_of_associations_has_a_line_a_level(tmp_path):
    rows = [
        estimate("all", "odds ratio presence: age per decade", 1.6),
        estimate("all", "odds ratio presence: sex=M against F", 1.3),
        estimate("all", "crude odds ratio presence: sex=M against F", 1.4),
        estimate("all", "prevalence ratio presence: sex=M against F", 1.2),
        estimate("all", "rate ratio count: sex=M against F", None) | {"method": "not estimated: x"},
        estimate("all", "rate ratio count poisson: sex=M against F", 1.5),
        estimate("all", "positive at level: sex=F", 0.2),
        estimate("all", "adjusted prevalence at level: sex=F", 0.21),
        estimate("all", "positive at level: sex=M", 0.3),
        estimate("all", "adjusted prevalence at level: age=70", 0.25),
        estimate("cohort=A", "odds ratio presence: sex=M against F", 1.1),
    ]
    lines = model_table.select(tables(tmp_path, rows))
    assert [line.label for line in lines] == [
        "age",
        "70",
        "age per decade",
        "sex",
        "F",
        "M against F",
    ]
    reference, male = lines[4], lines[5]
    assert reference.cells[2:] == ["reference"] * 6 and "21.0" in reference.cells[1]
    assert ["1.40" in str(cell) for cell in male.cells] == [cell == 4 for cell in range(8)]
    # The ratio of counts is Poisson's where the negative binomial has none.
    assert "1.20" in male.cells[3] and "1.30" in male.cells[5] and "1.50" in male.cells[7]
    assert all(len(line.cells) == len(model_table.COLUMNS) - 1 for line in lines)


def test_cohorts_have_a_forest_and_are_not_in_the_chart_of_everybody(tmp_path):
    name = "odds ratio presence: age per decade"
    rows = [
        estimate("all", name, 1.6),
        estimate("cohort=A", name, 1.5),
        estimate("cohort=B", name, None) | {"method": "not estimated: too few"},
        estimate("all", f"pooled mean {name}", 1.55),
        estimate("all", f"pooled I2 of {name}", 0.3),
    ]
    made = tables(tmp_path, rows)
    assert [len(one.rows) for one in models.select_estimates(made)] == [1]
    (forest,) = pooled.select(made)
    assert [row[0] for row in forest.chart.rows] == ["A", "Pooled"]
    assert forest.refused == ["not estimated: too few"]
    assert [label for label, _ in forest.numbers] == ["I²"]


def test_a_p_value_is_never_nought_and_a_fit_without_end_is_told(tmp_path):
    """Audit C: alpha p was printed as 0; 'Not converged' could not appear."""
    rows = [
        estimate("all", "model count: likelihood ratio of alpha p", 0.0),
        estimate("all", "model count: converged", 0.0),
        estimate("all", "test presence site all levels alike: chi-squared", 30.2),
        estimate("all", "test presence site all levels alike: p", 1e-6),
    ]
    section = models.select(tables(tmp_path, rows))
    bad, p = section.fits
    assert "&lt;0.001" in p.value and bad.bad and not p.bad
    assert "&lt;0.001" in section.tests[0].p and "30.2" in section.tests[0].statistic
