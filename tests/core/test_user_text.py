"""Whatever a user writes in an option or a file is taken, or one sentence says what is wrong."""

import os

import pytest

from cmburden.core import config as configuration
from cmburden.core import user_text
from cmburden.core.errors import CMBurdenError
from cmburden.index.choose import filters_of
from cmburden.run.participants import nested

DEEP = "[" * 100_000 + "]" * 100_000

SETTINGS = {
    "report.title={a": "not YAML",
    "report.title=*x": "holds an alias",
    "report.title=&x [*x]": "holds an alias",
    "report.title=[a": "not YAML",
    "report.title='a": "not YAML",
    "report.title=a: b: c": "not YAML",
    "report.title=!!python/object/apply:os.system [ls]": "not YAML",
    "report.title=2020-13-45": "not YAML",
    "report.title=!!int x": "not YAML",
    "report.title=!!timestamp x": "not YAML",
    "report.title=" + "9" * 5000: "not YAML",
    "report.title=\x00": "not YAML",
    "report.title=\ud800": "not YAML",
    "report.title={1: a}": "the key 1 is no text",
    "report.title=" + DEEP: "nested in more than 20 levels",
    "report.title=" + "{a: " * 30 + "1" + "}" * 30: "nested in more than 20 levels",
    "a." * 1000 + "a=1": "is no key",
    "=1": "is no key",
    "report..title=1": "is no key",
    "report.title": "write it as key=value",
}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda text: repr(text[:40]))
def test_a_wrong_setting_is_one_sentence(setting):
    with pytest.raises(CMBurdenError) as caught:
        nested([setting])
    assert SETTINGS[setting] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_of_all_kinds_are_taken():
    assert nested(["a.b=[1, 2]", "a.c={d: 1.5}", "e=", "f=x=y", "g='*x'", "a.h=é"]) == {
        "a": {"b": [1, 2], "c": {"d": 1.5}, "h": "é"},
        "e": None,
        "f": "x=y",
        "g": "*x",
    }


#: Contents of a file -> a part of the sentence, for YAML and for JSON.
FILES = {
    b"\xff\xfe\x00\x01binary": ("is no text in UTF-8", "is no text in UTF-8"),
    "{}".encode("utf-16"): ("is no text in UTF-8", "is no text in UTF-8"),
    b"\x00\x01\x02": ("not YAML", "not JSON"),
    b"{a": ("not YAML", "not JSON"),
    DEEP.encode(): ("nested in more than", "nested in more than"),
    b'{"a":' * 30 + b"1" + b"}" * 30: ("nested in more than", "nested in more than"),
    b"- a\n": ("holds no keys", "not JSON"),
    b"[1]": ("holds no keys", "write it as"),
    b" " * 1_000_001: ("is larger than", "is larger than"),
    b'{"t2starw": 1}': ("unknown key", "write it as"),
}


@pytest.mark.parametrize("content", FILES, ids=lambda text: repr(text[:12]))
def test_a_wrong_file_is_one_sentence(tmp_path, content):
    path = tmp_path / "given"
    path.write_bytes(content)
    for read, said in zip((_load, filters_of), FILES[content], strict=True):
        with pytest.raises(CMBurdenError) as caught:
            read(path)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 2000


def _load(path):
    configuration.load({}, path)


def test_what_is_no_file_is_one_sentence(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, said in {
        "absent": "there is no such file",
        "x" * 300: "there is no such file",
        "loop": "there is no such file",
        "a\0b": "there is no such file",
        ".": "but a folder",
        "pipe": "is no regular file",
    }.items():
        for read in (_load, filters_of):
            with pytest.raises(CMBurdenError, match=said):
                read(tmp_path / name)
    with pytest.raises(CMBurdenError, match="is no regular file"):
        user_text.text_of(tmp_path.__class__("/dev/zero"))


def test_a_file_with_a_mark_of_byte_order_is_read(tmp_path):
    path = tmp_path / "filter.json"
    path.write_bytes(b'\xef\xbb\xbf{"t2starw": {"acquisition": "a"}}')
    assert filters_of(path) == {"t2starw": {"acquisition": "a"}}


def test_a_long_wrong_value_is_not_printed_whole():
    with pytest.raises(CMBurdenError) as caught:
        configuration.load({"report": {"title": ["x" * 100_000]}})
    assert len(str(caught.value)) < 1500
