"""The training target of a micrograph: what each pixel is, and how much it counts."""

import numpy as np
from numpy.typing import NDArray

BACKGROUND, PARTICLE, CONTAMINATION = 0, 1, 2
CLASSES = ("background", "particle", "contamination")

UNMASKED = 3
"""Background or contamination, nobody said which: the label of such pixels during training, never in a store."""

BELIEVED = 4
"""As UNMASKED, where the parent was asked: BELIEVED + s in training, s being contamination's share of the two."""

WIDEST_MARGIN = 1.5
"""Diameters: what programs keep clear of a micrograph's edges, half a box or so, is narrower."""

CHANCE = 1e-3
"""Probability that particles scattered at random leave a margin empty, below which somebody left it out."""

LEAST_RADIUS = 1.5
"""Pixels; below that a disc is lost among the pixels."""


def disc_radius(diameter: float) -> float:
    """Radius in pixels of the disc that marks a particle of this diameter in pixels."""
    return max(LEAST_RADIUS, diameter / 8)


def unpicked_margin(positives: NDArray[np.floating], shape: tuple[int, int], diameter: float) -> float:
    """Width of the margin in which nobody picked, as programs leave one; 0 where chance can have left it empty.

    It ends where the label of the outermost particle begins.

    Parameters
    ----------
    positives
        (n, 2) places as (y, x) in pixels.
    shape
        (height, width) of the micrograph.
    diameter
        Of the particle, in pixels.
    """
    if not len(positives):
        return 0.0
    sides = np.asarray(shape)
    width = float(np.minimum(positives + 0.5, sides - 0.5 - positives).min())
    inner = np.maximum(sides - 2 * max(width, 0.0), 0) / sides
    if inner.prod() ** len(positives) > CHANCE:
        return 0.0
    return max(0.0, min(width, WIDEST_MARGIN * diameter) - disc_radius(diameter))


def clear_margin(weights: NDArray[np.float32], width: float) -> None:
    """Give pixels whose centre is nearer than `width` to an edge of the image no weight."""
    rows, columns = (np.minimum(np.arange(side) + 0.5, side - 0.5 - np.arange(side)) < width for side in weights.shape)
    weights[rows, :] = 0
    weights[:, columns] = 0


def paint(
    shape: tuple[int, int],
    positives: NDArray[np.floating],
    important: NDArray[np.floating],
    uncertain: NDArray[np.floating],
    diameter: float,
    mask: NDArray[np.bool_] | None,
    important_weight: float = 4.0,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Paint labels and weights.

    A disc of radius `disc_radius` at each positive is particle, the mask over it is contamination, everything
    else is background. Weights never change labels: within diameter / 2 of an important place they are
    `important_weight`, of an uncertain place 0, which wins where both meet.

    Parameters
    ----------
    shape
        (height, width).
    positives, important, uncertain
        (n, 2) places as (y, x) in pixels; a pixel belongs to a disc when its centre does, the rim included.
    diameter
        Of the particle, in pixels.
    mask
        True at contamination, of this shape, or None.
    important_weight
        1 is the weight of all other pixels.

    Returns
    -------
    labels
        uint8, of `shape`.
    weights
        float32, of `shape`.
    """
    labels = np.full(shape, BACKGROUND, np.uint8)
    weights = np.ones(shape, np.float32)
    _fill_discs(labels, positives, disc_radius(diameter), PARTICLE)
    if mask is not None:
        labels[mask] = CONTAMINATION
    _fill_discs(weights, important, diameter / 2, important_weight)
    _fill_discs(weights, uncertain, diameter / 2, 0.0)
    return labels, weights


def _fill_discs(
    image: NDArray[np.uint8] | NDArray[np.float32], places: NDArray[np.floating], radius: float, value: float
) -> None:
    height, width = image.shape
    for y, x in places:
        top, bottom = max(int(np.ceil(y - radius)), 0), min(int(np.floor(y + radius)) + 1, height)
        left, right = max(int(np.ceil(x - radius)), 0), min(int(np.floor(x + radius)) + 1, width)
        if top < bottom and left < right:
            squared = (np.arange(top, bottom) - y)[:, None] ** 2 + (np.arange(left, right) - x) ** 2
            image[top:bottom, left:right][squared <= radius**2] = value
