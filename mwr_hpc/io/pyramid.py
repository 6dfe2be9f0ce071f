"""The levels of an image pyramid, each the means of 2 x 2 x 2 voxels of the one before, written as slabs pass by."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from mwr_hpc.io.mrc_header import Shape
from mwr_hpc.io.shards import COMPRESSORS, ShardWriter, grid_of

Array = NDArray[Any]

LARGEST_TOP_LEVEL = 256


def level_shapes(shape: Shape) -> list[Shape]:
    """Return the shapes of a volume's levels, the finest first."""
    shapes = [shape]
    while max(shapes[-1]) > LARGEST_TOP_LEVEL:
        nz, ny, nx = ((size + 1) // 2 for size in shapes[-1])
        shapes.append((nz, ny, nx))
    return shapes


def create_level(store: Any, shape: Shape, dtype: np.dtype[Any]) -> None:
    """Write the metadata of one level's array."""
    grid = grid_of(shape)
    zarr.create_array(
        store,
        shape=shape,
        dtype=dtype,
        chunks=grid.chunk,
        shards=grid.shard,
        compressors=COMPRESSORS,
        dimension_names=("z", "y", "x"),
    )


class Level:
    """One level: gathers slabs into layers of shards, writes those and hands their means on.

    Parameters
    ----------
    path
        The array's folder, made here.
    shape, dtype
        Of the array.
    coarser
        The next level, None for the last.
    writer
        Of the shards.
    """

    def __init__(
        self, path: Path, shape: Shape, dtype: np.dtype[Any], coarser: "Level | None", writer: ShardWriter
    ) -> None:
        self.path = path
        self.shape = shape
        self.grid = grid_of(shape)
        self.dtype = dtype.newbyteorder("=")
        self.received = 0
        self._coarser = coarser
        self._writer = writer
        self._layer: Array | None = None
        self._encoding: Future[None] | None = None
        create_level(path, shape, self.dtype)

    def append(self, slab: Array) -> None:
        """Take the next sections, and write every layer of shards that is complete with them."""
        depth = self.grid.shard[0]
        slab = slab.astype(self.dtype, copy=False)
        while len(slab):
            layer_start = self.received // depth * depth
            layer_stop = min(layer_start + depth, self.shape[0])
            part = slab[: layer_stop - self.received]
            slab = slab[len(part) :]
            first, self.received = self.received - layer_start, self.received + len(part)
            if len(part) == layer_stop - layer_start:
                self._write(layer_start // depth, part)
                continue
            if self._layer is None:
                self._layer = np.empty((layer_stop - layer_start, *self.shape[1:]), self.dtype)
            self._layer[first : first + len(part)] = part
            if self.received == layer_stop:
                layer, self._layer = self._layer, None
                self._write(layer_start // depth, layer)

    def _write(self, number: int, layer: Array) -> None:
        # No more than two layers are in memory: the one being encoded and the one that comes.
        if self._encoding is not None:
            self._encoding.result()
        _, height, width = self.grid.shard
        blocks = [
            (self.path / "c" / str(number) / str(y) / str(x), layer[:, top : top + height, left : left + width])
            for y, top in enumerate(range(0, self.shape[1], height))
            for x, left in enumerate(range(0, self.shape[2], width))
        ]
        self._encoding = self._writer.put(blocks, self.grid, self.dtype)
        if self._coarser is not None:
            self._coarser.append(halved(layer, self.dtype))


def halved(layer: Array, dtype: np.dtype[Any]) -> Array:
    """Return the means of 2 x 2 x 2 voxels; a last odd plane counts twice."""
    depth, height, width = ((size + 1) // 2 for size in layer.shape)
    coarse = np.empty((depth, height, width), dtype)
    for z in range(depth):
        section = np.add(layer[2 * z], layer[min(2 * z + 1, len(layer) - 1)], dtype=np.float32)
        if section.shape != (2 * height, 2 * width):
            section = np.pad(section, [(0, size % 2) for size in section.shape], "edge")
        rows = section[0::2] + section[1::2]
        mean = (rows[:, 0::2] + rows[:, 1::2]) * np.float32(0.125)
        coarse[z] = np.rint(mean) if dtype.kind in "iu" else mean
    return coarse
