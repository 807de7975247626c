"""adaptation.json, .tsv and .md: before and after on participants that were not seen."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from typing import Any

from cmburden import RESEARCH_USE_ONLY
from cmburden.adapt.check import Result, Row
from cmburden.adapt.parts import PARTS
from cmburden.adapt.places import Places
from cmburden.adapt.plan import Plan, Study
from cmburden.core.files import whole_file, write_json
from cmburden.core.markdown import table as markdown_table

TERMS = (
    "Weights that were adapted to data under terms of use (ADNI, AIBL, A4, OASIS, UK Biobank and "
    "others) must not be passed on without clearance by those who gave the data. The folder work "
    "holds scans of people: it must not be passed on at all."
)
_DRAWN = (
    "Drawn lesions are no real ones: sensitivities are upper bounds, and tell the difference of "
    "two models rather than what either sees."
)
HEAD = ("what", "contrast", "by", "number", "before", "after", "difference")


def verdict(result: Result) -> str:
    """Whether the models are released, in one sentence."""
    if not result.against:
        return "The adapted models are better on participants whom they have not seen: released."
    return f"The adapted models are not released: {'; '.join(result.against)}."


def table(result: Result) -> str:
    """The comparison in Markdown."""
    return markdown_table(HEAD, [_cells(row) for row in result.rows])


def _cells(row: Row) -> list[str]:
    what = f"{row.what}, {row.point}"
    number = f"{row.number} of {row.people} participants"
    estimates = [_text(one) for one in (row.before, row.after)]
    return [what, row.contrast, row.group, number, *estimates, _text(row.change, sign="+")]


def _text(estimate: tuple[float, float, float], sign: str = "") -> str:
    if math.isnan(estimate[0]):
        return "-"
    shown = [f"{value:{sign}.2f}" for value in estimate]
    if math.isnan(estimate[1]):
        return shown[0]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def write(
    places: Places,
    plan: Plan,
    study: Study,
    result: Result,
    adapted_to: dict[str, Any],
    models: dict[str, dict[str, Any]],
) -> None:
    """Write table, JSON and page. ``models`` are the contracts, released or not."""
    people = Counter(plan.part.values())
    content = {
        "Description": f"Models adapted to scans without labels, before and after. "
        f"{RESEARCH_USE_ONLY}",
        "Released": not result.against,
        "Reasons": list(result.against),
        "Participants": {part: people[part] for part in PARTS},
        "Scans": len(plan.scan_ids),
        "Disputed": study.verdicts.disputed,
        "AdaptedTo": adapted_to,
        "Schedule": dataclasses.asdict(plan.schedule),
        "Key": plan.key,
        "Models": {kind: contract["id"] for kind, contract in sorted(models.items())},
        "StartedFrom": plan.weights,
        "FormerDetectionsFoundAgain": list(result.kept),
        "SimulatedSensitivity": result.forgetting,
        "Rows": [_plain(row) for row in result.rows],
        "Terms": TERMS,
    }
    write_json(places.result, content)
    _write_table(places, result)
    with whole_file(places.page) as part:
        part.write_text(_page(content, result), encoding="utf-8")


def _plain(row: Row) -> dict[str, Any]:
    """A row for JSON, in which nothing stands for what is no number."""
    content = dataclasses.asdict(row)
    for name in ("before", "after", "change"):
        content[name] = [None if math.isnan(value) else round(value, 4) for value in content[name]]
    return content


def _write_table(places: Places, result: Result) -> None:
    """The rows as TSV, with n/a for what there is no number of."""
    estimates = ("before", "after", "change")
    ends = [name + end for name in estimates for end in ("", "_low", "_high")]
    lines = ["\t".join(["what", "point", "contrast", "by", "number", "participants", *ends])]
    for row in result.rows:
        values = [value for name in estimates for value in getattr(row, name)]
        cells = ["n/a" if math.isnan(value) else f"{value:.4f}" for value in values]
        named = [row.what, row.point, row.contrast, row.group, row.number, row.people]
        lines.append("\t".join([*map(str, named), *cells]))
    with whole_file(places.table) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _page(content: dict[str, Any], result: Result) -> str:
    people, again = content["Participants"], result.kept
    simulated = content["SimulatedSensitivity"]
    blocks = [
        "# Adaptation",
        "Research use only.",
        TERMS,
        f"**{verdict(result)}**",
        f"{content['Scans']} scans without labels of {sum(people.values())} participants: "
        f"{people['adapt']} were learnt from, {people['calibrate']} served the probability, and "
        f"all figures are of the other {people['check']}. Lesions to learn from were drawn by "
        f"`{content['Schedule']['renderer']}`, those of the check by the other renderers. "
        "Intervals: 95 %, clustered by participant.",
        _DRAWN,
        table(result),
        f"Of {again[1]} former definite detections {again[0]} are detected again. On simulated "
        "slabs the detector's sensitivity at one false positive a slab was "
        f"{simulated['before'][1]:.2f} before and is {simulated['after'][1]:.2f}.",
    ]
    if content["Disputed"]:
        blocks.append(
            f"{content['Disputed']} places on which the readers disagree were left out; settle "
            "them by consensus in `cmburden review`."
        )
    if content["Released"]:
        blocks += [
            "## Models",
            f"`detector` ({content['Models']['detector']}) and `verifier` "
            f"({content['Models']['verifier']}): `cmburden run BIDS OUTPUT participant --set "
            "detect.model=MODELS/detector --set verify.model=MODELS/verifier`.",
        ]
    return "\n\n".join(blocks) + "\n"
