"""The tree as it lies on disk: nobody and no image is left out, and nothing hangs."""

import os
import socket

import pytest
from small_trees import SOUND, images_of, index_of, tree

from cmburden.core.errors import CMBurdenError
from cmburden.core.foreign import printable
from cmburden.core.manifest import read_scans
from cmburden.core.paths import Layout
from cmburden.index import digests, stage
from cmburden.index.names import BidsFile, Rejection, parse_image, wrong_label
from cmburden.index.walk import list_folder

GOOD = "sub-01/anat/sub-01_T2starw.nii.gz"


def reason_of(bids, path):
    """The reason of one file beside a sound scan. Everybody and every image has a row."""
    made = index_of(bids)
    assert made.scans[:1] == ["sub-01_T2starw"]
    images = {printable(image) for image in images_of(bids)}
    assert images <= set(made.manifest["path"]) | set(made.rejected.index)
    return made.reasons[path]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sub-02/func/sub-02_T2starw.nii.gz", "wrong_folder"),
        ("sub-02/func/sub-02_task-rest_bold.nii.gz", "other_kind"),
        ("sub-02/anat/sub-01_T2starw.nii.gz", "wrong_folder"),
        ("sub-02/ses-2/anat/sub-02_ses-1_T2starw.nii.gz", "wrong_folder"),
        ("sub-02/anat/sub-02.nii.gz", "bad_name"),
        ("sub-02/anat/02_T2starw.nii.gz", "bad_name"),
        ("sub-02/anat/sub-02_T2starw__dup-01.nii.gz", "bad_name"),
        ("sub-02/anat/sub-02_T2starw_ph.nii.gz", "part_phase"),
        ("sub-02/anat/sub-02_T2starw_e2.nii.gz", "bad_name"),
        ("sub-02/anat/sub-02_acq-x_T2starw_e2.nii.gz", "bad_name"),
        ("sub-02/anat/sub-02_run-1_run-2_T2starw.nii.gz", "bad_name"),
        ("sub-02/anat/sub-02_acq-{x}_T2starw.nii.gz", "bad_name"),
        ("sub-02/anat/sub-02_acq-a\nb_T2starw.nii.gz", "bad_name"),
        ("sub-02/anat/sub-02_S_0413_T2starw.nii.gz", "bad_name"),
        (f"sub-02/anat/sub-02_acq-{'x' * 230}_T2starw.nii", "bad_name"),
        ("sub-02/anat/._sub-02_T2starw.nii.gz", "bad_name"),
        ("sub-02/anat/sub-02_T2starw.mgz", "wrong_format"),
        ("sub-02/anat/sub-02_T2starw.img", "wrong_format"),
        ("sub-02/anat/sub-02_T2w.nii.gz", "other_kind"),
        ("sub-02/anat/sub-02_SWIp.nii.gz", "wrong_suffix"),
    ],
)
def test_an_image_that_is_no_scan_has_its_reason(tmp_path, name, reason):
    bids = tree(tmp_path / "bids", [GOOD, name])
    shown = name.replace("\n", "\\n")
    assert reason_of(bids, shown) == reason
    made = index_of(bids)
    assert made.people == {"sub-01", "sub-02"}
    assert made.reasons["sub-02"] == "no_scan"
    assert f"1 {reason}" in made.message("sub-02")


def test_letter_case_of_the_ending_does_not_matter(tmp_path):
    names = ["sub-01/anat/sub-01_T2starw.NII.GZ", "sub-02/anat/sub-02_T2starw.Nii"]
    made = index_of(tree(tmp_path / "bids", names))
    assert sorted(made.manifest["path"]) == names


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "The folder is empty"),
        (["anat/"], "The folder is empty"),
        (["anat/notes.txt"], "holds no image, only other files"),
        (["anat/sub-02_T1w.nii.gz"], "['T1w']"),
        (["dicom/IM0001.dcm", "dicom/IM0002.dcm"], "1 wrong_format"),
        (["anat/sub-02_T2starw.hdr", "anat/sub-02_T2starw.img"], "1 wrong_format"),
    ],
)
def test_a_participant_without_a_scan_says_what_was_seen(tmp_path, names, words):
    bids = tree(tmp_path / "bids", [GOOD])
    (bids / "sub-02").mkdir()
    for name in names:
        if name.endswith("/"):
            (bids / "sub-02" / name).mkdir()
        else:
            tree(bids, [f"sub-02/{name}"])
    made = index_of(bids)
    assert made.reasons["sub-02"] == "no_scan"
    assert words in made.message("sub-02")


