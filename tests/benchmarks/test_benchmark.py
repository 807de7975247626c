"""The benchmark's volumes, counting and tables, with networks whose arithmetic is known."""

import json

import numpy as np
import pytest
import torch

from cmburden.benchmarks import one_scan as benchmark
from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.core.tables import MANIFEST
from cmburden.detect.grid import to_network
from cmburden.images import volume as images
from cmburden.images.views import SHAPE

#: Of a view.
VALUES = int(np.prod(SHAPE))
SETTINGS = {"min_probability": 0.15, "max_candidates": 3}


@pytest.fixture(scope="module")
def small():
    return benchmark.synthetic("a", (80, 90, 24), (1.0, 1.0, 3.0), (30, 35, 28), spots=5, lines=4)


def cnn(volume):
    """Has three spots, after a convolution of 2 filters of 3x3x3: 108 operations a voxel."""
    with torch.inference_mode():
        torch.nn.Conv3d(1, 2, 3, padding=1)(torch.from_numpy(volume.image)[None, None])
    answer = np.zeros(volume.image.shape, np.float32)
    x, y, z = np.array(answer.shape) // 2
    answer[x, y, [z - 3, z, z + 3]] = 0.5
    return answer


def yolo(views):
    """A layer of a view's values to 4: twice that many operations a view."""
    flat = torch.from_numpy(views).float().flatten(1)
    with torch.inference_mode():
        return torch.nn.Linear(VALUES, 4)(flat).numpy()


def test_volume_is_a_brain_in_size():
    # As `synthetic` makes it by default, but in coarser voxels.
    volume = benchmark.synthetic("b", (80, 100, 75), (2.0, 2.0, 2.0), spots=0, lines=0)
    litres = volume.mask.sum() * 8 / 1e6
    assert litres == pytest.approx(4 / 3 * np.pi * np.prod(benchmark.HALF_AXES_MM) / 1e6, rel=0.01)
    assert 1.2 < litres < 1.5
    extent = np.array(benchmark.SHAPE) * benchmark.VOXEL_MM
    assert np.all(extent > 2 * np.array(benchmark.HALF_AXES_MM))
    assert np.median(volume.image[volume.mask]) == pytest.approx(1, abs=1e-3)


def test_volumes_are_equal_by_name_and_hold_dark_spots(small):
    again = benchmark.synthetic("a", (80, 90, 24), (1.0, 1.0, 3.0), (30, 35, 28), 5, 4)
    assert np.array_equal(small.image, again.image)
    plain = benchmark.synthetic("a", (80, 90, 24), (1.0, 1.0, 3.0), (30, 35, 28), 0, 0)
    dark = (small.image < 0.65) & small.mask
    assert dark.sum() > 20 + ((plain.image < 0.65) & plain.mask).sum()
    assert small.image.dtype == np.float32


@pytest.mark.slow
def test_arithmetic_is_counted(small):
    found = benchmark.measure(small, cnn, yolo, SETTINGS)
    assert found.candidates == 3
    grid = to_network(small.image, small.mask, small.affine)
    assert found.cnn_flops == 2 * 27 * 2 * grid.image.size
    assert found.yolo_flops_per_view == 2 * VALUES * 4
    assert found.yolo_flops == 3 * found.yolo_flops_per_view
    assert set(found.seconds) == set(found.cpu_seconds) == set(benchmark.STEPS)
    assert found.brain_ml == pytest.approx(small.mask.sum() * 3 / 1000, abs=0.1)


@pytest.mark.slow
def test_a_scan_without_candidates(small):
    nothing = benchmark.measure(small, cnn, yolo, SETTINGS | {"max_candidates": 0})
    assert (nothing.candidates, nothing.yolo_flops, nothing.yolo_flops_per_view) == (0, 0, None)


def test_scans_of_a_run_are_read(small, tmp_path):
    with pytest.raises(CMBurdenError, match="no scan went through"):
        layout = Layout(tmp_path / "none")
        MANIFEST.write(layout.manifest, [])
        list(benchmark.real(layout.root, 1))
    layout = Layout(tmp_path / "run")
    rows = [
        {
            "scan_id": f"sub-{name}_T2starw",
            "cohort": "A",
            "participant_id": f"sub-{name}",
            "suffix": "T2starw",
            "contrast": "GRE",
            "path": "x.nii.gz",
            "entities": json.dumps([["sub", name]]),
            "bucket": 0,
            "content_key": "0",
        }
        for name in ("1", "2", "3")
    ]
    MANIFEST.write(layout.manifest, rows)
    for scan in benchmark.read_scans(layout.manifest, tmp_path):
        status = "failed" if scan.scan_id.startswith("sub-1") else "ok"
        record = layout.record("preprocess", scan.scan_id)
        Outcome("preprocess", scan.scan_id, status).write(record)
        images.save_volume(layout.preproc(scan), small.image, small.affine, np.float32)
        images.save_volume(layout.brain_mask(scan), small.mask, small.affine, np.uint8)
    volumes = list(benchmark.real(layout.root, 1))
    assert [volume.name for volume in volumes] == ["sub-2_T2starw"]
    assert np.allclose(volumes[0].image, small.image, atol=1e-3)
    assert np.array_equal(volumes[0].mask, small.mask)


@pytest.mark.slow
def test_command_with_the_shipped_models(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "synthetic", lambda name: small)
    threads = torch.get_num_threads()
    try:
        assert benchmark.main(["--scans", "2", "--threads", "1", "--out", str(tmp_path)]) == 0
    finally:
        torch.set_num_threads(threads)
    page = (tmp_path / "benchmark.md").read_text()
    assert page in capsys.readouterr().out
    result = json.loads((tmp_path / "benchmark.json").read_text())
    assert len(result["scans"]) == 2 and result["median"]["cnn_flops"] > 1e8
    assert "| median |" in page and "threads" in result["machine"]
