"""Tables in Markdown, as the benchmarks, the pilot and the evaluation print them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Markdown table of ``rows`` below ``header``, without a newline at its end.

    Cells are written by ``str``; a bar within a cell is escaped. Numbers come rounded.

    Raises
    ------
    ValueError
        Where a row has another number of cells than the header.

    >>> print(table(["stage", "hours"], [["detect", "1.5"], ["|z|", ""]]))
    | stage | hours |
    | --- | --- |
    | detect | 1.5 |
    | \\|z\\| |  |
    """
    rows = [header, ["---"] * len(header), *rows]
    if any(len(row) != len(header) for row in rows):
        raise ValueError(f"a row has not the {len(header)} cells of the header {list(header)}")
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows
    )
