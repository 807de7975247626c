"""Scripts that read the tables with labels and levels: one for R, one for Stata."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cmburden.core.schema import Column
from cmburden.export.tables import Exported

#: Longest name of a variable, and longest label of one, in Stata.
LONGEST_NAME, LONGEST_LABEL = 32, 80
#: Words that Stata takes for its own.
_RESERVED = frozenset(
    [
        "_all",
        "_b",
        "byte",
        "_coef",
        "_cons",
        "double",
        "float",
        "if",
        "in",
        "int",
        "long",
        "_n",
        "_N",
        "_pi",
        "_pred",
        "_rc",
        "_skip",
        "strL",
        "using",
        "with",
    ]
)
#: Base R alone. The codebook names columns, types and levels: the script knows no table.
R = """\
# The tables of this folder in R, with labels and factor levels. Base R is enough:
#   source("read_cmburden.R"); cohort <- read_cmburden("."); summary(cohort$participants)
read_cmburden <- function(folder = ".") {
  text <- function(name) read.csv(file.path(folder, name), colClasses = "character",
                                  na.strings = "", check.names = FALSE, encoding = "UTF-8")
  book <- text("codebook.csv")
  as <- list(int = as.integer, float = as.numeric, bool = function(x) x == "true", str = identity)
  one <- function(name) {
    table <- text(paste0(name, ".csv"))
    for (i in which(book$table == name)) {
      column <- book$column[i]
      table[[column]] <- as[[book$type[i]]](table[[column]])
      if (book$type[i] == "str" && !is.na(book$allowed[i])) {
        levels <- strsplit(book$allowed[i], " | ", fixed = TRUE)[[1]]
        table[[column]] <- factor(table[[column]], levels)
      }
      attr(table[[column]], "label") <- book$description[i]
      attr(table[[column]], "units") <- book$unit[i]
    }
    table
  }
  names <- unique(book$table[file.exists(file.path(folder, paste0(book$table, ".csv")))])
  sapply(names, one, simplify = FALSE)
}
"""
_STATA_HEAD = """\
* The tables of this folder in Stata, with labels. Run in the folder: do read_cmburden.do
* Each table is saved as NAME.dta.
version 16
clear all
"""


def stata_names(columns: Iterable[Column]) -> list[str]:
    """Names of Stata's variables for ``columns``, in order.

    >>> stata_names([Column("age", "float", ""), Column("if", "str", ""), Column("2 a", "str", "")])
    ['age', 'v_if', 'v_2_a']
    """
    names: list[str] = []
    for column in columns:
        name = re.sub(r"[^A-Za-z0-9_]", "_", column.name)
        if name in _RESERVED or not name[:1].isalpha() or re.fullmatch(r"str\d+", name):
            name = f"v_{name}"
        choice, number = name[:LONGEST_NAME], 1
        while choice in names:
            number += 1
            end = f"_{number}"
            choice = name[: LONGEST_NAME - len(end)] + end
        names.append(choice)
    return names


def label(column: Column) -> str:
    """The description with its unit, as long as a label of Stata's may be."""
    text = column.description + (f" [{column.unit}]" if column.unit else "")
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1].rstrip() + "…"


def stata(tables: Iterable[Exported]) -> str:
    """The script for Stata."""
    return _STATA_HEAD + "".join(_of_table(table) for table in tables)


def _of_table(table: Exported) -> str:
    lines = [
        "",
        f"* {table.name}: {_plain(table.row)}",
        # Stata changes names that it does not take: columns are named by place instead.
        f'import delimited "{table.name}.csv", varnames(nonames) rowrange(2) stringcols(_all) '
        'encoding("UTF-8") clear',
    ]
    pairs = list(zip(table.columns, stata_names(table.columns), strict=True))
    for place, column in enumerate(table.columns, start=1):
        lines.append(f"rename v{place} c{place}")
        lines.append(f"label variable c{place} {_quoted(label(column))}")
    for place, (column, name) in enumerate(pairs, start=1):
        lines += _typed(place, name, column)
    lines.append(f'save "{table.name}.dta", replace')
    return "\n".join(lines) + "\n"


def _typed(place: int, name: str, column: Column) -> list[str]:
    if column.kind in ("int", "float"):
        return [f"destring c{place}, replace", f"rename c{place} {name}"]
    values = codes(column)
    if not values:
        return [f"rename c{place} {name}"]
    pairs = " ".join(f"{code} {_quoted(text)}" for code, text in values.items())
    return [
        f"label define l{place} {pairs}, replace",
        f"encode c{place}, generate({name}) label(l{place})",
        f"order {name}, after(c{place})",
        f"drop c{place}",
    ]


def codes(column: Column) -> dict[int, str]:
    """Stata's value labels of a column with levels, or of true and false; else empty."""
    if column.levels:
        return dict(enumerate(column.levels, start=1))
    return {0: "false", 1: "true"} if column.kind == "bool" else {}


def _quoted(text: str) -> str:
    """Stata's compound quotes: a text may hold quotes itself."""
    return '`"' + _plain(text) + "\"'"


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "'").split())
