"""From volume to candidates: positions survive every orientation; shapes are as drawn."""

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

from cmburden.detect import candidates
from cmburden.detect import stage as detect
from cmburden.detect.candidates import find_candidates, probability_map
from cmburden.detect.grid import NetworkVolume, to_network
from cmburden.detect.network import SpotNet, for_inference
from cmburden.detect.shape import Surface, measure
from cmburden.images import views
from cmburden.images.views import CHANNELS, OTHER_WAY, SHAPE, VIEW_PIXELS, view
from cmburden.verify.place import places

SPACING = np.array([0.8, 0.8, 3.0])


def scan(spacing=SPACING, shape=(70, 80, 24), turn=(0.0, 0.0, 0.0)):
    """A bright block with a mask, and its affine, tilted by ``turn`` (rad about x, y, z)."""
    volume = np.ones(shape, np.float32)
    mask = np.zeros(shape, bool)
    mask[6:-6, 6:-6, 3:-3] = True
    affine = np.eye(4)
    affine[:3, :3] = nib.eulerangles.euler2mat(*turn[::-1]) * spacing
    affine[:3, 3] = (-20.0, 11.0, 5.0)
    return volume, mask, affine


def inside_everywhere(volume, from_row=1):
    """The surface of a brain that fills ``volume``, 0.5 mm voxels, from a row of voxels on."""
    mask = np.ones(volume.shape, bool)
    mask[:from_row] = False
    return Surface(mask, np.array([0.5, 0.5, 0.5]))


def add_ball(volume, affine, centre_mm, radius, depth=0.8):
    index = np.indices(volume.shape).transpose(1, 2, 3, 0)
    mm = nib.affines.apply_affine(affine, index)
    volume[np.linalg.norm(mm - centre_mm, axis=-1) <= radius] -= depth
    return volume


