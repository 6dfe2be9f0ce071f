"""Peak memory of the processes of a run, worked out before it runs.

Each figure is the resident size, as the receipts tell it: that of a process with its libraries, which was measured, and
the arrays that a stage holds at once, which follow from its code.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from mwr_hpc.io.mrc_header import Shape
from mwr_hpc.io.pyramid import level_shapes
from mwr_hpc.io.shards import grid_of
from mwr_hpc.io.volume import Volume
from mwr_hpc.missing_wedge.cube_arrays import items_per_shard
from mwr_hpc.numerics.tiling import TilePlan

MEGABYTE = 2**20

WORKER, PAIRING = 98 * MEGABYTE, 108 * MEGABYTE
"""A worker process of a pool with its libraries, and with those that pairs need besides.

Measured, as all figures here, by `resident_memory`."""

PREDICTING = 540 * MEGABYTE
"""A process with TensorFlow, a network that has been traced, and the libraries that run it."""

WAITING_TILES, WAITING_BATCHES = 11, 4
"""Copies of a tile, and of a batch of tiles, on their way from the volume through the network and back."""

Precision = Literal["float32", "bfloat16"]

PREDICTING_VALUES = {"float32": 5.7, "bfloat16": 3.4}
"""Values of four bytes that a network holds when it predicts, in units of a volume times its first level's filters.

Measured; depth, convolutions, kernels and normalisation do not matter, since most is held where the last skip joins."""


class Held(NamedTuple):
    """Values of four bytes that a network holds when it is trained, in the same units.

    Attributes
    ----------
    usual
        Of the usual network: halved three times, two convolutions at each level.
    convolution, level
        More or less for each further convolution of a level, and for each further level.
    normalization, dropout
        More with batch normalisation, by convolution, and with dropout.
    """

    usual: float
    convolution: float
    level: float
    normalization: float
    dropout: float


TRAINING_VALUES = {"float32": Held(14.0, 3.8, 2.9, 2.0, 2.3), "bfloat16": Held(12.7, 5.0, 1.0, 4.0, 0.0)}
"""Measured; tests/soak/test_memory.py compares plans with receipts."""

TRAINING = 645 * MEGABYTE
"""A process with TensorFlow, a network that is trained, and its batches' makers."""

TRAINED = 765 * MEGABYTE
"""A process that has trained, at most: TensorFlow keeps most of what it was given."""

KEPT_VALUES = {"float32": 2.6, "bfloat16": 0.2}
"""What predicting crops needs beyond that, in the units of `PREDICTING_VALUES`, where training needed more."""


def converting(volume: Volume) -> int:
    """A worker, and the layers of shards that it reads and encodes."""
    return WORKER + layers(volume.shape, np.dtype(volume.data.dtype).itemsize)


def layers(shape: Shape, itemsize: int) -> int:
    """One layer of shards is gathered and one is encoded; of the next level the layers that these become."""
    depth, height, width = shape
    sections, section = grid_of(shape).shard[0], height * width * itemsize
    coarser = 0.0
    if len(level_shapes(shape)) > 1:
        coarser = min(sections, depth) * section / 8 * (1 if depth <= 2 * sections else 3)
    return min(2 * sections, depth) * section + round(coarser)


def extracting(volume: Volume, count: int, crop_size: int, mask: Volume | None) -> int:
    """A shard of crops, three copies of a crop on its way, and the mask."""
    masked = 0 if mask is None else math.prod(mask.shape) * (1 + np.dtype(mask.data.dtype).itemsize)
    return WORKER + _shard((count, *(crop_size,) * 3)) + 3 * 4 * crop_size**3 + masked


def pairing(count: int, wedges: int, cube_size: int, crop_size: int) -> int:
    """A shard of pairs, and a crop, its spectra and what they become."""
    return PAIRING + _shard((count, 1 + wedges, *(cube_size,) * 3)) + round(8.6 * 4 * crop_size**3)


def training(
    cube_size: int, batch_size: int, architecture: Mapping[str, Any], values: int, precision: Precision
) -> int:
    """The network with all that its gradient needs; weights, their gradients and Adam's state."""
    held, convolutions = TRAINING_VALUES[precision], architecture["convs_per_depth"]
    units = held.usual + held.convolution * (convolutions - 2) + held.level * (architecture["depth"] - 3)
    units += held.normalization * convolutions if architecture["batch_normalization"] else 0
    units += held.dropout if architecture["dropout"] else 0
    return TRAINING + round(units * architecture["filter_base"] * 4 * batch_size * cube_size**3) + 5 * 4 * values


def predicting_crops(
    count: int, crop_size: int, batch_size: int, architecture: Mapping[str, Any], precision: Precision, trained: int
) -> int:
    """The network at work on a batch, a shard of crops, and the crops that are read ahead.

    In the process that has `trained`: what that needed is used again, but not all of it fits.
    """
    network = 4 * architecture["filter_base"] * min(batch_size, count) * crop_size**3
    crops = _shard((count, *(crop_size,) * 3)) + 4 * (2 * batch_size + 2) * crop_size**3
    alone = min(TRAINED, trained) + round(PREDICTING_VALUES[precision] * network)
    return max(trained + round(KEPT_VALUES[precision] * network), alone) + crops


def correcting(
    volume: Volume,
    plan: TilePlan,
    batch: int,
    architecture: Mapping[str, Any],
    precision: Precision,
    *,
    sections_at_once: int,
    as_zarr: bool,
) -> int:
    """The network at work on tiles, tiles that wait before and after it, and the rows of tiles that are blended."""
    tile = 4 * math.prod(plan.tile_shape)
    dtype, (_, height, width) = np.dtype(volume.data.dtype), volume.shape
    supports = [plan.support(0, row) for row in range(len(plan.borders[0]) - 1)]
    blended = 4 * height * width * (max(stop - start for start, stop in supports) + sections_at_once)
    of_mrc = volume.mrc_header is not None and not volume.path.is_dir()  # of which next to nothing becomes resident
    read = 0 if of_mrc else plan.tile_shape[0] * height * width * dtype.itemsize
    network = PREDICTING_VALUES[precision] * architecture["filter_base"] * batch * tile
    waiting = (min(WAITING_TILES, len(plan)) + WAITING_BATCHES * batch) * tile
    written = layers(volume.shape, 4) if as_zarr else 0
    return PREDICTING + round(network) + waiting + read + blended + written


def _shard(shape: tuple[int, ...]) -> int:
    return items_per_shard(shape) * 2 * math.prod(shape[1:])
