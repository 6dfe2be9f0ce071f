"""Operations of the network's convolutions, from which the time of a training follows once its speed is known."""

import itertools
from collections.abc import Mapping
from typing import Any

FORWARD_AND_BACKWARD = 3
"""Work of a training step over that of a prediction: the gradients by weights and by inputs cost one each."""


def forward_gflop(options: Mapping[str, Any], edge: int) -> float:
    """Return the 10^9 operations with which the network predicts one cube.

    Parameters
    ----------
    options
        `filter_base`, `unet_depth`, `convs_per_depth` and `kernel`, as `train` calls them.
    edge
        Of the cube in voxels.
    """
    depth, kernel = options["unet_depth"], options["kernel"] ** 3
    widths = [options["filter_base"] * 2**level for level in range(depth + 1)]
    extra = options["convs_per_depth"] - 1
    voxels = [(edge >> level) ** 3 for level in range(depth + 1)]

    def convolutions(level: int, channels: list[int]) -> int:
        return kernel * voxels[level] * sum(before * after for before, after in itertools.pairwise(channels))

    products = widths[0] * voxels[0]
    for level, width in enumerate(widths[:-1]):
        products += convolutions(level, [widths[level - 1] if level else 1, *[width] * (extra + 1)])
        products += kernel * voxels[level + 1] * width**2
    products += convolutions(depth, [widths[-2], *[widths[-1]] * extra, widths[-2]])
    channels = widths[-2]
    for level in reversed(range(depth)):
        products += 8 * voxels[level + 1] * channels * widths[level]
        products += convolutions(level, [2 * widths[level], *[widths[level]] * (extra + 1)])
        channels = widths[level]
    return 2e-9 * products
