"""Aggregate keeps everybody: denominators hold, missing is not zero, runs give equal bytes."""

import dataclasses
import json

import fabricate
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from cmburden.cohort import candidates, phenotypes
from cmburden.cohort import stage as aggregate
from cmburden.cohort.runs import stage_runs
from cmburden.core import remake
from cmburden.core.errors import REASONS, CMBurdenError
from cmburden.core.files import write_json
from cmburden.core.keys import bucket_of
from cmburden.core.scan import Outcome
from cmburden.core.tables import (
    ALL,
    CANDIDATES,
    COUNTS,
    CURVES,
    LESION_CELLS,
    LESIONS,
    MANIFEST,
    PARTICIPANTS,
    RUNS,
    SCANS,
    SUMMARY,
)

pytestmark = pytest.mark.slow

TABLES = ("scans", "lesions", "counts", "participants", "summary", "curves", "lesion_cells", "runs")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    made = fabricate.cohort(tmp_path_factory.mktemp("cohort"))
    aggregate.run(made.layout, made.bids_dir, made.config)
    return made


@pytest.fixture
def small(tmp_path):
    return fabricate.cohort(tmp_path, participants=8, seed=3)


def value(layout, stratum, measure):
    table = SUMMARY.read(layout.table("summary")).set_index(["stratum", "measure"])
    return table.loc[(stratum, measure)]


def test_every_scan_of_the_manifest_and_everybody_else_is_a_row(done):
    scans = SCANS.read(done.layout.table("scans"))
    assert {row["scan_id"] for row in done.scans} < set(scans["scan_id"])
    extra = scans[~scans["scan_id"].isin([row["scan_id"] for row in done.scans])]
    assert extra[["scan_id", "status", "reason"]].to_numpy().tolist() == [
        ["sub-ADNI901_T2starw", "failed", "empty_file"],
        ["sub-MAS902_noscan", "excluded", "no_scan"],
    ]
    assert not scans["scan_id"].duplicated().any()


def test_first_stage_that_is_not_ok_decides(done):
    scans = SCANS.read(done.layout.table("scans")).set_index("scan_id")
    broken, odd = done.scans[3]["scan_id"], done.scans[5]["scan_id"]
    assert scans.loc[broken, ["status", "reason", "stage"]].tolist() == [
        "failed",
        "truncated",
        "preprocess",
    ]
    assert scans.loc[broken, "log"] == f"logs/preprocess/{broken}.log"
    assert scans.loc[odd, ["status", "reason", "stage"]].tolist() == [
        "excluded",
        "registration",
        "register",
    ]
    # What a stage measured before another failed is kept.
    assert scans.loc[odd, "brain_volume_ml"] > 500
    assert scans.loc[odd, "detector_id"] is pd.NA


def test_missing_is_not_zero(done):
    scans = SCANS.read(done.layout.table("scans"))
    ok = scans["status"] == "ok"
    for column in ("n_cmb", "n_possible", "n_macrohaemorrhage", "pattern"):
        assert scans.loc[ok, column].notna().all()
        assert scans.loc[~ok, column].isna().all()
    counts = COUNTS.read(done.layout.table("counts")).merge(scans[["scan_id", "status"]])
    assert counts.loc[counts["status"] != "ok", "n_definite"].isna().all()
    assert counts.loc[counts["status"] == "ok", "n_definite"].notna().all()


def test_counts_lesions_and_candidates_agree(done):
    scans = SCANS.read(done.layout.table("scans")).set_index("scan_id")
    counts = COUNTS.read(done.layout.table("counts")).groupby("scan_id")
    ok = scans[scans["status"] == "ok"]
    assert (counts["n_definite"].sum().reindex(ok.index) == ok["n_cmb"]).all()
    assert (counts.size() == 27).all()  # 13 regions on two sides, and unknown
    lesions = LESIONS.read(done.layout.table("lesions"))
    small = lesions[~lesions["macrohaemorrhage"]]
    definite = small[small["label"] == "definite"].groupby("scan_id").size()
    assert (definite.reindex(ok.index).fillna(0) == ok["n_cmb"]).all()
    large = lesions[lesions["macrohaemorrhage"]]
    assert len(large) and (large["diameter_mm"] > 10).all() and (small["diameter_mm"] <= 10).all()
    kept = [row for row in done.candidates if row["label"] != "rejected"]
    assert len(lesions) == len(kept)
    assert len(CANDIDATES.read(done.layout.candidates)) == len(done.candidates)
    for _, own in lesions.groupby("scan_id"):
        assert sorted(own["lesion_id"]) == list(range(1, len(own) + 1))


