"""Lesions linked over sessions, and one that is missing looked up: cases with known answers."""

import itertools

import numpy as np
import pytest

from cmburden.follow.tracks import DEFAULT_SENSITIVITY, Nearby, Rates, link, look
from cmburden.stats.matching import assign

ONE = np.eye(3)
RATES = Rates(sensitivity=0.9, base_rate=0.02)


def points(*rows) -> np.ndarray:
    return np.array(rows, float).reshape(-1, 3)


def test_a_known_shift_links_every_lesion_with_itself():
    rng = np.random.default_rng(0)
    first = rng.uniform(-60, 60, (12, 3))
    order = rng.permutation(12)
    tracks = link([first, first[order] + [1.0, -1.5, 2.0]], [ONE, ONE], 5.0)
    assert len(tracks) == 12
    assert all(order[track[1]] == track[0] for track in tracks)


def test_the_limit_is_the_limit():
    near = link([points([0, 0, 0]), points([0, 0, 4.999])], [ONE, ONE], 5.0)
    far = link([points([0, 0, 0]), points([0, 0, 5.001])], [ONE, ONE], 5.0)
    assert near == [{0: 0, 1: 0}]
    assert far == [{0: 0}, {1: 0}]


def test_one_to_one_and_as_many_as_possible():
    # The nearest pair alone (2 with 3) would leave 0 and 7 without any.
    tracks = link([points([0, 0, 0], [3, 0, 0]), points([2, 0, 0], [7, 0, 0])], [ONE, ONE], 5.0)
    assert tracks == [{0: 0, 1: 0}, {0: 1, 1: 1}]


def test_of_a_tie_one_is_linked_and_the_answer_stays():
    two = [points([0, 0, 0]), points([2, 0, 0], [-2, 0, 0])]
    found = link(two, [ONE, ONE], 5.0)
    assert sorted(map(len, found)) == [1, 2]
    assert found == link(two, [ONE, ONE], 5.0)


def test_slices_tell_less_of_a_place_than_pixels_do():
    # Slices 5 mm thick: 3 mm across them is nearer than 2 mm in the plane.
    thick = np.diag([1.0, 1.0, 5**2 / 12 + 1])
    tracks = link([points([0, 0, 0]), points([2, 0, 0], [0, 0, 2.4])], [thick, thick], 5.0)
    assert {0: 0, 1: 1} in tracks


def test_sessions_in_any_order_give_the_same_tracks():
    rng = np.random.default_rng(1)
    base = rng.uniform(-40, 40, (8, 3))
    sessions = [
        base[keep] + rng.normal(0, 0.7, (len(keep), 3))
        for keep in ([0, 1, 2, 3, 4, 5], [0, 2, 3, 6], [1, 2, 3, 4, 6, 7])
    ]

    def partition(order):
        tracks = link([sessions[k] for k in order], [ONE] * 3, 5.0)
        return {frozenset((order[k], row) for k, row in track.items()) for track in tracks}

    wanted = partition((0, 1, 2))
    assert all(partition(order) == wanted for order in itertools.permutations(range(3)))
    assert len(wanted) == 8


def test_a_lesion_not_found_in_between_is_one_track():
    there, away = points([0, 0, 0]), points()
    assert link([there, away, there + 1.0], [ONE] * 3, 5.0) == [{0: 0, 2: 0}]


def test_a_track_holds_one_lesion_of_a_session():
    # A chain 0 - 4 - 8: the ends are of one session, so they are not one lesion.
    first, second = points([0, 0, 0], [8, 0, 0]), points([4, 0, 0])
    tracks = link([first, second, second + 0.1], [ONE] * 3, 5.0)
    lesions = sorted(pair for track in tracks for pair in track.items())
    assert lesions == [(0, 0), (0, 1), (1, 0), (2, 0)]
    assert {1, 2} <= set(next(track for track in tracks if len(track) == 3))


def test_nothing_links_with_nothing():
    assert link([points(), points()], [ONE, ONE], 5.0) == []
    assert assign(np.zeros((0, 3)), np.zeros((0, 3), bool)) == []


# --- missed or not there ---


def looked(at_mm: float, score: float, seen: float = 0.95, prior: float = 0.5, density=1e-4):
    rows = points([at_mm, 0, 0]) if np.isfinite(at_mm) else points()
    scores = np.array([score] if np.isfinite(at_mm) else [])
    return look(np.zeros(3), ONE, seen, rows, scores, density, RATES, prior=prior, max_mm=5.0)


def test_without_a_candidate_it_is_what_the_detector_misses():
    # Odds 1 - s to 1: 0.1 / 1.1.
    assert looked(np.inf, np.nan).probability == pytest.approx(0.1 / 1.1)
    assert looked(np.inf, np.nan).nearby is None
    assert looked(np.inf, np.nan, prior=0.8).probability == pytest.approx(0.4 / 1.4)


def test_bayes_by_hand():
    # At the place itself: normal density (2 pi)^-1.5, features' ratio of p 0.3 over base rate 0.02.
    features = (0.3 / 0.7) / (0.02 / 0.98)
    ratio = 0.1 + 0.9 * (2 * np.pi) ** -1.5 / 1e-4 * (0.95 * features + 0.05)
    found = looked(0.0, 0.3)
    assert found.probability == pytest.approx(ratio / (1 + ratio))
    assert found.nearby == Nearby(row=0, distance_mm=0.0)


def test_it_rises_with_the_score_and_falls_with_the_distance():
    by_score = [looked(3.0, p).probability for p in (0.001, 0.01, 0.1, 0.5)]
    by_distance = [looked(d, 0.02).probability for d in (0.0, 1.0, 2.0, 4.0, 4.9)]
    assert by_score == sorted(by_score) and by_score[0] < by_score[-1]
    assert by_distance == sorted(by_distance, reverse=True)


def test_a_candidate_beyond_the_limit_says_nothing():
    assert looked(5.01, 0.9).probability == looked(np.inf, np.nan).probability


def test_chance_candidates_say_less_where_there_are_many():
    assert looked(3.0, 0.02, density=1e-3).probability < looked(3.0, 0.02).probability


def test_a_mimic_is_there_again_with_a_mimics_score():
    # Of a lesion that is likely a mimic, a low score at the place is no argument against it.
    assert looked(1.0, 0.0005, seen=0.2).probability > looked(1.0, 0.0005, seen=1.0).probability


def test_a_perfect_detector_misses_nothing():
    found = look(
        np.zeros(3), ONE, 1.0, points(), np.array([]), 1e-4, Rates(1.0, 0.5), prior=0.9, max_mm=5.0
    )
    assert found.probability == 0.0


def test_a_contract_without_figures_has_the_defaults():
    assert Rates.of_contract({}).sensitivity == DEFAULT_SENSITIVITY