def test_dicom_files_without_an_ending_are_known_by_their_mark(tmp_path):
    bids = tree(tmp_path / "bids", [GOOD, "sub-02/dicom/1.2.840.1", "sub-03/text/README"])
    (bids / "sub-02/dicom/1.2.840.1").write_bytes(bytes(128) + b"DICM" + bytes(9))
    made = index_of(bids)
    assert made.reasons["sub-02/dicom"] == "wrong_format"
    assert "DICOM" in made.message("sub-02/dicom")
    assert "sub-03/text" not in made.reasons


@pytest.mark.parametrize(
    "folder", ["sub-002_S_0413", "sub-AIBL-0012", "sub-02.1", "sub-02+1", "sub-ABC-02"]
)
def test_labels_of_studies_are_taken_as_they_are(tmp_path, folder):
    """participants.tsv names them so. Two labels that differ in marks only are two people."""
    plain = "sub-" + "".join(c for c in folder[4:] if c.isalnum())
    names = [f"{f}/ses-m06/anat/{f}_ses-m06_T2starw.nii.gz" for f in (folder, plain)]
    made = index_of(tree(tmp_path / "bids", names), participant_label=[])
    assert sorted(made.manifest["path"]) == sorted(names)
    assert set(made.manifest["participant_id"]) == {folder, plain}
    only = index_of(tmp_path / "bids", participant_label=[folder])
    assert only.scans == [f"{folder}_ses-m06_T2starw"]


@pytest.mark.parametrize("folder", ["sub-ü2", "Sub-05", "sub-", "sub-a b", "sub-a{b}"])
def test_a_folder_whose_label_cannot_be_used_has_a_row(tmp_path, folder):
    name = f"{folder}/anat/{folder}_T2starw.nii.gz"
    made = index_of(tree(tmp_path / "bids", [GOOD, name]))
    assert made.reasons == {folder: "bad_name", name: "bad_name"}
    assert made.people == {"sub-01", folder}


def test_names_that_are_not_utf8_have_rows(tmp_path):
    bids = tree(tmp_path / "bids", [GOOD, "sub-02/anat/notes.txt"])
    for name in (b"sub-\xff/anat/x.nii", b"sub-02/anat/sub-02_acq-\xe9_T2starw.nii"):
        path = bids / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    made = index_of(bids)
    assert made.reasons == {
        "sub-\\xff": "bad_name",
        "sub-\\xff/anat/x.nii": "bad_name",
        "sub-02": "no_scan",
        "sub-02/anat/sub-02_acq-\\xe9_T2starw.nii": "bad_name",
    }


def test_files_beside_the_folders_are_not_lost(tmp_path):
    made = index_of(tree(tmp_path / "bids", [GOOD, "sub-02_T2starw.nii.gz", "sub-03"]))
    assert made.reasons == {"sub-02_T2starw.nii.gz": "wrong_folder", "sub-03": "wrong_format"}
    assert made.people == {"sub-01", "sub-02", "sub-03"}


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder", "loop"])
def test_what_is_no_file_is_no_scan_and_does_not_hang(tmp_path, kind, monkeypatch):
    bids = tree(tmp_path / "bids", [GOOD, "sub-02/anat/notes.txt"])
    name = "sub-02/anat/sub-02_T2starw.nii.gz"
    monkeypatch.chdir(bids)  # a socket's path may have 108 letters
    if kind == "pipe":
        os.mkfifo(name)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(name)
    elif kind == "folder":
        (bids / name).mkdir()
    else:
        (bids / name).symlink_to("/dev/zero" if kind == "device" else "sub-02_T2starw.nii.gz")
    assert reason_of(bids, name) == "wrong_format"


