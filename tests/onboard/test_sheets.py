"""Tables of others: separators, encodings, dates, Excel, and faults in a sentence."""

import datetime

import openpyxl
import pytest

from cmburden.core.errors import CMBurdenError
from cmburden.onboard.days import Dates, newest
from cmburden.onboard.sheets import read

DAY = datetime.date(2011, 7, 8)


def written(tmp_path, content, name="table.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_reads_the_same_by_any_separator_encoding_and_line_end(
    tmp_path, separator, encoding, end
):
    lines = [["RID", "NIFTI File Name ", "Größe"], ["685", ' a"b', "6.9 1 2 "], ["", "", ""]]
    text = end.join(separator.join(cells) for cells in lines) + end
    sheet = read(written(tmp_path, text.encode(encoding)))
    assert sheet.header == ("RID", "NIFTI File Name", "Größe")
    assert [row.line for row in sheet.rows] == [2]
    row = sheet.rows[0]
    assert row.text("nifti_file_name") == 'a"b' and row.text("grösse", "GRÖSSE") == "6.9 1 2"


def test_quoted_cells_keep_separators_and_line_ends_and_lines_are_those_of_the_file(tmp_path):
    sheet = read(written(tmp_path, 'sep=;\nA;B\n"x;\ny";1\n\nz;2\n'))
    assert sheet.separator == ";"
    assert [(row.line, row.text("A")) for row in sheet.rows] == [(3, "x;\ny"), (6, "z")]


def test_missing_codes_are_no_values_and_minus_four_may_be_a_coordinate(tmp_path):
    sheet = read(written(tmp_path, "A,B,C,D\n-4,-1.0,n/a,12.0\n"))
    row = sheet.rows[0]
    assert [row.coded(name) for name in "ABCD"] == ["", "", "", "12"]
    assert row.text("A") == "-4" and row.text("C") == "" and row.number("D") == 12


def test_excel_reads_as_the_same_table_in_csv(tmp_path):
    book = openpyxl.Workbook()
    book.create_sheet("empty", 0)
    sheet = book.worksheets[1]
    sheet.append(["RID", "SCANDATE", "PLACE", None])
    sheet.append([685.0, datetime.datetime(2011, 7, 8), "6.9 46.5 -20.8 ", " "])
    book.save(tmp_path / "table.xlsx")
    table = read(tmp_path / "table.xlsx")
    row = table.rows[0]
    assert table.header == ("RID", "SCANDATE", "PLACE", "")
    assert (row.line, row.text("RID"), row.text("SCANDATE")) == (2, "685", "2011-07-08")
    assert row.text("PLACE") == "6.9 46.5 -20.8"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no rows"),
        (b"PK\x03\x04torn", "cannot be read as a table of Excel"),
        (b"\xd0\xcf\x11\xe0old", "save it as .xlsx"),
        (b"A,B\n1,\x00\n", "binary"),
        (b"A,a \n1,2\n", "A, a stand twice"),
        (b"A,B\n1,2\n1,2,3\n", "line(s) 3 have more cells"),
    ],
)
def test_what_is_no_table_is_one_sentence_with_the_file(tmp_path, content, words):
    path = written(tmp_path, content)
    with pytest.raises(CMBurdenError) as error:
        read(path)
    assert words in str(error.value) and str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_folder_are_sentences(tmp_path):
    for path in (tmp_path, tmp_path / "no.csv"):
        with pytest.raises(CMBurdenError, match="cannot be read"):
            read(path)


def test_a_missing_column_lists_what_was_seen(tmp_path):
    sheet = read(written(tmp_path, "RID,Typ\n1,MCH\n"))
    with pytest.raises(CMBurdenError, match=r"TYPE or KIND.*missing.*RID, Typ"):
        sheet.need(("RID",), ("TYPE", "KIND"))


def dates(tmp_path, *values, separator=","):
    lines = [f"A{separator}D", *(f"1{separator}{value}" for value in values)]
    sheet = read(written(tmp_path, "\n".join(lines)))
    column = Dates(sheet, "D")
    return column.problem, [column.of(value) for value in values]


@pytest.mark.parametrize(
    "text", ["20110708", "20110708.0", "2011-07-08", "2011-07-08 00:00:00.0", "8.7.2011"]
)
def test_dates_of_plain_forms(tmp_path, text):
    assert dates(tmp_path, text) == (None, [DAY])


def test_slashes_are_of_the_united_states_unless_the_column_shows_a_day_first(tmp_path):
    assert dates(tmp_path, "07/08/2011") == (None, [DAY])
    assert dates(tmp_path, "08/07/2011", "31/12/2011")[1][0] == DAY
    assert dates(tmp_path, "07/08/2011", "12/31/2011")[1][0] == DAY
    assert dates(tmp_path, "08/07/2011", "31/12/2011", separator=";")[1][0] == DAY


def test_dates_from_excel_that_may_be_either_are_a_sentence(tmp_path):
    problem, days = dates(tmp_path, "08/07/2011", "2011-07-08", "07/07/2011", separator=";")
    assert "may be of the United States or not" in problem
    assert days == [None, DAY, datetime.date(2011, 7, 7)]
    problem, days = dates(tmp_path, "31/12/2011", "12/31/2011")
    assert "some dates have the day first" in problem and days == [None, None]


def test_the_newest_table_is_that_of_the_latest_day_in_a_name(tmp_path):
    names = ["T_09_15_16.csv", "T_11_01_22_31May2023.csv", "T_30Aug2024.csv", "T.csv"]
    files = [written(tmp_path, name, name) for name in names]
    assert newest(files).name == "T_30Aug2024.csv"
    other = written(tmp_path, "other", "T2_30Aug2024.csv")
    with pytest.raises(CMBurdenError, match="which of these tables is the newest"):
        newest([*files, other])
    other.write_text("T_30Aug2024.csv")
    assert newest([*files, other]).name == "T2_30Aug2024.csv"
