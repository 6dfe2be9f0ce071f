"""A whole volume through a network in overlapping tiles, blended with weights that sum to one.

The volume is divided into cores that abut. Each tile is a core with a margin of context on all sides but the volume's
own faces, beyond which there is nothing to see; neighbours blend over the inner half of the margin, and what a tile
says in the outer half is discarded. Tiles come row by row in z,
and only the planes that a row can still change are held in memory.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.numerics.sampling import Shape, cut_box

Array = NDArray[Any]


@dataclass(frozen=True)
class Tile:
    """One tile: its place in the plan, and its first voxel (z, y, x), which may lie outside the volume."""

    index: tuple[int, int, int]
    start: tuple[int, int, int]


@dataclass(frozen=True)
class TilePlan:
    """How a volume of `shape` is divided: along each axis `borders` of the cores and `starts` of the tiles.

    All tiles have one `tile_shape`.
    """

    shape: Shape
    tile_shape: Shape
    borders: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    overlap: int
    """Neighbours blend over this many voxels on either side of a border between cores."""

    def __len__(self) -> int:
        """Return the number of tiles."""
        return math.prod(len(borders) - 1 for borders in self.borders)

    def rows(self) -> Iterator[list[Tile]]:
        """Yield the tiles of each row in z, in the order that `blend` expects."""
        depth, height, width = (range(len(borders) - 1) for borders in self.borders)
        for z in depth:
            yield [self._tile((z, y, x)) for y, x in itertools.product(height, width)]

    def _tile(self, index: tuple[int, int, int]) -> Tile:
        z, y, x = (starts[i] for i, starts in zip(index, self.starts, strict=True))
        return Tile(index, (z, y, x))

    def support(self, axis: int, index: int) -> tuple[int, int]:
        """First and one past the last voxel of the volume, along an axis, to which a tile contributes."""
        borders = self.borders[axis]
        return max(0, borders[index] - self.overlap), min(self.shape[axis], borders[index + 1] + self.overlap)

    @cached_property
    def _weights(self) -> list[list[NDArray[np.float32]]]:
        return [
            [self._weights_along(axis, index) for index in range(len(borders) - 1)]
            for axis, borders in enumerate(self.borders)
        ]

    def _weights_along(self, axis: int, index: int) -> NDArray[np.float32]:
        """A rising step at the core's first border less one at its last: the sum over all cores telescopes to one."""
        borders = self.borders[axis]
        voxel = np.arange(*self.support(axis, index)) + 0.5

        def step(border: int) -> NDArray[np.float64]:
            if self.overlap == 0 or border in (0, self.shape[axis]):
                return np.asarray(voxel > border, np.float64)
            position = (voxel - border + self.overlap) / (2 * self.overlap)
            return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(position, 0, 1)))

        return np.asarray(step(borders[index]) - step(borders[index + 1]), np.float32)

    def weights(self, tile: Tile) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return the tile's weights along z, y and x over its support; their product weighs a voxel."""
        z, y, x = (self._weights[axis][index] for axis, index in enumerate(tile.index))
        return z, y, x


def plan_tiles(shape: Shape, tile_size: int, core_size: int, multiple: int) -> TilePlan:
    """Divide a volume into tiles.

    Parameters
    ----------
    shape
        (nz, ny, nx) of the volume.
    tile_size, core_size
        Largest edge of a tile, and of its core where it has neighbours on both sides; the margin, half their
        difference, is the same on all axes. Tiles are narrower where the volume is, or where equal ones leave room.
    multiple
        Every tile edge is a multiple of this, 2 to the power of the network's depth.

    Raises
    ------
    ValueError
        When the sizes do not fit one another.
    """
    if not 0 < core_size <= tile_size or tile_size % multiple or (tile_size - core_size) % 2:
        raise ValueError(
            f"tile size {tile_size} and core size {core_size}: the tile must be a multiple of {multiple}, "
            "at least the core, and wider than it by an even number"
        )
    margin = (tile_size - core_size) // 2

    def divide(n: int) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
        parts = max(1, math.ceil((n - 2 * margin) / core_size))
        edge = min(tile_size, math.ceil((n + 2 * margin * (parts - 1)) / parts / multiple) * multiple)
        if parts == 1:
            return edge, (0, n), ((n - edge) // 2,)
        starts = tuple(part * (n - edge) // (parts - 1) for part in range(parts))
        between = ((first + edge + second) // 2 for first, second in itertools.pairwise(starts))
        return edge, (0, *between, n), starts

    edges, borders, starts = zip(*(divide(n) for n in shape), strict=True)
    return TilePlan(shape, edges, borders, starts, overlap=margin // 2)


def read_tiles(volume: Any, plan: TilePlan, fill: float) -> Iterator[tuple[Tile, NDArray[np.float32]]]:
    """Yield every tile of a volume with its voxels; `volume` is asked for the same slab of sections for each of a row.

    Outside the volume is `fill`, its mean, tapered as in `sampling.cut_box`.
    """
    for row in plan.rows():
        start = row[0].start[0]
        first, last = max(0, start), min(plan.shape[0], start + plan.tile_shape[0])
        for tile in row:
            z, y, x = tile.start
            yield tile, cut_box(volume[first:last], (z - first, y, x), plan.tile_shape, fill)[0]


def blend(plan: TilePlan, tiles: Iterable[tuple[Tile, Array]]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Blend tiles into the volume, slab by slab.

    Parameters
    ----------
    plan
        The division.
    tiles
        Every tile with its voxels (of `plan.tile_shape`), in the plan's order.

    Yields
    ------
    z : int
        First plane of a finished slab; slabs come in order and cover the volume once.
    slab : ndarray of float32, (planes, ny, nx)
    """
    finished = 0
    buffer = np.zeros((0, *plan.shape[1:]), np.float32)
    for z_index, row in itertools.groupby(tiles, key=lambda item: item[0].index[0]):
        stop = plan.support(0, z_index)[1]
        begun, buffer = buffer, np.zeros((stop - finished, *plan.shape[1:]), np.float32)
        buffer[: len(begun)] = begun
        for tile, values in row:
            _add(plan, tile, values, buffer, finished)
        last_row = z_index == len(plan.borders[0]) - 2
        upcoming = plan.shape[0] if last_row else plan.support(0, z_index + 1)[0]
        yield finished, buffer[: upcoming - finished]
        buffer = buffer[upcoming - finished :].copy()  # a view would keep all of it, as would the consumer's slab
        finished = upcoming


def _add(plan: TilePlan, tile: Tile, values: Array, buffer: NDArray[np.float32], first_plane: int) -> None:
    """Add a tile's weighted values to the buffer, whose first plane is `first_plane` of the volume."""
    support = [plan.support(axis, index) for axis, index in enumerate(tile.index)]
    source = tuple(slice(low - start, high - start) for (low, high), start in zip(support, tile.start, strict=True))
    (z0, z1), (y0, y1), (x0, x1) = support
    z, y, x = plan.weights(tile)
    weighted = values[source] * (y[:, None] * x)
    weighted *= z[:, None, None]
    buffer[z0 - first_plane : z1 - first_plane, y0:y1, x0:x1] += weighted
