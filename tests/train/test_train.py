"""Training: targets and patches agree with the geometry, a stopped training ends the same."""

import ast
import dataclasses
import json
import os
import pickle
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image, ImageSequence
from scipy import ndimage

from cmburden.core.errors import CMBurdenError
from cmburden.core.files import write_json
from cmburden.detect.candidates import OnDevice
from cmburden.detect.network import SpotNet
from cmburden.detect.stage import search_and_describe
from cmburden.images.views import OTHER_WAY, SHAPE, VIEW_MM, VIEW_PIXELS
from cmburden.models.contract import CLASSES
from cmburden.models.weights import load_tensors
from cmburden.train import (
    batches,
    calibrate,
    dataset,
    detector,
    mine,
    patches,
    precisions,
    release,
    slabs,
    verifier,
)
from cmburden.train.detector import TrainingPlan
from cmburden.train.widen import widened
from cmburden.verify.network import (
    ENLARGED_PIXELS,
    WIDTH,
    build,
    class_scores,
    read,
    untrained,
    width_of,
)
from cmburden.verify.probability import FEATURES, design, probability
from cmburden.verify.stage import Verifier

pytestmark = pytest.mark.slow

#: Candidates of a slab at most.
MOST = 40
#: Keys of a mined file, as they have been since 2026-11-24.
MINED_KEYS = {
    "views",
    "class",
    "boxes",
    "n_microbleeds",
    "view_mm",
    "name",
    "person",
    "p_cnn",
}


