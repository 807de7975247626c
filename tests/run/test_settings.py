"""Settings of an output folder: who wins, what is said, what is refused, what moves along."""

from pathlib import Path

import pytest
import yaml

from cmburden.core import config
from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.core.tables import MANIFEST
from cmburden.run import settings
from cmburden.run.participants import Request


@pytest.fixture
def layout(tmp_path) -> Layout:
    return Layout(tmp_path / "study" / "out")


def keep(layout: Layout, **changes) -> None:
    """What a run with ``changes`` leaves."""
    whole = config.merge(config.defaults(), {"output_dir": str(layout.root)} | changes)
    config.write(whole, layout.config)


def test_the_command_wins_over_its_file_over_the_folder_over_the_defaults(layout, tmp_path):
    keep(layout, buckets=2, threads=3, aggregate={"macrohaemorrhage_mm": 8})
    file = tmp_path / "mine.yaml"
    file.write_text("threads: 4\naggregate: {macrohaemorrhage_mm: 7}\n")
    chosen = settings.of(layout, {"aggregate": {"macrohaemorrhage_mm": 6}}, file).config
    assert (chosen["buckets"], chosen["threads"]) == (2, 4)
    assert chosen["aggregate"]["macrohaemorrhage_mm"] == 6
    assert chosen["report"] == config.defaults()["report"]


def test_what_is_remembered_and_what_differs_is_said(layout):
    keep(layout, buckets=2, cohorts=["config/cohorts/mas.yaml"])
    notes = settings.of(layout, {"report": {"title": "Ours"}}).notes()
    assert notes == [
        "settings of this folder, from its last run: buckets=2; cohorts=[config/cohorts/mas.yaml]",
        "settings that differ from the last run: report.title=Ours (was Cerebral microbleed "
        "burden)",
    ]


def test_a_new_folder_has_nothing_to_say(layout):
    assert settings.of(layout, {"buckets": 3}).notes() == []


def test_forgetting_returns_to_the_defaults_and_says_so(layout):
    keep(layout, buckets=2)
    chosen = settings.of(layout, {}, forget=True)
    assert chosen.config["buckets"] == config.defaults()["buckets"]
    assert chosen.notes() == ["settings that differ from the last run: buckets=16 (was 2)"]


def test_the_order_of_suffixes_is_a_difference(layout):
    keep(layout)
    turned = dict(reversed(config.defaults()["index"]["suffixes"].items()))
    assert "index.suffixes" in settings.of(layout, {"index": {"suffixes": turned}}).differences()


def test_labels_and_level_belong_to_one_command(layout):
    keep(layout, participant_label=["01"], session_label=["1"], analysis_level="group")
    chosen = settings.of(layout, {}).config
    assert chosen["participant_label"] == chosen["session_label"] == []
    assert chosen["analysis_level"] == "participant"
    kept = settings.of(layout, {"participant_label": ["02"], "analysis_level": "group"}).kept()
    assert kept["participant_label"] == []
    assert kept["analysis_level"] == "participant"


def test_thresholds_are_kept_one_by_one_and_given_up_together(layout):
    keep(layout, verify={"thresholds": {"definite": 0.8, "possible": 0.4}})
    chosen = settings.of(layout, {"verify": {"thresholds": {"definite": 0.7}}})
    assert chosen.config["verify"]["thresholds"] == {"definite": 0.7, "possible": 0.4}
    assert (
        settings.of(layout, {"verify": {"thresholds": None}}).config["verify"]["thresholds"] is None
    )


def test_keys_of_an_older_version_are_left_out_with_a_word(layout):
    keep(layout, preprocess={"use_t1w_mask": True}, colour="red", buckets=2)
    chosen = settings.of(layout, {})
    assert chosen.config["buckets"] == 2
    assert chosen.notes()[0] == (
        "settings of the last run that this version does not know, left out: "
        "preprocess.use_t1w_mask, colour"
    )


def test_a_key_of_a_newer_version_has_its_default(layout):
    whole = config.defaults()
    del whole["longitudinal"]
    config.write(whole, layout.config)
    chosen = settings.of(layout, {})
    assert chosen.config["longitudinal"] == config.defaults()["longitudinal"]
    assert chosen.notes() == []


@pytest.mark.parametrize("content", ["{", "- a list", "", "\x00"])
def test_torn_settings_are_a_sentence_with_a_way_out(layout, content):
    layout.config.parent.mkdir(parents=True)
    layout.config.write_text(content)
    if content == "":
        assert settings.of(layout, {}).config["buckets"] == 16
        return
    with pytest.raises(CMBurdenError, match=r"cannot be read .*--forget-settings"):
        settings.of(layout, {})
    assert settings.of(layout, {}, forget=True).config["buckets"] == 16


def test_a_remembered_value_that_is_no_longer_allowed_names_the_file(layout):
    keep(layout, buckets=-3)
    with pytest.raises(CMBurdenError, match=r"buckets.*is remembered in .*config\.yaml"):
        settings.of(layout, {})
    assert settings.of(layout, {"buckets": 3}).config["buckets"] == 3
    with pytest.raises(CMBurdenError) as error:
        settings.of(layout, {"threads": "many", "buckets": 4})
    assert "remembered" not in str(error.value)


# --- paths ---