def test_a_pipe_as_sidecar_is_an_unreadable_sidecar(tmp_path):
    bids = tree(tmp_path / "bids", [GOOD])
    os.mkfifo(bids / "sub-01/anat/sub-01_T2starw.json")
    os.mkfifo(bids / "T2starw.json")
    warning = index_of(bids).value("sub-01_T2starw", "warning")
    assert "T2starw.json cannot be read: it is a named pipe" in warning


def test_a_linked_participant_is_one_and_inherits_from_the_tree(tmp_path):
    bids = tree(tmp_path / "bids", [GOOD], T2starw=SOUND)
    store = tree(tmp_path / "store", ["sub-02/anat/sub-02_T2starw.nii.gz"])
    (bids / "sub-02").symlink_to(store / "sub-02")
    made = index_of(bids)
    assert made.scans == ["sub-01_T2starw", "sub-02_T2starw"]
    assert made.value("sub-02_T2starw", "echo_time_s") == 0.02


@pytest.mark.parametrize("target", ["/usr", ".", "..", "absent", "sub-01"])
def test_a_linked_folder_without_the_participant_is_a_row(tmp_path, target):
    bids = tree(tmp_path / "bids", [GOOD])
    (bids / "sub-02").symlink_to(target)
    made = index_of(bids)
    assert made.scans == ["sub-01_T2starw"]
    assert made.reasons["sub-02"] == "no_scan"


def test_links_within_a_participant_that_loop_end(tmp_path):
    bids = tree(tmp_path / "bids", [GOOD, "sub-02/ses-1/anat/sub-02_ses-1_T2starw.nii.gz"])
    for name in ("sub-02/ses-2", "sub-02/ses-1/a", "sub-02/ses-1/b", "sub-02/ses-1/anat/anat"):
        (bids / name).symlink_to(bids / "sub-02" / ("ses-1" if name[-1] == "2" else ""))
    made = index_of(bids)
    assert made.scans == ["sub-01_T2starw", "sub-02_ses-1_T2starw"]
    for name in ("sub-02/ses-1/a", "sub-02/ses-1/b", "sub-02/ses-1/anat/anat"):
        assert made.reasons[name] == "wrong_folder"
    # The second session is a link to the first: its images are named for the first.
    twice = "sub-02/ses-2/anat/sub-02_ses-1_T2starw.nii.gz"
    assert made.reasons[twice] == "wrong_folder"


def test_a_hidden_folder_is_not_searched(tmp_path):
    stored = "sub-01/.git/annex/objects/sub-01_T2starw.nii.gz"
    assert list_folder(tree(tmp_path / "bids", [GOOD, stored]), "sub-01").images == [GOOD]


@pytest.mark.parametrize("where", ["sub-02", "sub-02/anat"])
def test_a_folder_that_cannot_be_listed_is_a_row(tmp_path, monkeypatch, where):
    bids = tree(tmp_path / "bids", [GOOD, "sub-02/anat/sub-02_T2starw.nii.gz"])
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path) == os.fspath(bids / where):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    made = index_of(bids)
    assert made.scans == ["sub-01_T2starw"]
    assert made.reasons[where] == "no_access"
    assert "Permission denied" in made.message(where)
    assert made.reasons["sub-02"] == ("no_access" if where == "sub-02" else "no_scan")


def test_a_root_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    bids = tree(tmp_path / "bids", [GOOD])

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CMBurdenError, match="cannot be listed"):
        index_of(bids)


