"""The export: each value survives each format, and each column is described."""

import csv
import io
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import fabricate
import pandas as pd
import pytest

from cmburden.cohort import stage as aggregate
from cmburden.core.paths import COHORT_TABLES
from cmburden.core.tables import ALL, COUNTS, LESIONS, PARTICIPANTS, SCANS
from cmburden.export import codebook, figures, redcap, scripts, stage
from cmburden.export import tables as exported
from cmburden.report import stage as report
from cmburden.report.tables import ReportTables
from cmburden.summary import measures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = fabricate.cohort(tmp_path_factory.mktemp("export"), participants=30)
    aggregate.run(made.layout, made.bids_dir, made.config)
    return made


@pytest.fixture(scope="module")
def folder(made):
    stage.run(made.layout, made.config, made.layout.export)
    return made.layout.export


def rows_of(path, delimiter=",") -> list[dict]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")), delimiter=delimiter))


@pytest.mark.parametrize("name", COHORT_TABLES)
def test_every_table_as_csv_and_tsv(made, folder, name):
    """Audit 4, item 9: Parquet alone left epidemiologists outside."""
    table = ALL[name].read(made.layout.table(name))
    text = rows_of(folder / f"{name}.csv")
    lines = (folder / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
    assert len(text) == len(table) == len(lines) - 1
    assert lines[0].split("\t") == list(table.columns)
    for line, row, cells in zip(lines[1:], table.to_dict("records"), text, strict=True):
        for value, tabbed, (column, cell) in zip(
            row.values(), line.split("\t"), cells.items(), strict=True
        ):
            if pd.isna(value):
                assert (cell, tabbed) == ("", "n/a"), column
            elif isinstance(value, bool):
                assert cell == tabbed == str(value).lower()
            elif isinstance(value, (int, float)):
                assert float(cell) == value == float(tabbed)
            else:
                assert cell == value


def test_equal_tables_give_equal_bytes(made, folder, tmp_path):
    stage.run(made.layout, made.config, tmp_path)
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert names == sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_files_of_others_in_the_folder_stay(made, tmp_path):
    (tmp_path / "mine.csv").write_text("mine")
    (tmp_path / "lesions.csv").write_text("of the export before")
    stage.run(made.layout, made.config, tmp_path, ["tsv"])
    assert (tmp_path / "mine.csv").read_text() == "mine"
    assert not (tmp_path / "lesions.csv").exists() and (tmp_path / "lesions.tsv").exists()


def test_stata_file_has_labels_and_values(made, folder):
    participants = PARTICIPANTS.read(made.layout.table("participants"))
    with pd.read_stata(folder / "participants.dta", iterator=True) as reader:
        labels, values = reader.variable_labels(), reader.value_labels()
        table = reader.read(convert_categoricals=False)
    assert labels["age"].startswith("Age at the chosen session")
    assert next(iter(values["pattern"].values())) == "none"
    ages = participants["age"].astype(float)
    assert table["age"].equals(ages) or (table["age"] - ages).abs().max() == 0
    with pd.read_stata(folder / "participants.dta", iterator=True) as reader:
        told = reader.read()
    expected = participants["pattern"].astype(object).where(participants["pattern"].notna(), None)
    shown = told["pattern"].astype(object).where(told["pattern"].notna(), None)
    assert shown.tolist() == expected.tolist()
    assert told["participant_id"].tolist() == participants["participant_id"].tolist()


def test_codebook_describes_every_column_and_measure(made, folder):
    book = rows_of(folder / "codebook.csv")
    for table in exported.read(made.layout):
        of_table = [row["column"] for row in book if row["table"] == table.name]
        assert of_table == [column.name for column in table.columns]
    assert all(row["description"] for row in book)
    templates = [row["column"] for row in book if row["table"] == "summary: measure"]
    assert templates == [family.TEMPLATE for family in measures.FAMILIES]
    words = (folder / "codebook.md").read_text(encoding="utf-8")
    assert "mmse_z" in words and "`participants count={count}`" in words
    assert set(codebook.HEADER) == set(book[0])


def test_redcap_takes_the_dictionary(folder):
    """The rules of REDCap's upload: 18 columns, names, types, choices."""
    rows = rows_of(folder / "redcap_data_dictionary.csv")
    assert tuple(rows[0]) == redcap.COLUMNS and len(redcap.COLUMNS) == 18
    names = [row["Variable / Field Name"] for row in rows]
    assert names[0] == "participant_id" and len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) and len(name) <= 26 for name in names)
    assert all("__" not in name and not name.endswith("_") for name in names)
    for row in rows:
        kind, choices = row["Field Type"], row["Choices, Calculations, OR Slider Labels"]
        assert kind in ("text", "radio", "truefalse")
        assert bool(choices) == (kind == "radio")
        for place, choice in enumerate(choices.split(" | ") if choices else (), start=1):
            assert choice.startswith(f"{place}, ")
        assert row["Text Validation Type OR Show Slider Number"] in ("", "integer", "number")
    forms = list(dict.fromkeys(row["Form Name"] for row in rows))
    assert forms == ["participants", "scans", "lesions", "counts", "pairs", "changes"]


