"""A T1w is worked out once; one that is not of the scan's head, or no head at all, is not used."""

import nibabel as nib
import numpy as np
import pytest

from cmburden.core.errors import ScanError
from cmburden.core.paths import Layout
from cmburden.images import brain, geometry
from cmburden.images.volume import save_volume
from cmburden.register import t1w as session_t1w
from cmburden.register.align import regions_in_scan, to_template
from cmburden.space import atlas, template
from cmburden.space.transform import Transform, compact

pytestmark = pytest.mark.slow

SETTINGS = {"nonlinear": False, "threads": 1}


@pytest.fixture(scope="module")
def scan() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The template as a GRE, turned by a few degrees; its mask and affine."""
    tissues, affine = template.tissues(2.0)
    turn = nib.affines.from_matvec(
        nib.eulerangles.euler2mat(*np.deg2rad([4, -6, 5])), [5.0, -3.0, 8.0]
    )
    return tissues @ np.array([1.05, 0.95, 1.4]), tissues.sum(-1) > 0.5, turn @ affine


def t1w(path, tissues: np.ndarray, affine: np.ndarray):
    save_volume(path, tissues @ np.array([0.6, 1.0, 0.2]), affine, np.float32)
    return path


@pytest.fixture
def masks(monkeypatch):
    """The brain of a T1w without deepbet: all of its signal."""
    monkeypatch.setattr(brain, "brain_mask", lambda data, threads=1: data > 0.05)


def through_t1w(data, mask, affine, path, tmp_path):
    image = session_t1w.of_session(path, "sub-1", Layout(tmp_path / "out"), SETTINGS)
    return session_t1w.through(image, data, mask, affine)


def test_through_the_t1w_is_the_way_there(scan, masks, tmp_path):
    """The T1w lies in MNI152 itself, the scan is turned: the transform turns it back."""
    data, mask, affine = scan
    tissues, to_mni = template.tissues(2.0)
    path = t1w(tmp_path / "t1w.nii.gz", tissues, to_mni)
    transform = through_t1w(data, mask, affine, path, tmp_path)
    voxels = np.array([[50, 60, 45], [30, 70, 50], [70, 40, 40]])
    at = transform(nib.affines.apply_affine(affine, voxels))
    expected = nib.affines.apply_affine(to_mni, voxels)
    assert np.linalg.norm(at - expected, axis=1).max() < 1.0


def test_a_t1w_of_another_head_is_refused(scan, masks, tmp_path):
    tissues, affine = template.tissues(2.0)
    # A brain of 60 % of the width: no rigid motion lays one on the other.
    narrow = np.diag([0.6, 1.0, 1.0, 1.0]) @ affine
    path = t1w(tmp_path / "t1w.nii.gz", tissues, narrow)
    with pytest.raises(ScanError, match="overlaps with the scan's by 0") as caught:
        through_t1w(*scan, path, tmp_path)
    assert caught.value.reason == "registration"


@pytest.mark.parametrize("scale", [0.5, 1.2])
def test_a_t1w_whose_mask_is_no_brain_is_refused(scan, masks, tmp_path, scale):
    tissues, affine = template.tissues(2.0)
    path = t1w(tmp_path / "t1w.nii.gz", tissues, np.diag([scale] * 3 + [1.0]) @ affine)
    with pytest.raises(ScanError, match="Its brain mask has") as caught:
        through_t1w(*scan, path, tmp_path)
    assert caught.value.reason == "brain_mask"


def test_to_template_turns_the_scan_back(scan):
    data, mask, affine = scan
    transform = to_template(data, mask, affine, nonlinear=False)
    assert transform.field is None
    voxels = np.array([[50, 60, 45], [30, 70, 50], [70, 40, 40]])
    at = transform(nib.affines.apply_affine(affine, voxels))
    expected = nib.affines.apply_affine(template.tissues(2.0)[1], voxels)
    assert np.linalg.norm(at - expected, axis=1).max() < 1.0


@pytest.fixture
def of_session(tmp_path, monkeypatch):
    """``of_session`` of a T1w file, and how often the T1w was worked out."""
    times = []
    monkeypatch.setattr(brain, "brain_mask", lambda data, threads=1: data > 0.05)

    def linear(data, mask, affine, nonlinear):
        times.append(nonlinear)
        field = np.full((3, 3, 3, 3), len(times), np.float32) if nonlinear else None
        return Transform(np.eye(3), np.zeros(3), field, np.eye(4) if nonlinear else None)

    monkeypatch.setattr(session_t1w, "to_template", linear)
    layout = Layout(tmp_path / "out")

    def call(path, participant="sub-1", nonlinear=True):
        return session_t1w.of_session(path, participant, layout, {"nonlinear": nonlinear})

    return call, times


@pytest.fixture
def file(tmp_path):
    return t1w(tmp_path / "t1w.nii.gz", *template.tissues(4.0))


def test_a_t1w_is_worked_out_once(of_session, file):
    call, times = of_session
    first, again = call(file), call(file)
    assert times == [True]
    for name in ("coarse", "coarse_affine", "mask", "affine"):
        one, other = getattr(first, name), getattr(again, name)
        assert one.dtype == other.dtype and np.array_equal(one, other)
    assert np.array_equal(first.to_mni.field, again.to_mni.field)
    # Its content counts, not its name; without SyN the transform is another one.
    call(file.rename(file.with_name("moved.nii.gz")))
    assert times == [True]
    call(file.with_name("moved.nii.gz"), nonlinear=False)
    assert times == [True, False]
    assert call(file.with_name("moved.nii.gz"), nonlinear=False).to_mni.field is None
    tissues, affine = template.tissues(4.0)
    call(t1w(file, tissues * 1.5, affine))
    assert len(times) == 3


@pytest.mark.parametrize("content", [b"", b"torn"])
def test_a_damaged_cache_is_made_again(of_session, file, tmp_path, content):
    call, times = of_session
    call(file)
    (cached,) = (tmp_path / "out/work/cache").rglob("*.npz")
    # `cmburden forget` removes what bears the participant's id.
    assert cached.name.startswith("sub-1_")
    whole = cached.read_bytes()
    cached.write_bytes(content)
    call(file)
    cached.write_bytes(whole[: len(whole) // 2])
    call(file)
    assert len(times) == 3
    call(file)
    assert len(times) == 3


def test_a_cache_without_a_member_is_made_again(of_session, file, tmp_path):
    call, times = of_session
    call(file)
    (cached,) = (tmp_path / "out/work/cache").rglob("*.npz")
    with np.load(cached) as stored:
        kept = {name: stored[name] for name in stored.files if name != "mask"}
    with cached.open("wb") as stream:
        np.savez(stream, **kept)
    assert call(file).mask.any() and len(times) == 2


def test_a_t1w_that_is_not_there_has_a_reason(of_session, tmp_path):
    with pytest.raises(ScanError) as caught:
        of_session[0](tmp_path / "absent.nii.gz")
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("bent", [True, False], ids=["field", "affine"])
def test_regions_by_planes_are_those_of_each_voxel(bent):
    """A turned scan of thick slices: each voxel of the mask, taken through the transform alone."""
    affine = nib.affines.from_matvec(
        nib.eulerangles.euler2mat(*np.deg2rad([5, -8, 12])) @ np.diag([2.0, 1.5, 5.0]),
        [-70, -95, -60],
    )
    mask = np.zeros((72, 120, 26), bool)
    mask[4:66, 9:110, 2:25] = True
    to_lps = np.diag([20.0, 20.0, 20.0, 1.0])
    to_lps[:3, 3] = -120
    field = np.random.default_rng(0).uniform(-6, 6, (13, 13, 13, 3)).astype(np.float32)
    second = Transform(np.diag([1.02, 0.97, 1.05]), np.array([1.0, -2, 3]), field, to_lps)
    if not bent:
        second = Transform(second.matrix, second.offset)
    transform = compact(None, second, mask, affine)
    regions = regions_in_scan(mask, affine, transform)
    labels, to_mni = atlas.load()
    points = transform(nib.affines.apply_affine(affine, np.argwhere(mask)))
    at = np.rint(nib.affines.apply_affine(np.linalg.inv(to_mni), points)).astype(int)
    expected = labels[tuple(np.clip(at, 0, np.array(labels.shape) - 1).T)]
    assert len(np.unique(expected)) > 20
    # Rounding to single precision moves a voxel in thousands over the edge of a region.
    assert np.mean(regions[mask] == expected) > 0.9995
    assert not regions[~mask].any()


def test_a_field_with_other_axes_than_the_scan_is_refused():
    grid = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, 0, 0))
    transform = Transform(np.eye(3), np.zeros(3), np.zeros((4, 4, 4, 3), np.float32), grid)
    with pytest.raises(ValueError, match="axes of the scan"):
        transform.nodes(np.eye(4), geometry.box(np.ones((5, 5, 5), bool)))