def test_an_image_that_cannot_be_read_is_a_row_and_a_t1w_a_remark(tmp_path, monkeypatch):
    names = [GOOD, "sub-01/anat/sub-01_T1w.nii.gz", "sub-02/anat/sub-02_T2starw.nii.gz"]
    bids = tree(tmp_path / "bids", names)
    read = digests.sha256_of_file

    def refuse(path):
        if path.name in ("sub-01_T1w.nii.gz", "sub-02_T2starw.nii.gz"):
            raise OSError(5, "Input/output error")
        return read(path)

    monkeypatch.setattr(digests, "sha256_of_file", refuse)
    made = index_of(bids)
    assert made.reasons["sub-02/anat/sub-02_T2starw.nii.gz"] == "no_access"
    assert made.reasons["sub-02"] == "no_scan"
    assert made.value("sub-01_T2starw", "t1w_path") is None
    assert "Its T1w cannot be read" in made.value("sub-01_T2starw", "warning")


def test_the_session_of_the_folder_is_taken_where_the_name_lacks_it(tmp_path):
    """Two sessions with files of one name are two scans, of one participant."""
    names = [f"sub-01/ses-{n}/anat/sub-01_T2starw.nii.gz" for n in (1, 2)]
    made = index_of(tree(tmp_path / "bids", names))
    assert made.scans == ["sub-01_ses-1_T2starw", "sub-01_ses-2_T2starw"]
    assert sorted(made.manifest["path"]) == names
    assert made.value("sub-01_ses-2_T2starw", "session_id") == "ses-2"
    assert "lacks the session" in made.value("sub-01_ses-2_T2starw", "warning")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("sub-01_acq-swi_T2starw.nii.gz", "sub-01_swi.nii.gz"),
        ("sub-01_T2starw.nii.gz", "sub-01_MEGRE.nii.gz"),
        ("sub-01_T2starw.nii", "sub-01_T2starw.nii.gz"),
        ("sub-01_acq-x_T2starw.nii.gz", "sub-01_acq-x_loose_T2starw.nii.gz"),
        ("sub-01_T2starw.nii.gz", "old/sub-01_T2starw.nii.gz"),
    ],
)
def test_two_scans_never_share_their_results(tmp_path, first, second):
    bids = tree(tmp_path / "bids", [f"sub-01/anat/{name}" for name in (second, first)])
    made = index_of(bids)
    assert list(made.manifest["path"]) == [f"sub-01/anat/{first}"]
    assert made.reasons == {f"sub-01/anat/{second}": "duplicate"}
    assert f"sub-01/anat/{first}" in made.message(f"sub-01/anat/{second}")


def test_all_names_of_results_are_unique(tmp_path):
    middles = ("", "_acq-swi", "_acq-GRE", "_acq-x", "_run-1", "_acq-x_run-1", "_run-1_acq-x")
    names = [
        f"sub-01/anat/sub-01{middle}{loose}_{suffix}.nii.gz"
        for middle in middles
        for suffix in ("T2starw", "MEGRE", "swi", "SWI", "GRE", "T2star")
        for loose in ("", "_loose")
    ]
    made = index_of(tree(tmp_path / "bids", names))
    assert len(made.scans) + len(made.reasons) == len(names)
    assert set(made.reasons.values()) == {"duplicate", "bad_name"}
    layout = Layout(tmp_path / "out")
    scans = read_scans(layout.manifest, tmp_path / "bids")
    assert len(scans) == len(made.scans) >= 20
    for name_of in (layout.preproc, layout.brain_mask, layout.lesion_table, layout.viewer):
        assert len({name_of(scan) for scan in scans}) == len(scans)
    assert len({layout.record("verify", scan.scan_id) for scan in scans}) == len(scans)


def test_two_people_never_share_a_scan_id(tmp_path):
    names = [
        "sub-01/anat/sub-01_acq-x_T2starw.nii.gz",
        "sub-01_acq-x/anat/sub-01_acq-x_T2starw.nii.gz",
    ]
    made = index_of(tree(tmp_path / "bids", names))
    assert made.scans == ["sub-01_acq-x_T2starw"]
    assert made.people == {"sub-01", "sub-01_acq-x"}
    assert made.reasons == {names[1]: "duplicate", "sub-01_acq-x": "no_scan"}


