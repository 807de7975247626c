"""Phase images of simulated scans: every scale is read back, and seeds stand for the same scans."""

import argparse
import dataclasses
import json

import nibabel as nib
import numpy as np
import pytest

from cmburden.core.errors import CMBurdenError
from cmburden.images.phase import read_phase
from cmburden.simulate import acquisition as aq
from cmburden.simulate import anatomy as an
from cmburden.simulate import cohort, command, phase_images
from cmburden.simulate.phase_images import SCALES, PhaseImage
from cmburden.simulate.scan import Simulated

SHAPE, AFFINE = (32, 36, 10), np.diag([1.0, 1, 2, 1])


def scan() -> Simulated:
    """A scan of noise with a brain, whose phase turns often."""
    rng = np.random.default_rng(0)
    x, y, z = np.indices(SHAPE) / 8
    phase = np.angle(np.exp(1j * (5 * x + y * y - z + rng.normal(0, 0.1, SHAPE))))
    image = rng.uniform(0.8, 1.2, SHAPE).astype(np.float32)
    brain = np.zeros(SHAPE, bool)
    brain[3:-3, 3:-3] = True
    labels = np.zeros(SHAPE, np.int16)
    return Simulated(
        image, image, phase.astype(np.float32), AFFINE, labels, brain, [], aq.PRESETS["AIBL"]
    )


def image(**changes) -> PhaseImage:
    fields = {"sign": 1, "filtered": False, "masked": False, "background": (0.0,) * 7}
    return PhaseImage(**(fields | {"scale": "radians"} | changes))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("masked", [False, True])
def test_what_is_written_is_read_as_radians(tmp_path, scale, sign, masked):
    """To half a step of 4096, whatever the scale, the sign, the mask and the header's scaling."""
    made = scan()
    drawn = image(scale=scale, sign=sign, masked=masked)
    phase_images.write(tmp_path, tmp_path, "sub-1_swi", made, drawn, 1)
    path = tmp_path / "sub-1_part-phase_swi.nii.gz"
    read = read_phase(path, SHAPE, AFFINE)
    inside = read.known & made.brain
    assert inside.sum() > 0.99 * made.brain.sum()
    turn = np.exp(1j * (read.radians - sign * made.phase))[inside]
    assert np.abs(np.angle(turn * np.conj(turn.mean()))).max() < 0.003
    stored = nib.load(path)
    assert stored.get_data_dtype() == SCALES[scale].kind
    if masked:
        assert not read.known[~made.brain].any()
    told = json.loads((tmp_path / "sourcedata/truth/sub-1_swi_phase.json").read_text())
    assert told == {"sign": sign, "filtered": False, "masked": masked, "scale": scale}


def test_a_filter_takes_the_background_away():
    made, terms = scan(), (1.0, 5.0, -4.0, 2.0, 1.0, 1.0, 0.5)
    stored = [image(background=terms, filtered=one).stored(made) for one in (False, True)]
    spread = [np.abs(np.exp(1j * one).mean()) for one in stored]
    assert spread[0] < 0.2 < 0.8 < spread[1]


def test_a_share_of_the_scans_has_phase_of_either_sign_and_every_scale():
    drawn = [phase_images.of_participant(seed, 0.5) for seed in range(400)]
    some = [one for one in drawn if one is not None]
    assert 160 < len(some) < 240
    assert {one.sign for one in some} == {1, -1} and {one.scale for one in some} == {*SCALES}
    # Who has an image does not depend on how many have one: the image is the same.
    every = [phase_images.of_participant(seed, 1.0) for seed in range(400)]
    assert all(one in (None, other) for one, other in zip(drawn, every, strict=True))
    assert not any(phase_images.of_participant(seed, 0.0) for seed in range(50))


@pytest.mark.slow
def test_a_seed_stands_for_the_same_scan_with_and_without_phase(tmp_path, monkeypatch):
    """Every byte of the scan, its T1w and its truth; the phase image lies beside."""

    def drawn(person, deform, acquisition, rng, findings):
        noise = rng.normal(1, 0.1, SHAPE).astype(np.float32)
        return dataclasses.replace(scan(), image=noise, acquisition=acquisition)

    # A block for a head takes no time.
    brain = np.full((4, 4, 4), an.WHITE[0], np.int16)
    far = np.full(brain.shape, 9.0, np.float16)
    head = an.Anatomy("block", brain, np.diag([50.0, 50, 50, 1]), far, far, brain > 0)
    monkeypatch.setattr(an, "load", lambda path: head)
    monkeypatch.setattr(an, "deformation", lambda person, rng: lambda points: points)
    monkeypatch.setattr(cohort, "simulate", drawn)
    (plan,) = cohort.plan_cohort(["ADNI"], 1, [None], 3, positive_share=1.0, t1w_share=1.0)
    files, rows = {}, {}
    for share in (0.0, 1.0):
        root = tmp_path / str(share)
        rows[share] = cohort.write_participant(plan, root, phase_share=share)
        files[share] = {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }
    assert rows[0.0] == rows[1.0]
    assert files[0.0].items() <= files[1.0].items()
    more = sorted(files[1.0].keys() - files[0.0].keys())
    name = "sub-ADNI001/anat/sub-ADNI001_part-phase_T2starw"
    truth = "sourcedata/truth/sub-ADNI001_T2starw_phase.json"
    assert more == [truth, f"{name}.json", f"{name}.nii.gz"]


@pytest.mark.parametrize("share", ["1.5", "-0.1"])
def test_a_share_is_a_share(tmp_path, share):
    arguments = _arguments(tmp_path, "--phase-share", share)
    with pytest.raises(CMBurdenError, match=r"--phase-share .*: is a share, from 0 to 1"):
        command.main(arguments)


def test_phase_is_for_one_session(tmp_path):
    arguments = _arguments(tmp_path, "--phase-share", "0.5", "--sessions", "2")
    with pytest.raises(CMBurdenError, match=r"--phase-share 0\.5: is for one session"):
        command.main(arguments)


def _arguments(tmp_path, *options: str):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args([str(tmp_path / "bids"), *options])
