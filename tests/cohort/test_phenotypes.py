"""participants.tsv and sessions.tsv as people write them: no cell changes, no row is lost."""

import re
import time
from pathlib import Path

import pandas as pd
import pytest

from cmburden.cohort import columns, phenotypes
from cmburden.cohort.ages import parse_age
from cmburden.cohort.cells import typed

PEOPLE = ["sub-01", "sub-02", "sub-03"]
HEAD = "participant_id\tage\tsex\tsite\n"
ROWS = "sub-01\t71.5\tM\tK\u00f6ln\nsub-02\t80\tF\tK\u00f6ln\nsub-03\t66\tF\tM\u00fcnchen\n"


def read(folder, text, wanted=(), encoding="utf-8", people=PEOPLE):
    content = text.encode(encoding) if isinstance(text, str) else text
    (folder / "participants.tsv").write_bytes(content)
    known = phenotypes.read(folder, list(people), wanted)
    return known.participants.set_index("participant_id"), "\n".join(known.problems)


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("latin-1", "not UTF-8: read as Windows-1252"),
        ("cp1252", "not UTF-8: read as Windows-1252"),
        ("utf-16", "UTF-16: read as such"),
        ("utf-16-le", "UTF-16-LE: read as such"),
        ("utf-16-be", "UTF-16-BE: read as such"),
        ("utf-32", "UTF-32: read as such"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path, encoding, said, end):
    table, problems = read(tmp_path, (HEAD + ROWS).replace("\n", end), encoding=encoding)
    assert table["age"].tolist() == [71.5, 80.0, 66.0]
    assert table["site"].tolist() == ["K\u00f6ln", "K\u00f6ln", "M\u00fcnchen"]
    assert said in problems and ("read as" in problems) == bool(said)


def test_a_file_cut_in_the_middle_of_a_letter(tmp_path):
    content = (HEAD + ROWS).encode("utf-16")[:-1]
    table, problems = read(tmp_path, content)
    assert len(table) == 3 and "damaged UTF-16" in problems


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ('"AD', '"AD'),
        ('AD"', 'AD"'),
        ('A"D', 'A"D'),
        ('"', '"'),
        ('"AD"', "AD"),
        ('"the ""late"" kind"', 'the "late" kind'),
        ("A\u2028D", "A\u2028D"),
        ("A\x0bD", "A\x0bD"),
        ("A\x85D", "A\x85D"),
        ("A\x1cD", "A\x1cD"),
        ("A" * 200_000, "A" * 200_000),
    ],
)
def test_a_cell_swallows_and_splits_nothing(tmp_path, cell, value):
    rows = [f"sub-{n:02d}\t{60 + n}\t{cell if n == 1 else 'CN'}" for n in range(1, 51)]
    people = [f"sub-{n:02d}" for n in range(1, 51)]
    text = "participant_id\tage\tdiagnosis\n" + "\n".join(rows) + "\n"
    table, _ = read(tmp_path, text, people=people)
    assert table["age"].tolist() == [60.0 + n for n in range(1, 51)]
    assert table["diagnosis"].tolist() == [value] + ["CN"] * 49


def test_a_quote_that_does_not_close_reaches_to_the_end_of_its_line_of_csv(tmp_path):
    text = 'participant_id,age,diagnosis\nsub-01,70,"AD\nsub-02,71,"a, b"\nsub-03,72,CN\n'
    table, problems = read(tmp_path, text)
    assert table["age"].tolist() == [70, 71, 72]
    assert table["diagnosis"].tolist() == ["AD", "a, b", "CN"]
    assert "separated by commas" in problems


@pytest.mark.parametrize(
    ("mark", "words", "first"), [(",", "commas", 71.5), (";", "semicolons", 71.5)]
)
def test_a_long_cell_of_csv(tmp_path, mark, words, first):
    rows = HEAD + "sub-01\t71.5\tM\t" + "A" * 200_000 + "\nsub-02\t80\tF\tA\n"
    table, problems = read(tmp_path, rows.replace("\t", mark))
    assert table["age"].tolist() == [first, 80.0] and words in problems


