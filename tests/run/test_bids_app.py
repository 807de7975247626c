"""The command line as people who know other BIDS-Apps try it."""

import argparse
import json
import os
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.run import arguments, cli, participants, watch, work_folder
from cmburden.run.participants import Request


@pytest.fixture
def bids(tmp_path):
    for number in ("01", "02", "03"):
        (tmp_path / "bids" / f"sub-{number}" / "anat").mkdir(parents=True)
    (tmp_path / "bids" / "dataset_description.json").write_text('{"Name": "x"}')
    return tmp_path / "bids"


@pytest.fixture
def requests(monkeypatch):
    """Requests that would have been run; each ends with code 0."""
    made = []
    monkeypatch.setattr(participants, "run", lambda request: made.append(request) or 0)
    return made


def failed(capsys, *words) -> str:
    """What a command says that argparse refuses."""
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in words])
    assert end.value.code == 2
    return capsys.readouterr().err


FLAGS = (
    "--participant_label 01 sub-02 --session-id 1 --skip_bids_validation --nthreads 3 "
    "--omp-nthreads 2 --mem 16GB -w W --bids-database-dir D --notrack -v --strict "
    "--stop-on-first-crash --exclude-participant-label 03"
)


def test_the_call_of_a_bids_app_is_run(bids, tmp_path, requests, capsys):
    words = [str(bids), str(tmp_path / "out"), "participant", *FLAGS.split(), "--", "--forceall"]
    assert cli.main(words) == 0
    assert cli.main(["run", *words]) == 0
    assert requests[0] == requests[1]
    one = requests[0]
    assert (one.bids_dir, one.analysis_level) == (bids, "participant")
    assert (one.cores, one.threads, one.memory_mb) == (3, 2, 16 * 1024)
    assert one.participant_label == ["01", "sub-02"]
    assert one.strict
    assert one.stop_at_first_failure
    assert one.verbose
    assert one.further == ["--forceall"]
    assert "--bids-database-dir: not used" in capsys.readouterr().out


def test_options_may_come_first(bids, tmp_path, requests):
    assert cli.main(["-w", "/scratch", str(bids), str(tmp_path / "out"), "group"]) == 0
    assert requests[0].analysis_level == "group"


def test_a_folder_named_as_a_command_is_that_command(tmp_path, capsys):
    assert cli.main(["status", str(tmp_path)]) == 2
    assert "nothing was run here yet" in capsys.readouterr().err


def test_version_anywhere(capsys):
    for words in (["--version"], ["run", "--version"], ["bids", "out", "participant", "--version"]):
        with pytest.raises(SystemExit) as end:
            cli.main(words)
        assert end.value.code == 0
        assert capsys.readouterr().out.startswith("CMBurden 0.")


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("--sesion-label 01", "unknown --sesion-label: did you mean --session-label?"),
        ("--output-spaces T1w", "unknown --output-spaces: places in MNI152NLin2009aSym are"),
        ("--xyzzy", "unknown --xyzzy; --help lists the flags"),
        ("more", "'more' is one word too many"),
        ("--cores none", "argument --cores/--nprocs"),
        ("--mem much", "write MB, or a unit"),
    ],
)
def test_a_misspelt_flag_shows_the_usage_of_run_and_the_flag(capsys, words, advice):
    said = failed(capsys, "bids", "out", "participant", *words.split())
    assert said.startswith("usage: cmburden run [-h]")
    assert advice in said


def test_a_misspelt_command(capsys, bids):
    assert cli.main(["reviev", "out"]) == 2
    assert "'reviev' is no command: did you mean review?" in capsys.readouterr().err
    assert cli.main([str(bids), "out"]) == 2
    assert "write participant or group after the two folders" in capsys.readouterr().err


@pytest.mark.slow
def test_each_argument_of_each_command_has_a_help_text():
    parser, commands = cli.make_parser(None, whole=True)
    assert set(commands) == set(cli.names())
    assert len(commands) > 12
    for name, command in (*commands.items(), ("", parser)):
        bare = [action.dest for action in command._actions if not action.help]
        assert bare in ([], ["==SUPPRESS=="]) or not name, (name, bare)


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_commands_and_flags(shell, capsys):
    pytest.importorskip("shtab")
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("operating-point", "participant-label", "reports-only"):
        assert word in script


