"""Estimates for readers outside of the study: small numbers are suppressed with their complements.

A number is small from 1 to below the chosen least, be it a numerator or denominator minus
numerator. All of a group with a microbleed is what each of its members has: it counts as small.
Nothing of a suppressed row remains, neither interval nor denominator, since the numerator follows
from them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

from cmburden.summary import measures
from cmburden.summary.margins import Judged, of_rows
from cmburden.summary.measures import (
    AverageCount,
    Characteristic,
    CharacteristicLevel,
    ImageMeasure,
    Lesions,
    MissingReason,
    Participants,
    ParticipantsByCount,
    Presence,
    ReviewAgreement,
    StandardisedDifference,
    StandardisedPresence,
    TableOnePeople,
)
from cmburden.summary.rows import Row
from cmburden.summary.strata import Stratum

#: The smallest count that is shown, unless the user chooses another.
LEAST = 5
_NUMBERS = ("estimate", "ci_low", "ci_high", "n", "denominator")
#: Values of a field that name one person's or one scan's value.
_EXTREMES = {"min", "max", "minimum", "maximum"}
#: A count in a sentence: no decimal, no per cent, no part of a word.
_COUNT = re.compile(r"(?<![\w.,=-])(\d+)(?![\w%-]|[.,]\d| ?%)")
#: Families that are left out: their groups overlap with other strata, of which they differ by few.
_LEFT_OUT = (
    Characteristic,
    CharacteristicLevel,
    StandardisedDifference,
    StandardisedPresence,
    TableOnePeople,
)
#: Readers who are no persons.
_NOBODY = {"software", "consensus"}


def sentence(least: int) -> str:
    """Method of a suppressed row."""
    return f"suppressed: a count below {least}, or one that such a count follows from"


def suppressed(rows: Iterable[Row], least: int = LEAST) -> list[Row]:
    """Rows of `summary` with the numbers of small cells, and of what gives them away, null.

    Suppressed rows have ``suppressed`` true. Numbers of participants by count that are suppressed
    are left out, since their name is a person's count; so are Table 1 and standardised prevalences,
    whose groups other strata overlap with. Readers are numbered. Sentences lose their
    small numbers.
    """
    rows = [row for row in rows if not isinstance(measures.parse(row["measure"]), _LEFT_OUT)]
    withheld = _withheld(rows, least)
    judged = list(of_rows(_of_anybody(row for row in rows if _name(row) not in withheld), least))
    shut = {_name(one.named.row) for one in judged if one.n}
    groups = _small_levels(judged, shut)
    shown = []
    for one in judged:
        if one.n or _levels_of(one) in groups or _follows(one, shut):
            if not isinstance(one.named.measure, ParticipantsByCount):
                shown.append(_without_numbers(one.named.row, least))
        else:
            shown.append(_shown(one.named.row, least, alone=_alone(one, withheld)))
    return shown + [_without_numbers(row, least) for row in rows if _name(row) in withheld]


def _alone(one: Judged, withheld: set[tuple[str, str]]) -> bool:
    """Whether the denominator is not shown. That of the usable is the number in the tree."""
    whole = (one.named.row["stratum"], Participants().name)
    usable = one.named.measure == Participants("usable")
    return one.denominator or (usable and whole in withheld)


def _name(row: Row) -> tuple[str, str]:
    return row["stratum"], row["measure"]


def _withheld(rows: list[Row], least: int) -> set[tuple[str, str]]:
    """Names of the rows of attrition that are not shown.

    Those without a usable scan are few people in most strata. To hide each of them would take the
    numbers of the whole cohort along. Such rows are shown of everybody and of a contrast alone, and
    not at all where one of these is small.
    """
    attrition = [row for row in rows if _of_attrition(row)]
    few = any(0 < (row["n"] or 0) < least for row in attrition if _of_contrast(row))
    return {_name(row) for row in attrition if few or not _of_contrast(row)}


def _of_attrition(row: Row) -> bool:
    """Whether the row says who is in the tree, who has no usable scan, or why."""
    measure = measures.parse(row["measure"])
    attrition = isinstance(measure, (Participants, MissingReason))
    return attrition and measure != Participants("usable")


def _of_contrast(row: Row) -> bool:
    """Whether the row is of everybody, or of all with a contrast."""
    stratum = Stratum.parse(row["stratum"])
    return stratum is not None and set(stratum.variables) <= {"contrast"}


def _follows(judged: Judged, shut: set[tuple[str, str]]) -> bool:
    """Whether the row is one person's value, or rests on suppressed counts of its stratum."""
    one = judged.named
    values = set(vars(one.measure).values()) if one.measure is not None else set()
    acquisition = isinstance(one.measure, ImageMeasure) and one.measure.kind == "acquisition"
    if values & _EXTREMES and not acquisition:
        return True
    if one.n is None or one.share:
        return False
    if judged.denominator:
        return True
    stratum = one.row["stratum"]
    on = [Presence("definite"), Lesions("definite")]
    if isinstance(one.measure, AverageCount):
        on.append(AverageCount("mean"))
    return any((stratum, measure.name) in shut for measure in on)


