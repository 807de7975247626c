"""Folds and left-out cohorts: nobody on both sides, everybody left out once."""

import numpy as np
import pytest

from cmburden.core.errors import CMBurdenError
from cmburden.train import selection, slabs


def write(folder, number, name, person=None, stem="slab"):
    path = folder / f"{stem}-{number:04d}.npz"
    content = {"name": np.array(name), "image": np.zeros(3)}
    if person is not None:
        content["person"] = np.array(person)
    np.savez(path, **content)
    return path


@pytest.fixture(name="slab_paths")
def _slab_paths(tmp_path):
    names = ["ADNI", "random", "AIBL", "random", "ADNI", "OATS", "MAS", "random"]
    people = ["c", "a", "b", "d", "c", "a", "e", "b"]
    return [
        write(tmp_path, k, name, person)
        for k, (name, person) in enumerate(zip(names, people, strict=True))
    ]


def people(paths):
    return {slabs.load(path, slabs.Origin).person for path in paths}


def test_nothing_asked_is_everything(slab_paths):
    assert selection.select(slab_paths, fold=None, without=[]) == slab_paths


def test_every_person_is_left_out_once(slab_paths):
    # Sorted people are a b c d e: fold 0 of 2 leaves out a, c and e.
    assert people(selection.select(slab_paths, fold="0/2", without=[])) == {"b", "d"}
    assert people(selection.select(slab_paths, fold="1/2", without=[])) == {"a", "c", "e"}
    for count in (2, 3, 5):
        left_out = [
            set(slab_paths) - set(selection.select(slab_paths, fold=f"{i}/{count}", without=[]))
            for i in range(count)
        ]
        assert sum(len(part) for part in left_out) == len(slab_paths)
        assert set().union(*left_out) == set(slab_paths)
        for part in left_out:
            assert not people(part) & people(set(slab_paths) - part)


def test_acquisitions_are_left_out_by_name(slab_paths):
    kept = selection.select(slab_paths, fold=None, without=["ADNI", "MAS"])
    assert [p.name[5:9] for p in kept] == ["0001", "0002", "0003", "0005", "0007"]
    both = selection.select(slab_paths, fold="0/2", without=["AIBL"])
    assert [p.name[5:9] for p in both] == ["0003", "0007"]


def test_names_are_those_of_acquisitions(slab_paths):
    assert selection.names(slab_paths) == ["ADNI", "AIBL", "MAS", "OATS"]


def test_old_files_are_one_person(tmp_path):
    old = [write(tmp_path, k, "x") for k in range(3)]
    new = [write(tmp_path, 9, "x", "b")]
    assert selection.select(old + new, fold="0/2", without=[]) == new
    assert selection.select(old + new, fold="1/2", without=[]) == old


def test_mined_files_are_selected_too(tmp_path):
    mined = write(tmp_path, 1, "ADNI", "a", stem="mined")
    (tmp_path / "other.npz").write_bytes(b"x")
    assert selection.files(tmp_path) == [mined]


@pytest.mark.parametrize("fold", ["5/5", "1", "a/b", "-1/5", "0/1", "0/0", "1/5/2", ""])
def test_a_fold_that_is_none(fold):
    with pytest.raises(CMBurdenError, match="write it as I/K"):
        selection.fold_of(fold)


def test_what_leaves_out_nothing_or_all_is_said(slab_paths):
    with pytest.raises(CMBurdenError, match="XYZ: no slab has this name; there are ADNI, AIBL"):
        selection.select(slab_paths, fold=None, without=["XYZ"])
    with pytest.raises(CMBurdenError, match="of 5 person"):
        selection.select(slab_paths, fold="0/6", without=[])
    with pytest.raises(CMBurdenError, match="leave no slab"):
        selection.select(slab_paths, fold=None, without=["random", *selection.names(slab_paths)])


def test_a_torn_file_is_named(tmp_path):
    torn = tmp_path / "slab-0000.npz"
    torn.write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(CMBurdenError, match=r"slab-0000.npz: not a slab"):
        selection.select([torn], fold="0/2", without=[])
