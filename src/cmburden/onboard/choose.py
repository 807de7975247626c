"""Chooses among sources of a session that are one image twice: derived twins, repeated T1w."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from cmburden.onboard.names import Labelled
from cmburden.onboard.parts import Passed
from cmburden.onboard.rules import words_of


def choose(sources: Sequence[Labelled]) -> tuple[list[Labelled], list[Passed]]:
    """Sources to convert, and those that another of the session stands for."""
    left_out: dict[int, Passed] = {}
    groups: dict[tuple[str, str | None, str | None], list[Labelled]] = defaultdict(list)
    for one in sources:
        groups[(*one.visit, one.decision.rule)].append(one)
    for group in groups.values():
        preferred = group[0].decision.prefer
        if preferred is not None:
            _prefer(group, preferred, left_out)
        if group[0].decision.keep_first:
            _first(group, left_out)
    return [one for one in sources if id(one) not in left_out], [
        left_out[id(one)] for one in sources if id(one) in left_out
    ]


def _prefer(group: Sequence[Labelled], word: str, left_out: dict[int, Passed]) -> None:
    """Leave out sources without ``word`` in ImageType where the session has some with it."""
    marked = [one for one in group if word in words_of(one.source.header)]
    if not marked:
        return
    for one in group:
        if one not in marked:
            left_out[id(one)] = _passed(
                one,
                f"the {word.lower()} image of the same series is used ({marked[0].source.place})",
            )


def _first(group: Sequence[Labelled], left_out: dict[int, Passed]) -> None:
    """Leave out all but the earliest."""
    first, *later = sorted(group, key=lambda one: one.order)
    for one in later:
        left_out[id(one)] = _passed(
            one, f"another {one.decision.suffix} of the session is used ({first.source.place})"
        )


def _passed(one: Labelled, reason: str) -> Passed:
    source = one.source
    return Passed(source.place, reason, source.participant, one.decision.rule, source)