def cohort_file(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ours.yaml"
    path.write_text("name: Ours\nparticipant_pattern: .\n")
    return path


def test_a_path_of_an_option_starts_at_the_working_folder(layout, tmp_path, monkeypatch):
    path = cohort_file(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    chosen = settings.of(layout, {"cohorts": ["ours.yaml"]})
    assert chosen.config["cohorts"] == [str(path)]
    config.write(chosen.kept(), layout.config)
    monkeypatch.chdir(tmp_path)
    assert settings.of(layout, {}).config["cohorts"] == [str(path)]


def test_a_path_in_a_file_starts_at_the_file(layout, tmp_path, monkeypatch):
    path = cohort_file(tmp_path / "files")
    file = path.with_name("settings.yaml")
    file.write_text("cohorts: [ours.yaml]\n")
    monkeypatch.chdir(tmp_path)
    assert settings.of(layout, {}, file).config["cohorts"] == [str(path)]


def test_a_path_of_the_installation_stays_one(layout):
    chosen = settings.of(layout, {"cohorts": ["config/cohorts/mas.yaml"]}).config
    assert chosen["cohorts"] == ["config/cohorts/mas.yaml"]
    assert chosen["detect"]["model"] == "models/detector"


def test_files_beside_a_folder_move_along_with_it(layout):
    path = cohort_file(layout.root.parent)
    keep(layout, cohorts=[str(path)])
    moved = layout.root.parent.rename(layout.root.parent.with_name("moved"))
    chosen = settings.of(Layout(moved / "out"), {}).config
    assert chosen["cohorts"] == [str(moved / "ours.yaml")]
    assert config.cohorts(chosen)[0]["name"] == "Ours"


def test_a_file_that_is_gone_is_a_sentence(layout):
    keep(layout, cohorts=["/gone/ours.yaml"])
    with pytest.raises(CMBurdenError, match=r"/gone/ours\.yaml: there is no such file"):
        config.cohorts(settings.of(layout, {}).config)


# --- the BIDS folder ---


def bids_folder(path: Path) -> Path:
    (path / "sub-01" / "anat").mkdir(parents=True)
    (path / "sub-01" / "anat" / "sub-01_swi.nii.gz").write_bytes(b"")
    return path


@pytest.fixture
def bids(layout) -> Path:
    bids = bids_folder(layout.root.parent / "bids")
    row = {
        "scan_id": "sub-01_swi",
        "participant_id": "sub-01",
        "cohort": "c",
        "suffix": "swi",
        "contrast": "SWI",
        "path": "sub-01/anat/sub-01_swi.nii.gz",
        "entities": "[]",
        "bucket": 0,
        "content_key": "k",
    }
    MANIFEST.write(layout.manifest, [row])
    keep(layout, bids_dir=str(bids))
    return bids


def checked(layout: Layout, bids: Path, **options) -> str | None:
    return settings.check_bids_dir(layout, settings.of(layout, {"bids_dir": str(bids)}), **options)


def test_another_bids_folder_is_refused_unless_said(layout, bids, tmp_path):
    other = bids_folder(tmp_path / "other")
    with pytest.raises(CMBurdenError, match=r"results of another BIDS folder.*--other-bids-dir"):
        checked(layout, other)
    assert checked(layout, other, other=True) is None


def test_the_same_bids_folder_by_another_name_passes(layout, bids, tmp_path):
    (tmp_path / "link").symlink_to(bids)
    assert checked(layout, bids) is None
    assert checked(layout, tmp_path / "link") is None


def test_a_moved_bids_folder_is_taken_with_a_word(layout, bids, tmp_path):
    moved = bids.rename(tmp_path / "elsewhere")
    assert "it is taken to have moved" in checked(layout, moved)


def test_a_bids_folder_in_place_of_one_that_is_gone_is_refused(layout, bids, tmp_path):
    bids.rename(tmp_path / "unmounted").rename(tmp_path / "x")
    other = tmp_path / "other"
    (other / "sub-77").mkdir(parents=True)
    with pytest.raises(CMBurdenError, match="another BIDS folder"):
        checked(layout, other)


def test_a_study_that_moved_as_a_whole_passes_silently(layout, bids):
    study = layout.root.parent.rename(layout.root.parent.with_name("moved"))
    assert checked(Layout(study / "out"), study / "bids") is None


# --- the command line's request ---


def test_a_request_starts_from_the_folder(layout, bids):
    keep(layout, bids_dir=str(bids), buckets=5)
    request = Request(bids_dir=bids, output_dir=layout.root)
    assert request.config()["buckets"] == 5
    assert Request(bids, layout.root, forget_settings=True).config()["buckets"] == 16


@pytest.mark.parametrize("key", ["bids_dir", "output_dir", "analysis_level"])
def test_arguments_are_not_given_twice(layout, bids, key):
    with pytest.raises(CMBurdenError, match=f"--set {key}: "):
        Request(bids, layout.root, settings=[f"{key}=x"]).config()


def test_what_is_written_is_read_again(layout):
    chosen = settings.of(layout, {"buckets": 7})
    config.write(chosen.kept(), layout.config)
    assert yaml.safe_load(layout.config.read_text())["buckets"] == 7
    assert settings.of(layout, {}).differences() == {}
