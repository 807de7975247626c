"""The methods paragraph: rendered from the run's own configuration, so that it cannot disagree."""

from __future__ import annotations

from typing import Any

import jinja2
from markupsafe import Markup

import cmburden
from cmburden.cohort import choose as burden
from cmburden.summary import bins, image_checks, thresholds
from cmburden.summary.published import ANCHORS, REFERENCES, Reference


def methods(
    pages: jinja2.Environment,
    config: dict[str, Any],
    contracts: dict[str, dict[str, Any]],
    models: bool,
) -> tuple[Markup, list[Reference]]:
    """The paragraph as HTML, and what it and the table of published prevalences cite, in order.

    ``contracts`` by stage (detect, verify) where there are any; ``models``: regressions were made.
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
        detector=_name(contracts.get("detect")),
        verifier=_name(contracts.get("verify")),
        thresholds=thresholds.in_use(config),
        rules=[burden.CHOICE_RULES[rule] for rule in config["aggregate"]["choose_scan"]],
        bins=bins.bin_labels(config["report"]["bins"]),
        outlying=image_checks.OUTLYING,
        models=models,
    )
    cited += [anchor.reference for anchor in ANCHORS]
    return Markup(text), [REFERENCES[key] for key in dict.fromkeys(cited)]


def _name(contract: dict[str, Any] | None) -> str | None:
    return contract.get("id") if contract else None
