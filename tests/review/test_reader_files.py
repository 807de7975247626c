"""Readers' files that were damaged, replaced or removed: no decision is lost, no run stops."""

import contextlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import stat
import threading

import pyarrow.parquet as pq
import pytest
from test_review import accept, mark, reject

from cmburden.core import config as configuration
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import sha256_of_file
from cmburden.core.paths import Layout
from cmburden.core.tables import REVIEWS
from cmburden.index import stage as index
from cmburden.review import reader_file, store
from cmburden.review.reader_file import NotKept
from cmburden.review.store import Store
from cmburden.run import begin
from cmburden.run.plan import Plan

NOBODY = 65534


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "out")


def filled(layout: Layout, reader: str = "A", number: int = 9) -> Store:
    own = Store(layout, reader)
    for n in range(1, number + 1):
        own.decide(accept(n, (10 * n, 0, 0)))
    return own


def in_file(layout: Layout, reader: str = "A") -> list[int]:
    """Numbers of the candidates with a decision in the reader's file, as SQLite itself reads it."""
    with contextlib.closing(sqlite3.connect(layout.reader_file(reader))) as base:
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [row[0] for row in base.execute("SELECT candidate_id FROM decisions ORDER BY id")]


def changed(path, statement):
    with contextlib.closing(sqlite3.connect(path)) as base, base:
        base.execute(statement)


# --- damage, done to a file ---


def emptied(path):
    path.write_bytes(b"")


def without_rows(path):
    path.unlink(missing_ok=True)
    reader_file.write_whole(path, [])


def not_a_database(path):
    path.write_bytes(b"not a database" * 500)


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped_page(path):
    content = bytearray(path.read_bytes())
    content[4096:8192] = bytes(255 - byte for byte in content[4096:8192])
    path.write_bytes(content)


def foreign_schema(path):
    path.unlink()
    changed(path, "CREATE TABLE bookmarks (url TEXT)")


def view_in_place_of_table(path):
    path.unlink()
    changed(path, "CREATE VIEW decisions AS SELECT 1 AS id")


def text_for_mm(path):
    changed(path, "UPDATE decisions SET x_mm = 'left' WHERE id = 3")


def infinite_mm(path):
    changed(path, "UPDATE decisions SET x_mm = 9e999 WHERE id = 3")


def unknown_decision(path):
    changed(path, "UPDATE decisions SET decision = 'perhaps' WHERE id = 3")


def unknown_class(path):
    changed(path, "UPDATE decisions SET class = 'tumour' WHERE id = 3")


def place_lost(path):
    changed(path, "UPDATE decisions SET y_mm = NULL, shown_y_mm = NULL WHERE id = 3")


def bytes_for_text(path):
    changed(path, "UPDATE decisions SET scan_id = x'ff00' WHERE id = 3")


def not_unicode(path):
    changed(path, "UPDATE decisions SET note = CAST(x'ff' AS TEXT) WHERE id = 3")


def other_value(path):
    changed(path, "UPDATE decisions SET scan_id = 'sub-99_T2starw' WHERE id = 3")


def later_version(path):
    changed(path, "PRAGMA user_version=99")


def folder(path):
    path.unlink()
    path.mkdir()


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def dangling(path):
    path.unlink()
    path.symlink_to(path.parent / "gone")


def older_copy(path):
    changed(path, "DELETE FROM decisions WHERE id > 4")


