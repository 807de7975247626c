"""Names of images as BIDS has them. ``run-`` stands only where a session has repeats."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Callable, Sequence

from cmburden.core.errors import CMBurdenError
from cmburden.core.text import natural
from cmburden.onboard.convert import Made
from cmburden.onboard.parts import Source
from cmburden.onboard.rules import Decision

#: Label of participant or session -> what it is of.
LabelOf = Callable[[Source], tuple[str, str | None]]


@dataclasses.dataclass(frozen=True)
class Labelled:
    """A source with the BIDS labels of its participant and session, and what a rule says of it."""

    source: Source
    participant: str
    session: str | None
    decision: Decision

    @property
    def visit(self) -> tuple[str, str | None]:
        return self.participant, self.session

    @property
    def order(self) -> tuple[object, ...]:
        """Sort key of repeats: by time, then by the scanner's number of the series."""
        number = self.source.header.get("SeriesNumber")
        return (
            self.source.date or "",
            self.source.time or "",
            float(number) if isinstance(number, (int, float)) else 0.0,
            natural(self.source.place),
            self.source.header.get("ImageType", []) and str(self.source.header["ImageType"]),
        )


def plain(text: str) -> str:
    """``text`` as a BIDS label.

    >>> plain("002_S_0685")
    '002S0685'
    """
    return re.sub(r"[^A-Za-z0-9]", "", text)


def labelled(sources: Sequence[tuple[Source, Decision]], label_of: LabelOf) -> list[Labelled]:
    """``sources`` with their labels.

    Raises
    ------
    CMBurdenError
        Where two participants would have one label, or one has none.
    """
    people: dict[str, set[str]] = defaultdict(set)
    rows = []
    for source, decision in sources:
        participant, session = label_of(source)
        if (
            not participant
            or plain(participant) != participant
            or (session is not None and (not session or plain(session) != session))
        ):
            raise CMBurdenError(
                f"{source.place}: participant {source.participant!r} and session "
                f"{source.session!r} give no BIDS label of letters and digits; rename them"
            )
        people[participant].add(source.participant)
        rows.append(Labelled(source, participant, session, decision))
    for participant, ids in sorted(people.items()):
        if len(ids) > 1:
            raise CMBurdenError(
                f"sub-{participant}: stands for {len(ids)} participants "
                f"({', '.join(sorted(ids))}); rename one of them"
            )
    return rows


def name_of(
    labels: tuple[str, str | None], suffix: str, entities: Sequence[tuple[str, str]]
) -> str:
    """A name without ending.

    >>> name_of(("ADNI002S0685", "M000"), "MEGRE", (("run", "1"), ("echo", "2")))
    'sub-ADNI002S0685_ses-M000_run-1_echo-2_MEGRE'
    """
    participant, session = labels
    parts = [("sub", participant), *([("ses", session)] if session else []), *entities]
    return "_".join([*(f"{key}-{value}" for key, value in parts), suffix])


def folder_of(labels: tuple[str, str | None]) -> str:
    """Folder of a session's images, below the BIDS folder."""
    participant, session = labels
    return "/".join([f"sub-{participant}", *([f"ses-{session}"] if session else []), "anat"])


def named(images: Sequence[tuple[Labelled, Made]]) -> list[str]:
    """A name for each image.

    Sources that give images of one name are repeats: they are numbered by time. All images of a
    source have one number among those of its suffix.
    """
    same: dict[tuple[object, ...], list[Labelled]] = defaultdict(list)
    for one, made in images:
        same[_bare(one, made)].append(one)
    numbers: dict[tuple[object, ...], dict[int, int]] = {}
    for key, repeats in same.items():
        ordered = sorted({id(one): one for one in repeats}.values(), key=lambda one: one.order)
        numbers[key] = {id(one): number for number, one in enumerate(ordered, 1)}
    names = []
    for one, made in images:
        runs = numbers[_bare(one, made)]
        entities = list(made.entities)
        if len(runs) > 1:
            entities.insert(0, ("run", str(runs[id(one)])))
        names.append(name_of(one.visit, made.suffix, _ordered(entities)))
    return names


def _bare(one: Labelled, made: Made) -> tuple[object, ...]:
    return (*one.visit, made.suffix, made.entities)


#: Order of entities in a name (BIDS 1.10).
_ENTITIES = ("acq", "ce", "rec", "dir", "run", "echo", "part", "chunk")


def _ordered(entities: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """``entities`` in the order of BIDS."""
    return sorted(
        entities, key=lambda pair: _ENTITIES.index(pair[0]) if pair[0] in _ENTITIES else -1
    )
