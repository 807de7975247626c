"""How long until the next lesion is on screen: ``python tests/browser/review_fluency.py``.

A review of 1,000 candidates in 20 scans of 240 x 256 x 80 voxels of 0.93 x 0.93 x 1.75 mm, in
Chromium: the key is pressed as soon as a lesion is painted, so nobody reads as fast. Milliseconds
from the key event to the frame after the next lesion was drawn; the decision is on disk in between.
By hand, since what it measures is the machine and what else runs there.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import fabricate
import reviewable
from conftest import CHROMIUM
from test_review_page import Server

from cmburden.core.paths import Layout
from cmburden.core.tables import CANDIDATES, MANIFEST, SCANS

SHAPE, SPACING = (240, 256, 80), (0.93, 0.93, 1.75)
LIMIT_MS = 150


def cohort(folder: Path, scans: int, lesions: int) -> Layout:
    """A run's output of ``scans`` scans, whose images are copies, each with ``lesions``."""
    layout = Layout(folder)
    random = np.random.default_rng(0)
    centres = random.uniform(-50, 50, (lesions, 3))
    rows, found, first = [], [], None
    for number in range(scans):
        row = fabricate._scan("AIBL", f"sub-{number:03d}", None)
        rows.append(row)
        scan = fabricate.scan_object(row, folder)
        if first is None:
            first = scan
            reviewable.write_images(layout, scan, centres, SHAPE, SPACING)
        else:
            for name in ("preproc", "brain_mask", "regions"):
                target = getattr(layout, name)(scan)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(getattr(layout, name)(first), target)
        for candidate, at in enumerate(centres, start=1):
            p = float(random.uniform(0.3, 1))
            found.append(
                {
                    "scan_id": row["scan_id"],
                    "candidate_id": candidate,
                    **dict(zip(("x_mm", "y_mm", "z_mm"), map(float, at), strict=True)),
                    "p_cnn": p,
                    "probability": p,
                    "label": "definite" if p >= 0.6 else "possible",
                }
            )
    MANIFEST.write(layout.manifest, rows)
    known = [{k: v for k, v in row.items() if k in SCANS.names} | {"status": "ok"} for row in rows]
    SCANS.write(layout.table("scans"), known)
    CANDIDATES.write(layout.candidates, found)
    reviewable.write_threshold(layout)
    return layout


def measure(layout: Layout, number: int, order: str, pause_ms: float) -> list[float]:
    """Milliseconds of each of ``number`` decisions."""
    server = Server(layout.root, f"F{order}{int(pause_ms)}", "--order", order)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(server.address)
        for done in range(number):
            page.locator(f'body[data-shown="{done}"]').wait_for(timeout=120_000)
            page.wait_for_timeout(pause_ms)
            page.keyboard.press("a")
        page.locator("#progress", has_text=f"{number} of").wait_for(timeout=120_000)
        page.wait_for_timeout(500)
        times = page.evaluate("reviewTimings")
        browser.close()
    server.stop()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lesions", type=int, default=1000)
    parser.add_argument("--order", default="useful")
    parser.add_argument("--pause-ms", type=float, default=0)
    parser.add_argument("--keep", type=Path, help="a folder to make the cohort in, or made before")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary) / "output"
        if not folder.exists():
            cohort(folder, 20, 50)
        began = time.time()
        times = np.array(measure(Layout(folder), args.lesions, args.order, args.pause_ms))
        seconds = time.time() - began
    p50, p95, p99 = np.percentile(times, [50, 95, 99])
    within = float((times <= LIMIT_MS).mean())
    print(
        f"{len(times)} lesions in {seconds:.0f} s: median {p50:.0f} ms, 95 % {p95:.0f} ms, "
        f"99 % {p99:.0f} ms, longest {times.max():.0f} ms; {within:.1%} within {LIMIT_MS} ms; "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main()