DAMAGE = [
    emptied, without_rows, not_a_database, half, flipped_page, foreign_schema,
    view_in_place_of_table, text_for_mm, infinite_mm, unknown_decision, unknown_class, place_lost,
    bytes_for_text, not_unicode, other_value, later_version, folder, pipe, dangling, older_copy,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_and_the_exported_decisions_stay(layout, damage):
    filled(layout).close()
    other = filled(layout, "B", 1)
    before = REVIEWS.read(store.export(layout))
    damage(layout.reader_file("A"))
    other.decide(accept(2, (20, 0, 0)))
    after = REVIEWS.read(store.export(layout))
    assert after[after["reader"] == "A"].equals(before[before["reader"] == "A"])
    assert (after["reader"] == "A").sum() == 9 and (after["reader"] == "B").sum() == 2
    (problem,) = store.problems_of(layout)
    assert problem.startswith(f"{layout.reader_file('A')}: ") and "\n" not in problem
    assert "the 9 decisions of A that were exported before count until then" in problem
    # Nor does the reader go on as if nothing were there.
    with pytest.raises(CMBurdenError, match=r"A\.sqlite: "):
        Store(layout, "A")


# That rows are missing, or of another scan, cannot be told without an export.
@pytest.mark.parametrize(
    "damage", [d for d in DAMAGE if d not in (without_rows, older_copy, other_value)]
)
def test_a_damaged_file_that_was_never_exported_says_that_nothing_counts(layout, damage):
    filled(layout).close()
    damage(layout.reader_file("A"))
    store.export(layout)
    assert "no decision of A counts until then" in store.problems_of(layout)[0]


def test_a_run_says_which_readers_file_it_does_not_count(layout, capsys, monkeypatch):
    filled(layout).close()
    store.export(layout)
    monkeypatch.setattr(index, "run", lambda *_: [])
    config = configuration.defaults()
    begin.begin(layout.root, layout, config)
    assert capsys.readouterr().err == ""
    emptied(layout.reader_file("A"))
    begin.begin(layout.root, layout, config)
    said = capsys.readouterr().err
    assert said.startswith("cmburden: warning: ") and said.count("\n") == 1
    assert "A.sqlite: is empty (0 bytes)" in said
    # Tables and report are then made again, so that the report says it too.
    assert (
        sha256_of_file(layout.review_problems)
        in Plan(
            configuration.merge(configuration.defaults(), {"output_dir": str(layout.root)})
        ).of_cohort()["files"]
    )


def test_a_mended_file_counts_again_and_nothing_is_said(layout):
    filled(layout).close()
    path = layout.reader_file("A")
    content = path.read_bytes()
    emptied(path)
    store.export(layout)
    assert store.problems_of(layout)
    path.write_bytes(content)
    assert len(REVIEWS.read(store.export(layout))) == 9
    assert store.problems_of(layout) == [] and json.loads(layout.review_problems.read_text()) == []


def test_a_file_that_is_no_readers_is_named(layout):
    filled(layout).close()
    shutil.copy(layout.reader_file("A"), layout.reader_file("A").with_name("A copy.sqlite"))
    store.export(layout)
    assert "'A copy' is no reader's name" in store.problems_of(layout)[0]


def test_a_table_that_does_not_read_is_set_aside_and_made_anew(layout):
    filled(layout).close()
    store.export(layout)
    layout.reviews.write_bytes(b"PAR1")
    assert len(REVIEWS.read(store.export(layout))) == 9
    assert "reviews.damaged" in store.problems_of(layout)[0]
    assert layout.reviews.with_suffix(".damaged").read_bytes() == b"PAR1"


def test_a_file_that_is_not_here_but_was_exported_is_not_begun_anew(layout):
    filled(layout).close()
    store.export(layout)
    layout.reader_file("A").unlink()
    with pytest.raises(CMBurdenError, match="holds 9 decisions of A; copy the file"):
        Store(layout, "A")
    layout.reviews.unlink()
    assert Store(layout, "A").standing() == []


# --- reading only ---


def as_nobody(work) -> None:
    """Run ``work`` in a process without a right to write."""
    if os.getuid():
        pytest.skip("needs root, to become another user")
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setuid(NOBODY)
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def killed_in_a_commit(layout: Layout) -> None:
    """Leave a journal that must be rolled back: the tenth decision was never acknowledged."""
    child = os.fork()
    if not child:
        base = sqlite3.connect(layout.reader_file("A"), isolation_level=None)
        base.execute("PRAGMA cache_spill=1")
        base.execute("PRAGMA cache_size=1")
        base.execute("BEGIN IMMEDIATE")
        for _ in range(2000):
            base.execute(
                "INSERT INTO decisions (at, removed, undone, note) VALUES ('x', 0, 0, ?)",
                ("x" * 500,),
            )
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert layout.reader_file("A").with_name("A.sqlite-journal").stat().st_size


def with_log(layout: Layout) -> None:
    """Turn the file into one of the former version: a write-ahead log that is not emptied."""
    path = layout.reader_file("A")
    child = os.fork()
    if not child:
        base = sqlite3.connect(path, isolation_level=None)
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("UPDATE decisions SET note = 'in the log' WHERE id = 9")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert path.with_name("A.sqlite-wal").stat().st_size


@pytest.mark.parametrize("state", [lambda layout: None, killed_in_a_commit, with_log])
def test_the_export_writes_nothing_beside_the_readers_files(layout, tmp_path_factory, state):
    filled(layout).close()
    state(layout)
    reviews = layout.reader_file("A").parent
    names, times = sorted(reviews.iterdir()), reviews.stat().st_mtime_ns
    for path in [layout.root, *layout.root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    for written in (layout.cohort, layout.work):
        written.mkdir(exist_ok=True)
        written.chmod(0o777)
    for parent in layout.root.parents:
        if parent.stat().st_mode & 0o005 != 0o005 and str(parent).startswith("/tmp/pytest"):
            parent.chmod(0o755)
    as_nobody(lambda: store.export(layout))
    assert store.problems_of(layout) == []
    assert len(REVIEWS.read(layout.reviews)) == 9
    assert sorted(reviews.iterdir()) == names and reviews.stat().st_mtime_ns == times
    # The reader goes on where the reader was.
    assert len(Store(layout, "A").standing()) == 9
    assert sorted(p.name for p in reviews.iterdir()) == ["A.sqlite"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o640), (0o002, 0o660), (0o077, 0o600)])
