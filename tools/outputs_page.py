"""Writes docs/outputs.md and docs/troubleshooting.md from the code that makes files and messages.

The columns of the tables are those of the tables' contract, the reasons those of
``core.errors.REASONS``. ``FILES`` describes what a run writes; a test compares the patterns with
the listing of a whole run.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from cmburden.core import markdown
from cmburden.core.errors import MENDABLE, REASONS
from cmburden.core.paths import COHORT_TABLES, TEMPLATE
from cmburden.core.schema import Table
from cmburden.core.tables import ALL

DOCS = Path(__file__).resolve().parents[1] / "docs"
#: Words before a note in the first column of a scan's files.
_SCAN = "sub-*/**/anat/*"
#: Heading -> patterns of files below OUTPUT_DIR (``fnmatch``), and what the files hold.
FILES: dict[str, dict[str, str]] = {
    "The dataset": {
        "dataset_description.json": "BIDS: what made the dataset, and where its source lies",
        "README.md": "what lies where; yours to change",
        ".bidsignore": "files that BIDS does not know",
        "desc-MARS_dseg.tsv": "names, groups and colours of all region images' values",
        "desc-MARS_dseg.itksnap.txt": "the same for ITK-SNAP (Segmentation, Import label "
        "descriptions)",
    },
    "Of each scan": {
        f"{_SCAN}_desc-preproc_*.nii.gz": "the scan in canonical orientation, without bias, median "
        "of the brain 1",
        f"{_SCAN}_desc-preproc_*.json": "what was done to it",
        f"{_SCAN}_desc-brain_mask.nii.gz": "the brain, 1",
        f"{_SCAN}_desc-brain_mask.json": "what it was made from",
        f"{_SCAN}_desc-MARS_dseg.nii.gz": "MARS regions; a right region has the left one's value "
        "+ 100",
        f"{_SCAN}_desc-MARS_dseg.json": "what it was made from",
        f"{_SCAN}_label-CMB_dseg.nii.gz": "voxels of the microbleeds, definite and possible; the "
        "value is the lesion's `lesion_id`",
        f"{_SCAN}_label-CMB_dseg.tsv": "each value's name, colour, label (definite, possible), "
        "region and side",
        f"{_SCAN}_label-CMB_dseg.itksnap.txt": "the same for ITK-SNAP",
        f"{_SCAN}_label-CMB_dseg.json": "what it was made from",
        f"{_SCAN}_desc-CMB_lesions.tsv": "the scan's microbleeds: the columns of "
        "[lesions](#lesions), without `macrohaemorrhage`",
        f"{_SCAN}_desc-CMB_lesions.json": "descriptions of its columns",
        f"{_SCAN}_from-*_to-{TEMPLATE}_mode-image_desc-affine_xfm.mat": "the scan's way to the "
        "template, affine part (ITK)",
        f"{_SCAN}_from-*_to-{TEMPLATE}_mode-image_desc-warp_xfm.nii.gz": "its displacements (ITK); "
        "none where the registration is affine",
        f"{_SCAN}_from-*_to-{TEMPLATE}_mode-image_xfm.json": "which template, and how ANTs applies "
        "the two",
        "sub-*/**/figures/*_desc-QC_montage.png": "brain mask and regions over the scan",
        "sub-*/**/figures/*_desc-CMB_montage.png": "the scan's microbleeds; none without any",
        "sub-*/**/figures/*_desc-planes_montage.png": "each in three planes; none without any",
        "sub-*/**/figures/*_desc-viewer.js": "the scan for the viewer of the participant's page",
    },
    "Of each participant": {
        "sub-*.html": "the participant's page",
        "sub-*_changes.html": "sessions side by side; only with several sessions",
        "sub-*/figures/*_desc-change*_montage.png": "a microbleed in all sessions",
    },
    "Of the cohort": {
        "report/index.html": "the report, one file",
        "report/viewer.js": "the viewer of the participants' pages",
        "report/beside.svg": "says to the report that the other pages lie beside it",
        "report/references.bib": "references of the report's methods",
        "cohort/*.parquet": "the tables below",
        "cohort/*.json": "descriptions of their columns",
        "cohort/set.json": "checksums of the tables of one run",
    },
}
#: What other commands write, and what is not for reading.
FURTHER: dict[str, str] = {
    "report/shareable.html": "`cmburden report --shareable`: a page without ids and small numbers",
    "export/": "`cmburden export`: CSV, TSV, Stata, codebook, REDCap dictionary, MARS forms, "
    "figures, and `maps/` in MNI space ([paper.md](paper.md#tables-for-other-programs))",
    "export_shareable/": "`cmburden export --shareable`",
    "reviews/*.sqlite": "`cmburden review`: a reader's decisions. **No run can make them again: "
    "back them up**",
    "reviews/free_hand_sample.parquet": "scans drawn to be read without detections",
    "reviews/operating_point.*": "`cmburden operating-point`",
    "cohort/reviews.parquet": "the readers' decisions as a table",
    "logs/snakemake/all.log": "the course of each run: time, version, settings, messages",
    "logs/STAGE/*.log": "a log a scan or job, with time, version and settings",
    "logs/benchmarks/": "seconds and memory of each job (`cmburden timings`)",
    "work/": "intermediate results; with them a run goes on where it was ([scale.md](scale.md)). A "
    "link with `--work-dir`",
}


def pattern_of(name: str) -> str | None:
    """The pattern of ``FILES`` that the file ``name`` has; None for a file that is not described.

    A pattern with ``/**/`` holds with and without a folder of a session.
    """
    patterns = [pattern for files in FILES.values() for pattern in files]
    exact = sorted(patterns, key=lambda pattern: pattern.count("*"))
    return next((pattern for pattern in exact if _fits(name, pattern)), None)


def _fits(name: str, pattern: str) -> bool:
    versions = (pattern.replace("/**/", "/"), pattern.replace("/**/", "/ses-*/"))
    return any(fnmatchcase(name, one) and name.count("/") == one.count("/") for one in versions)


def outputs() -> str:
    """The page of outputs."""
    parts = [
        "# What a run writes",
        "<!-- Written by tools/outputs_page.py; `make pages` writes it anew. -->",
        "All below `OUTPUT_DIR`, a BIDS derivative dataset. `sub-*` stands for a participant; a "
        "folder `ses-*` follows where the source has sessions. A file exists only when it is "
        "complete. A scan that failed has no files in `anat/`; it has a row in `scans` that says "
        "why. What identifies people: [privacy.md](privacy.md).",
        "## Coordinates",
        "`x_mm`, `y_mm`, `z_mm` are scanner coordinates (RAS: to the right, to the front, upwards) "
        "as the affine of the NIfTI gives them. `mni_x`, `mni_y`, `mni_z` are in "
        f"**{TEMPLATE}** (ICBM 2009a nonlinear symmetric). fMRIPrep's default, "
        "MNI152NLin2009cAsym, is another template: the two differ by millimetres, so do not "
        "overlay them without a transform from one to the other.",
        "## Files",
    ]
    for heading, files in FILES.items():
        rows = [[f"`{pattern}`", text] for pattern, text in files.items()]
        parts += [f"### {heading}", markdown.table(["file", "holds"], rows)]
    rows = [[f"`{name}`", text] for name, text in FURTHER.items()]
    parts += ["### Of other commands, and not for reading", markdown.table(["file", "holds"], rows)]
    parts += [
        "## Tables",
        "`cohort/NAME.parquet`. A missing value is null and never 0; zero is a value. In R: "
        '`arrow::read_parquet("cohort/scans.parquet")`, or `source("read_cmburden.R")` in the '
        "folder of `cmburden export`, which needs no package. In Python: "
        '`pandas.read_parquet("cohort/scans.parquet")`. In Stata: `use scans.dta` of the export.',
    ]
    for name in COHORT_TABLES:
        parts += _of_table(ALL[name])
    return "\n\n".join(parts) + "\n"


def _of_table(table: Table) -> list[str]:
    rows = [
        [
            f"`{column.name}`",
            column.kind,
            column.unit,
            "yes" if column.nullable else "",
            column.description + (f" ({', '.join(column.levels)})" if column.levels else ""),
        ]
        for column in table.columns
    ]
    text = f"A row is {table.row}. Key: {', '.join(f'`{name}`' for name in table.key)}."
    if table.open:
        text += " Columns of participants.tsv follow."
    header = ["column", "type", "unit", "may be null", "is"]
    return [f"### {table.name}", text, markdown.table(header, rows)]


def troubleshooting() -> str:
    """The page of messages: the part that is written by hand, and the codes of reasons."""
    path = DOCS / "troubleshooting.md"
    by_hand = path.read_text(encoding="utf-8").split("## Reasons of scans")[0].rstrip()
    rows = [[f"`{code}`", _sentence(advice)] for code, advice in REASONS.items()]
    parts = [
        by_hand,
        "## Reasons of scans",
        "The column `reason` of `scans`, of `cmburden status` and of the report. `message` says "
        "more, `log` names the scan's log.",
        markdown.table(["reason", "what to do"], rows),
        "## The system's own errors",
        _list(MENDABLE.values()),
    ]
    return "\n\n".join(parts) + "\n"


def _sentence(text: str) -> str:
    return re.sub(r"\s+", " ", text[0].upper() + text[1:]) + "."


def _list(texts: Iterable[str]) -> str:
    return "\n".join(f"- {_sentence(text)}" for text in dict.fromkeys(texts))


#: Page -> what writes it.
PAGES = {"outputs.md": outputs, "troubleshooting.md": troubleshooting}


def main() -> int:
    """Write the pages; returns the exit code."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    for name, text_of in PAGES.items():
        (DOCS / name).write_text(text_of(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
