"""Indexing of trees: what becomes a scan, what does not and why, and the clear errors."""

import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmburden.core import config
from cmburden.core.errors import CMBurdenError, ScanError
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.images import volume as images
from cmburden.index import stage as index

EXAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "bids_examples"


def tree(root: Path, names: list[str]) -> Path:
    root.mkdir()
    (root / "dataset_description.json").write_text('{"Name": "made up", "BIDSVersion": "1.10.0"}')
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"EchoTime": 0.02}) if name.endswith(".json") else name)
    return root


def indexed(bids: Path, tmp_path: Path, **overrides):
    layout = Layout(tmp_path / "out")
    scans = index.run(bids, layout, config.load(overrides))
    rejected = pd.read_parquet(layout.rejected)
    return {s.scan_id: s for s in scans}, dict(
        zip(rejected["path"], rejected["reason"], strict=True)
    )


def test_suffixes_parts_echoes_and_sessions(tmp_path):
    bids = tree(
        tmp_path / "bids",
        [
            "sub-01/ses-1/anat/sub-01_ses-1_T2starw.nii.gz",
            "sub-01/ses-2/anat/sub-01_ses-2_run-2_T2starw.nii",
            "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz",
            "sub-02/swi/sub-02_swi.nii.gz",
            "sub-02/swi/sub-02_minIP.nii.gz",
            "sub-03/anat/sub-03_part-mag_T2starw.nii.gz",
            "sub-03/anat/sub-03_part-phase_T2starw.nii.gz",
            "sub-04/anat/sub-04_T1w.nii.gz",
            "derivatives/x/sub-09/anat/sub-09_T2starw.nii.gz",
        ],
    )
    scans, rejected = indexed(bids, tmp_path)
    assert sorted(scans) == [
        "sub-01_ses-1_T2starw",
        "sub-01_ses-2_run-2_T2starw",
        "sub-02_swi",
        "sub-03_part-mag_T2starw",
    ]
    assert scans["sub-02_swi"].contrast == "SWI"
    # The T1w of another session is better than none.
    assert scans["sub-01_ses-1_T2starw"].t1w_path.name == "sub-01_ses-2_T1w.nii.gz"
    assert scans["sub-03_part-mag_T2starw"].phase_path.name.endswith("part-phase_T2starw.nii.gz")
    # The key of the phase is its own: the scan's content is the same with another phase.
    before = scans["sub-03_part-mag_T2starw"]
    before.phase_path.write_bytes(b"another phase")
    after = indexed(bids, tmp_path)[0]["sub-03_part-mag_T2starw"]
    assert after.content_key == before.content_key
    assert after.phase_key != before.phase_key and after.searched_key != before.searched_key
    assert scans["sub-02_swi"].searched_key == scans["sub-02_swi"].content_key
    assert rejected == {
        "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz": "other_kind",
        "sub-02/swi/sub-02_minIP.nii.gz": "projection",
        "sub-04/anat/sub-04_T1w.nii.gz": "other_kind",
        "sub-03/anat/sub-03_part-phase_T2starw.nii.gz": "part_phase",
        "sub-04": "no_scan",
    }


def test_entities_are_those_of_the_name_as_written(tmp_path):
    names = [
        "sub-01/ses-a/anat/sub-01_ses-a_acq-0.5mm-iso_run-02_T2starw.nii.gz",
        "sub-02/anat/sub-02_run-1_acq-x_loose_T2starw.nii",
        "sub-02/anat/sub-02_T2starw.old.nii.gz",
    ]
    scans, _ = indexed(tree(tmp_path / "bids", names), tmp_path)
    assert {name: scan.entities for name, scan in scans.items()} == {
        "sub-01_ses-a_acq-0.5mm-iso_run-02_T2starw": (
            ("sub", "01"),
            ("ses", "a"),
            ("acq", "0.5mm-iso"),
            ("run", "02"),
        ),
        "sub-02_run-1_acq-x_loose_T2starw": (("sub", "02"), ("run", "1"), ("acq", "x")),
    }


def test_the_longest_echo_within_the_range_is_searched(tmp_path):
    bids = tree(tmp_path / "bids", [f"sub-01/anat/sub-01_echo-{n}_MEGRE.nii.gz" for n in (1, 2, 3)])
    for number, seconds in ((1, 0.008), (2, 0.021), (3, 0.055)):
        sidecar = bids / f"sub-01/anat/sub-01_echo-{number}_MEGRE.json"
        sidecar.write_text(json.dumps({"EchoTime": seconds}))
    scans, rejected = indexed(bids, tmp_path)
    assert list(scans) == ["sub-01_echo-2_MEGRE"]
    assert set(rejected.values()) == {"echo_not_chosen"}


def test_sidecars_are_inherited_and_the_nearest_wins(tmp_path):
    bids = tree(tmp_path / "bids", ["sub-01/anat/sub-01_T2starw.nii.gz"])
    (bids / "T2starw.json").write_text('{"EchoTime": 0.03, "MagneticFieldStrength": 1.5}')
    (bids / "sub-01/anat/sub-01_T2starw.json").write_text('{"EchoTime": 0.025}')
    scan = indexed(bids, tmp_path)[0]["sub-01_T2starw"]
    assert (scan.echo_time_s, scan.field_strength_t) == (0.025, 1.5)


def test_content_key_follows_the_bytes_not_the_time(tmp_path):
    bids = tree(tmp_path / "bids", ["sub-01/anat/sub-01_T2starw.nii.gz"])
    image = bids / "sub-01/anat/sub-01_T2starw.nii.gz"

    def key():
        return indexed(bids, tmp_path)[0]["sub-01_T2starw"].content_key

    first = key()
    image.touch()
    assert key() == first
    image.write_text("another scan")
    assert key() != first


