"""A review in a real Chromium: two readers, the server killed, the next run; keys, images, layout.

What the stages of two scans would have left is fabricated: a run has the tables to make. That a
decision runs no network again where networks have run, is a row of tests/workflow/test_reruns.py.
"""

import re
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))
import reviewable
import tiny_models
from steps import jobs, run

from cmburden.core.files import write_json
from cmburden.core.keys import bucket_of
from cmburden.core.manifest import read_scans
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.core.tables import CANDIDATES
from cmburden.review import store
from cmburden.review.worklist import Options, Study, worklist

SCANS, LESIONS = 2, 10
SECONDS = 60_000
OTHERS = {"blinded": False, "ordering": "useful", "content_key": "k"}


class Server:
    """``cmburden review`` in a process of its own."""

    def __init__(self, output: Path, reader: str, *options: str):
        command = [
            sys.executable,
            "-m",
            "cmburden.run.cli",
            "review",
            str(output),
            "--reader",
            reader,
        ]
        self.process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
        self.address = None
        for line in self.process.stdout:
            if found := re.search(r"http://\S+", line):
                self.address = found[0]
                break

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> str:
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate(timeout=300)
        return said


@pytest.fixture
def serve():
    started = []

    def start(*arguments) -> Server:
        started.append(Server(*arguments))
        assert started[-1].address, "the review did not start"
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("review") / "cohort"
    for number in range(1, SCANS + 1):
        path = folder / f"bids/sub-0{number}/anat/sub-0{number}_T2starw.nii.gz"
        path.parent.mkdir(parents=True)
        nib.save(
            nib.Nifti1Image(np.full((12, 12, 6), number, np.int16), np.diag([1, 1, 3, 1.0])), path
        )
        path.with_name(f"sub-0{number}_T2starw.json").write_text('{"EchoTime": 0.02}')
    (folder / "bids/dataset_description.json").write_text(
        '{"Name": "review", "BIDSVersion": "1.10.0"}'
    )
    tiny_models.write(folder / "models")
    assert run(folder, *options(folder), "-n") == 0  # writes the manifest
    _fabricate(folder)
    assert jobs(folder, *options(folder)) == dict.fromkeys(("aggregate", "report", "check"), 1)
    assert again(folder) == 0
    return folder


def options(folder: Path) -> list[str]:
    return tiny_models.settings(folder / "models")


def again(folder: Path) -> int:
    return run(folder, *options(folder))


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / f"out/cohort/{name}.parquet")


def _fabricate(folder: Path) -> None:
    layout = Layout(folder / "out")
    random = np.random.default_rng(3)
    rows: dict[int, list] = {0: [], 1: []}
    for scan in read_scans(layout.manifest, folder / "bids"):
        # No two nearer than 10 mm: each is a lesion of its own.
        grid = np.array(np.meshgrid(*[np.arange(-40, 41, 20.0)] * 3)).reshape(3, -1).T
        centres = grid[random.permutation(len(grid))[:LESIONS]] + random.uniform(
            -3, 3, (LESIONS, 3)
        )
        for number, at in enumerate(centres, start=1):
            definite = number % 2 == 0
            rows[bucket_of(scan.scan_id, 2)].append(
                {
                    "scan_id": scan.scan_id,
                    "candidate_id": number,
                    **dict(zip(("x_mm", "y_mm", "z_mm"), map(float, at), strict=True)),
                    "p_cnn": 0.9,
                    "p_yolo": 0.5,
                    "yolo_class": "microbleed",
                    "diameter_mm": 4.0,
                    "region": "frontal",
                    "group": "lobar",
                    "hemisphere": "right" if at[0] > 0 else "left",
                    "probability": 0.52 + 0.01 * number + 0.02 * definite,
                    "kept": True,
                    "label": "definite" if definite else "possible",
                }
            )
        for stage in ("preprocess", "register", "detect", "verify"):
            measures = {"n_kept": LESIONS} if stage == "verify" else {}
            record = layout.record(stage, scan.scan_id)
            Outcome(stage, scan.scan_id, "ok", measures=measures).write(record)
        reviewable.write_images(layout, scan, centres)
    for bucket, own in rows.items():
        if own:
            for stage in ("detect", "verify"):
                CANDIDATES.write(layout.bucket(stage, bucket), own)