@pytest.fixture(autouse=True)
def _one_thread():
    """Networks are tiny here: several threads would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def slab(rng: np.random.Generator) -> slabs.Slab:
    """A grey slab with two dark spots and one bright mimic."""
    image = np.ones((64, 56, 16), np.float32) + 0.02 * rng.normal(size=(64, 56, 16))
    centre = np.array([[20, 20, 6], [44, 30, 10], [30, 44, 8]], np.float32)
    for at, value in zip(centre.astype(int), (0.2, 0.2, 1.8), strict=True):
        image[tuple(slice(a - 1, a + 2) for a in at)] = value
    affine = np.diag([0.75, 0.75, 2.0, 1.0])
    return slabs.Slab(
        scan=image.astype(np.float16),
        scan_mask=np.ones(image.shape, bool),
        affine=affine,
        centre_mm=centre * np.diag(affine)[:3],
        image=image.astype(np.float16),
        mask=np.ones(image.shape, np.uint8),
        spacing=np.array([0.75, 0.75, 2.0], np.float32),
        centre=centre,
        radius=np.array([1.2, 1.2, 1.2], np.float32),
        kind=np.array(["microbleed", "microbleed", "calcification"]),
        name="test",
        contrast="GRE",
        person="one",
    )


def save_slabs(folder: Path, count: int = 2) -> None:
    for number in range(count):
        slabs.save(slabs.slab_path(folder, number), slab(np.random.default_rng(number)))


@pytest.fixture
def folder(tmp_path):
    """A folder of two slabs."""
    save_slabs(tmp_path)
    return tmp_path


@pytest.fixture
def one(folder) -> patches.Drawable:
    """The first slab of ``folder``, as patches are drawn from it."""
    loaded: dict[str, patches.Drawable] = {}
    detector.load_slabs(folder, loaded)
    assert list(loaded) == ["slab-0000.npz", "slab-0001.npz"]
    return loaded["slab-0000.npz"]


# --- the files ---


def test_a_slab_is_read_as_it_was_written(folder):
    written, path = slab(np.random.default_rng(0)), slabs.slab_path(folder, 0)
    assert path.name == "slab-0000.npz"
    read = slabs.load(path, slabs.Slab)
    for field in dataclasses.fields(slabs.Slab):
        expected, value = getattr(written, field.name), getattr(read, field.name)
        assert type(value) is type(expected)
        assert np.array_equal(value, expected)
        assert np.asarray(value).dtype == np.asarray(expected).dtype
    assert slabs.load(path, slabs.Origin) == slabs.Origin(name="test", person="one")


def test_slabs_of_before_are_read(tmp_path):
    """As the version of before wrote them: scalars as arrays without axes, persons not named."""
    path = tmp_path / "slab-0000.npz"
    members = dataclasses.asdict(slab(np.random.default_rng(0)))
    del members["person"], members["contrast"]
    np.savez(path, **members | {"name": np.array("ADNI")})
    read = slabs.load(path, slabs.Slab)
    assert (read.name, read.contrast, read.person) == ("ADNI", "", "")
    assert len(slabs.load(path, slabs.PatchSource).microbleeds.radius) == 2


@pytest.mark.parametrize("kind", [slabs.Slab, slabs.PatchSource, slabs.Mined, slabs.Origin])
def test_what_is_no_slab_is_one_sentence(folder, kind):
    path = folder / "slab-0000.npz"
    whole = path.read_bytes()
    for content in (b"", b"no archive", whole[: len(whole) // 2], b"PK\x03\x04" + whole[:-9]):
        path.write_bytes(content)
        with pytest.raises(CMBurdenError, match=r"slab-0000.npz: not a .* of this version"):
            slabs.load(path, kind)
    np.savez(path, another=np.zeros(3))
    with pytest.raises(CMBurdenError, match=r"it lacks .*; remove it and run cmburden train"):
        slabs.load(path, kind)


def test_pickled_objects_are_not_loaded(tmp_path):
    path = tmp_path / "slab-0000.npz"
    np.savez(path, name=np.array([{"a": 1}], dtype=object))
    with pytest.raises(CMBurdenError, match="allow_pickle=False"):
        slabs.load(path, slabs.Origin)


def archive_calls(source: str) -> list[str]:
    """Calls of numpy in ``source`` that read or write an array file."""
    return [
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and node.attr in ("load", "save", "savez", "savez_compressed")
        and isinstance(node.value, ast.Name)
        and node.value.id in ("np", "numpy")
    ]


def test_one_module_alone_knows_the_keys_of_slab_files():
    package = Path(slabs.__file__).parent
    calls = {path.name: archive_calls(path.read_text()) for path in package.glob("*.py")}
    assert calls.pop("slabs.py") == ["savez_compressed", "load"]
    assert len(calls) > 10
    assert not any(calls.values())
    assert archive_calls("import numpy as np\nnp.load(path)['scan']") == ["load"]


# --- patches ---


def test_target_is_a_ball():
    spacing = np.array([0.5, 0.5, 0.5])
    lesion = slabs.Spheres(np.array([[20, 20, 20]]), np.array([4.0]))
    truth = patches.target((40, 40, 40), lesion, spacing)
    # One inside the radius, zero a voxel beyond it: half the way at radius + half a voxel.
    volume = (truth > 0.5).sum() * 0.125
    assert volume == pytest.approx(4 / 3 * np.pi * 4.25**3, rel=0.03)
    assert truth[20, 20, 28] == pytest.approx(1)
    assert truth[20, 20, 30] == pytest.approx(0)


def test_patches_keep_image_and_truth_together(one):
    rng = np.random.default_rng(3)
    seen = 0
    for _ in range(40):
        patch = patches.draw_patch(one, np.zeros((0, 3)), rng)
        image, mask, truth = patch.image, patch.mask, patch.truth
        assert image.shape == mask.shape == truth.shape == (48, 48, 12)
        if (truth >= 1).any():
            seen += 1
            inside = (truth >= 1) & (mask > 0)
            assert image[inside].mean() < 0.6 * np.median(image[mask > 0])
    assert seen > 10


def test_a_faint_lesion_takes_no_part():
    kinds = np.array(["microbleed", "faint", "calcification"])
    every = slab(np.random.default_rng(0))
    content = dataclasses.replace(every, kind=kinds)
    parts = {f.name: getattr(content, f.name) for f in dataclasses.fields(slabs.PatchSource)}
    one = slabs.PatchSource(**parts)
    rng = np.random.default_rng(1)
    drawable = patches.Drawable(one)
    drawn = [patches.draw_patch(drawable, np.array([[44, 30, 10]]), rng) for _ in range(20)]
    truth = torch.from_numpy(np.stack([patch.truth for patch in drawn]))
    assert (truth == -1).any() and (truth >= 1).any()
    logits = torch.zeros_like(truth)
    before = detector.loss_of(logits, truth)
    logits[truth == -1] = 9.0
    assert detector.loss_of(logits, truth) == before
    logits[truth == 0] = 9.0
    assert detector.loss_of(logits, truth) > before
    settings = {"min_probability": 0, "max_candidates": 40}
    numbers = [
        mine.mine_slab(SpotNet(4).eval(), one, settings).n_microbleeds for one in (content, every)
    ]
    assert numbers == [1, 2]


def test_views_that_show_a_faint_lesion_are_left_out():
    axes, point = np.diag([0.75, 0.75, 2.0]), np.zeros(3)
    edge = VIEW_MM / 2 - 1
    assert mine.shows(point, np.array([edge - 0.1, 0.1 - edge, 0.9]), 0.5, axes)
    assert not mine.shows(point, np.array([edge + 0.1, 0, 0]), 0.5, axes)
    assert not mine.shows(point, np.array([0, 0, 1.5]), 0.5, axes)
    assert mine.shows(point, np.array([0, 0, 1.5]), 1.6, axes)


def test_a_patch_knows_where_its_voxels_are(one):
    rng, lesions = np.random.default_rng(5), 0
    centre = np.concatenate([one.microbleeds, one.mimics])
    for _ in range(30):
        patch = patches.draw_patch(one, np.array([[30, 44, 8]]), rng)
        # The middle of each lesion is where the truth is highest, whatever was mirrored.
        for at in np.argwhere(patch.truth >= 1):
            distance = np.linalg.norm((centre - patch.in_slab(at)) * (0.75, 0.75, 2), axis=1)
            assert distance.min() < 2.6
            lesions += 1
    assert lesions > 10


def test_values_of_a_patch_are_the_slabs(one):
    """Voxel by voxel: the truth, the mask and, but for one gamma and gain, the image."""
    image = slab(np.random.default_rng(0)).image.astype(float)
    lesions = slabs.Spheres(one.microbleeds, np.array([1.2, 1.2]))
    truth = patches.target(image.shape, lesions, np.array([0.75, 0.75, 2.0]))
    rng = np.random.default_rng(8)
    straight = 0
    for _ in range(20):
        patch = patches.draw_patch(one, np.zeros((0, 3)), rng)
        index = np.stack(np.meshgrid(*map(np.arange, (48, 48, 12)), indexing="ij"), -1)
        at = np.array([patch.in_slab(voxel) for voxel in index.reshape(-1, 3)[::37]])
        drawn = patch.truth.reshape(-1)[::37]
        assert np.abs(truth[tuple(at.T)] - drawn).max() < 0.003
        assert (patch.mask == 1).all()
        before, after = image[tuple(at.T)], patch.image.reshape(-1)[::37]
        straight += np.corrcoef(before, after)[0, 1] > 0.999
    # The others have noise of their own.
    assert 8 < straight < 20


def test_a_slab_thinner_than_a_patch_is_filled_up_with_nothing():
    whole = slab(np.random.default_rng(0))
    parts = {f.name: getattr(whole, f.name) for f in dataclasses.fields(slabs.PatchSource)}
    parts |= {"image": whole.image[:40, :, :7], "mask": whole.mask[:40, :, :7]}
    thin = patches.Drawable(slabs.PatchSource(**parts))
    patch = patches.draw_patch(thin, np.zeros((0, 3)), np.random.default_rng(0))
    assert patch.image.shape == (48, 48, 12)
    assert patch.mask.sum() == 40 * 48 * 7
    assert (patch.image[patch.mask == 0] < 0.3).all()


def test_the_margin_about_lesions_is_a_box_about_each_voxel(one):
    expected = ndimage.maximum_filter(one.truth, (7, 7, 3)) > 0
    assert ((one.flags & patches.NEAR_LESION > 0) == expected).all()


def batch_of(one: patches.Drawable, place: np.ndarray, seed: int) -> patches.Batch:
    rng = np.random.default_rng(seed)
    return patches.draw_batch({"one": one}, ["one"], {"one": place[None]}, rng)


def test_hard_places_are_false_alarms_in_the_slab(one):
    hard, mimic = patches.HardPlaces(), np.array([30, 44, 8])
    for step in range(20):
        batch = batch_of(one, mimic, step)
        # A network that takes the bright mimic and every true lesion for one.
        image, truth = batch.images[:, 0].numpy(), batch.truth[:, 0].numpy()
        hard.update(step, batch, np.maximum(truth, (image > 1.5).astype(np.float32)))
    places = hard.of("one", 100)
    assert len(places) and (np.abs(places - mimic) <= 2).all()
    assert hard.of("another", 100).shape == (0, 3)
    again = patches.HardPlaces(hard.state())
    assert (again.of("one", 100) == places).all()


def test_a_hard_place_is_drawn_from_a_fixed_number_of_steps_later(one):
    """However far ahead a batch is drawn, and whatever is trimmed in between."""
    hard, mimic = patches.HardPlaces(), np.array([30, 44, 8])
    batch = batch_of(one, mimic, 3)
    always = np.ones((1, 48, 48, 12), np.float32)
    before = {}
    for step in range(3 * hard.MOST):
        before[step + hard.LAG - 1] = hard.of("one", step + hard.LAG - 1)
        hard.update(step, batch, always)
        late = hard.of("one", step + hard.LAG)
        assert len(late) == min(step + 1, hard.MOST)
    assert [len(rows) for rows in before.values()] == [min(k, 48) for k in range(len(before))]
    assert len(hard.places["one"]) <= hard.MOST + hard.LAG + 1


# --- the detector ---


@pytest.fixture
def frequent(monkeypatch):
    """Checkpoints each ten steps."""
    monkeypatch.setattr(detector, "CHECKPOINT_STEPS", 10)


def trained(folder: Path, out: Path, **changes) -> dict[str, torch.Tensor]:
    """Weights after a short training."""
    plan = TrainingPlan(**{"steps": 24, "batch": 1, "channels": 4, "seed": 1} | changes)
    return torch.load(detector.train(folder, out, plan), weights_only=True)


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    assert list(one) == list(other) and len(one) > 10
    return all(torch.equal(one[name], other[name]) for name in one)


class Clock:
    """A clock that goes on by ``step`` seconds whenever it is read."""

    def __init__(self, step: float):
        self.step, self.now = step, 0.0

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


@pytest.mark.usefixtures("frequent")
def test_stopped_and_started_again_gives_the_same_weights(folder, tmp_path, monkeypatch):
    whole = trained(folder, tmp_path / "whole")
    loss_of, calls = detector.loss_of, []

    def dies(*arguments):
        calls.append(1)
        if len(calls) > 16:
            raise KeyboardInterrupt
        return loss_of(*arguments)

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(detector, "loss_of", dies)
        trained(folder, tmp_path / "killed")
    again = trained(folder, tmp_path / "killed")
    assert equal(whole, again)


@pytest.mark.usefixtures("frequent")
def test_weights_do_not_depend_on_who_draws(folder, tmp_path, monkeypatch):
    """Equal with 0, 1 and 2 processes, and after a kill with another number of them."""
    monkeypatch.setattr(detector, "RELOAD_STEPS", 9)
    monkeypatch.setattr(patches.HardPlaces, "LAG", 4)
    monkeypatch.setattr(batches, "MOST_WORKERS", 3)
    monkeypatch.setattr(patches, "HARD_P", 0.0)
    whole = trained(folder, tmp_path / "0")
    learn, calls = detector.learn, []

    def dies(*arguments):
        calls.append(1)
        if len(calls) > 16:
            raise KeyboardInterrupt
        return learn(*arguments)

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(detector, "learn", dies)
        trained(folder, tmp_path / "2", workers=2)
    for workers in (1, 2):
        assert equal(whole, trained(folder, tmp_path / str(workers), workers=workers))
    curves = [json.loads((tmp_path / str(k) / "curve.json").read_text()) for k in (0, 1, 2)]
    losses = [[row[:2] for row in curve["step_loss_seconds"]] for curve in curves]
    assert losses[0] == losses[1] == losses[2] != []


def test_a_process_that_dies_is_one_sentence(folder, tmp_path, monkeypatch):
    def dies(*arguments):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(batches, "draw_batch", dies)
    with pytest.raises(CMBurdenError, match=r"a process that draws patches ended .* --workers"):
        trained(folder, tmp_path / "o", workers=1)


def test_options_of_a_training_that_cannot_be(folder, tmp_path):
    with pytest.raises(CMBurdenError, match="--workers 99: give a number from 0 to 15"):
        trained(folder, tmp_path / "o", workers=99)
    with pytest.raises(CMBurdenError, match="--precision mixed: is for an NVIDIA GPU"):
        verifier.train(folder, tmp_path / "o", verifier.YoloPlan(epochs=1, precision="mixed"))
    precisions.check("mixed", torch.device("cuda"))


def test_a_checkpoint_of_another_precision_is_not_continued(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(detector, "CHECKPOINT_STEPS", 1)
    trained(folder, tmp_path / "o", steps=1)
    plan = TrainingPlan(steps=2, channels=4, precision="mixed")
    with pytest.raises(CMBurdenError, match="in single precision; give --precision single"):
        detector.begin(plan, tmp_path / "o" / "checkpoint.pt", torch.device("cpu"))


@pytest.mark.usefixtures("frequent")
def test_time_stops_a_training_and_does_not_steer_it(folder, tmp_path, monkeypatch):
    """A step takes 6 s by the clock, so that three minutes hold 24 steps and 100 s do not."""
    whole = trained(folder, tmp_path / "whole")
    with monkeypatch.context() as slow:
        slow.setattr(detector, "time", Clock(6.0))
        assert equal(whole, trained(folder, tmp_path / "slow", minutes=3))
        slow.setattr(detector, "time", Clock(6.0))
        assert not equal(whole, trained(folder, tmp_path / "stopped", minutes=100 / 60))
    checkpoint = torch.load(tmp_path / "stopped" / "checkpoint.pt", weights_only=True)
    assert (checkpoint["step"], checkpoint["seconds"]) == (10, 60.0)
    assert equal(whole, trained(folder, tmp_path / "stopped"))


def test_no_slabs_is_one_sentence(tmp_path):
    with pytest.raises(CMBurdenError, match="run cmburden train dataset first"):
        trained(tmp_path, tmp_path / "o")


# --- mining and YOLO ---


def test_match_is_one_to_one():
    points = np.array([[0, 0, 0], [1, 0, 0], [50, 0, 0.0]])
    centres = np.array([[0.9, 0, 0], [30, 0, 0.0]])
    assert mine.match(points, centres, np.array([3.0, 3.0])).tolist() == [-1, 0, -1]


def test_leaving_out_every_preset_is_a_mistake(tmp_path):
    with pytest.raises(CMBurdenError, match="--without AIBL leaves out every one of --presets"):
        dataset.main([str(tmp_path), "--presets", "AIBL", "--without", "AIBL"])


def pages(path) -> np.ndarray:
    """(rows, columns, pages) of a TIFF."""
    with Image.open(path) as image:
        return np.stack([np.array(page) for page in ImageSequence.Iterator(image)], -1)


def test_mined_candidates_become_a_yolo_dataset(tmp_path):
    paths = slabs.mined_files(mined(range(2), tmp_path / "m"))
    assert [path.name for path in paths] == ["mined-0000.npz", "mined-0001.npz"]
    for path in paths:
        content = slabs.load(path, slabs.Mined)
        n = len(content.classes)
        assert 0 < n <= MOST
        assert content.views.shape == (n, *SHAPE)
        boxes = content.boxes
        assert ((boxes[:, 2:] > 0) & (boxes[:, 2:] < 1)).all()
        # The first box of each view is the candidate's own.
        assert [boxes[boxes[:, 0] == k][0, 1] for k in range(n)] == content.classes.tolist()
    verifier.write_dataset(tmp_path / "m", tmp_path / "views")
    names = {
        part: {p.stem.rsplit("-", 1)[0] for p in (tmp_path / "views/images" / part).iterdir()}
        for part in ("train", "val")
    }
    assert names == {"val": {"mined-0000"}, "train": {"mined-0001"}}
    # Every second is turned, its boxes with it, two of four have their slices the other way, and
    # all are a little darker or brighter.
    content = slabs.load(paths[0], slabs.Mined)
    pictures = sorted((tmp_path / "views/images/val").iterdir())
    for number, path in enumerate(pictures):
        k, turned = int(path.stem.rsplit("-", 1)[1]), number % 2 == 0
        view, expected = pages(path), content.views[k].astype(float)
        expected = expected[..., OTHER_WAY] if number % 4 > 1 else expected
        expected = expected.transpose(1, 0, 2) if turned else expected
        shown = (expected > 20) & (view < 255)
        gain = np.median(view[shown] / expected[shown])
        assert 0.84 < gain < 1.16
        assert np.abs(np.minimum(expected * gain, 255) - view).max() < 4
        text = (tmp_path / f"views/labels/val/{path.stem}.txt").read_text()
        x, y = map(float, text.split()[1:3])
        own = content.boxes[content.boxes[:, 0] == k][0, 2:4]
        assert (x, y) == pytest.approx(own[::-1] if turned else own, abs=1e-5)


def mined(slab_numbers: range, folder: Path) -> Path:
    """Views and boxes of some slabs, mined by an untrained CNN."""
    torch.manual_seed(0)
    network = SpotNet(4).eval()
    for number in slab_numbers:
        content = slab(np.random.default_rng(number))
        found = mine.mine_slab(network, content, {"min_probability": 0.0, "max_candidates": MOST})
        slabs.save(slabs.mined_path(folder, slabs.slab_path(folder, number)), found)
    return folder


def test_mining_sees_what_the_stage_sees(tmp_path):
    """The views and probabilities of the stage's function, for the candidates that are kept."""
    torch.manual_seed(0)
    network, content = SpotNet(4).eval(), slab(np.random.default_rng(0))
    seen = search_and_describe(
        OnDevice(network, torch.device("cpu")).answer,
        content.scan.astype(np.float32),
        content.scan_mask,
        content.affine,
        minimum=0.0,
        maximum_number=MOST,
    )
    rows = mine.mine_slab(network, content, {"min_probability": 0.0, "max_candidates": MOST})
    assert len(rows.views) == len(seen.views) > 0
    assert np.array_equal(rows.views, seen.views)
    assert rows.p_cnn.tolist() == [np.float32(row["p_cnn"]) for row in seen.rows]


