"""Participants with sessions: the head moves and what is in it moves along, lesions follow their
course, and a source is one track in all sessions."""

import dataclasses

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from scipy import ndimage

from cmburden.core.errors import CMBurdenError
from cmburden.simulate import acquisition as aq
from cmburden.simulate import anatomy as an
from cmburden.simulate import courses as lo
from cmburden.simulate.sources import Findings

pytestmark = pytest.mark.slow

COARSE = dataclasses.replace(aq.PRESETS["OATS"], voxel_mm=(2.5, 2.5, 5.0))


@pytest.fixture(scope="module")
def person() -> an.Anatomy:
    """A ball of white matter with a shell of cortex, fluid and bone, on 2 mm voxels."""
    axis = np.arange(-70, 71, 2.0)
    far = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    labels = np.full(far.shape, an.SOFT, np.int16)
    labels[far < 56], labels[far < 50], labels[far < 46] = an.BONE, an.CSF, 3
    labels[far < 38], labels[far < 8] = 2, 4
    labels[(far < 14) & (far >= 8)] = 11
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = -70
    distance = [
        ndimage.distance_transform_edt(~np.isin(labels, codes), (2, 2, 2)).astype(np.float16)
        for codes in (an.VENTRICLES, an.BASAL_GANGLIA)
    ]
    return an.Anatomy("ball", labels, affine, *distance, an.brain_of(labels))


@pytest.fixture(scope="module")
def head(person) -> lo.Head:
    rng = np.random.default_rng(3)
    return lo.draw_head(person, COARSE, lo.SimulatedCourse(3, (2,), (1,)), Findings(veins=0.0), rng)


def sessions(head):
    return [
        lo.scan_session(head, COARSE, k, np.random.default_rng(10 + k), sub_mm=(2.5, 2.5, 2.5))
        for k in (0, 1)
    ]


def test_a_course():
    expected = [(0, 1, 2), (0, 1, 2), (1, 2), (0, 1)]
    assert lo.SimulatedCourse(2, (1, 0), (0, 1)).present() == expected
    rng = np.random.default_rng(0)
    course = lo.draw_course(rng, 3, [True, False])
    assert course.gained[0] >= 1 and course.gained[1] == 0 and course.lost[1] == 0


def test_sources_are_where_the_pose_puts_them_and_show_there(head):
    for scan, tracks, pose in sessions(head):
        assert len(tracks) == len(scan.sources) == len(set(tracks))
        inverse = np.linalg.inv(scan.affine)
        for track, source in zip(tracks, scan.sources, strict=True):
            at = head.sources[track - 1].centre
            assert np.allclose(apply_affine(pose, source.centre), at)
            if source.kind == "microbleed":
                index = np.round(apply_affine(inverse, source.centre)).astype(int)
                around = tuple(slice(max(0, i - 1), i + 2) for i in index)
                wide = tuple(slice(max(0, i - 4), i + 5) for i in index)
                assert scan.image[around].min() < 0.85 * np.median(scan.image[wide])


def test_lesions_follow_their_course(head):
    there = [set(tracks) for _, tracks, _ in sessions(head)]
    present = head.present
    assert sorted(present) == sorted([(0, 1)] * 3 + [(1,)] * 2 + [(0,)])
    for k, own in enumerate(there):
        assert own == {n + 1 for n, s in enumerate(present) if k in s}


def test_the_head_moves(head):
    (one, _, first), (other, _, second) = sessions(head)
    turn = nib.quaternions.mat2quat((np.linalg.inv(first) @ second)[:3, :3])
    assert np.rad2deg(2 * np.arccos(min(1, abs(turn[0])))) > 1
    assert not np.allclose(one.affine, other.affine)
    # The same brain: its volume stays.
    volume = [s.brain.sum() * abs(np.linalg.det(s.affine[:3, :3])) for s in (one, other)]
    assert volume[0] == pytest.approx(volume[1], rel=0.02)


def test_fewer_than_two_sessions_is_one_sentence(tmp_path):
    with pytest.raises(CMBurdenError, match="give 2 or more"):
        lo.run(tmp_path / "bids", presets=["OATS"], participants=1, sessions=0, seed=0)
