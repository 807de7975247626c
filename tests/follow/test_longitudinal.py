"""The stage longitudinal on fabricated sessions: what it finds, keeps, draws and does not do twice.

Registration itself is in test_midspace; here the motions are known.
"""

import dataclasses

import follow
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from cmburden.core import config, remake
from cmburden.core.paths import Layout
from cmburden.core.tables import FOLLOWED_SESSIONS, TRACKS
from cmburden.follow import midspace
from cmburden.follow import stage as longitudinal
from cmburden.follow.midspace import ImagePair

pytestmark = pytest.mark.slow

SETTINGS = config.load()["longitudinal"]


def pose(turn, shift) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = nib.eulerangles.euler2mat(*np.deg2rad(turn))
    matrix[:3, 3] = shift
    return matrix


POSES = [pose((0, 0, 0), (0, 0, 0)), pose((9, -6, 4), (6, -8, 3)), pose((-5, 3, 8), (-4, 2, -7))]
A, B, C, TOP = (10, 0, 0), (-20, 15, 5), (0, -25, -10), (0, 0, 49)


@pytest.fixture
def motions(monkeypatch):
    """register_pair knows the motions by the images' affines; counts how often it is asked."""
    asked = []

    def known(one, other):
        def of(session):
            return next(p for p in POSES if np.allclose(follow.affine_of(p), session.affine))

        asked.append((one, other))
        return ImagePair(np.linalg.inv(of(other)) @ of(one), 0.97, 0.9)

    monkeypatch.setattr(midspace, "register_pair", known)
    return asked


def study(tmp_path, found: list[list], **outcomes):
    """sub-1 with a session for each list of (head mm, probability)."""
    layout = Layout(tmp_path / "out")
    scans, rows = [], []
    for k, own in enumerate(found):
        one = follow.scan("sub-1", k + 1)
        follow.write_session(layout, one, POSES[k], **(outcomes if k == len(found) - 1 else {}))
        rows += follow.candidates(one, POSES[k], *own)
        scans.append(one)
    follow.write_shards(layout, rows)
    verify = {"model": str(follow.contract(tmp_path / "verifier"))}
    return layout, scans, verify


def followed(layout, scans, verify, settings=SETTINGS):
    longitudinal.run({"sub-1": scans}, layout, settings, verify, follow.BUCKETS, 0)
    return (
        TRACKS.read(layout.bucket("longitudinal", 0)),
        FOLLOWED_SESSIONS.read(layout.followed(0)),
    )


def test_lesions_are_followed_through_moved_heads(tmp_path, motions):
    layout, scans, verify = study(
        tmp_path, [[(A, 0.9), (B, 0.8)], [(A, 0.7), (C, 0.9), (B, 0.05)], [(C, 0.8), (A, 0.4)]]
    )
    tracks, visits = followed(layout, scans, verify)
    assert visits["status"].tolist() == ["followed"] * 3
    by_track = {n: own.set_index("session_id") for n, own in tracks.groupby("track_id")}
    assert {n: own["found"].tolist() for n, own in by_track.items()} == {
        1: [True, True, True],
        2: [True, False, False],
        3: [False, True, True],
    }
    # All centres of a track are one place of the mid-space.
    for own in by_track.values():
        middles = own[["middle_x_mm", "middle_y_mm", "middle_z_mm"]].to_numpy(float)
        assert np.abs(middles - middles[0]).max() < 0.01
    # B: in the second session there is a candidate that was not kept, in the third none.
    seen, not_seen = by_track[2].loc["ses-2"], by_track[2].loc["ses-3"]
    assert seen["candidate_probability"] == 0.05 and seen["candidate_mm"] < 0.1
    assert seen["p_there"] > 0.9
    assert not_seen.isna()["candidate_probability"]
    assert not_seen["p_there"] == pytest.approx(0.1 / 1.1, abs=1e-4)
    assert by_track[2]["in_view"].all()
    # Where it would be in the other scans, in their own millimetres.
    place = by_track[2].loc["ses-3", ["x_mm", "y_mm", "z_mm"]].to_numpy(float)
    assert np.allclose(nib.affines.apply_affine(POSES[2], place), B, atol=0.01)


def test_out_of_the_brain_mask_is_not_in_view(tmp_path, motions, monkeypatch):
    layout, scans, verify = study(tmp_path, [[(TOP, 0.9)], []])
    mask = layout.brain_mask(scans[1])
    image = nib.load(mask)
    cut = np.asarray(image.dataobj).copy()
    cut[..., -9:] = 0
    nib.save(nib.Nifti1Image(cut, image.affine, image.header), mask)
    tracks, _ = followed(layout, scans, verify)
    assert tracks.set_index("session_id")["in_view"].to_dict() == {"ses-1": True, "ses-2": False}


def test_nothing_is_registered_twice_and_one_session_more_registers_itself(tmp_path, motions):
    found = [[(A, 0.9)], [(A, 0.9)], [(A, 0.9)]]
    layout, scans, verify = study(tmp_path, found)
    followed(layout, scans[:2], verify)
    assert len(motions) == 1
    first = layout.bucket("longitudinal", 0).read_bytes()
    followed(layout, scans[:2], verify)
    assert len(motions) == 1
    assert layout.bucket("longitudinal", 0).read_bytes() == first
    followed(layout, scans, verify)
    # Of the three pairs two are new.
    assert len(motions) == 3


