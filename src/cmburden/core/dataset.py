"""The output as a BIDS derivative dataset: its description, and what a validator ignores."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cmburden import RESEARCH_USE_ONLY, __version__
from cmburden.core.files import read_json, whole_file, write_json
from cmburden.core.foreign import UnreadableFile, read_json_object
from cmburden.core.paths import Layout

#: Patterns of .bidsignore: folders and names of CMBurden that BIDS does not know.
IGNORED = (
    "/cohort",
    "/report",
    "/work",
    "/logs",
    "/evaluation",
    "/export",
    "/export_shareable",
    "/inserted",
    "/reviews",
    "sub-*.html",
    "**/figures",
    "**/*_desc-CMB_lesions.*",
    "**/*_label-CMB_dseg.*",
    "**/*_xfm.*",
    "/desc-MARS_dseg.*",
    # Suffixes that raw BIDS does not have: the volume keeps its source's.
    "**/*_swi.*",
    "**/*_SWI.*",
    "**/*_GRE.*",
    "**/*_T2star.*",
    "**/*_SWImag.*",
    "**/*_FLASH.*",
)

#: README.md of the dataset. A file of the user's stays.
README = f"""# Cerebral microbleeds, by CMBurden

{RESEARCH_USE_ONLY}

| file | holds |
|---|---|
| `report/index.html` | the report of the cohort: open it in a browser |
| `sub-*.html` | a page a participant, with all microbleeds |
| `cohort/*.parquet` | tables; `*.json` beside each describes its columns |
| `sub-*/**/anat/*_desc-CMB_lesions.tsv` | microbleeds of a scan |
| `sub-*/**/anat/*_label-CMB_dseg.nii.gz` | their voxels; `.tsv` names them, definite or possible |
| `sub-*/**/anat/*_desc-MARS_dseg.nii.gz` | regions; `desc-MARS_dseg.tsv` here names them |
| `sub-*/**/anat/*_xfm.*` | transform of the scan to MNI152NLin2009aSym, for ANTs |
| `reviews/` | readers' decisions: no run can make them again |
| `work/`, `logs/` | intermediate results and logs |

`*_dseg.itksnap.txt` are label descriptions for ITK-SNAP. `cmburden export` writes CSV, TSV, Stata,
a codebook and maps in MNI space to `export/`.
"""


def write_description(layout: Layout, bids_dir: Path) -> None:
    """Write description, README and .bidsignore; warn if another version made the folder."""
    source: dict[str, Any] = {}
    path = Path(bids_dir) / "dataset_description.json"
    if os.path.lexists(path):
        try:
            source = read_json_object(path)
        except UnreadableFile as error:
            logging.warning("%s: %s; the source's name is not carried over", path, error)
    name, doi = source.get("Name", Path(bids_dir).name), source.get("DatasetDOI")
    description = {
        "Name": f"CMBurden of {name}",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "CMBurden",
                "Version": __version__,
                "Description": "Cerebral microbleed detection. Research use only.",
            }
        ],
        # Relative: the two folders may move together.
        "DatasetLinks": {"raw": quote(os.path.relpath(Path(bids_dir).absolute(), layout.root))},
        "SourceDatasets": [{"DOI": doi} if isinstance(doi, str) else {"URL": "bids:raw:"}],
    }
    if not layout.readme.exists():
        with whole_file(layout.readme) as temporary:
            temporary.write_text(README, encoding="utf-8")
    stored = read_json(layout.description)
    if layout.description.exists():
        before = _version_of(stored)
        if before != __version__:
            logging.warning("%s was made by version %s, now %s", layout.root, before, __version__)
    if stored != description:
        write_json(layout.description, description)
    ignored = "\n".join(IGNORED) + "\n"
    if not layout.bidsignore.exists() or layout.bidsignore.read_bytes() != ignored.encode():
        with whole_file(layout.bidsignore) as temporary:
            temporary.write_text(ignored, encoding="utf-8")


def _version_of(description: Any) -> str:
    """Version of CMBurden in a stored ``description``; "unknown" of a torn or a foreign one."""
    try:
        return str(description["GeneratedBy"][0]["Version"])
    except (KeyError, IndexError, TypeError):
        return "unknown"
