"""How good detected positions are against true ones: precision, recall, average precision, thresholds.

Which detection is right is for `pairing` to say.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.numerics.pairing import Positions, lengthening, match


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


def curve(micrographs: Sequence[Scored], tolerance: float) -> Curve:
    """Count what is right at every threshold, pooled over micrographs.

    As many detections count as right as `match` would pair of those that reach the threshold. Taken in the order of
    their scores, a detection adds to that number when it lengthens the best matching so far (an augmenting path), and
    never takes away from it, so that one pass gives all thresholds.
    """
    scores = np.concatenate([np.empty(0), *(one.scores for one in micrographs)]).astype(np.float64)
    lengthened = [lengthening(one.truth, one.picks, one.scores, tolerance) for one in micrographs]
    right = np.concatenate([np.empty(0, bool), *lengthened])
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], right[order]
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True)) if len(scores) else np.empty(0, np.int64)
    truths = sum(len(one.truth) for one in micrographs)
    return Curve(scores[last], np.cumsum(right)[last], last + 1, truths)


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
