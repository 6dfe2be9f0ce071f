"""How good a network in training already is at picking: average precision on held-out micrographs, and a threshold."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.boxnet.corpus import Examples
from mwr_hpc.boxnet.curate import find_picks
from mwr_hpc.boxnet.examples import Example
from mwr_hpc.boxnet.labels import CONTAMINATION, PARTICLE
from mwr_hpc.numerics.detection import Scored, average_precision, best_f1_threshold
from mwr_hpc.training.engine import Engine
from mwr_hpc.training.framework import tf

MICROGRAPHS = 6
"""Held-out micrographs that are picked after every epoch, at most."""

TOLERANCE = 0.5
"""Largest distance of a pick from its particle, in diameters."""


class PickJudge:
    """Picks held-out micrographs with a network in training.

    Rank 0 does it and tells the others: it takes a second or two, and all must come to the same figures.

    Parameters
    ----------
    engine
        Trains the network.
    multiple
        What the sides of an image must be multiples of.
    examples
        With held-out micrographs.
    """

    def __init__(self, engine: Engine, multiple: int, examples: Examples) -> None:
        self._engine = engine
        self._multiple = multiple
        self._examples = examples
        self._diameter: float = examples.diameter / examples.pixel_size
        self._probabilities = tf.function(
            lambda image: tf.nn.softmax(engine.model(image, training=False)), autograph=False, reduce_retracing=True
        )

    def average_precision(self) -> float:
        """Of the model that the training would end with now, on the first held-out micrographs."""
        with self._engine.averaged():
            value = average_precision(self._scored(MICROGRAPHS), self._tolerance) if self._is_first() else 0.0
        return float(self._told([value])[0])

    def threshold(self) -> float | None:
        """Probability at which F1 is best on all held-out micrographs; None when none does any good."""
        value = best_f1_threshold(self._scored(None), self._tolerance)[0] if self._is_first() else 0.0
        told = float(self._told([value])[0])
        return told if math.isfinite(told) else None

    @property
    def _tolerance(self) -> float:
        return TOLERANCE * self._diameter

    def _is_first(self) -> bool:
        return self._engine.communicator.rank == 0

    def _told(self, values: list[float]) -> NDArray[Any]:
        return self._engine.communicator.broadcast(np.array(values))

    def _scored(self, most: int | None) -> list[Scored]:
        return [self._pick(self._examples.read(name)) for name in self._examples.held_out[:most]]

    def _pick(self, example: Example) -> Scored:
        height, width = example.image.shape
        padded = np.pad(example.image, [(0, -height % self._multiple), (0, -width % self._multiple)])
        probabilities = self._probabilities(tf.constant(padded[None, ..., None])).numpy()[0, :height, :width]
        winner = np.argmax(probabilities, axis=-1)
        picks = find_picks(
            np.where(winner == PARTICLE, probabilities[..., PARTICLE], 0),
            winner == CONTAMINATION,
            threshold=0.0,
            diameter=self._diameter,
        )
        return Scored(example.positions, picks.positions, picks.scores)