def test_denominators_add_up(done):
    people = PARTICIPANTS.read(done.layout.table("participants"))
    assert len(people) == 42
    out = people["scan_id"].isna()
    assert (people["missing_reason"].notna() == out).all()
    assert value(done.layout, "all", "participants")["n"] == 42
    usable = value(done.layout, "all", "participants usable")
    assert (usable["n"], usable["denominator"]) == (38, 42)
    table = SUMMARY.read(done.layout.table("summary"))
    missing = table[
        (table["stratum"] == "all") & table["measure"].str.startswith("participants missing")
    ]
    assert missing["n"].sum() == 4
    for variable in ("cohort", "contrast", "sex", "site", "diagnosis", "age_band"):
        rows = table[
            table["stratum"].str.fullmatch(rf"{variable}=[^&]*")
            & (table["measure"] == "participants")
        ]
        assert rows["n"].sum() == 42, variable
    assert not table.duplicated(["stratum", "measure"]).any()


def test_summary_holds_the_prevalence_with_its_interval_and_pools_no_contrasts(done):
    people = PARTICIPANTS.read(done.layout.table("participants"))
    row = value(done.layout, "all", "presence definite")
    assert row["n"] == (people["n_cmb"] > 0).sum() and row["denominator"] == 38
    assert pd.isna(row["estimate"]) and row["method"].startswith("not estimated: holds GRE and SWI")
    row = value(done.layout, "contrast=GRE", "presence definite")
    own = people[(people["contrast"] == "GRE") & people["n_cmb"].notna()]
    assert row["n"] == (own["n_cmb"] > 0).sum() and row["denominator"] == len(own)
    assert row["ci_low"] < row["estimate"] < row["ci_high"]


def test_strata_of_one_contrast_add_up_to_it(done):
    table = SUMMARY.read(done.layout.table("summary"))
    usable = table[table["measure"] == "participants usable"].set_index("stratum")["n"]
    for contrast in ("GRE", "SWI"):
        for variable in ("sex", "site", "age_band", "diagnosis"):
            own = usable[usable.index.str.fullmatch(rf"contrast={contrast} & {variable}=[^&]*")]
            assert own.sum() == usable[f"contrast={contrast}"], (contrast, variable)
        crossed = usable[usable.index.str.startswith(f"contrast={contrast} & age_band=")]
        crossed = crossed[crossed.index.str.contains(" & sex=.* & site=")]
        assert crossed.sum() == usable[f"contrast={contrast}"]  # everybody has all three here


def test_prevalence_at_the_threshold_in_use_is_the_prevalence(done):
    curves = CURVES.read(done.layout.table("curves"))
    for contrast in ("GRE", "SWI"):
        stratum = f"contrast={contrast}"
        chosen = value(done.layout, stratum, "presence definite")
        either = value(done.layout, stratum, "presence definite or possible")
        points = curves[curves["contrast"] == contrast].set_index("x")
        assert (points["curve"] == "prevalence").all()
        for threshold, row in ((0.6, chosen), (0.3, either)):
            columns = ["estimate", "ci_low", "ci_high", "n", "denominator"]
            assert points.loc[threshold, columns].tolist() == row[columns].tolist()


def test_cells_of_the_map_hold_every_definite_microbleed(done):
    table = LESION_CELLS.read(done.layout.table("lesion_cells"))
    for contrast in ("GRE", "SWI"):
        cells = table[table["contrast"] == contrast]
        whole = value(done.layout, f"contrast={contrast}", "lesions definite")["n"]
        assert cells["n"].sum() == whole > 0
        assert (cells["denominator"] == whole).all()
        assert not cells.duplicated(["mni_x", "mni_y", "mni_z"]).any()


def test_published_figures_are_those_of_the_papers(done):
    row = value(done.layout, "published=AGES-Reykjavik", "presence")
    assert [round(100 * row[name], 1) for name in ("estimate", "ci_low", "ci_high")] == [
        11.1,
        9.8,
        12.6,
    ]


def test_means_and_medians_are_those_of_the_participants(done):
    people = PARTICIPANTS.read(done.layout.table("participants"))
    mean = value(done.layout, "cohort=AIBL", "mean count")
    own = people[(people["cohort"] == "AIBL") & people["n_cmb"].notna()]["n_cmb"].astype(float)
    assert mean["estimate"] == pytest.approx(own.mean())
    median = value(done.layout, "cohort=AIBL", "median count")
    assert median["estimate"] == own.median()