def test_processes_mine_the_same_files(folder, tmp_path):
    """A slab that is mined already stays; the others are the same bytes with two processes."""
    torch.manual_seed(0)
    torch.save(SpotNet(4).state_dict(), tmp_path / "detector.pt")
    settings = {"min_probability": 0.0, "max_candidates": MOST}
    for workers in (0, 2):
        mine.mine(tmp_path / "detector.pt", folder, tmp_path / str(workers), settings, workers)
    alone, together = (slabs.mined_files(tmp_path / str(workers)) for workers in (0, 2))
    assert len(alone) == 2
    assert [path.read_bytes() for path in alone] == [path.read_bytes() for path in together]


def randomised(network: torch.nn.Module) -> torch.nn.Module:
    """``network`` with all weights, and what it knows of its features' spread, drawn anew."""
    torch.manual_seed(1)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif name.endswith(("running_mean", "bn.bias")):
            tensor.normal_(0, 0.3)
        elif name.endswith("bn.weight"):
            tensor.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize("width", [0.375, 0.5])
def test_a_widened_network_answers_as_the_narrower_one(width):
    narrow, wide = randomised(untrained(0.25)), randomised(untrained(width))
    views = torch.rand(2, SHAPE[2], 96, 96)
    with torch.inference_mode():
        expected, before = narrow(views)[0], wide(views)[0]
        wide.load_state_dict(widened(narrow.state_dict(), wide))
        # Boxes in pixels, then the classes' probabilities.
        assert (wide(views)[0] - expected).abs().amax((0, 2)).max() < 1e-3
        assert (before - expected).abs().max() > 1
    # Copies are not alike: else they would learn alike.
    reading = wide.state_dict()["model.1.conv.weight"]
    assert (reading[:, 0] - reading[:, 1]).abs().max() > 0
    with pytest.raises(CMBurdenError, match="channels cannot start one of"):
        widened(wide.state_dict(), narrow)


