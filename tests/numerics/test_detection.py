"""Matching and figures of merit: worked out by hand, against every possible matching, and what must always hold."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwr_hpc.numerics.detection import (
    Scored,
    average_precision,
    best_f1_threshold,
    curve,
    score,
    supported_threshold,
)
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.numerics.pairing import match

EMPTY = np.empty((0, 2))

places = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=5).map(
    lambda found: np.array(found, float).reshape(-1, 2)
)


def best_by_trying(truth: np.ndarray, picks: np.ndarray, tolerance: float) -> tuple[int, float]:
    """Most pairs, and their smallest sum of distances, by trying every assignment."""
    best = (0, 0.0)
    rows, columns = (truth, picks) if len(truth) <= len(picks) else (picks, truth)
    for chosen in itertools.permutations(range(len(columns)), len(rows)):
        distances = [math.dist(rows[i], columns[j]) for i, j in enumerate(chosen)]
        allowed = [distance for distance in distances if distance <= tolerance]
        best = max(best, (len(allowed), -sum(allowed)))
    return best[0], -best[1]


@settings(max_examples=300, deadline=None)
@given(truth=places, picks=places, tolerance=st.sampled_from([0.0, 1.0, 1.5, 2.0, 4.0]))
def test_match_is_the_best_of_all(truth: np.ndarray, picks: np.ndarray, tolerance: float) -> None:
    pairs = match(truth, picks, tolerance)
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    distances = [math.dist(truth[i], picks[j]) for i, j in pairs]
    assert all(distance <= tolerance for distance in distances)
    number, total = best_by_trying(truth, picks, tolerance)
    assert len(pairs) == number
    assert sum(distances) == pytest.approx(total)


def test_most_pairs_come_before_the_nearest() -> None:
    # The pick at 1 is nearest to the truth at 1, but then the pick at 0 would have none.
    truth, picks = np.array([[0.0, 1.0], [0.0, 3.0]]), np.array([[0.0, 1.0], [0.0, -1.0]])
    assert match(truth, picks, 2.0).tolist() == [[0, 1], [1, 0]]
    assert match(truth, picks, 1.9).tolist() == [[0, 0]]


def test_a_whole_number_as_tolerance() -> None:
    truth, picks = np.array([[0.0, 0.0], [0.0, 1.9]]), np.array([[0.0, 1.2], [0.0, 0.9]])
    assert match(truth, picks, 2).tolist() == match(truth, picks, 2.0).tolist() == [[0, 1], [1, 0]]


def test_thousands_of_positions() -> None:
    truth = keyed_generator(0, "test").uniform(0, 1000, (3000, 2))
    picks = truth[::-1] + 0.1
    pairs = match(truth, picks, 0.2)
    assert (pairs == np.column_stack([np.arange(3000), np.arange(3000)[::-1]])).mean() > 0.99
    assert len(pairs) == 3000


def test_figures_by_hand() -> None:
    # Right, wrong, right in the order of scores; one truth of four is missed, and one is of another micrograph.
    first = Scored(
        np.array([[0.0, 0.0], [0.0, 10.0], [0.0, 20.0]]),
        np.array([[0.0, 1.0], [0.0, 50.0], [2.0, 10.0]]),
        np.array([0.9, 0.8, 0.7]),
    )
    second = Scored(np.array([[5.0, 5.0]]), EMPTY, np.empty(0))
    found = curve([first, second], 2.0)
    assert found.thresholds.tolist() == [0.9, 0.8, 0.7]
    assert found.matched.tolist() == [1, 1, 2]
    assert found.picks.tolist() == [1, 2, 3]
    assert found.average_precision() == pytest.approx(0.25 * 1 + 0.25 * 2 / 3)
    figures = score([first, second], 2.0)
    assert (figures.truths, figures.picks, figures.matched) == (4, 3, 2)
    assert figures.precision == pytest.approx(2 / 3)
    assert figures.recall == pytest.approx(1 / 2)
    assert figures.f1 == pytest.approx(4 / 7)
    assert figures.position_error == pytest.approx(math.sqrt((1 + 4) / 2))
    threshold, f1 = best_f1_threshold([first, second], 2.0)
    assert (threshold, f1) == (pytest.approx(0.35), pytest.approx(4 / 7))
    assert score([first, second], 2.0, 0.75).picks == 2


def test_a_second_pick_of_one_particle_is_wrong() -> None:
    twice = Scored(np.array([[0.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 1.0]]), np.array([0.5, 0.9]))
    figures = score([twice], 2.0)
    assert (figures.precision, figures.recall, figures.average_precision) == (0.5, 1.0, 1.0)
    threshold, f1 = best_f1_threshold([twice], 2.0)
    assert (threshold, f1) == (pytest.approx(0.7), 1.0)
    assert score([twice], 2.0, threshold).f1 == 1.0


def test_equal_scores_pass_together() -> None:
    equal = Scored(np.array([[0.0, 0.0]]), np.array([[0.0, 9.0], [0.0, 0.0]]), np.array([0.5, 0.5]))
    assert average_precision([equal], 1.0) == 0.5
    swapped = Scored(equal.truth, equal.picks[::-1], equal.scores)
    assert average_precision([swapped], 1.0) == 0.5


@pytest.mark.parametrize(
    ("truth", "picks", "expected"),
    [(0, 0, (1.0, 1.0, 1.0, 1.0)), (1, 0, (1.0, 0.0, 0.0, 0.0)), (0, 1, (0.0, 1.0, 0.0, 0.0))],
)
def test_nothing_there_or_nothing_found(truth: int, picks: int, expected: tuple[float, ...]) -> None:
    one = Scored(np.zeros((truth, 2)), np.ones((picks, 2)), np.full(picks, 0.5))
    figures = score([one], 10.0) if not (truth and picks) else None
    assert figures is not None
    assert (figures.precision, figures.recall, figures.f1, figures.average_precision) == expected
    assert figures.position_error is None
    assert best_f1_threshold([one], 10.0) == (math.inf, 0.0)


@settings(max_examples=200, deadline=None)
@given(truth=places, picks=places, tolerance=st.sampled_from([1.0, 2.0, 4.0]), seed=st.integers(0, 1000))
def test_the_curve_counts_what_match_pairs(truth: np.ndarray, picks: np.ndarray, tolerance: float, seed: int) -> None:
    scores = keyed_generator(seed, "test").integers(1, 4, len(picks)) / 4
    found = curve([Scored(truth, picks, scores)], tolerance)
    for threshold, matched, number in zip(found.thresholds, found.matched, found.picks, strict=True):
        chosen = picks[scores >= threshold]
        assert number == len(chosen)
        assert matched == len(match(truth, chosen, tolerance))
    order = keyed_generator(seed, "order").permutation(len(picks))
    again = curve([Scored(truth[::-1], picks[order], scores[order])], tolerance)
    assert again.matched.tolist() == found.matched.tolist()
    assert 0 <= found.average_precision() <= 1


def spread(scores: list[float], right: list[bool]) -> Scored:
    """Detections far apart from one another, each right or wrong."""
    picks = np.column_stack([10.0 * np.arange(len(scores)), np.zeros(len(scores))])
    return Scored(picks[np.array(right, bool)], picks, np.array(scores))


def test_where_a_held_out_micrograph_cannot_tell_the_taught_ones_do() -> None:
    """Held out, 4 particles: F1 is 4/6 above 0.75, 6/8 above 0.55, 8/9 above 0.45, of which the error is 0.16."""
    held_out = spread([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [True, True, False, True, True, False])
    taught = spread([0.95, 0.92, 0.88, 0.86, 0.3, 0.2], [True] * 4 + [False] * 2)
    assert best_f1_threshold([held_out], 1.0) == (pytest.approx(0.45), pytest.approx(8 / 9))
    assert supported_threshold([held_out], [], 1.0) == pytest.approx(0.45)
    assert supported_threshold([held_out], [taught], 1.0) == pytest.approx(0.45)
    many = [spread([0.65, 0.55, 0.5], [False] * 3)] * 5 + [taught] * 5
    assert supported_threshold([held_out], many, 1.0) == pytest.approx((0.6 + 0.55) / 2)
    # With a hundred times as many particles 6/8 is no longer what 8/9 may be by chance.
    assert supported_threshold([held_out] * 100, many, 1.0) == pytest.approx(0.45)
    assert supported_threshold([spread([0.5], [False])], many, 1.0) == math.inf


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=20))
def test_levels_between_thresholds_tell_detections_apart_as_these_do(found: list[tuple[int, bool]]) -> None:
    one = spread([score / 10 for score, _ in found], [right for _, right in found])
    counted = curve([one], 1.0)
    assert counted.f1_above(counted.between()).tolist() == counted.f1().tolist()
    assert counted.f1_above(np.array([1.0])).tolist() == [0.0]
    for level in counted.between():
        assert score([one], 1.0, level).f1 == pytest.approx(counted.f1_above(np.array([level]))[0])
