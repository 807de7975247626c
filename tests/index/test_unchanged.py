"""A tree that did not change is not read again; each kind of change is seen."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from small_trees import SOUND, tree

from cmburden.core import config
from cmburden.core.paths import Layout
from cmburden.index import stage as index
from cmburden.index import unchanged

SCAN = "sub-01/anat/sub-01_T2starw"
NAMES = [f"{SCAN}.nii.gz", f"{SCAN}.json", "sub-01/anat/sub-01_T1w.nii.gz"]
NAMES += ["sub-02/ses-1/anat/sub-02_ses-1_T2starw.nii.gz", "sub-02/notes.txt"]


class Tree:
    """A tree that has been indexed, and whether an index reads it again."""

    def __init__(self, folder: Path, monkeypatch):
        self.bids = tree(folder / "bids", NAMES, T2starw=SOUND)
        self.folder, self.config = folder, {}
        self.read = 0
        real = index.read_tree

        def read_tree(*given):
            self.read += 1
            return real(*given)

        monkeypatch.setattr(index, "read_tree", read_tree)
        monkeypatch.setattr(unchanged, "SETTLED_S", 0)
        self.run()

    def path(self, name: str) -> Path:
        return self.bids / name

    def run(self, out: str = "out") -> list[pd.DataFrame]:
        layout = Layout(self.folder / out)
        scans = index.run(self.bids, layout, config.load(self.config))
        tables = [pd.read_parquet(path) for path in (layout.manifest, layout.rejected)]
        assert [scan.scan_id for scan in scans] == tables[0]["scan_id"].tolist()
        return tables

    def was_read_again(self) -> bool:
        """Whether the next index reads the tree; its tables are those of a new output folder."""
        before = self.read
        tables = self.run()
        again = self.read > before
        for mine, new in zip(tables, self.run(f"out{self.read}"), strict=True):
            pd.testing.assert_frame_equal(mine, new)
        return again


@pytest.fixture
def known(tmp_path, monkeypatch) -> Tree:
    return Tree(tmp_path, monkeypatch)


def test_a_tree_that_did_not_change_is_not_read(known):
    assert known.read == 1
    assert not known.was_read_again()


def kept_times(path: Path, content: bytes) -> None:
    """Other bytes in the same file, with the size and the time that it had."""
    before = path.stat()
    with path.open("r+b") as stream:
        stream.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def in_place(known: Tree) -> None:
    kept_times(known.path(f"{SCAN}.nii.gz"), b"S")


def replaced(known: Tree) -> None:
    """As rsync -t does: another file of the same size and time takes the name."""
    path = known.path(f"{SCAN}.nii.gz")
    before, other = path.stat(), path.with_name("other")
    other.write_bytes(b"S" + path.read_bytes()[1:])
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def sidecar(known: Tree) -> None:
    known.path(f"{SCAN}.json").write_text(json.dumps(SOUND | {"EchoTime": 0.03}))


def sidecar_of_root(known: Tree) -> None:
    kept_times(known.path("T2starw.json"), json.dumps(SOUND | {"EchoTime": 0.03}).encode())


def added_scan(known: Tree) -> None:
    tree(known.bids, ["sub-02/ses-2/anat/sub-02_ses-2_T2starw.nii.gz"])


def added_folder(known: Tree) -> None:
    (known.bids / "sub-03").mkdir()


def added_sidecar_of_root(known: Tree) -> None:
    known.path("T1w.json").write_text("{}")


def removed(known: Tree) -> None:
    known.path(f"{SCAN}.json").unlink()


def removed_participant(known: Tree) -> None:
    shutil.rmtree(known.bids / "sub-02")


def renamed(known: Tree) -> None:
    known.path(f"{SCAN}.nii.gz").rename(known.path("sub-01/anat/sub-01_acq-a_T2starw.nii.gz"))


def renamed_folder(known: Tree) -> None:
    known.path("sub-02/ses-1").rename(known.path("sub-02/ses-2"))


def swapped(known: Tree) -> None:
    """Two files change names: the folder holds the same names and the same files."""
    first, second = known.path(f"{SCAN}.nii.gz"), known.path("sub-01/anat/sub-01_T1w.nii.gz")
    between = known.path("sub-01/between")
    first.rename(between)
    second.rename(first)
    between.rename(second)


def moved(known: Tree) -> None:
    """Another folder, with copies of all files and their times."""
    old = known.bids.rename(known.folder / "old")
    shutil.copytree(old, known.bids)


def permission(known: Tree) -> None:
    known.path(f"{SCAN}.nii.gz").chmod(0o600)


def a_folder_in_place_of_an_image(known: Tree) -> None:
    known.path(f"{SCAN}.nii.gz").unlink()
    known.path(f"{SCAN}.nii.gz").mkdir()


def the_name_of_the_study(known: Tree) -> None:
    known.path("dataset_description.json").write_text('{"Name": "other"}')


def setting(known: Tree) -> None:
    known.config = {"index": {"require_t1w": True}}


def buckets(known: Tree) -> None:
    known.config = {"buckets": 7}


def filter_file(known: Tree) -> None:
    (known.folder / "filter.json").write_text('{"t2starw": {"session": "1"}}')
    known.config = {"bids_filter_file": str(known.folder / "filter.json")}


def manifest(known: Tree) -> None:
    Layout(known.folder / "out").manifest.write_bytes(b"torn")


def no_rejected_table(known: Tree) -> None:
    Layout(known.folder / "out").rejected.unlink()


def torn_key(known: Tree) -> None:
    Layout(known.folder / "out").index_key.write_text("{")


CHANGES = [in_place, replaced, sidecar, sidecar_of_root, added_scan, added_folder]
CHANGES += [added_sidecar_of_root, removed, removed_participant, renamed, renamed_folder, swapped]
CHANGES += [moved, permission, a_folder_in_place_of_an_image, the_name_of_the_study, setting]
CHANGES += [buckets, filter_file, manifest, no_rejected_table, torn_key]


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_seen(known, change):
    change(known)
    assert known.was_read_again()
    assert not known.was_read_again()


def test_another_content_of_the_filter_file_is_seen(known):
    filter_file(known)
    known.run()
    (known.folder / "filter.json").write_text('{"t2starw": {"session": "2"}}')
    with pytest.raises(Exception, match="no scan matches"):
        known.run()


def test_a_link_is_read_each_time(known):
    """git-annex's content comes and goes, and a link's times are its own."""
    elsewhere = known.folder / "elsewhere"
    path = known.path(f"{SCAN}.nii.gz")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert known.was_read_again() and known.was_read_again()


def test_a_file_that_changed_a_moment_ago_may_change_again_unseen(known, monkeypatch):
    monkeypatch.setattr(unchanged, "SETTLED_S", 3600)
    assert known.was_read_again() and known.was_read_again()


def test_a_disk_that_could_not_be_read_is_tried_again(known, monkeypatch):
    added_scan(known)
    with monkeypatch.context() as ill:
        ill.setattr(index.Digests, "digest", unreadable)
        ill.setattr(index, "_nothing", lambda *_: "nothing")
        with pytest.raises(Exception, match="nothing"):
            known.run()
    assert known.was_read_again()


def unreadable(*_):
    raise OSError(5, "Input/output error")


def test_one_scan_that_could_not_be_read_is_tried_again(known, monkeypatch):
    added_scan(known)
    real = index.Digests.digest
    with monkeypatch.context() as ill:
        ill.setattr(
            index.Digests,
            "digest",
            lambda self, path, was_read: (
                unreadable() if "ses-2" in path.name else real(self, path, was_read)
            ),
        )
        assert known.run()[1]["reason"].tolist().count("no_access") == 1
    assert known.was_read_again()


def test_another_output_folder_knows_nothing(known):
    before = known.read
    known.run("other")
    assert known.read == before + 1


def test_other_people_may_read_other_files(known, monkeypatch):
    monkeypatch.setattr(unchanged, "_who", lambda: "somebody else")
    assert known.was_read_again()


def test_hidden_folders_and_those_beside_the_participants_are_not_looked_at(known):
    tree(known.bids, ["sub-01/.git/x", "code/y"])
    known.run()
    for name in ("sub-01/.git/x", "code/y", "sub-01/.git/z"):
        known.path(name).write_text("other")
    assert not known.was_read_again()
