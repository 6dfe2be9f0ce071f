"""Noise added to a network's input, and how strong it is in which iteration."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def add_noise(cube: NDArray[Any], noise: NDArray[Any], level: float) -> NDArray[np.float32]:
    """Return x + level * std(x) * n / std(n).

    The noise must already be in the frame of the wedge, so it is added after turning. Its mean is removed first: grey
    values of noise volumes have arbitrary offsets.

    Parameters
    ----------
    cube, noise
        x and n, of one shape.
    level
        Standard deviation of what is added, in units of that of the cube.

    Raises
    ------
    ValueError
        When the noise is constant.
    """
    deviation = float(noise.std(dtype=np.float64))
    if deviation == 0.0:
        raise ValueError("the noise is constant, so it cannot be scaled to a level")
    scale = level * float(cube.std(dtype=np.float64)) / deviation
    return np.asarray(cube + np.float32(scale) * (noise - np.float32(noise.mean(dtype=np.float64))), np.float32)


def noise_level_at(iteration: int, level: float, start: int, pause: int) -> float:
    """Return the noise level of an iteration: 0 before `start`, then one `level` more every `pause` iterations."""
    return 0.0 if iteration < start else level * ((iteration - start) // pause + 1)