def test_yolo_is_trained_from_narrower_weights_and_goes_on_where_it_was_stopped(
    tmp_path, monkeypatch
):
    from cmburden.train.yolo_trainer import Trainer

    views = mined(range(3), tmp_path / "mined")
    torch.save(untrained(0.25).state_dict(), tmp_path / "narrow.pt")
    plan = verifier.YoloPlan(epochs=2, seed=0, start=tmp_path / "narrow.pt")
    save = Trainer.save_model

    def save_and_stop(trainer):
        save(trainer)
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(Trainer, "save_model", save_and_stop)
        verifier.train(views, out, plan)
    assert not (out / "verifier.pt").exists()
    stored = torch.load(out / "checkpoint.pt", weights_only=True)
    assert stored["epoch"] == 0
    # Nobody's commands or pickles among the views are executed when the training goes on.
    touched = tmp_path / "touched"
    (out / "views/views.yaml").write_text(f"download: |\n  open({str(touched)!r}, 'w')\n")
    for part in ("train", "val"):
        np.save(tmp_path / "evil.npy", np.array(Evil(touched), dtype=object), allow_pickle=True)
        (tmp_path / "evil.npy").rename(out / f"views/labels/{part}.cache")
    weights = verifier.train(views, out, plan)
    assert not touched.exists()
    epochs = pd.read_csv(out / "yolo/results.csv")
    assert epochs["epoch"].tolist() == [1, 2]
    assert not list(out.rglob("last.pt"))
    assert width_of(read(weights).state_dict()) == WIDTH
    scores = class_scores([build(weights)], np.zeros((1, *SHAPE), np.uint8), torch.device("cpu"))
    assert scores.shape == (1, len(CLASSES))
    # A finished training gives its weights again; other options are another training.
    before = weights.read_bytes()
    assert verifier.train(views, out, plan).read_bytes() == before
    # Without a stop, and with processes that vary the views, the weights are the same.
    whole = dataclasses.replace(plan, workers=2)
    assert equal(load_tensors(weights), load_tensors(verifier.train(views, tmp_path / "w", whole)))
    with pytest.raises(CMBurdenError, match=r"epochs 2, not 3; .*name another OUT"):
        verifier.train(views, out, dataclasses.replace(plan, epochs=3))


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