def test_mars_form_holds_the_counts(made, folder):
    counts = COUNTS.read(made.layout.table("counts"))
    scans = SCANS.read(made.layout.table("scans")).set_index("scan_id")
    rows = rows_of(folder / "mars.csv")
    assert len(rows) == len(scans)
    for row in rows:
        cells = {k: v for k, v in row.items() if k.startswith("definite_") and k[9:] != "total"}
        if pd.isna(scans.loc[row["scan_id"], "n_cmb"]):
            assert set(cells.values()) == {""}
            continue
        total = counts.loc[counts["scan_id"] == row["scan_id"], "n_definite"].sum()
        assert sum(map(int, cells.values())) == total == int(row["definite_total"])


def test_figures_are_svg_with_text(made, folder):
    tables = ReportTables(made.layout)
    content = report.cohort_content(tables, made.layout, made.config, report.environment())
    charts = list(figures.charts_of(one.content for one in content["sections"]))
    files = {path.stem for path in (folder / "figures").glob("*.svg")}
    assert files == {chart.name for chart in charts} >= {"prevalence", "counts", "regions"}
    words = text_of(folder / "figures" / "prevalence.svg")
    assert "With a definite microbleed, %" in words and "GRE" in words and "All" in words


def text_of(path) -> set[str]:
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    return {"".join(one.itertext()) for one in root.iter() if one.tag.endswith("text")}


def test_an_export_to_share_holds_no_id_and_no_small_number(made, tmp_path):
    stage.run(made.layout, made.config, tmp_path, least=5)
    names = {path.name for path in tmp_path.glob("*.csv")}
    assert names == {"summary.csv", "curves.csv", "lesion_cells.csv", "codebook.csv"}
    ids = {*LESIONS.read(made.layout.table("lesions"))["scan_id"]}
    ids |= {*PARTICIPANTS.read(made.layout.table("participants"))["participant_id"]}
    for path in tmp_path.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not any(name.encode() in content for name in ids), path
    for name in ("summary", "curves", "lesion_cells"):
        for row in rows_of(tmp_path / f"{name}.csv"):
            if re.match(r"(published|model)=", row.get("stratum", "")):
                continue
            assert row["n"] in ("", "0") or float(row["n"]) >= 5, row


def test_names_and_labels_that_stata_takes(made):
    for table in exported.read(made.layout):
        names = scripts.stata_names(table.columns)
        assert len(set(names)) == len(names) and max(map(len, names)) <= 32
        assert all(len(scripts.label(column)) <= 80 for column in table.columns)
    text = scripts.stata(exported.read(made.layout))
    assert 'import delimited "participants.csv"' in text and "label define" in text


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not at hand")
def test_r_reads_the_tables_with_levels(made, folder):
    code = (
        'source("read_cmburden.R"); x <- read_cmburden("."); '
        "cat(nrow(x$participants), levels(x$participants$pattern)[1], "
        "class(x$scans$left_right_known), is.numeric(x$participants$age), "
        'attr(x$participants$age, "label"), sep = "\\n")'
    )
    out = subprocess.run(
        ["Rscript", "-e", code], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    people = PARTICIPANTS.read(made.layout.table("participants"))
    assert out[:4] == [str(len(people)), "none", "logical", "TRUE"]
    assert out[4].startswith("Age at the chosen session")