def test_a_name_is_read_or_refused_with_a_reason():
    image = parse_image("sub-a_b/ses-1_2/anat/sub-a_b_ses-1_2_acq-x_T2starw.nii.gz", "sub-a_b")
    assert isinstance(image, BidsFile)
    assert image.entities == (("sub", "a_b"), ("ses", "1_2"), ("acq", "x"))
    refused = parse_image("sub-1/anat/sub-1_T2starw (1).nii", "sub-1")
    assert isinstance(refused, Rejection) and refused.reason == "bad_name"
    assert "sub-ABC02" in (wrong_label("sub-ABC/02") or "")


def test_an_image_replaced_by_one_of_equal_size_and_time_is_another(tmp_path):
    """As rsync -t, archives and reproducible converters leave it."""
    bids = tree(tmp_path / "bids", [GOOD])
    image = bids / GOOD
    before = index_of(bids).value("sub-01_T2starw", "content_key")
    times = image.stat()
    new = image.with_name("new")
    new.write_text(image.read_text()[::-1])
    os.utime(new, ns=(times.st_atime_ns, times.st_mtime_ns))
    new.replace(image)
    assert image.stat().st_mtime_ns == times.st_mtime_ns
    replaced = index_of(bids).value("sub-01_T2starw", "content_key")
    assert replaced != before
    # The same file, written into and given its time back.
    image.write_text(GOOD)
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert index_of(bids).value("sub-01_T2starw", "content_key") == before


@pytest.mark.parametrize("content", [b"", b"PAR1 torn"])
def test_torn_digests_are_made_again(tmp_path, content):
    bids = tree(tmp_path / "bids", [GOOD])
    key = index_of(bids).value("sub-01_T2starw", "content_key")
    (tmp_path / "out/work/cache/index.parquet").write_bytes(content)
    assert index_of(bids).value("sub-01_T2starw", "content_key") == key


@pytest.mark.parametrize(
    "content",
    [
        '{"Name": "Köln 37°"}'.encode("latin-1"),
        '{"Name": "Köln 37°"}'.encode("utf-16"),
        '{"Name": "Köln 37°"}'.encode("utf-8-sig"),
    ],
)
def test_the_dataset_has_its_name_in_any_encoding(tmp_path, content):
    bids = tree(tmp_path / "bids", [GOOD])
    (bids / "dataset_description.json").write_bytes(content)
    assert index_of(bids).value("sub-01_T2starw", "cohort") == "Köln 37°"


@pytest.mark.parametrize("content", [b"[1]", b'{"Name": 7}', b"{", b"", b"[" * 100_000, None])
def test_a_description_without_a_name_gives_the_folder_s(tmp_path, content):
    bids = tree(tmp_path / "bids", [GOOD])
    path = bids / "dataset_description.json"
    path.unlink()
    path.mkdir() if content is None else path.write_bytes(content)
    assert index_of(bids).value("sub-01_T2starw", "cohort") == "bids"


def test_the_pilot_counts_a_scan_whatever_its_echoes_are_called(tmp_path):
    names = [f"sub-01/anat/sub-01_echo-{n:02d}_MEGRE.nii.gz" for n in (1, 2, 3)]
    names += [f"sub-02/anat/sub-02_echo-{n}_MEGRE.nii.gz" for n in (2, 3)]
    names += ["sub-03/anat/sub-03_swi.nii.gz", "sub-03/anat/sub-03_acq-phase_swi.nii.gz"]
    names += ["sub-03/anat/sub-03_acq-mip_swi.nii.gz", "sub-04/anat/sub-04_T1w.nii.gz"]
    bids = tree(tmp_path / "bids", names)
    settings = stage.configuration.load({})
    assert stage.possible_scans(bids, settings) == [
        ("sub-01", "MEGRE"),
        ("sub-02", "MEGRE"),
        ("sub-03", "swi"),
    ]
    empty = tree(tmp_path / "empty", ["sub-04/anat/sub-04_T1w.nii.gz"])
    with pytest.raises(CMBurdenError, match="no scan matches"):
        stage.possible_scans(empty, settings)
