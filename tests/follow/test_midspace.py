"""The mid-space: exact geometry in any orientation, and a registration that no session leads."""

import itertools

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from scipy import ndimage
from scipy.spatial.transform import Rotation

from cmburden.follow import midspace
from cmburden.follow.midspace import (
    Image,
    ImagePair,
    consistent,
    consistent_sessions,
    in_view,
    middle_of,
    register_pair,
    synchronise,
)


def motion(turn_deg, shift) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = nib.eulerangles.euler2mat(*np.deg2rad(turn_deg))
    matrix[:3, 3] = shift
    return matrix


def some_motions(number: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [motion(rng.normal(0, 15, 3), rng.normal(0, 20, 3)) for _ in range(number)]


@pytest.mark.parametrize("seed", range(5))
def test_the_middle_of_the_inverses_is_the_inverse_of_the_middle(seed):
    one, other = some_motions(2, seed)
    middle, back = middle_of(one, other), middle_of(np.linalg.inv(one), np.linalg.inv(other))
    assert np.allclose(middle @ back, np.eye(4), atol=1e-9)
    assert np.allclose(middle, middle_of(other, one), atol=1e-9)


@pytest.mark.parametrize("noise", [0.0, 1e-6, 0.05])
def test_the_nearest_rotation_and_the_mean_are_scipys(noise):
    rng = np.random.default_rng(4)
    turns = Rotation.random(40, random_state=5)
    for turn in turns.as_matrix() + rng.normal(0, noise, (40, 3, 3)):
        assert np.allclose(
            midspace.nearest_rotation(turn), Rotation.from_matrix(turn).as_matrix(), atol=1e-12
        )
    assert np.allclose(
        midspace.nearest_rotation(turns.as_matrix().sum(0)), turns.mean().as_matrix(), atol=1e-12
    )


def test_of_a_reflection_the_nearest_rotation_is_one_too():
    nearest = midspace.nearest_rotation(np.diag([1.0, 1.0, -0.5]))
    assert np.allclose(nearest, np.eye(3))


def between(poses) -> dict:
    return {
        (i, j): np.linalg.inv(poses[j]) @ poses[i]
        for i, j in itertools.combinations(range(len(poses)), 2)
    }


@pytest.mark.parametrize("number", [2, 3, 5])
def test_poses_are_found_up_to_their_common_frame(number):
    poses = some_motions(number)
    centres = np.random.default_rng(3).normal(0, 10, (number, 3))
    found = synchronise(between(poses), centres)
    frames = [f @ np.linalg.inv(p) for f, p in zip(found, poses, strict=True)]
    assert all(np.allclose(frame, frames[0], atol=1e-8) for frame in frames)
    # The frame favours nobody: the mean turn is none, the mean centre stays.
    mean = sum(pose[:3, :3] for pose in found)
    assert np.allclose(midspace.nearest_rotation(mean), np.eye(3), atol=1e-9)
    moved = [apply_affine(f, c) for f, c in zip(found, centres, strict=True)]
    assert np.allclose(np.mean(moved, 0), centres.mean(0))


def test_the_order_of_sessions_changes_no_pose():
    poses = some_motions(4, 7)
    # Measured motions do not agree with each other exactly.
    rng = np.random.default_rng(8)
    pairs = {
        ij: m @ motion(rng.normal(0, 0.5, 3), rng.normal(0, 0.3, 3))
        for ij, m in between(poses).items()
    }
    centres = rng.normal(0, 10, (4, 3))
    wanted = synchronise(pairs, centres)
    for order in itertools.permutations(range(4)):
        turned = {}
        for i, j in itertools.combinations(range(4), 2):
            a, b = order[i], order[j]
            turned[i, j] = pairs[a, b] if a < b else np.linalg.inv(pairs[b, a])
        found = synchronise(turned, centres[list(order)])
        for k, pose in zip(order, found, strict=True):
            assert np.allclose(pose, wanted[k], atol=1e-8)


ORIENTATIONS = {
    "RAS": np.diag([2.0, 2, 3, 1]),
    "LAS": np.diag([-2.0, 2, 3, 1]),
    "LPS": np.diag([-2.0, -2, 3, 1]),
    "oblique": motion((20, -15, 30), (0, 0, 0)) @ np.diag([2.0, 2, 3, 1]),
}


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_a_place_is_seen_in_any_orientation(name):
    affine = ORIENTATIONS[name].copy()
    mask = np.zeros((20, 22, 12), bool)
    mask[5:15, 5:15, 3:9] = True
    affine[:3, 3] = -affine[:3, :3] @ (np.array(mask.shape) / 2)
    voxels = np.array([[6, 6, 4], [2, 2, 2], [19, 21, 11], [30, 6, 4]])
    inside, brain = in_view(apply_affine(affine, voxels), mask, affine)
    assert inside.tolist() == [True, True, True, False]
    assert brain.tolist() == [True, False, False, False]


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_the_spread_of_a_position_follows_the_slices(name):
    affine, pose = ORIENTATIONS[name], motion((5, 10, -8), (3, 2, 1))
    found = midspace.spread(affine, pose, 0.5)
    through = pose[:3, :3] @ affine[:3, 2] / 3
    assert through @ found @ through == pytest.approx(9 / 12 + 0.25)
    assert np.linalg.eigvalsh(found).max() == pytest.approx(9 / 12 + 0.25)
    assert np.trace(found) == pytest.approx((4 + 4 + 9) / 12 + 0.75)


def test_the_session_that_fits_with_none_is_left_out():
    assert consistent(set(), 3) == [0, 1, 2]
    assert consistent({(0, 1), (0, 2)}, 3) == [1, 2]


def statuses(contrasts, **pairs) -> list[str]:
    """Of three sessions, with ``pair_01=(overlap, correlation)`` and so on; else both 0.95."""
    return consistent_sessions(
        {
            (i, j): ImagePair(np.eye(4), *pairs.get(f"pair_{i}{j}", (0.95, 0.95)))
            for i, j in itertools.combinations(range(len(contrasts)), 2)
        },
        contrasts,
        min_overlap=0.85,
        min_correlation=0.85,
    )


@pytest.mark.parametrize(
    ("contrasts", "pairs", "expected"),
    [
        (["GRE"], {}, ["followed"]),
        (["GRE"] * 3, {}, ["followed"] * 3),
        (["GRE"] * 2, {"pair_01": (0.5, 0.9)}, ["not registered"] * 2),
        (["GRE"] * 2, {"pair_01": (0.9, 0.5)}, ["not alike"] * 2),
        # The signal of two contrasts differs in one head.
        (["GRE", "SWI"], {"pair_01": (0.9, 0.5)}, ["followed"] * 2),
        (
            ["GRE"] * 3,
            {"pair_01": (0.5, 0.5), "pair_02": (0.5, 0.9)},
            ["not registered", "followed", "followed"],
        ),
        (
            ["GRE"] * 3,
            {"pair_02": (0.9, 0.5), "pair_12": (0.9, 0.5)},
            ["followed", "followed", "not alike"],
        ),
        (
            ["GRE"] * 3,
            {"pair_01": (0.9, 0.5), "pair_02": (0.5, 0.9), "pair_12": (0.9, 0.5)},
            ["not registered", "not alike", "not registered"],
        ),
    ],
)
def test_statuses_of_sessions(contrasts, pairs, expected):
    assert statuses(contrasts, **pairs) == expected


def a_head(affine: np.ndarray, shape, pose: np.ndarray) -> Image:
    """An ellipsoid with ventricles and a dozen blobs, seen with ``pose`` (scanner to head mm)."""
    rng = np.random.default_rng(5)
    points = apply_affine(pose @ affine, np.stack(np.indices(shape), -1).reshape(-1, 3))
    mask = ((points / [62, 78, 55]) ** 2).sum(1) < 1
    data = np.ones(len(points))
    for centre, size, depth in [
        ((-12, 5, 5), 12, 0.8),
        ((12, 5, 5), 12, 0.8),
        *((rng.uniform(-35, 35, 3), rng.uniform(5, 12), rng.uniform(-0.6, 0.6)) for _ in range(14)),
    ]:
        data += depth * np.exp(-(((points - centre) / size) ** 2).sum(1))
    noise = np.random.default_rng(int(abs(pose[0, 3]) * 1000)).normal(0, 0.03, len(points))
    data = np.where(mask, data + noise, 0.05)
    return Image(data.reshape(shape).astype(np.float32), mask.reshape(shape), affine)


@pytest.mark.slow
def test_registration_is_the_same_whoever_is_first_and_right():
    shape = (40, 48, 30)
    first = np.diag([3.6, 3.6, 5.0, 1])
    first[:3, 3] = -first[:3, :3] @ (np.array(shape) / 2)
    tilted = motion((8, 3, -5), (0, 0, 0)) @ first
    poses = [motion((0, 0, 0), (0, 0, 0)), motion((6, -4, 5), (5, -3, 4))]
    one, other = a_head(first, shape, poses[0]), a_head(tilted, shape, poses[1])
    there, back = register_pair(one, other), register_pair(other, one)
    assert np.allclose(there.motion @ back.motion, np.eye(4), atol=1e-9)
    assert there.overlap == pytest.approx(back.overlap, abs=1e-9)
    points = apply_affine(one.affine, np.argwhere(one.mask)[::100])
    true = np.linalg.inv(poses[1]) @ poses[0]
    error = np.linalg.norm(apply_affine(there.motion, points) - apply_affine(true, points), axis=1)
    assert error.max() < 1.0
    assert there.overlap > 0.9 and there.correlation > 0.8
    middle = ndimage.center_of_mass(one.mask)
    assert np.allclose(one.centre, apply_affine(first, middle))
