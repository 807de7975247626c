"""The report of the cohort and a page a participant, from the tables alone.

The cohort's page is one file that loads nothing: Plotly and the pictures are in it. Without
scripts, and for who does not see them, each chart's table says the same.
"""

from __future__ import annotations

import base64
import functools
import json
import shutil
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

import cmburden
from cmburden.core import stages
from cmburden.core.files import whole_file
from cmburden.core.paths import Layout
from cmburden.core.rows import grouped
from cmburden.models.contract import contract_of
from cmburden.report import acquisition, estimates, methods, models, provenance, quality
from cmburden.report import burden as report_burden
from cmburden.report import changes as report_changes
from cmburden.report import charts as report_charts
from cmburden.report import participants as report_participant
from cmburden.report import review as report_review
from cmburden.report.tables import ReportTables, decimal, interval, number, of, share
from cmburden.summary import published, thresholds

STAGE, VERSION = stages.REPORT.name, stages.REPORT.version
#: Pictures of the scans to check first are embedded while they fit into this; the others stay on
#: the pages of their participants.
_EMBED_BYTES = 4_000_000
_SECTIONS = [
    ("flow", "Participant flow"),
    ("acquisition", "Acquisition"),
    ("operating-point", "Operating point"),
    ("burden", "Burden"),
    ("where", "Pattern and regions"),
    ("who", "Age, sex, site"),
    ("models", "Models"),
    ("correction", "Detector error"),
    ("review", "Review by readers"),
    ("changes", "Change over sessions"),
    ("quality", "Quality"),
    ("check", "To check first"),
    ("not-used", "Scans not read"),
    ("every-scan", "All scans"),
    ("methods", "Methods"),
    ("provenance", "Provenance"),
]


def run(layout: Layout, config: dict[str, Any]) -> None:
    """Write report/ (index.html, references.bib, niivue.js) and sub-*.html from the tables."""
    tables = ReportTables(layout)
    pages = environment()
    shared = {"version": cmburden.__version__, "title": config["report"]["title"]}
    content = _cohort(tables, layout, config, pages)
    _write(layout.report, pages.get_template("index.html.j2").render(shared | content))
    keys = [reference.key for reference in content["references"]]
    _write(layout.bibliography, published.bibtex(keys))
    with whole_file(layout.viewer_script) as temporary:
        shutil.copyfile(Path(__file__).parent / "static" / "niivue.umd.js", temporary)
    followed = set(report_changes.write_pages(pages, shared, layout, config))
    participant_page = pages.get_template("participant.html.j2")
    people = report_participant.People(tables, layout)
    scans = grouped(tables.scans, "participant_id")
    for person in tables.participants.to_dict("records"):
        name = person["participant_id"]
        content = people.content(person, scans[name])
        content["changes_page"] = layout.changes_page(name).name if name in followed else None
        _write(layout.subject_page(name), participant_page.render(shared | content))


def environment() -> jinja2.Environment:
    """Templates with the filters that they use; what is not in a context is an error."""
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("cmburden.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {
        "decimal": decimal,
        "number": number,
        "interval": interval,
        "share": share,
        "of": of,
    }
    return pages


