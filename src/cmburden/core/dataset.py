"""The output as a BIDS derivative dataset: its description, and what a validator ignores."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from cmburden import __version__
from cmburden.core.files import whole_file, write_json
from cmburden.core.paths import Layout

#: Patterns of .bidsignore: folders and names of CMBurden that BIDS does not know.
IGNORED = (
    "/cohort",
    "/report",
    "/work",
    "/logs",
    "/evaluation",
    "/reviews",
    "sub-*.html",
    "**/figures",
    "**/*_desc-CMB_lesions.*",
    "**/*_label-CMB_dseg.*",
    # Suffixes that raw BIDS does not have: the volume keeps its source's.
    "**/*_swi.*",
    "**/*_SWI.*",
    "**/*_GRE.*",
)


def write_description(layout: Layout, bids_dir: Path) -> None:
    """Write description and .bidsignore; warn if another version of CMBurden made the folder."""
    source = {}
    path = Path(bids_dir) / "dataset_description.json"
    if path.exists():
        try:
            source = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError:
            logging.warning("%s: not JSON; the source's name is not carried over", path)
    description = {
        "Name": f"CMBurden of {source.get('Name', Path(bids_dir).name)}",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "CMBurden",
                "Version": __version__,
                "Description": "Cerebral microbleed detection. Research use only.",
            }
        ],
        "SourceDatasets": [
            {"DOI": source["DatasetDOI"]} if "DatasetDOI" in source else {"URL": "bids:raw:"}
        ],
    }
    if layout.description.exists():
        try:
            before = json.loads(layout.description.read_text(encoding="utf-8"))["GeneratedBy"][0][
                "Version"
            ]
        except (json.JSONDecodeError, KeyError, IndexError):
            before = "unknown"
        if before != __version__:
            logging.warning("%s was made by version %s, now %s", layout.root, before, __version__)
    if (
        not layout.description.exists()
        or json.loads(layout.description.read_text(encoding="utf-8")) != description
    ):
        write_json(layout.description, description)
    ignored = "\n".join(IGNORED) + "\n"
    if not layout.bidsignore.exists() or layout.bidsignore.read_text(encoding="utf-8") != ignored:
        with whole_file(layout.bidsignore) as temporary:
            temporary.write_text(ignored, encoding="utf-8")
