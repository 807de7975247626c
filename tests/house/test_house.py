"""The rules of the house find offenders: a rule that passes everything would not be noticed."""

import subprocess
import sys
from pathlib import Path

import house
import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCSTRING = '"""What this module is for."""\n'
PACKAGE = Path(house.PACKAGE)


@pytest.fixture
def checkout(tmp_path):
    """A checkout in order: all rooms, each with a sentence and an empty stage."""
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    (tmp_path / "tools").mkdir()
    for room in house.rooms_with_a_floor(ROOT):
        write(tmp_path / PACKAGE / room / "__init__.py", DOCSTRING)
        write(tmp_path / PACKAGE / room / "stage.py", DOCSTRING)
    write(tmp_path / PACKAGE / "__init__.py", DOCSTRING)
    write(tmp_path / PACKAGE / "py.typed", "")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def function(lines: int) -> str:
    """A function of so many lines, ``def`` included, below a docstring of one line."""
    return DOCSTRING + "def count():\n" + "    print()\n" * (lines - 1)


def branches(complexity: int) -> str:
    """A function of this cyclomatic complexity: one, and one more for each ``if``."""
    return DOCSTRING + "def count(n):\n" + "    if n: print()\n" * (complexity - 1)


def test_a_house_in_order_has_no_faults(checkout, capsys):
    assert house.faults(checkout) == []
    assert house.main([str(checkout)]) == 0


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("core/long.py", function(61), "core/long.py:2: function count has 61 lines, at most 60"),
        (
            "core/branched.py",
            branches(16),
            "core/branched.py:2: function count has complexity 16, at most 15",
        ),
        (
            "core/method.py",
            DOCSTRING + "class Counter:\n    def count(self):\n" + "        print()\n" * 60,
            "core/method.py:3: function count has 61 lines, at most 60",
        ),
        (
            "core/pages.py",
            DOCSTRING + "A = 1\n" * 450,
            "core/pages.py:1: module has 451 lines, at most 450",
        ),
        *(
            (
                "core/locale.py",
                f"{DOCSTRING}{call}\n",
                'core/locale.py:2: text without encoding: give encoding="utf-8"',
            )
            for call in (
                "p.read_text()",
                "p.write_text(t)",
                "open(p)",
                "open(p, 'w')",
                "p.open('a')",
            )
        ),
        ("core/silent.py", "A = 1\n", "core/silent.py:1: module has no docstring"),
        ("core/__init__.py", "", "core/__init__.py:1: module has no docstring"),
        (
            "core/__init__.py",
            DOCSTRING + "from cmburden.core import stage\n",
            "core/__init__.py:2: a room's __init__.py holds no code",
        ),
        ("flat.py", DOCSTRING, "flat.py:1: the file lies beside the rooms, not in one"),
        ("utils/__init__.py", DOCSTRING, "utils:1: the room has no floor in pyproject.toml"),
    ],
)
def test_each_offender_is_found_alone(checkout, capsys, file, text, fault):
    write(checkout / PACKAGE / file, text)
    assert house.faults(checkout) == [f"{PACKAGE}/{fault}"]
    assert house.main([str(checkout)]) == 1
    assert capsys.readouterr().out == f"{PACKAGE}/{fault}\n"


def test_text_with_an_encoding_and_bytes_are_allowed(checkout):
    calls = "p.read_text(encoding='utf-8')\np.open('rb')\nopen(p, mode='wb')\nos.open(p, 0)\n"
    write(checkout / PACKAGE / "core/locale.py", DOCSTRING + calls)
    assert house.faults(checkout) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("core/long.py", function(60)),
        ("core/branched.py", branches(15)),
        ("core/pages.py", DOCSTRING + "A = 1\n" * 449),
        ("core/tables.py", DOCSTRING + "A = 1\n" * 700),
    ],
)
def test_the_limits_themselves_are_allowed(checkout, file, text):
    write(checkout / PACKAGE / file, text)
    assert house.faults(checkout) == []


def test_a_room_that_is_missing_or_has_no_face_is_found(checkout):
    face = checkout / PACKAGE / "studies" / "__init__.py"
    face.unlink()
    assert house.faults(checkout) == [f"{PACKAGE}/studies:1: the room has no __init__.py"]
    (face.parent / "stage.py").unlink()
    face.parent.rmdir()
    fault = f"pyproject.toml:1: room studies has a floor, but no folder in {PACKAGE}"
    assert house.faults(checkout) == [fault]


def test_formatter_skips_are_counted_in_the_whole_repository(checkout):
    line = f"A = 1  {house.SKIP}\n"
    write(checkout / "tests" / "test_a.py", line * 15)
    write(checkout / PACKAGE / "core" / "a.py", DOCSTRING + line * 5)
    assert house.faults(checkout) == []
    write(checkout / PACKAGE / "core" / "b.py", DOCSTRING + line)
    faults = house.faults(checkout)
    assert len(faults) == 21
    assert f"{PACKAGE}/core/b.py:2: the formatter is switched off (21 in all, at most 20)" in faults


def lint_imports(checkout: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=checkout,
        env={"PYTHONPATH": str(checkout / "src")},
        capture_output=True,
        text=True,
    )


def test_rooms_in_order_keep_the_import_contract(checkout):
    write(
        checkout / PACKAGE / "detect" / "stage.py",
        DOCSTRING + "from cmburden.core import stage\nfrom cmburden.models import stage\n",
    )
    result = lint_imports(checkout)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "rooms are floors KEPT" in result.stdout


@pytest.mark.parametrize(
    ("room", "text", "line"),
    [
        ("verify", "import cmburden.detect.stage\n", "cmburden.detect"),
        ("core", "import cmburden.images.stage\n", "cmburden.images"),
        ("report", "from cmburden import review\n", "cmburden.review"),
        ("run", "import cmburden.studies.stage\n", "cmburden.studies"),
        # An import that is late hides from a reader, not from the contract.
        (
            "register",
            "def run():\n    import cmburden.preprocess.stage\n",
            "cmburden.preprocess",
        ),
    ],
)
def test_an_import_across_or_upwards_breaks_the_contract(checkout, room, text, line):
    write(checkout / PACKAGE / room / "other.py", DOCSTRING + text)
    result = lint_imports(checkout)
    assert result.returncode == 1
    assert "rooms are floors BROKEN" in result.stdout
    assert f"cmburden.{room} is not allowed to import {line}" in result.stdout


def test_a_room_without_a_floor_breaks_the_contract(checkout):
    write(checkout / PACKAGE / "utils" / "__init__.py", DOCSTRING)
    result = lint_imports(checkout)
    assert result.returncode == 1
    assert "utils" in result.stdout + result.stderr


def test_every_room_is_described_on_the_architecture_page():
    page = (ROOT / "docs" / "architecture.md").read_text()
    rooms = house.rooms_with_a_floor(ROOT)
    assert {room for room in rooms if f"\n{room}/ " not in page} == set()
