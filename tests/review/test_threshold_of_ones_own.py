"""The command: what it needs, what it says and writes, and that the next run can take it."""

import json

import numpy as np
import pandas as pd
import pytest
import reviewable
import yaml

from cmburden.cohort import verdicts
from cmburden.core import table_set
from cmburden.core.config import load
from cmburden.core.schema import as_records
from cmburden.core.tables import REVIEWS, RUNS, SCANS
from cmburden.review import operating_point
from cmburden.run import cli

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return sealed(tmp_path_factory.mktemp("cohort"), 40)


def sealed(folder, participants):
    made = reviewable.cohort(folder, participants=participants)
    RUNS.write(made.layout.table("runs"), [])
    table_set.seal(made.layout)
    return made


def review(layout, number, *, share=None, seed=1):
    """Write decisions on ``number`` random candidates, true with their probability (or a share)."""
    scans = SCANS.read(layout.table("scans")).set_index("scan_id")
    candidates = verdicts.candidates_of(layout, set(scans.index))
    random = np.random.default_rng(seed)
    rows = []
    for one in as_records(candidates.sample(frac=1, random_state=seed).head(number)):
        real = random.random() < (one["probability"] if share is None else share)
        place = {f"{axis}_mm": one[f"{axis}_mm"] for axis in "xyz"}
        rows.append(
            {name: one[name] for name in ("scan_id", "candidate_id", "region", "group")}
            | place
            | {f"shown_{name}": value for name, value in place.items()}
            | {"reader": "AB", "mode": "review", "blinded": True, "ordering": "random"}
            | {"decision": "accept" if real else "reject"}
            | {"class": "microbleed" if real else None}
            | {"content_key": scans.loc[one["scan_id"], "content_key"]}
        )
    REVIEWS.write(layout.reviews, rows)


def run(layout, *more):
    return cli.main(["operating-point", str(layout.root), *more])


def test_table_statement_and_settings_agree(cohort, capsys):
    layout = cohort.layout
    review(layout, 80)
    assert run(layout, "--precision", "0.7", "--width", "0.05") == 0
    said = capsys.readouterr().out
    assert "esearch use only" in said and "judge" in said
    table = pd.read_csv(layout.operating_point("tsv"), sep="\t")
    assert (table["called"].diff().dropna() <= 0).all()
    known = table.dropna(subset=["precision"])
    assert len(known) > 3
    assert (known["precision_low"] <= known["precision"]).all()
    assert (known["precision"] <= known["precision_high"]).all()
    stated = json.loads(layout.operating_point("json").read_text())
    settings = yaml.safe_load(layout.operating_point("yaml").read_text())
    definite = settings["verify"]["thresholds"]["definite"]
    assert stated["Recommended"]["threshold"] == definite
    assert stated["Recommended"]["precision"][0] >= 0.7
    assert stated["CandidatesJudged"] == 80
    assert f"definite from {definite:g}" in said
    assert (
        load({}, layout.operating_point("yaml"))["verify"]["thresholds"]
        == settings["verify"]["thresholds"]
    )


def test_a_wish_that_nothing_fulfils_leaves_no_settings(cohort, capsys):
    layout = cohort.layout
    review(layout, 80, share=0.2)
    layout.operating_point("yaml").write_text("of another wish")
    assert run(layout, "--precision", "0.99") == 0
    assert "No threshold" in capsys.readouterr().out
    assert not layout.operating_point("yaml").exists()


@pytest.mark.parametrize(
    ("number", "share", "words"),
    [(12, None, "12 candidates are judged"), (60, 1.0, "60 of them"), (60, 0.0, " 0 of them")],
)
def test_too_few_judgements_are_a_sentence(cohort, capsys, number, share, words):
    review(cohort.layout, number, share=share)
    assert run(cohort.layout) == 2
    error = capsys.readouterr().err
    assert words in error and "cmburden review" in error and "Traceback" not in error


def test_nobody_reviewed(tmp_path, capsys):
    made = sealed(tmp_path, 3)
    assert run(made.layout) == 2
    assert "no reader has judged" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--precision", "80"], ["--width", "0"]])
def test_a_wish_out_of_range_is_a_sentence(cohort, capsys, words):
    assert run(cohort.layout, *words) == 2
    assert "share between 0 and 1" in capsys.readouterr().err


def test_a_threshold_nobody_judged_near_has_no_numbers(cohort):
    review(cohort.layout, 80)
    made = operating_point.read(cohort.layout)
    narrow = np.where(np.abs(made.cohort.probability - 0.9) < 0.08, made.cohort.verdict, np.nan)
    only = operating_point.Review(
        operating_point.Cohort(made.cohort.probability, made.cohort.swi, narrow),
        made.fit,
        made.scans,
        made.persons,
        made.thresholds,
    )
    assert "not estimated: nobody judged near it" in operating_point.table(
        only, operating_point.points_of(only)
    )
