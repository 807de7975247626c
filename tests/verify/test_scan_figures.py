"""What a scan's page shows lies where the lesion is, whatever the grid."""

import base64
import gzip
import json

import nibabel as nib
import numpy as np
from PIL import Image

from cmburden.verify import planes as lesion_planes
from cmburden.verify import viewer
from cmburden.verify.planes import TILE

OBLIQUE = nib.affines.from_matvec(
    np.array([[0.8, -0.1, 0.0], [0.1, 0.79, 0.2], [0.0, -0.15, 2.4]]), [-50, -60, -40]
)


def parts(path):
    text = path.read_text().removeprefix("cmburdenViewer(").removesuffix(");\n")
    name, _, content = text.partition(", ")
    found = {
        key: nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(value)))
        for key, value in json.loads(content).items()
    }
    return json.loads(name), found


def volume(shape=(120, 140, 40)):
    random = np.random.default_rng(0)
    data = random.normal(1, 0.05, shape).astype(np.float32)
    mask = np.zeros(shape, bool)
    mask[20:100, 20:120, 5:35] = True
    return data, mask


def test_viewer_keeps_every_voxel_where_it_was(tmp_path):
    data, mask = volume()
    lesions = np.zeros(data.shape, int)
    lesions[60, 70, 20] = 300
    regions = np.where(mask, 109, 0)
    for name in ("a.js", "b.js"):
        viewer.write(
            tmp_path / name, "sub-1_swi", viewer.Shown(data, mask, regions, lesions, OBLIQUE)
        )
    assert (tmp_path / "a.js").read_bytes() == (tmp_path / "b.js").read_bytes()
    scan_id, found = parts(tmp_path / "a.js")
    assert scan_id == "sub-1_swi"
    wanted = OBLIQUE @ [60, 70, 20, 1]
    place = np.argwhere(np.asarray(found["lesions"].dataobj) == 300)
    assert len(place) == 1
    for image in found.values():
        assert np.allclose(image.affine @ [*place[0], 1], wanted, atol=1e-4)
        assert image.shape == found["scan"].shape != data.shape
    assert abs(found["scan"].get_fdata()[tuple(place[0])] - data[60, 70, 20]) < 0.02
    assert found["regions"].get_fdata().max() == 109
    assert found["mask"].get_fdata().sum() == mask.sum()


def test_viewer_of_an_empty_mask_holds_the_whole_grid(tmp_path):
    data, mask = volume()
    nothing = np.zeros(data.shape, int)
    viewer.write(
        tmp_path / "a.js", "s", viewer.Shown(data, mask & False, nothing, nothing, OBLIQUE)
    )
    assert parts(tmp_path / "a.js")[1]["scan"].shape == data.shape


def test_each_lesion_is_a_row_with_its_dark_spot_in_the_middle(tmp_path):
    data, _ = volume()
    centres = [(40, 50, 12), (70, 90, 25)]
    grid = np.stack(np.meshgrid(*map(np.arange, data.shape), indexing="ij"), -1)
    lesions = []
    for centre in centres:
        near = (grid - centre) @ OBLIQUE[:3, :3].T
        data[(near**2).sum(-1) < 3**2] = 0.1
        x, y, z = (OBLIQUE @ [*centre, 1])[:3]
        lesions.append({"x_mm": x, "y_mm": y, "z_mm": z})
    path = tmp_path / "planes.png"
    lesion_planes.draw(data, OBLIQUE, lesions, path)
    picture = np.asarray(Image.open(path), float)
    assert picture.shape == (2 * TILE, 4 * TILE)
    for row in range(2):
        for column in range(4):
            tile = picture[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
            assert tile[TILE // 2 - 3 : TILE // 2 + 3, TILE // 2 - 3 : TILE // 2 + 3].max() < 60
            assert np.median(tile) > 120


def test_tiles_are_radiological_front_up_head_up(tmp_path):
    """A dark rod from the lesion to the person's right, another to the front, another upwards."""
    affine = nib.affines.from_matvec(np.diag([1.0, 1.0, 1.0]), [-40, -40, -40])
    data = np.ones((80, 80, 80), np.float32)
    data[40:52, 40, 40] = 0  # right
    data[40, 40:52, 40] = 0  # front
    data[40, 40, 40:52] = 0  # up
    path = tmp_path / "planes.png"
    lesion_planes.draw(data, affine, [{"x_mm": 0.0, "y_mm": 0.0, "z_mm": 0.0}], path)
    tiles = np.split(np.asarray(Image.open(path), float), 4, axis=1)
    middle, off = TILE // 2, round(8 * TILE / 30)

    def dark(tile, down, right):
        rows, columns = (slice(middle + step - 1, middle + step + 2) for step in (down, right))
        return bool(tile[rows, columns].min() < 100)

    for tile in tiles[:3]:  # right, or in the sagittal tile the front, is on the left
        assert dark(tile, 0, -off) and not dark(tile, 0, off)
        assert dark(tile, -off, 0) and not dark(tile, off, 0)


def test_a_lesion_at_the_edge_of_the_volume_is_drawn(tmp_path):
    data, _ = volume()
    x, y, z = (OBLIQUE @ [0, 0, 39, 1])[:3]
    lesion_planes.draw(data, OBLIQUE, [{"x_mm": x, "y_mm": y, "z_mm": z}], tmp_path / "a.png")
    assert (tmp_path / "a.png").exists()


def test_the_projection_is_of_the_brain_alone(tmp_path):
    """Air beside the brain in a neighbouring slice would turn the projection black."""
    affine = nib.affines.from_matvec(np.eye(3), [-40, -40, -40])
    data, mask = np.ones((80, 80, 80), np.float32), np.ones((80, 80, 80), bool)
    data[:, 44:, 41], mask[:, 44:, 41] = 0, False
    path = tmp_path / "planes.png"
    at = [{"x_mm": 0.0, "y_mm": 0.0, "z_mm": 0.0}]
    lesion_planes.draw(data, affine, at, path, mask)
    projection = np.split(np.asarray(Image.open(path), float), 4, axis=1)[3]
    assert projection.min() > 60  # half a voxel at the border
    lesion_planes.draw(data, affine, at, path)
    assert np.split(np.asarray(Image.open(path), float), 4, axis=1)[3].min() == 0
