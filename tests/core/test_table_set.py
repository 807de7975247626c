"""Cohort tables as one set: a kill at every step leaves old tables, new ones, or a known fault."""

import json
from pathlib import Path

import pytest

from cmburden.core import config, table_set
from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import COHORT_TABLES, Layout


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


@pytest.fixture
def layout(tmp_path) -> Layout:
    layout = Layout(tmp_path / "out")
    write(layout, "old")
    return layout


def write(layout: Layout, text: str, **of_set) -> None:
    with table_set.replaced(layout, "settings", **of_set) as folder:
        for name in COHORT_TABLES:
            (folder / f"{name}.parquet").write_text(f"{name} {text}")
            (folder / f"{name}.json").write_text("{}")


def texts(layout: Layout) -> set[str]:
    return {layout.table(name).read_text().split()[1] for name in COHORT_TABLES}


def test_a_set_is_whole(layout):
    mark = table_set.check(layout)
    assert mark is not None
    assert set(mark.tables) == set(COHORT_TABLES)
    assert texts(layout) == {"old"}
    assert sorted(path.name for path in layout.cohort.iterdir()) == sorted(
        ["set.json", *(f"{n}.{e}" for n in COHORT_TABLES for e in ("parquet", "json"))]
    )


@pytest.mark.parametrize("step", range(2 * len(COHORT_TABLES) + 1))
def test_a_kill_at_any_step_is_seen_and_mended(layout, step, monkeypatch):
    """Steps: each table and sidecar that is moved, then the mark."""
    real, done = Path.replace, []

    def replace(self, target):
        if self.parent.name.startswith(".part-tables-") or Path(target) == layout.table_set:
            if len(done) == step:
                raise Killed
            done.append(target)
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        # kill -9 leaves the folder of new tables too.
        patch.setattr(table_set.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(Killed):
            write(layout, "new")
    layout.checked.parent.mkdir(exist_ok=True)
    layout.checked.write_text("{}")
    layout.aggregated.write_text("{}")
    if texts(layout) == {"old"}:
        assert table_set.faults(layout) == []
        assert not table_set.give_up_if_torn(layout)
    else:
        with pytest.raises(CMBurdenError, match=r"are not of one run .*cmburden run BIDS_DIR .*"):
            table_set.check(layout)
        assert table_set.give_up_if_torn(layout)
        # Snakemake makes what is missing; the tables stay until then.
        assert not layout.aggregated.exists()
        assert not layout.checked.exists()
        with pytest.raises(CMBurdenError, match="are not of one run"):
            table_set.check(layout)
    write(layout, "new")
    assert table_set.check(layout) is not None
    assert texts(layout) == {"new"}
    assert list(layout.cohort.glob(".part-*")) == []


def test_a_table_that_cannot_be_written_changes_nothing(layout):
    before = layout.table_set.read_bytes()
    with pytest.raises(OSError), table_set.replaced(layout, "settings") as folder:
        (folder / "scans.parquet").write_text("scans new")
        raise OSError("full")
    assert texts(layout) == {"old"}
    assert layout.table_set.read_bytes() == before


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": 1}', '{"other": {}}'])
def test_a_torn_mark_is_no_mark(layout, content):
    layout.table_set.write_text(content)
    with pytest.raises(CMBurdenError, match="are not of one run"):
        table_set.check(layout)
    assert table_set.give_up_if_torn(layout)


def test_a_missing_table_is_named(layout):
    layout.table("lesions").unlink()
    with pytest.raises(CMBurdenError, match="cohort: lesions and the other tables"):
        table_set.check(layout)


def test_without_tables_there_is_nothing_to_check(tmp_path):
    assert table_set.check(Layout(tmp_path)) is None
    assert not table_set.give_up_if_torn(Layout(tmp_path))


def test_the_key_is_of_the_results_not_of_the_seconds(layout, tmp_path):
    first = table_set.read(layout)
    write(layout, "old")
    layout.table("runs").write_text("runs other seconds")
    other = Layout(tmp_path / "other")
    write(other, "old")
    again, elsewhere = table_set.read(layout), table_set.read(other)
    assert first is not None and again is not None and elsewhere is not None
    assert first.key == again.key == elsewhere.key
    write(other, "new")
    changed = table_set.read(other)
    assert changed is not None and changed.key != first.key


def test_what_a_selection_is(tmp_path):
    whole = config.defaults()
    assert table_set.selection_of(whole) is None
    chosen = table_set.selection_of(whole | {"participant_label": ["02", 1]})
    assert chosen == {"participant_label": ["02", "1"]}
    filters = tmp_path / "filter.json"
    filters.write_text("{}")
    first = table_set.selection_of(whole | {"bids_filter_file": str(filters)})
    moved = filters.rename(tmp_path / "moved.json")
    assert table_set.selection_of(whole | {"bids_filter_file": str(moved)}) == first
    assert json.dumps(first)