@pytest.mark.slow
def test_two_runs_give_equal_bytes(done):
    before = {name: done.layout.table(name).read_bytes() for name in TABLES}
    before["candidates"] = done.layout.candidates.read_bytes()
    aggregate.run(done.layout, done.bids_dir, done.config)
    for name in TABLES:
        assert done.layout.table(name).read_bytes() == before[name], name
    assert done.layout.candidates.read_bytes() == before["candidates"]


@pytest.mark.slow
def test_order_of_the_manifest_does_not_matter(done, tmp_path):
    other = fabricate.cohort(tmp_path, seed=0)
    table = pq.read_table(other.layout.manifest)
    shuffled = table.take(np.random.default_rng(0).permutation(len(table)))
    pq.write_table(shuffled, other.layout.manifest)
    aggregate.run(other.layout, other.bids_dir, other.config)
    for name in ("scans", "lesions", "counts", "participants"):
        assert other.layout.table(name).read_bytes() == done.layout.table(name).read_bytes(), name


def test_sidecars_describe_every_column(done):
    for name in TABLES:
        described = json.loads(done.layout.table_sidecar(name).read_text())
        assert set(pq.read_schema(done.layout.table(name)).names) <= set(described)


@pytest.mark.slow
def test_unfinished_run_is_recorded_not_raised(small):
    scan_id = small.scans[1]["scan_id"]
    small.layout.record("detect", scan_id).unlink()
    small.layout.record("verify", small.scans[2]["scan_id"]).write_text("{torn")
    aggregate.run(small.layout, small.bids_dir, small.config)
    scans = SCANS.read(small.layout.table("scans")).set_index("scan_id")
    assert scans.loc[scan_id, ["status", "reason", "stage"]].tolist() == [
        "failed",
        "not_run",
        "detect",
    ]
    assert scans.loc[small.scans[2]["scan_id"], "reason"] == "not_run"
    assert scans.loc[scan_id, "n_cmb"] is pd.NA
    assert set(scans["reason"].dropna()) <= set(REASONS)


@pytest.mark.slow
def test_missing_shard_is_no_zero(small):
    bucket = small.scans[0]["bucket"]
    small.layout.bucket("verify", bucket).unlink()
    aggregate.run(small.layout, small.bids_dir, small.config)
    scans = SCANS.read(small.layout.table("scans")).set_index("scan_id")
    assert scans.loc[small.scans[0]["scan_id"], "reason"] == "not_run"
    assert scans.loc[small.scans[0]["scan_id"], "n_cmb"] is pd.NA


@pytest.mark.slow
def test_a_shard_made_again_without_the_scan_is_no_zero(small):
    scan_id = next(c["scan_id"] for c in small.candidates if c["label"] == "definite")
    record = small.layout.record("verify", scan_id)
    dataclasses.replace(Outcome.read(record), measures={"n_kept": 1}).write(record)
    shard = small.layout.bucket("verify", bucket_of(scan_id, fabricate.BUCKETS))
    rows = CANDIDATES.read(shard)
    CANDIDATES.write(shard, rows[rows["scan_id"] != scan_id])
    aggregate.run(small.layout, small.bids_dir, small.config)
    scans = SCANS.read(small.layout.table("scans")).set_index("scan_id")
    assert scans.loc[scan_id, "reason"] == "not_run"
    assert scans.loc[scan_id, "n_cmb"] is pd.NA


@pytest.mark.slow
def test_too_many_failures_fail_after_the_tables_exist(small):
    small.config["aggregate"]["max_failed_fraction"] = 0.1
    aggregate.run(small.layout, small.bids_dir, small.config)
    with pytest.raises(CMBurdenError, match=r"2 of 9 scans failed \(22%\), above"):
        aggregate.check_failed_fraction(small.layout, small.config)
    assert all(small.layout.table(name).exists() for name in TABLES)
    small.config["aggregate"]["max_failed_fraction"] = 0.5
    aggregate.check_failed_fraction(small.layout, small.config)


@pytest.mark.slow
def test_a_cohort_of_crashes_is_a_fault_of_the_machine(small):
    for scan in small.scans:
        outcome = Outcome("detect", scan["scan_id"], "failed", "crashed", "RuntimeError.")
        outcome.write(small.layout.record("detect", scan["scan_id"]))
    aggregate.run(small.layout, small.bids_dir, small.config)
    said = r"\d of \d scans crashed .* the machine or CMBurden is at fault; .* cmburden retry"
    with pytest.raises(CMBurdenError, match=said):
        aggregate.check_failed_fraction(small.layout, small.config)
    small.config["aggregate"]["max_crashed_fraction"] = 1.0
    aggregate.check_failed_fraction(small.layout, small.config)


