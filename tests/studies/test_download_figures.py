"""A download compared with BIDS: what is off is said, equal measures stand beside each other."""

import pandas as pd
import pytest

from cmburden.core.errors import CMBurdenError
from cmburden.studies import download_figures


def truth(path, x_mm=10.0, kind="microbleed"):
    rows = [
        {"scan_id": "a", "kind": kind, "x_mm": x_mm, "y_mm": 0.0, "z_mm": -4.0},
        {"scan_id": "b", "kind": "none"},
    ]
    pd.DataFrame(rows).to_csv(path, sep="\t", index=False, na_rep="n/a")
    return path


def test_a_place_may_be_off_by_the_tables_rounding(tmp_path):
    one, other = truth(tmp_path / "one.tsv"), truth(tmp_path / "other.tsv", 10.05)
    scans, most = download_figures.apart_mm(one, other)
    assert scans == 2 and most == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("change", "says"), [({"x_mm": 10.2}, "0.20 mm"), ({"kind": "faint"}, "lesions")]
)
def test_another_truth_is_an_error(tmp_path, change, says):
    one, other = truth(tmp_path / "one.tsv"), truth(tmp_path / "other.tsv", **change)
    with pytest.raises(CMBurdenError, match=says):
        download_figures.apart_mm(one, other)


def test_scans_are_compared_by_the_order_of_their_names():
    one = {"per_scan": [{"scan_id": "b", "n_pred": 2}, {"scan_id": "a", "n_pred": 1}]}
    assert list(download_figures.counts(one)) == [1, 2]
