"""Deals people to folds: nobody is in two, and each has people with microbleeds."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cmburden.core.errors import CMBurdenError
from cmburden.core.keys import hash_of
from cmburden.models.people import Person

#: Fewest folds: the networks for a fold's probability leave out two, and learn from the others.
LEAST_FOLDS = 3
#: Fewest people with microbleeds in a fold, and fewest people in all folds but one: the
#: probability of a fold is fitted on the others, in five parts.
LEAST_POSITIVE, LEAST_OTHERS = 2, 5


def deal(people: Sequence[Person], positive: Collection[str], count: int) -> dict[str, int]:
    """The fold of each participant, from 0, by label.

    ``positive`` are participants with microbleeds. The folds of the table of people are taken where
    it names ``count`` of them. Else people are dealt in an order that depends on their ids alone,
    those with microbleeds first, so that each fold has its share of them.

    Raises
    ------
    CMBurdenError
        When there are too few people, or too few with microbleeds.
    """
    if count < LEAST_FOLDS:
        raise CMBurdenError(
            f"--folds {count}: give at least {LEAST_FOLDS}; of two folds one would be left to "
            "learn and to calibrate on"
        )
    labels: dict[str, list[str]] = {}
    for person in people:
        labels.setdefault(person.key, []).append(person.participant_id)
    bleeding = {key for key, own in labels.items() if any(label in positive for label in own)}
    _check_number(len(labels), len(bleeding), count)
    fold = _of_the_table(people, count)
    if fold is None or not _fits(fold, bleeding, count):
        order = sorted(labels, key=lambda key: (key not in bleeding, hash_of("fold", key)))
        fold = {key: number % count for number, key in enumerate(order)}
    return {label: fold[key] for key, own in sorted(labels.items()) for label in own}


def _check_number(number: int, bleeding: int, count: int) -> None:
    if not bleeding:
        raise CMBurdenError(
            "no scan that was read has a microbleed in the truth table: nothing to tune on"
        )
    needed = LEAST_POSITIVE * count
    others = number - -(-number // count)
    if bleeding < needed or others < LEAST_OTHERS:
        raise CMBurdenError(
            f"{number} people, {bleeding} of them with microbleeds, are too few for {count} folds: "
            f"it takes {needed} with microbleeds, and {LEAST_OTHERS} people outside of each fold; "
            f"give --folds {LEAST_FOLDS}, or more labelled scans"
        )


def _of_the_table(people: Sequence[Person], count: int) -> dict[str, int] | None:
    """The folds of the table of people; None where it has another number of them."""
    names = sorted({person.fold for person in people if person.fold is not None})
    if len(names) != count or any(person.fold is None for person in people):
        return None
    fold: dict[str, int] = {}
    for person in people:
        number = names.index(str(person.fold))
        if fold.setdefault(person.key, number) != number:
            raise CMBurdenError(
                f"{person.participant_id}: the table of people puts this person into two folds; "
                "write it anew"
            )
    return fold


def _fits(fold: dict[str, int], bleeding: set[str], count: int) -> bool:
    """Whether each fold has its people with microbleeds, and enough people outside."""
    numbers = list(fold.values())
    return all(
        sum(fold[key] == number for key in bleeding) >= LEAST_POSITIVE
        and len(numbers) - numbers.count(number) >= LEAST_OTHERS
        for number in range(count)
    )
