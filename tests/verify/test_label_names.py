"""Names of a lesion image's values: definite and possible are told apart, in BIDS and ITK-SNAP."""

import csv
import json
from pathlib import Path

from cmburden.core import dataset
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.space import lookup
from cmburden.space.regions import region_of
from cmburden.verify import names

SCAN = Scan(
    "sub-01_swi", "x", "sub-01", None, "swi", "SWI", Path("sub-01_swi.nii.gz"), (("sub", "01"),)
)
LESIONS = [
    {"lesion_id": 1, "label": "definite", "region": "thalamus", "hemisphere": "left"},
    {"lesion_id": 2, "label": "possible", "region": "brainstem", "hemisphere": "unknown"},
]


def written(tmp_path) -> tuple[list[dict], str, dict]:
    layout = Layout(tmp_path)
    names.write(SCAN, layout, LESIONS)
    with layout.lesion_names(SCAN, "tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    text = layout.lesion_names(SCAN, "itksnap.txt").read_text()
    return rows, text, json.loads(layout.lesion_names(SCAN, "json").read_text())


def test_each_value_has_a_name_a_colour_and_its_certainty(tmp_path):
    rows, text, described = written(tmp_path)
    assert [(row["index"], row["label"]) for row in rows] == [("1", "definite"), ("2", "possible")]
    assert [row["name"] for row in rows] == ["1 definite, left thalamus", "2 possible, brainstem"]
    assert rows[0]["color"] != rows[1]["color"]
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines[0].split()[0] == "0"
    # ITK-SNAP: index, red, green, blue, alpha, visible, mesh, name.
    assert lines[1].split(maxsplit=7) == [
        *["1", "230", "159", "0", "1", "1", "1"],
        '"1 definite, left thalamus"',
    ]  # a tuple of one line
    assert described["SpatialReference"].startswith("bids::sub-01/anat/")


def test_a_scan_without_lesions_has_a_table_without_rows(tmp_path):
    names.write(SCAN, Layout(tmp_path), [])
    text = Layout(tmp_path).lesion_names(SCAN, "tsv").read_text()
    assert text == "index\tname\tcolor\tlabel\tregion\themisphere\n"


def test_region_names_are_those_of_the_values():
    of_regions = lookup.of_regions()
    assert len({one.index for one in of_regions}) == len(of_regions) == 26
    assert len({one.colour for one in of_regions}) == 26
    for one in of_regions:
        region, side = region_of(one.index)
        assert (one.name, one.more["group"]) == (f"{side} {region.name}", region.group)


def test_the_dataset_says_where_its_source_lies_and_keeps_a_readme_of_the_users(tmp_path):
    layout, bids = Layout(tmp_path / "a b" / "out"), tmp_path / "my data"
    bids.mkdir()
    layout.root.mkdir(parents=True)
    dataset.write_description(layout, bids)
    described = json.loads(layout.description.read_text())
    assert described["DatasetLinks"] == {"raw": "../../my%20data"}
    assert "sub-*.html" in layout.readme.read_text()
    layout.readme.write_text("mine")
    dataset.write_description(layout, bids)
    assert layout.readme.read_text() == "mine"
