"""Audit B3, B6: odd participants.tsv files. Each value is right, or a sentence names it."""

import json

import pandas as pd
import pytest

from cmburden.cohort import phenotypes

PEOPLE = ["sub-00001", "sub-00002", "sub-00003", "sub-00004"]
JSON = "participants.json"


def tsv(*rows, mark="\t"):
    return "\n".join(mark.join(row.split("|")) for row in rows) + "\n"


def four(column, *cells, age=(70, 71, 72, 73)):
    """A file of four people with their age and one more column."""
    rows = [f"{p}|{a}|{cell}" for p, a, cell in zip(PEOPLE, age, cells, strict=True)]
    return tsv(f"participant_id|age|{column}", *rows)


def ages(*cells, column="age"):
    return tsv(f"participant_id|{column}", *map("|".join, zip(PEOPLE, cells, strict=True)))


def declared(column, **entry):
    return {JSON: json.dumps({column: entry})}


SEX = {"1": "Male", "2": {"Description": "female"}, "9": "not recorded"}
N = None
#: name -> (participants.tsv, other files, column -> values of the four people, words of sentences)
CASES = {
    # --- codes of sex ---
    "sex 1 and 2 without Levels": (
        four("sex", "1", "2", "2", "1"),
        {},
        {"sex": [N, N, N, N]},
        ["participants.tsv: code(s) 1, 2 of column 'sex'", "Levels"],
    ),
    "sex 1 and 2 with Levels": (
        four("sex", "1", "2", "2.0", "9"),
        declared("sex", Levels=SEX),
        {"sex": ["M", "F", "F", N]},
        [],
    ),
    "sex 0 and 1, the column's name in other letters": (
        four("Gender", "0", "1", "1", "0"),
        declared("gender", Levels={"0": "woman", "1": "man"}),
        {"sex": ["F", "M", "M", "F"]},
        ["column 'Gender' is taken as sex"],
    ),
    "sex W, U, -9 beside M": (
        four("sex", "W", "U", "-9", "m"),
        {},
        {"sex": [N, N, N, "M"]},
        ["code(s) -9, U, W of column 'sex'", "3 row(s)"],
    ),
    "sex by a level that is neither": (
        four("sex", "1", "2", "3", "3"),
        declared("sex", Levels={"1": "male", "2": "female", "3": "XXY"}),
        {"sex": ["M", "F", "XXY", "XXY"]},
        ["XXY, by Levels of column 'sex', is neither male nor female"],
    ),
    "sex other, as BIDS has it": (
        four("sex", "O", "other", "Female", "MALE"),
        {},
        {"sex": ["O", "O", "F", "M"]},
        [],
    ),
    # --- ages ---
    "age 7 among people of 70": (
        ages("70", "7", "72", "73"),
        {},
        {"age": [70, N, 72, 73]},
        ["participants.tsv: 1 age(s) are below 18 years (7)", "taken as n/a"],
    ),
    "age 7 that the dictionary allows": (
        ages("70", "7", "72", "73"),
        declared("age", Minimum=5, Maximum=90),
        {"age": [70, 7, 72, 73]},
        [],
    ),
    "a study of young people": (
        ages("12", "16", "21", "24"),
        {},
        {"age": [12, 16, 21, 24]},
        ["2 age(s) are below 18 years (12, 16); they are taken as they are"],
    ),
    "age 700, 118 and 99": (
        ages("700", "118", "99", "73"),
        {},
        {"age": [N, N, 99, 73]},
        ["age(s) 118, 700 of column 'age' are no age in years"],
    ),
    "AGE before age": (
        tsv("participant_id|AGE|age", *[f"{p}|55|{70 + n}" for n, p in enumerate(PEOPLE)]),
        {},
        {"age": [70, 71, 72, 73]},
        ["column(s) AGE could be age too; 'age' is used"],
    ),
    "age in months by name": (
        ages("840", "846", "852", "n/a", column="age_months"),
        {},
        {"age": [70, 70.5, 71, N]},
        ["column 'age_months' is in months; converted to years"],
    ),
    "age in months by Units": (
        ages("840", "846", "852", "858"),
        declared("age", Units="months"),
        {"age": [70, 70.5, 71, 71.5]},
        ["column 'age' is in months"],
    ),
    "age in months in the cell, as DICOM writes it": (
        ages("840M", "070Y", "852 months", "71 yrs"),
        {},
        {"age": [70, 70, 71, 71]},
        ["age(s) 840M, 852 months of column 'age' are in months"],
    ),
    "age in months that nobody declares": (
        ages("840", "846", "852", "858"),
        {},
        {"age": [N, N, N, N]},
        ["age(s) 840, 846, 852, 858", '"Units": "months"'],
    ),
    "age_at_session": (
        ages("70,5", "71,0", "89+", "-9", column="age_at_session"),
        {},
        {"age": [70.5, 71, 89, N]},
        ["'age_at_session' is taken as age", "age(s) -9", "89+ are read as the number"],
    ),
    "a year of birth as age": (
        ages("1951", "71", "72", "73"),
        {},
        {"age": [N, 71, 72, 73]},
        ["age(s) (a year)"],
    ),
    "names of columns in other words": (
        tsv(
            "Participant ID|Age (years)|SEX|siteId",
            *[f"{p}|7{n}|f|A" for n, p in enumerate(PEOPLE)],
        ),
        {},
        {"age": [70, 71, 72, 73], "sex": ["F"] * 4, "site": ["A"] * 4},
        [
            "'Participant ID' is taken as participant_id",
            "'Age (years)' is taken as age",
            "'siteId'",
        ],
    ),
    # --- the file ---
    "semicolons and decimal commas": (
        tsv(
            "participant_id|age|sex|mmse_z",
            *[f"{p}|7{n},5|F|-0,{n}" for n, p in enumerate(PEOPLE)],
            mark=";",
        ),
        {},
        {"age": [70.5, 71.5, 72.5, 73.5], "sex": ["F"] * 4, "mmse_z": [0.0, -0.1, -0.2, -0.3]},
        ["separated by semicolons", "column 'mmse_z': 4 number(s) have a comma"],
    ),
    "a comma of decimals or of thousands": (
        four("ptau", "1,500", "2,250", "3", "4"),
        {},
        {"ptau": ["1,500", "2,250", "3", "4"]},
        ["column 'ptau': 1,500, 2,250: the comma may be that of decimals or of thousands"],
    ),
    "UTF-16 with semicolons and CRLF": (
        tsv("participant_id|age|site", *[f"{p}|70|Köln" for p in PEOPLE], mark=";")
        .replace("\n", "\r\n")
        .encode("utf-16"),
        {},
        {"age": [70] * 4, "site": ["Köln"] * 4},
        ["UTF-16: read as such", "semicolons"],
    ),
    "Latin-1": (
        four("site", *["Köln"] * 4).encode("latin-1"),
        {},
        {"site": ["Köln"] * 4},
        ["not UTF-8: read as Windows-1252"],
    ),
    "a byte order mark and CRLF": (
        ("\ufeff" + four("site", *"ABCD")).replace("\n", "\r\n"),
        {},
        {"age": [70, 71, 72, 73], "site": list("ABCD")},
        [],
    ),
    "an unpaired quote": (
        four("diagnosis", '"AD', "CN", "CN", "CN"),
        {},
        {"age": [70, 71, 72, 73], "diagnosis": ['"AD', "CN", "CN", "CN"]},
        [],
    ),
    "ids in capitals, as numbers, with .0": (
        tsv("participant_id|age", "SUB-00001|70", "2|71", "3.0|72", "sub_4|73"),
        {},
        {"age": [70, 71, 72, 73]},
        ["sub-2 as sub-00002", "sub-3.0 as sub-00003", "sub-sub_4 as sub-00004"],
    ),
    # --- levels ---
    "sites with ' & ' and called missing": (
        four("site", "A & B", "missing", "n/a", "A & sex=F"),
        {},
        {"site": ["A & B", "missing", N, "A & sex=F"]},
        [],
    ),
    "site coded -9": (
        four("site", "1", "2", "-9", "2"),
        {},
        {"site": ["1", "2", N, "2"]},
        ["column 'site': 1 value(s) -9 are taken as n/a"],
    ),
    "diagnosis in several spellings": (
        four("diagnosis", "AD", "ad", "Ad", "AD"),
        {},
        {"diagnosis": ["AD"] * 4},
        ["column 'diagnosis': Ad, ad as AD: spellings of one level"],
    ),
    "site composed and decomposed, with two blanks": (
        four("site", "Köln A", "Ko\u0308ln A", "Köln  A", "Köln A"),
        {},
        {"site": ["Köln A"] * 4},
        ["spellings of one level"],
    ),
    "synonyms are not guessed": (
        four("diagnosis", "AD", "Alzheimer", "CN", "control"),
        {},
        {"diagnosis": ["AD", "Alzheimer", "CN", "control"]},
        [],
    ),
    "diagnosis by Levels": (
        four("dx", "1", "2", "3", "1"),
        declared("dx", Levels={"1": "CN", "2": "MCI", "3": "AD"}),
        {"diagnosis": ["CN", "MCI", "AD", "CN"]},
        ["column 'dx' is taken as diagnosis"],
    ),
    # --- covariates ---
    "education with -9": (
        four("education", "12", "-9", "16", "-9"),
        {},
        {"education": [12, N, 16, N]},
        ["column 'education': 2 value(s) -9 are taken as n/a"],
    ),
    "scores with -99, -999, 999 and 99": (
        four("mmse", "28", "-999", "99", "-99"),
        {},
        {"mmse": [28, N, N, N]},
        ["column 'mmse': 3 value(s) -999, -99, 99"],
    ),
    "a declared code": (
        four("moca", "28", "-4", "-1", "25"),
        declared("moca", Levels={"-4": "not done", "-1": "Missing: refused"}),
        {"moca": [28, N, N, 25]},
        [],
    ),
    "an undeclared -4": (
        four("moca", "28", "-4", "27", "25"),
        {},
        {"moca": [28, -4, 27, 25]},
        ["column 'moca': -4 may be a code of missing values; kept as a number"],
    ),
    "-9 that is a value": (
        four("memory_change", "-12", "-9", "5", "0"),
        {},
        {"memory_change": [-12, -9, 5, 0]},
        ["-9 may be a code of missing values; kept"],
    ),
    "999 that the dictionary allows": (
        four("ldl", "100", "999", "90", "80"),
        declared("ldl", Minimum=0, Maximum=2000),
        {"ldl": [100, 999, 90, 80]},
        [],
    ),
    "words among numbers": (
        four("mmse", "28", "missing", "27", "Not done"),
        {},
        {"mmse": [28, N, 27, N]},
        ["column 'mmse': 2 cell(s) Not done, missing among numbers are taken as n/a"],
    ),
    "text among numbers": (
        four("ptau", "28", "<8", "27", "25"),
        {},
        {"ptau": ["28", "<8", "27", "25"]},
        ["column 'ptau': 1 cell(s) are no numbers (<8)", "kept as text"],
    ),
    "a scanner as a number": (
        four("scanner", "1", "2", "3", "3"),
        {},
        {"scanner": ["1", "2", "3", "3"]},
        ["column 'scanner': its whole numbers name something; taken as levels"],
    ),
    "a nominal covariate with Levels": (
        four("arm", "1", "2", "1", "7"),
        declared("arm", Levels={"1": "placebo", "2": "drug"}),
        {"arm": ["placebo", "drug", "placebo", "7"]},
        ["column 'arm': Levels do not name 7"],
    ),
    "Levels that are numbers": (
        four("cdr", "0", "0.5", "1", "0.5"),
        declared("cdr", Levels={"0": "0", "0.5": "0.5", "1": "1"}),
        {"cdr": [0, 0.5, 1, 0.5]},
        [],
    ),
    "a dictionary that is torn": (
        four("sex", "1", "F", "F", "F"),
        {JSON: '{"sex": {"Levels"'},
        {"sex": [N, "F", "F", "F"]},
        ["participants.json cannot be read (it is not JSON", "code(s) 1"],
    ),
    # --- sessions ---
    "one row a session": (
        tsv(
            "participant_id|session_id|age|sex",
            "sub-00001|ses-1|70|1",
            "sub-00001|ses-2|75|M",
            "sub-00002|1|60|F",
            "sub-00003|1|72|F",
            "sub-00004|1|73|F",
        ),
        {},
        {"age": [N, 60, 72, 73], "sex": ["M", "F", "F", "F"]},
        ["has a row a session", "code(s) 1 of column 'sex'"],
    ),
    "a session in each row": (
        tsv(
            "participant_id|session_id|age", *[f"{p}|ses-2|{70 + n}" for n, p in enumerate(PEOPLE)]
        ),
        {},
        {"age": [70, 71, 72, 73]},
        ["has a row a session"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_odd_participants_tsv(tmp_path, name):
    content, files, expected, said = CASES[name]
    table, problems = read(tmp_path, content, files)
    for column, values in expected.items():
        known = [None if pd.isna(value) else value for value in table[column]]
        assert known == values, problems
    for words in said:
        assert any(words in problem for problem in problems), problems
    if not said:
        assert not problems


def read(folder, content, files=()):
    raw = content if isinstance(content, bytes) else content.encode()
    (folder / "participants.tsv").write_bytes(raw)
    for path, text in dict(files).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    known = phenotypes.read(folder, PEOPLE)
    table = known.participants.set_index("participant_id").reindex(PEOPLE)
    return table, known.problems


def test_a_session_in_each_row_is_of_that_session(tmp_path):
    content, *_ = CASES["a session in each row"]
    (tmp_path / "participants.tsv").write_text(content)
    sessions = phenotypes.read(tmp_path, PEOPLE).sessions
    assert sessions["session_id"].tolist() == ["ses-2"] * 4
    assert sessions["age"].tolist() == [70, 71, 72, 73]


def test_sessions_tsv_has_a_dictionary_and_implausible_ages_too(tmp_path):
    read(tmp_path, ages("70", "71", "72", "73"))
    (tmp_path / "sessions.json").write_text(
        json.dumps({"age": {"Units": "months"}, "sex": {"Levels": {"1": "male"}}})
    )
    for person, age in zip(PEOPLE, ("840", "84", "864", "876"), strict=True):
        (tmp_path / person).mkdir()
        (tmp_path / person / f"{person}_sessions.tsv").write_text(
            f"session_id\tage\tsex\nses-1\t{age}\t1\n"
        )
    known = phenotypes.read(tmp_path, PEOPLE)
    assert known.sessions["age"].tolist() == [70, pd.NA, 72, 73]
    assert known.sessions["sex"].tolist() == ["M"] * 4
    assert any("*_sessions.tsv: 1 age(s) are below 18 years (7)" in p for p in known.problems)


def test_the_sessions_and_the_participants_spell_alike(tmp_path):
    (tmp_path / "sub-00001").mkdir()
    (tmp_path / "sub-00001" / "sub-00001_sessions.tsv").write_text(
        "session_id\tdiagnosis\nses-1\tad\n"
    )
    read(tmp_path, four("diagnosis", "AD", "AD", "CN", "CN"))
    known = phenotypes.read(tmp_path, PEOPLE)
    assert known.sessions["diagnosis"].tolist() == ["AD"]
