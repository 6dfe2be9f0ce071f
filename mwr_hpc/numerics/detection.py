"""How good detected positions are against true ones: matching, precision, recall, average precision, thresholds.

Positions are (n, 2) arrays in any unit, and tolerances in the same. A true position makes one detection right at most,
and the pairs are the most that there can be, so that no order of the positions changes a figure.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

Positions = NDArray[np.floating[Any]]
Pairs = NDArray[np.int64]


@dataclass(frozen=True)
class Scored:
    """The true positions of one micrograph and what was detected there, each detection with its score."""

    truth: Positions
    picks: Positions
    scores: NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Scores:
    """Figures of merit of detections, pooled over micrographs.

    Attributes
    ----------
    truths, picks, matched
        How many.
    precision, recall, f1
        From 0 to 1; precision is 1 without a pick, recall is 1 without a truth.
    average_precision
        See `average_precision`.
    position_error
        Root of the mean squared distance of the pairs, None without any.
    """

    truths: int
    picks: int
    matched: int
    precision: float
    recall: float
    f1: float
    average_precision: float
    position_error: float | None


@dataclass(frozen=True)
class Curve:
    """Counts at every threshold that tells detections apart, from the strictest on.

    Attributes
    ----------
    thresholds
        Scores, falling; detections of at least this score count.
    matched, picks
        How many of them are right, and how many there are.
    truths
        How many true positions there are.
    """

    thresholds: NDArray[np.float64]
    matched: NDArray[np.int64]
    picks: NDArray[np.int64]
    truths: int

    def average_precision(self) -> float:
        """Precision at each threshold, weighted with the recall that it adds; nothing is interpolated."""
        if self.truths == 0:
            return 1.0 if len(self.picks) == 0 else 0.0
        gained = np.diff(self.matched, prepend=0) / self.truths
        return float(np.sum(gained * self.matched / self.picks))

    def f1(self) -> NDArray[np.float64]:
        """Harmonic mean of precision and recall at each threshold."""
        return 2 * self.matched / (self.picks + self.truths)

    def between(self) -> NDArray[np.float64]:
        """What lies midway between each threshold and the next; detections *above* it are those of the first."""
        lower = np.append(self.thresholds[1:], 0.0)
        levels: NDArray[np.float64] = (self.thresholds + np.minimum(lower, self.thresholds)) / 2
        return levels

    def f1_above(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        """F1 of the detections above each level."""
        passing = np.searchsorted(-self.thresholds, -levels, side="left")
        return np.append(0.0, self.f1())[passing]


def match(truth: Positions, picks: Positions, tolerance: float) -> Pairs:
    """Pair true with detected positions: as many pairs as there can be, and of these the smallest sum of distances.

    Parameters
    ----------
    truth, picks
        (n, 2) and (m, 2).
    tolerance
        Largest distance of a pair.

    Returns
    -------
    ndarray of int64, (pairs, 2)
        Indices into `truth` and `picks`, sorted by the first.

    Notes
    -----
    The Hungarian method, applied to each group of positions that are connected by possible pairs.
    """
    possible = _possible_pairs(truth, picks, tolerance)
    rows, columns = possible.coords
    if not len(rows):
        return np.empty((0, 2), np.int64)
    graph = coo_array((np.ones(len(rows)), (rows, columns + len(truth))), shape=(len(truth) + len(picks),) * 2)
    _, group = connected_components(graph, directed=False)
    order = np.argsort(group[rows], kind="stable")
    starts = np.flatnonzero(np.diff(group[rows][order], prepend=-1))
    pairs = [
        _assigned(rows[members], columns[members], possible.data[members], tolerance)
        for members in np.split(order, starts[1:])
    ]
    found = np.concatenate(pairs)
    return found[np.argsort(found[:, 0])]


def _possible_pairs(truth: Positions, picks: Positions, tolerance: float) -> Any:
    """Distances of all pairs that are within the tolerance, as a sparse array (truths, picks) that keeps zeros."""
    if not len(truth) or not len(picks):
        return coo_array((len(truth), len(picks)))
    found = cKDTree(truth).sparse_distance_matrix(cKDTree(picks), tolerance, output_type="ndarray")
    return coo_array((found["v"], (found["i"], found["j"])), shape=(len(truth), len(picks)))


def _assigned(rows: Pairs, columns: Pairs, distances: NDArray[np.float64], tolerance: float) -> Pairs:
    """The best pairs within one group of connected positions."""
    if len(rows) == 1:
        return np.column_stack([rows, columns]).astype(np.int64)
    truth, at_row = np.unique(rows, return_inverse=True)
    picks, at_column = np.unique(columns, return_inverse=True)
    # A pair that cannot be costs more than all possible ones together: first as many pairs as there can be.
    forbidden = 1.0 + tolerance * (min(len(truth), len(picks)) + 1)
    cost = np.full((len(truth), len(picks)), forbidden)
    cost[at_row, at_column] = distances
    chosen = np.column_stack(linear_sum_assignment(cost))
    chosen = chosen[cost[chosen[:, 0], chosen[:, 1]] < forbidden]
    return np.column_stack([truth[chosen[:, 0]], picks[chosen[:, 1]]]).astype(np.int64)


def curve(micrographs: Sequence[Scored], tolerance: float) -> Curve:
    """Count what is right at every threshold, pooled over micrographs.

    As many detections count as right as `match` would pair of those that reach the threshold. Taken in the order of
    their scores, a detection adds to that number when it lengthens the best matching so far (an augmenting path), and
    never takes away from it, so that one pass gives all thresholds.
    """
    scores = np.concatenate([np.empty(0), *(one.scores for one in micrographs)]).astype(np.float64)
    right = np.concatenate([np.empty(0, bool), *(_lengthening(one, tolerance) for one in micrographs)])
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], right[order]
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True)) if len(scores) else np.empty(0, np.int64)
    truths = sum(len(one.truth) for one in micrographs)
    return Curve(scores[last], np.cumsum(right)[last], last + 1, truths)


def _lengthening(one: Scored, tolerance: float) -> NDArray[np.bool_]:
    """Which picks lengthen the matching of all better ones."""
    possible = _possible_pairs(one.truth, one.picks, tolerance).tocsc()
    reach = [list(map(int, truths)) for truths in np.split(possible.indices, possible.indptr[1:-1])]
    matching = _Matching(reach, len(one.truth))
    right = np.zeros(len(one.picks), bool)
    for pick in np.argsort(-np.asarray(one.scores, np.float64), kind="stable"):
        right[pick] = matching.take(int(pick))
    return right


class _Matching:
    """Picks and the truths they have, taken in one by one.

    Parameters
    ----------
    reach
        For each pick the truths within the tolerance.
    truths
        Their number.
    """

    def __init__(self, reach: Sequence[Sequence[int]], truths: int) -> None:
        self._reach = reach
        self._pick_of = [-1] * truths
        self._truth_of = [-1] * len(reach)

    def take(self, start: int) -> bool:
        """Give a pick a truth, others moving on to other truths if need be; say whether that was possible."""
        came_from: dict[int, int] = {}
        waiting = [start]
        while waiting:
            pick = waiting.pop()
            for truth in self._reach[pick]:
                if truth in came_from:
                    continue
                came_from[truth] = pick
                if self._pick_of[truth] < 0:
                    self._move_on(truth, came_from)
                    return True
                waiting.append(self._pick_of[truth])
        return False

    def _move_on(self, truth: int, came_from: dict[int, int]) -> None:
        """Let the pick that found a free truth have it, the one that wanted what it had before have that, and so on."""
        while truth >= 0:
            pick = came_from[truth]
            self._pick_of[truth] = pick
            self._truth_of[pick], truth = truth, self._truth_of[pick]


def average_precision(micrographs: Sequence[Scored], tolerance: float) -> float:
    """Area under precision over recall as the threshold falls, pooled over micrographs.

    Parameters
    ----------
    micrographs
        Truths and detections of each.
    tolerance
        Largest distance of a pair.

    Returns
    -------
    float
        Sum over thresholds of the recall gained there times the precision there; 1 is perfect.
    """
    return curve(micrographs, tolerance).average_precision()


def best_f1_threshold(micrographs: Sequence[Scored], tolerance: float) -> tuple[float, float]:
    """The threshold at which F1 is largest, and that F1.

    It lies midway between the weakest detection that shall pass and the strongest that shall not; detections *above* it
    pass. Without a detection that would help it is infinite.
    """
    found = curve(micrographs, tolerance)
    if not len(found.thresholds) or not found.matched.any():
        return math.inf, 0.0
    best = int(np.argmax(found.f1()))
    return float(found.between()[best]), float(found.f1()[best])


def supported_threshold(held_out: Sequence[Scored], taught: Sequence[Scored], tolerance: float) -> float:
    """A threshold at which F1 is largest on held-out micrographs, as far as these can tell.

    Of thresholds whose F1 there is within one standard error of the largest (Breiman et al. 1984, Classification and
    Regression Trees, 3.4.3; that of a share among so many particles) the one with the largest F1 on all micrographs: a
    single one, held out, often has its largest F1 by chance where it is. Infinite as in `best_f1_threshold`.
    """
    threshold, largest = best_f1_threshold(held_out, tolerance)
    if not math.isfinite(threshold):
        return threshold
    error = math.sqrt(largest * (1 - largest) / sum(len(one.truth) for one in held_out))
    every = curve([*held_out, *taught], tolerance)
    levels = every.between()
    near = curve(held_out, tolerance).f1_above(levels) >= largest - error
    return float(levels[near][np.argmax(every.f1()[near])])


def score(micrographs: Sequence[Scored], tolerance: float, threshold: float = -math.inf) -> Scores:
    """Figures of merit of the detections above a threshold; average precision is that of all.

    Parameters
    ----------
    micrographs
        Truths and detections of each.
    tolerance
        Largest distance of a pair.
    threshold
        Scores must exceed it.
    """
    truths = picks = matched = 0
    squares = 0.0
    for one in micrographs:
        chosen = one.picks[np.asarray(one.scores) > threshold]
        pairs = match(one.truth, chosen, tolerance)
        truths, picks, matched = truths + len(one.truth), picks + len(chosen), matched + len(pairs)
        squares += float(np.sum((one.truth[pairs[:, 0]] - chosen[pairs[:, 1]]) ** 2, dtype=np.float64))
    return Scores(
        truths=truths,
        picks=picks,
        matched=matched,
        precision=matched / picks if picks else 1.0,
        recall=matched / truths if truths else 1.0,
        f1=2 * matched / (picks + truths) if picks + truths else 1.0,
        average_precision=average_precision(micrographs, tolerance),
        position_error=math.sqrt(squares / matched) if matched else None,
    )