#: Contents of a file that somebody else put in place of a checkpoint or of weights.
FOREIGN = {
    "pickle": lambda path, touched: path.write_bytes(pickle.dumps(Evil(touched))),
    "torch": lambda path, touched: torch.save({"plan": Evil(touched), "epoch": 0}, path),
    "old torch": lambda path, touched: torch.save(
        {"epoch": Evil(touched)}, path, _use_new_zipfile_serialization=False
    ),
    "numpy": lambda path, touched: np.save(
        path.open("wb"), np.array(Evil(touched), dtype=object), allow_pickle=True
    ),
    "list": lambda path, touched: torch.save([1, 2], path),
    "other keys": lambda path, touched: torch.save({"a": torch.zeros(2)}, path),
    "tensors not by name": lambda path, touched: torch.save({"epoch": 0, "plan": {}}, path),
    "text": lambda path, touched: path.write_text("not weights"),
    "empty": lambda path, touched: path.write_bytes(b""),
    "folder": lambda path, touched: path.mkdir(),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_checkpoint_of_somebody_else_is_one_sentence_and_never_executed(tmp_path, kind):
    touched, checkpoint = tmp_path / "touched", tmp_path / "out" / "checkpoint.pt"
    checkpoint.parent.mkdir()
    FOREIGN[kind](checkpoint, touched)
    trainings = (
        lambda: verifier.train(tmp_path, checkpoint.parent, verifier.YoloPlan(epochs=2)),
        lambda: detector.train(tmp_path, checkpoint.parent, detector.TrainingPlan(2, channels=4)),
        lambda: detector.train(tmp_path, tmp_path, detector.TrainingPlan(2, start=checkpoint)),
        lambda: verifier._started(checkpoint),
    )
    for training in trainings:
        with pytest.raises(CMBurdenError, match=r"checkpoint\.pt: ") as caught:
            training()
        assert "\n" not in str(caught.value)
    assert not touched.exists()


def test_a_checkpoint_of_another_training_is_not_continued(tmp_path):
    plan = verifier.YoloPlan(epochs=2)
    torch.save({"plan": plan.plain, "epoch": 1, "mean": {}}, tmp_path / "checkpoint.pt")
    for other in ({"epochs": 3}, {"seed": 1}, {"rate": 1e-4}, {"fold": "0/2"}, {"without": ("A",)}):
        with pytest.raises(CMBurdenError, match="give the same options to go on"):
            verifier.train(tmp_path, tmp_path, dataclasses.replace(plan, **other))


def test_the_description_of_views_is_our_own_and_caches_are_gone(tmp_path):
    folder = tmp_path / "views"
    (folder / "labels").mkdir(parents=True)
    outside = tmp_path / "outside.yaml"
    outside.write_text("mine")
    (folder / "views.yaml").symlink_to(outside)
    (folder / "labels" / "train.cache").write_bytes(b"pickle")
    description = verifier._dataset(tmp_path, folder, verifier.YoloPlan(epochs=1))
    assert set(yaml.safe_load(description.read_text())) == {
        "path",
        "train",
        "val",
        "channels",
        "names",
    }
    assert outside.read_text() == "mine"
    assert not list(folder.rglob("*.cache"))


def test_neither_side_of_the_validation_is_empty(tmp_path):
    """A small cohort has scans without a candidate, and perhaps one scan with any."""
    folder = mined(range(2), tmp_path / "m")
    empty, full = (slabs.load(path, slabs.Mined) for path in slabs.mined_files(folder))
    nothing = np.zeros(0, int)
    empty = dataclasses.replace(
        empty,
        views=empty.views[nothing],
        classes=empty.classes[nothing],
        boxes=empty.boxes[:0],
        p_cnn=empty.p_cnn[nothing],
    )
    slabs.save(slabs.mined_files(folder)[0], empty)
    verifier.write_dataset(folder, tmp_path / "views")
    numbers = {
        part: len(list((tmp_path / "views/images" / part).iterdir())) for part in ("train", "val")
    }
    assert numbers["train"] == numbers["val"] == len(verifier.learnt(full)) > 0
    slabs.save(slabs.mined_files(folder)[1], empty)
    with pytest.raises(CMBurdenError, match="none of its 2 scans has a candidate"):
        verifier.write_dataset(folder, tmp_path / "none")


def test_views_and_weights_of_another_version_are_one_sentence(tmp_path):
    path = mined(range(1), tmp_path / "m") / "mined-0000.npz"
    with np.load(path) as archive:
        content = dict(archive)
    assert set(content) == MINED_KEYS
    narrower = {"views": content["views"][..., :3]}
    without_width = {k: v for k, v in content.items() if k != "view_mm"}
    for other in (content | narrower, content | {"view_mm": np.array(24.0)}, without_width):
        np.savez(path, **other)
        with pytest.raises(CMBurdenError, match=r"mined-0000.npz.*another version.*mine again"):
            verifier.write_dataset(tmp_path / "m", tmp_path / "views")
    weights = tmp_path / "old.pt"
    torch.save({"model.0.conv.weight": torch.zeros(16, 3, 3, 3)}, weights)
    with pytest.raises(CMBurdenError, match=r"old.pt: not weights of this version's YOLO"):
        build(weights)


def test_a_released_model_is_what_the_pipeline_loads(tmp_path):
    ones = [1.0] * len(FEATURES)
    numbers = {"mean": ones, "scale": ones, "coefficient": ones, "intercept": 0.0}
    fitted = {
        "probability_model": {"features": list(FEATURES)} | numbers,
        "thresholds": {"definite": 0.4, "possible": 0.1},
        "metrics": {"scans": 3},
    }
    write_json(tmp_path / "fitted.json", fitted)
    both = []
    for width in (0.25, 0.375):
        both.append(tmp_path / f"{width}.pt")
        torch.save(untrained(width).state_dict(), both[-1])
    folder = tmp_path / "verifier"
    fitted_path = tmp_path / "fitted.json"
    for version, change in (("8.0.0", "first"), ("9.0.0", "two networks")):
        release.release(
            release.Release("verifier", tuple(both), fitted_path, version, change=change), folder
        )
    assert "training_precision" not in json.loads((folder / "model.json").read_text())
    precisions.state(both[0], "mixed")
    release.release(release.Release("verifier", tuple(both), fitted_path, "9.0.0"), folder)
    assert "**Precision of training.** mixed." in (folder / "README.md").read_text()
    loaded = Verifier(folder)
    widths = [width_of(read(folder / name).state_dict()) for name in loaded.contract["weights"]]
    assert sorted(widths) == [0.25, 0.375] and len(loaded.networks) == 2
    card = (folder / "README.md").read_text()
    assert "width 0.25 and 0.375" in card and "| definite | 0.4 |" in card
    assert loaded.contract["changelog"] == {"8.0.0": "first", "9.0.0": "two networks"}
    assert loaded.contract["library_versions"]["torch"] == torch.__version__.partition("+")[0]
    assert any("Ultralytics" in text for text in loaded.contract["references"])
    assert "- 9.0.0: two networks" in card
    with pytest.raises(CMBurdenError, match="one file of weights, not 2"):
        release.release(
            release.Release("detector", tuple(both), fitted_path, "9.0.0"), tmp_path / "d"
        )


def test_a_contract_names_the_architecture_and_no_module(tmp_path):
    """Modules move; what a network is stays."""
    torch.save(SpotNet(4).state_dict(), tmp_path / "d.pt")
    metrics = {"candidates_per_scan": 80.0, "sensitivity_of_candidates": 0.9, "scans": 3}
    write_json(tmp_path / "fitted.json", {"metrics": metrics})
    folder = tmp_path / "detector"
    model = release.Release("detector", (tmp_path / "d.pt",), tmp_path / "fitted.json", "9.0.0")
    contract = release.release(model, folder)
    assert "cmburden." not in json.dumps(contract)
    said = contract["architecture"]
    assert said.startswith("SpotNet, a 3D fully convolutional network: in-plane")
    assert "4 channels at half resolution, 8 at a quarter" in said
    assert f"**Architecture.** {said}." in (folder / "README.md").read_text()


def test_a_mirrored_view_has_the_same_scores():
    """Whatever the network: it sees all of a view's mirror images."""
    torch.manual_seed(0)
    views = np.random.default_rng(0).integers(0, 255, (2, *SHAPE), dtype=np.uint8)
    network = torch.nn.Conv2d(SHAPE[2], 4 + len(CLASSES), 8, stride=8)

    def boxes(images):
        # As YOLO's: (n, 4 + classes, boxes), all about the middle.
        found = network(images).flatten(2)
        return torch.cat([torch.full_like(found[:, :4], 48.0), found[:, 4:].sigmoid()], 1)

    scores = class_scores([boxes], views, torch.device("cpu"))
    for axis in (1, 2):
        mirrored = class_scores([boxes], np.flip(views, axis).copy(), torch.device("cpu"))
        assert mirrored == pytest.approx(scores, abs=1e-6)
    assert scores.std() > 0


def test_only_what_may_be_a_microbleed_is_looked_at_twice():
    """Bright views score high, and the second look's flips see them alone."""
    views = np.zeros((100, *SHAPE), np.uint8)
    views[::10] = 255
    bright = []

    def network(images):
        level = images.mean((1, 2, 3))
        bright.append(level > 0.5)
        boxes = torch.full((len(images), 4 + len(CLASSES), 1), 48.0)
        boxes[:, 4:] = (0.001 + 0.8 * level)[:, None, None]
        return boxes

    scores = class_scores([network], views, torch.device("cpu"))
    assert scores[::10] == pytest.approx(0.801, abs=1e-3)
    assert np.delete(scores, np.s_[::10], 0) == pytest.approx(0.001, abs=1e-3)
    # Ten bright views in four flips. Batches of 32 pictures: seven for 100 views in two flips, one
    # for the bright ones in the other two.
    assert sum(int(some.sum()) for some in bright) == 40
    assert [len(some) for some in bright] == [32] * 8


def test_a_network_sees_views_enlarged_about_their_middle():
    views = np.zeros((1, *SHAPE), np.uint8)
    views[:, 32:64, 36:60] = 255
    seen = []

    def recording(images):
        seen.append(images[0, 0].clone())
        return torch.zeros(len(images), 4 + len(CLASSES), 1)

    class_scores([recording], views, torch.device("cpu"))
    larger = ENLARGED_PIXELS / VIEW_PIXELS
    inside = np.argwhere(seen[0].numpy() >= 0.5)
    assert inside.mean(0) == pytest.approx([47.5, 47.5], abs=0.1)
    assert np.ptp(inside, axis=0) + 1 == pytest.approx([32 * larger, 24 * larger], abs=1)


def test_several_networks_are_asked_together():
    """The logistic of their mean logit; the contract names their weights."""
    views = np.zeros((1, *SHAPE), np.uint8)

    def sure(score):
        one = torch.tensor([48.0, 48, 9, 9] + [score] * len(CLASSES))[None, :, None]
        return lambda images: one.expand(len(images), -1, -1)

    scores = class_scores([sure(0.5), sure(0.9)], views, torch.device("cpu"))
    assert scores == pytest.approx(np.full((1, len(CLASSES)), 0.75), abs=1e-6)


def test_validation_curve_is_written(folder, tmp_path):
    plan = TrainingPlan(4, batch=1, channels=4, check_every=2)
    detector.train(folder, tmp_path / "o", plan, validation=folder)
    curve = json.loads((tmp_path / "o" / "curve.json").read_text())
    steps = [row[0] for row in curve["step_sensitivity_and_at_one_fp"]]
    assert steps == [2, 4, "end"]


#: Measures that all candidates share.
ALIKE = {
    "dipole_correlation": np.nan,
    "p_mimic": 0.1,
    "diameter_mm": 3.0,
    "contrast": 0.5,
    "elongation": 1.2,
    "through_plane": 1.0,
    "surroundings": 1.0,
    "sphericity": 0.9,
    "tubularity": 0.2,
    "edge_mm": 5.0,
    "ventricle_mm": 9.0,
    "group": "lobar",
    "mni_x": 30.0,
    "mni_y": 20.0,
    "mni_z": 30.0,
}


def candidates(rng: np.random.Generator, people: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Candidates whose truth follows from p_cnn alone, by a logistic law; three a scan."""
    rows, scans = [], []
    for person in range(people):
        p_cnn = rng.uniform(0.02, 0.98, 12)
        real = rng.random(12) < p_cnn
        rows.append(
            pd.DataFrame(
                {
                    **ALIKE,
                    "p_cnn": p_cnn,
                    "p_yolo": rng.uniform(0.1, 0.9, 12),
                    "scan_id": f"sub-{person}",
                    "is_microbleed": real,
                    "person": str(person),
                    "sequence": "GRE",
                    "cohort": "ab"[person % 2],
                }
            )
        )
        # One microbleed a scan is without a candidate.
        scans.append(
            {
                "person": str(person),
                "cohort": "ab"[person % 2],
                "sequence": "GRE",
                "microbleeds": real.sum() + 1,
            }
        )
    return pd.concat(rows, ignore_index=True), pd.DataFrame(scans)


def test_calibration_finds_the_law_and_keeps_its_budget():
    rows, scans = candidates(np.random.default_rng(0), 300)
    fitted = calibrate.fit(rows, scans)
    model = fitted["probability_model"]
    slope = dict(
        zip(model["features"], np.array(model["coefficient"]) / model["scale"], strict=True)
    )
    assert slope["logit_p_cnn"] == pytest.approx(1, abs=0.1)
    assert slope["logit_p_yolo"] == pytest.approx(0, abs=0.1)
    metrics = fitted["metrics"]
    assert metrics["expected_calibration_error"] < 0.03
    assert metrics["fp_per_scan_definite"] <= 0.25
    assert metrics["fp_per_scan_definite_GRE"] == metrics["fp_per_scan_definite"]
    low, high = metrics["sensitivity_definite_interval"]
    assert low < metrics["sensitivity_definite"] < high
    expected = rows["is_microbleed"].sum() / scans["microbleeds"].sum()
    assert metrics["sensitivity_of_candidates"] == pytest.approx(expected, abs=1e-4)
    # The law's own probability, as the pipeline computes it from the contract.
    p = probability(model, design(rows, "GRE"))
    assert np.abs(p - rows["p_cnn"]).mean() < 0.04


def test_calibration_fits_the_phase_beside_a_model_that_stays():
    """With phase in some scans the contract gains the term alone; all else is as without phase."""
    rows, scans = candidates(np.random.default_rng(0), 100)
    plain = calibrate.fit(rows, scans)
    assert "phase" not in plain["probability_model"]
    side = np.where(rows["is_microbleed"], 0.3, -0.3)
    noisy = side + np.random.default_rng(1).normal(0, 0.3, len(rows))
    held = rows["person"].astype(int).to_numpy() % 2 == 0
    phased = calibrate.fit(rows.assign(dipole_correlation=np.where(held, noisy, np.nan)), scans)
    term = phased["probability_model"].pop("phase")
    assert phased["probability_model"] == plain["probability_model"]
    # Two normal laws of variance s^2 at -m and m have the log likelihood ratio 2 m / s^2: 6.7.
    assert term["coefficient"] == pytest.approx(6.7, abs=1.5)
    assert abs(term["intercept"]) < 0.6
    better = [one["metrics"]["sensitivity_definite"] for one in (phased, plain)]
    assert better[0] > better[1] + 0.05


def test_few_candidates_at_a_rare_place_do_not_erase_the_next_one_there():
    rows, scans = candidates(np.random.default_rng(3), 300)
    there = rows.index[rows["p_cnn"] > 0.8][:8]
    rows.loc[there, ["mni_x", "mni_y", "mni_z"]] = [0.0, -28.0, 2.0]
    rows.loc[there, "is_microbleed"] = False
    model = calibrate.fit(rows, scans)["probability_model"]
    one = rows.loc[there[:1]].assign(p_cnn=0.98)
    elsewhere = one.assign(mni_x=30.0, mni_y=20.0, mni_z=30.0)
    p, plain = (float(probability(model, design(row, "GRE"))[0]) for row in (one, elsewhere))
    # Less likely than elsewhere, since eight of eight were none; possible all the same.
    assert calibrate.LEAST["possible"] < p < plain - 0.2


def test_dense_scans_do_not_decide_for_the_others():
    rows, scans = candidates(np.random.default_rng(4), 100)
    # 400 true ones in a scan, where the law expects 120: more than all others have there.
    dense = rows.sample(400, replace=True, random_state=0)
    dense = dense.assign(p_cnn=0.3, is_microbleed=True, scan_id="sub-dense", person="dense")
    both = pd.concat([rows, dense], ignore_index=True)
    assert calibrate.scan_weights(both)[-1] == pytest.approx(calibrate.DENSE / 400)
    assert (calibrate.scan_weights(rows) == 1).all()
    about = {"person": "dense", "cohort": "a", "sequence": "GRE", "microbleeds": 400}
    every = pd.concat([scans, pd.DataFrame([about])], ignore_index=True)
    model = calibrate.fit(both, every)["probability_model"]
    p = probability(model, design(dense[:1], "GRE"))[0]
    assert 0.25 < p < 0.42


def test_thresholds_of_chosen_cohorts():
    rows, scans = candidates(np.random.default_rng(2), 100)
    metrics = calibrate.fit(rows, scans, ("a",))["metrics"]
    assert metrics["scans"] == 50
    assert metrics["microbleeds"] == scans.loc[scans["cohort"] == "a", "microbleeds"].sum()
    assert metrics["fp_per_scan_definite"] <= 0.25


def test_presence_counts_scans_by_contrast():
    scans = pd.DataFrame(
        {
            "person": list("abcde"),
            "sequence": ["GRE"] * 3 + ["SWI"] * 2,
            "microbleeds": [2, 0, 1, 0, 0],
        }
    )
    counts = calibrate.presence(np.array(["a", "a", "b", "d"]), scans)
    assert counts["GRE"] == {
        "positive_scans": 2,
        "positive_found": 1,
        "negative_scans": 1,
        "negative_clean": 0,
    }
    assert counts["SWI"] == {
        "positive_scans": 0,
        "positive_found": 0,
        "negative_scans": 2,
        "negative_clean": 1,
    }


def test_froc_of_a_contract():
    p = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    truth = np.array([True, False, True, False, True])
    curve = dict(calibrate.froc(p, truth, 4, 4))
    assert curve[0.2] == 0.25 and curve[0.25] == 0.5 and curve[0.5] == curve[4.0] == 0.75


def test_candidates_of_other_scans_are_no_mirror_image():
    rows, _ = candidates(np.random.default_rng(0), 2)
    rows = rows.iloc[:2].assign(mni_x=[19.0, -19.0], mni_y=-5.0, mni_z=0.0, p_cnn=0.9)
    which = FEATURES.index("mirrored_calcium")
    assert design(rows, "GRE")[:, which] == pytest.approx(0.9, abs=0.05)
    other = rows.assign(scan_id=["sub-0", "sub-1"])
    assert (design(other, "GRE")[:, which] == 0).all()
