"""Geometry over orientations: each function against its formula or a solid with a known answer."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.affines import apply_affine, voxel_sizes
from scipy.spatial.transform import Rotation

from cmburden.images import geometry

AXES = st.sampled_from(["RAS", "LAS", "LPS", "PSR", "IRP", "oblique"])
SIZES = st.tuples(*[st.sampled_from([0.45, 0.5, 0.9, 1.0, 2.0, 3.1, 5.0])] * 3)
SHAPES = st.tuples(*[st.integers(2, 12)] * 3)


@st.composite
def affines(draw) -> np.ndarray:
    """Voxel to RAS mm: axes of one of the orientations, or tilted by up to 30 degrees."""
    axes, sizes = draw(AXES), draw(SIZES)
    if axes == "oblique":
        angles = draw(st.tuples(*[st.floats(-30, 30)] * 3))
        turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    else:
        to_ras = nib.orientations.axcodes2ornt(axes)
        turn = nib.orientations.inv_ornt_aff(to_ras, (1, 1, 1))[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array(sizes)
    affine[:3, 3] = draw(st.tuples(*[st.floats(-100, 100)] * 3))
    return affine


@st.composite
def masks(draw, shapes=SHAPES) -> np.ndarray:
    shape = draw(shapes)
    seed, share = draw(st.integers(0, 10**6)), draw(st.sampled_from([0.02, 0.2, 0.6]))
    mask = np.random.default_rng(seed).random(shape) < share
    mask[tuple(length // 2 for length in shape)] = True
    return mask


# --- axes and affines ---


@given(affine=affines())
def test_nibabels_voxel_sizes_are_the_lengths_of_the_columns_to_the_last_bit(affine):
    sizes = voxel_sizes(affine)
    assert np.array_equal(sizes, np.linalg.norm(affine[:3, :3], axis=0))
    assert np.array_equal(sizes, np.sqrt((affine[:3, :3] ** 2).sum(axis=0)))


@given(affine=affines(), point=st.tuples(*[st.floats(-200, 200)] * 3))
def test_nibabel_applies_an_affine_as_a_product_and_a_sum_to_the_last_bit(affine, point):
    assert np.array_equal(
        apply_affine(affine, point), affine[:3, :3] @ np.array(point) + affine[:3, 3]
    )


@given(affine=affines())
def test_the_slice_axis_has_the_largest_voxel_size_and_is_the_last_of_equals(affine):
    axis = geometry.slice_axis(affine)
    sizes = voxel_sizes(affine)
    assert all(size < sizes[axis] + 0.001 for size in sizes)
    assert all(size < sizes[axis] - 0.001 for size in sizes[axis + 1 :])
    order = geometry.slices_last(affine)
    assert order[2] == axis and order[0] < order[1]
    assert sorted(order) == [0, 1, 2]


def test_sizes_that_differ_by_rounding_are_equal():
    # A header of isotropic 0.9 mm in single precision: the slice axis is z, not the largest.
    assert geometry.slice_axis(np.diag([0.90000004, 0.9, 0.89999998, 1])) == 2


# --- boxes ---


@given(mask=masks(), margins=st.tuples(*[st.integers(0, 4)] * 3))
def test_a_box_holds_the_mask_its_margin_and_no_more(mask, margins):
    where = np.argwhere(mask)
    low = np.maximum(where.min(0) - margins, 0)
    high = np.minimum(where.max(0) + 1 + margins, mask.shape)
    assert geometry.box(mask, margins) == tuple(
        slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True)
    )


def test_an_empty_mask_has_no_box():
    with pytest.raises(ValueError, match="the mask is empty"):
        geometry.box(np.zeros((3, 4, 5), bool))


@given(affine=affines(), mask=masks(), margin=st.integers(0, 3))
def test_a_voxel_of_a_box_stays_where_it_was(affine, mask, margin):
    box = geometry.box(mask, margin)
    inside = np.argwhere(mask[box])
    assert np.allclose(
        apply_affine(geometry.cropped(affine, box), inside), apply_affine(affine, np.argwhere(mask))
    )


# --- block means ---


@given(
    shape=SHAPES,
    factors=st.tuples(*[st.integers(1, 4)] * 3),
    kind=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 10**6),
)
def test_block_means_are_those_of_a_reshaped_array_to_the_last_bit(shape, factors, kind, seed):
    data = np.random.default_rng(seed).random(shape).astype(kind)
    counts = [length // factor for length, factor in zip(shape, factors, strict=True)]
    whole = data[
        tuple(slice(0, count * factor) for count, factor in zip(counts, factors, strict=True))
    ]
    blocks = [length for pair in zip(counts, factors, strict=True) for length in pair]
    means = geometry.block_means(data, factors)
    assert means.dtype == kind
    assert np.array_equal(means, whole.reshape(blocks).mean((1, 3, 5)))


@given(
    affine=affines(),
    factors=st.tuples(*[st.integers(1, 6)] * 3),
    start=st.tuples(*[st.integers(0, 9)] * 3),
)
def test_a_block_lies_in_the_middle_of_its_voxels(affine, factors, start):
    blocks = geometry.affine_of_blocks(affine, factors, start)
    first = np.indices(factors).reshape(3, -1).T + start
    assert np.allclose(blocks[:3, 3], apply_affine(affine, first).mean(0))
    assert np.allclose(voxel_sizes(blocks), voxel_sizes(affine) * factors)
    second = first + np.array([0, 0, factors[2]])
    assert np.allclose(apply_affine(blocks, [0, 0, 1]), apply_affine(affine, second).mean(0))


# --- parts and roundness ---


def parts_of(mask: np.ndarray) -> list[set[tuple[int, ...]]]:
    """Parts connected by faces, by flooding from voxel to voxel in the order of their indices."""
    left, parts = {tuple(int(i) for i in voxel) for voxel in np.argwhere(mask)}, []
    steps = np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)])
    for voxel in sorted(left):
        if voxel not in left:
            continue
        part, edge = set(), {voxel}
        while edge:
            part |= edge
            left -= edge
            edge = {tuple(int(i) for i in np.add(v, step)) for v in edge for step in steps} & left
        parts.append(part)
    return parts


@given(mask=masks(st.tuples(*[st.integers(2, 7)] * 3)))
def test_the_largest_part_is_that_of_a_flood(mask):
    largest = {tuple(int(i) for i in v) for v in np.argwhere(geometry.largest_part(mask))}
    assert largest == max(parts_of(mask), key=len)


def test_the_largest_part_of_an_empty_mask_is_empty():
    assert not geometry.largest_part(np.zeros((3, 4, 5), bool)).any()


@given(mask=masks(), affine=affines())
def test_sphericity_is_the_balls_surface_over_the_masks(mask, affine):
    sizes = voxel_sizes(affine)
    voxel = float(np.prod(sizes))
    padded = np.pad(mask, 1).astype(int)
    surface = sum(
        np.count_nonzero(np.diff(padded, axis=axis)) * voxel / sizes[axis] for axis in range(3)
    )
    ball = np.pi ** (1 / 3) * (6 * mask.sum() * voxel) ** (2 / 3)
    assert geometry.sphericity(mask, sizes) == pytest.approx(ball / (surface / 1.5), rel=1e-12)


@given(mask=masks(), sizes=SIZES, axes=st.permutations(range(3)), flip=st.booleans())
def test_sphericity_does_not_depend_on_the_order_of_axes(mask, sizes, axes, flip):
    turned = mask.transpose(axes)[:: -1 if flip else 1]
    assert geometry.sphericity(turned, np.array(sizes)[list(axes)]) == pytest.approx(
        geometry.sphericity(mask, sizes)
    )


def test_sphericity_of_solids():
    # A cube's surface is 6 a^2, its ball's pi^(1/3) (6 a^3)^(2/3): 1.5 * 0.806.
    assert geometry.sphericity(np.ones((8, 8, 8), bool), (2, 2, 2)) == pytest.approx(
        1.209, abs=5e-4
    )
    # A rod of 1 x 1 x 16: 66 faces; volume 16.
    assert geometry.sphericity(np.ones((1, 1, 16), bool), (1, 1, 1)) == pytest.approx(
        1.5 * (36 * np.pi * 16**2) ** (1 / 3) / 66
    )


@pytest.mark.parametrize("zooms", [(1.0, 1.0, 1.0), (0.5, 1.0, 2.0)])
def test_sphericity_of_a_box_is_the_analytic_one(zooms):
    """Its faces are exact, so the 1.5 for smooth surfaces makes a cube rounder than a ball."""
    cube = np.zeros((50, 40, 30), bool)
    cube[tuple(slice(4, 4 + round(20 / zoom)) for zoom in zooms)] = True
    expected = np.pi ** (1 / 3) * (6 * 20**3) ** (2 / 3) / (6 * 20**2 / 1.5)
    assert geometry.sphericity(cube, zooms) == pytest.approx(expected)


def test_sphericity_falls_with_parts_and_holes():
    points = np.indices((61, 61, 61)) - 30
    ball = np.linalg.norm(points, axis=0) < 25
    whole = geometry.sphericity(ball, (1, 1, 1))
    assert whole == pytest.approx(1.0, abs=0.03)
    # Two equal balls have 2^(-1/3) of the sphericity of one.
    two = np.concatenate([ball, ball])
    assert geometry.sphericity(two, (1, 1, 1)) == pytest.approx(whole * 2 ** (-1 / 3), abs=0.01)
    hollow = ball & ~(np.linalg.norm(points, axis=0) < 20)
    assert geometry.sphericity(hollow, (1, 1, 1)) < 0.5
