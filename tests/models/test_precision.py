"""One precision: single by default everywhere; what differs where a user prefers speed."""

import numpy as np
import pytest
import torch

from cmburden.core import config
from cmburden.core.errors import CMBurdenError
from cmburden.core.tables import CANDIDATES
from cmburden.detect.candidates import OnDevice
from cmburden.detect.network import SpotNet
from cmburden.detect.stage import search_and_describe
from cmburden.models import precision
from cmburden.models.precision import FAST, SINGLE, calculating
from cmburden.run.plan import Plan

CPU = torch.device("cpu")


def rows_of(how: str) -> list[dict]:
    """Rows of a small scan's candidates, by a network of random weights."""
    rng = np.random.default_rng(0)
    shape = (60, 64, 14)
    volume = (1 + 0.3 * rng.normal(size=shape)).astype(np.float32)
    mask = np.zeros(shape, bool)
    mask[4:-4, 4:-4, 2:-2] = True
    torch.manual_seed(0)
    network = SpotNet(4).eval()
    network.head.weight.data *= 40
    network.head.bias.data.zero_()
    affine = np.diag([0.75, 0.75, 3.0, 1.0])
    answer = OnDevice(network, CPU, how).answer
    search = search_and_describe(answer, volume, mask, affine, minimum=0.3, maximum_number=30)
    return search.rows


@pytest.mark.slow
def test_two_precisions_differ_in_scores_and_places(monkeypatch):
    """Half precision moves scores by thousandths and adds or loses candidates; shapes follow."""
    monkeypatch.setattr(precision, "half_of", lambda device: torch.bfloat16)
    single, fast = rows_of(SINGLE), rows_of(FAST)
    assert single == rows_of(SINGLE) and len(single) == 30
    at = {(row["x_mm"], row["y_mm"], row["z_mm"]): row for row in fast}
    same = [row for row in single if (row["x_mm"], row["y_mm"], row["z_mm"]) in at]
    assert len(same) < len(single)  # centres are means over scores: some move by micrometres
    nearest = [
        min(fast, key=lambda b, a=a: sum((a[k] - b[k]) ** 2 for k in ("x_mm", "y_mm", "z_mm")))
        for a in single
    ]
    pairs = [
        (a, b)
        for a, b in zip(single, nearest, strict=True)
        if max(abs(a[k] - b[k]) for k in ("x_mm", "y_mm", "z_mm")) < 0.1
    ]
    differ = {name for a, b in pairs for name in a if a[name] != b[name]}
    assert "p_cnn" in differ and differ <= set(CANDIDATES.names)
    assert len(pairs) >= 0.8 * len(single)
    assert 1e-5 < max(abs(a["p_cnn"] - b["p_cnn"]) for a, b in pairs) < 0.05
    # What is measured on the scan itself at the same darkest voxel stays.
    assert np.mean([a["volume_mm3"] == b["volume_mm3"] for a, b in pairs]) > 0.8


def test_without_fast_half_precision_both_are_the_same(monkeypatch):
    monkeypatch.setattr(precision, "half_of", lambda device: None)
    assert rows_of(SINGLE) == rows_of(FAST)


def test_tensor_float_is_off_in_single_precision_and_as_before_afterwards():
    before = torch.backends.cudnn.allow_tf32
    for how, allowed in ((SINGLE, False), (FAST, True)):
        with calculating(how, CPU):
            assert torch.backends.cudnn.allow_tf32 is allowed
            assert torch.backends.cuda.matmul.allow_tf32 is allowed
        assert torch.backends.cudnn.allow_tf32 is before


def test_an_unknown_precision_is_refused():
    with pytest.raises(CMBurdenError, match="use single or fast"), calculating("half", CPU):
        pass
    with pytest.raises(CMBurdenError, match="precision"):
        config.load({"precision": "half"})


def test_the_precision_is_a_parameter_of_detect_and_verify_alone(tmp_path):
    def parameters(how):
        plan = Plan(config.load({"precision": how, "output_dir": str(tmp_path)}))
        return {
            stage: plan._stage(stage) for stage in ("preprocess", "register", "detect", "verify")
        }

    single, fast = parameters(SINGLE), parameters(FAST)
    assert {stage for stage in single if single[stage] != fast[stage]} == {"detect", "verify"}
