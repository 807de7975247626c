"""A real Chromium under Playwright, and axe-core: what every test of a page shares.

Chromium is the system's, axe-core comes by ``npm ci`` in this folder; without either the tests
that need it are skipped, with the reason.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"
#: Impacts that axe-core calls grave; "moderate" and "minor" do not fail a test.
SERIOUS = ("critical", "serious")


@dataclasses.dataclass
class Watched:
    """A page with what it complained of and what it asked for."""

    page: object
    errors: list[str]
    requests: list[str]

    @property
    def from_network(self) -> list[str]:
        local = ("file:", "data:", "blob:")
        return [url for url in self.requests if not url.startswith(local)]


@pytest.fixture(scope="session")
def browser():
    """The system's Chromium, headless; WebGL in software."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
        )
        yield started
        started.close()


@pytest.fixture
def opened(browser):
    """``opened(path_or_url, width=1000, scheme="light", **context)``: a ``Watched`` page."""
    contexts = []

    def open_page(address, width=1000, height=900, scheme="light", **options) -> Watched:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, **options
        )
        contexts.append(context)
        page = context.new_page()
        watched = Watched(page, [], [])
        page.on("pageerror", lambda error: watched.errors.append(str(error)))
        page.on(
            "console",
            lambda said: watched.errors.append(said.text) if said.type == "error" else None,
        )
        page.on("request", lambda request: watched.requests.append(request.url))
        page.goto(address.as_uri() if isinstance(address, Path) else address)
        return watched

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def axe():
    """``axe(page)``: the serious faults that axe-core finds, each as one line."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm ci in tests/browser")
    script = AXE.read_text()

    def faults(page, context: str = "document") -> list[str]:
        # By evaluate, not by a script element: a page's content policy may refuse that.
        page.evaluate(script)
        found = page.evaluate(f"axe.run({context}, {{resultTypes: ['violations']}})")
        return [
            f"{fault['id']}: {node['target'][0]}: {node['failureSummary'].splitlines()[-1].strip()}"
            for fault in found["violations"]
            if fault["impact"] in SERIOUS
            for node in fault["nodes"]
        ]

    return faults
