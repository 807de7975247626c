"""The page of a participant's sessions in a real Chromium: narrow, wide, its pictures loaded."""

import sys
from pathlib import Path

import numpy as np
import pytest
from test_pages import CHROMIUM, laid_out
from waiting import until

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
from test_report_changes import LESIONS, SCANS, fabricate, follow

from cmburden.cohort import stage as aggregate
from cmburden.report import changes as report_changes
from cmburden.report import stage as report
from cmburden.report.tables import ReportTables
from cmburden.verify import viewer

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


#: mm. The second session's head lies so much to the right of the first's.
MOVED_MM = 20.0


def _viewers(made) -> None:
    """Viewer files of both sessions: a grey ball, 120 mm wide, whose middle is ``MOVED_MM`` off."""
    for row in made.scans:
        if row["scan_id"] not in SCANS:
            continue
        affine = np.diag([2.0, 2.0, 3.0, 1.0])
        off = MOVED_MM * SCANS.index(row["scan_id"])
        affine[:3, 3] = (-80 + off, -80, -75)
        grid = np.stack(np.meshgrid(*map(np.arange, (80, 80, 50)), indexing="ij"), -1)
        ball = ((grid * (2, 2, 3) - (80, 80, 75)) ** 2).sum(-1) < 60**2
        volume, no = ball.astype(np.float32), np.zeros(ball.shape, np.int16)
        scan = fabricate.scan_object(row, made.bids_dir)
        shown = viewer.Shown(volume, ball, ball * np.uint8(9), no, affine)
        viewer.write(made.layout.viewer(scan), scan.scan_id, shown)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    made = fabricate.cohort(tmp_path_factory.mktemp("changes"), participants=8)
    follow(made)
    _viewers(made)
    aggregate.run(made.layout, made.bids_dir, made.config)
    shared = {"version": "0", "title": "Cohort", "tables_key": "0", "part": None}
    tables = ReportTables(made.layout)
    (name,) = report_changes.write_pages(
        report.environment(), shared, made.layout, made.config, tables
    )
    made.layout.viewer_script.parent.mkdir(parents=True, exist_ok=True)
    made.layout.viewer_script.write_text(report.viewer_script())
    return made.layout.changes_page(name)


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out(page, tmp_path, width):
    found = laid_out(page, tmp_path, width)
    assert int(found["scroll"]) <= width and found["wide"] == "", found
    assert int(found["images"]) == len(LESIONS)


def test_the_viewers_of_the_sessions_go_together(page, opened):
    watched = opened(page, width=1280)
    shown = watched.page
    boxes = shown.locator(".linked .viewer")
    assert boxes.count() == 2
    shown.locator("button.show-all").first.click()
    until(shown, "[...document.querySelectorAll('.linked output.place')].every(o => o.value)")
    shown.wait_for_timeout(300)

    def places():
        return np.array(
            shown.evaluate(
                "[...document.querySelectorAll('.linked .viewer')].map(b => b.viewer.mm)"
            )
        )

    apart = places()[1] - places()[0]
    before = places()
    canvas = boxes.first.locator("[data-pane=axial] canvas")
    canvas.hover()
    shown.mouse.wheel(0, -150)
    box = canvas.bounding_box()
    shown.mouse.click(box["x"] + box["width"] / 2 - 40, box["y"] + box["height"] / 2)
    shown.wait_for_timeout(500)
    after = places()
    assert abs(after[0] - before[0]).max() > 3
    # One voxel of the planes at most: each session's slices lie on a grid of their own.
    assert abs(after[1] - after[0] - apart).max() <= 3
    assert watched.errors == [] and watched.from_network == []
