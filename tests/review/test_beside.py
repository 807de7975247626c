"""Other images beside a scan: which there are, and that a point lies at the same place in them."""

import dataclasses

import nibabel as nib
import numpy as np
import pytest

from cmburden.core import stages
from cmburden.core.errors import ScanError
from cmburden.core.files import write_json
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.follow import stage as follow
from cmburden.images.volume import save_volume
from cmburden.register import t1w
from cmburden.review.beside import WHITE, Beside
from cmburden.space.transform import Transform, save_transform

#: A turn about the long axis of the body, and a shift in mm.
MOTION = nib.affines.from_matvec(nib.eulerangles.euler2mat(0, 0, 0.2), (3.0, -4.0, 5.0))
SPOT = (12.0, -8.0, 6.0)
SHAPE = (40, 40, 40)


def affine_about_zero(size: float) -> np.ndarray:
    return nib.affines.from_matvec(np.eye(3) * size, -size * (np.array(SHAPE) - 1) / 2)


def with_a_spot(at, size: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """A grey volume with a bright spot at a point, RAS mm: less than 0.5 % of it is white."""
    affine = affine_about_zero(size)
    mm = nib.affines.apply_affine(affine, np.moveaxis(np.indices(SHAPE), 0, -1))
    far = np.linalg.norm(mm - at, axis=-1)
    return (100 + 900 * np.exp(-((far / 3) ** 2))).astype(np.float32), affine


def moved(at) -> np.ndarray:
    return nib.affines.apply_affine(MOTION, at)


def written(path, at) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data, affine = with_a_spot(at)
    nib.save(nib.Nifti1Image(data, affine), path)


@pytest.fixture
def scan(tmp_path) -> Scan:
    folder = tmp_path / "bids/sub-1/ses-2/anat"
    written(folder / "sub-1_ses-2_T2starw.nii.gz", SPOT)
    return Scan(
        scan_id="sub-1_ses-2_T2starw",
        cohort="c",
        participant_id="sub-1",
        session_id="ses-2",
        suffix="T2starw",
        contrast="GRE",
        path=folder / "sub-1_ses-2_T2starw.nii.gz",
        entities=(("sub", "1"), ("ses", "2")),
    )


@pytest.fixture
def layout(tmp_path) -> Layout:
    made = Layout(tmp_path / "out")
    settings = "register: {nonlinear: false}\nlongitudinal: {min_overlap: 0.8}\n"
    made.config.parent.mkdir(parents=True)
    made.config.write_text(settings)
    return made


def brightest(greys: np.ndarray, affine: np.ndarray) -> np.ndarray:
    bright = np.argwhere(greys > 0.8 * greys.max())
    return nib.affines.apply_affine(affine, bright.mean(0))


def test_images_of_the_session_lie_by_the_scanner(layout, scan):
    folder = scan.path.parent
    for suffix in ("FLAIR", "Chimap", "bold"):
        written(folder / f"sub-1_ses-2_{suffix}.nii.gz", SPOT)
    beside = Beside(layout, {scan.scan_id: scan})
    others = beside.of_scan(scan.scan_id)
    assert [one.words for one in others] == ["Chimap (QSM)", "FLAIR"]
    assert {one.way for one in others} == {"by the scanner's coordinates, not registered"}
    grid = affine_about_zero(1.0)
    greys = beside.greys(scan.scan_id, 1, SHAPE, grid)
    assert brightest(greys, grid) == pytest.approx(SPOT, abs=1.0)
    assert greys.dtype == np.uint16 and greys.max() >= WHITE


def test_the_t1w_lies_as_it_was_registered(layout, scan):
    scan = dataclasses.replace(scan, t1w_path=scan.path.with_name("sub-1_ses-2_T1w.nii.gz"))
    written(scan.t1w_path, moved(SPOT))
    flip = np.diag([-1.0, -1, 1])
    rigid = Transform(flip @ MOTION[:3, :3] @ flip, flip @ MOTION[:3, 3])
    to_mni = Transform(np.diag([1.1, 0.9, 1.2]), np.array([1.0, 2.0, 3.0]))
    empty = np.zeros((2, 2, 2))
    kept = t1w.T1w(empty, np.eye(4), empty > 0, np.eye(4), to_mni)
    cached = t1w._cached(scan.t1w_path, "sub-1", layout, {"nonlinear": False})
    t1w.write_arrays(cached, **t1w._as_arrays(kept))
    whole = Transform(to_mni.matrix @ rigid.matrix, to_mni.matrix @ rigid.offset + to_mni.offset)
    save_transform(layout, scan, whole)
    record = layout.record(stages.REGISTER.name, scan.scan_id)
    Outcome("register", scan.scan_id, "ok", measures={"via_t1w": True}).write(record)
    beside = Beside(layout, {scan.scan_id: scan})
    (other,) = beside.of_scan(scan.scan_id)
    assert other.motion == pytest.approx(MOTION, abs=1e-5)
    grid = affine_about_zero(1.0)
    assert brightest(beside.greys(scan.scan_id, 0, SHAPE, grid), grid) == pytest.approx(
        SPOT, abs=1.5
    )


@pytest.mark.parametrize("overlap", [0.9, 0.5])
def test_another_session_is_shown_where_it_is_registered(layout, scan, overlap):
    first = dataclasses.replace(scan, scan_id="sub-1_ses-1_T2starw", session_id="ses-1")
    first = dataclasses.replace(first, entities=(("sub", "1"), ("ses", "1")))
    for one, at in ((first, SPOT), (scan, moved(SPOT))):
        data, affine = with_a_spot(at)
        save_volume(layout.preproc(one), data, affine, np.float32)
        save_volume(layout.brain_mask(one), data > 0, affine, np.uint8)
    pair = {"motion": MOTION.tolist(), "overlap": overlap, "correlation": 0.9}
    write_json(follow._cached_pair(first, scan, layout), pair)
    beside = Beside(layout, {one.scan_id: one for one in (first, scan)})
    if overlap < 0.8:
        assert beside.of_scan(scan.scan_id) == []
        return
    (other,) = beside.of_scan(scan.scan_id)
    assert other.words == "Session ses-1, GRE"
    grid = affine_about_zero(1.0)
    shown = brightest(beside.greys(scan.scan_id, 0, SHAPE, grid), grid)
    assert shown == pytest.approx(moved(SPOT), abs=1.5)
    (back,) = beside.of_scan(first.scan_id)
    assert back.motion == pytest.approx(MOTION)


def test_an_image_that_cannot_be_read_is_a_sentence(layout, scan):
    scan.path.with_name("sub-1_ses-2_FLAIR.nii.gz").write_bytes(b"no image")
    beside = Beside(layout, {scan.scan_id: scan})
    with pytest.raises(ScanError, match=r"\w"):
        beside.greys(scan.scan_id, 0, SHAPE, np.eye(4))


def test_a_bids_folder_that_is_gone_shows_nothing(layout, scan):
    gone = dataclasses.replace(scan, path=layout.root / "gone/sub-1_T2starw.nii.gz")
    assert Beside(layout, {scan.scan_id: gone}).of_scan(scan.scan_id) == []