def shown(page) -> int:
    """Number of the item in view, once it is painted."""
    page.locator("body:not([data-busy])").wait_for(timeout=SECONDS)
    return int(page.locator("body[data-shown]").get_attribute("data-shown", timeout=SECONDS))


def decide(page, key: str, number: int) -> None:
    """Press a key and wait until the decision is saved and counted, and the next lesion seen."""
    page.keyboard.press(key)
    page.locator("#progress", has_text=re.compile(rf"^{number} of")).wait_for(timeout=SECONDS)
    page.locator("#saved", has_text="Saved").wait_for(timeout=SECONDS)
    page.locator("body:not([data-busy])").wait_for(timeout=SECONDS)


# --- the whole of it ---


def test_two_readers_a_kill_and_the_next_run(cohort, serve, opened):
    out = cohort / "out"
    before = table(cohort, "scans")
    first = serve(out, "A")
    page = opened(first.address, 1280, 800).page
    assert shown(page) == 0
    # A holds the first 15 for microbleeds, the others for vessels; the server dies after 8.
    for number in range(1, 9):
        decide(page, "a", number)
    first.kill()
    page.keyboard.press("a")
    page.locator("#saved", has_text="Not saved").wait_for(timeout=SECONDS)
    assert "repeat this decision" in page.locator("#message").inner_text()
    first = serve(out, "A")
    page = opened(first.address, 1280, 800).page
    assert shown(page) == 8
    assert page.locator("#progress").inner_text().startswith("8 of 20 lesions decided")
    for number in range(9, 21):
        decide(page, "a" if number <= 15 else "2", number)
    page.locator("#message", has_text="All is decided").wait_for(timeout=SECONDS)
    first.kill()
    # B, blind to the software, disputes two of them; both read at once, in other orders.
    second = serve(out, "B", "--blind", "--order", "useful")
    page = opened(second.address, 1280, 800).page
    assert shown(page) == 0 and not page.locator("#software").is_visible()
    for number in range(1, 21):
        decide(page, "a" if 3 <= number <= 15 else "r", number)
    assert "reviews.parquet" in second.stop()
    assert len(table(cohort, "reviews")) == 40

    assert jobs(cohort, *options(cohort)) == dict.fromkeys(("aggregate", "report", "check"), 1)
    assert again(cohort) == 0
    after = table(cohort, "scans")
    for name in ("n_cmb", "n_possible", "pattern"):
        assert after[name].tolist() == before[name].tolist()
    assert after["n_reviewed"].sum() == 18 and after["n_review_open"].sum() == 2
    assert (after["n_readers"] == 2).all()
    places = table(cohort, "reviewed")
    assert places["settled"].value_counts().to_dict() == {"agreed": 18, "disputed": 2}
    agreed = places[places["settled"] == "agreed"]
    assert int(agreed["microbleed"].sum()) == 13
    summary = table(cohort, "summary").set_index(["stratum", "measure"])
    yes = int(places[(places["label"] == "definite")]["microbleed"].sum())
    ppv = summary.loc[("contrast=GRE", "review ppv")]
    assert (ppv["n"], ppv["denominator"]) == (yes, int(agreed["label"].eq("definite").sum()))
    assert summary.loc[("all", "review kappa presence: A / B"), "n"] == 2
    assert jobs(cohort, *options(cohort)) == {}

    # Consensus settles the two; then every scan has a reviewed count.
    third = serve(out, "consensus")
    page = opened(third.address, 1280, 800).page
    assert shown(page) == 0
    votes = page.locator("#votes").inner_text().split("\n")
    assert [line for line in votes if line][1:] == ["Microbleed", "not a microbleed"]
    for number in (1, 2):
        decide(page, "a", number)
    third.stop()
    assert again(cohort) == 0
    after = table(cohort, "scans")
    assert after["n_cmb_reviewed"].sum() == 15 and after["n_review_open"].sum() == 0
    assert table(cohort, "participants")["n_cmb_reviewed"].sum() == 15


# --- the page itself ---


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return reviewable.cohort(tmp_path_factory.mktemp("page"), participants=8)


@pytest.fixture
def review(made, serve, opened):
    """``review(*options)``: a page of a reader of one's own, on screen."""
    number = len(list(made.layout.reader_file("x").parent.glob("*.sqlite")))

    def start(*arguments, width=1280, height=800):
        server = serve(made.layout.root, f"R{number}", *arguments)
        watched = opened(server.address, width, height)
        shown(watched.page)
        return watched

    return start


