"""Where sub-tomograms are cut, which block is held out, and how a crop is cut at the border of a volume.

A crop of edge K around centre c covers c - K // 2 up to, not including, c - K // 2 + K, along each of (z, y, x).
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Box = tuple[int, int, int, int, int, int]
Shape = tuple[int, int, int]

TAPER = 4
_MASK_SLAB = 64


class NoPlaceError(ValueError):
    """There is no voxel at which a sub-tomogram may be centred."""


def check_sizes(shape: Shape, crop_size: int) -> None:
    """Raise ValueError when a crop would be over twice as wide as the volume, saying which size fits."""
    thinnest = min(shape)
    if crop_size > 2 * thinnest:
        raise ValueError(
            f"a crop of {crop_size} voxels is over twice the volume's {thinnest} (shape z, y, x {shape}): "
            f"use a crop size of at most {2 * thinnest} and a cube size of about {4 * thinnest // 3}"
        )


def held_out_block(shape: Shape, cube_size: int, crop_size: int) -> Box | None:
    """Choose a block that training crops avoid, to hold out cubes of the same tomogram.

    It is a column through all z at the far end of y and x, as wide as costs a tenth of the places for training crops
    but at least `cube_size`.

    Returns
    -------
    (z0, z1, y0, y1, x0, x1) or None
        None when even the narrowest column would cost over an eighth of the places: small tomograms cannot spare more
        (docs/method.md).
    """
    margin = math.ceil((crop_size - cube_size) / 2)
    rows, columns = (stop - start for start, stop in _centre_limits(shape, cube_size)[1:])
    edge = min(max(cube_size, int(math.sqrt(rows * columns / 10)) - margin), *shape[1:])
    if 8 * (edge + margin) ** 2 > rows * columns:
        return None
    nz, ny, nx = shape
    return 0, nz, ny - edge, ny, nx - edge, nx


def sample_centres(
    shape: Shape,
    cube_size: int,
    crop_size: int,
    count: int,
    generator: np.random.Generator,
    mask: Any = None,
    held_out: Box | None = None,
    inside_held_out: bool = False,
) -> NDArray[np.int32]:
    """Draw centres of crops uniformly, without repetition while there are places enough.

    Every centre is at least cube_size / 2 from each face; along an axis thinner than the cube it is the middle.

    Parameters
    ----------
    shape
        (nz, ny, nx) of the volume.
    cube_size, crop_size
        Edges of what the network sees and of what is cut.
    count
        How many centres.
    generator
        Where the random numbers come from.
    mask
        Array-like of `shape`; centres are drawn where it is positive. None: everywhere.
    held_out
        A column from `held_out_block`: no crop may touch it.
    inside_held_out
        Instead, cubes must lie inside the column.

    Returns
    -------
    ndarray of int32, (count, 3)

    Raises
    ------
    NoPlaceError
        When there is no place at all.
    """
    limits = _centre_limits(shape, cube_size)
    plane = _allowed_plane(shape, limits, cube_size, crop_size, held_out, inside_held_out)
    columns = np.flatnonzero(plane)
    first, last = limits[0]
    if mask is None:
        in_plane = np.full(last - first, len(columns))
    else:
        in_plane = np.array([np.count_nonzero(layer) for layer in _allowed_layers(mask, first, last, plane)])
    total = int(in_plane.sum())
    if total == 0:
        raise NoPlaceError(
            "no place for a sub-tomogram: "
            + ("the volume has none" if mask is None else "the mask is empty")
            + f" at least {cube_size // 2} voxels from every face of shape (z, y, x) {shape}"
        )
    ranks = generator.choice(total, count, replace=count > total)
    layer_of = np.searchsorted(np.cumsum(in_plane), ranks, side="right")
    rank_in_layer = ranks - (np.cumsum(in_plane) - in_plane)[layer_of]
    if mask is None:
        flat = columns[rank_in_layer]
    else:
        flat = np.empty(count, np.int64)
        for index, layer in enumerate(_allowed_layers(mask, first, last, plane)):
            chosen = layer_of == index
            if chosen.any():
                flat[chosen] = np.flatnonzero(layer)[rank_in_layer[chosen]]
    y, x = np.unravel_index(flat, plane.shape)
    return np.asarray(np.stack([first + layer_of, y, x], axis=1), np.int32)


def count_places(mask: Any, cube_size: int) -> int:
    """Count the voxels of a mask, array-like (z, y, x), at which a sub-tomogram may be centred."""
    (z0, z1), (y0, y1), (x0, x1) = _centre_limits(mask.shape, cube_size)
    return sum(int(np.count_nonzero(np.asarray(mask[z, y0:y1, x0:x1]) > 0)) for z in range(z0, z1))


def cut_crop(volume: Any, centre: Array, size: int, fill: float) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Cut a crop of edge `size` around a centre; see `cut_box`.

    Returns
    -------
    crop : ndarray of float32, (size, size, size)
    valid : ndarray of int16, (6,)
        Box [z0, z1, y0, y1, x0, x1] of the voxels, in the crop, that lie inside the volume.
    """
    start = tuple(int(c) - size // 2 for c in centre)
    return cut_box(volume, start, (size, size, size), fill)


def cut_box(
    volume: Any, start: tuple[int, ...], shape: Shape, fill: float
) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Cut a box that may reach outside the volume.

    Outside, each face's values fall to `fill` by a raised cosine over TAPER voxels: a step there would put a cross into
    the Fourier transform, and reflecting would turn the tilt sign.

    Parameters
    ----------
    volume
        (nz, ny, nx), anything that slices into an array, for example a memory map or a Zarr array.
    start
        (z, y, x) of the box's first voxel; may be negative.
    shape
        Of the box.
    fill
        Grey value far outside: the volume's mean.

    Returns
    -------
    box : ndarray of float32
    valid : ndarray of int16, (6,)
        Box [z0, z1, y0, y1, x0, x1] of the voxels, in the box, that lie inside the volume.

    Raises
    ------
    ValueError
        When the box lies outside the volume altogether.
    """
    before = [max(0, -begin) for begin in start]
    after = [max(0, begin + size - n) for begin, size, n in zip(start, shape, volume.shape, strict=True)]
    valid = np.array([[b, n - a] for b, n, a in zip(before, shape, after, strict=True)], np.int16).reshape(6)
    source = tuple(slice(s + b, s + n - a) for s, b, n, a in zip(start, before, shape, after, strict=True))
    if any(s.start >= s.stop for s in source):
        raise ValueError(f"a box of {shape} from {start} lies outside a volume of shape (z, y, x) {volume.shape}")
    inner = np.asarray(volume[source], np.float32)
    if not any(before) and not any(after):
        return inner, valid
    box = np.pad(inner - np.float32(fill), list(zip(before, after, strict=True)), mode="edge")
    for axis in range(3):
        falling = _falling(before[axis], inner.shape[axis], after[axis])
        box *= falling.reshape([-1 if a == axis else 1 for a in range(3)])
    box += np.float32(fill)
    return box, valid


def _falling(before: int, inside: int, after: int) -> NDArray[np.float32]:
    distance = np.concatenate([np.arange(before, 0, -1), np.zeros(inside), np.arange(1, after + 1)])
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * np.minimum(distance / (TAPER + 1), 1)), np.float32)


def _centre_limits(shape: Shape, cube_size: int) -> list[tuple[int, int]]:
    """First and one past the last centre along each axis."""
    half = cube_size // 2
    return [(n // 2, n // 2 + 1) if n < cube_size else (half, n - cube_size + half + 1) for n in shape]


def _allowed_plane(
    shape: Shape,
    limits: list[tuple[int, int]],
    cube_size: int,
    crop_size: int,
    held_out: Box | None,
    inside_held_out: bool,
) -> Array:
    """Where in a plane (ny, nx) centres may lie, which is the same for every z."""
    places: Array = np.zeros(shape[1:], bool)
    places[tuple(slice(*limit) for limit in limits[1:])] = True
    if held_out is None:
        return places
    size = cube_size if inside_held_out else crop_size
    half = size // 2
    column: Array = np.zeros(shape[1:], bool)
    (y0, y1), (x0, x1) = held_out[2:4], held_out[4:6]
    if inside_held_out:
        column[y0 + half : y1 - size + half + 1, x0 + half : x1 - size + half + 1] = True
        return np.logical_and(places, column)
    touching = [slice(max(0, low - size + half + 1), high + half) for low, high in ((y0, y1), (x0, x1))]
    column[tuple(touching)] = True
    return np.logical_and(places, ~column)


def _allowed_layers(mask: Any, first: int, last: int, plane: Array) -> Iterator[Array]:
    """Yield the allowed part of the mask plane by plane, reading it slab by slab."""
    for start in range(first, last, _MASK_SLAB):
        for layer in np.asarray(mask[start : min(start + _MASK_SLAB, last)]) > 0:
            yield layer & plane
