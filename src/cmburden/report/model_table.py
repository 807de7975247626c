"""The table of a paper: a line a term, crude and adjusted, of presence and counts."""

from __future__ import annotations

import dataclasses

from markupsafe import Markup

from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row, interval, level, of, share
from cmburden.summary.measures import CrudeRatio, LevelPresence, Ratio, RatioKind
from cmburden.summary.strata import EVERYBODY

_RATIOS: tuple[RatioKind, ...] = ("prevalence ratio presence", "odds ratio presence")
_RATE: RatioKind = "rate ratio count"
_RATE_OF_POISSON: RatioKind = "rate ratio count poisson"
COLUMNS = (
    "Term",
    "With/of",
    "Adjusted prevalence, %",
    "Crude PR",
    "Adjusted PR",
    "Crude OR",
    "Adjusted OR",
    "Crude RR",
    "Adjusted RR",
)


@dataclasses.dataclass(frozen=True)
class Line:
    """``label``, then cells for the other columns. ``head``: the line names a covariate."""

    label: str
    cells: list[Markup | str]
    head: bool = False


def select(tables: ReportTables) -> list[Line]:
    """Lines by covariate; none where no model of presence or counts has an estimate."""
    rows = _Rows(tables)
    lines: list[Line] = []
    for covariate in rows.covariates():
        levels = rows.levels(covariate)
        terms = rows.terms_of(covariate)
        if not levels:
            lines += [rows.line(term, term, None, None) for term in terms]
            continue
        lines.append(Line(covariate, [""] * (len(COLUMNS) - 1), head=True))
        left = list(terms)
        for name in levels:
            term = next((one for one in left if _is_of(one, covariate, name)), None)
            if term is not None:
                left.remove(term)
            label = level(name) if term is None else _against(term, covariate, name)
            lines.append(rows.line(label, term, covariate, name))
        lines += [rows.line(term.removeprefix(f"{covariate}="), term, None, None) for term in left]
    return lines


def _is_of(term: str, covariate: str, name: str) -> bool:
    """Whether a term compares this level with the reference."""
    return term.startswith((f"{covariate}={name} against ", f"{covariate}={name} ("))


def _against(term: str, covariate: str, name: str) -> str:
    """The level, with what the term's name adds to it."""
    return level(name) + term.removeprefix(f"{covariate}={name}")


class _Rows:
    """Rows of everybody by kind and term."""

    def __init__(self, tables: ReportTables):
        self._adjusted = {
            (m.kind, m.term): row
            for m, row in tables.of(Ratio, EVERYBODY)
            if row["estimate"] is not None
        }
        self._crude = {
            (m.kind, m.term): row
            for m, row in tables.of(CrudeRatio, EVERYBODY)
            if row["estimate"] is not None
        }
        self._levels = {
            (m.how, m.covariate, m.level): row for m, row in tables.of(LevelPresence, EVERYBODY)
        }
        kinds = (*_RATIOS, _RATE, _RATE_OF_POISSON)
        self._terms = list(dict.fromkeys(term for kind, term in self._adjusted if kind in kinds))

    def covariates(self) -> list[str]:
        """Covariates with a term, in the order of the models."""
        return list(dict.fromkeys(_covariate(term) for term in self._terms))

    def terms_of(self, covariate: str) -> list[str]:
        return [term for term in self._terms if _covariate(term) == covariate]

    def levels(self, covariate: str) -> list[str]:
        """Levels of a nominal covariate; ages, which have no observed prevalence, of age."""
        return list(dict.fromkeys(name for _, one, name in self._levels if one == covariate))

    def line(self, label: str, term: str | None, covariate: str | None, name: str | None) -> Line:
        cells: list[Markup | str] = ["", ""]
        if covariate is not None and name is not None:
            observed = self._levels.get(("positive", covariate, name))
            adjusted = self._levels.get(("adjusted prevalence", covariate, name))
            cells = [
                of(observed) if observed else "",
                share(adjusted) if adjusted and adjusted["estimate"] is not None else "",
            ]
            if term is None and observed:
                return Line(label, [*cells, *["reference"] * (len(COLUMNS) - 3)])
        for kind in _RATIOS:
            cells += [_cell(self._crude, kind, term), _cell(self._adjusted, kind, term)]
        kind = _RATE if (_RATE, term) in self._adjusted else _RATE_OF_POISSON
        cells += [_cell(self._crude, _RATE, term), _cell(self._adjusted, kind, term)]
        return Line(label, cells)


def _cell(
    rows: dict[tuple[RatioKind, str], Row], kind: RatioKind, term: str | None
) -> Markup | str:
    row = None if term is None else rows.get((kind, term))
    return "" if row is None else interval(row, 2)


def _covariate(term: str) -> str:
    """The covariate of a term: before '=' of a level, before ' per ' of a number."""
    name, equals, _ = term.partition("=")
    return name if equals else term.rpartition(" per ")[0]