def test_columns_apart_by_blanks(tmp_path):
    table, problems = read(tmp_path, "participant_id  age  sex\nsub-01  71.5  M\nsub-02  80  F\n")
    assert table["age"].tolist() == [71.5, 80.0] and "separated by blanks" in problems


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "2"], "Int64", [1, 2]),
        (["1.0", "2"], "Int64", [1, 2]),
        (["1.5", None], "Float64", [1.5, pd.NA]),
        (["9007199254740993"], "Int64", [9007199254740993]),
        (["9223372036854775807"], "Int64", [9223372036854775807]),
        (["9223372036854775808"], "string", ["9223372036854775808"]),
        (["123456789012345678901234567890", "1"], "string", None),
        (["9007199254740993.5"], "string", None),
        (["9" * 5000], "string", None),
        (["1e999"], "string", None),
        (["nan", "1"], "string", None),
        (["inf"], "string", None),
        (["0041", "0042"], "string", None),
        (["1_000"], "string", None),
        (["0x10"], "string", None),
        (["\u0661"], "string", None),
        ([None], "string", None),
    ],
)
def test_numbers_stay_what_they_are(cells, kind, values):
    problems = []
    column = typed(pd.Series(cells, dtype=object), "x", problems)
    assert column.dtype == kind
    if kind == "string":
        assert [None if pd.isna(cell) else cell for cell in column] == cells
    else:
        assert column.tolist() == values and not problems


def test_long_numbers_are_said(tmp_path):
    table, problems = read(tmp_path, "participant_id\tmmse\nsub-01\t" + "1" * 30 + "\n")
    assert table["mmse"].tolist() == ["1" * 30]
    assert "column 'mmse': some numbers are too long to stay exact; kept as text" in problems


@pytest.mark.parametrize(
    "cell", [" " * 100_000 + "x", "7" * 100_000, ">" * 100_000, "7" + " " * 100_000 + "z"]
)
def test_no_cell_takes_long(tmp_path, cell):
    began = time.perf_counter()
    table, problems = read(tmp_path, f"participant_id\tage\tmmse\nsub-01\t{cell}\t{cell}\n")
    assert time.perf_counter() - began < 1
    assert table["age"].isna().all() and "are no age in years" in problems
    assert len(problems) < 1000


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("89+", 89),
        (">89", 89),
        ("71,5", 71.5),
        ("071Y", 71),
        (" 080 ", 80),
        ("65-69", None),
        ("-4", None),
        ("400", None),
        ("7.15e1", None),
        ("1951-03-02", None),
        ("NaN", None),
    ],
)
def test_ages(text, age):
    assert parse_age(text) == age


def test_a_date_of_birth_is_not_repeated_in_a_sentence(tmp_path):
    _, problems = read(tmp_path, "participant_id\tage\nsub-01\t1951-03-02\nsub-02\t2.3.1951\n")
    assert "1951" not in problems and "(a date)" in problems


def test_ids_without_their_zeros_and_in_capitals(tmp_path):
    table, problems = read(tmp_path, "participant_id\tage\n1\t70\nSUB-02\t71\n3\t72\n")
    assert table["age"].to_dict() == {"sub-01": 70, "sub-02": 71, "sub-03": 72}
    assert "sub-1 as sub-01" in problems and "zeros were cut away" in problems
    people = ["sub-1", "sub-01", "sub-002"]
    table, _ = read(tmp_path, "participant_id\tage\n1\t70\n01\t71\n2\t72\n", people=people)
    assert table["age"].to_dict() == {"sub-1": 70, "sub-01": 71, "sub-002": 72}


LONG = (
    "participant_id\tsession_id\tage\tsex\tmmse\n"
    "sub-01\tses-1\t70\tM\t30\nsub-01\tses-2\t75\tM\t28\n"
    "sub-02\t1\t60\tF\t29\nsub-02\t2\tn/a\tF\t29\nsub-03\tses-1\t66\tF\t25\n"
)


def test_a_row_a_session(tmp_path):
    (tmp_path / "participants.tsv").write_text(LONG)
    known = phenotypes.read(tmp_path, PEOPLE)
    people = known.participants.set_index("participant_id")
    assert people["sex"].tolist() == ["M", "F", "F"]
    assert people["age"].tolist() == [pd.NA, 60.0, 66.0]
    assert people["mmse"].tolist() == [pd.NA, 29, 25]
    sessions = known.sessions.set_index(["participant_id", "session_id"])
    assert sessions.loc[("sub-01", "ses-2"), "age"] == 75
    assert sessions.loc[("sub-02", "ses-1"), "age"] == 60
    assert any("has a row a session" in problem for problem in known.problems)


def test_sessions_tsv_comes_before_a_row_a_session(tmp_path):
    (tmp_path / "participants.tsv").write_text(LONG)
    path = tmp_path / "sub-01" / "sub-01_sessions.tsv"
    path.parent.mkdir()
    path.write_text("session_id\tage\nses-2\t76\n")
    sessions = phenotypes.read(tmp_path, PEOPLE).sessions.set_index(
        ["participant_id", "session_id"]
    )
    assert sessions.loc[("sub-01", "ses-2"), "age"] == 76
    assert sessions.loc[("sub-01", "ses-1"), "age"] == 70