def test_a_link_that_leads_nowhere_stays_in_the_manifest(tmp_path):
    bids = tree(tmp_path / "bids", ["sub-01/anat/sub-01_T2starw.nii.gz"])
    image = bids / "sub-01/anat/sub-01_T2starw.nii.gz"
    image.unlink()
    image.symlink_to("../../.git/annex/objects/absent")
    assert "sub-01_T2starw" in indexed(bids, tmp_path)[0]


def test_annexed_content_may_come_and_go(tmp_path):
    """Got: the scan is read. Dropped when it is done: nothing runs again. Replaced: it runs."""
    bids = tree(tmp_path / "bids", ["sub-01/anat/sub-01_T2starw.nii.gz"])
    image = bids / "sub-01/anat/sub-01_T2starw.nii.gz"
    content = image.read_bytes()
    layout = Layout(tmp_path / "out")

    def annexed(name: str) -> Path:
        stored = bids / ".git/annex/objects/Xx/Yy" / name / name
        image.unlink()
        image.symlink_to(Path("../..") / stored.relative_to(bids))
        return stored

    def key() -> str:
        indexed(bids, tmp_path)
        return pd.read_parquet(layout.manifest)["content_key"].item()

    stored = annexed("MD5E-s7--0cc175b9c0f1b6a831c399e269772661.nii.gz")
    absent = key()
    with pytest.raises(ScanError) as error:
        images.load_volume(image)
    assert error.value.reason == "not_present"
    assert "datalad get" in str(error.value)
    stored.parent.mkdir(parents=True)
    stored.write_bytes(content)
    here = key()
    assert here != absent
    # Not yet read: were it dropped now, its coming back would have to be seen.
    stored.unlink()
    assert key() == absent
    Outcome("preprocess", "sub-01_T2starw", "ok").write(
        layout.record("preprocess", "sub-01_T2starw")
    )
    assert key() == here
    annexed("MD5E-s7--92eb5ffee6ae2fec3ad71c777531578f.nii.gz")
    assert key() not in (here, absent)


def test_an_unlocked_file_without_content_is_not_present(tmp_path):
    path = tmp_path / "sub-01_T2starw.nii.gz"
    path.write_text("/annex/objects/MD5E-s7--0cc175b9c0f1b6a831c399e269772661.nii.gz\n")
    with pytest.raises(ScanError) as error:
        images.load_volume(path)
    assert error.value.reason == "not_present"


def test_an_unchanged_tree_leaves_the_manifest_untouched(tmp_path):
    bids = tree(tmp_path / "bids", ["sub-01/anat/sub-01_T2starw.nii.gz"])
    indexed(bids, tmp_path)
    before = Layout(tmp_path / "out").manifest.stat().st_mtime_ns
    indexed(bids, tmp_path)
    assert Layout(tmp_path / "out").manifest.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"participant_label": ["01", "77", "88"]}, "['77', '88'] are not in the tree"),
        ({"session_label": ["9"]}, "['9'] are not in the tree"),
        ({"index": {"suffixes": {"T2starw": None}}}, "no scan matches"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, overrides, words):
    bids = tree(tmp_path / "bids", ["sub-01/anat/sub-01_T2starw.nii.gz"])
    with pytest.raises(CMBurdenError) as error:
        indexed(bids, tmp_path, **overrides)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["[1]", '{"t2starw": "highres"}', "{", '{"bold": {}}'])
def test_a_filter_file_that_is_none(tmp_path, content):
    bids = tree(tmp_path / "bids", ["sub-01/anat/sub-01_T2starw.nii.gz"])
    (tmp_path / "filter.json").write_text(content)
    with pytest.raises(CMBurdenError, match=r"filter\.json: "):
        indexed(bids, tmp_path, bids_filter_file=str(tmp_path / "filter.json"))


NAMES = [
    "sub-01/anat/sub-01_echo-1_T2starw.nii.gz",
    "sub-01/anat/sub-01_echo-2_T2starw.nii.gz",
    "sub-01/anat/sub-01_T1w.nii.gz",
    "sub-02/swi/sub-02_part-mag_swi.nii.gz",
    "sub-02/swi/sub-02_part-phase_swi.nii.gz",
    "sub-03/ses-1/anat/sub-03_ses-1_run-1_T2starw.nii",
    "sub-03/ses-1/anat/sub-03_ses-1_run-2_T2starw.nii",
]


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(NAMES))
def test_the_order_in_which_files_came_does_not_matter(tmp_path_factory, order):
    def manifest(names):
        folder = tmp_path_factory.mktemp("order")
        indexed(tree(folder / "bids", names), folder)
        layout = Layout(folder / "out")
        return layout.manifest.read_bytes(), layout.rejected.read_bytes()

    assert manifest(order) == manifest(NAMES)


def test_a_folder_that_is_not_bids(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(CMBurdenError, match=r"dataset_description\.json is missing"):
        indexed(tmp_path / "photos", tmp_path)
    with pytest.raises(CMBurdenError, match="no such folder"):
        indexed(tmp_path / "absent", tmp_path)


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the example trees are not here")
def test_a_tree_of_others_gives_the_echo_within_range(tmp_path):
    scans, rejected = indexed(EXAMPLES / "qmri_megre", tmp_path)
    assert len(scans) == 1
    assert len(rejected) == 7


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the example trees are not here")
def test_task_acq_and_rec_are_told_apart(tmp_path):
    scans, _ = indexed(EXAMPLES / "ds004332", tmp_path)
    assert len(scans) >= 2
    assert all(s.suffix == "T2starw" for s in scans.values())