@pytest.mark.slow
def test_the_next_run_makes_those_anew_whose_record_is_torn(small):
    gone, torn = small.scans[1]["scan_id"], small.scans[2]["scan_id"]
    small.layout.record("detect", gone).unlink()
    small.layout.record("verify", torn).write_text("{torn")
    aggregate.run(small.layout, small.bids_dir, small.config)
    # A missing record is planned by Snakemake itself.
    assert remake.marked(small.layout) == [torn]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"stage": "detect"}', '{"stage": 1, "unit": "x"}']
)
def test_a_torn_record_of_a_run_is_left_out_and_said(small, content, caplog):
    manifest = MANIFEST.read(small.layout.manifest)
    before = stage_runs(small.layout, manifest, fabricate.BUCKETS)
    torn = small.layout.run_record("preprocess", small.scans[0]["scan_id"])
    assert torn.exists()
    torn.write_text(content)
    assert len(stage_runs(small.layout, manifest, fabricate.BUCKETS)) == len(before) - 1
    assert f"preprocess/{torn.name}: this record of a run cannot be read" in caplog.text


def test_wrong_settings_are_told_before_anything_is_written(small):
    small.config["aggregate"]["choose_scan"] = ["nicest"]
    with pytest.raises(CMBurdenError, match="choose_scan"):
        aggregate.run(small.layout, small.bids_dir, small.config)
    assert not small.layout.cohort.exists()


@pytest.mark.slow
def test_the_session_chosen_gives_the_age(small):
    """Audit B3: the first session is chosen by default, the latest one on demand."""
    sessions = small.bids_dir / "sub-OATS007" / "sub-OATS007_sessions.tsv"
    sessions.parent.mkdir()
    sessions.write_text("session_id\tage\tgds\nses-1\t70\t3\nses-2\t74\tn/a\n")
    aggregate.run(small.layout, small.bids_dir, small.config)
    people = PARTICIPANTS.read(small.layout.table("participants")).set_index("participant_id")
    row = people.loc["sub-OATS007"]
    assert (row["session_id"], row["chosen_because"], row["age"]) == ("ses-1", "first_session", 70)
    small.config["aggregate"]["choose_scan"] = ["most_recent_session"]
    aggregate.run(small.layout, small.bids_dir, small.config)
    people = PARTICIPANTS.read(small.layout.table("participants")).set_index("participant_id")
    row = people.loc["sub-OATS007"]
    assert row["scan_id"] == "sub-OATS007_ses-2_swi" and row["session_id"] == "ses-2"
    assert row["chosen_because"] == "most_recent_session"
    assert (row["age"], row["age_band"], row["n_scans"]) == (74, "70-79", 2)
    assert "session_gds" in people and "mmse_z" in people


@pytest.mark.slow
def test_no_date_and_no_name_is_in_a_table(small):
    """acq_time chooses the session, and stands in no file of the output but the log of problems."""
    sessions = small.bids_dir / "sub-OATS007" / "sub-OATS007_sessions.tsv"
    sessions.parent.mkdir()
    sessions.write_text(
        "session_id\tacq_time\tage\nses-1\t2016-05-04T10:00:00\t70\nses-2\t2014-03-02\t74\n"
    )
    tsv = small.bids_dir / "participants.tsv"
    lines = tsv.read_text().splitlines()
    lines = [f"{line}\t{'dob' if n == 0 else '1951-03-02'}" for n, line in enumerate(lines)]
    lines = [f"{line}\t{'surname' if n == 0 else 'Example'}" for n, line in enumerate(lines)]
    tsv.write_text("\n".join(lines))
    aggregate.run(small.layout, small.bids_dir, small.config)
    people = PARTICIPANTS.read(small.layout.table("participants")).set_index("participant_id")
    assert people.loc["sub-OATS007", "session_id"] == "ses-2"
    assert people.loc["sub-OATS007", "age"] == 74
    for name in aggregate.COHORT_TABLES:
        table = pq.read_table(small.layout.table(name)).to_pandas().to_csv()
        for text in ("2016-05-04", "2014-03-02", "1951-03-02", "Example", "surname", "acq_time"):
            assert text not in table, (name, text)
    problems = json.loads(small.layout.phenotype_problems.read_text())
    assert any("2 column(s) are not copied into the tables: dob, surname" in p for p in problems)


# --- participants.tsv as people write it ---


def read(tmp_path, text, people=("sub-01", "sub-02", "sub-03")):
    (tmp_path / "participants.tsv").write_bytes(text.encode("utf-8-sig"))
    known = phenotypes.read(tmp_path, list(people))
    return known.participants.set_index("participant_id"), known.problems


