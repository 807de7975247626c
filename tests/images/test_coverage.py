"""The share of the brain in the field of view, and what the product says of it."""

import numpy as np
import pytest
import yaml

from cmburden.core import resources
from cmburden.core.tables import QC
from cmburden.images import brain

#: Semi-axes (mm) of an ellipsoid with a brain's proportions: right-left, back-front, down-up.
_SEMI_AXES_MM = (68.0, 85.0, 72.0)


def ellipsoid(cut: int | None, to: float) -> tuple[np.ndarray, np.ndarray]:
    """A mask in a grid of 2 mm that ends, along axis ``cut``, at the share ``to`` of the brain."""
    grid = [np.arange(-100, 101, 2.0) for _ in range(3)]
    if cut is not None:
        last = _SEMI_AXES_MM[cut] * (2 * to - 1)
        grid[cut] = grid[cut][grid[cut] <= last]
    x, y, z = np.meshgrid(*grid, indexing="ij")
    a, b, c = _SEMI_AXES_MM
    return (x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2 < 1, np.diag([2.0, 2.0, 2.0, 1.0])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_axis_counts(axis):
    whole, affine = ellipsoid(None, 1)
    seen = tuple(slice(None) for _ in range(3))
    assert brain.coverage(whole, affine, seen) == 1
    mask, affine = ellipsoid(axis, 0.6)
    assert brain.coverage(mask, affine, seen) == pytest.approx(0.6, abs=0.08)


def test_what_is_said_of_it_names_no_single_axis():
    root = resources.root()
    templates = root / "src/cmburden/report/templates"
    schema = yaml.safe_load((root / "config/schemas/config.schema.yaml").read_text())
    sentences = [
        next(column.description for column in QC if column.name == "coverage"),
        schema["properties"]["preprocess"]["properties"]["min_coverage"]["description"],
        next(
            line
            for line in (root / "config/README.md").read_text().splitlines()
            if "`preprocess.min_coverage`" in line
        ),
        next(
            part
            for part in (templates / "methods.html.j2").read_text().split(". ")
            if "min_coverage" in part
        ),
    ]
    for said in sentences:
        assert "axis" in said or "axes" in said, said
        assert not {"height", "width", "length"} & set(said.replace("’", "'").split()), said