def _levels_of(judged: Judged) -> tuple[Any, ...] | None:
    """Which levels the row is one of, of measures that name covariate and level; else None."""
    named = judged.named
    fields = {} if named.measure is None else dict(vars(named.measure))
    if fields.pop("level", None) is None or "covariate" not in fields:
        return None
    return (named.row["stratum"], type(named.measure), *fields.items())


def _small_levels(judged: list[Judged], shut: set[tuple[str, str]]) -> set[tuple[Any, ...]]:
    """Groups of levels of which one is suppressed, or is a stratum that is: none is shown.

    They repeat the numbers of strata, and add up to the whole.
    """
    presence = Presence("definite").name
    groups = set()
    for one in judged:
        group = _levels_of(one)
        if group is not None:
            fields = vars(one.named.measure)
            stratum = f"{fields['covariate']}={fields['level']}"
            if one.n or (stratum, presence) in shut:
                groups.add(group)
    return groups


def _shown(row: Row, least: int, *, alone: bool) -> Row:
    """The row with its number; ``alone``: without the denominator and what rests on it."""
    row = row | {"method": _plain(row, least)}
    if alone:
        row |= dict.fromkeys(("ci_low", "ci_high", "denominator")) | {"suppressed": True}
        row["estimate"] = row["estimate"] if row["estimate"] == row["n"] else None
    return row


def _without_numbers(row: Row, least: int) -> Row:
    nothing: dict[str, Any] = dict.fromkeys(_NUMBERS)
    return row | nothing | {"method": sentence(least), "suppressed": True}


def _plain(row: Row, least: int) -> str:
    """The method without clauses that hold a small number; none of a refusal that holds one."""
    text: str = row["method"]
    clauses = re.split(r"(?<=[;,:]) ", text)
    kept = [clause for clause in clauses if not _small(clause, least)]
    if len(kept) == len(clauses):
        return text
    if row["estimate"] is None or not kept:
        return "not estimated: the reason holds a suppressed number"
    return " ".join(kept).rstrip(";,: ")


def _small(text: str, least: int) -> bool:
    return any(0 < int(number) < least for number in _COUNT.findall(text))


def _of_anybody(rows: Iterable[Row]) -> list[Row]:
    """Rows in which the names of readers are numbers, in the order of the names."""
    rows = list(rows)
    pairs = [measures.parse(row["measure"]) for row in rows]
    names = sorted(
        {
            name
            for pair in pairs
            if isinstance(pair, ReviewAgreement)
            for name in (pair.first, pair.second)
            if name not in _NOBODY
        }
    )
    numbered = {name: f"reader {place}" for place, name in enumerate(names, start=1)}
    return [
        row
        | {
            "measure": dataclasses.replace(
                pair,
                first=numbered.get(pair.first, pair.first),
                second=numbered.get(pair.second, pair.second),
            ).name
        }
        if isinstance(pair, ReviewAgreement)
        else row
        for row, pair in zip(rows, pairs, strict=True)
    ]


def of_curve(rows: Iterable[Row], shown: dict[tuple[str, str], Row], least: int) -> list[Row]:
    """Points of `curves` whose counts are not small and do not differ by a small number.

    ``shown``: the rows of `summary` by stratum and measure, suppressed. A curve of a contrast whose
    presence is suppressed has no point. Points of a model's contract stay.
    """
    kept: list[Row] = []
    last: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: (row["curve"], str(row["contrast"]), row["x"])):
        if row["n"] is None:
            kept.append(row)
            continue
        contrast = str(row["contrast"])
        whole = shown.get((f"contrast={contrast}", Presence("definite").name), {})
        others = [row["n"], row["denominator"] - row["n"]]
        if whole.get("n") is not None:
            others.append(abs(row["n"] - whole["n"]))
        if contrast in last:
            others.append(abs(row["n"] - last[contrast]))
        if whole.get("suppressed") or any(0 < number < least for number in others):
            continue
        last[contrast] = row["n"]
        kept.append(row)
    return kept


def of_cells(rows: Iterable[Row], shown: dict[tuple[str, str], Row], least: int) -> list[Row]:
    """Cells of `lesion_cells` with enough lesions, and whose others are not few in sum."""
    kept: list[Row] = []
    by_contrast: dict[str, list[Row]] = {}
    for row in rows:
        by_contrast.setdefault(row["contrast"], []).append(row)
    for contrast, cells in by_contrast.items():
        whole = shown.get((f"contrast={contrast}", Lesions("definite").name), {})
        large = sorted((row for row in cells if row["n"] >= least), key=lambda row: -row["n"])
        rest = sum(row["n"] for row in cells) - sum(row["n"] for row in large)
        while large and 0 < rest < least:
            rest += large.pop()["n"]
        kept += [] if whole.get("suppressed") else large
    return kept
