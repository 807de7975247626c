"""The simulated cohort of tables: contracts kept, the truth known, equal bytes from equal seeds."""

import numpy as np
import pytest

from cmburden.core.tables import COUNTS, LESIONS, PARTICIPANTS, SCANS, SUMMARY
from cmburden.evaluate.cases import read_truth
from cmburden.report import stage as report
from cmburden.studies import table_cohort
from cmburden.studies.population import DetectorModel, Population, validate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return table_cohort.write(tmp_path_factory.mktemp("table"), participants=400, seed=3)


def test_tables_hold_together(made):
    scans, lesions, counts, people = (
        table.read(made.layout.table(table.name))
        for table in (SCANS, LESIONS, COUNTS, PARTICIPANTS)
    )
    assert len(people) == 400 and people["n_scans"].sum() == len(scans) > 400
    ok = scans[scans["status"] == "ok"].set_index("scan_id")
    assert 0 < (scans["status"] != "ok").sum() < 40
    definite = lesions[lesions["label"] == "definite"].groupby("scan_id").size()
    assert (definite.reindex(ok.index).fillna(0) == ok["n_cmb"]).all()
    assert counts["n_definite"].sum() == ok["n_cmb"].sum()
    assert lesions[["mni_x", "mni_y", "mni_z"]].notna().all().all()
    truth = read_truth(made.truth)
    assert set(truth["scan_id"]) == set(scans["scan_id"])
    assert people["age"].isna().any() and people["sex"].isna().any()


def test_equal_seeds_give_equal_bytes_and_the_report_reads_them(made, tmp_path):
    again = table_cohort.write(tmp_path, participants=400, seed=3)
    for name in ("scans", "lesions", "counts", "participants", "summary"):
        assert again.layout.table(name).read_bytes() == made.layout.table(name).read_bytes(), name
    report.run(again.layout, again.config)
    assert again.layout.report.exists()


def test_the_contract_holds_the_specificity_that_the_detector_has(made):
    rows = SUMMARY.read(made.layout.table("summary")).set_index(["stratum", "measure"])
    clean = rows.loc[("contrast=GRE", "detector specificity"), "estimate"]
    assert clean == pytest.approx(DetectorModel().specificity(False), abs=0.06)
    corrected = rows.loc[("contrast=GRE", "prevalence corrected")]
    assert corrected["ci_low"] < Population().prevalence(False) < corrected["ci_high"]


@pytest.mark.parametrize("swi", [False, True])
def test_prevalence_by_quadrature_is_that_of_many_people(swi):
    population, random = Population(), np.random.default_rng(0)
    age, male = population.draw_people(random, 400_000)
    counts = population.counts(random, population.rate(age, male, np.full(len(age), swi)))
    assert (counts > 0).mean() == pytest.approx(population.prevalence(swi), abs=0.003)
    # The defaults stand for something: Rotterdam has 15.3 % in all, mean age 70.
    assert 0.12 < population.prevalence(False) < 0.25


def test_a_validation_has_the_scans_it_says():
    metrics = validate(np.random.default_rng(1), Population(), DetectorModel(), 5000)
    definite = metrics["SWI"]
    assert definite["positive_scans"] + definite["negative_scans"] == 5000
    assert definite["negative_clean"] / definite["negative_scans"] == pytest.approx(
        DetectorModel().specificity(True), abs=0.02
    )
    either = definite["possible"]
    assert either["positive_found"] > definite["positive_found"]
    assert either["negative_clean"] < definite["negative_clean"]
