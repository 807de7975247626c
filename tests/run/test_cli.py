"""Mistakes on the command line: one sentence, code 2, no traceback."""

import fcntl
import os

import pytest

from cmburden.core import resources
from cmburden.core.paths import Layout
from cmburden.run import cli


@pytest.fixture
def bids(tmp_path):
    folder = tmp_path / "bids" / "sub-01" / "anat"
    folder.mkdir(parents=True)
    (folder / "sub-01_T2starw.nii.gz").write_bytes(b"")
    (tmp_path / "bids" / "dataset_description.json").write_text('{"Name": "x"}')
    return tmp_path / "bids"


def sentence(capsys, *arguments) -> str:
    assert cli.main([str(a) for a in arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("cmburden: ")
    assert "\n" not in said
    return said


def test_missing_folder(capsys, tmp_path):
    assert "no such folder" in sentence(
        capsys, "run", tmp_path / "absent", tmp_path / "out", "participant"
    )


def test_output_in_the_raw_tree(capsys, bids):
    assert "lies in the raw BIDS folder" in sentence(capsys, "run", bids, bids / "o", "participant")


def test_unknown_participant(capsys, bids, tmp_path):
    said = sentence(
        capsys, "run", bids, tmp_path / "out", "participant", "--participant-label", "99"
    )
    assert "['99'] are not in the tree" in said


def test_unknown_key(capsys, bids, tmp_path):
    said = sentence(capsys, "run", bids, tmp_path / "out", "participant", "--set", "bukkets=3")
    assert "unknown key ['bukkets']" in said


def test_group_before_participant(capsys, bids, tmp_path):
    assert "run participant level first" in sentence(capsys, "run", bids, tmp_path / "o", "group")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_output(capsys, bids, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    assert "cannot be written" in sentence(capsys, "run", bids, closed / "o", "participant")


def test_status_before_a_run(capsys, tmp_path):
    assert "nothing was run here yet" in sentence(capsys, "status", tmp_path)


@pytest.mark.slow
def test_two_runs_in_one_folder(capsys, bids, tmp_path):
    lock = Layout(tmp_path / "out").lock
    lock.parent.mkdir(parents=True)
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        said = sentence(capsys, "run", bids, tmp_path / "out", "participant")
    assert "another run is at work here" in said


def test_a_profile_that_is_not_there(capsys, bids, tmp_path):
    said = sentence(
        capsys, "run", bids, tmp_path / "out", "participant", "--profile", tmp_path, "-n"
    )
    assert "no folder that holds a config.yaml; use local, slurm or a copy of" in said


def test_a_model_that_does_not_fit(capsys, bids, tmp_path):
    """Said before anything is read, not after a night of preprocessing."""
    detector = resources.root() / "models" / "detector"
    said = sentence(
        capsys, "run", bids, tmp_path / "o", "participant", "--set", f"verify.model={detector}"
    )
    assert "detector: this is no verifier; name one in verify.model" in said
    assert not list((tmp_path / "o").rglob("*manifest*"))


def test_a_mistake_under_python_m_is_a_sentence(tmp_path, capsys):
    from cmburden.benchmarks import pilot_check
    from cmburden.core.errors import exit_code

    assert exit_code(lambda: pilot_check.main([str(tmp_path)])) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(tmp_path) in said
