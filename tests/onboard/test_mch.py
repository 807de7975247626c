"""ADNI's table of microhaemorrhages: fixture F1 of the cohorts, its twins and its faults."""

import pytest
from read_images import F1_HEADER, F1_ROWS, f1_images, f1_table, image, request

from cmburden.core.errors import CMBurdenError
from cmburden.core.files import write_json
from cmburden.onboard import mch, visits

A, B, C = "sub-ADNI002S9001_ses-M000", "sub-ADNI002S9002_ses-M000", "sub-ADNI002S9003_ses-M012"
#: What F1 holds: scan, kind and place.
F1 = [
    (f"{A}_T2starw", "microbleed", (6.9, 46.5, -20.8)),
    (f"{A}_T2starw", "microbleed", (6.9, 40.9, -11.9)),
    (f"{A}_T2starw", "faint", (6.9, 35.3, -2.9)),
    (f"{B}_echo-3_MEGRE", "none", None),
    (f"{C}_run-2_T2starw", "microbleed", (6.9, 29.7, 6.0)),
]


def said(told):
    return [(one.scan_id, one.kind, one.point) for one in told.findings]


def problems(tmp_path, *rows, **table):
    with pytest.raises(CMBurdenError) as error:
        mch.findings(f1_table(tmp_path, *rows, **table), f1_images(), request())
    return str(error.value)


@pytest.mark.parametrize("name", ["LOCXYZ", "LOCATION.XYZ", "Coordinates (mm)"])
def test_f1_under_any_name_of_the_column_of_places(tmp_path, name):
    path = f1_table(tmp_path, header=F1_HEADER.replace("LOCXYZ", name))
    told = mch.findings(path, f1_images(), request())
    assert said(told) == F1
    assert told.convention is None
    assert told.counted == {
        "Superficial Siderosis": 1,
        "joined by LONI_IMG_ID": 2,
        "joined by SERIES_UID": 1,
        "no series": 1,
        "not read": 2,
    }
    assert told.seen["TYPE"] == {"": 2, "MCH": 4, "Superficial Siderosis": 1}
    assert told.seen["STATUS"] == {"": 2, "Definite": 4, "Possible": 1}
    assert any(f"column {name}" in remark for remark in told.remarks)
    assert any("9999 20110101" in remark for remark in told.remarks)
    assert told.findings[0].where == f"{path.name}, line 2"


@pytest.mark.parametrize("separator", ["\t", ";"])
def test_f1_by_another_separator_with_a_mark(tmp_path, separator):
    text = "\n".join((F1_HEADER, *F1_ROWS)).replace(",", separator)
    (tmp_path / "MAYOADIRL_MRI_MCH.csv").write_text(text, encoding="utf-8-sig")
    assert said(mch.findings(tmp_path / "MAYOADIRL_MRI_MCH.csv", f1_images(), request())) == F1


def test_a_table_that_excel_saved_with_dates_that_may_be_either_joins_by_ids(tmp_path):
    late = "9005;A;v03;bl;01/02/2013;;;;7;1;1;1;1;1;;;;;"
    lines = [line.replace(",", ";") for line in (F1_HEADER, *F1_ROWS)]
    dates = {"20110708": "08/07/2011", "20240102": "02/01/2024", "20120710": "10/07/2012"}
    text = "\r\n".join((*lines, late))
    for old, new in dates.items():
        text = text.replace(old, new)
    path = tmp_path / "MAYOADIRL_MRI_MCH.csv"
    path.write_text(text, encoding="utf-8-sig")
    told = mch.findings(path, f1_images(), request())
    assert said(told) == F1 and told.counted["no series"] == 2
    assert any("may be of the United States or not" in remark for remark in told.remarks)
    path.write_text(
        text.replace("01/02/2013", "01/01/2013")
        + "\r\n"
        + F1_ROWS[6].replace(",", ";").replace("20110101", "31/12/2011"),
        encoding="utf-8-sig",
    )
    told = mch.findings(path, f1_images(), request())
    assert told.counted["joined by RID and SCANDATE"] == 1
    assert not any("United States" in remark for remark in told.remarks)


def test_places_with_commas_brackets_or_a_fourth_number(tmp_path):
    rows = [row.replace("6.9 46.5 -20.8 ", "(6.9, 46.5, -20.8)") for row in F1_ROWS]
    rows = [row.replace("6.9 40.9 -11.9 ", "6.9 40.9 -11.9 3") for row in rows]
    told = mch.findings(f1_table(tmp_path, *rows), f1_images(), request())
    assert said(told) == F1
    assert any("fourth number, which is not used" in remark for remark in told.remarks)


