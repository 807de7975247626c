"""Commands one after another on one output folder: no command leaves the tables worse, in silence.

Scheduler and stages are stand-ins (tests/pretend_run.py); index, settings, plan and aggregate are
real. tests/workflow runs some of the same sequences through Snakemake.
"""

import random

import pandas as pd
import pytest
from pretend_run import BAD, Study

from cmburden.core import table_set
from cmburden.core.tables import SCANS
from cmburden.run import settings

#: Each sequence makes tables several times: half a minute for all.
pytestmark = pytest.mark.slow


@pytest.fixture
def study(tmp_path, monkeypatch) -> Study:
    return Study(tmp_path, monkeypatch)


def status(study: Study) -> dict[str, str]:
    scans = SCANS.read(study.layout.table("scans"))
    return {row.scan_id: row.status for row in scans.itertuples()}


def test_group_with_forgotten_buckets_makes_the_same_tables(study, capsys):
    assert study.run("--set", "buckets=2") == 0
    before = study.tables()
    assert study.group() == 0
    assert study.tables() == before
    assert "settings of this folder, from its last run: buckets=2" in capsys.readouterr().out


def test_group_with_other_buckets_is_refused(study, capsys):
    assert study.run("--set", "buckets=2") == 0
    before = study.tables()
    assert study.group("--set", "buckets=5") == 2
    assert "processed in 2 buckets; leave the setting out" in capsys.readouterr().err
    assert study.tables() == before


def test_group_with_other_settings_of_the_scans_is_refused(study, capsys):
    assert study.run() == 0
    before = study.tables()
    assert study.group("--set", "verify.thresholds.definite=0.9") == 2
    said = capsys.readouterr().err
    assert "6 scan(s), such as sub-01_T2starw, were processed with other settings of verify" in said
    assert "participant" in said
    assert study.tables() == before
    # A refused command is not remembered.
    assert study.run() == 0
    assert study.tables() == before


def test_a_run_knows_what_group_made_its_tables_with(study):
    assert study.run() == 0
    before = study.tables()
    assert study.group("--set", "aggregate.macrohaemorrhage_mm=1") == 0
    assert study.tables() != before
    assert study.run() == 0
    assert study.tables() == study.fresh()
    assert study.run("--forget-settings") == 0
    assert study.tables() == before


def test_forgotten_cohorts_rename_nobody(study, tmp_path):
    (tmp_path / "ours.yaml").write_text("name: Ours\nparticipant_pattern: .\n")
    assert study.run("--set", f"cohorts=[{tmp_path / 'ours.yaml'}]") == 0
    assert study.run() == 0
    assert set(pd.read_parquet(study.layout.table("scans"))["cohort"]) == {"Ours"}


# --- a part of the cohort ---


def test_a_part_leaves_tables_and_report_alone(study, capsys):
    assert study.run("--set", "buckets=2") == 0
    before, page = study.tables(), study.layout.report.read_bytes()
    study.image(3, b"another")
    capsys.readouterr()
    assert study.run("--participant-label", "03") == 0
    said = capsys.readouterr().out
    assert "tables and report stay as they are" in said
    assert f"cmburden run {study.bids} {study.layout.root} group" in said
    assert study.tables() == before
    assert study.layout.report.read_bytes() == page
    # Only the changed scan was processed, and its bucket kept the others.
    assert study.scheduler.jobs == ["preprocess", "register", "detect", "verify"]
    assert study.group() == 0
    assert set(status(study).values()) == {"ok"}
    assert study.tables() == study.fresh()


def test_a_part_of_an_unchanged_cohort_does_nothing(study):
    assert study.run("--set", "buckets=2") == 0
    assert study.run("--participant-label", "03") == 0
    assert study.scheduler.jobs == []


def test_parts_one_after_another_become_a_cohort(study):
    for number in range(1, 7):
        assert study.run("--set", "buckets=2", "--participant-label", f"{number:02d}") == 0
    mark = table_set.read(study.layout)
    assert mark is not None
    assert mark.part == "Subset: 1 of 6 participants (participant 01)."
    assert study.group() == 0
    mark = table_set.read(study.layout)
    assert mark is not None and mark.part is None
    assert study.tables() == study.fresh()


def test_the_same_part_again_makes_its_tables_and_keeps_the_others_rows(study):
    for label in ("01", "02", "01"):
        study.image(1, label.encode() * 2)
        assert study.run("--set", "buckets=1", "--participant-label", label) == 0
    assert set(status(study)) == {"sub-01_T2starw"}
    assert study.group() == 0
    assert status(study)["sub-02_T2starw"] == "ok"


