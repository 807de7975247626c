"""A header that does not fit its image is found; a head that is turned contradicts no header."""

import nibabel as nib
import numpy as np
import pytest

from cmburden.core.errors import ScanError
from cmburden.images.prepared import Prepared
from cmburden.register import orientation
from cmburden.register.align import to_template
from cmburden.space import template
from cmburden.space.transform import compact, moved


def scan(order=(0, 1, 2), flips=(), pitch: float = 0.0) -> Prepared:
    """The template as a GRE at 2 mm whose voxels are in another order than its header says."""
    tissues, affine = template.tissues(2.0)
    data = tissues @ np.array([1.05, 0.95, 1.4])
    mask = tissues.sum(-1) > 0.5
    turn = nib.affines.from_matvec(nib.eulerangles.euler2mat(x=np.deg2rad(pitch)))
    data, mask = (np.flip(part.transpose(order), flips) for part in (data, mask))
    return Prepared(
        np.ascontiguousarray(data, np.float32), np.ascontiguousarray(mask), turn @ affine
    )


def test_the_header_of_the_template_fits():
    fit, doubt = orientation.check(scan())
    assert doubt is None
    assert np.array_equal(fit.turn, np.eye(3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "flips", "words"),
    [
        ((1, 0, 2), (0,), "left or right where it says anterior"),
        ((0, 1, 2), (2,), "inferior where it says superior"),
    ],
    ids=["90 degrees in plane", "upside down"],
)
def test_a_header_that_does_not_fit_is_named_with_what_fits(order, flips, words):
    with pytest.raises(ScanError) as caught:
        orientation.check(scan(order, flips))
    assert caught.value.reason == "orientation" and caught.value.excluded
    assert words in str(caught.value)


@pytest.mark.slow
def test_a_head_that_is_turned_far_is_registered_and_not_refused():
    """45 degrees between chin and chest: registration from the header alone may go astray."""
    prepared = scan(pitch=-45)
    fit, doubt = orientation.check(prepared)
    assert doubt is None
    volume, mask, affine = prepared.volume, prepared.mask, prepared.affine
    turned = moved(affine, fit.start)
    second = to_template(volume, mask, turned, False, fit.linear)
    transform = compact(fit.start, second, mask, affine)
    voxels = np.array([[50, 60, 45], [30, 70, 50], [70, 40, 40]])
    expected = nib.affines.apply_affine(template.tissues(2.0)[1], voxels)
    at = transform(nib.affines.apply_affine(affine, voxels))
    assert np.linalg.norm(at - expected, axis=1).max() < 2


def test_close_hypotheses_are_said_and_not_decided(monkeypatch):
    """The fit of each orientation is given: what is near the header's is a doubt, no error."""

    def fit(data, affine, turn):
        value = 0.80 if np.array_equal(turn, np.eye(3)) else 0.81 if turn[1, 1] == -1 else 0.5
        return orientation.Fit(turn, value, None, None, turn)

    monkeypatch.setattr(orientation, "_fit", fit)
    near, doubt = orientation.check(scan())
    assert np.array_equal(near.turn, np.eye(3))
    assert doubt.startswith("Its orientation is in doubt")
    assert "0.80 as its header says, and of 0.81 with" in doubt