def test_notes_are_read_by_owner_and_group_only(layout, umask, mode):
    before = os.umask(umask)
    try:
        own = filled(layout, number=1)
        store.export(layout)
        assert stat.S_IMODE(own.path.stat().st_mode) == mode
        assert stat.S_IMODE(layout.reviews.stat().st_mode) & 0o007 == 0
        own.path.chmod(0o644)  # as the group needs it here
        again = Store(layout, "A")
        emptied(again.path)
        again.decide(accept(2, (20, 0, 0)))
        assert stat.S_IMODE(again.path.stat().st_mode) == 0o644
    finally:
        os.umask(before)


# --- while a review is open ---


def removed(path):
    path.unlink()


def folder_removed(path):
    shutil.rmtree(path.parent)


WHILE_OPEN = [d for d in DAMAGE if d not in (later_version, other_value, dangling)]


@pytest.mark.parametrize("damage", [*WHILE_OPEN, removed, folder_removed, dangling])
def test_the_next_decision_finds_all_before_it_on_disk(layout, damage, capsys):
    own = filled(layout)
    damage(own.path)
    own.decide(accept(10, (100, 0, 0)))
    assert in_file(layout) == list(range(1, 11))
    assert "written again with all 9 decisions" in capsys.readouterr().err
    assert "A.sqlite" in own.notice
    if damage in (not_a_database, foreign_schema, folder):  # may be somebody's
        assert own.path.with_name("A.sqlite.damaged-1").exists()
    own.close()
    assert len(Store(layout, "A").standing()) == 10


def test_the_end_of_a_review_finds_a_lost_file(layout):
    own = filled(layout)
    own.path.unlink()
    own.close()
    assert in_file(layout) == list(range(1, 10))


def test_a_file_with_other_decisions_is_left_and_the_decision_refused(layout):
    own = filled(layout)
    filled(layout, "B", 3).close()
    changed(layout.reader_file("B"), "UPDATE decisions SET note = 'of another'")
    layout.reader_file("B").replace(own.path)
    for _ in range(2):
        with pytest.raises(NotKept, match=r"lacks 9 of this review; all 9 .* A-kept-1\.sqlite"):
            own.decide(accept(10, (100, 0, 0)))
    assert in_file(layout) == [1, 2, 3]
    with pytest.raises(NotKept):
        own.close()
    # As the sentence says:
    own.path.with_name("A-kept-1.sqlite").replace(own.path)
    own.decide(accept(10, (100, 0, 0)))
    assert in_file(layout) == list(range(1, 11))
    assert sorted(p.name for p in own.path.parent.iterdir()) == ["A.sqlite"]


def test_a_file_that_went_on_elsewhere_is_taken_up(layout):
    own, elsewhere = filled(layout), Store(layout, "A")
    elsewhere.decide(accept(10, (100, 0, 0)))
    own.decide(accept(11, (110, 0, 0)))
    assert in_file(layout) == list(range(1, 12)) and len(own.standing()) == 11


def test_a_file_put_in_place_during_the_commit_gets_the_decision(layout, monkeypatch):
    own = filled(layout)
    copy = own.path.read_bytes()
    writing, calls = reader_file.writing, []

    @contextlib.contextmanager
    def replaced(path):
        with writing(path) as base:
            yield base
            calls.append(path)

    def present(self):
        # Once, between the commit and the look at the file.
        if len(calls) == 0 and in_file(layout)[-1] == 10:
            calls.append("replaced")
            own.path.unlink()
            own.path.write_bytes(copy)
        return look(self)

    look = Store._present
    monkeypatch.setattr(reader_file, "writing", replaced)
    monkeypatch.setattr(Store, "_present", present)
    own.decide(accept(10, (100, 0, 0)))
    assert in_file(layout) == list(range(1, 11)) and calls == ["replaced", own.path]


def test_a_file_put_in_place_before_the_commit_is_compared_first(layout, monkeypatch):
    """The file gets the inode and the size of the one before."""
    own = filled(layout)
    without_rows(other := own.path.with_name("other"))
    agree, calls = Store._agree_with_file, []

    def replaced(self):
        agree(self)
        if not calls:
            own.path.write_bytes(other.read_bytes().ljust(own.path.stat().st_size, b"\0"))
        calls.append(1)

    monkeypatch.setattr(Store, "_agree_with_file", replaced)
    other_rows = in_file(layout)
    own.decide(accept(10, (100, 0, 0)))
    assert in_file(layout) == [*other_rows, 10] and len(calls) == 2


