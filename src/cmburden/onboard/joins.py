"""Which image a row of a table is of: by the ids of its series, or by participant and day.

A key is the name of an id and its value. Letters that LONI puts before its numbers are no part of
it: ``I346239`` is 346239.
"""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from cmburden.core import config
from cmburden.core.foreign import UnreadableFile, read_json_object
from cmburden.index.choose import echo_rank
from cmburden.index.values import echo_time
from cmburden.onboard.days import day_of
from cmburden.onboard.parts import Image, Source
from cmburden.onboard.sheets import whole

Key = tuple[str, str]
#: Names of the keys in the order of trust.
UID, IMAGE, SERIES, DAY = "SERIES_UID", "LONI_IMG_ID", "LONI_SERIES", "RID and SCANDATE"
ORDER = (UID, IMAGE, SERIES, DAY)
#: Part of a signal that no reader looks at alone.
_NOT_READ = {"phase", "real", "imag"}
_ENTITY = re.compile(r"(?:^|_)([A-Za-z]+)-([A-Za-z0-9]+)")
#: Suffixes of the contrast that readers look at where a series gives several contrasts.
_SWI = {"swi", "SWI"}


def loni_number(text: str) -> str:
    """A number of LONI without its letter.

    >>> loni_number("I346239"), loni_number("S114041"), loni_number("900001.0")
    ('346239', '114041', '900001')
    """
    return re.sub(r"^[A-Za-z]+(?=\d)", "", whole(text))


def rid(participant: str) -> str:
    """ADNI's or AIBL's number of a participant.

    >>> rid("002_S_0685"), rid("ADNI002S0685"), rid("0009"), rid("B90000001")
    ('685', '685', '9', 'B90000001')
    """
    text = whole(participant)
    found = re.search(r"(?:\d{3}_?S_?|^)(\d+)$", text)
    return str(int(found[1])) if found else text


def keys_of(source: Source) -> tuple[Key, ...]:
    """The keys of a series, in the order of trust."""
    day = day_of(source.date) if source.date else None
    of_day = f"{rid(source.participant)} {day.isoformat()}" if day else ""
    values = (
        (source.uid or "").strip(),
        loni_number(source.image_id or ""),
        loni_number(source.series_id or ""),
        of_day,
    )
    return tuple((name, value) for name, value in zip(ORDER, values, strict=True) if value)


@dataclasses.dataclass(frozen=True)
class Scans:
    """The images that readers can have read: one an acquisition, neither T1w nor phase.

    Of several echoes it is the one that CMBurden searches.
    """

    images: tuple[Image, ...]
    by_key: Mapping[Key, tuple[Image, ...]]

    @classmethod
    def of(cls, images: Iterable[Image]) -> Scans:
        settings = config.defaults()["index"]
        series: dict[tuple[str, str | None, str], list[Image]] = defaultdict(list)
        for image in images:
            named = entities(image)
            if settings["suffixes"].get(image.suffix) and named.get("part") not in _NOT_READ:
                name = re.sub(r"_echo-[A-Za-z0-9]+", "", image.scan_id)
                series[image.participant_id, image.session_id, name].append(image)
        within = settings["echo_time_ms"]
        chosen = [_best_echo(echoes, within) for echoes in series.values()]
        keys: dict[Key, list[Image]] = defaultdict(list)
        for image, echoes in zip(chosen, series.values(), strict=True):
            for key in dict.fromkeys(key for echo in echoes for key in keys_of(echo.source)):
                keys[key].append(image)
        ordered = sorted(chosen, key=lambda image: image.scan_id)
        return cls(tuple(ordered), {key: tuple(found) for key, found in keys.items()})

    def fitting(self, keys: Sequence[Key]) -> tuple[str, tuple[Image, ...]]:
        """Name of the first of ``keys`` that any image has, and these images."""
        for key in keys:
            if found := self.by_key.get(key):
                return key[0], found
        return "", ()

    def of_person(self, participant: str, session: str) -> tuple[Image, ...]:
        """Images by the participant's label or own id, and the session's where one is given.

        Of a susceptibility-weighted image and its magnitude, readers read the former.
        """
        found = [
            image
            for image in self.images
            if participant.removeprefix("sub-")
            in {image.participant_id.removeprefix("sub-"), image.source.participant}
            and (not session or session.removeprefix("ses-") in sessions_of(image))
        ]
        weighted = [image for image in found if image.suffix in _SWI]
        return tuple(weighted if len(weighted) == 1 and len(found) > 1 else found)


def sessions_of(image: Image) -> set[str]:
    """All names of an image's session: its label, the cohort's own, and the day."""
    names = {(image.session_id or "").removeprefix("ses-"), image.source.session or ""}
    day = day_of(image.source.date) if image.source.date else None
    if day:
        names |= {day.isoformat(), day.strftime("%Y%m%d")}
    return names - {""}


def entities(image: Image) -> dict[str, str]:
    """Entities of a BIDS name: {"sub": "01", "echo": "2"}."""
    return dict(_ENTITY.findall(image.scan_id))


def _best_echo(echoes: Sequence[Image], within_ms: Sequence[float]) -> Image:
    """The echo that the index chooses."""

    def rank(image: Image) -> tuple[bool, float, int, str]:
        seconds = _echo_time_s(image) if len(echoes) > 1 else None
        return echo_rank(seconds, entities(image).get("echo"), image.scan_id, within_ms)

    return max(echoes, key=rank)


def _echo_time_s(image: Image) -> float | None:
    """EchoTime of the image's sidecar, or of its cohort's layout, s."""
    name = image.path.name.removesuffix(".gz").removesuffix(".nii")
    try:
        fields = read_json_object(image.path.with_name(f"{name}.json"))
    except UnreadableFile:
        fields = dict(image.source.fixed.sidecar) if image.source.fixed else {}
    return echo_time(fields.get("EchoTime"))[0]
