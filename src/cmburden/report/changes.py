"""Section: change over sessions, and a page a participant with the sessions side by side.

Beside `summary` the section reads `pairs`. The pages read `pairs`, `changes` and the pictures of
the stage longitudinal.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jinja2

from cmburden.core.files import whole_file
from cmburden.core.paths import Layout
from cmburden.core.rows import grouped
from cmburden.core.schema import as_records
from cmburden.core.tables import CHANGES, GROUPS, PAIRS
from cmburden.core.text import natural
from cmburden.report import monitoring, scan_files
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row, level
from cmburden.summary.bins import bin_labels
from cmburden.summary.incidence import FALSE_NEW, YEARS
from cmburden.summary.measures import (
    AriaHStyle,
    Attended,
    ChangedLesions,
    ConfirmedNew,
    CumulativeIncidence,
    GroupRate,
    IncidenceRatio,
    LesionRate,
    NotCompared,
    Participants,
    PersonYears,
    RateAtFalseNew,
    SessionPairs,
    Sessions,
)
from cmburden.summary.names import Measure
from cmburden.summary.strata import EVERYBODY, Stratum

_PERCENT = 100
_CONTRASTS = ("GRE", "SWI")
#: Most rows of a table of the section; all stand in `pairs`.
_MOST_ROWS = 200
#: Order of changes on a page: the smaller, the more a reader wants to see the lesion.
_ORDER = {"new": 0, "lost": 1, "not comparable": 2, "persisting": 3}
#: Reasons of `changes` in words.
_WHY = {
    "found in both": "found in both",
    "score": "found in one; the score at its place in the other says that it was missed",
    "found before and after": "not found in between, but before and after",
    "not found": "not found in the other",
    "not in view": "outside the other session's brain mask",
}


@dataclasses.dataclass(frozen=True)
class SessionStatus:
    """What became of sessions, with the row of `summary` that counts them."""

    status: str
    row: Row


@dataclasses.dataclass(frozen=True)
class ChangeOf:
    """Rows of `summary` of a contrast, or of all scans; ``once``: seen in one session only."""

    name: str
    compared: Row
    with_new: Row
    new: Row
    persisting: Row
    once: Row
    lost: Row
    not_comparable: Row
    years: Row
    rate: Row
    clustered: Row
    weighted: Row
    categories: list[Row]
    groups: list[Row]
    share_confirmed: Row
    confirmed: Row
    at_false_new: list[Row]
    cumulative: list[Row]


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of longitudinal.* as the pages print them; the tolerance in percent."""

    max_mm: str
    prior: str
    missed_from: str
    tolerance: str


@dataclasses.dataclass(frozen=True)
class Changes:
    """Content of _changes.html.j2.

    ``people``, ``pairs``, ``untimed``: rows of `summary`. ``gained`` and ``flagged``: rows of
    `pairs` with a new microbleed, and of different sequences; each with the number of rows left
    out. ``attended``: by number of sessions; ``not_compared``: by reason; ``ratios``: by term.
    ``links``: page by participant.
    """

    people: Row
    sessions: list[SessionStatus]
    pairs: Row
    untimed: Row
    attended: list[tuple[str, Row]]
    not_compared: list[tuple[str, Row]]
    ratios: list[tuple[str, Row]]
    groups: tuple[str, ...]
    false_new: tuple[str, ...]
    years: tuple[str, ...]
    strata: list[ChangeOf]
    bins: list[str]
    flagged: list[Row]
    flagged_left: int
    gained: list[Row]
    gained_left: int
    links: dict[str, str]
    settings: Settings


