"""The section on inserted lesions says what their table says, and is where it belongs."""

import re

import pandas as pd
import pytest

from cmburden.core import config as configuration
from cmburden.core.files import write_json
from cmburden.core.made_with import made_with
from cmburden.core.paths import Layout
from cmburden.core.tables import INSERTION
from cmburden.insert.estimates import estimates
from cmburden.report import inserted, shareable
from cmburden.report import stage as report

pytestmark = pytest.mark.slow

ABOUT = {
    "Inserted": 90,
    "Scans": 45,
    "Participants": 44,
    "PhysicsAssumed": 0,
    "Closed": 0.125,
    "Confirmed": 3,
    "Disputed": 2,
    "Donors": 0,
    "Steady": {"before": 31, "again": 30, "other": 1},
    "LeftOut": {"No room: lesions and candidates lie near every place.": 2},
}


def lesions():
    return pd.DataFrame(
        {
            "participant_id": f"sub-{n // 2}",
            "contrast": contrast,
            "cohort": "A" if n % 10 else "B",
            "manufacturer": None,
            "scanner_model": None,
            "echo_time_s": 0.02,
            "field_strength_t": 3.0,
            "slice_mm": 4.0,
            "group": "lobar",
            "visible": n % 9 > 0,
            "before": False,
            "diameter_mm": 1.5 + n % 4,
            "signal_loss": 0.5 + 0.1 * (n % 5),
            "renderer": renderer,
            "label": "definite" if n % 4 else "not proposed",
        }
        for contrast, number in (("GRE", 80), ("SWI", 9))
        for renderer in ("physics", "plain")
        for n in range(number)
    )


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path)
    INSERTION.write(layout.inserted_table("insertion"), estimates(lesions()))
    write_json(layout.insertion, ABOUT | {"MadeWith": made_with(configuration.defaults())})
    return layout


def section(layout, **settings):
    config = configuration.merge(configuration.defaults(), settings)
    content = inserted.select(layout, config)
    of_page = report.Section("inserted", "How well does it see on these scans", content)
    return report.environment().get_template(of_page.template).render(section=of_page)


def test_every_number_is_one_of_the_table(layout):
    text = section(layout)
    rows = {}
    for row in INSERTION.read(layout.inserted_table("insertion")).to_dict("records"):
        stratum = f"{row['contrast']}, {row['axis']}: {row['level']}"
        rows[stratum, f"{row['label']}, {row['renderer']}"] = row
    shown = re.findall(r'<data value="([^"]+)" data-of="([^|]+) \| ([^|]+) \| (\w+)"', text)
    assert len(shown) > 60
    for value, stratum, measure, field in shown:
        assert float(value) == rows[stratum, measure][field]
    # Every other digit stands in an element that says where it is from, a heading or a chart.
    rest = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    origins = r"<(?:data |span data-source|th[ >]|code>|h3>).*?</(?:data|span|th|code|h3)>"
    rest = re.sub(origins, "", rest)
    assert re.findall(r">[^<]*\d[^<]*<", rest) == []


def test_it_says_what_is_real_and_what_is_drawn_before_the_numbers(layout):
    text = section(layout)
    start = text.index("<table")
    assert text.index("<strong>Real:</strong>") < text.index("<strong>Drawn by computer:") < start
    assert text.index("An upper bound") < start
    assert "None was transplanted" in text and "disputed and not used" in text
    assert "No room" in text and "Of other settings" not in text


def test_few_lesions_have_no_figure_and_the_number_that_is_due(layout):
    text = section(layout)
    swi = text[text.index("<h3>SWI") :]
    assert "more needed" in swi and "as_table" not in swi
    assert 'data-for="chart-inserted-gre-diameter"' in text
    assert 'data-for="chart-inserted-swi' not in text


def test_other_settings_are_said(layout):
    changed = section(layout, verify={"thresholds": {"definite": 0.99, "possible": 0.01}})
    assert "Of other settings or models" in changed
    # Where a stage works changes no result.
    assert "Of other settings" not in section(layout, verify={"device": "cuda"})


def test_no_insertion_no_section_and_none_on_the_page_to_share(tmp_path, layout):
    assert inserted.select(Layout(tmp_path / "none"), configuration.defaults()) is None
    assert "inserted" not in shareable.SECTIONS
    layout.insertion.write_text("{torn")
    assert inserted.select(layout, configuration.defaults()) is None
