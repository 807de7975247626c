"""docs/report.png: ``python tests/browser/report_picture.py REPORT.html OUT.png``.

Screenshots of parts of a report, side by side, as Chromium shows them. The report of the docs is
that of ``python -m cmburden.studies.table_cohort OUT --report``.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

#: What stands in each column, by CSS selector.
COLUMNS = (
    (
        "h1",
        "header .lede",
        "dl.key",
        "#flow .flows",
        "#burden figure:has(#chart-prevalence)",
    ),
    ("#where figure:has(#chart-regions)", "#chart-map-GRE", "#chart-by-age"),
)
WIDTH, GAP = 900, 24


def picture(report: Path) -> Image.Image:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": 1000})
        page.goto(report.absolute().as_uri())
        columns = []
        for selectors in COLUMNS:
            parts = []
            for selector in selectors:
                part = page.locator(selector).first
                part.scroll_into_view_if_needed()
                page.wait_for_timeout(1500)
                parts.append(Image.open(io.BytesIO(part.screenshot())).convert("RGB"))
            columns.append(parts)
        browser.close()
    heights = [sum(part.height + GAP for part in parts) for parts in columns]
    sheet = Image.new("RGB", (len(columns) * (WIDTH + GAP) + GAP, max(heights) + GAP), "#fdfdfb")
    for number, parts in enumerate(columns):
        y = GAP
        for part in parts:
            sheet.paste(part, (GAP + number * (WIDTH + GAP), y))
            y += part.height + GAP
    return sheet


if __name__ == "__main__":
    picture(Path(sys.argv[1])).quantize(128).save(sys.argv[2], optimize=True)