def test_sessions_in_any_order_give_equal_bytes(tmp_path, motions):
    layout, scans, verify = study(tmp_path, [[(A, 0.9), (B, 0.9)], [(B, 0.8)], [(C, 0.9)]])
    followed(layout, scans, verify)
    first = layout.bucket("longitudinal", 0).read_bytes()
    followed(layout, scans[::-1], verify)
    assert layout.bucket("longitudinal", 0).read_bytes() == first


def test_a_session_that_failed_or_does_not_fit_is_said(tmp_path, motions, monkeypatch):
    layout, scans, verify = study(tmp_path, [[(A, 0.9)], [(A, 0.9)]], register="failed")
    tracks, visits = followed(layout, scans, verify)
    assert tracks.empty
    assert visits.set_index("session_id")["status"].to_dict() == {
        "ses-1": "followed",
        "ses-2": "not read",
    }
    layout, scans, verify = study(tmp_path / "other", [[(A, 0.9)], [(A, 0.9)]])
    tracks, visits = followed(layout, scans, verify, SETTINGS | {"min_overlap": 0.98})
    assert tracks.empty and visits["status"].tolist() == ["not registered"] * 2
    assert visits["overlap"].tolist() == [0.97] * 2


def test_a_session_of_another_person_is_not_compared(tmp_path, motions):
    """By the signal; where the contrasts differ that says nothing."""
    layout, scans, verify = study(tmp_path, [[(A, 0.9)], [(A, 0.9)]])
    strict = SETTINGS | {"min_correlation": 0.95}
    tracks, visits = followed(layout, scans, verify, strict)
    assert tracks.empty and visits["status"].tolist() == ["not alike"] * 2
    scans[1] = dataclasses.replace(
        scans[1], contrast="SWI" if scans[1].contrast == "GRE" else "GRE"
    )
    _, visits = followed(layout, scans, verify, strict)
    assert visits["status"].tolist() == ["followed"] * 2


def test_a_registration_that_gives_up_is_said(tmp_path, monkeypatch):
    def gives_up(one, other):
        raise RuntimeError("Registration failed with error code 1")

    monkeypatch.setattr(midspace, "register_pair", gives_up)
    layout, scans, verify = study(tmp_path, [[(A, 0.9)], [(A, 0.9)]])
    tracks, visits = followed(layout, scans, verify)
    assert tracks.empty and visits["status"].tolist() == ["not registered"] * 2


def test_a_session_whose_file_is_torn_is_not_read_and_is_made_anew(tmp_path, motions):
    layout, scans, verify = study(tmp_path, [[(A, 0.9)], [(A, 0.9)]])
    mask = layout.brain_mask(scans[1])
    mask.write_bytes(mask.read_bytes()[:-20])
    tracks, visits = followed(layout, scans, verify)
    assert tracks.empty
    assert visits["status"].tolist() == ["followed", "not read"]
    assert visits["scan_id"].isna().tolist() == [False, True]
    assert remake.marked(layout) == [scans[1].scan_id]


def test_one_participant_that_crashes_stops_no_other(tmp_path, motions, monkeypatch, caplog):
    layout, scans, verify = study(tmp_path, [[(A, 0.9)], [(A, 0.9)]])

    def crash(*_, **__):
        raise ZeroDivisionError("of this participant")

    monkeypatch.setattr(longitudinal, "presence", crash)
    tracks, visits = followed(layout, scans, verify)
    assert tracks.empty and visits["status"].tolist() == ["crashed"] * 2
    assert "ZeroDivisionError: of this participant" in caplog.text
    assert not list(tmp_path.rglob("tries/*/*.json"))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"motion": [1], "overlap": 1}'])
def test_a_torn_registration_or_track_of_the_cache_is_made_again(tmp_path, motions, content):
    layout, scans, verify = study(tmp_path, [[(A, 0.9)], [(A, 0.9)]])
    wanted, _ = followed(layout, scans, verify)
    assert len(wanted)
    cache = layout.cached("longitudinal", "x").parents[1]
    torn = [path for path in cache.rglob("*") if path.is_file()]
    assert {path.suffix for path in torn} == {".json", ".parquet"}
    for path in torn:
        path.write_bytes(content)
    again, _ = followed(layout, scans, verify)
    assert again.equals(wanted)


def test_a_shard_made_again_without_the_scan_is_not_zero_lesions(tmp_path, motions):
    layout, scans, verify = study(tmp_path, [[(A, 0.9)], [(A, 0.9)]])
    record = layout.record("verify", scans[1].scan_id)
    record.write_text(record.read_text().replace('"measures": {}', '"measures": {"n_kept": 4}'))
    _, visits = followed(layout, scans, verify)
    assert visits["status"].tolist() == ["followed", "not read"]


def test_a_picture_a_lesion_and_none_of_before(tmp_path, motions):
    layout, scans, verify = study(tmp_path, [[(A, 0.9), (B, 0.9)], [(A, 0.9)]])
    old = layout.change_figure("sub-1", 7)
    old.parent.mkdir(parents=True)
    old.write_bytes(b"")
    followed(layout, scans, verify)
    names = sorted(path.name for path in old.parent.glob("*change*"))
    assert names == [layout.change_figure("sub-1", n).name for n in (1, 2)]
    picture = Image.open(layout.change_figure("sub-1", 1))
    assert picture.width > 2 * 128 and picture.height > 2 * 128
    before = layout.change_figure("sub-1", 1).read_bytes()
    layout.change_figure("sub-1", 1).unlink()
    followed(layout, scans, verify)
    assert layout.change_figure("sub-1", 1).read_bytes() == before