def test_messy_participants_are_put_right_and_told_once(tmp_path):
    table, problems = read(
        tmp_path,
        "participant_id\tAge\tGender\tAPOE4\n"
        "01\t90+\tfemale\t1\n"
        "sub-02\tseventy\tM\tn/a\n"
        "sub-02\t71\tM\t0\n"
        "sub-03\tn/a\n"
        "sub-99\t60\tF\t0\n",
    )
    assert table["age"].tolist() == [90.0, pd.NA, pd.NA]
    assert table["sex"].tolist()[:2] == ["F", "M"]
    assert table["APOE4"].dtype == "Int64"
    text = "\n".join(problems)
    for part in (
        "'sub-' is put before 1",
        "several different rows",
        "90+",
        "seventy",
        "'Gender' is taken as sex",
        "line(s) 5",
        "sub-99",
    ):
        assert part in text, part
    assert len(problems) == len(set(problems))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "participants.tsv is empty"),
        ("\n\n", "participants.tsv is empty"),
        ("name\tage\nx\t3\n", "has no column participant_id"),
        ("participant_id\n", "lacks 3 participant(s) of the tree"),
    ],
)
def test_useless_participants_tsv_stops_nothing(tmp_path, text, problem):
    table, problems = read(tmp_path, text)
    assert problem in problems[0]
    assert len(table) == 0


def test_commas_for_tabs_are_read_and_told(tmp_path):
    table, problems = read(tmp_path, "participant_id,age\n01,70\n")
    assert "separated by commas" in problems[0]
    assert table["age"].to_dict() == {"sub-01": 70.0}


@pytest.mark.slow
def test_no_participants_tsv_gives_null_phenotypes(small):
    (small.bids_dir / "participants.tsv").unlink()
    aggregate.run(small.layout, small.bids_dir, small.config)
    people = PARTICIPANTS.read(small.layout.table("participants"))
    assert people[["age", "sex", "site", "diagnosis"]].isna().all().all()
    assert "no participants.tsv" in json.loads(small.layout.phenotype_problems.read_text())[0]


@pytest.mark.slow
def test_phenotype_names_that_are_ours_are_kept_apart(small):
    lines = (small.bids_dir / "participants.tsv").read_text().splitlines()
    lines = [f"{line}\t{'pattern' if number == 0 else 'x'}" for number, line in enumerate(lines)]
    (small.bids_dir / "participants.tsv").write_text("\n".join(lines))
    small.config["aggregate"]["phenotypes"] = ["pattern"]
    aggregate.run(small.layout, small.bids_dir, small.config)
    people = PARTICIPANTS.read(small.layout.table("participants"))
    assert set(people["phenotype_pattern"].dropna()) == {"x"}
    assert "x" not in set(people["pattern"].dropna())


def test_runs_of_scans_that_left_the_tree_are_left_out(done):
    units = RUNS.read(done.layout.table("runs"))["unit"]
    assert set(units) == {row["scan_id"] for row in done.scans}


def test_all_tables_have_their_contract(done):
    for name in TABLES:
        frame = ALL[name].read(done.layout.table(name))
        assert frame.equals(ALL[name].frame(frame)), name


@pytest.mark.slow
def test_candidates_in_parts_are_the_same_table(small, monkeypatch):
    """More candidates than are held at a time: the same rows in the same order."""
    aggregate.run(small.layout, small.bids_dir, small.config)
    whole = pq.read_table(small.layout.candidates)
    lesions = small.layout.table("lesions").read_bytes()
    monkeypatch.setattr(candidates, "ROWS_AT_A_TIME", 7)
    aggregate.run(small.layout, small.bids_dir, small.config)
    assert pq.read_metadata(small.layout.candidates).num_row_groups > 3
    assert pq.read_table(small.layout.candidates).equals(whole)
    assert small.layout.table("lesions").read_bytes() == lesions
    assert not list(small.layout.work.glob(".candidates-*"))


@pytest.mark.slow
def test_a_contract_with_a_curve_and_no_other_number(tmp_path):
    """The curve's rows need no thresholds and no metrics before them."""
    made = fabricate.cohort(tmp_path, participants=6)
    contract = {"id": "bare", "metrics": {"froc": [[0.1, 0.85]]}}
    write_json(tmp_path / "models" / "detector" / "model.json", contract)
    aggregate.run(made.layout, made.bids_dir, made.config)
    rows = CURVES.read(made.layout.table("curves"))
    row = rows[rows["curve"] == "froc"].iloc[0]
    assert row[["model", "x", "estimate"]].tolist() == ["bare", 0.1, 0.85]
    assert row["method"] == "sensitivity; the model's contract, on its validation set"
