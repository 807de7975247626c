"""A user's own table of lesions, as TSV, CSV and XLSX."""

import openpyxl
import pytest
from read_images import image, request

from cmburden.core.errors import CMBurdenError
from cmburden.onboard import own_table

IMAGES = [
    image("1", "ses-1", uid="1.2.3", image_id="77", date="2011-07-08"),
    image("1", "ses-2", date="2013-07-08"),
    image("2", None),
    image("3", "ses-1", suffix="swi"),
    image("3", "ses-1"),
]
A, A2, B, C = "sub-1_ses-1_T2starw", "sub-1_ses-2_T2starw", "sub-2_T2starw", "sub-3_ses-1_swi"


def table(tmp_path, text, name="own.tsv"):
    (tmp_path / name).write_text(text.replace("|", "\t"), encoding="utf-8")
    return tmp_path / name


def told(path):
    return own_table.findings(path, IMAGES, request())


def said(path):
    return [(one.scan_id, one.kind, one.point, one.radius_mm) for one in told(path).findings]


def problems(tmp_path, text):
    with pytest.raises(CMBurdenError) as error:
        told(table(tmp_path, text))
    return str(error.value)


def test_rows_of_every_kind(tmp_path):
    text = (
        "scan_id|x_mm|y_mm|z_mm|Kind|radius_mm|reader\n"
        f"{A}|1|-2|3.5|Definite|2|ann\n{A}.nii.gz|4|5|6|possible||ann\n"
        f"{B}|n/a|n/a|n/a|||ann\n{C}|7|8|9|vessel||\n"
    )
    assert said(table(tmp_path, text)) == [
        (A, "microbleed", (1, -2, 3.5), 2),
        (A, "faint", (4, 5, 6), None),
        (B, "none", None, None),
        (C, "vessel", (7, 8, 9), None),
    ]
    result = told(tmp_path / "own.tsv")
    assert result.counted == {"not read": 2, "readers": 1}  # the magnitude beside C is one
    assert result.seen == {"Kind": {"": 1, "Definite": 1, "possible": 1, "vessel": 1}}
    assert [one.reader for one in result.findings] == ["ann", "ann", "ann", None]


@pytest.mark.parametrize(
    ("header", "ids", "scan"),
    [
        ("participant_id|session_id", "sub-1|ses-2", A2),
        ("Subject|visit", "1|1", A),
        ("participant_id|session_id", "1|2013-07-08", A2),
        ("participant_id", "2", B),
        ("participant_id", "3", C),  # readers read the susceptibility-weighted image
        ("SeriesInstanceUID", "1.2.3", A),
        ("image_id", "I77", A),
    ],
)
def test_a_row_names_its_scan_in_many_ways(tmp_path, header, ids, scan):
    path = table(tmp_path, f"{header}|x|y|z|diameter_mm\n{ids}|1|2|3|5\n")
    assert said(path) == [(scan, "microbleed", (1, 2, 3), 2.5)]


def test_excel_and_semicolons_with_decimal_commas(tmp_path):
    path = table(tmp_path, f"\ufeffscan_id;x_mm;y_mm;z_mm\n{B};1,5;-2;3,25\n", "own.csv")
    assert said(path) == [(B, "microbleed", (1.5, -2, 3.25), None)]
    book = openpyxl.Workbook()
    for row in (["participant_id", "x", "y", "z"], [2, 1.5, -2, 3.25], [None, " ", None, None]):
        book.active.append(row)
    book.save(tmp_path / "own.xlsx")
    assert said(tmp_path / "own.xlsx") == said(path)


def test_a_scan_that_is_not_there_is_told_and_the_rest_goes_on(tmp_path):
    path = table(tmp_path, "participant_id|x|y|z\n2|1|2|3\n99|1|2|3\n99|4|5|6\n")
    result = told(path)
    assert [one.scan_id for one in result.findings] == [B]
    assert result.counted["no series"] == 1
    assert result.remarks == ("The table names 1 scan(s) that are not there: 99.",)


def test_all_faults_are_told_at_once(tmp_path):
    text = problems(
        tmp_path,
        "scan_id|participant_id|x|y|z|kind|radius_mm\n"
        "|1|1|2|3||\n"  # two sessions
        f"{A}||1||3||\n"
        f"{A}||1|2|3|none|\n"
        f"{A}|||||definite|\n"
        f"{A}||1|2|3||-1\n"
        f"{B}||1|2|3||\n{B}||||||\n",
    )
    lines = text.splitlines()
    assert len(lines) == 6
    assert "line 2: 1 fits several scans" in lines[0] and A2 in lines[0]
    assert "line 3: the place is x '1', y '', z '3'" in lines[1]
    assert "line 4: none has a place" in lines[2]
    assert "line 5: a definite without a place" in lines[3]
    assert "line 6: radius_mm is '-1'" in lines[4]
    assert f"line 8: nothing was found in {B}, but other lines name lesions" in lines[5]


def test_one_reader_may_find_nothing_where_another_does(tmp_path):
    text = f"scan_id|x|y|z|reader\n{B}|1|2|3|ann\n{B}||||bob\n"
    assert [one.kind for one in told(table(tmp_path, text)).findings] == ["microbleed", "none"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scan_id|x|y|z|kind\nA|1|2|3|odd\n", "kind holds odd, which is not known"),
        ("name|x|y|z\nA|1|2|3\n", "column(s) scan_id or scan or"),
        ("scan_id|x|y\nA|1|2\n", "z_mm or z are missing"),
        ("scan_id|x_mm|y|z\nA|1|2|3\n", "names of different forms"),
        ("scan_id|x|y|z\nA|1|2|3\nB|1|2|3\n", "none of its 2 rows fits a scan"),
    ],
)
def test_a_table_that_fits_nothing_stops_in_one_sentence(tmp_path, text, words):
    assert words in problems(tmp_path, text)