def _cohort(tables: ReportTables, layout: Layout, config, pages) -> dict[str, Any]:
    contracts = {stage: contract_of(config, stage) for stage in ("detect", "verify")}
    contracts = {stage: contract for stage, contract in contracts.items() if contract}
    contrasts = tables.contrasts()
    statistics = estimates.statistics(tables)
    text, references = methods.methods(pages, config, contracts, bool(statistics))
    verifier = contracts.get("verify")
    check = quality.to_check(tables, config)
    definite = thresholds.in_use(config).get("definite")
    arms = [(name, stratum, tables.estimate(stratum, "presence definite"))
            for name, stratum in contrasts]  # fmt: skip
    # What only some cohorts have: absent, with its link, where there is nothing to say.
    optional = {
        "review": report_review.context(tables, layout),
        "changes": report_changes.section(tables, layout, config),
    }
    content = {
        "sections": [
            one for one in _SECTIONS if one[0] not in optional or optional[one[0]] is not None
        ],
        **optional,
        "cohorts": tables.cohorts(),
        "macro_mm": f"{config['aggregate']['macrohaemorrhage_mm']:g}",
        "training": _training(contracts),
        "missing": _missing(tables, contracts, statistics),
        "flow": report_burden.flow(tables),
        "problems": _problems(layout),
        "contrasts": contrasts,
        "arms": arms,
        "acquisition": acquisition.acquisition(tables),
        "models": [
            acquisition.model(tables, stage, contract, config)
            for stage, contract in contracts.items()
        ],
        "domain": acquisition.domain(tables),
        "froc": verifier and report_charts.froc(tables, verifier.get("id", "verify")),
        "prevalence": contrasts and report_burden.prevalence(tables, contrasts, config),
        "counts": contrasts and report_charts.counts(tables, contrasts),
        "centre": [
            (name, tables.estimate(stratum, "mean count"), tables.estimate(stratum, "median count"))
            for name, stratum in contrasts
        ],
        "shapes": report_burden.shapes(tables, contrasts, config),
        "regions": contrasts and report_charts.regions(tables, contrasts),
        "unplaced": [
            (name, tables.estimate(stratum, "lesions region=unknown hemisphere=unknown"))
            for name, stratum in contrasts
        ],
        "maps": [
            report_charts.brain_map(tables, name)
            for name, _ in contrasts
            if tables.lesion_cells(name)
        ],
        "who": report_burden.age_sex_site(tables, contrasts, config),
        "statistics": statistics,
        "fits": models.fits(tables),
        "correction": estimates.correction(tables, contrasts),
        "thresholds": report_charts.thresholds(tables, contrasts, definite),
        "quality": quality.quality(tables),
        "check": check,
        "failures": quality.failures(tables),
        "every_scan": Markup(_script_json(quality.every_scan(tables))),
        "methods": text,
        "references": references,
        "provenance": provenance.provenance(tables),
        "palette": Markup(_script_json(report_charts.PALETTE)),
        **_pictures(check["rows"], tables, layout),
    }
    return content | {"plotly": Markup(_plotly())}


def _training(contracts: dict[str, dict[str, Any]]) -> str:
    """What the networks learned from, in their contracts' own words: a user's own may be other."""
    said = dict.fromkeys(
        str(contract["training_data"])
        for contract in contracts.values()
        if isinstance(contract.get("training_data"), str)
    )
    if not said:
        return "What the networks were trained on is not known: their contracts do not say."
    return f"What the networks were trained on: {'; '.join(said).rstrip('.')}."


def _missing(tables: ReportTables, contracts, statistics) -> list[str]:
    """What a complete report has and this one has not, a sentence each."""
    said = []
    waiting = int((tables.scans["reason"] == "not_run").sum())
    if waiting:
        said.append(
            "Some scans were not run to the end; they are missing below, not counted as free of "
            "microbleeds. The tables and this page can be made again at any time."
        )
    people = tables.participants
    for column in ("age", "sex", "site"):
        if people[column].isna().all():
            said.append(
                f"No participant has a value of {column}: add the column to participants.tsv for "
                f"results by {column}."
            )
    for stage in ("detect", "verify"):
        if stage not in contracts:
            said.append(
                f"No model contract (model.json) of the {stage} stage was found: thresholds and "
                "expected performance are not known."
            )
    if not statistics:
        said.append("The tables hold no regression model.")
    return said


def _pictures(rows, tables: ReportTables, layout: Layout) -> dict[str, Any]:
    """Montages of the scans to check first, embedded while they fit."""
    shown, spent, left = [], 0, 0
    for row in rows:
        source = tables.sources.get(row["scan_id"])
        path = layout.montage(source) if source else None
        if path is None or not path.exists():
            continue
        spent += path.stat().st_size
        if spent > _EMBED_BYTES:
            left += 1
            continue
        content = base64.b64encode(path.read_bytes()).decode()
        shown.append(
            row
            | {
                "file": path.relative_to(layout.root).as_posix(),
                "source": f"data:image/png;base64,{content}",
            }
        )
    return {"montages": shown, "montages_left": left}


@functools.cache
def _plotly() -> str:
    """Plotly's script, of the pinned package. Nothing in it may end the script element."""
    return get_plotlyjs().replace("</script", "<\\/script")


def _script_json(content: Any) -> str:
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


def _problems(layout: Layout) -> list[str]:
    path = layout.phenotype_problems
    return json.loads(path.read_text()) if path.exists() else []


def _write(path: Path, text: str) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