def test_a_series_of_the_old_style_joins_by_its_series_number(tmp_path):
    row = '9005,"ADNI2","v03","bl",20130101,1,114050,77,7,1,1,1,20110801,1,"","","","9.9",""'
    told = mch.findings(f1_table(tmp_path, *F1_ROWS, row), f1_images(), request())
    assert ("sub-ADNI002S9005_ses-M000_T2starw", "none", None) in said(told)
    assert told.counted["joined by LONI_SERIES"] == 1 and told.counted["not read"] == 1


@pytest.mark.parametrize("date", ["20130101", "2013-01-01", "01/01/2013", "1/1/2013"])
def test_without_ids_participant_and_day_join_with_the_only_series(tmp_path, date):
    row = f'9005,"ADNI2","v03","bl",{date},,,,,1,1,1,,1,"","","","",""'
    told = mch.findings(f1_table(tmp_path, row), f1_images(), request())
    assert said(told) == [("sub-ADNI002S9005_ses-M000_T2starw", "none", None)]
    assert told.counted["joined by RID and SCANDATE"] == 1


def test_participant_and_day_with_a_repeat_are_left_out_and_told(tmp_path):
    row = '9003,"ADNI2","v11","m12",20120710,,,,,1,1,1,,1,"","","","",""'
    told = mch.findings(f1_table(tmp_path, F1_ROWS[0], row), f1_images(), request())
    assert told.counted["several series"] == 1
    assert not any(scan_id.startswith(C) for scan_id, *_ in said(told))
    assert any("fit several series" in remark and "9003" in remark for remark in told.remarks)


def test_a_reading_of_a_repeat_that_is_not_there_is_not_given_to_the_other_series(tmp_path):
    own = '9001,"A","v03","bl",20110708,1,,900001,7,1,1,1,1,1,"","","","",""'
    repeat = '9001,"A","v03","bl",20110708,1,,900099,8,1,1,1,1,0,"MCH","Definite","1 2 3","",""'
    told = mch.findings(f1_table(tmp_path, own, repeat), f1_images(), request())
    assert said(told) == [(f"{A}_T2starw", "none", None)]
    assert told.counted["no series"] == 1


def test_two_series_with_one_image_id_are_left_out_and_told(tmp_path):
    twice = [image(run=run, image_id="900001", date="2011-07-08") for run in (1, 2)]
    told = mch.findings(f1_table(tmp_path), twice + f1_images()[4:], request())
    assert told.counted["several series"] == 1
    assert {scan_id for scan_id, *_ in said(told)} == {f"{C}_run-2_T2starw"}


def test_the_echo_is_that_of_the_index(tmp_path):
    images = f1_images(tmp_path)
    for one, seconds in zip(images[1:4], (0.0067, 0.0134, 0.0601), strict=True):
        one.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(one.path.with_name(f"{one.scan_id}.json"), {"EchoTime": seconds})
    told = mch.findings(f1_table(tmp_path, F1_ROWS[4]), images, request())
    assert said(told) == [(f"{B}_echo-2_MEGRE", "none", None)]


def test_phase_images_and_t1w_of_the_day_are_no_scans(tmp_path):
    row = '9005,"ADNI2","v03","bl",20130101,,,,,1,1,1,,1,"","","","",""'
    others = [
        image("002_S_9005", date="2013-01-01", suffix="T1w"),
        image("002_S_9005", date="2013-01-01", part="phase"),
    ]
    told = mch.findings(f1_table(tmp_path, row), f1_images() + others, request())
    assert len(told.findings) == 1


def test_unknown_levels_stop_with_what_was_seen(tmp_path):
    text = problems(tmp_path, *F1_ROWS[:2], F1_ROWS[2].replace("Possible", "Probable"))
    assert "STATUS holds Probable" in text and "Definite (2), Probable (1)" in text
    text = problems(tmp_path, F1_ROWS[0].replace('"MCH"', '"Tumour"').replace(",0,", ",2,"))
    first, second = text.splitlines()
    assert "TYPE holds Tumour" in first and "NOFINDINGS holds 2" in second


