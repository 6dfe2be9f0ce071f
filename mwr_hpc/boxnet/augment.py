"""Patches of a micrograph: as they are, or turned, stretched, mirrored and changed in brightness, in one resampling."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

LEAST_SCALE, LARGEST_SCALE = 0.8, 1.2
"""Of the two axes, independently, along a random direction."""

NOISE, GAIN, OFFSET = 0.3, 0.2, 0.2
"""Largest standard deviation of added noise, logarithm of the gain and offset; a micrograph's deviation is 1."""

SPLINE: Literal[3] = 3
"""Order of the interpolation of images. Linear interpolation would halve the noise's power: the network would be
trained on smoother images than it works on."""


@dataclass(frozen=True)
class Target:
    """A micrograph as patches are cut from it.

    Attributes
    ----------
    image
        (h, w) float32.
    spline
        `image` filtered for interpolation of order SPLINE.
    labels
        (h, w) float32: classes, and what `labels.BELIEVED` says.
    weights
        (h, w) float32.
    """

    image: NDArray[np.float32]
    spline: NDArray[np.float32]
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]

    @classmethod
    def of(cls, image: NDArray[np.float32], labels: NDArray[np.float32], weights: NDArray[np.float32]) -> "Target":
        """Filter the image."""
        spline = ndimage.spline_filter(image, SPLINE, output=np.float32, mode="mirror")
        return cls(image, spline, labels, weights)


Patch = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Image, labels and weights, each (edge, edge); weights are 0 outside the micrograph."""


def random_centre(shape: tuple[int, int], edge: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """A centre (y, x) for a patch that leaves the micrograph by no more than its border, where that is possible."""
    low = np.minimum(edge / 2 - edge // 8, (np.array(shape) - 1) / 2)
    return generator.uniform(low, np.array(shape) - 1 - low)


def cut_patch(target: Target, centre: NDArray[np.float64], edge: int) -> Patch:
    """Cut a patch as it is; outside, the image goes on as its mirror image."""
    start = np.round(centre - edge / 2).astype(int)
    rows, columns = (np.arange(first, first + edge) for first in start)
    inside = _inside(rows, target.image.shape[0])[:, None] & _inside(columns, target.image.shape[1])
    at = np.ix_(_mirrored(rows, target.image.shape[0]), _mirrored(columns, target.image.shape[1]))
    return target.image[at], target.labels[at], target.weights[at] * inside


def cut_augmented(target: Target, edge: int, generator: np.random.Generator) -> Patch:
    """Cut a random patch, randomly turned, stretched along a random direction, mirrored, and changed in brightness."""
    shape = (target.image.shape[0], target.image.shape[1])
    centre = random_centre(shape, edge, generator)
    angle, direction = generator.uniform(0, 2 * np.pi), generator.uniform(0, np.pi)
    scales = generator.uniform(LEAST_SCALE, LARGEST_SCALE, 2)
    mirror = np.diag([1.0, generator.choice([-1.0, 1.0])])
    # from the patch's coordinates to the micrograph's
    matrix = _rotation(angle) @ mirror @ _rotation(direction) @ np.diag(1 / scales) @ _rotation(-direction)
    offset = centre - matrix @ np.full(2, (edge - 1) / 2)

    def resampled(values: NDArray[Any], order: Literal[0, 3], mode: Literal["mirror", "constant"]) -> NDArray[Any]:
        shape = (edge, edge)
        result: NDArray[Any] = ndimage.affine_transform(
            values, matrix, offset, shape, order=order, mode=mode, cval=0, prefilter=False
        )
        return result

    image = resampled(target.spline, SPLINE, "mirror")
    labels = resampled(target.labels, 0, "mirror")
    weights = resampled(target.weights, 0, "constant")
    noise = generator.uniform(0, NOISE) * generator.standard_normal((edge, edge), np.float32)
    gain, shift = np.exp(generator.uniform(-GAIN, GAIN)), generator.uniform(-OFFSET, OFFSET)
    return np.asarray((image + noise) * gain + shift, np.float32), labels, weights


def _rotation(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _inside(positions: NDArray[np.int_], size: int) -> NDArray[np.bool_]:
    return (positions >= 0) & (positions < size)


def _mirrored(positions: NDArray[np.int_], size: int) -> NDArray[np.int_]:
    """Positions folded into 0 .. size - 1, without repeating the last pixel."""
    period = max(1, 2 * size - 2)
    folded = np.abs(positions) % period
    return np.minimum(folded, period - folded)