def standing(page) -> dict:
    """What the server holds of the item in view."""
    overview = page.evaluate(
        "() => fetch('/api/overview', {headers: {Authorization: 'Bearer ' + "
        "sessionStorage.getItem('token')}}).then(a => a.json())"
    )
    return overview["items"][shown(page)]


def pixels(page, pane="axial") -> np.ndarray:
    """Grey values of a pane's canvas (height, width)."""
    flat, width = page.evaluate(
        f"""() => {{ const c = document.querySelector('[data-pane={pane}] canvas');
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        return [Array.from(d).filter((_, k) => k % 4 == 0), c.width]; }}"""
    )
    return np.array(flat).reshape(-1, width)


def test_slices_contrast_and_the_lesion_in_the_middle(review):
    page = review().page
    page.keyboard.press("o")
    page.wait_for_timeout(300)
    picture = pixels(page)
    height, width = picture.shape
    middle = picture[height // 2 - 6 : height // 2 + 6, width // 2 - 6 : width // 2 + 6]
    assert middle.mean() < 0.7 * np.median(picture[picture > 60])
    caption = page.locator("[data-pane=axial] figcaption")
    number = int(re.search(r"slice (\d+)", caption.inner_text())[1])
    page.keyboard.press("ArrowUp")
    page.mouse.move(200, 200)
    page.wait_for_timeout(100)
    page.mouse.wheel(0, -100)
    page.wait_for_timeout(300)
    assert int(re.search(r"slice (\d+)", caption.inner_text())[1]) == number + 2
    before = pixels(page).mean()
    page.mouse.down()
    page.mouse.move(200, 320, steps=4)
    page.mouse.up()
    page.wait_for_timeout(300)
    assert pixels(page).mean() < before - 10  # dragged down: darker
    assert standing(page)["state"] is None


def test_add_move_note_undo_and_delete_by_keys(review):
    page = review().page
    page.mouse.click(300, 200)
    page.keyboard.press("n")
    page.locator("#marks li").wait_for(timeout=SECONDS)
    item = standing(page)
    mark = item["marks"][0]["at"]
    # Left of the middle on the screen is the person's right; above it is the front.
    box = page.locator("[data-pane=axial] canvas").bounding_box()
    scale = min(box["width"], box["height"]) / 60
    x, y = 300 - box["x"] - box["width"] / 2, 200 - box["y"] - box["height"] / 2
    assert mark[0] == pytest.approx(item["at"][0] - x / scale, abs=0.5)
    assert mark[1] == pytest.approx(item["at"][1] - y / scale, abs=0.5)
    page.keyboard.press("m")
    page.locator("#message", has_text="Moved").wait_for(timeout=SECONDS)
    assert standing(page)["state"]["at"] == pytest.approx(mark, abs=0.01)
    assert standing(page)["state"]["decision"] == "note"  # moved, not yet decided
    page.keyboard.press("t")
    page.keyboard.type("a vein? R 2")
    page.keyboard.press("Enter")
    page.locator("#note", has_text="a vein? R 2").wait_for(timeout=SECONDS)
    decide(page, "3", 1)
    page.keyboard.press("ArrowLeft")
    page.locator("#verdict", has_text="Rejected: calcification").wait_for(timeout=SECONDS)
    page.locator('body[data-shown="0"]').wait_for(timeout=SECONDS)
    item = standing(page)
    state = item["state"]
    assert (state["decision"], state["class"], state["note"]) == (
        "reject",
        "calcification",
        "a vein? R 2",
    )
    page.keyboard.press("Control+z")
    page.locator("#progress", has_text=re.compile("^0 of")).wait_for(timeout=SECONDS)
    page.keyboard.press("x")
    page.locator("#message", has_text="deleted").wait_for(timeout=SECONDS)
    assert standing(page)["marks"] == []


def test_certainty_region_and_the_scan_as_a_whole(review):
    page = review().page
    page.locator("#region").select_option("thalamus")
    page.locator("#message", has_text="Region corrected").wait_for(timeout=SECONDS)
    decide(page, "s", 1)
    page.keyboard.press("ArrowLeft")
    page.locator("#verdict", has_text="Accepted: microbleed, possible").wait_for(timeout=SECONDS)
    item = standing(page)
    assert (item["state"]["certainty"], item["state"]["region"]) == ("possible", "thalamus")
    page.keyboard.press("f")
    row = page.locator("#mars tr", has_text="thalamus")
    assert sorted(row.locator("td").all_inner_texts()) == ["0"] * 5 + ["1"]
    page.locator("#siderosis").select_option("focal")
    page.locator("#siderosis_foci").fill("2")
    page.locator("#form button[value=save]").click()
    page.locator("#message", has_text="Said of the scan").wait_for(timeout=SECONDS)
    word = standing(page)["word"]
    assert (word["siderosis"], word["siderosis_foci"]) == ("focal", 2)


def test_the_mosaic_rejects_many_in_few_requests_and_the_list_finds_them(review):
    watched = review()
    page = watched.page
    page.keyboard.press("z")
    tiles = page.locator(".mosaic-tile")
    tiles.nth(19).wait_for(timeout=SECONDS)
    asked = len([url for url in watched.requests if "decisions" in url])
    for number in range(20):
        tiles.nth(number).click()
    page.locator("#reject-marked").click()
    page.locator("#progress", has_text=re.compile("^20 of")).wait_for(timeout=SECONDS)
    assert len([url for url in watched.requests if "decisions" in url]) == asked + 1
    page.keyboard.press("Escape")
    page.keyboard.press("k")
    page.locator("#filter").select_option("rejected")
    assert page.locator("#listed tr").count() == 20
    page.locator("#listed button").last.click()
    page.locator("#verdict", has_text="Rejected").wait_for(timeout=SECONDS)


def test_another_image_beside_the_scan_and_how_the_pictures_hang(made, serve, opened):
    write_json(made.layout.config, made.config | {"bids_dir": str(made.bids_dir)})
    study = Study.read(made.layout)
    scan = study.scans[worklist(study, "Beside", Options())[0].scan_id]
    path = scan.path.with_name(scan.path.name.replace(scan.suffix, "FLAIR"))
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.full(reviewable.SHAPE, 100, np.float32)
    grey[reviewable.SHAPE[0] // 2 :] = 1000  # the person's right is bright
    nib.save(nib.Nifti1Image(grey, reviewable.affine_of()), path)

    server = serve(made.layout.root, "Beside")
    page = opened(server.address, 1280, 800).page
    assert shown(page) == 0 and not page.locator("#software").is_visible()
    page.keyboard.press("y")
    assert page.locator("#software").is_visible()
    page.locator("#beside option", has_text="FLAIR").wait_for(state="attached", timeout=SECONDS)
    page.keyboard.press("p")
    flair = page.locator("[data-pane=second] figcaption", has_text="FLAIR. Axial")
    flair.wait_for(timeout=SECONDS)
    assert "not registered" in page.locator("#beside-said").inner_text()
    page.keyboard.press("o")
    page.keyboard.press("w")
    page.locator("body:not([data-busy])").wait_for(timeout=SECONDS)
    flair.wait_for(timeout=SECONDS)
    page.wait_for_timeout(500)
    row = pixels(page, "second")
    row = row[len(row) // 2]
    # The person's right is on the left of the screen.
    assert row[len(row) * 2 // 5] > 200 > 60 > row[len(row) * 3 // 5]
    page.keyboard.press("b")
    page.locator("[data-pane=coronal] figcaption", has_text="FLAIR. Cor").wait_for(timeout=SECONDS)
    page.wait_for_timeout(1000)  # how the pictures hang is kept a moment later
    server.stop()
    page = opened(serve(made.layout.root, "Beside").address, 1280, 800).page
    page.locator("[data-pane=second] figcaption", has_text="FLAIR. Axial").wait_for(timeout=SECONDS)
    assert page.evaluate("document.querySelector('#beside').value") == "FLAIR"


def test_a_click_leaves_a_mark(review):
    page = review().page
    page.keyboard.press("o")
    page.keyboard.press("o")
    box = page.locator("[data-pane=axial] canvas").bounding_box()
    before = pixels(page)
    page.mouse.click(box["x"] + 150, box["y"] + 150)
    page.wait_for_timeout(300)
    near = (slice(90, 211), slice(90, 211))
    changed = abs(pixels(page)[near] - before[near]) > 40
    assert changed.sum() > 20 and not changed[45:76, 45:76].any()  # arms, with a free middle


def test_a_free_hand_scan_shows_nothing_of_the_software(review):
    page = review("--free-hand", "2").page
    assert page.locator("#title").inner_text() == "Read free-hand: 1 of 2"
    assert not page.locator("#software").is_visible()
    assert page.locator("#choices button").count() == 1
    page.keyboard.press("ArrowUp")
    for title in ("1 of 2", "2 of 2"):
        page.locator("#title", has_text=title).wait_for(timeout=SECONDS)
        page.locator("body:not([data-busy])").wait_for(timeout=SECONDS)
        page.keyboard.press("d")
    page.locator("#title", has_text="Lesion 1 of").wait_for(timeout=SECONDS)
    assert "2 of 2 scans read" in page.locator("#progress").inner_text()


def test_keys_buttons_and_focus(review):
    page = review().page
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("a")  # decides nothing behind the dialog
    page.keyboard.press("Escape")
    assert page.locator("#progress").inner_text().startswith("0 of")
    # By Tab and Enter alone, the focus staying where the next decision is made.
    page.locator("#choices button", has_text="Vessel").focus()
    page.keyboard.press("Enter")
    page.locator("#progress", has_text=re.compile("^1 of")).wait_for(timeout=SECONDS)
    page.wait_for_timeout(300)
    assert page.evaluate("document.activeElement.textContent").startswith("Vessel")


@pytest.mark.parametrize("size", [(1280, 800), (1920, 1080), (400, 800)])
def test_nothing_sticks_out_and_nothing_is_fetched_elsewhere(review, size):
    watched = review(width=size[0], height=size[1])
    page = watched.page
    page.keyboard.press("2")
    page.locator("#progress", has_text=re.compile("^1 of")).wait_for(timeout=SECONDS)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    if size[0] >= 1280:
        assert page.evaluate("document.documentElement.scrollHeight") <= size[1]
        last = page.locator("#undo").bounding_box()
        assert last["y"] + last["height"] <= size[1]
    assert watched.errors == []
    assert all(url.startswith(("http://127.0.0.1:", "data:")) for url in watched.requests)


def test_no_serious_fault_of_accessibility(review, axe):
    page = review().page
    assert axe(page) == []
    page.keyboard.press("?")
    assert axe(page) == []


def test_a_page_without_its_token_says_nothing(made, serve, opened):
    server = serve(made.layout.root, "N")
    page = opened(server.address.partition("?")[0]).page
    assert page.locator("body").inner_text() == "Forbidden"


def test_the_token_leaves_the_address_and_the_keys_that_reload_still_work(review):
    page = review().page
    assert "token" not in page.url and page.evaluate("history.length") <= 2
    assert page.evaluate("sessionStorage.getItem('token')").strip()
    page.evaluate("window.isOld = true")
    with page.expect_navigation():
        page.keyboard.press("F5")
    assert page.evaluate("window.isOld === undefined")
    assert shown(page) == 0 and "token" not in page.url


def test_a_refused_decision_stays_on_the_page_until_it_is_saved(made, review):
    page = review().page
    reader = page.locator("h1 span").inner_text().removeprefix("by ")
    decide(page, "a", 1)
    held = made.layout.reader_file(reader)
    kept, other = held.read_bytes(), made.layout.reader_file("other")
    others = store.Store(made.layout, "other")
    others.decide({"scan_id": "sub-x", "mode": "free-hand", "decision": "read"} | OTHERS)
    others.close()
    held.write_bytes(other.read_bytes())
    other.unlink()
    page.keyboard.press("t")
    page.keyboard.type("a vein, surely")
    page.keyboard.press("Enter")
    page.locator("#unsaved-words", has_text="a vein, surely").wait_for(timeout=SECONDS)
    assert "other decisions" in page.locator("#message").inner_text()
    held.write_bytes(kept)
    page.locator("#again").click()
    page.locator("#note", has_text="a vein, surely").wait_for(timeout=SECONDS)
    assert not page.locator("#unsaved").is_visible()
    standing = [row["note"] for row in store.Store(made.layout, reader).standing()]
    assert standing == [None, "a vein, surely"]