def test_a_part_with_other_settings_is_no_setting_of_the_folder(study, capsys):
    assert study.run() == 0
    before = study.tables()
    assert study.run("--participant-label", "02", "--set", "preprocess.min_brain_ml=600") == 0
    assert study.group() == 2
    assert "sub-02_T2starw, were processed with other settings" in capsys.readouterr().err
    assert study.tables() == before
    assert study.run() == 0
    assert study.tables() == before


def test_a_part_with_other_buckets_is_refused(study, capsys):
    """Its shards would take the place of those of other scans."""
    assert study.run("--set", "buckets=3") == 0
    before = study.tables()
    assert study.run("--participant-label", "02", "--set", "buckets=2") == 2
    assert "processed in 3 buckets" in capsys.readouterr().err
    assert study.group() == 0
    assert study.tables() == before


def test_retry_after_a_dry_run_forgets_shards_of_the_right_buckets(study):
    study.image(2, BAD)
    assert study.run("--set", "buckets=1") == 0
    assert study.run("-n", "--set", "buckets=9") == 0
    assert study.retry() == 0
    assert not study.layout.bucket("verify", 0).exists()


def test_tables_of_a_part_say_so_in_each_file(study):
    assert study.run("--participant-label", "01", "02") == 0
    part = "Subset: 2 of 6 participants (participant 01, 02)."
    table = pd.read_parquet  # pandas drops a file's metadata: pyarrow reads it
    assert len(table(study.layout.table("scans"))) == 2
    import pyarrow.parquet as pq

    assert pq.read_schema(study.layout.table("scans")).metadata[b"part"].decode() == part


# --- runs that fail ---


def test_after_a_failed_run_old_tables_are_called_old(study, capsys):
    assert study.run() == 0
    study.image(1, b"another")
    study.scheduler.stop_after = 1
    capsys.readouterr()
    assert study.run() == 1
    out, err = capsys.readouterr()
    assert "tables and report are those of an earlier run, of 20" in err
    assert "Report:" not in out


def test_group_after_a_stopped_run_keeps_what_was_ok(study, capsys):
    assert study.run("--set", "buckets=1") == 0
    before = study.tables()
    study.image(1, b"another")
    study.scheduler.stop_after = 2
    assert study.run() == 1
    study.layout.bucket("verify", 0).unlink()  # as a killed job of the bucket leaves it
    study.scheduler.stop_after = None
    assert study.group() == 2
    assert "had a result in the present tables and have none now" in capsys.readouterr().err
    assert study.tables() == before
    assert study.run() == 0
    assert study.tables() == study.fresh()


def test_fewer_buckets_half_done_count_no_scan_twice(study):
    assert study.run("--set", "buckets=3") == 0
    study.scheduler.stop_after = 2
    assert study.run("--set", "buckets=2") == 1
    study.scheduler.stop_after = None
    assert study.run() == 0
    assert study.tables() == study.fresh()


def test_torn_tables_are_made_again_by_the_next_run(study):
    assert study.run() == 0
    before = study.tables()
    scans = study.layout.table("scans")
    scans.write_bytes(study.layout.table("lesions").read_bytes())
    assert table_set.faults(study.layout) == ["scans"]
    assert study.run() == 0
    assert study.tables() == before


# --- retry ---


def test_retry_keeps_what_people_read_and_the_next_run_replaces_it(study, capsys):
    study.image(2, BAD)
    assert study.run("--set", "buckets=2") == 0
    before, page = study.tables(), study.layout.report.read_bytes()
    assert study.retry("--dry-run") == 0
    assert "sub-02_T2starw: would run again (failed unreadable)" in capsys.readouterr().out
    assert study.run() == 0
    assert study.scheduler.jobs == []
    assert study.retry() == 0
    said = capsys.readouterr().out
    assert "sub-02_T2starw: will run again (failed unreadable)" in said
    assert f"Now: cmburden run {study.bids} {study.layout.root} participant" in said
    assert (study.tables(), study.layout.report.read_bytes()) == (before, page)
    # Until the next run `group` does not take the others' results away.
    assert study.group() == 2
    assert study.tables() == before
    assert study.run() == 0
    assert study.scheduler.jobs[:2] == ["preprocess", "register"]
    assert study.tables() == before


def test_retry_takes_a_scan_of_the_manifest_without_a_record(study, capsys):
    assert study.run("--set", "buckets=1") == 0
    for stage in ("preprocess", "register", "detect", "verify"):
        study.layout.record(stage, "sub-04_T2starw").unlink()
    study.layout.record("verify", "sub-05_T2starw").write_text("{")
    assert study.retry() == 0
    said = capsys.readouterr().out
    assert "sub-04_T2starw: will run again (failed not_run)" in said
    assert "sub-05_T2starw: will run again (failed not_run)" in said
    assert study.retry("--scan", "sub-04_T2starw") == 0
    assert study.run() == 0
    assert set(status(study).values()) == {"ok"}


