"""Section: the methods paragraph, rendered from the configuration of the run.

The paragraph cannot contradict the configuration. The names of the models are those of their
contracts.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jinja2
from markupsafe import Markup

import cmburden
from cmburden.cohort import choose
from cmburden.report import strobe
from cmburden.summary import bins, image_checks, thresholds
from cmburden.summary.published import ANCHORS, REFERENCES, Reference


@dataclasses.dataclass(frozen=True)
class Methods:
    """Content of _methods.html.j2: the paragraph as HTML, and the references of the page."""

    text: Markup
    references: list[Reference]


def select(
    pages: jinja2.Environment,
    config: dict[str, Any],
    contracts: dict[str, dict[str, Any]],
    models: bool,
) -> Methods:
    """The paragraph, and in order the references of it and of the published prevalences.

    ``contracts`` by stage, of the stages whose model has one; ``models``: whether regressions were
    made; ``pages``: the report's environment.
    """
    cited: list[str] = []

    def cite(*keys: str) -> Markup:
        cited.extend(keys)
        links = [
            Markup('<a href="#ref-{}">{}</a>').format(key, REFERENCES[key].short) for key in keys
        ]
        return Markup("(") + Markup("; ").join(links) + ")"

    text = pages.get_template("methods.html.j2").render(
        cite=cite,
        config=config,
        version=cmburden.__version__,
        detector=_id(contracts, "detect"),
        verifier=_id(contracts, "verify"),
        thresholds=thresholds.in_use(config),
        rules=[choose.CHOICE_RULES[rule] for rule in config["aggregate"]["choose_scan"]],
        bins=bins.bin_labels(config["report"]["bins"]),
        outlying=image_checks.OUTLYING,
        models=models,
    )
    cited += [*(anchor.reference for anchor in ANCHORS), strobe.SOURCE]
    return Methods(Markup(text), [REFERENCES[key] for key in dict.fromkeys(cited)])


def _id(contracts: dict[str, dict[str, Any]], stage: str) -> str | None:
    return contracts.get(stage, {}).get("id")
