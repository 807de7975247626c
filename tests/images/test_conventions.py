"""The images tell a table's convention: for every convention and storage order, and not else."""

import functools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orientations import ORIENTATIONS, grid

from cmburden.core.errors import CMBurdenError
from cmburden.images import conventions
from cmburden.images.conventions import NAMES, Bounds, Seen, decide, find, look, to_ras

SHAPE, SIZES = (88, 104, 20), (1.7, 1.7, 5.0)
#: For tables of 4 points of one participant, as in the smallest fixtures.
FEW = Bounds(points=4, people=1, chance=0.05, level=0.13)


@functools.cache
def head(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An ellipsoid of brightness 300 with noise, and 12 spots in it by their voxels (12, 3)."""
    rng = np.random.default_rng(seed)
    index = np.indices(SHAPE)
    middle = (np.array(SHAPE) - 1) / 2
    radius = (((index.T - middle) / (middle * 0.9)) ** 2).sum(-1).T
    data = np.where(radius < 1, 300, 20) + rng.normal(0, 18, SHAPE)
    spots = rng.choice(np.argwhere(radius < 0.7), 12, replace=False)
    for x, y, z in spots:
        data[x - 1 : x + 2, y - 1 : y + 2, z] *= 0.6
        data[x, y, z] *= 0.5
    return data, spots


def as_table(ras: np.ndarray, affine: np.ndarray, name: str) -> np.ndarray:
    """Points in RAS mm as a table by ``name`` has them: the formulas written out once more."""
    if name in ("ras", "lps", "las"):
        return ras * {"ras": (1, 1, 1), "lps": (-1, -1, 1), "las": (-1, 1, 1)}[name]
    index = nib.affines.apply_affine(np.linalg.inv(affine), ras)
    if "flipped" in name:
        index[:, 1] = SHAPE[1] - 1 - index[:, 1]
    if "reversed" in name:
        index[:, 2] = SHAPE[2] - 1 - index[:, 2]
    return index + int(name[5])


def tables(orientation: str, name: str, people: int = 3, wrong: int = 0) -> tuple[Seen, list]:
    """What the tables of some people show, and their points in RAS mm."""
    parts, places = [], []
    for seed in range(people):
        data, spots = head(seed)
        affine = grid(orientation, SHAPE, SIZES, (3.0, -12.0, 9.0))
        ras = nib.affines.apply_affine(affine, spots)
        table = np.round(as_table(ras, affine, name), 1)
        table[:wrong] = table[:wrong, ::-1] + 7
        parts.append(look(data, affine, table, f"sub-{seed}"))
        places.append((ras, to_ras(table, affine, SHAPE, name)))
    return Seen.joined(parts), places


@pytest.mark.slow
@given(st.sampled_from(ORIENTATIONS), st.sampled_from(NAMES))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_every_convention_is_found_in_every_storage_order(orientation, name):
    seen, places = tables(orientation, name)
    verdict = decide(seen)
    assert verdict.name == name
    assert verdict.shares[name] == 1
    assert (verdict.points, verdict.people) == (36, 3)
    for ras, back in places:
        # Rounding to 0.1 mm, or to 0.1 voxel of 5 mm.
        assert np.abs(ras - back).max() < 0.5


def test_each_name_is_its_own_map_and_the_formulas_are_inverse():
    affine = grid("oblique", SHAPE, SIZES, (3.0, -12.0, 9.0))
    ras = np.array([[1.0, 2, 3], [-20, 30, 10]])
    tables = [as_table(ras, affine, name) for name in NAMES]
    for name, table in zip(NAMES, tables, strict=True):
        assert np.allclose(to_ras(table, affine, SHAPE, name), ras)
    assert len({tuple(np.round(table[0], 3)) for table in tables}) == len(NAMES) == 11


def test_some_wrong_points_do_not_matter_and_a_mixture_is_refused():
    assert decide(tables("LAS", "lps", wrong=2)[0]).name == "lps"
    mixed = Seen.joined([tables("LAS", "ras")[0], tables("LAS", "lps")[0]])
    verdict = decide(mixed)
    assert verdict.name is None
    assert "51% of the 72 points at most" in verdict.sentence
    stated = conventions.check(mixed, "ras")
    assert (stated.fits, stated.better) == (False, "lps")
    assert "a part of the points fits lps rather than ras" in stated.sentence


def test_a_stated_convention_is_proven_contradicted_or_left_open():
    seen, _ = tables("LPS", "lps")
    assert conventions.check(seen, "lps").fits is True
    wrong = conventions.check(seen, "ras")
    assert (wrong.name, wrong.fits, wrong.better) == (None, False, "lps")
    assert wrong.sentence.startswith(
        "the coordinates are lps, not ras: the images are dark at 100%"
    )
    few = Seen(seen.dark[:, :3], seen.depth[:, :3], seen.index[:, :3], seen.person[:3])
    open_ = conventions.check(few, "ras")
    assert (open_.name, open_.fits) == ("ras", None)
    assert "3 point(s) of 1 participant(s) cannot tell" in open_.sentence


def test_points_that_fit_no_convention_are_refused_with_the_table_of_shares():
    rng = np.random.default_rng(5)
    data, _ = head(0)
    affine = grid("LAS", SHAPE, SIZES)
    parts = [look(data, affine, rng.uniform(-40, 40, (8, 3)), str(n)) for n in range(4)]
    verdict = decide(Seen.joined(parts))
    assert verdict.name is None
    for name, share in verdict.shares.items():
        assert not round(100 * share) or f"{name} {100 * share:.0f} %" in verdict.sentence
    assert "dark at: " in verdict.sentence
    assert conventions.check(Seen.joined(parts), "ras").fits is False


@pytest.mark.parametrize("background", [0.0, np.nan])
def test_a_background_that_was_masked_out_is_not_dark(background):
    data, spots = head(0)
    middle = (np.array(SHAPE) - 1) / 2
    radius = (((np.indices(SHAPE).T - middle) / (middle * 0.9)) ** 2).sum(-1).T
    masked = np.where(radius < 1, data, background)
    affine = grid("LAS", SHAPE, SIZES)
    ras = nib.affines.apply_affine(affine, spots)
    # Points along the edge of the head.
    angles = np.linspace(0, 2 * np.pi, 24)
    edge = np.stack([np.cos(angles), np.sin(angles), 0 * angles], 1) * middle * 0.9 + middle
    rim = nib.affines.apply_affine(affine, edge)
    assert look(masked, affine, ras, "a").dark[0].all()
    assert look(masked, affine, rim, "a").dark[0].mean() < 0.1
    assert not look(data, affine, rim * 1.3, "a").dark[0].any()  # air


def test_the_toy_of_thick_oblique_slices():
    # 30 spots of 1.8 mm in an ellipsoid, slices of 4 mm, tilted by 8.6 degrees: by the right
    # convention all are dark, by any other hardly one.
    rng = np.random.default_rng(1)
    shape, sizes, tilt = np.array([256, 256, 44]), np.array([0.859, 0.859, 4.0]), 0.15
    turn = np.array([[-1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]])
    affine = nib.affines.from_matvec(turn * sizes)
    affine[:3, 3] = -affine[:3, :3] @ ((shape - 1) / 2) + [3, -12, 9]
    half = np.array([68, 85, 62]) / sizes
    x, y, z = np.ogrid[tuple(slice(-(n - 1) / 2, n / 2) for n in shape)]
    radius = (x / half[0]) ** 2 + (y / half[1]) ** 2 + (z / half[2]) ** 2
    data = np.where(radius < 1, 300, 20) + rng.normal(0, 18, shape)
    spots = rng.choice(np.argwhere(radius < 0.78), 30, replace=False)
    for at in spots:
        box = tuple(slice(a - 3, a + 4) for a in at)
        inside = np.indices(data[box].shape).T - 3.0
        data[box][(((inside * sizes) ** 2).sum(-1) < 1.8**2).T] *= 0.35
    ras = nib.affines.apply_affine(affine, spots)
    for name, table in (
        ("ras", ras),
        ("lps", ras * [-1, -1, 1]),
        ("voxel1", spots + 1.0),
        ("voxel0_flipped", spots * [1, -1, 1] + [0, shape[1] - 1, 0]),
    ):
        seen = look(data, affine, np.round(table, 1), "sub-1")
        shares = dict(zip(NAMES, seen.dark.mean(1), strict=True))
        assert shares.pop(name) == 1
        assert max(shares.values()) <= 0.1
        assert decide(seen, Bounds(people=1)).name == name


# --- the first fixture: twins of one table ---


def diagonal() -> tuple[np.ndarray, np.ndarray]:
    """Image as dcm2niix stores it (LAS, rows flipped): a dark voxel a slice, on a diagonal."""
    data = np.full((64, 64, 12), 500.0)
    for s in range(12):
        data[30, 43 - s, s] = 10 * (s + 1)
    tilt, (ps, th) = 0.15, (3.436, 4.0)
    columns = np.diag([-1.0, -1, 1]) @ np.stack(
        [
            [ps, 0, 0],
            np.multiply(ps, [0, np.cos(tilt), np.sin(tilt)]),
            np.multiply(th, [0, -np.sin(tilt), np.cos(tilt)]),
        ],
        1,
    )
    affine = nib.affines.from_matvec(columns, [110.0, 120, -40])
    affine[:3, 3] += 63 * columns[:, 1]
    affine[:3, 1] *= -1
    return data, affine


#: Stored voxels of the fixture, and the same in RAS mm as its table has them.
VOXELS = np.array([[30, 41, 2], [30, 39, 4], [30, 37, 6], [30, 35, 8]], float)
RAS = [[6.9, 46.5, -20.8], [6.9, 40.9, -11.9], [6.9, 35.3, -2.9], [6.9, 29.7, 6.0]]


def write(folder, data, affine, name="sub-1_T2starw.nii.gz"):
    nib.save(nib.Nifti1Image(data.astype(np.int16), affine), folder / name)
    return folder / name


def test_the_fixture_is_that_of_the_table():
    _, affine = diagonal()
    assert nib.aff2axcodes(affine) == ("L", "A", "S")
    assert nib.affines.apply_affine(affine, VOXELS) == pytest.approx(np.array(RAS), abs=0.06)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("ras", RAS),
        ("lps", np.array(RAS) * [-1, -1, 1]),
        ("voxel0", VOXELS),
        ("voxel1", VOXELS + 1),
        ("voxel0_flipped", VOXELS * [1, -1, 1] + [0, 63, 0]),
        ("voxel1_flipped", VOXELS * [1, -1, 1] + [1, 64, 1]),
    ],
)
def test_twins_of_one_table_give_the_same_points(tmp_path, name, table):
    data, affine = diagonal()
    path = write(tmp_path, data, affine)
    verdict = find({path: np.array(table)}, {path: "sub-1"}, bounds=FEW)
    assert verdict.name == name
    assert to_ras(table, affine, data.shape, name) == pytest.approx(np.array(RAS), abs=0.06)
    # Without lowered bounds so few points tell nothing.
    assert find({path: np.array(table)}, {path: "sub-1"}).name is None


def test_a_tie_of_neighbours_is_broken_by_the_depth_at_the_centre():
    data, affine = diagonal()
    seen = look(data, affine, VOXELS * [1, -1, 1] + [0, 63, 0], "sub-1")
    by_name = dict(zip(NAMES, seen.dark.mean(1), strict=True))
    assert by_name["voxel0_flipped"] == by_name["voxel1_flipped"] == 1
    assert decide(seen, FEW).name == "voxel0_flipped"
    # Equally deep: nothing tells them apart.
    level = Seen(seen.dark, np.full_like(seen.depth, 0.3), seen.index, seen.person)
    assert decide(level, FEW).name is None
    assert "do not tell" in decide(level, FEW).sentence


def test_half_a_table_in_lps_and_random_points_stop(tmp_path):
    data, affine = diagonal()
    path = write(tmp_path, data, affine)
    half = np.array(RAS) * [[1, 1, 1], [-1, -1, 1], [1, 1, 1], [-1, -1, 1]]
    for table in (half, np.random.default_rng(0).uniform(-60, 60, (4, 3))):
        verdict = find({path: table}, {path: "sub-1"}, bounds=FEW)
        assert verdict.name is None
        assert "dark at: " in verdict.sentence


# --- files ---


def test_images_are_taken_as_stored_and_a_torn_one_is_left_out(tmp_path):
    points, people = {}, {}
    for seed, orientation in enumerate(("LAS", "LPS", "oblique")):
        data, spots = head(seed)
        path = write(tmp_path, data, grid(orientation, SHAPE, SIZES), f"sub-{seed}_swi.nii.gz")
        points[path], people[path] = spots + 1.0, f"sub-{seed}"
    torn = tmp_path / "sub-9_swi.nii.gz"
    torn.write_bytes(b"")
    points[torn], people[torn] = np.ones((1, 3)), "sub-9"
    verdict = find(points, people)
    assert (verdict.name, verdict.points) == ("voxel1", 36)
    assert len(verdict.unread) == 1 and "0 bytes" in verdict.unread[0]
    stated = find(points, people, "ras")
    assert (stated.name, stated.fits, stated.better) == ("ras", False, "voxel1")
    assert "the coordinates are voxel1, not ras" in stated.sentence
    assert find({torn: np.ones((1, 3))}, people).name is None
    with pytest.raises(CMBurdenError, match="'mni' are unknown; choose from auto, ras"):
        find(points, people, "mni")