def select(tables: ReportTables, layout: Layout, config: dict[str, Any]) -> Changes | None:
    """None if nobody has several sessions. Reads `pairs` beside `summary`."""
    several = Participants("with several sessions")
    people = tables.estimate(EVERYBODY, several)
    if not people["n"]:
        return None
    # Contrasts of the pairs: nobody's chosen scan need have one of them.
    of_pairs = [(name, Stratum(contrast=name)) for name in _CONTRASTS]
    strata = [one for one in of_pairs if tables.count(one[1], several)] or [("All", EVERYBODY)]
    pairs = PAIRS.read(layout.table("pairs"))
    consecutive = pairs[pairs["consecutive"].astype(bool)]
    comparable = consecutive["comparable"].astype(bool)
    flagged = consecutive[~comparable]
    gained = consecutive[comparable & (consecutive["n_new"] > 0)]
    labels = bin_labels(config["longitudinal"]["bins"])
    return Changes(
        people=people,
        sessions=[
            SessionStatus(measure.status, row) for measure, row in tables.of(Sessions, EVERYBODY)
        ],
        pairs=tables.estimate(EVERYBODY, SessionPairs()),
        untimed=tables.estimate(EVERYBODY, SessionPairs("without a time between")),
        attended=[(measure.number, row) for measure, row in tables.of(Attended, EVERYBODY)],
        not_compared=[(measure.reason, row) for measure, row in tables.of(NotCompared, EVERYBODY)],
        ratios=[(measure.term, row) for measure, row in tables.of(IncidenceRatio, EVERYBODY)],
        groups=GROUPS,
        false_new=FALSE_NEW,
        years=YEARS,
        strata=[_stratum(tables, name, stratum, labels) for name, stratum in strata],
        bins=[level(label) for label in labels],
        flagged=as_records(flagged.head(_MOST_ROWS)),
        flagged_left=max(0, len(flagged) - _MOST_ROWS),
        gained=as_records(gained.head(_MOST_ROWS)),
        gained_left=max(0, len(gained) - _MOST_ROWS),
        links={name: f"../{layout.changes_page(name).name}" for name in pairs["participant_id"]},
        settings=_settings(config),
    )


def _settings(config: dict[str, Any]) -> Settings:
    settings = config["longitudinal"]
    return Settings(
        max_mm=f"{settings['max_distance_mm']:g}",
        prior=f"{settings['prior_there']:g}",
        missed_from=f"{settings['missed_from']:g}",
        tolerance=f"{_PERCENT * settings['tolerance']:g}",
    )


def _stratum(tables: ReportTables, name: str, stratum: Stratum, labels: list[str]) -> ChangeOf:
    def estimate(measure: Measure) -> Row:
        return tables.estimate(stratum, measure)

    return ChangeOf(
        name=name,
        compared=estimate(Participants("compared")),
        with_new=estimate(Participants("with a new lesion")),
        new=estimate(ChangedLesions("new")),
        persisting=estimate(ChangedLesions("persisting")),
        once=estimate(ChangedLesions("persisting", "found in one session only")),
        lost=estimate(ChangedLesions("lost")),
        not_comparable=estimate(ChangedLesions("not comparable")),
        years=estimate(PersonYears()),
        rate=estimate(LesionRate("new")),
        clustered=estimate(LesionRate("new", "clustered")),
        weighted=estimate(LesionRate("new", "weighted by 1 - p_missed")),
        categories=[estimate(AriaHStyle(label)) for label in labels],
        groups=[estimate(GroupRate(group)) for group in GROUPS],
        share_confirmed=estimate(ConfirmedNew()),
        confirmed=estimate(LesionRate("new", "confirmed by readers")),
        at_false_new=[estimate(RateAtFalseNew(assumed)) for assumed in FALSE_NEW],
        cumulative=[estimate(CumulativeIncidence(years)) for years in YEARS],
    )


def write_pages(
    pages: jinja2.Environment,
    shared: dict[str, Any],
    layout: Layout,
    config: dict[str, Any],
    tables: ReportTables,
) -> list[str]:
    """Write a page for each participant of `pairs` and return their names.

    Pages of participants who no longer have several sessions are deleted. ``shared``: title and
    version; ``pages``: the report's environment with its filters.
    """
    pairs = grouped(PAIRS.read(layout.table("pairs")), "participant_id")
    changes = grouped(CHANGES.read(layout.table("changes")), "participant_id")
    page = pages.get_template("changes.html.j2")
    max_mm = _settings(config).max_mm
    visits = monitoring.of_everybody(tables, layout)
    lesions = grouped(tables.lesions, "scan_id")
    for name in sorted(pairs):
        content = participant(name, pairs[name], changes.get(name, []), layout)
        content |= {"visits": visits.get(name, []), "viewers": _Viewers.of(layout, name)}
        content["sessions"] = _sessions(tables, layout, pairs[name], lesions)
        with whole_file(layout.changes_page(name)) as temporary:
            temporary.write_text(
                page.render(shared | content | {"max_mm": max_mm}), encoding="utf-8"
            )
    pattern: Path = layout.changes_page("sub-*")
    for path in pattern.parent.glob(pattern.name):
        if path.name not in {layout.changes_page(name).name for name in pairs}:
            path.unlink()
    return sorted(pairs)


