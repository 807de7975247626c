"""The pages in a real Chromium: light, dark, on a narrow screen, on paper."""

import re
import shutil
import subprocess
from pathlib import Path

import fabricate
import pytest

from cmburden.cohort import stage as aggregate
from cmburden.report import stage as report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: Added to a copy of the page: tells the frame's owner what was laid out.
_PROBE = """<script>addEventListener("load", () => {
  const wide = [...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll, nav") &&
    e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + "." + e.className);
  const style = getComputedStyle(document.body);
  parent.postMessage([innerWidth, document.documentElement.scrollWidth, style.backgroundColor,
    style.color, document.querySelectorAll("img").length,
    [...document.images].filter(i => i.naturalWidth > 0).length, wide.slice(0, 5).join(" ")
    ].join("|"), "*"); });</script></body>"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = fabricate.cohort(tmp_path_factory.mktemp("browser"), participants=24)
    aggregate.run(made.layout, made.bids_dir, made.config)
    report.run(made.layout, made.config)
    return made


def chromium(tmp_path, *arguments):
    return subprocess.run(
        [CHROMIUM, *_FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout


def laid_out(page: Path, tmp_path, width: int, *flags) -> dict[str, str]:
    """What the page says of its own layout in a frame of ``width`` CSS pixels."""
    copy = tmp_path / "page.html"
    # The page's policy would stop the probe.
    content = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    copy.write_text(content.replace("</body>", _PROBE))
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<pre id="said"></pre><iframe src="page.html" width="{width}" height="900"></iframe>'
        '<script>addEventListener("message", e => '
        '{ document.getElementById("said").textContent = e.data; });</script>'
    )
    dom = chromium(tmp_path, "--virtual-time-budget=5000", *flags, "--dump-dom", frame.as_uri())
    said = re.search(r'id="said">([^<]*)<', dom)[1].split("|")
    names = ("width", "scroll", "background", "ink", "images", "loaded", "wide")
    return dict(zip(names, said, strict=True))


def brightness(colour: str) -> float:
    return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3


@pytest.mark.parametrize("width", [360, 400, 768, 1280])
def test_nothing_sticks_out_at_any_width(made, tmp_path, width):
    for page in (made.layout.report, made.layout.subject_page("sub-OATS007")):
        found = laid_out(page, tmp_path, width)
        assert int(found["width"]) == width
        assert int(found["scroll"]) <= width and found["wide"] == "", found


def test_light_and_dark_follow_the_reader(made, tmp_path):
    light = laid_out(made.layout.report, tmp_path, 1000, "--blink-settings=preferredColorScheme=1")
    dark = laid_out(made.layout.report, tmp_path, 1000, "--blink-settings=preferredColorScheme=0")
    assert brightness(light["background"]) > 240 > 60 > brightness(light["ink"])
    assert brightness(dark["background"]) < 60 < 200 < brightness(dark["ink"])


def test_page_prints(made, tmp_path):
    pdf = tmp_path / "page.pdf"
    chromium(tmp_path, f"--print-to-pdf={pdf}", made.layout.report.as_uri())
    assert pdf.read_bytes().startswith(b"%PDF") and pdf.stat().st_size > 20_000
