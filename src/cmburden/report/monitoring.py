"""Section: microbleeds over visits as treatment monitoring asks for them (ARIA-H).

The grades of ARIA-H count new microbleeds since baseline on GRE (Sperling et al., Alzheimers
Dement 2011;7:367): mild 1 to 4, moderate 5 to 9, severe 10 or more; and new foci of superficial
siderosis: mild 1, moderate 2, severe above 2. The overall grade is the worse of both. They are a
radiologist's, in treated patients; here the software's calls are counted, and the foci that readers
count. What no reader assessed is said to be so.
"""

from __future__ import annotations

import dataclasses
from collections import Counter

from cmburden.core.paths import Layout
from cmburden.core.rows import grouped
from cmburden.core.schema import as_records
from cmburden.core.tables import PAIRS
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row

NOT_ASSESSED = "not assessed"
#: Least number of new microbleeds of each grade, the gravest first.
_GRADES = ((10, "severe"), (5, "moderate"), (1, "mild"), (0, "none"))
#: The same of new foci of superficial siderosis.
_FOCI_GRADES = ((3, "severe"), (2, "moderate"), (1, "mild"), (0, "none"))
#: More microbleeds than this at baseline exclude from treatment in the trials.
_MOST_AT_BASELINE = 4
#: Columns of participants.tsv that name the arm of a trial, the first that is there.
_ARMS = ("arm", "treatment", "group")
#: Most participants of the section's table; the pages of changes hold all.
_MOST = 200


@dataclasses.dataclass(frozen=True)
class Visit:
    """A visit of a participant: counts of the software, siderosis of the readers, in words.

    ``foci``: new foci of siderosis since baseline with their grade; ``overall``: the grade of both.
    """

    name: str
    years: float | None
    contrast: str
    definite: int
    groups: str
    large: int
    baseline: str
    since_baseline: str
    since_last: str
    siderosis: str
    foci: str
    overall: str
    warnings: list[str]


@dataclasses.dataclass(frozen=True)
class SafetyRow:
    """Participants of an arm at a visit, by their grade since baseline."""

    visit: str
    arm: str
    people: int
    grades: list[int]
    not_graded: int


@dataclasses.dataclass(frozen=True)
class Monitoring:
    """Content of _monitoring.html.j2. ``people``: participant, link and visits."""

    grades: list[str]
    arm_column: str | None
    safety: list[SafetyRow]
    people: list[tuple[str, str, list[Visit]]]
    left: int


def select(tables: ReportTables, layout: Layout) -> Monitoring | None:
    """None if nobody has several sessions."""
    visits = of_everybody(tables, layout)
    if not visits:
        return None
    names = sorted(visits)
    arm = next((name for name in _ARMS if name in tables.participants), None)
    arms = (
        {row["participant_id"]: row[arm] for row in as_records(tables.participants)} if arm else {}
    )
    grades = [name for _, name in reversed(_GRADES)]
    return Monitoring(
        grades=grades,
        arm_column=arm,
        safety=_safety(visits, arms, grades),
        people=[(name, layout.changes_page(name).name, visits[name]) for name in names[:_MOST]],
        left=max(0, len(names) - _MOST),
    )


def of_everybody(tables: ReportTables, layout: Layout) -> dict[str, list[Visit]]:
    """Visits of each participant with several followed sessions, in their order."""
    pairs = grouped(PAIRS.read(layout.table("pairs")), "participant_id")
    scans = {row["scan_id"]: row for row in as_records(tables.scans)}
    lesions = grouped(tables.lesions, "scan_id")
    return {
        name: _visits(of_person, scans, lesions)
        for name, of_person in pairs.items()
        if any(pair["since_baseline"] for pair in of_person)
    }


def _visits(pairs: list[Row], scans: dict[str, Row], lesions: dict[str, list[Row]]) -> list[Visit]:
    since = {pair["scan_id_2"]: pair for pair in pairs if pair["since_baseline"]}
    last = {pair["scan_id_2"]: pair for pair in pairs if pair["consecutive"]}
    first = next(iter(since.values()))["scan_id_1"]
    later = sorted(since, key=lambda scan: (_years(since[scan]), scan))
    return [
        _visit(scan, since.get(scan), last.get(scan), scans, first, lesions.get(scan, []))
        for scan in [first, *later]
    ]


def _years(pair: Row) -> float:
    return float("inf") if pair["years"] is None else float(pair["years"])


