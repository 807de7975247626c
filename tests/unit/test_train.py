"""Training: targets and patches agree with the geometry, a stopped training ends the same."""

import numpy as np
import pytest
import torch

from cmburden.cnn.network import SpotNet
from cmburden.errors import CMBurdenError
from cmburden.train import detector, mine, verifier


def slab(rng: np.random.Generator) -> dict:
    """A content as of train.dataset: grey, with two dark spots and one bright mimic."""
    image = np.ones((64, 56, 16), np.float32) + 0.02 * rng.normal(size=(64, 56, 16))
    centre = np.array([[20, 20, 6], [44, 30, 10], [30, 44, 8]], np.float32)
    for at, value in zip(centre.astype(int), (0.2, 0.2, 1.8), strict=True):
        image[tuple(slice(a - 1, a + 2) for a in at)] = value
    affine = np.diag([0.75, 0.75, 2.0, 1.0])
    return {
        "scan": image.astype(np.float16),
        "scan_mask": np.ones(image.shape, bool),
        "affine": affine,
        "centre_mm": centre * np.diag(affine)[:3],
        "image": image.astype(np.float16),
        "mask": np.ones(image.shape, np.uint8),
        "spacing": np.array([0.75, 0.75, 2.0], np.float32),
        "centre": centre,
        "radius": np.array([1.2, 1.2, 1.2], np.float32),
        "kind": np.array(["microbleed", "microbleed", "calcification"]),
        "name": np.array("test"),
        "contrast": np.array("GRE"),
    }


@pytest.fixture
def slabs(tmp_path):
    for number in range(2):
        np.savez(tmp_path / f"slab-{number:04d}.npz", **slab(np.random.default_rng(number)))
    return tmp_path


def test_target_is_a_ball():
    spacing = np.array([0.5, 0.5, 0.5])
    truth = detector.target((40, 40, 40), np.array([[20, 20, 20]]), np.array([4.0]), spacing)
    # One inside the radius, zero a voxel beyond it: half the way at radius + half a voxel.
    volume = (truth > 0.5).sum() * 0.125
    assert volume == pytest.approx(4 / 3 * np.pi * 4.25**3, rel=0.03)
    assert truth[20, 20, 28] == pytest.approx(1)
    assert truth[20, 20, 30] == pytest.approx(0)


def test_patches_keep_image_and_truth_together(slabs):
    loaded = {}
    detector.load_slabs(slabs, loaded)
    one = loaded["slab-0000.npz"]
    rng = np.random.default_rng(3)
    seen = 0
    for _ in range(40):
        image, mask, truth = detector.draw_patch(one, rng)
        assert image.shape == mask.shape == truth.shape == (48, 48, 12)
        if (truth >= 1).any():
            seen += 1
            inside = (truth >= 1) & (mask > 0)
            assert image[inside].mean() < 0.6 * np.median(image[mask > 0])
    assert seen > 10


def test_stopped_and_started_again_gives_the_same_weights(slabs, tmp_path, monkeypatch):
    def train(out):
        path = detector.train(slabs, out, steps=70, batch=1, channels=4, seed=1, minutes=1e9)
        return torch.load(path, weights_only=True)

    whole = train(tmp_path / "whole")
    loss_of, calls = detector.loss_of, []

    def dies(*arguments):
        calls.append(1)
        if len(calls) > 60:
            raise KeyboardInterrupt
        return loss_of(*arguments)

    monkeypatch.setattr(detector, "loss_of", dies)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed")
    monkeypatch.setattr(detector, "loss_of", loss_of)
    again = train(tmp_path / "killed")
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_no_slabs_is_one_sentence(tmp_path):
    with pytest.raises(CMBurdenError, match="run cmburden train dataset first"):
        detector.train(tmp_path, tmp_path / "o", steps=1, batch=1, channels=4, seed=0, minutes=1)


def test_match_is_one_to_one():
    points = np.array([[0, 0, 0], [1, 0, 0], [50, 0, 0.0]])
    centres = np.array([[0.9, 0, 0], [30, 0, 0.0]])
    assert mine.match(points, centres, np.array([3.0, 3.0])).tolist() == [-1, 0, -1]


def test_mined_candidates_become_a_yolo_dataset(slabs, tmp_path):
    torch.manual_seed(0)
    network = SpotNet(4).eval()
    for number in range(2):
        content = slab(np.random.default_rng(number))
        mined = mine.mine_slab(network, content, {"min_probability": 0.0, "max_candidates": 40})
        n = len(mined["class"])
        assert 0 < n <= 40
        assert mined["views"].shape == (n, 96, 96, 3)
        boxes = mined["boxes"]
        assert ((boxes[:, 2:] > 0) & (boxes[:, 2:] < 1)).all()
        # The first box of each view is the candidate's own.
        assert [boxes[boxes[:, 0] == k][0, 1] for k in range(n)] == mined["class"].tolist()
        (tmp_path / "m").mkdir(exist_ok=True)
        np.savez(tmp_path / "m" / f"mined-{number:04d}.npz", **mined)
    verifier.write_dataset(tmp_path / "m", tmp_path / "views")
    names = {
        part: {p.stem.rsplit("-", 1)[0] for p in (tmp_path / "views/images" / part).iterdir()}
        for part in ("train", "val")
    }
    assert names == {"val": {"mined-0000"}, "train": {"mined-0001"}}
