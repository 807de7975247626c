"""Writes what stands around the images of the BIDS tree: description, people, sessions."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cmburden import __version__
from cmburden.core.files import read_json, whole_file, write_json
from cmburden.core.text import natural
from cmburden.onboard.parts import Image, Person
from cmburden.onboard.paths import Onboarded

BIDS_VERSION = "1.10.0"
#: What a BIDS validator does not know: the suffix of SWI is a proposal still (BIDS pull request
#: 2538), that of minimum projections is none.
IGNORED = ("**/*_swi.*", "**/*_minIP.*")
#: Columns of participants.tsv beside the id -> what they hold.
COLUMNS: Mapping[str, Mapping[str, Any]] = {
    "age": {"Description": "Age at the first scan", "Units": "year"},
    "sex": {"Description": "Sex", "Levels": {"F": "female", "M": "male"}},
    "diagnosis": {
        "Description": "Diagnosis at the first scan",
        "Levels": {
            "CN": "cognitively normal",
            "MCI": "mild cognitive impairment",
            "AD": "dementia of Alzheimer type",
        },
    },
    "site": {"Description": "Site"},
}
_MISSING = "n/a"


def write(
    paths: Onboarded,
    images: Sequence[Image],
    people: Iterable[Person],
    *,
    name: str,
    notes: str,
    url: str | None = None,
) -> None:
    """Write dataset_description.json, participants.tsv, sessions.tsv and .bidsignore.

    Everybody with an image has a row; people without an image have none.
    """
    write_if_new(paths.bids / ".bidsignore", "\n".join(IGNORED) + "\n")
    write_if_new(
        paths.bids / "README",
        f"{name}, converted by CMBurden from a download. {notes}\n",
    )
    json_if_new(paths.bids / "dataset_description.json", _description(name, notes, url))
    by_visit = {(one.participant_id, one.session_id): one for one in people}
    visits: dict[str, dict[str | None, list[Image]]] = defaultdict(lambda: defaultdict(list))
    for image in images:
        visits[image.participant_id][image.session_id].append(image)
    rows = []
    for participant in sorted(visits, key=natural):
        sessions = visits[participant]
        ordered = sorted(sessions, key=lambda session: (_date(sessions[session]), natural(session)))
        seen = [by_visit.get((participant, session)) for session in ordered]
        rows.append([participant, *(_first(seen, column) for column in COLUMNS)])
        if None not in sessions:
            _write_sessions(paths, participant, ordered, sessions, seen)
    write_if_new(paths.bids / "participants.tsv", tsv(["participant_id", *COLUMNS], rows))
    json_if_new(paths.bids / "participants.json", COLUMNS)
    _forget_others(paths.bids, set(visits))


def _forget_others(bids: Path, participants: set[str]) -> None:
    """Remove the tables of sessions of people who have no image any more."""
    for table in bids.glob("sub-*/sub-*_sessions.tsv"):
        if table.parent.name not in participants:
            table.unlink()
            if not any(table.parent.iterdir()):
                table.parent.rmdir()


def _description(name: str, notes: str, url: str | None) -> dict[str, Any]:
    import dcm2niix

    description: dict[str, Any] = {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "HowToAcknowledge": notes,
        "GeneratedBy": [
            {"Name": "CMBurden", "Version": __version__, "Description": "cmburden onboard"},
            {"Name": "dcm2niix", "Version": dcm2niix.__version__},
        ],
    }
    if url is not None:
        description["SourceDatasets"] = [{"URL": url}]
    return description


def _write_sessions(
    paths: Onboarded,
    participant: str,
    ordered: Sequence[str | None],
    images: Mapping[str | None, Sequence[Image]],
    people: Sequence[Person | None],
) -> None:
    """The table of one participant's sessions, in the order of their dates."""
    rows = [
        [
            str(session),
            _acq_time(images[session]),
            _value(person.age if person else None),
            _value(person.diagnosis if person else None),
        ]
        for session, person in zip(ordered, people, strict=True)
    ]
    content = tsv(["session_id", "acq_time", "age", "diagnosis"], rows)
    table = paths.bids / participant / f"{participant}_sessions.tsv"
    # As many as participants: the next run writes those that a power failure takes.
    write_if_new(table, content, durable=False)


def _first(people: Sequence[Person | None], column: str) -> str:
    """The first value that is known of a person's sessions."""
    values = (getattr(person, column) for person in people if person is not None)
    return _value(next((value for value in values if value is not None), None))


def _value(value: object) -> str:
    if value is None:
        return _MISSING
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def _date(images: Sequence[Image]) -> str:
    return min((image.source.date or "9999" for image in images), default="9999")


def _acq_time(images: Sequence[Image]) -> str:
    """Date and time of the earliest image, as BIDS writes them."""
    times = [
        f"{image.source.date}T{image.source.time or '00:00:00'}"
        for image in images
        if image.source.date
    ]
    return min(times, default=_MISSING)


# --- files that stay as they are where nothing changes ---


def tsv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as text; tabs and line ends within values become blanks."""
    stream = io.StringIO()
    writer = csv.writer(
        stream, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
    )
    writer.writerow(header)
    writer.writerows([" ".join(value.split()) or _MISSING for value in row] for row in rows)
    return stream.getvalue()


def write_if_new(path: Path, content: str, *, durable: bool = True) -> None:
    """Write text unless the file holds it; ``durable`` as `core.files.whole_file` has it."""
    if path.exists() and path.read_bytes() == content.encode():
        return
    with whole_file(path, durable=durable) as temporary:
        temporary.write_text(content, encoding="utf-8")


def json_if_new(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON unless the file holds it."""
    if read_json(path) != dict(content):
        write_json(path, dict(content))
