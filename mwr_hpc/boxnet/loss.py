"""The loss of labelled pixels: weighted cross-entropy, and what pixels count by their class and their place."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.boxnet.labels import BACKGROUND, CLASSES, CONTAMINATION, UNMASKED
from mwr_hpc.training.engine import Batch
from mwr_hpc.training.framework import tf

BORDER_WEIGHT = 0.1
"""Of pixels in the border of a patch, an eighth of its edge wide: their surroundings are cut off."""

_EXCLUDED = -1e9
_ALLOWED = np.full((len(CLASSES) + 1, len(CLASSES)), _EXCLUDED, np.float32)
_ALLOWED[range(len(CLASSES)), range(len(CLASSES))] = 0
_ALLOWED[UNMASKED, [BACKGROUND, CONTAMINATION]] = 0


def label_loss(logits: Any, batch: Batch) -> tuple[Any, Any]:
    """Sum of -weight * log p(label) and of the weights; p of UNMASKED is p(background) + p(contamination).

    Parameters
    ----------
    logits
        (n, y, x, 3).
    batch
        `y` holds labels, (n, y, x) uint8, `weight` is (n, y, x).
    """
    allowed = tf.gather(tf.constant(_ALLOWED), tf.cast(batch.y, tf.int32))
    losses = tf.reduce_logsumexp(logits, -1) - tf.reduce_logsumexp(logits + allowed, -1)
    return tf.reduce_sum(losses * batch.weight), tf.reduce_sum(batch.weight)


def border_weights(edge: int) -> NDArray[np.float32]:
    """Weights of a patch's pixels by their place, (edge, edge)."""
    border = edge // 8
    weights = np.full((edge, edge), BORDER_WEIGHT, np.float32)
    weights[border : edge - border, border : edge - border] = 1
    return weights


def background_weight(particle: float, background: float) -> float:
    """Weight of background pixels, from how many pixels there are of either class: (particle / background)^(1/3)."""
    return float((particle / background) ** (1 / 3))
