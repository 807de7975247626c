"""Docstrings that name what the code does name all of it."""

import ast
import re
from pathlib import Path

from cmburden.core.errors import REASONS
from cmburden.core.keys import bucket_of
from cmburden.core.manifest import read_scans
from cmburden.core.tables import MANIFEST
from cmburden.images import header, intensity, reading
from cmburden.images import volume as images


def test_load_volume_names_every_reason_that_reading_an_image_gives():
    raised = {
        node.args[0].value
        for module in (images, header, intensity, reading)
        for node in ast.walk(ast.parse(Path(module.__file__).read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ScanError"
    }
    section = images.load_volume.__doc__.partition("Raises")[2]
    named = set(re.findall(r"\w+", section)) & set(REASONS)
    assert named == raised and len(raised) >= 8
    # One sentence, not one torn over lines.
    assert "With one of these reasons: " in section and section.strip().endswith(".")


def test_scans_of_a_manifest_ascend_as_its_docstring_says(tmp_path):
    assert "ascending order of ``scan_id``" in read_scans.__doc__
    names = ["sub-2_T2starw", "sub-10_T2starw", "sub-1_T2starw"]
    rows = [
        {
            "scan_id": name,
            "cohort": "A",
            "participant_id": name.split("_")[0],
            "suffix": "T2starw",
            "contrast": "GRE",
            "path": f"{name}.nii.gz",
            "entities": "[]",
            "bucket": bucket_of(name, 1),
            "content_key": name,
        }
        for name in names
    ]
    MANIFEST.write(tmp_path / "manifest.parquet", rows)
    found = [scan.scan_id for scan in read_scans(tmp_path / "manifest.parquet", tmp_path)]
    assert found == sorted(names) != names
