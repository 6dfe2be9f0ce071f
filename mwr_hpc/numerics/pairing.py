"""Which detected position belongs to which true one.

Positions are (n, 2) arrays in any unit, and tolerances in the same. A true position makes one detection right at most,
and the pairs are the most that there can be, so that no order of the positions changes a figure.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

Positions = NDArray[np.floating[Any]]
Pairs = NDArray[np.int64]


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


def lengthening(
    truth: Positions, picks: Positions, scores: NDArray[np.floating[Any]], tolerance: float
) -> NDArray[np.bool_]:
    """Which picks lengthen the matching of all better ones.

    Parameters
    ----------
    truth, picks
        (n, 2) and (m, 2).
    scores
        (m,), higher is better.
    tolerance
        Largest distance of a pair.

    Returns
    -------
    ndarray of bool, (m,)
        As many are true among the best k as `match` would pair of them.
    """
    possible = _possible_pairs(truth, picks, tolerance).tocsc()
    reach = [list(map(int, truths)) for truths in np.split(possible.indices, possible.indptr[1:-1])]
    matching = _Matching(reach, len(truth))
    right = np.zeros(len(picks), bool)
    for pick in np.argsort(-np.asarray(scores, np.float64), kind="stable"):
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
