"""How good a network in training already is at picking: average precision on held-out micrographs, and a threshold."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.boxnet.corpus import Examples
from mwr_hpc.boxnet.curate import find_picks
from mwr_hpc.boxnet.examples import Example
from mwr_hpc.boxnet.network import Architecture
from mwr_hpc.boxnet.pick import Labeller
from mwr_hpc.numerics.detection import Scored, average_precision, supported_threshold
from mwr_hpc.training.engine import Engine

MICROGRAPHS = 6
"""Held-out micrographs that are picked after every epoch, at most."""

SUPPORTING = 24
"""Taught micrographs that help to find a threshold, at most."""

TOLERANCE = 0.5
"""Largest distance of a pick from its particle, in diameters."""


class PickJudge:
    """Picks held-out micrographs with a network in training, as ``boxnet pick`` would.

    Rank 0 does it and tells the others: it takes a second or two, and all must come to the same figures.

    Parameters
    ----------
    engine, architecture, background_weight
        What trains the network, what it is made of, and what background weighs in its training.
    examples
        With held-out micrographs; without any there is nothing to tell.
    """

    def __init__(
        self, engine: Engine, architecture: Architecture, background_weight: float, examples: Examples
    ) -> None:
        self._engine = engine
        self._labeller = Labeller(engine.predict, architecture, background_weight)
        self._examples = examples

    def figures(self) -> dict[str, float]:
        """Average precision, on the first held-out micrographs, of what the training would end with now."""
        if not self._examples.held_out:
            return {}
        value = 0.0
        if self._is_first():
            with self._engine.averaged():
                value = average_precision(self._scored(self._examples.held_out[:MICROGRAPHS]), TOLERANCE)
        return {"average_precision": self._told(value)}

    def threshold(self) -> float | None:
        """Score at which F1 is best on held-out micrographs, as far as they can tell; None when none does any good.

        Beside them as many of the taught ones as `SUPPORTING` have a say; see `supported_threshold`.
        """
        value = 0.0
        if self._is_first():
            held_out, taught = self._examples.held_out, self._examples.training[:SUPPORTING]
            value = supported_threshold(self._scored(held_out), self._scored(taught), TOLERANCE)
        told = self._told(value)
        return told if math.isfinite(told) else None

    def _is_first(self) -> bool:
        return self._engine.communicator.rank == 0

    def _told(self, value: float) -> float:
        told: NDArray[Any] = self._engine.communicator.broadcast(np.array([value]))
        return float(told[0])

    def _scored(self, names: Sequence[str]) -> list[Scored]:
        return [self._pick(self._examples.read(name)) for name in names]

    def _pick(self, example: Example) -> Scored:
        """Positions in diameters, of which each micrograph of a corpus may have its own.

        Where nothing counts, in an unpicked margin or at an uncertain place, picks are neither right nor wrong.
        """
        particle, contamination = self._labeller.winners(example.image)
        diameter = example.diameter / self._examples.pixel_size
        picks = find_picks(particle, contamination, threshold=0.0, diameter=diameter)
        picks = picks.where(_counts(picks.positions, example))
        truth = example.positions[_counts(example.positions, example)]
        return Scored(truth / diameter, picks.positions / diameter, picks.scores)


def _counts(positions: NDArray[np.float32], example: Example) -> NDArray[np.bool_]:
    """At which positions (n, 2) the weight of the nearest pixel is not 0."""
    nearest = np.clip(np.rint(positions).astype(int), 0, np.array(example.weights.shape) - 1)
    return np.asarray(example.weights[tuple(nearest.T)] > 0)
