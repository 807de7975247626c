"""Where lesions are inserted, and which of them count as hits."""

import numpy as np
import pandas as pd
import pytest

from cmburden.insert import hits, places, published
from cmburden.insert.places import Room


def room(points, part="thalamus", label=4):
    points = np.asarray(points, dtype=float).reshape(-1, 3)
    return Room(points, np.full(len(points), part, object), np.full(len(points), label), 0.0)


def test_parts_of_the_brain_follow_region_and_tissue():
    values = np.array([9, 9, 9, 3, 5, 2, 1, 8, 0])
    tissues = np.array(
        [[0.8, 0.1, 0.1], [0.1, 0.9, 0], [0.1, 0.1, 0.8], *[[0.5, 0.5, 0]] * 6], dtype=float
    )
    assert places.parts(values, tissues).tolist() == [
        "cortex and grey-white junction",
        "subcortical white matter",
        "",  # fluid
        "basal ganglia",
        "basal ganglia",  # the internal capsule
        "cerebellum",
        "brainstem",
        "",  # deep white matter: 2 % are not placed
        "",
    ]


def test_parts_are_drawn_as_often_as_published():
    rng = np.random.default_rng(0)
    names = [*published.PLACES]
    points = np.stack([np.arange(len(names)) * 100.0, *[np.zeros(len(names))] * 2], axis=1)
    free = Room(points, np.array(names, object), np.full(len(names), 9), 0.0)
    drawn = [places.draw(free, 1, rng)[0].part for _ in range(800)]
    shares = np.array([share for _, share in published.PLACES.values()])
    for name, share in zip(names, shares / shares.sum(), strict=True):
        assert drawn.count(name) / 800 == pytest.approx(share, abs=0.06)


def test_no_two_insertions_are_near_each_other_and_a_full_brain_has_none():
    grid = np.stack(np.meshgrid(*[np.arange(0, 60, 5.0)] * 3), -1).reshape(-1, 3)
    rng = np.random.default_rng(1)
    for _ in range(20):
        at = np.array([place.at for place in places.draw(room(grid), 3, rng)])
        apart = np.linalg.norm(at[:, None] - at[None], axis=2)[np.triu_indices(3, 1)]
        assert apart.min() >= places.INSERTED_MM
    assert len(places.draw(room(grid[:1]), 3, rng)) == 1
    assert places.draw(room([]), 3, rng) == []


def test_places_keep_away_from_what_was_there():
    points = np.array([[0.0, 0, 0], [4.4, 0, 0], [4.6, 0, 0]])
    assert places._away(points, np.zeros((1, 3)), 4.5).tolist() == [False, False, True]
    assert places._away(points, np.zeros((0, 3)), 4.5).all()


# --- hits ---


def candidates(*rows):
    columns = ["x_mm", "y_mm", "z_mm", "label", "p_cnn", "probability"]
    return pd.DataFrame([(x, 0.0, 0.0, label, p, p) for x, label, p in rows], columns=columns)


def inserted(*places_mm, diameter=3.0):
    return [{"x_mm": x, "y_mm": 0.0, "z_mm": 0.0, "diameter_mm": diameter} for x in places_mm]


def test_a_lesion_has_the_label_of_its_candidate():
    now = candidates((0.5, "definite", 0.9), (50, "possible", 0.3), (98, "rejected", 0.01))
    rows = hits.with_hits(inserted(0, 50, 100, 150), now, candidates())
    assert [row["label"] for row in rows] == ["definite", "possible", "rejected", "not proposed"]
    assert [row["probability"] for row in rows] == [0.9, 0.3, 0.01, None]


def test_a_candidate_is_the_hit_of_one_lesion():
    rows = hits.with_hits(inserted(0, 2), candidates((1, "definite", 0.9)), candidates())
    assert sorted(row["label"] for row in rows) == ["definite", "not proposed"]


def test_a_definite_candidate_counts_before_a_nearer_rejected_one():
    now = candidates((0.0, "rejected", 0.01), (2.5, "definite", 0.9))
    assert hits.with_hits(inserted(0), now, candidates())[0]["label"] == "definite"


def test_what_was_found_before_is_no_hit():
    now = candidates((0, "definite", 0.9), (40, "definite", 0.9))
    before = candidates((1, "possible", 0.4), (40, "rejected", 0.0))
    rows = hits.with_hits(inserted(0, 40), now, before)
    assert [row["before"] for row in rows] == [True, False]


def test_the_rest_of_the_scan_is_compared():
    before = candidates((0, "definite", 0.9), (50, "definite", 0.9), (90, "rejected", 0.1))
    now = candidates((0.2, "definite", 0.9), (90, "definite", 0.5), (140, "definite", 0.9))
    assert hits.steadiness(inserted(140), now, before) == {"before": 2, "again": 1, "other": 1}