def _visit(
    scan_id: str,
    since: Row | None,
    last: Row | None,
    scans: dict[str, Row],
    first: str,
    lesions: list[Row],
) -> Visit:
    """The visit of ``scan_id``; ``since`` and ``last``: its pairs, ``first``: the baseline scan."""
    scan = scans.get(scan_id, {})
    foci = None if since is None else _new_foci(scans.get(first, {}), scan)
    small = _microbleeds(lesions)
    number = Counter(row["group"] for row in small)
    groups = ", ".join(f"{number[name]} {name}" for name in ("lobar", "deep", "infratentorial"))
    return Visit(
        name=(scan.get("session_id") or scan_id),
        years=None if since is None else since["years"],
        contrast=scan.get("contrast") or "–",
        definite=len(small),
        groups=groups,
        large=sum(bool(row["macrohaemorrhage"]) for row in lesions),
        baseline=_at_baseline(len(small)) if since is None else "",
        since_baseline="" if since is None else _graded(since),
        since_last="" if last is None else _graded(last),
        siderosis=_siderosis(scan),
        foci="" if since is None else _graded_foci(foci),
        overall="" if since is None else _overall(since, foci),
        warnings=_warnings(since, scan),
    )


def _siderosis(scan: Row) -> str:
    """What readers say of siderosis: its kind, foci and place."""
    foci = scan.get("siderosis_foci")
    counted = f"{foci:.0f} {'focus' if foci == 1 else 'foci'}" if foci else None
    parts = [scan.get("siderosis"), counted, scan.get("siderosis_place")]
    return ", ".join(part for part in parts if part) or NOT_ASSESSED


def _new_foci(baseline: Row, scan: Row) -> int | None:
    """Foci of siderosis beyond those of baseline; None where a reader did not count both."""
    before, now = baseline.get("siderosis_foci"), scan.get("siderosis_foci")
    return None if before is None or now is None else max(0, int(now) - int(before))


def _graded_foci(foci: int | None) -> str:
    return NOT_ASSESSED if foci is None else f"{foci}, {_grade(foci, _FOCI_GRADES)}"


def _overall(since: Row, foci: int | None) -> str:
    """The worse grade of microbleeds and siderosis; none where one of the two is not graded."""
    if foci is None:
        return NOT_ASSESSED
    if not since["comparable"]:
        return "not graded"
    order = [name for _, name in reversed(_GRADES)]
    return max(grade(since["n_new"]), _grade(foci, _FOCI_GRADES), key=order.index)


def _microbleeds(lesions: list[Row]) -> list[Row]:
    """Definite lesions that are not too large for a microbleed."""
    return [row for row in lesions if row["label"] == "definite" and not row["macrohaemorrhage"]]


def _warnings(since: Row | None, scan: Row) -> list[str]:
    warnings = [] if since is None or since["comparable"] else [_difference(since)]
    if scan.get("contrast") == "SWI":
        warnings.append("SWI: the grades are defined on GRE")
    return warnings


def _at_baseline(number: int) -> str:
    if number > _MOST_AT_BASELINE:
        return f"above {_MOST_AT_BASELINE}"
    return "none" if not number else f"1 to {_MOST_AT_BASELINE}"


def grade(number: int) -> str:
    """The grade of a number of new microbleeds.

    >>> [grade(number) for number in (0, 4, 5, 10)]
    ['none', 'mild', 'moderate', 'severe']
    """
    return _grade(number, _GRADES)


def _grade(number: int, grades: tuple[tuple[int, str], ...]) -> str:
    return next(name for least, name in grades if number >= least)


def _graded(pair: Row) -> str:
    """New microbleeds of a pair with their grade; no grade where the sequences differ."""
    if not pair["comparable"]:
        return "not graded"
    return f"{pair['n_new']}, {grade(pair['n_new'])}"


def _difference(pair: Row) -> str:
    return f"another sequence than at baseline ({pair['difference'] or 'not known in what'})"


def _safety(
    visits: dict[str, list[Visit]], arms: dict[str, str | None], grades: list[str]
) -> list[SafetyRow]:
    """Rows by visit, in the order in which visits are first seen, and arm."""
    cells: dict[tuple[str, str], list[str]] = {}
    order: dict[str, int] = {}
    for person in sorted(visits):
        for place, visit in enumerate(visits[person][1:], start=1):
            order[visit.name] = min(place, order.get(visit.name, place))
            cells.setdefault((visit.name, str(arms.get(person) or "all")), []).append(
                visit.since_baseline
            )
    rows = []
    for (name, arm), said in sorted(cells.items(), key=lambda one: (order[one[0][0]], one[0])):
        number = Counter(one.partition(", ")[2] for one in said)
        rows.append(SafetyRow(name, arm, len(said), [number[name] for name in grades], number[""]))
    return rows
