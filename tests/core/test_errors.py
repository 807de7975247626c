"""Two kinds of failure: what a user can mend is one sentence, all else keeps its traceback."""

import errno
import os

import pytest

from cmburden.core.errors import MENDABLE, CMBurdenError, exit_code, sentence
from cmburden.core.tables import SCANS
from cmburden.run import jobs
from cmburden.train.submission import StepRun


def raising(error: BaseException):
    def main(*arguments):
        raise error

    return main


def of(number: int, path: str | None = None) -> OSError:
    """The error of the system with this errno, as ``open`` raises it."""
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("ENOSPC", "No space left on device; free space there and run again: what is done is kept"),
        ("EDQUOT", "Disk quota exceeded; free space within the quota and run again"),
        ("EACCES", "Permission denied; give yourself the permission"),
        ("EPERM", "Operation not permitted; let the owner allow this"),
        ("EROFS", "Read-only file system; name a place that is not mounted read-only"),
    ],
)
def test_what_the_system_refuses_is_a_sentence(capsys, tmp_path, number, said):
    error = of(getattr(errno, number), "/data/x")
    assert exit_code(raising(error), "cmburden: ") == 2
    assert capsys.readouterr().err.startswith(f"cmburden: /data/x: {said}")
    with pytest.raises(SystemExit) as ended, jobs.logged(str(tmp_path / "log")):
        raise error
    assert said in str(ended.value)


def test_each_has_advice_of_its_own():
    assert len(set(MENDABLE.values())) == len(MENDABLE) == 7


#: Errors that no advice about disks and permissions is true of.
BUGS = [
    of(errno.ENOENT, "/data/x"),
    of(errno.EISDIR, "/data/x"),
    of(errno.EEXIST),
    of(errno.EBADF),
    of(errno.EINVAL),
    of(errno.EPIPE),
    ConnectionError("closed"),
    OSError("of a library"),
]


@pytest.mark.parametrize("error", BUGS, ids=repr)
def test_a_bug_keeps_its_traceback(capsys, tmp_path, error):
    with pytest.raises(OSError) as caught:
        exit_code(raising(error))
    assert caught.value is error and not capsys.readouterr().err
    log = tmp_path / "log"
    with pytest.raises(OSError), jobs.logged(str(log)):
        raise error
    assert "Traceback" in log.read_text()


def test_a_missing_file_is_a_mistake_where_the_user_has_named_it(capsys, tmp_path):
    missing = tmp_path / "missing.npz"
    named = exit_code(missing.read_bytes, named=["--out", f"{tmp_path}//missing.npz"])
    assert named == 2
    assert f"{missing}: No such file or directory; name another" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError):
        exit_code(missing.read_bytes, named=["--out", str(tmp_path)])


def test_a_step_of_training_keeps_to_the_same_rule(monkeypatch, tmp_path):
    step = StepRun("detector", ("x",), tmp_path)
    monkeypatch.setattr(StepRun, "main", lambda self: raising(of(errno.ENOSPC))())
    assert step().mistake.startswith("No space left on device; free space")
    monkeypatch.setattr(StepRun, "main", lambda self: raising(of(errno.EBADF))())
    with pytest.raises(OSError):
        step()


def test_a_table_that_may_not_be_read_is_not_called_damaged(monkeypatch, tmp_path):
    """A damaged table is to be removed; a closed one is sound and is to be opened."""
    path = tmp_path / "scans.parquet"
    path.write_bytes(b"torn")
    with pytest.raises(CMBurdenError, match="remove it and run again"):
        SCANS.read(path)
    closed = raising(of(errno.EACCES, str(path)))
    monkeypatch.setattr("cmburden.core.schema.pq.read_table", lambda *a, **k: closed())
    with pytest.raises(PermissionError):
        SCANS.read(path)


def test_other_errors_have_no_sentence():
    assert sentence(KeyError("x")) is None
    assert sentence(CMBurdenError("x: write y")) == "x: write y"
