"""Sensitivity for inserted lesions, counted by hand."""

import numpy as np
import pandas as pd
import pytest

from cmburden.insert import published
from cmburden.insert.estimates import (
    ALL,
    DIAMETER,
    LOWEST,
    PUBLISHED,
    UNSEEN,
    estimates,
    weights,
)
from cmburden.stats.intervals import clustered_wilson

BASE = {
    "contrast": "GRE",
    "cohort": "A",
    "manufacturer": None,
    "scanner_model": None,
    "echo_time_s": 0.02,
    "field_strength_t": 3.0,
    "slice_mm": 4.0,
    "group": "lobar",
    "visible": True,
    "before": False,
    "diameter_mm": 2.7,
    "signal_loss": 0.7,
}


def lesions(number, hit, renderer="physics", **more):
    """``number`` lesions of as many people / 2, of which ``hit`` are definite."""
    return [
        BASE
        | {
            "participant_id": f"sub-{n // 2}",
            "renderer": renderer,
            "label": "definite" if n < hit else "not proposed",
        }
        | more
        for n in range(number)
    ]


def table(*rows):
    return pd.DataFrame([row for part in rows for row in part])


def one(rows, axis, renderer, level=None, label="definite", contrast="GRE"):
    where = (rows["axis"] == axis) & (rows["renderer"] == renderer) & (rows["label"] == label)
    where &= rows["contrast"] == contrast
    if level is not None:
        where &= rows["level"] == level
    (row,) = rows[where].to_dict("records")
    return row


def test_the_share_is_that_of_visible_new_lesions():
    rows = table(
        lesions(20, 15),
        lesions(4, 4, visible=False),
        lesions(3, 3, before=True),
        lesions(12, 3, "plain"),
    )
    made = estimates(rows)
    physics = one(made, ALL, "physics")
    assert (physics["n"], physics["denominator"], physics["estimate"]) == (15, 20, 0.75)
    hit = np.array([1.0] * 15 + [0.0] * 5)
    low, high = clustered_wilson(hit, np.arange(20) // 2)
    assert (physics["ci_low"], physics["ci_high"]) == (round(low, 6), round(high, 6))
    assert one(made, UNSEEN, "physics")["denominator"] == 4
    # The lower is believed.
    assert one(made, ALL, LOWEST)["estimate"] == 0.25
    assert one(made, ALL, LOWEST)["lowest_is"] == "plain"


def test_possible_holds_definite():
    rows = table(lesions(20, 10), lesions(5, 0, label="possible"))
    made = estimates(rows)
    assert one(made, ALL, "physics", label="definite")["n"] == 10
    assert one(made, ALL, "physics", label="possible")["n"] == 15


def test_a_stratum_with_too_few_has_no_figure_and_says_how_many_are_due():
    rows = table(lesions(20, 15), lesions(7, 7, cohort="B"), lesions(12, 12, cohort="C"))
    rows.loc[rows["cohort"] == "C", "participant_id"] = "sub-1"
    made = estimates(rows)
    few = one(made, "site or cohort", "physics", "B")
    assert pd.isna(few["estimate"]) and few["due"] == 3
    assert "10 lesions of 5 participants" in few["method"]
    # Twelve lesions of one person say little of others.
    assert one(made, "site or cohort", "physics", "C")["due"] == 4


def test_contrasts_are_not_pooled():
    made = estimates(table(lesions(10, 10), lesions(10, 0, contrast="SWI")))
    assert one(made, ALL, "physics")["estimate"] == 1
    assert one(made, ALL, "physics", contrast="SWI")["estimate"] == 0


def test_a_curve_has_ranges_of_the_diameter():
    made = estimates(table(lesions(10, 2, diameter_mm=1.5), lesions(10, 9, diameter_mm=3.0)))
    assert one(made, DIAMETER, "physics", "0 to 2")["estimate"] == 0.2
    assert one(made, DIAMETER, "physics", "3 to 4")["estimate"] == 0.9


def test_sizes_are_weighted_as_published():
    """Half of the published diameters lie below 2.8 mm: small ones that are missed count more."""
    made = estimates(table(lesions(10, 0, diameter_mm=2.0), lesions(30, 30, diameter_mm=4.5)))
    assert one(made, ALL, "physics")["estimate"] == 0.75
    below = published.share_below(2.0), published.share_below(4.8)
    assert below == pytest.approx((0.1667, 0.95), abs=0.02)
    weight = weights(np.array([2.0] * 10 + [4.5] * 30))
    assert weight[:10].sum() / weight.sum() == pytest.approx(published.share_below(2.4))
    assert one(made, PUBLISHED, "physics")["estimate"] == pytest.approx(
        1 - published.share_below(2.4), abs=1e-6
    )


def test_ranges_with_few_lesions_are_joined():
    assert np.allclose(weights(np.array([3.0, 3.1])), 1)
    weight = weights(np.array([1.0, 2.9, 2.95, 3.0, 9.0]))
    assert (weight > 0).all()


def test_nothing_inserted_is_an_empty_table():
    empty = table(lesions(1, 1)).iloc[:0]
    assert len(estimates(empty)) == 0
