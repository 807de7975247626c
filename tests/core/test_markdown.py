"""Markdown tables, read back by their rules: a row a line, a bar between cells."""

from __future__ import annotations

import re

import pytest

from cmburden.core import markdown


def test_every_cell_is_read_back():
    rows = [["a", 1, 2.5], ["", "b c", None], ["|z|", "x|y", "-"]]
    lines = markdown.table(["one", "two", "three"], rows).split("\n")
    cells = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
    ]
    assert cells[0] == ["one", "two", "three"]
    assert cells[1] == ["---", "---", "---"]
    assert cells[2:] == [[str(cell) for cell in row] for row in rows]


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="2 cells of the header"):
        markdown.table(["one", "two"], [["a"]])