def test_an_output_folder_that_is_gone_is_a_sentence(layout):
    own = filled(layout)
    shutil.rmtree(layout.root)
    with pytest.raises(NotKept, match="No such file"):
        own.decide(accept(10, (100, 0, 0)))
    assert not layout.root.exists()


def test_another_program_that_holds_the_file_is_a_sentence(layout, monkeypatch):
    own = filled(layout)
    monkeypatch.setattr(reader_file, "_WAIT_S", 0.1)
    with contextlib.closing(sqlite3.connect(own.path, isolation_level=None)) as base:
        base.execute("BEGIN EXCLUSIVE")
        with pytest.raises(NotKept, match="another program writes to it"):
            own.decide(accept(10, (100, 0, 0)))
    own.decide(accept(10, (100, 0, 0)))
    assert in_file(layout) == list(range(1, 11))


def test_a_full_disk_refuses_and_goes_on_when_there_is_room(layout):
    own = filled(layout)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = 9
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (own.path.stat().st_size, hard))
        with pytest.raises(NotKept, match="the disk is full") as refused:
            for n in range(10, 500):
                own.decide(accept(n, (n, 0, 0), note="x" * 900), request=f"n{n}")
                kept = n
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert refused.value.full
    own.decide(accept(kept + 1, (kept + 1, 0, 0)), request=f"n{kept + 1}")
    assert in_file(layout) == list(range(1, kept + 2))


# --- numbers and repeated requests ---


def test_marks_of_several_connections_have_numbers_of_their_own(layout):
    stores = [Store(layout, "A") for _ in range(3)]
    threads = [
        threading.Thread(target=stores[n % 3].decide, args=(mark(None, (n, 0, 0)),))
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    marks = Store(layout, "A").standing()
    assert sorted(m["mark_id"] for m in marks) == list(range(1, 13))
    assert sorted(m["x_mm"] for m in marks) == list(range(12))


def test_a_request_that_is_repeated_is_carried_out_once(layout):
    own = Store(layout, "A")
    for _ in range(2):
        own.decide(mark(None, (1, 1, 1)), request="one")
        own.decide(mark(None, (2, 2, 2)), request="two")
    assert [m["mark_id"] for m in own.standing()] == [1, 2] and own.has("two")
    for _ in range(2):
        assert own.undo("back")["mark_id"] == 2
    # Also by the server that is started after the first was killed.
    again = Store(layout, "A")
    again.decide(mark(None, (1, 1, 1)), request="one")
    assert again.undo("back")["mark_id"] == 2
    assert [m["mark_id"] for m in again.standing()] == [1]


def test_two_reviews_of_a_reader_do_not_run_at_once(layout):
    with store.alone(layout, "A"):
        with (
            pytest.raises(CMBurdenError, match="--reader A is already open"),
            store.alone(layout, "A"),
        ):
            pass
        with store.alone(layout, "B"):
            pass
    with store.alone(layout, "A"):
        pass


def test_a_file_from_before_certainties_is_read_exported_and_continued(layout):
    """Version 2 of 2026-11-27: a reader's file is theirs to keep, whatever version wrote it."""
    filled(layout).close()
    path, table = layout.reader_file("A"), layout.reviews
    for name in REVIEWS.later:
        changed(path, f"ALTER TABLE decisions DROP COLUMN {name}")
    changed(path, "PRAGMA user_version=2")
    first = REVIEWS.read(store.export(layout))
    # So does the table that the former version exported.
    old = pq.read_table(table).drop_columns(list(REVIEWS.later))
    pq.write_table(old, table)
    assert REVIEWS.read(table).equals(first)
    own = Store(layout, "A")
    own.decide(reject(10, (100, 0, 0)) | {"certainty": "possible", "seconds": 2.5}, request="ten")
    own.close()
    after = REVIEWS.read(store.export(layout))
    assert len(after) == len(first) + 1
    assert after["certainty"].isna().sum() == len(first)


def test_a_file_of_the_former_version_is_read_and_continued(layout):
    filled(layout).close()
    path = layout.reader_file("A")
    changed(path, "DROP INDEX of_request")
    for name in ("sent", "undone_by"):
        changed(path, f"ALTER TABLE decisions DROP COLUMN {name}")
    changed(path, "PRAGMA user_version=1")
    assert len(REVIEWS.read(store.export(layout))) == 9
    own = Store(layout, "A")
    own.decide(reject(10, (100, 0, 0)), request="ten")
    assert own.has("ten") and len(own.standing()) == 10
