"""The test bed: fields against a second implementation, vessels within the brain, domains apart."""

import dataclasses

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy.spatial import cKDTree

from cmburden.evaluate.cases import Cases
from cmburden.simulate import acquisition as aq
from cmburden.simulate import anatomy as an
from cmburden.simulate import sources
from cmburden.studies.bed import domains, fields, figures, reading, scan, vessels
from cmburden.studies.bed.fields import Spheres, Tube

B0 = np.array([0.0, 0.0, 1.0])


def test_each_domain_is_in_one_half():
    assert sorted((*domains.TUNED, *domains.UNSEEN)) == sorted(domains.DOMAINS)
    assert len(domains.UNSEEN) >= 3
    assert not set(domains.DOMAINS) & set(aq.PRESETS)


def test_a_sphere_takes_what_the_training_simulator_says():
    """Two implementations of Haacke et al. 1999, ch. 25, integrated over voxels of 1 x 1 x 3 mm."""
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    signal = np.ones((25, 25, 9), np.complex64)
    centre, radius, ppm, radians = np.array([12.2, 12.0, 12.4]), 0.9, 1.5, 16.0
    fields.multiply_spheres(
        signal, affine, Spheres(centre[None], np.array([radius]), ppm, 0.0), B0, radians
    )
    other = sources.Source("microbleed", centre, radius, ppm, 2.0, None, "lobar")
    box, left = sources.source_signal(other, affine, signal.shape, B0, radians)
    expected = np.ones(signal.shape, np.complex64)
    expected[box] = left
    near = np.abs(expected) < 0.9
    assert near.sum() > 5
    assert np.abs(np.abs(signal) - np.abs(expected))[near].max() < 0.05


