"""Archives of a download: wanted members alone, nothing outside of the folder, each fault a row."""

import stat
import zipfile

import pytest
from nifti_downloads import packed

from cmburden.onboard import archives
from cmburden.onboard.archives import Unpacked
from cmburden.onboard.parts import Passed


def everything(name: str) -> bool:
    return True


def unpacked(archive, folder, wanted=everything, **more):
    return list(archives.unpack(archive, folder, wanted, place=archive.name, **more))


def test_wanted_members_alone_are_written(tmp_path):
    archive = packed(tmp_path / "a.zip", {"SWI/SWI.nii.gz": b"image", "SWI/notes.txt": b"text"})
    [one] = unpacked(archive, tmp_path / "to", lambda name: name.endswith(".gz"))
    assert one == Unpacked(tmp_path / "to/SWI/SWI.nii.gz", "a.zip!SWI/SWI.nii.gz", "SWI/SWI.nii.gz")
    assert one.path.read_bytes() == b"image"
    assert [path.name for path in (tmp_path / "to").rglob("*") if path.is_file()] == ["SWI.nii.gz"]


def test_a_second_run_writes_nothing(tmp_path):
    archive = packed(tmp_path / "a.zip", {"x.nii": b"image"})
    [first] = unpacked(archive, tmp_path / "to")
    before = first.path.stat().st_mtime_ns
    assert unpacked(archive, tmp_path / "to") == [first]
    assert first.path.stat().st_mtime_ns == before


def test_a_dry_run_writes_nothing(tmp_path):
    archive = packed(tmp_path / "a.zip", {"x.nii": b"image"})
    [one] = unpacked(archive, tmp_path / "to", dry_run=True)
    assert isinstance(one, Unpacked) and not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    "name", ["../x.nii", "a/../../x.nii", "/etc/x.nii", "C:\\x.nii", "..\\x.nii", "C:/x.nii"]
)
def test_a_name_that_leads_out_is_refused_and_the_rest_goes_on(tmp_path, name):
    archive = packed(tmp_path / "in/a.zip", {name: b"bad", "good.nii": b"good"})
    bad, good = unpacked(archive, tmp_path / "in/to")
    assert isinstance(bad, Passed) and "leads out" in bad.reason
    assert isinstance(good, Unpacked)
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"a.zip", "good.nii"}


def test_a_bomb_is_refused_unopened(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_RATIO_FROM", 2**20)
    archive = packed(tmp_path / "a.zip", {"x.nii": bytes(3 * 2**20)}, zipfile.ZIP_DEFLATED)
    [row] = unpacked(archive, tmp_path / "to")
    assert isinstance(row, Passed) and "times its size" in row.reason
    assert not (tmp_path / "to").exists()


def test_a_member_of_more_than_an_image_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_BYTES", 10)
    archive = packed(tmp_path / "a.zip", {"x.nii": b"12345678901", "y.nii": b"1234567890"})
    first, second = unpacked(archive, tmp_path / "to")
    assert isinstance(first, Passed) and isinstance(second, Unpacked)


def test_members_that_share_bytes_are_a_bomb(tmp_path):
    archive = packed(tmp_path / "a.zip", {"x.nii": b"x" * 1000, "y.nii": b"y" * 1000})
    content = archive.read_bytes()
    # Each entry of the list of members is found twice in it: more packed bytes than the file has.
    listing = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    entries, tail = content[listing:end], bytearray(content[end:])
    tail[8:10] = tail[10:12] = (6).to_bytes(2, "little")
    tail[12:16] = (3 * len(entries)).to_bytes(4, "little")
    archive.write_bytes(content[:listing] + entries * 3 + bytes(tail))
    [row] = unpacked(archive, tmp_path / "to")
    assert isinstance(row, Passed) and "announces 6 members" in row.reason


def test_a_link_and_an_encrypted_member_are_refused(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        link = zipfile.ZipInfo("link.nii")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(link, "/etc/passwd")
        opened.writestr("secret.nii", b"content")
    content = bytearray(archive.read_bytes())
    at = content.rindex(b"PK\x01\x02")
    content[at + 8] |= 1  # the flag of encryption
    archive.write_bytes(content)
    first, second = unpacked(archive, tmp_path / "to")
    assert "link" in first.reason and "encrypted" in second.reason
    assert not (tmp_path / "to").exists()


def test_an_archive_that_is_cut_off_is_a_row(tmp_path):
    archive = packed(tmp_path / "a.zip", {"x.nii": b"image" * 1000})
    archive.write_bytes(archive.read_bytes()[:2000])
    [row] = unpacked(archive, tmp_path / "to")
    assert row.place == "a.zip" and "cut off; download it again" in row.reason


def test_a_wrong_checksum_is_a_row_and_leaves_no_file(tmp_path):
    archive = packed(tmp_path / "a.zip", {"x.nii": b"image" * 100, "y.nii": b"other"})
    content = archive.read_bytes()
    archive.write_bytes(content.replace(b"imageimage", b"imagXimage", 1))
    bad, good = unpacked(archive, tmp_path / "to")
    assert isinstance(bad, Passed) and "checksum is wrong" in bad.reason
    assert bad.place == "a.zip!x.nii" and isinstance(good, Unpacked)
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["y.nii"]


def test_a_compressed_member_that_is_torn_is_a_row(tmp_path):
    archive = packed(tmp_path / "a.zip", {"x.nii": bytes(range(256)) * 50}, zipfile.ZIP_DEFLATED)
    content = bytearray(archive.read_bytes())
    content[40:60] = bytes(20)
    archive.write_bytes(content)
    [row] = unpacked(archive, tmp_path / "to")
    assert isinstance(row, Passed) and "download the archive again" in row.reason


def test_what_is_no_archive_is_a_row(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"<html>please log in</html>")
    (tmp_path / "folder.zip").mkdir()
    for name in ("a.zip", "folder.zip"):
        [row] = unpacked(tmp_path / name, tmp_path / "to")
        assert isinstance(row, Passed)


def test_a_series_in_two_zips_is_one_folder(tmp_path):
    packed(tmp_path / "ADNI 1.zip", {"ADNI/I1/a.dcm": b"a", "ADNI/I1/b.dcm": b"b"})
    packed(tmp_path / "ADNI 2.zip", {"ADNI/I1/b.dcm": b"b", "ADNI/I1/c.dcm": b"c"})
    parts = list(archives.unpack_all([tmp_path], tmp_path / "to", everything))
    assert sorted(part.path.name for part in parts) == ["a.dcm", "b.dcm", "c.dcm"]
    assert {part.path.parent for part in parts} == {tmp_path / "to/ADNI/I1"}


def test_two_zips_with_different_files_of_one_name_are_a_row(tmp_path):
    packed(tmp_path / "1.zip", {"I1/a.dcm": b"a"})
    packed(tmp_path / "2.zip", {"I1/a.dcm": b"A"})
    first, second = archives.unpack_all([tmp_path], tmp_path / "to", everything)
    assert isinstance(first, Unpacked) and isinstance(second, Passed)
    assert second.place == "2.zip!I1/a.dcm" and "different file of this name" in second.reason


def test_a_full_disk_is_no_fault_of_the_member(tmp_path, monkeypatch):
    archive = packed(tmp_path / "a.zip", {"x.nii": b"image"})

    def full(*arguments, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives, "whole_file", full)
    with pytest.raises(OSError, match="No space"):
        unpacked(archive, tmp_path / "to")
