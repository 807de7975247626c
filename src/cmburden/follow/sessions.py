"""Sessions of a participant: their order, the time between them, and how alike their scans are.

The module imports no slow library: the workflow asks for participants with several sessions
whenever the Snakefile is parsed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from cmburden.core.text import natural

#: Numbers that must agree in two scans for their lesions to be compared: column, words, unit,
#: factor.
_NUMBERS = (
    ("echo_time_s", "echo time", "ms", 1000.0),
    ("slice_mm", "slice thickness", "mm", 1.0),
    ("voxel_x_mm", "voxel in plane", "mm", 1.0),
)
#: Field strengths differ where they are more than this apart: 2.9 T and 3 T are one field.
_FIELD_T = 0.2
_DAYS_A_YEAR = 365.25
_SECONDS_A_DAY = 86400


def with_several(scans: Iterable[tuple[str, str | None]]) -> list[str]:
    """Participants with scans of two sessions or more; ``scans`` are (participant, session).

    >>> with_several([("sub-1", "ses-1"), ("sub-1", "ses-2"), ("sub-2", None), ("sub-2", None)])
    ['sub-1']
    """
    sessions_of = defaultdict(set)
    for participant, session in scans:
        sessions_of[participant].add(session)
    return sorted(name for name, sessions in sessions_of.items() if len(sessions) > 1)


def differences(
    one: dict[str, Any], other: dict[str, Any], tolerance: float
) -> tuple[list[str], list[str]]:
    """Properties in which two scans differ, and those that are unknown of one of them, in words.

    ``one`` and ``other`` have the columns of ``tables.SCANS`` (contrast, field_strength_t,
    echo_time_s, slice_mm, voxel_x_mm). Echo time and voxel differ where they are more than
    ``tolerance`` (a share of the smaller) apart; field strengths by more than 0.2 T.

    >>> gre = {"contrast": "GRE", "field_strength_t": 3.0, "echo_time_s": 0.02, "slice_mm": 4.0}
    >>> differences(gre, gre | {"contrast": "SWI", "slice_mm": 2.0}, 0.15)
    (['contrast GRE, SWI', 'slice thickness 4, 2 mm'], ['voxel in plane'])
    """
    differ, unknown = [], []
    if one["contrast"] != other["contrast"]:
        differ.append(f"contrast {one['contrast']}, {other['contrast']}")
    pair = _both(one, other, "field_strength_t")
    if pair is None:
        unknown.append("field strength")
    elif abs(pair[0] - pair[1]) > _FIELD_T:
        differ.append(f"field strength {pair[0]:g}, {pair[1]:g} T")
    for column, words, unit, factor in _NUMBERS:
        pair = _both(one, other, column)
        if pair is None:
            unknown.append(words)
        elif max(pair) > (1 + tolerance) * min(pair):
            differ.append(f"{words} {factor * pair[0]:.3g}, {factor * pair[1]:.3g} {unit}")
    return differ, unknown


def _both(one: dict[str, Any], other: dict[str, Any], column: str) -> tuple[float, float] | None:
    """The two values of ``column``; None where one is missing: None, NaN or ``pandas.NA``."""
    first, second = one.get(column), other.get(column)
    if not isinstance(first, (int, float)) or not isinstance(second, (int, float)):
        return None
    return None if math.isnan(first) or math.isnan(second) else (float(first), float(second))


def alike(scans: list[dict[str, Any]], tolerance: float) -> dict[str | None, dict[str, Any]]:
    """One scan a session, such that the sessions' scans differ in as little as possible.

    ``scans`` are usable ones of a participant, with session_id, scan_id and the columns of
    ``differences``. Each scan in turn is the measure for the others; of equal choices the one with
    SWI is taken, then the one with thinner slices, then the first by name. The result does not
    depend on the order of sessions.

    >>> gre = {"contrast": "GRE", "session_id": "ses-1", "scan_id": "a"}
    >>> scans = [gre, gre | {"contrast": "SWI", "scan_id": "b"}, gre | {"session_id": "ses-2"}]
    >>> [scan["contrast"] for scan in alike(scans, 0.15).values()]
    ['GRE', 'GRE']
    """
    by_session = defaultdict(list)
    for scan in sorted(scans, key=lambda scan: (natural(scan["session_id"]), scan["scan_id"])):
        by_session[scan["session_id"]].append(scan)
    choices = []
    for measure in scans:
        choice, cost = {}, 0
        for session, of_session in by_session.items():
            number, scan = min(
                ((len(differences(measure, scan, tolerance)[0]), scan) for scan in of_session),
                key=lambda pair: (pair[0], pair[1]["scan_id"]),
            )
            choice[session], cost = scan, cost + number
        rank = (
            cost,
            measure["contrast"] != "SWI",
            measure.get("slice_mm") or 0.0,
            [scan["scan_id"] for scan in choice.values()],
        )
        choices.append((rank, choice))
    return min(choices, key=lambda ranked: ranked[0])[1] if choices else {}


def parse_time(text: Any) -> datetime | None:
    """``acq_time`` of sessions.tsv; None where the value is no date.

    >>> parse_time("2015-03-02T10:00:00"), parse_time("n/a"), parse_time("12/01/2014")
    (datetime.datetime(2015, 3, 2, 10, 0), None, None)

    A time with an offset from UTC is turned into UTC.

    >>> parse_time("2015-03-02T10:00:00+09:00")
    datetime.datetime(2015, 3, 2, 1, 0)
    """
    try:
        time = datetime.fromisoformat(str(text).strip())
        return (time.astimezone(UTC) if time.tzinfo else time).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


def ordered(
    sessions: Iterable[str | None],
    times: dict[str | None, datetime | None],
    ages: dict[str | None, float | None],
) -> tuple[list[str | None], str]:
    """Sessions from the first on, and the source of the order.

    The source is acq_time where all sessions have one and no two are equal, else age, else label.

    >>> early, late = datetime(2015, 1, 1), datetime(2016, 1, 1)
    >>> ordered(["ses-1", "ses-2"], {"ses-1": late, "ses-2": early}, {})
    (['ses-2', 'ses-1'], 'acq_time')
    >>> ordered(["ses-10", "ses-2"], {"ses-2": early}, {})
    (['ses-2', 'ses-10'], 'label')
    """
    by_label = sorted(sessions, key=natural)
    sources: tuple[tuple[str, Mapping[str | None, Any]], ...] = (("acq_time", times), ("age", ages))
    for name, values in sources:
        known = [values.get(session) for session in by_label]
        if all(value is not None for value in known) and len(set(known)) == len(known):
            return sorted(by_label, key=lambda session: values[session]), name
    return by_label, "label"


def years_between(
    one: str | None,
    other: str | None,
    times: dict[str | None, datetime | None],
    ages: dict[str | None, float | None],
) -> tuple[float | None, str | None]:
    """Years from session ``one`` to ``other``, and their source: acq_time or age.

    (None, None) where neither is known of both sessions, or ``other`` is not later.

    >>> times = {"ses-1": datetime(2015, 1, 1), "ses-2": datetime(2017, 1, 1)}
    >>> years_between("ses-1", "ses-2", times, {})
    (2.0014, 'acq_time')
    >>> years_between("ses-1", "ses-2", {}, {"ses-1": 70.2, "ses-2": 71.7})
    (1.5, 'age')
    """
    first, second = times.get(one), times.get(other)
    younger, older = ages.get(one), ages.get(other)
    if first is not None and second is not None:
        days = (second - first).total_seconds() / _SECONDS_A_DAY
        years, source = days / _DAYS_A_YEAR, "acq_time"
    elif younger is not None and older is not None:
        years, source = older - younger, "age"
    else:
        return None, None
    return (round(years, 4), source) if years > 0 else (None, None)
