"""Small files of our own that are torn after a power failure: made again, never a traceback."""

import json

import pytest

from cmburden.core import dataset
from cmburden.core.files import read_json
from cmburden.core.paths import Layout
from cmburden.index.digests import Digests

TORN = [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"GeneratedBy": []}', b'{"GeneratedBy": 3}']


@pytest.mark.parametrize("content", TORN)
def test_the_outputs_description_is_written_again(tmp_path, content, caplog):
    layout = Layout(tmp_path / "out")
    dataset.write_description(layout, tmp_path)
    sound = layout.description.read_bytes()
    layout.description.write_bytes(content)
    layout.bidsignore.write_bytes(b"\xff")
    dataset.write_description(layout, tmp_path)
    assert layout.description.read_bytes() == sound
    assert "was made by version unknown" in caplog.text
    assert "/work" in layout.bidsignore.read_text().splitlines()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no table", bytes(500)])
def test_torn_digests_are_taken_anew(tmp_path, content):
    image = tmp_path / "image.nii"
    image.write_bytes(b"voxels")
    store = tmp_path / "cache" / "index.parquet"
    first = Digests(store)
    wanted = first.digest(image, lambda: False)
    first.save()
    sound = store.read_bytes()
    store.write_bytes(content)
    again = Digests(store)
    assert again.digest(image, lambda: False) == wanted
    again.save()
    assert store.read_bytes() == sound


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_torn_json_file_is_none(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    assert read_json(path) is None
    assert read_json(tmp_path / "absent.json") is None
    path.write_text(json.dumps(["a problem"]))
    assert read_json(path) == ["a problem"]