def test_oddities_of_sessions_tsv(tmp_path):
    for name, content in (
        ("sub-01", b'session_id\tage\tgds\nses-1\t70\t"bad\nses-2\t75\t2\n'),
        ("sub-02", "session_id\tage_at_session\n1\t81\n2\t86\n".encode("utf-16")),
        ("sub-03", b"\xff\xfes\x00"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}_sessions.tsv").write_bytes(content)
    known = phenotypes.read(tmp_path, PEOPLE)
    ages = known.sessions.set_index(["participant_id", "session_id"])["age"]
    assert ages.to_dict() == {
        ("sub-01", "ses-1"): 70,
        ("sub-01", "ses-2"): 75,
        ("sub-02", "ses-1"): 81,
        ("sub-02", "ses-2"): 86,
    }
    assert any("no column session_id" in problem for problem in known.problems)


def test_an_acq_time_that_is_no_date_is_said_without_its_value(tmp_path):
    (tmp_path / "sub-01").mkdir()
    (tmp_path / "sub-01" / "sub-01_sessions.tsv").write_text(
        "session_id\tacq_time\nses-1\t12/01/2014\nses-2\t2016-01-02\n"
    )
    known = phenotypes.read(tmp_path, PEOPLE)
    (said,) = [problem for problem in known.problems if "acq_time" in problem]
    assert "sub-01" in said and "12/01/2014" not in said


# --- who is in the tables: no names, no dates ---

IDENTITY = {
    "Name": "Ann Example",
    "surname": "Example",
    "date_of_birth": "1951-03-02",
    "DOB": "1951",
    "yearOfBirth": "1951",
    "address": "1 Low Road",
    "postcode": "2031",
    "phone": "0412 345 678",
    "hospital_number": "H123",
    "MRN": "M9917",
    "patient_id": "P7781",
    "e-mail": "ann@example.org",
    "comments": "her daughter lives near",
    "acq_time": "2015-03-02T10:00:00",
    "scan_date": "1.2.15",
    "GP": "Dr Who",
    "next_of_kin": "Bob",
}
USUAL = {
    "mmse": "28",
    "MMSE_total": "28",
    "apoe4": "1",
    "education_years": "12",
    "handedness": "R",
    "hypertension": "1",
    "BMI": "24.5",
    "group": "MCI",
    "Fazekas": "2",
    "moca_z": "0.1",
}


def one_row(cells):
    return "participant_id\tage\t" + "\t".join(cells) + "\nsub-01\t70\t" + "\t".join(cells.values())


@pytest.mark.parametrize("wanted", [(), "all", tuple(IDENTITY)])
def test_what_identifies_somebody_is_not_copied(tmp_path, wanted):
    table, problems = read(tmp_path, one_row(IDENTITY | USUAL), wanted)
    assert not set(IDENTITY) & set(table.columns)
    assert set(USUAL) <= set(table.columns)
    assert f"{len(IDENTITY)} column(s) are not copied" in problems
    for value in IDENTITY.values():
        assert value not in table.to_string() and value not in problems


def test_other_columns_are_copied_on_demand(tmp_path):
    cells = {"favourite": "blue", "rank": "3"}
    assert "favourite" not in read(tmp_path, one_row(cells))[0]
    table, problems = read(tmp_path, one_row(cells), ["Favourite"])
    assert "favourite" in table and "rank" not in table and "rank" in problems
    table, problems = read(tmp_path, one_row(cells), "all")
    assert {"favourite", "rank"} <= set(table.columns) and "not copied" not in problems


@pytest.mark.parametrize(
    "cell", ["1951-03-02", "02.03.1951", "19510302", "2 March 1951", "ann@example.org", "x" * 101]
)
def test_the_content_of_a_column_tells_too(tmp_path, cell):
    table, problems = read(tmp_path, one_row({"visit": cell, "status": "stable"}), "all")
    assert "visit" not in table and "status" in table
    assert cell not in problems


@pytest.mark.parametrize(
    ("name", "tells"),
    [
        ("dateofbirth", True),
        ("Telefon", False),
        ("Geburtsdatum", True),
        ("file_no", True),
        ("n_lesions", False),
        ("scanner_site", False),
        ("PatientName", True),
        ("drugname", True),
    ],
)
def test_names_of_columns(name, tells):
    assert columns.identifies(name) == tells


def test_the_page_on_privacy_lists_the_usual_words():
    page = (Path(__file__).resolve().parents[2] / "docs" / "privacy.md").read_text()
    listed = page.partition("in their name:")[2].partition("\n\n`")[0]
    assert set(re.findall(r"[a-z0-9]+", listed)) == columns.USUAL
