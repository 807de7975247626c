"""Sessions of a participant: in which order, how far apart, and whether their scans are alike.

Cheap to import: the workflow asks who has several sessions whenever it is parsed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from cmburden.core.text import natural

#: What must agree between two scans for their lesions to be compared: column, words, unit, factor.
_NUMBERS = (
    ("echo_time_s", "echo time", "ms", 1000.0),
    ("slice_mm", "slice thickness", "mm", 1.0),
    ("voxel_x_mm", "voxel in plane", "mm", 1.0),
)
_FIELD_T = 0.2
_DAYS_A_YEAR = 365.25


def with_several(scans: Iterable[tuple[str, str | None]]) -> list[str]:
    """Participants with scans of two sessions or more; ``scans`` are (participant, session).

    >>> with_several([("sub-1", "ses-1"), ("sub-1", "ses-2"), ("sub-2", None), ("sub-2", None)])
    ['sub-1']
    """
    found = defaultdict(set)
    for participant, session in scans:
        found[participant].add(session)
    return sorted(name for name, sessions in found.items() if len(sessions) > 1)


def differences(
    one: dict[str, Any], other: dict[str, Any], tolerance: float
) -> tuple[list[str], list[str]]:
    """In what two scans differ, and what is not known of one of them, each in words.

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


def _both(one, other, column: str) -> tuple[float, float] | None:
    pair = one.get(column), other.get(column)
    # NaN and pandas' missing value are not equal to themselves, or not to be asked.
    if any(value is None or not isinstance(value, (int, float)) for value in pair):
        return None
    return None if any(math.isnan(value) for value in pair) else (float(pair[0]), float(pair[1]))


def alike(scans: list[dict[str, Any]], tolerance: float) -> dict[str | None, dict[str, Any]]:
    """One scan a session, such that the sessions' scans differ in as little as possible.

    ``scans`` are usable ones of a participant, with session_id, scan_id and what ``differences``
    asks. Each scan in turn is the measure for the others; of equal choices that with SWI, then with
    the thinner slices, then by name. So it does not depend on the order of sessions.

    >>> gre = {"contrast": "GRE", "session_id": "ses-1", "scan_id": "a"}
    >>> scans = [gre, gre | {"contrast": "SWI", "scan_id": "b"}, gre | {"session_id": "ses-2"}]
    >>> [scan["contrast"] for scan in alike(scans, 0.15).values()]
    ['GRE', 'GRE']
    """
    by_session = defaultdict(list)
    for scan in sorted(scans, key=lambda scan: (natural(scan["session_id"]), scan["scan_id"])):
        by_session[scan["session_id"]].append(scan)
    best = None
    for measure in scans:
        choice, cost = {}, 0
        for session, own in by_session.items():
            number, scan = min(
                ((len(differences(measure, s, tolerance)[0]), s) for s in own),
                key=lambda pair: (pair[0], pair[1]["scan_id"]),
            )
            choice[session], cost = scan, cost + number
        rank = (
            cost, measure["contrast"] != "SWI", measure.get("slice_mm") or 0.0,
            [scan["scan_id"] for scan in choice.values()],
        )  # fmt: skip
        if best is None or rank < best[0]:
            best = rank, choice
    return best[1] if best else {}


def parse_time(text: Any) -> datetime | None:
    """``acq_time`` of sessions.tsv; None where there is none that can be read.

    >>> parse_time("2015-03-02T10:00:00"), parse_time("n/a"), parse_time("2 March")
    (datetime.datetime(2015, 3, 2, 10, 0), None, None)
    """
    try:
        return datetime.fromisoformat(str(text)).replace(tzinfo=None)
    except ValueError:
        return None


def ordered(
    sessions: Iterable[str | None],
    times: dict[str | None, datetime | None],
    ages: dict[str | None, float | None],
) -> tuple[list[str | None], str]:
    """Sessions from the first on, and by what: acq_time where all have it, else age, else label.

    >>> early, late = datetime(2015, 1, 1), datetime(2016, 1, 1)
    >>> ordered(["ses-1", "ses-2"], {"ses-1": late, "ses-2": early}, {})
    (['ses-2', 'ses-1'], 'acq_time')
    >>> ordered(["ses-10", "ses-2"], {"ses-2": early}, {})
    (['ses-2', 'ses-10'], 'label')
    """
    found = sorted(sessions, key=natural)
    for name, values in (("acq_time", times), ("age", ages)):
        known = [values.get(session) for session in found]
        if all(value is not None for value in known) and len(set(known)) == len(known):
            return sorted(found, key=values.__getitem__), name
    return found, "label"


def years_between(
    one: str | None,
    other: str | None,
    times: dict[str | None, datetime | None],
    ages: dict[str | None, float | None],
) -> tuple[float | None, str | None]:
    """Years from session ``one`` to ``other``, and from what; (None, None) where that is not known
    or would not be above 0.

    >>> times = {"ses-1": datetime(2015, 1, 1), "ses-2": datetime(2017, 1, 1)}
    >>> years_between("ses-1", "ses-2", times, {})
    (2.0014, 'acq_time')
    >>> years_between("ses-1", "ses-2", {}, {"ses-1": 70.2, "ses-2": 71.7})
    (1.5, 'age')
    """
    first, second = times.get(one), times.get(other)
    if first is not None and second is not None:
        years, source = (second - first).total_seconds() / 86400 / _DAYS_A_YEAR, "acq_time"
    elif ages.get(one) is not None and ages.get(other) is not None:
        years, source = ages[other] - ages[one], "age"
    else:
        return None, None
    return (round(years, 4), source) if years > 0 else (None, None)