def line(direction, number=161):
    along = np.asarray(direction, float) / np.linalg.norm(direction)
    return (np.arange(number) - number // 2)[:, None] * 0.25 * along


@pytest.mark.parametrize("angle", [0, 30, 54.7356, 90])
def test_the_phase_of_a_tube_is_the_analytic_one(angle):
    """Haacke: within a long cylinder chi/2 (cos2 - 1/3), beside it chi/2 sin2 (a/r)2 cos 2 phi."""
    theta = np.deg2rad(angle)
    tube = Tube(line([np.sin(theta), 0, np.cos(theta)]), 1.0, 0.4, 1.0)
    across = np.array([0.0, 1.0, 0.0])  # at right angles to B0 and to the tube: cos 2 phi = -1
    points = np.stack([0.3 * across, 2.0 * across])[:, None]
    factor = fields.of_tube(points, tube, cKDTree(tube.points), tube.directions, B0, 2.0)
    inside, beside = np.angle(factor[:, 0])
    assert inside == pytest.approx(0.4 / 2 * (np.cos(theta) ** 2 - 1 / 3) * 2.0, abs=1e-6)
    assert beside == pytest.approx(-0.4 / 2 * np.sin(theta) ** 2 / 4 * 2.0, abs=1e-6)


def test_a_tube_darkens_its_voxels_and_no_other():
    signal = np.ones((40, 40, 20), np.complex64)
    affine = nib.affines.from_matvec(np.diag([0.8, 0.8, 2.0]), [-16, -16, -20])
    loss = fields.multiply_tube(signal, affine, Tube(line([1, 0, 0]), 0.9, 0.0, 0.2), B0, 16.0)
    lost = 1 - np.abs(signal)
    assert loss == pytest.approx(lost.max())
    volume = lost.sum() * 0.8 * 0.8 * 2.0 / 0.8
    assert volume == pytest.approx(np.pi * 0.9**2 * 31.2, rel=0.1)  # the part within the volume
    far = np.abs(nib.affines.apply_affine(affine, np.argwhere(lost > 0.01))[:, 1:]).max()
    assert far < 0.9 + 2.0


def head():
    labels = np.full((60, 60, 40), an.CSF, np.int16)
    labels[8:52, 8:52, 5:35] = an.CORTEX[0]
    labels[12:48, 12:48, 8:32] = an.WHITE[0]
    labels[25:35, 25:35, 15:25] = an.LATERAL_VENTRICLES[0]
    labels[:3] = an.BONE
    return vessels.Ground(labels, np.diag([1.5, 1.5, 2.5, 1.0]))


@pytest.mark.parametrize(("kind", "shortest", "longest"), [("whole", 15, 40), ("short", 6, 16)])
def test_vessels_have_their_length_and_stay_in_the_brain(kind, shortest, longest):
    ground = head()
    drawn = vessels.draw(12, kind, ground, np.random.default_rng(1))
    assert len(drawn) > 8
    for one in drawn:
        assert shortest - 0.01 <= one.tube.length <= longest + 0.25
        assert all(ground.holds(point, one.course) for point in one.tube.points[1:])


@pytest.mark.parametrize("sign", [1, -1])
def test_the_mask_darkens_the_phase_of_its_sign(sign):
    domain = domains.DOMAINS["TURNED"]
    assert domain.mask_sign == -1
    acquisition = dataclasses.replace(domain.acquisition, filter_size=8)
    domain = dataclasses.replace(domain, mask_sign=sign, acquisition=acquisition)
    signal = np.ones((64, 64, 3), np.complex64)
    signal[20, 20], signal[40, 40] = np.exp(1j), np.exp(-1j)
    faults = reading.Faults(np.zeros(signal.shape), np.zeros((64, 2)), None)
    image, _ = reading.image_of(signal, domain, faults)
    positive, negative = image[20, 20, 1], image[40, 40, 1]
    assert (positive < 0.4 < 0.9 < negative) == (sign == 1)
    assert (negative < 0.4 < 0.9 < positive) == (sign == -1)


def test_vessels_called_and_bleeds_beside_them_are_counted(tmp_path):
    folder = tmp_path / "sourcedata" / "truth"
    folder.mkdir(parents=True)
    points = [(0, "whole", 0.9, x, 0.0) for x in range(10)]
    points += [(1, "short", 0.8, x, 30.0) for x in range(5)]
    points += [(2, "whole", 0.1, x, 60.0) for x in range(10)]  # nobody sees it
    rows = pd.DataFrame(points, columns=["vessel", "kind", "loss", "x_mm", "y_mm"])
    rows.assign(z_mm=0.0, radius_mm=0.5).to_csv(folder / "a_vessels.tsv", sep="\t", index=False)
    place = {"y_mm": 0.0, "z_mm": 0.0, "scan_id": "a"}
    candidates = pd.DataFrame(
        [
            place | {"x_mm": 4.0, "decided": True, "right": False},
            place | {"x_mm": 2.0, "y_mm": 30.0, "decided": False, "right": False},
            place | {"x_mm": 4.0, "y_mm": 60.0, "decided": True, "right": False},
            place | {"x_mm": 4.0, "y_mm": 5.0, "decided": True, "right": True},
        ]
    )
    real = pd.DataFrame([place | {"x_mm": 4.0, "y_mm": 5.0, "found": True}])
    scans = pd.DataFrame({"scan_id": ["a", "b"]})
    cases = Cases(scans, real, candidates, pd.DataFrame(), 1, {})
    seen = figures.vessels_of(tmp_path, scans["scan_id"])
    assert figures.called(cases, seen, "whole") == figures.Called(1, 1)
    assert figures.called(cases, seen, "short") == figures.Called(0, 1)
    assert figures.beside(cases, seen) == figures.Called(1, 1)
    assert str(figures.Called(0, 0)) == "-"


@pytest.mark.slow
def test_a_scan_of_the_bed_is_a_bids_scan_with_its_truth(tmp_path):
    assert scan.main([str(tmp_path / "bids"), "--presets", "EPI", "--participants", "1"]) == 0
    truth = pd.read_csv(tmp_path / "truth.tsv", sep="\t")
    assert set(truth["cohort"]) == {"EPI"}
    [path] = (tmp_path / "bids").rglob("*_T2starw.nii.gz")
    image = nib.load(path)
    assert image.header.get_zooms() == pytest.approx((1.6, 1.6, 3.5), abs=1e-3)
    brain = nib.load(next((tmp_path / "bids").rglob("*_brain.nii.gz"))).get_fdata() > 0
    values = image.get_fdata()
    assert values[brain].mean() > 5 * values[0].mean()
    inverse = np.linalg.inv(image.affine)
    for one in truth[truth["kind"] == "microbleed"].itertuples():
        at = np.round(nib.affines.apply_affine(inverse, [one.x_mm, one.y_mm, one.z_mm])).astype(int)
        part = tuple(slice(max(n - 2, 0), n + 3) for n in at)
        assert values[part].min() < 0.75 * np.median(values[part])
