"""The report of the cohort, and a page a participant.

The cohort's page is one file that loads nothing: Plotly and the pictures are in the file. Each
chart has a table with the same numbers, for readers without scripts and for those who do not see
the chart. ``tables`` says what the report reads.
"""

from __future__ import annotations

import dataclasses
import functools
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

import cmburden
from cmburden.core import stages, table_set
from cmburden.core.files import whole_file
from cmburden.core.paths import Layout
from cmburden.core.schema import as_records
from cmburden.report import (
    acquisition,
    burden,
    changes,
    check,
    correction,
    flow,
    included,
    inserted,
    limitations,
    methods,
    models,
    monitoring,
    operating_point,
    overview,
    participants,
    provenance,
    quality,
    review,
    scans,
    shareable,
    strobe,
    table_one,
    where,
    who,
)
from cmburden.report.charts.chart import PALETTE
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import FILTERS, script_json
from cmburden.summary import published, reading_list, thresholds
from cmburden.summary.contracts import model_contracts

#: Characters of a page that hold the elements before its style.
_HEAD = 2000
#: A picture by which the page knows whether it lies in its folder or was sent alone.
_BESIDE = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>\n'
STAGE, VERSION = stages.REPORT.name, stages.REPORT.version


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of the cohort's page; None as ``content``: the cohort has nothing for it."""

    id: str
    title: str
    content: Any

    @property
    def template(self) -> str:
        """The template that shows ``content``, a dataclass that the template names."""
        return f"_{self.id.replace('-', '_')}.html.j2"


def run(layout: Layout, config: dict[str, Any]) -> None:
    """Write report/ (index.html, references.bib, viewer.js) and sub-*.html from the tables."""
    mark = table_set.check(layout)
    tables = ReportTables(layout)
    checks = reading_list.checks(tables.scans, tables.lesions, config)
    pages = environment()
    shared = {
        "version": cmburden.__version__,
        "title": config["report"]["title"],
        "part": mark.part if mark else None,
        "tables_key": mark.key if mark else "",
    }
    _write_cohort(tables, layout, config, pages, shared)
    _write(layout.viewer_script, viewer_script())
    _write(layout.beside_report, _BESIDE)
    followed = set(changes.write_pages(pages, shared, layout, config, tables))
    template = pages.get_template("participant.html.j2")
    people = participants.People(tables, layout, checks.z)
    for row in as_records(tables.participants):
        name = row["participant_id"]
        content = {
            "person": people.page(row),
            "changes_page": layout.changes_page(name).name if name in followed else None,
        }
        _write(layout.subject_page(name), template.render(shared | content))


def run_shareable(layout: Layout, config: dict[str, Any], least: int) -> Path:
    """Write the page to share: no participant, and no count below ``least``; returns its path."""
    mark = table_set.check(layout)
    shared = {
        "version": cmburden.__version__,
        "title": config["report"]["title"],
        "part": shareable.PART if mark and mark.part else None,
        "tables_key": mark.key if mark else "",
    }
    tables = ReportTables(layout, least)
    content = shared | cohort_content(tables, layout, config, environment(), least)
    template = environment().get_template("index.html.j2")
    _write(layout.shareable, template.render(content))
    return layout.shareable


def part_of(layout: Layout) -> str | None:
    """The sentence that names the part of the cohort in the tables; None for the whole cohort."""
    mark = table_set.read(layout)
    return mark.part if mark else None


def tables_key(layout: Layout) -> str | None:
    """Key of the set of tables that the page shows; None where there is no page."""
    if not layout.report.exists():
        return None
    with layout.report.open(encoding="utf-8") as stream:
        head = stream.read(_HEAD)
    key, quote, _ = head.partition('name="cmburden-tables" content="')[2].partition('"')
    return key if quote else None


def environment() -> jinja2.Environment:
    """Templates with the filters that they use; a name that a context lacks is an error."""
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("cmburden.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= FILTERS
    return pages


def _write_cohort(
    tables: ReportTables,
    layout: Layout,
    config: dict[str, Any],
    pages: jinja2.Environment,
    shared: dict[str, Any],
) -> None:
    """Write index.html and references.bib."""
    content = shared | cohort_content(tables, layout, config, pages)
    _write(layout.report, pages.get_template("index.html.j2").render(content))
    references = next(one.content.references for one in content["sections"] if one.id == "methods")
    _write(layout.bibliography, published.bibtex([reference.key for reference in references]))


def cohort_content(
    tables: ReportTables,
    layout: Layout,
    config: dict[str, Any],
    pages: jinja2.Environment,
    least: int | None = None,
) -> dict[str, Any]:
    """Variables of index.html.j2.

    ``least``: the smallest count of a page to share, for which ``tables`` were read; None for the
    whole page.
    """
    checks = reading_list.checks(tables.scans, tables.lesions, config)
    contracts = {stage: contract for stage, _, contract in model_contracts(config)}
    regressions = models.select(tables)
    any_models = bool(regressions.regressions)
    text = methods.select(pages, config, contracts, any_models)
    limits = limitations.select(tables, config, contracts, part_of(layout))
    in_use = thresholds.in_use(config)
    sections = [
        Section("flow", "Participant flow", flow.select(tables, layout)),
        Section("included", "Included and excluded", included.select(tables)),
        Section("table-one", "Table 1", table_one.select(tables)),
        Section("acquisition", "Acquisition", acquisition.select(tables)),
        Section("operating-point", "Operating point", operating_point.select(tables, contracts)),
        Section("inserted", "How well does it see on these scans", inserted.select(layout, config)),
        Section("burden", "Burden", burden.select(tables, config)),
        Section("where", "Pattern and regions", where.select(tables)),
        Section("who", "Age, sex, site", who.select(tables, config)),
        Section("models", "Models", regressions),
        Section("correction", "Detector error", correction.select(tables, in_use.get("definite"))),
        Section("review", "Review by readers", review.select(tables, layout)),
        Section("changes", "Change over sessions", changes.select(tables, layout, config)),
        Section("monitoring", "Monitoring (ARIA-H)", monitoring.select(tables, layout)),
        Section("quality", "Quality", quality.select(tables)),
        Section("check", "To check first", check.select(tables, checks.to_check, layout)),
        Section("not-used", "Scans not read", scans.select_not_used(tables)),
        Section("every-scan", "All scans", scans.select_every(tables)),
        Section("methods", "Methods", text),
        Section("limitations", "Limitations", limits),
        Section("provenance", "Provenance", provenance.select(tables, config)),
    ]
    sections = [section for section in sections if section.content is not None]
    if least is not None:
        sections = [
            dataclasses.replace(section, content=shareable.stripped(section.content))
            for section in sections
            if section.id in shareable.SECTIONS
        ]
    titles = {section.id: section.title for section in sections}
    sections.append(Section("strobe", "STROBE checklist", strobe.select(titles)))
    return {
        "overview": overview.select(tables, config, contracts, any_models),
        "sections": sections,
        "shareable": None if least is None else shareable.Shareable(least - 1),
        "palette": script_json(PALETTE),
        "plotly": Markup(_plotly()),
    }


def viewer_script() -> str:
    """The script that draws the viewers: planes of a volume, then the page's controls."""
    files = (
        resources.files("cmburden.images").joinpath("static", "slices.js"),
        resources.files("cmburden.report").joinpath("static", "viewer.js"),
    )
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


@functools.cache
def _plotly() -> str:
    """Plotly's script, of the pinned package. Nothing in it may end the script element."""
    return get_plotlyjs().replace("</script", "<\\/script")


def _write(path: Path, text: str) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
