"""Peak memory of the processes of a run, worked out before it runs.

Each figure is the resident size, as the receipts tell it: that of a process with its libraries, which was measured, and
the arrays that a stage holds at once, which follow from its code.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from mwr_hpc.io.pyramid import level_shapes
from mwr_hpc.io.shards import grid_of
from mwr_hpc.io.volume import Volume
from mwr_hpc.missing_wedge.cube_arrays import items_per_shard
from mwr_hpc.numerics.tiling import TilePlan

MEGABYTE = 2**20

WORKER = 104 * MEGABYTE
"""A worker process of a pool with its libraries; measured, as all figures here, by `resident_memory`."""

TENSORFLOW = 560 * MEGABYTE
"""A process with TensorFlow and a network that has been traced."""

Precision = Literal["float32", "bfloat16"]

PREDICTING_VALUES = {"float32": 5.6, "bfloat16": 3.6}
"""Values of four bytes that a network holds when it predicts, in units of a volume times its first level's filters.

Measured in float32 with networks of the usual depth, 3, and two convolutions at each level, as those of training are;
that of bfloat16 stands to it as in training."""

TRAINING_VALUES = {"float32": 20.8, "bfloat16": 13.3}
"""The same, in values of four bytes, when it is trained on a batch; measured."""

TRAINING = 680 * MEGABYTE
"""A process with TensorFlow, a network that is trained, and its batches' makers."""


def converting(volume: Volume) -> int:
    """One layer of shards is read and one is encoded; of the next level the layers that these become."""
    dtype, (depth, height, width) = np.dtype(volume.data.dtype), volume.shape
    sections, section = grid_of(volume.shape).shard[0], height * width * dtype.itemsize
    coarser = 0.0
    if len(level_shapes(volume.shape)) > 1:
        coarser = min(sections, depth) * section / 8 * (1 if depth <= 2 * sections else 3)
    return WORKER + min(2 * sections, depth) * section + round(coarser)


def extracting(volume: Volume, count: int, crop_size: int, mask: Volume | None) -> int:
    """A shard of crops, three copies of a crop on its way, and the mask."""
    masked = 0 if mask is None else math.prod(mask.shape) * (1 + np.dtype(mask.data.dtype).itemsize)
    return WORKER + _shard((count, *(crop_size,) * 3)) + 3 * 4 * crop_size**3 + masked


def pairing(count: int, wedges: int, cube_size: int, crop_size: int) -> int:
    """A shard of pairs, and a crop, its spectra and what they become."""
    return WORKER + _shard((count, 1 + wedges, *(cube_size,) * 3)) + round(8.6 * 4 * crop_size**3)


def predicting_crops(
    count: int, crop_size: int, batch_size: int, architecture: Mapping[str, Any], precision: Precision
) -> int:
    """The network at work on a batch, a shard of crops, and the crops that are read ahead."""
    batch = min(batch_size, count)
    values = PREDICTING_VALUES[precision] * architecture["filter_base"] * batch + 2 * batch_size + 2
    return TENSORFLOW + _shard((count, *(crop_size,) * 3)) + round(4 * values * crop_size**3)


def training(
    cube_size: int, batch_size: int, architecture: Mapping[str, Any], values: int, precision: Precision
) -> int:
    """The network with all that its gradient needs, and six batches; weights, their gradients and Adam's state."""
    volume = 4 * batch_size * cube_size**3
    held = TRAINING_VALUES[precision] * architecture["filter_base"] + 18
    return TRAINING + round(volume * held) + 5 * 4 * values


def correcting(
    volume: Volume, plan: TilePlan, batch: int, architecture: Mapping[str, Any], sections_at_once: int
) -> int:
    """The network at work on tiles, tiles that wait before and after it, and the rows of tiles that are blended."""
    tile = math.prod(plan.tile_shape)
    dtype, (_, height, width) = np.dtype(volume.data.dtype), volume.shape
    if volume.mrc_header is None or volume.path.is_dir():
        read = plan.tile_shape[0] * height * width * dtype.itemsize
    else:  # a map, of which whole pages become resident
        pages = min(width * dtype.itemsize, plan.tile_shape[2] * dtype.itemsize + 4096)
        read = plan.tile_shape[0] * plan.tile_shape[1] * pages
    blended = 4 * height * width * (min(plan.tile_shape[0], volume.shape[0]) + 2 * sections_at_once)
    network = PREDICTING_VALUES["float32"] * architecture["filter_base"] * batch * tile
    return TENSORFLOW + round(4 * (network + 7 * tile)) + read + blended


def _shard(shape: tuple[int, ...]) -> int:
    return items_per_shard(shape) * 2 * math.prod(shape[1:])
