"""The report reads names of estimates by the classes of `summary`, never by their letters."""

import ast
from pathlib import Path

import pytest

import cmburden.report

ROOM = Path(cmburden.report.__file__).parent
#: Functions that may read the column ``measure``: to parse the name, or to print it as a whole.
#: ``_listed`` reads the reading list's column of this name, which holds a column of `scans`.
READERS = {
    "tables.py": {"__init__", "_names"},
    "typeset.py": {"number"},
    "charts/chart.py": {"row_key"},
    "check.py": {"_listed"},
    "limitations.py": {"_from"},
}


def readers(source: str) -> set[str]:
    """Functions of a module that read a column or attribute ``measure`` of a row."""
    names = set()
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            key: ast.expr | None = None
            if isinstance(node, ast.Subscript):
                key = node.slice
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                key = node.args[0] if node.args else None
            if isinstance(key, ast.Constant) and key.value == "measure":
                names.add(function.name)
    return names


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda path: path.name)
def test_no_name_of_a_measure_is_taken_apart(path):
    name = path.relative_to(ROOM).as_posix()
    source = path.read_text()
    assert readers(source) <= READERS.get(name, set())
    imported = {
        alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert "re" not in imported


def test_the_walk_finds_a_reader():
    assert readers('def f(row):\n    return row["measure"].removeprefix("x")\n') == {"f"}
    assert readers('def f(row):\n    return row.get("measure")\n') == {"f"}