@pytest.mark.parametrize("turn", [(0, 0, 0), (0.2, 0, 0), (0.1, -0.15, 0.2)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_dark_spot_is_found_where_it_is(turn, axis):
    spacing = np.roll(SPACING, axis - 2)
    shape = tuple(np.roll((70, 80, 24), axis - 2))
    volume = np.ones(shape, np.float32)
    mask = np.ones(shape, bool)
    _, _, affine = scan(turn=turn)
    affine[:3, :3] = affine[:3, :3] / SPACING * spacing
    centre = nib.affines.apply_affine(affine, np.array(shape) * [0.4, 0.55, 0.5])
    add_ball(volume, affine, centre, 2.4)
    network_volume = to_network(volume, mask, affine)
    # The darkness itself, blurred to one peak, stands in for the network's output.
    darkness = ndimage.gaussian_filter(1 - network_volume.image, (2, 2, 0.7))
    found = find_candidates(darkness, network_volume, 0.1, 10)
    assert len(found) == 1
    assert np.linalg.norm(np.array(found[0].centre_mm) - centre) < 0.8


def test_a_turned_head_has_the_turned_probability():
    torch.manual_seed(0)
    network = SpotNet(4).eval()
    network.head.bias.data.zero_()
    network.head.weight.data *= 60
    image = np.random.default_rng(0).random((24, 28, 10)).astype(np.float32)
    mask = np.ones_like(image)

    def of(*volumes):
        volume = NetworkVolume(*volumes, np.eye(4), (0.75, 0.75, 3.0))
        return probability_map(network, volume, torch.device("cpu"))

    one = of(image, mask)
    other = of(np.flip(image, (0, 1)).copy(), mask)
    assert np.ptp(one) > 0.3
    assert np.abs(np.flip(other, (0, 1)) - one).max() < 1e-6


def test_fused_batch_norms_give_the_same_probability():
    torch.manual_seed(1)
    network = SpotNet(4).train()
    image, mask = torch.rand(2, 1, 24, 28, 6)
    network(torch.stack([image, mask], 1))  # batch norms learn what they see
    volume = NetworkVolume(image[0].numpy(), mask[0].numpy(), np.eye(4), (0.75, 0.75, 3.0))
    network.eval()
    network.head.bias.data.zero_()
    network.head.weight.data *= 60
    one = probability_map(network, volume, torch.device("cpu"))
    other = probability_map(for_inference(network), volume, torch.device("cpu"))
    assert not any(isinstance(part, torch.nn.BatchNorm3d) for part in network.modules())
    assert np.ptp(one) > 0.3
    assert np.abs(other - one).max() < 1e-5


def test_pieces_of_slices_give_the_probability_of_the_whole(monkeypatch):
    """A piece overlaps the next by as many slices as the network sees on a side."""
    torch.manual_seed(0)
    network = SpotNet(4).eval()
    network.head.bias.data.zero_()
    network.head.weight.data *= 60
    image = np.random.default_rng(0).random((16, 20, 30)).astype(np.float32)
    volume = NetworkVolume(image, np.ones_like(image), np.eye(4), (0.75, 0.75, 3.0))
    whole = probability_map(network, volume, torch.device("cpu"))
    monkeypatch.setattr(candidates, "CHUNK", 10)
    assert np.abs(probability_map(network, volume, torch.device("cpu")) - whole).max() < 1e-6
    monkeypatch.setattr(candidates, "OVERLAP", 2)
    assert np.abs(probability_map(network, volume, torch.device("cpu")) - whole).max() > 1e-6


def test_network_grid_keeps_slices_and_positions():
    volume, mask, affine = scan(spacing=np.array([0.5, 0.5, 4.0]))
    network_volume = to_network(volume, mask, affine)
    assert network_volume.spacing_mm == pytest.approx((0.75, 0.75, 4.0), rel=0.02)
    inside = np.argwhere(network_volume.mask > 0)
    middle = nib.affines.apply_affine(network_volume.affine, inside.mean(0))
    expected = nib.affines.apply_affine(affine, np.argwhere(mask).mean(0))
    assert np.linalg.norm(middle - expected) < 0.3


def test_shape_of_a_ball():
    volume, _, affine = scan(spacing=np.array([0.5, 0.5, 0.5]), shape=(80, 80, 80))
    centre = nib.affines.apply_affine(affine, [40, 41, 39])
    add_ball(volume, affine, centre, 2.5)
    surface = inside_everywhere(volume)
    shape = measure(volume, surface, affine, centre + 0.4)
    assert shape.diameter_mm == pytest.approx(5.0, rel=0.03)
    assert shape.volume_mm3 == pytest.approx(4 / 3 * np.pi * 2.5**3, rel=0.05)
    assert shape.elongation == pytest.approx(1.0, abs=0.05)
    assert shape.contrast == pytest.approx(0.8, abs=0.01)
    assert shape.tubularity < 0.3
    # The background is row 0, 40 voxels from the ball's middle.
    assert shape.edge_mm == pytest.approx(20.0, abs=1.5)


def test_the_extent_ends_where_the_next_dark_thing_begins():
    """A ball of 3 mm, and 1 mm from it a wall: between them the signal stays below half."""
    volume, _, affine = scan(spacing=np.array([0.5, 0.5, 0.5]), shape=(80, 80, 80))
    volume[:] = 1.0
    offset = (np.indices(volume.shape).T - 40).T * 0.5
    ball, wall = np.linalg.norm(offset, axis=0) <= 1.5, offset[0] > 2.5
    bridge = ~(ball | wall) & (offset[0] > 0) & (np.linalg.norm(offset[1:], axis=0) <= 1.0)
    volume[bridge], volume[ball], volume[wall] = 0.5, 0.05, 0.0
    surface = inside_everywhere(volume)
    centre = nib.affines.apply_affine(affine, [40, 40, 40])
    assert measure(volume, surface, affine, centre).diameter_mm == pytest.approx(3.0, rel=0.1)
    # The wall is outside the brain, and nothing parts it: no more of it than a mask's error.
    volume[wall | bridge] = 0.05
    surface = Surface(~wall, np.full(3, 0.5))
    assert measure(volume, surface, affine, centre).diameter_mm < 6


def test_what_is_dark_in_several_points_is_one_extent():
    volume, _, affine = scan(spacing=np.array([0.5, 0.5, 2.0]), shape=(80, 80, 40))
    volume[:] = 1.0
    volume[38:44, 38:44, 20] = 0.45
    volume[[39, 42], 40, 20] = 0.0
    surface = inside_everywhere(volume)
    shape = measure(volume, surface, affine, nib.affines.apply_affine(affine, [40, 40, 20]))
    assert len(shape.voxels) == 36


def test_surroundings_are_what_lies_about_it():
    volume, _, affine = scan(spacing=np.array([0.5, 0.5, 0.5]), shape=(80, 80, 80))
    volume[:] = 1.0
    centre = nib.affines.apply_affine(affine, [40, 40, 40])
    far = np.linalg.norm((np.indices(volume.shape).T - 40) * 0.5, axis=-1).T
    volume[far < 8.0] = 1.6
    volume[far < 1.5] = 0.2
    surface = inside_everywhere(volume)
    assert measure(volume, surface, affine, centre).surroundings == pytest.approx(1.6)
    # Half of it outside the brain: what is left counts.
    surface = inside_everywhere(volume, from_row=40)
    assert measure(volume, surface, affine, centre).surroundings == pytest.approx(1.6)


def test_a_vessel_along_the_slices_is_a_line():
    volume, _, affine = scan(spacing=np.array([0.5, 0.5, 0.5]), shape=(80, 80, 80))
    volume[:, 39:42, 39:42] = 0.3
    surface = inside_everywhere(volume)
    shape = measure(volume, surface, affine, nib.affines.apply_affine(affine, [40, 40, 40]))
    assert shape.tubularity > 0.8


def test_view_shows_the_candidate_in_its_middle():
    volume, _, affine = scan()
    centre = nib.affines.apply_affine(affine, [30, 44, 12])
    add_ball(volume, affine, centre, 2.0)
    picture = view(volume, affine, centre)
    assert picture.shape == SHAPE
    dark = np.argwhere(picture[:, :, 1] < 80)
    assert np.abs(dark.mean(0) - (VIEW_PIXELS - 1) / 2).max() < 2


@pytest.mark.parametrize(("slice_mm", "near", "far"), [(0.8, 2, 4), (2.0, 1, 2), (5.0, 1, 2)])
def test_view_shows_the_slices_on_either_side(slice_mm, near, far):
    # Each slice has its own grey, so a channel says which it is of.
    levels = np.arange(1, 22) * 0.08
    volume = np.broadcast_to(levels, (60, 60, 21)).astype(np.float32)
    affine = np.diag([0.5, 0.5, slice_mm, 1.0])
    grey = view(volume, affine, nib.affines.apply_affine(affine, [30, 30, 10]))[48, 48] / 255 * 1.8
    shown = dict(zip(CHANNELS, grey, strict=True))
    span = max(1, round(5 / slice_mm))
    assert shown["slice"] == pytest.approx(levels[10], abs=0.01)
    assert shown["mean of the next slices"] == pytest.approx(levels[10], abs=0.01)
    assert shown["minimum projection"] == pytest.approx(levels[10 - span], abs=0.01)
    for name, step in (("near", near), ("far", far)):
        assert shown[f"{name} below"] == pytest.approx(levels[10 - step], abs=0.01)
        assert shown[f"{name} above"] == pytest.approx(levels[10 + step], abs=0.01)
    other = view(volume[..., ::-1], affine, nib.affines.apply_affine(affine, [30, 30, 10]))
    assert (other[48, 48] == view(volume, affine, [15, 15, 10 * slice_mm])[48, 48, OTHER_WAY]).all()
    # There is nothing below the lowest slice.
    assert view(volume, affine, [15, 15, 0])[48, 48, [3, 5]].tolist() == [0, 0]


def test_who_changes_what_views_show_raises_the_stage_s_version():
    """`detect` keeps views under its version alone: with another look and the same version, old
    and new ones would be mixed. Change this line together with ``detect.VERSION``."""
    look = (views.VIEW_MM, views.VIEW_PIXELS, views.WIDE_MM, views.PROJECTION_MM, views.BESIDE_MM)
    assert (detect.VERSION, *look, views.WHITE) == (11, 20.0, 96, 120.0, 5.0, 1.6, 1.8)
    assert len(CHANNELS) == 9


def test_view_at_the_edge_of_the_volume_is_black_outside():
    volume, _, affine = scan()
    picture = view(volume, affine, nib.affines.apply_affine(affine, [0, 0, 0]))
    assert picture[:30, :30].max() == 0


def test_nearest_region_within_ten_millimetres():
    regions = np.zeros((40, 40, 10), np.int16)
    regions[20:, :, :] = 9
    regions[:10, :, :] = 109
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    points = np.array([[30.0, 5, 3], [17.0, 5, 3], [3.0, 5, 3], [-12.0, 5, 3]])
    assert places(points, regions, affine) == [
        ("frontal", "lobar", "left"),
        ("frontal", "lobar", "left"),
        ("frontal", "lobar", "right"),
        ("unknown", "unknown", "unknown"),
    ]


def test_network_keeps_the_grid():
    network = SpotNet(8).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 2, 16, 12, 5)).shape == (1, 1, 16, 12, 5)
