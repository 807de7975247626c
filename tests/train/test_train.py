"""Training: targets and patches agree with the geometry, a stopped training ends the same."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageSequence

from cmburden.core.errors import CMBurdenError
from cmburden.core.files import write_json
from cmburden.detect.network import SpotNet
from cmburden.images.views import OTHER_WAY, SHAPE, VIEW_MM, VIEW_PIXELS
from cmburden.models.contract import CLASSES
from cmburden.train import calibrate, dataset, detector, mine, release, verifier
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

#: Candidates of a slab at most.
MOST = 40


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
        "person": np.array("one"),
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
        patch = detector.draw_patch(one, np.zeros((0, 3)), rng)
        image, mask, truth = patch.image, patch.mask, patch.truth
        assert image.shape == mask.shape == truth.shape == (48, 48, 12)
        if (truth >= 1).any():
            seen += 1
            inside = (truth >= 1) & (mask > 0)
            assert image[inside].mean() < 0.6 * np.median(image[mask > 0])
    assert seen > 10


def test_a_faint_lesion_takes_no_part():
    content = slab(np.random.default_rng(0))
    content["kind"] = np.array(["microbleed", "faint", "calcification"])
    one = detector.Slab(
        content["image"], content["mask"], content["spacing"], content["centre"][:1],
        content["radius"][:1], content["centre"][1:2], content["radius"][1:2],
        content["centre"][2:],
    )  # fmt: skip
    rng = np.random.default_rng(1)
    patches = [detector.draw_patch(one, np.array([[44, 30, 10]]), rng) for _ in range(20)]
    truth = torch.from_numpy(np.stack([p.truth for p in patches]))
    assert (truth == -1).any() and (truth >= 1).any()
    logits = torch.zeros_like(truth)
    before = detector.loss_of(logits, truth)
    logits[truth == -1] = 9.0
    assert detector.loss_of(logits, truth) == before
    logits[truth == 0] = 9.0
    assert detector.loss_of(logits, truth) > before
    mined = mine.mine_slab(SpotNet(4).eval(), content, {"min_probability": 0, "max_candidates": 40})
    content["kind"] = np.array(["microbleed", "microbleed", "calcification"])
    every = mine.mine_slab(SpotNet(4).eval(), content, {"min_probability": 0, "max_candidates": 40})
    assert mined["n_microbleeds"] == 1 and every["n_microbleeds"] == 2


def test_views_that_show_a_faint_lesion_are_left_out():
    axes, point = np.diag([0.75, 0.75, 2.0]), np.zeros(3)
    edge = VIEW_MM / 2 - 1
    assert mine._shows(point, np.array([edge - 0.1, 0.1 - edge, 0.9]), 0.5, axes)
    assert not mine._shows(point, np.array([edge + 0.1, 0, 0]), 0.5, axes)
    assert not mine._shows(point, np.array([0, 0, 1.5]), 0.5, axes)
    assert mine._shows(point, np.array([0, 0, 1.5]), 1.6, axes)


def test_a_patch_knows_where_its_voxels_are(slabs):
    loaded = {}
    detector.load_slabs(slabs, loaded)
    one = loaded["slab-0000.npz"]
    rng = np.random.default_rng(5)
    seen = 0
    for _ in range(30):
        patch = detector.draw_patch(one, np.array([[30, 44, 8]]), rng)
        # The middle of each lesion is where the truth is highest, whatever was mirrored.
        for at in np.argwhere(patch.truth >= 1):
            distance = np.linalg.norm((one.centre - patch.in_slab(at)) * one.spacing, axis=1)
            assert distance.min() < 2.6
            seen += 1
    assert seen > 0


def test_hard_places_are_false_alarms_in_the_slab(slabs):
    loaded = {}
    detector.load_slabs(slabs, loaded)
    hard, rng = detector.HardPlaces(), np.random.default_rng(0)
    mimic = np.array([30, 44, 8])
    for _ in range(20):
        patch = detector.draw_patch(loaded["slab-0000.npz"], mimic[None], rng)
        # A network that takes the bright mimic and every true lesion for one.
        p = np.maximum(patch.truth, (patch.image > 1.5).astype(np.float32))
        hard.update(["slab-0000.npz"], [patch], torch.from_numpy(p)[None, None])
    places = hard.of("slab-0000.npz")
    assert len(places) and (np.abs(places - mimic) <= 2).all()
    assert hard.of("another").shape == (0, 3)
    again = detector.HardPlaces(hard.state())
    assert (again.of("slab-0000.npz") == places).all()


def test_stopped_and_started_again_gives_the_same_weights(slabs, tmp_path, monkeypatch):
    def train(out):
        path = detector.train(slabs, out, detector.Plan(70, batch=1, channels=4, seed=1))
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
        detector.train(tmp_path, tmp_path / "o", detector.Plan(1, batch=1, channels=4))


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


def test_mined_candidates_become_a_yolo_dataset(slabs, tmp_path):
    for path in mined(range(2), tmp_path / "m").iterdir():
        content = np.load(path)
        n = len(content["class"])
        assert 0 < n <= MOST
        assert content["views"].shape == (n, *SHAPE)
        boxes = content["boxes"]
        assert ((boxes[:, 2:] > 0) & (boxes[:, 2:] < 1)).all()
        # The first box of each view is the candidate's own.
        assert [boxes[boxes[:, 0] == k][0, 1] for k in range(n)] == content["class"].tolist()
    verifier.write_dataset(tmp_path / "m", tmp_path / "views")
    names = {
        part: {p.stem.rsplit("-", 1)[0] for p in (tmp_path / "views/images" / part).iterdir()}
        for part in ("train", "val")
    }
    assert names == {"val": {"mined-0000"}, "train": {"mined-0001"}}
    # Every second is turned, its boxes with it, two of four have their slices the other way, and
    # all are a little darker or brighter.
    content = np.load(tmp_path / "m/mined-0000.npz")
    pictures = sorted((tmp_path / "views/images/val").iterdir())
    for number, path in enumerate(pictures):
        k, turned = int(path.stem.rsplit("-", 1)[1]), number % 2 == 0
        view, expected = pages(path), content["views"][k].astype(float)
        expected = expected[..., OTHER_WAY] if number % 4 > 1 else expected
        expected = expected.transpose(1, 0, 2) if turned else expected
        shown = (expected > 20) & (view < 255)
        gain = np.median(view[shown] / expected[shown])
        assert 0.84 < gain < 1.16
        assert np.abs(np.minimum(expected * gain, 255) - view).max() < 4
        text = (tmp_path / f"views/labels/val/{path.stem}.txt").read_text()
        x, y = map(float, text.split()[1:3])
        own = content["boxes"][content["boxes"][:, 0] == k][0, 2:4]
        assert (x, y) == pytest.approx(own[::-1] if turned else own, abs=1e-5)


def mined(slab_numbers: range, folder: Path) -> Path:
    """Views and boxes of some slabs, mined by an untrained CNN."""
    torch.manual_seed(0)
    network = SpotNet(4).eval()
    folder.mkdir()
    for number in slab_numbers:
        content = slab(np.random.default_rng(number))
        found = mine.mine_slab(network, content, {"min_probability": 0.0, "max_candidates": MOST})
        np.savez(folder / f"mined-{number:04d}.npz", **found)
    return folder


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
    from ultralytics.engine.trainer import BaseTrainer

    views = mined(range(3), tmp_path / "mined")
    torch.save(untrained(0.25).state_dict(), tmp_path / "narrow.pt")
    save = BaseTrainer.save_model

    def save_and_stop(trainer):
        save(trainer)
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(BaseTrainer, "save_model", save_and_stop)
        verifier.train(views, tmp_path / "out", epochs=2, seed=0, start=tmp_path / "narrow.pt")
    assert not (tmp_path / "out/verifier.pt").exists()
    weights = verifier.train(views, tmp_path / "out", epochs=2, seed=0)
    epochs = pd.read_csv(tmp_path / "out/yolo/results.csv")
    assert epochs["epoch"].tolist() == [1, 2]
    assert width_of(read(weights).state_dict()) == WIDTH
    scores = class_scores([build(weights)], np.zeros((1, *SHAPE), np.uint8), torch.device("cpu"))
    assert scores.shape == (1, len(CLASSES))


def test_views_and_weights_of_another_version_are_one_sentence(tmp_path):
    found = mined(range(1), tmp_path / "m") / "mined-0000.npz"
    content = dict(np.load(found))
    for change in ({"views": content["views"][..., :3]}, {"view_mm": np.array(24.0)}):
        np.savez(found, **content | change)
        with pytest.raises(CMBurdenError, match=r"mined-0000.npz.*mine again"):
            verifier.write_dataset(tmp_path / "m", tmp_path / "views")
    weights = tmp_path / "old.pt"
    torch.save({"model.0.conv.weight": torch.zeros(16, 3, 3, 3)}, weights)
    with pytest.raises(CMBurdenError, match=r"old.pt: not weights of this version's YOLO"):
        build(weights)


def test_a_released_model_is_what_the_pipeline_loads(tmp_path):
    fitted = {
        "probability_model": {"features": list(FEATURES)},
        "thresholds": {"definite": 0.4},
        "metrics": {"scans": 3},
    }
    write_json(tmp_path / "fitted.json", fitted)
    both = []
    for width in (0.25, 0.375):
        both.append(tmp_path / f"{width}.pt")
        torch.save(untrained(width).state_dict(), both[-1])
    folder = tmp_path / "verifier"
    release.release("verifier", both, tmp_path / "fitted.json", folder, "9.0.0")
    loaded = Verifier(folder)
    widths = [width_of(read(folder / name).state_dict()) for name in loaded.contract["weights"]]
    assert sorted(widths) == [0.25, 0.375] and len(loaded.networks) == 2
    card = (folder / "README.md").read_text()
    assert "width 0.25 and 0.375" in card and "| definite | 0.4 |" in card
    with pytest.raises(CMBurdenError, match="one file of weights, not 2"):
        release.release("detector", both, tmp_path / "fitted.json", tmp_path / "d", "9.0.0")


def test_a_contract_names_the_architecture_and_no_module(tmp_path):
    """Modules move; what a network is stays."""
    torch.save(SpotNet(4).state_dict(), tmp_path / "d.pt")
    metrics = {"candidates_per_scan": 80.0, "sensitivity_of_candidates": 0.9, "scans": 3}
    write_json(tmp_path / "fitted.json", {"metrics": metrics})
    folder = tmp_path / "detector"
    contract = release.release(
        "detector", [tmp_path / "d.pt"], tmp_path / "fitted.json", folder, "9.0.0"
    )
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
    mirrored = class_scores([boxes], views[..., OTHER_WAY].copy(), torch.device("cpu"))
    assert mirrored == pytest.approx(scores, abs=1e-6)
    assert scores.std() > 0


def test_a_network_sees_views_enlarged_about_their_middle():
    views = np.zeros((1, *SHAPE), np.uint8)
    views[:, 32:64, 36:60] = 255
    seen = []

    def recording(images):
        seen.append(images[0, 0].clone())
        return torch.zeros(1, 4 + len(CLASSES), 1)

    class_scores([recording], views, torch.device("cpu"))
    larger = ENLARGED_PIXELS / VIEW_PIXELS
    inside = np.argwhere(seen[0].numpy() >= 0.5)
    assert inside.mean(0) == pytest.approx([47.5, 47.5], abs=0.1)
    assert np.ptp(inside, axis=0) + 1 == pytest.approx([32 * larger, 24 * larger], abs=1)


def test_several_networks_are_asked_together():
    """The logistic of their mean logit; the contract names their weights."""
    views = np.zeros((1, *SHAPE), np.uint8)

    def sure(score):
        return lambda images: torch.tensor([48.0, 48, 9, 9] + [score] * len(CLASSES))[None, :, None]

    scores = class_scores([sure(0.5), sure(0.9)], views, torch.device("cpu"))
    assert scores == pytest.approx(np.full((1, len(CLASSES)), 0.75), abs=1e-6)


def test_validation_curve_is_written(slabs, tmp_path):
    plan = detector.Plan(4, batch=1, channels=4, check_every=2)
    detector.train(slabs, tmp_path / "o", plan, validation=slabs)
    curve = json.loads((tmp_path / "o" / "curve.json").read_text())
    steps = [row[0] for row in curve["step_sensitivity_and_at_one_fp"]]
    assert steps == [2, 4, "end"]


def candidates(rng: np.random.Generator, people: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Candidates whose truth follows from p_cnn alone, by a logistic law; three a scan."""
    rows, scans = [], []
    for person in range(people):
        p_cnn = rng.uniform(0.02, 0.98, 12)
        real = rng.random(12) < p_cnn
        rows.append(
            pd.DataFrame(
                {
                    "p_cnn": p_cnn, "p_yolo": rng.uniform(0.1, 0.9, 12), "p_mimic": 0.1,
                    "diameter_mm": 3.0, "contrast": 0.5, "elongation": 1.2, "through_plane": 1.0,
                    "surroundings": 1.0,
                    "sphericity": 0.9, "tubularity": 0.2, "edge_mm": 5.0, "ventricle_mm": 9.0,
                    "group": "lobar", "mni_x": 30.0, "mni_y": 20.0, "mni_z": 30.0,
                    "scan_id": f"sub-{person}", "is_microbleed": real,
                    "person": str(person), "sequence": "GRE",
                    "cohort": "ab"[person % 2],
                }
            )
        )  # fmt: skip
        # One microbleed a scan is without a candidate.
        scans.append(
            {"person": str(person), "cohort": "ab"[person % 2], "sequence": "GRE",
             "microbleeds": real.sum() + 1}
        )  # fmt: skip
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
        {"person": list("abcde"), "sequence": ["GRE"] * 3 + ["SWI"] * 2,
         "microbleeds": [2, 0, 1, 0, 0]}
    )  # fmt: skip
    counts = calibrate.presence(np.array(["a", "a", "b", "d"]), scans)
    assert counts["GRE"] == {
        "positive_scans": 2, "positive_found": 1, "negative_scans": 1, "negative_clean": 0,
    }  # fmt: skip
    assert counts["SWI"] == {
        "positive_scans": 0, "positive_found": 0, "negative_scans": 2, "negative_clean": 1,
    }  # fmt: skip


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