def test_all_faults_of_rows_are_told_at_once(tmp_path):
    clean = F1_ROWS[0].replace('0,"MCH","Definite","6.9 46.5 -20.8 "', '1,"","",""')
    empty = F1_ROWS[5].replace("6.9 29.7 6.0 ", "")
    text = problems(tmp_path, *F1_ROWS[:5], clean, empty)
    assert len(text.splitlines()) == 2
    assert "line 7: NOFINDINGS is 1, but line(s) 2, 3, 4 name microbleeds" in text
    assert "line 8: a microbleed without a place (LOCXYZ is empty)" in text


def test_a_wrong_place_and_a_wrong_participant_are_sentences(tmp_path):
    rows = [*F1_ROWS[:2], F1_ROWS[2].replace("6.9 35.3 -2.9 ", "left"), F1_ROWS[5]]
    assert "LOCXYZ is 'left'" in problems(tmp_path, *rows)
    rows = [*F1_ROWS[:2], F1_ROWS[2].replace("6.9 35.3 -2.9 ", "1e999 35.3 -2.9"), F1_ROWS[5]]
    assert "LOCXYZ is '1e999 35.3 -2.9'" in problems(tmp_path, *rows)
    text = problems(tmp_path, F1_ROWS[0], F1_ROWS[5].replace("9003", "9004"))
    assert "whose participant is 9003, but RID is 9004" in text


def test_a_table_of_another_release_stops_with_its_columns(tmp_path):
    text = problems(tmp_path, header=F1_HEADER.replace('"TYPE"', '"FINDING"'))
    assert "TYPE are missing" in text and "FINDING, STATUS" in text
    rows = [row.replace("46.5", "x").replace("40.9", "x").replace("35.3", "x") for row in F1_ROWS]
    text = problems(tmp_path, *[row.replace("50.0", "x").replace("29.7", "x") for row in rows])
    assert "no column holds places" in text and "LOCXYZ" in text
    rows = [row + ",1 2 3" for row in F1_ROWS]
    assert "2 columns hold places" in problems(tmp_path, *rows, header=F1_HEADER + ",MNI")


def test_a_table_of_other_people_stops(tmp_path):
    assert "none of its rows fits" in problems(tmp_path, F1_ROWS[6])


def test_siderosis_alone_is_a_scan_that_was_read(tmp_path):
    told = mch.findings(f1_table(tmp_path, F1_ROWS[3]), f1_images(), request())
    assert said(told) == [(f"{A}_T2starw", "none", None)]
    assert told.counted["Superficial Siderosis"] == 1


def test_a_row_without_finding_and_without_verdict_is_no_reading(tmp_path):
    rows = [F1_ROWS[0], F1_ROWS[4].replace(',1,"",""', ',0,"",""')]
    told = mch.findings(f1_table(tmp_path, *rows), f1_images(), request())
    assert {scan_id for scan_id, *_ in said(told)} == {f"{A}_T2starw"}
    assert told.counted["rows without a reading"] == 1


def test_the_newest_release_is_read_and_the_dictionary_is_quoted(tmp_path):
    f1_table(tmp_path, F1_ROWS[4], name="MAYOADIRL_MRI_MCH_08_15_19.csv")
    f1_table(tmp_path)
    (tmp_path / "DATADIC_01Jan2026.csv").write_text(
        "TBLNAME,FLDNAME,TYPE,TEXT,CODE,UNITS\n"
        'MAYOADIRL_MRI_MCH,LOCXYZ,T,"Location, RAS",,mm\nOTHER,LOCXYZ,T,no,,\n'
    )
    told = mch.findings(tmp_path, f1_images(), request())
    assert said(told) == F1
    assert 'DATADIC_01Jan2026.csv says of LOCXYZ: "Location, RAS mm".' in told.remarks
    assert any("not read: MAYOADIRL_MRI_MCH_08_15_19.csv" in one for one in told.remarks)


def test_sessions_are_months_since_baseline_by_any_id(tmp_path):
    sessions = mch.sessions(f1_table(tmp_path))
    by_image = [visits.session_of(one.source, sessions) for one in f1_images()]
    assert by_image == ["M000", "M000", "M000", "M000", "M012", "M012", None]


def test_the_overview_holds_no_row_and_stops_at_nothing(tmp_path):
    lines = mch.overview(f1_table(tmp_path, F1_ROWS[0], F1_ROWS[2].replace("Possible", "Odd")))
    text = "\n".join(lines)
    assert "STATUS: Definite (1), Odd (1)" in text and "column of places: LOCXYZ" in text
    assert "46.5" not in text and "9001" not in text and "900001" not in text
