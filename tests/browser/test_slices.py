"""Planes of a volume in a real Chromium: the ruler, and what the mouse does, in an oblique scan."""

from importlib import resources

import nibabel as nib
import numpy as np
import pytest

#: Voxels of 0.5 x 0.5 x 2 mm, turned about two axes.
SPACING = (0.5, 0.5, 2.0)
SHAPE = (160, 160, 40)
TURN = nib.eulerangles.euler2mat(0.3, 0.2, 0.4)
AFFINE = nib.affines.from_matvec(TURN @ np.diag(SPACING), (-30.0, 12.0, 5.0))
PLANES = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}


@pytest.fixture
def page(opened, tmp_path):
    """A page with three planes of an empty volume, in ``window.viewer``."""
    script = resources.files("cmburden.images").joinpath("static", "slices.js")
    boxes = "".join(
        f'<canvas id="{name}" style="width:400px;height:400px"></canvas>' for name in PLANES
    )
    start = f"""
      const volume = Slices.volume({{shape: {list(SHAPE)}, affine: {AFFINE[:3].tolist()},
        channels: {{magnitude: new Uint16Array({np.prod(SHAPE)})}}}});
      window.viewer = new Slices.Viewer({list(PLANES)}.map((key) => ({{
        key, plane: key, canvas: document.getElementById(key)}})));
      viewer.show(volume, [80, 80, 20], {{field: 40}});
      viewer.tool = "ruler";
    """
    path = tmp_path / "page.html"
    path.write_text(f"{boxes}<script>{script.read_text()}</script><script>{start}</script>")
    watched = opened(path, width=1300)
    watched.page.wait_for_timeout(300)
    return watched.page


@pytest.mark.parametrize("plane", PLANES)
def test_a_ruler_along_ten_mm_reads_ten_mm(page, plane):
    """From mark to mark of a phantom: two points of the plane that are 10 mm apart."""
    across, up = PLANES[plane]
    start = np.array([80.0, 80.0, 20.0])
    angle = 0.6
    end = start.copy()
    end[across] += 10 * np.cos(angle) / SPACING[across]
    end[up] += 10 * np.sin(angle) / SPACING[up]
    mm = nib.affines.apply_affine(AFFINE, np.array([start, end]))
    assert np.linalg.norm(mm[1] - mm[0]) == pytest.approx(10)
    where = page.evaluate(
        """([key, points]) => { const pane = viewer.panes.find(p => p.key === key);
        const box = pane.canvas.getBoundingClientRect(), ratio = pane.canvas.width / box.width;
        return points.map(p => viewer.toPixel(pane, p).map((x, k) =>
          x / ratio + (k ? box.top : box.left))); }""",
        [plane, [start.tolist(), end.tolist()]],
    )
    page.mouse.move(*where[0])
    page.mouse.down()
    page.mouse.move(*where[1], steps=5)
    page.mouse.up()
    # The mouse stands on whole pixels of 0.1 mm.
    assert page.evaluate("viewer.length") == pytest.approx(10.0, abs=0.15)
    page.evaluate("m => { viewer.ruler.ends = m; }", mm.tolist())
    assert page.evaluate("viewer.length.toFixed(1)") == "10.0"


def test_the_mouse_moves_zooms_and_thickens(page):
    box = page.locator("#axial").bounding_box()
    middle = (box["x"] + 200, box["y"] + 200)
    page.mouse.move(*middle)
    before = page.evaluate("viewer.centre")
    page.mouse.down(button="middle")
    page.mouse.move(middle[0] + 50, middle[1], steps=3)
    page.mouse.up(button="middle")
    # 400 pixels are 40 mm: 50 pixels are 5 mm, 10 voxels.
    assert page.evaluate("viewer.centre[0]") == pytest.approx(before[0] + 10, abs=0.5)
    page.mouse.down(button="right")
    page.mouse.move(middle[0] + 50, middle[1] - 60, steps=3)
    page.mouse.up(button="right")
    assert page.evaluate("viewer.zoom") > 1.3
    page.keyboard.down("Shift")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Shift")
    assert page.evaluate("viewer.slab") > 10
    at = page.evaluate("viewer.cursor[2]")
    page.mouse.wheel(0, -100)
    assert page.evaluate("viewer.cursor[2]") == at + 1
    page.evaluate("viewer.reset()")
    assert page.evaluate("[viewer.zoom, viewer.cursor]") == [1, [80, 80, 20]]