@pytest.mark.slow
def test_python_m():
    command = [sys.executable, "-m", "cmburden", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:9]) == (0, "CMBurden ")


@pytest.mark.parametrize("text", ["0", "-3", "8 apples", ""])
def test_memory_that_is_none(text):
    with pytest.raises(argparse.ArgumentTypeError, match="write MB"):
        arguments.megabytes(text)


# --- participants left out ---


def labels(bids, *excluded, only=()):
    request = Request(
        bids, bids.parent / "out", participant_label=only, exclude_participant_label=excluded
    )
    return request._overrides()["participant_label"]


def test_excluded_participants(bids):
    assert labels(bids, "02") == ["01", "03"]
    assert labels(bids, "sub-02", only=["01", "sub-02"]) == ["01"]
    with pytest.raises(CMBurdenError, match=r"sub-09 not in .*; it has sub-01"):
        labels(bids, "09")
    with pytest.raises(CMBurdenError, match="leaves no participant"):
        labels(bids, "01", "02", "03")


def test_memory_is_for_this_machine_alone(bids, tmp_path, capsys):
    words = [str(bids), str(tmp_path / "out"), "participant", "--mem", "8000"]
    assert cli.main([*words, "--profile", "slurm"]) == 2
    assert "on a cluster each job asks for its own" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    command = participants._snakemake(
        Request(bids, tmp_path / "out", memory_mb=8000), Layout(tmp_path / "out"), "participant"
    )
    assert command[command.index("--resources") + 1] == "mem_mb=8000"


# --- the work folder ---


def test_work_lies_elsewhere_and_a_link_leads_there(tmp_path):
    layout, scratch = Layout(tmp_path / "out"), tmp_path / "scratch"
    assert work_folder.place(layout, scratch) is None
    assert layout.work.is_symlink()
    layout.config.write_text("x")
    (own,) = scratch.iterdir()
    assert (own / "config.yaml").read_text() == "x"
    # The same option again changes nothing, and another output has a folder of its own.
    assert work_folder.place(layout, scratch) is None
    assert layout.config.read_text() == "x"
    work_folder.place(Layout(tmp_path / "another" / "out"), scratch)
    assert len(list(scratch.iterdir())) == 2
    with pytest.raises(CMBurdenError, match=r"lie in .*scratch.* already; leave the option out"):
        work_folder.place(layout, tmp_path / "other")


def test_work_that_is_there_is_not_left_behind(tmp_path):
    layout = Layout(tmp_path / "out")
    layout.work.mkdir(parents=True)
    layout.config.write_text("x")
    with pytest.raises(CMBurdenError, match="move them first: mv"):
        work_folder.place(layout, tmp_path / "scratch")
    assert layout.config.read_text() == "x"


def test_a_cleared_work_folder_is_said_and_made_anew(tmp_path, capsys):
    layout, scratch = Layout(tmp_path / "out"), tmp_path / "scratch"
    work_folder.place(layout, scratch)
    (own,) = scratch.iterdir()
    own.rmdir()
    assert cli.main(["status", str(layout.root)]) == 2
    assert "the machine that has them, or run with --work-dir" in capsys.readouterr().err
    note = work_folder.place(layout, scratch)
    assert note is not None
    assert "all scans are processed anew" in note
    assert layout.work.is_dir()


# --- what is seen of a run ---


