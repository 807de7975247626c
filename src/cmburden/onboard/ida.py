"""Reads the folders and file names of LONI's Image and Data Archive (ADNI, AIBL, A4).

``<participant>/<description>/<date and time>/<I image id or S series id>/*.dcm``. Files of newer
downloads name both ids; series of old downloads lie in folders of their series id.
"""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath

from cmburden.core.foreign import printable
from cmburden.onboard import series as dicom_series
from cmburden.onboard.parts import Passed, Source

_WHEN = re.compile(r"(\d{4})-(\d{2})-(\d{2})_(\d{2})_(\d{2})_(\d{2})(?:\.\d+)?")
_ID = re.compile(r"([IS])(\d+)")
#: End of a file name: ``..._br_raw_20110708075915_12_S114041_I346239.dcm``.
_NAME = re.compile(r"_S(\d+)_I(\d+)\.\w+$|_I(\d+)\.\w+$|_S(\d+)\.\w+$")
#: Participant in the name of a file, behind the project.
_PERSON = re.compile(r"^[A-Za-z0-9]+?_(.+?)_MR_")


@dataclasses.dataclass(frozen=True)
class Place:
    """What the folders and the name of a file say; None where they are silent."""

    participant: str | None = None
    description: str | None = None
    date: str | None = None
    time: str | None = None
    image_id: str | None = None
    series_id: str | None = None


def place_of(path: PurePath) -> Place:
    """What ``path`` says of its image.

    >>> place_of(PurePath("ADNI/002_S_0685/Axial_T2-Star/2011-07-08_07_59_15.0/I346239/a.dcm"))
    Place(participant='002_S_0685', description='Axial_T2-Star', date='2011-07-08', \
time='07:59:15', image_id='346239', series_id=None)
    """
    parts = path.parts
    ids: dict[str, str] = {}
    when = participant = description = None
    for at in range(len(parts) - 2, 1, -1):
        match = _WHEN.fullmatch(parts[at])
        if match:
            when, description, participant = match, parts[at - 1], parts[at - 2]
            folder = _ID.fullmatch(parts[at + 1])
            if folder:
                ids[folder[1]] = folder[2]
            break
    name = _NAME.search(path.name)
    if name:
        series_id, image_id = name[1] or name[4], name[2] or name[3]
        # The folder was made by the archive; a name may be a person's.
        if image_id:
            ids.setdefault("I", image_id)
        if series_id:
            ids.setdefault("S", series_id)
    if participant is None:
        person = _PERSON.match(path.name)
        participant = person[1] if person else None
    return Place(
        participant=participant,
        description=description,
        date="-".join(when.groups()[:3]) if when else None,
        time=":".join(when.groups()[3:]) if when else None,
        image_id=ids.get("I"),
        series_id=ids.get("S"),
    )


def source_of(
    one: dicom_series.Series,
    person_of: Callable[[str], str | None],
    patient: Callable[[dicom_series.Series, str], str | None] | None = None,
) -> Source | Passed:
    """A series as a source, or why it is none.

    ``person_of`` gives the cohort's own id of a participant from the name of a folder or from
    PatientID, or None where the text is none. ``patient`` gives the participant in its stead.
    """
    place = place_of(PurePath(one.files[0].path))
    # Headers that were made anonymous may lack the description, which the folder's name still has.
    named = {"SeriesDescription": place.description} if place.description else {}
    echoes = tuple({**named, **header} for header in one.echoes.values())
    header = echoes[0]
    shown = min(one.places)
    people = _people(one, person_of) if patient is None else {patient(one, shown)} - {None}
    if len(people) != 1:
        several = ", ".join(sorted(printable(str(person)) for person in people))
        reason = (
            f"one series lies in the folders of several participants ({several}); "
            "remove the wrong folder"
            if people
            else "neither its folder nor its PatientID names a participant"
        )
        return Passed(shown, reason)
    date, time = when_of(header)
    return Source(
        place=shown,
        files=tuple(Path(file.path) for file in one.files),
        participant=str(people.pop()),
        date=place.date or date,
        time=place.time or time,
        header=header,
        uid=one.uid,
        image_id=place.image_id,
        series_id=place.series_id,
        variants=echoes,
        n_slices=one.n_slices,
        fault=dicom_series.fault_of(one),
        remark=one.remark,
    )


def _people(one: dicom_series.Series, person_of: Callable[[str], str | None]) -> set[str | None]:
    """Participants that the folders of a series name; else the one of its header."""
    by_folder = {
        person_of(place_of(PurePath(folder, "x")).participant or "") for folder in one.folders
    } - {None}
    if by_folder:
        return by_folder
    by_name = {
        person_of(place_of(PurePath(file.path)).participant or "") for file in one.files[:1]
    } - {None}
    return by_name or {person_of(str(one.header.get("PatientID", "")))} - {None}


def when_of(header: dicom_series.Header) -> tuple[str | None, str | None]:
    """Date and time of acquisition by a header, as ``2011-07-08`` and ``07:59:15``."""
    date = next(
        (
            str(header[key])
            for key in ("AcquisitionDate", "SeriesDate", "StudyDate")
            if re.fullmatch(r"\d{8}", str(header.get(key, "")))
        ),
        None,
    )
    time = next(
        (
            str(header[key])
            for key in ("AcquisitionTime", "SeriesTime", "StudyTime")
            if re.match(r"\d{6}", str(header.get(key, "")))
        ),
        None,
    )
    return (
        f"{date[:4]}-{date[4:6]}-{date[6:]}" if date else None,
        f"{time[:2]}:{time[2:4]}:{time[4:6]}" if time else None,
    )


def without_clashes(sources: Sequence[Source | Passed]) -> Iterator[Source | Passed]:
    """``sources``, where an id stands for one thing.

    Series that share an image id with another series are left out, all of them. An id of a series
    that stands in files of several participants is no id: it is dropped.
    """
    series = [source for source in sources if isinstance(source, Source)]
    by_image: dict[str, list[Source]] = defaultdict(list)
    people: dict[str, set[str]] = defaultdict(set)
    for one in series:
        by_image[one.image_id or ""].append(one)
        people[one.series_id or ""].add(one.participant)
    for source in sources:
        if isinstance(source, Passed):
            yield source
            continue
        others = [o for o in by_image[source.image_id or ""] if o.uid != source.uid]
        if source.image_id and others:
            yield Passed(
                source.place,
                f"image id {source.image_id} stands for another series too ({others[0].place}); "
                "keep the folder that the archive gave this id, and remove the other",
                source.participant,
                source=source,
            )
        elif source.series_id and len(people[source.series_id]) > 1:
            yield dataclasses.replace(source, series_id=None)
        else:
            yield source
