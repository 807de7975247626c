"""Typesets the numbers of the report. Each number names the row of the table that it comes from."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from cmburden.core.rows import plain

#: In the place of a number that a shareable page does not show (``summary.disclosure``).
SUPPRESSED = Markup('<abbr title="suppressed">s</abbr>')
#: A row of `summary`, `curves` or `lesion_cells` by column, None for missing. The rows of the
#: latter two have a ``stratum`` and a ``measure`` too (see ``tables.ReportTables``).
Row = dict[str, Any]
_LEAST_P = 0.001


def number(row: Row, field: str = "n", digits: int = 0, scale: float = 1.0) -> Markup:
    """A field of a row in a ``data`` element that names row and field; a dash where missing.

    By the names a reader, and the test of the page, can look the number up.

    >>> number({"stratum": "all", "measure": "participants", "n": 12})
    Markup('<data value="12" data-of="all | participants | n">12</data>')
    """
    value = plain(row.get(field))
    if value is None:
        return SUPPRESSED if row.get("suppressed") else Markup('<span class="muted">–</span>')
    scaled = "" if scale == 1 else f' data-scale="{scale:g}"'
    name = escape(f"{row['stratum']} | {row['measure']} | {field}")
    text = decimal(value * scale, digits)
    return Markup(f'<data value="{value!r}" data-of="{name}"{scaled}>{text}</data>')


def interval(row: Row, digits: int = 2, scale: float = 1.0) -> Markup:
    """Estimate with its 95 % interval, if the row has one."""
    estimate = number(row, "estimate", digits, scale)
    if plain(row.get("ci_low")) is None or plain(row.get("estimate")) is None:
        return estimate
    ends = [number(row, end, digits, scale) for end in ("ci_low", "ci_high")]
    return Markup('{} <span class="muted">({}–{})</span>').format(estimate, *ends)


def share(row: Row) -> Markup:
    """A share in per cent with its interval."""
    return interval(row, 1, 100)


def of(row: Row) -> Markup:
    """Numerator and denominator."""
    if row.get("suppressed"):
        return SUPPRESSED
    return Markup("{}/{}").format(number(row), number(row, "denominator"))


def p_value(row: Row) -> Markup:
    """The estimate as a p value: three decimals, below 0.001 the bound and not a false 0.

    >>> p_value({"stratum": "all", "measure": "test", "estimate": 1e-9})
    Markup('<span data-source="summary.parquet">&lt;0.001</span>')
    """
    value = plain(row.get("estimate"))
    if value is None or value >= _LEAST_P:
        return number(row, "estimate", 3)
    return Markup('<span data-source="summary.parquet">&lt;{}</span>').format(f"{_LEAST_P:g}")


def coordinate(row: Row) -> Markup:
    """Where a point of a curve lies: part of its key in `curves`, not an estimate."""
    return Markup('<span data-source="curves.parquet">{}</span>').format(f"{row['x']:g}")


def decimal(value: float | None, digits: int = 2) -> str:
    """A rounded number; a dash for a missing one.

    >>> decimal(-1.256), decimal(3), decimal(None)
    ('−1.26', '3.00', '–')
    """
    if value is None or pd.isna(value):
        return "–"
    return minus(f"{float(value):.{digits}f}")


def minus(text: str) -> str:
    """``text`` with the sign that print has for minus."""
    return text.replace("-", "−")


def shortest(value: Any) -> str:
    """A number in at most four digits; another value as its text."""
    return f"{value:.4g}" if isinstance(value, (int, float, np.number)) else str(value)


def level(text: str) -> str:
    """A level of a variable, such as an age band.

    >>> level(">=90"), level("50-59"), level("ADNI-3")
    ('≥90', '50–59', 'ADNI-3')
    """
    return text.replace(">=", "≥").replace("-", "–") if text[:1] in "<>0123456789" else text


def first_upper(text: str) -> str:
    """``text`` with a capital first letter; the other letters stay."""
    return text[:1].upper() + text[1:]


def script_json(content: object, *, sort_keys: bool = False) -> Markup:
    """JSON for a script element: no ``<`` can end the element.

    >>> script_json(["</script>"])
    Markup('["\\\\u003c/script>"]')
    """
    text = json.dumps(content, separators=(",", ":"), sort_keys=sort_keys)
    return Markup(text.replace("<", "\\u003c"))


#: Filters of the templates by name.
FILTERS = {
    "decimal": decimal,
    "number": number,
    "interval": interval,
    "share": share,
    "of": of,
}
