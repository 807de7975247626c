"""Section: the STROBE checklist, each item with the section of the page that answers it.

The 22 items of the version for cohort and cross-sectional studies (von Elm 2007), in other words.
The checklist asks where a paper says a thing. The run can answer for its own part alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from cmburden.summary.published import REFERENCES, Reference

#: Who answers an item: the run, the author, or both a part of it.
By = Literal["from the run", "yours to write", "in part from the run"]
RUN: By = "from the run"
YOURS: By = "yours to write"
BOTH: By = "in part from the run"
SOURCE = "vonElm2007"


@dataclasses.dataclass(frozen=True)
class Item:
    """An item: its number, topic, what it asks, who answers, and sections of the page by id."""

    number: str
    topic: str
    asks: str
    by: By
    sections: tuple[str, ...] = ()
    remains: str = ""


ITEMS = (
    Item(
        "1",
        "Title, abstract",
        "The design is named; the abstract sums up what was done and found.",
        YOURS,
    ),
    Item("2", "Background", "Why the study is needed.", YOURS),
    Item("3", "Objectives", "Aims and hypotheses, stated before the analysis.", YOURS),
    Item("4", "Design", "Key elements of the design, early in the paper.", YOURS),
    Item(
        "5",
        "Setting",
        "Places and dates of recruitment, follow-up and imaging.",
        BOTH,
        ("acquisition",),
        "places and dates",
    ),
    Item(
        "6",
        "Participants",
        "Criteria and ways of selection; of a cohort, the follow-up.",
        BOTH,
        ("flow",),
        "recruitment and criteria before the scan",
    ),
    Item(
        "7",
        "Variables",
        "Outcomes, exposures, confounders and effect modifiers are defined.",
        BOTH,
        ("methods", "models"),
        "why each covariate is a confounder",
    ),
    Item(
        "8",
        "Measurement",
        "How each variable was measured, and whether alike in all groups.",
        BOTH,
        ("methods", "acquisition", "operating-point"),
        "clinical variables",
    ),
    Item(
        "9",
        "Bias",
        "What was done about sources of bias.",
        BOTH,
        ("correction", "review", "limitations"),
        "bias by recruitment",
    ),
    Item("10", "Study size", "How the number of participants came about.", YOURS),
    Item(
        "11",
        "Quantitative variables",
        "Groupings of quantitative variables, and why.",
        BOTH,
        ("burden", "who", "methods"),
        "why these groupings",
    ),
    Item(
        "12",
        "Statistical methods",
        "Methods, confounding, subgroups, missing values, loss and sampling, sensitivity analyses.",
        RUN,
        ("methods", "models", "correction"),
    ),
    Item(
        "13",
        "Flow",
        "Numbers at each stage, with reasons.",
        BOTH,
        ("flow", "included"),
        "stages before the scan",
    ),
    Item(
        "14",
        "Descriptive data",
        "Characteristics of the participants, and missing values of each variable.",
        BOTH,
        ("table-one", "who", "acquisition"),
        "clinical and social characteristics that participants.tsv lacks",
    ),
    Item(
        "15",
        "Outcome data",
        "Numbers with the outcome; of a cohort, events over time.",
        RUN,
        ("burden", "where", "changes"),
    ),
    Item(
        "16",
        "Main results",
        "Crude and adjusted estimates with precision; boundaries of categories.",
        RUN,
        ("burden", "correction", "models"),
    ),
    Item(
        "17",
        "Other analyses",
        "Subgroups, interactions and sensitivity analyses.",
        BOTH,
        ("who", "correction", "models"),
        "what was planned before",
    ),
    Item("18", "Key results", "The results against the objectives.", YOURS),
    Item(
        "19",
        "Limitations",
        "Bias and imprecision, with direction and size.",
        BOTH,
        ("limitations",),
        "direction and size of bias by recruitment",
    ),
    Item(
        "20",
        "Interpretation",
        "A cautious reading, in view of similar studies.",
        BOTH,
        ("who",),
        "all but the published prevalences",
    ),
    Item(
        "21",
        "Generalisability",
        "To whom the results apply.",
        BOTH,
        ("operating-point",),
        "the population behind the sample",
    ),
    Item("22", "Funding", "Funders and their part.", YOURS),
)


@dataclasses.dataclass(frozen=True)
class Answered:
    """An item, with id and title of the sections of this page that answer it."""

    item: Item
    links: list[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Strobe:
    """Content of _strobe.html.j2."""

    items: list[Answered]
    source: Reference


def select(titles: Mapping[str, str]) -> Strobe:
    """``titles`` of the sections of the page by id; a section that is not there gets no link."""
    answered = [
        Answered(item, [(name, titles[name]) for name in item.sections if name in titles])
        for item in ITEMS
    ]
    return Strobe(answered, REFERENCES[SOURCE])