def outcome(layout, stage, scan_id, status="ok", reason=None):
    path = layout.record(stage, scan_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    Outcome(stage, scan_id, status, reason, "What is wrong." if reason else None).write(path)


def test_records_are_reported_once_and_again_when_they_change(tmp_path):
    layout = Layout(tmp_path)
    outcome(layout, "preprocess", "sub-01_swi")
    outcome(layout, "preprocess", "sub-99_swi")
    records = watch.Records(layout, {"sub-01_swi", "sub-02_swi"})
    assert records.ended["preprocess"] == 1
    assert list(records.new()) == []
    outcome(layout, "preprocess", "sub-02_swi", "failed", "unreadable")
    outcome(layout, "verify", "sub-01_swi")
    assert [(o.stage, o.scan_id) for o in records.new()] == [
        ("preprocess", "sub-02_swi"),
        ("verify", "sub-01_swi"),
    ]
    assert list(records.new()) == []
    os.utime(layout.record("verify", "sub-01_swi"), ns=(1, 1))
    assert [o.stage for o in records.new()] == ["verify"]


def test_a_file_that_grows_is_read_by_lines(tmp_path):
    path = tmp_path / "log"
    path.write_text("old\n")
    tail = watch.Tail(path)
    with path.open("a") as stream:
        stream.write("one\ntw")
        stream.flush()
        assert list(tail.lines()) == ["one"]
        stream.write("o\n")
    assert list(tail.lines()) == ["two"]


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path / "out")
    layout.work.mkdir(parents=True)
    pq.write_table(pa.table({"scan_id": ["sub-01_swi", "sub-02_swi"]}), layout.manifest)
    return layout


CONFIG = {"analysis_level": "participant", "buckets": 16, "threads": 2}
#: Stands for Snakemake: says what it says, fails a scan, and works on until it is interrupted.
WORKER = """
import sys, time, json, pathlib
print("Select jobs to execute...", file=sys.stderr)
print("RuleException: of rule x", file=sys.stderr, flush=True)
path = pathlib.Path(sys.argv[1])
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text(sys.argv[2])
try:
    time.sleep(float(sys.argv[3]))
except KeyboardInterrupt:
    sys.exit(1)
"""


def watched(layout, seconds, **manner) -> int:
    record = {
        "stage": "preprocess",
        "scan_id": "sub-02_swi",
        "status": "failed",
        "reason": "unreadable",
        "message": "It ends early.",
    }
    command = [sys.executable, "-c", WORKER, str(layout.record("preprocess", "sub-02_swi"))]
    read, write = os.pipe()
    try:
        return watch.watched(
            [*command, json.dumps(record), str(seconds)],
            layout,
            CONFIG,
            dict(os.environ),
            write,
            watch.Manner(**manner),
        )
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.slow
def test_scans_are_named_and_routine_messages_are_not_shown(layout, capsys, monkeypatch):
    monkeypatch.setattr(watch, "_LOOK_S", 0.05)
    assert watched(layout, 0.3) == 0
    said = capsys.readouterr().err
    assert "sub-02_swi: failed at preprocess (unreadable). It ends early." in said
    assert "RuleException: of rule x" in said
    assert "Select jobs" not in said
    assert "preprocess 1, register 0, detect 0, verify 0 of 2 | sub-02_swi (preprocess)" in said
    log = layout.log("snakemake").read_text()
    assert "CMBurden 0." in log.splitlines()[0]
    assert "Select jobs to execute..." in log


@pytest.mark.slow
def test_the_first_failed_scan_ends_the_run(layout, capsys, monkeypatch):
    monkeypatch.setattr(watch, "_LOOK_S", 0.05)
    began = time.monotonic()
    assert watched(layout, 60, stop_at_first_failure=True) == 1
    assert time.monotonic() - began < 30
    assert "the run ends, since sub-02_swi failed" in capsys.readouterr().err


def test_no_other_end_leaves_snakemake_behind():
    class Process:
        killed = False

        def wait(self):
            if not self.killed:
                raise MemoryError

        def kill(self):
            self.killed = True

    process = Process()
    with pytest.raises(MemoryError):
        watch._end(process)
    assert process.killed


@pytest.mark.slow
def test_a_run_that_is_interrupted_ends_its_jobs_in_order(layout, monkeypatch):
    class Process:
        calls = 0

        def wait(self, timeout=None):
            self.calls += 1
            if self.calls == 1:
                raise KeyboardInterrupt
            assert timeout == watch._TO_END_S
            return 1

        def kill(self):
            raise AssertionError("killed")

    with pytest.raises(KeyboardInterrupt):
        watch._end(Process())