def test_retry_of_a_scan_that_is_none_names_where_to_look(study, capsys):
    assert study.run() == 0
    assert study.retry("--scan", "sub-99_T2starw") == 2
    assert "sub-99_T2starw: no such scan" in capsys.readouterr().err


def test_retry_with_nothing_to_do_says_so(study, capsys):
    assert study.run() == 0
    capsys.readouterr()
    assert study.retry() == 0
    assert capsys.readouterr().out == "no scan has failed: nothing to run again\n"


def test_a_dry_run_is_not_remembered(study):
    assert study.run() == 0
    assert study.run("-n", "--set", "buckets=7") == 0
    assert settings.of(study.layout, {}).config["buckets"] == 16


# --- any sequence ---

CHOICES = {
    "run": [
        [],
        ["--forget-settings"],
        ["--set", "buckets=2"],
        ["--set", "buckets=3"],
        ["--set", "verify.thresholds.definite=0.8"],
        ["--set", "aggregate.macrohaemorrhage_mm=5"],
        ["--set", "preprocess.min_brain_ml=650", "--set", "report.title=Ours"],
    ],
    "group": [
        [],
        [],
        ["--set", "buckets=2"],
        ["--set", "aggregate.macrohaemorrhage_mm=7"],
        ["--set", "verify.thresholds.definite=0.7"],
        ["--forget-settings"],
        ["--participant-label", "04", "05"],
    ],
    "part": [
        ["--participant-label", "01"],
        ["--participant-label", "02", "05"],
        ["--participant-label", "06", "--set", "preprocess.min_brain_ml=600"],
        ["--participant-label", "03", "--set", "buckets=4"],
    ],
    "stopped": [[], ["--set", "buckets=2"], ["--set", "verify.thresholds.definite=0.75"]],
    "retry": [[], ["--scan", "sub-03_T2starw"]],
    "image": [[]],
}


def step(study: Study, rng: random.Random, capsys) -> str:
    """A random command; checks what must hold after any. Returns its name for a message."""
    name = rng.choice(["run", "group", "group", "part", "part", "stopped", "retry", "image"])
    options = rng.choice(CHOICES[name])
    if name == "image":
        study.image(rng.randint(1, 6), rng.choice([BAD, b"%d" % rng.randint(0, 99)]))
        return name
    before = study.tables()
    fates = status(study) if before else {}
    study.scheduler.stop_after = rng.randint(0, 12) if name == "stopped" else None
    capsys.readouterr()
    level = {"group": study.group, "retry": study.retry}.get(name, study.run)
    code = level(*options)
    said = capsys.readouterr()
    after = study.tables()
    what = f"{name} {options}: {code}\n{said.out}{said.err}"
    if code:
        assert said.err.strip(), what
        assert after == before, what
    if name == "retry":
        assert after == before, what
    whole = table_set.read(study.layout)
    if before and name == "part" and (whole is None or after != before):
        # The tables were of this very part.
        assert whole is not None and whole.part is not None, what
    if after:
        assert table_set.faults(study.layout) == [], what
        if name == "group" and not code and "--participant-label" not in options:
            lost = {s for s, fate in fates.items() if fate == "ok"} - {
                s for s, fate in status(study).items() if fate in ("ok",)
            }
            unread = {s for s in lost if status(study).get(s) == "failed"}
            reasons = SCANS.read(study.layout.table("scans")).set_index("scan_id")["reason"]
            assert not [s for s in unread if reasons[s] == "not_run"], what
    if name == "run" and not code:
        assert after == study.fresh(f"fresh{rng.random()}"), what
    return f"{name} {options}"


def walk(study: Study, seed: int, capsys) -> None:
    rng = random.Random(seed)
    steps = [step(study, rng, capsys) for _ in range(rng.randint(4, 8))]
    study.scheduler.stop_after = None
    assert study.run() == 0, steps
    after = study.tables()
    assert after == study.fresh("last"), steps
    assert set(status(study)) == {f"sub-{n:02d}_T2starw" for n in range(1, 7)}
    assert study.group() == 0, steps
    assert study.tables() == after, steps


@pytest.mark.parametrize("seed", range(2))
def test_some_sequences_end_as_a_fresh_run(study, seed, capsys):
    walk(study, seed, capsys)


@pytest.mark.parametrize("seed", range(2, 8))
def test_any_sequence_ends_as_a_fresh_run(study, seed, capsys):
    walk(study, seed, capsys)


def test_a_strict_run_ends_with_a_code_of_its_own_if_a_scan_failed(study, capsys):
    assert study.run("--strict") == 0
    study.image(2, BAD)
    assert study.run() == 0
    assert study.run("--strict") == 3
    assert "--strict: 1 scan(s) failed" in capsys.readouterr().err
    assert study.run("--strict", "--exclude-participant-label", "02") == 0
