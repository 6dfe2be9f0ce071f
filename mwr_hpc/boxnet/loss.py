"""The loss of labelled pixels: weighted cross-entropy, and what pixels count by their class and their place."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.boxnet.labels import BACKGROUND, BELIEVED, CLASSES, CONTAMINATION, UNMASKED
from mwr_hpc.training.engine import Batch
from mwr_hpc.training.framework import tf

BORDER_WEIGHT = 0.1
"""Of pixels in the border of a patch, an eighth of its edge wide: their surroundings are cut off."""

_EXCLUDED = -1e9
_ALLOWED = np.full((BELIEVED + 2, len(CLASSES)), _EXCLUDED, np.float32)  # a share may be 1
_ALLOWED[range(len(CLASSES)), range(len(CLASSES))] = 0
_ALLOWED[UNMASKED:, [BACKGROUND, CONTAMINATION]] = 0


def label_loss(logits: Any, batch: Batch) -> tuple[Any, Any]:
    """Sum of -weight * log p(label) and of the weights; p of UNMASKED is p(background) + p(contamination).

    Of the two an UNMASKED pixel prefers neither, and a network that is left alone drifts: contamination, which weighs
    more, spread from 2 to 10 % of real micrographs. A BELIEVED pixel adds the divergence of the network's share of
    contamination from the parent's, which holds it where it was.

    Parameters
    ----------
    logits
        (n, y, x, 3).
    batch
        `y` holds labels, (n, y, x), `weight` is (n, y, x).
    """
    labels = tf.cast(batch.y, tf.float32)
    allowed = tf.gather(tf.constant(_ALLOWED), tf.cast(labels, tf.int32))
    losses = tf.reduce_logsumexp(logits, -1) - tf.reduce_logsumexp(logits + allowed, -1)
    losses += tf.where(labels >= BELIEVED, _divergence(logits, labels - BELIEVED), 0.0)
    return tf.reduce_sum(losses * batch.weight), tf.reduce_sum(batch.weight)


def _divergence(logits: Any, share: Any) -> Any:
    """Kullback-Leibler divergence of the network's share of contamination, among it and background, from `share`."""
    share = tf.clip_by_value(share, 0.0, 1.0)
    odds = logits[..., CONTAMINATION] - logits[..., BACKGROUND]
    entropy = -tf.math.xlogy(share, share) - tf.math.xlogy(1 - share, 1 - share)
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=share, logits=odds) - entropy


def border_weights(edge: int) -> NDArray[np.float32]:
    """Weights of a patch's pixels by their place, (edge, edge)."""
    border = edge // 8
    weights = np.full((edge, edge), BORDER_WEIGHT, np.float32)
    weights[border : edge - border, border : edge - border] = 1
    return weights


def background_weight(particle: float, background: float) -> float:
    """Weight of background pixels, from how many pixels there are of either class: (particle / background)^(1/3)."""
    return float((particle / background) ** (1 / 3))