def participant(
    name: str, pairs: list[dict[str, Any]], changes: list[dict[str, Any]], layout: Layout
) -> dict[str, Any]:
    """Variables of `changes.html.j2`: each pair with its lesions, then each lesion's picture.

    ``pairs`` and ``changes`` are the participant's rows of these tables. Lesions that changed come
    first.
    """
    by_pair: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in changes:
        with_words = row | {"why_words": _WHY[row["why"]]}
        by_pair.setdefault((row["scan_id_1"], row["scan_id_2"]), []).append(with_words)
    sections = []
    for pair in pairs:
        rows = by_pair.get((pair["scan_id_1"], pair["scan_id_2"]), [])
        rows.sort(key=lambda row: (_ORDER[row["change"]], row["label"], row["track_id"]))
        sections.append(pair | {"rows": rows, "names": _names(pair)})
    sections.sort(key=lambda pair: (not pair["consecutive"], pair["scan_id_1"], pair["scan_id_2"]))
    return {"participant": name, "pairs": sections, "lesions": _lesions(name, sections, layout)}


@dataclasses.dataclass(frozen=True)
class _Viewers:
    """What all viewers of a page share, as on a participant's page."""

    library: str
    regions: dict[int, dict[str, Any]]
    region_legend: list[dict[str, Any]]

    @classmethod
    def of(cls, layout: Layout, name: str) -> _Viewers:
        library = scan_files.link(layout.viewer_script, layout.changes_page(name))
        return cls(library, scan_files.regions(), scan_files.region_legend())


def _sessions(
    tables: ReportTables, layout: Layout, pairs: list[Row], lesions: dict[str, list[Row]]
) -> list[dict[str, Any]]:
    """The sessions of a participant whose scan has a viewer, in their order; none below two."""
    names: dict[str, str] = {}
    for pair in sorted(pairs, key=lambda pair: not pair["since_baseline"]):
        for which, name in zip((1, 2), _names(pair), strict=True):
            names.setdefault(pair[f"scan_id_{which}"], name)
    sessions = []
    for scan_id, name in names.items():
        page = layout.changes_page(pairs[0]["participant_id"])
        files = scan_files.files(tables, layout, scan_id, page)
        marks = [scan_files.mark(row) for row in lesions.get(scan_id, [])]
        if files.viewer:
            sessions.append(
                {"name": name, "scan_id": scan_id, "files": files, "marks": json.dumps(marks)}
            )
    return sessions if len(sessions) > 1 else []


def _lesions(name: str, pairs: list[dict[str, Any]], layout: Layout) -> list[dict[str, Any]]:
    """Each lesion once: its calls in consecutive sessions, its picture if there is one.

    ``found``: by session, in the order of the picture, whether it shows the lesion.
    """
    lesions: dict[int, dict[str, Any]] = {}
    for pair in pairs:
        for row in pair["rows"]:
            lesion = lesions.setdefault(row["track_id"], _lesion(name, row, layout))
            for which in (1, 2):
                place = [row[f"{axis}_mm_{which}"] for axis in "xyz"]
                lesion["places"].setdefault(row[f"scan_id_{which}"], place)
                is_found = row[f"probability_{which}"] is not None
                lesion["found"].setdefault(pair["names"][which - 1], is_found)
            lesion["order"] = min(lesion["order"], _ORDER[row["change"]])
            if pair["consecutive"]:
                lesion["calls"].append(f"{row['change']} {' to '.join(pair['names'])}")
    for lesion in lesions.values():
        # In the order of the picture's columns.
        lesion["found"] = sorted(lesion["found"].items(), key=lambda one: natural(one[0]))
    return sorted(lesions.values(), key=lambda lesion: (lesion["order"], lesion["track_id"]))


def _lesion(name: str, row: dict[str, Any], layout: Layout) -> dict[str, Any]:
    path = layout.change_figure(name, row["track_id"])
    return {
        "track_id": row["track_id"],
        "region": row["region"],
        "hemisphere": row["hemisphere"],
        "calls": [],
        "places": {},
        "found": {},
        "order": _ORDER[row["change"]],
        "picture": path.relative_to(layout.root).as_posix() if path.exists() else None,
    }


def _names(pair: dict[str, Any]) -> tuple[str, str]:
    """Names of the two sessions; those of the scans where the tree has no sessions."""
    first, second = (pair[f"session_id_{k}"] or pair[f"scan_id_{k}"] for k in (1, 2))
    return first, second
