"""Padding: voxels of one value that a program put where a volume has no data, around it or in its corners.

A rotated or shifted volume is filled up with zeros, its mean or any other value. Whole planes of it at the faces are
borders, which hold nothing to learn from; what reaches further in is recognised by its value: it fills long runs.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mwr_hpc.numerics.normalization import Box

Array = NDArray[Any]
Mask = NDArray[np.bool_]

RUN = 8
"""Voxels of one value in a row, along x or y, that are padding: chance makes no such runs unless one grey value is
shared by most voxels."""

REGION = 32
"""Voxels of one section around a corner that such runs must fill for their value to be that of padding."""

MARGIN = 2
"""Voxels around padding that are no data either: programs interpolate between the two."""


def constant_borders(shape: tuple[int, int, int], section: Callable[[int], Array]) -> Box | None:
    """Find the part of a volume inside its constant borders: planes of one value that a program padded or masked.

    Where there are none, the first, the last and the middle section are all that is read.

    Parameters
    ----------
    shape
        (z, y, x) of the volume.
    section
        Gives the section (y, x) at an index z.

    Returns
    -------
    Box or None
        ((z0, z1), (y0, y1), (x0, x1)), half open; None when every voxel has the same value.
    """
    depth, height, width = shape
    # The faces at index 0 share one corner and those at the end another, so each value is known beforehand.
    first, last = section(0)[0, 0], section(depth - 1)[-1, -1]
    above = _leading(np.all(section(z) == first) for z in range(depth))
    if above == depth:
        return None
    below = _leading(np.all(section(z) == last) for z in reversed(range(depth)))
    sides = np.array([height, height, width, width])
    for z in (depth // 2, *range(depth)):
        voxels = section(z)
        other_than_first, other_than_last = voxels != first, voxels != last
        of_this = [
            _leading(~other_than_first.any(axis=1)),
            _leading(~other_than_last.any(axis=1)[::-1]),
            _leading(~other_than_first.any(axis=0)),
            _leading(~other_than_last.any(axis=0)[::-1]),
        ]
        sides = np.minimum(sides, of_this)
        if not sides.any():
            break
    top, bottom, left, right = (int(side) for side in sides)
    box = ((above, depth - below), (top, height - bottom), (left, width - right))
    # Two flat halves, say: nothing is left, so nothing of it is a border.
    if any(start >= stop for start, stop in box):
        return (0, depth), (0, height), (0, width)
    return box


def _leading(flags: Iterable[Any]) -> int:
    """Count the true values before the first false one."""
    count = 0
    for flag in flags:
        if not flag:
            break
        count += 1
    return count


def padding_values(section: Callable[[int], Array], box: Box) -> tuple[float, ...]:
    """Find the values that fill corners of a volume.

    Parameters
    ----------
    section
        Gives the section (y, x) at an index z; the first and the last of the box are read.
    box
        The part of the volume inside its constant borders.

    Returns
    -------
    tuple of float
        Ascending; empty where no corner is padded.
    """
    (first, stop), y, x = box
    found: set[float] = set()
    for z in {first, stop - 1}:
        plane = np.asarray(section(z))[slice(*y), slice(*x)]
        for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
            value = float(plane[corner])
            if value not in found and _fills_corner(plane, corner, value):
                found.add(value)
    return tuple(sorted(found))


def _fills_corner(plane: Array, corner: tuple[int, int], value: float) -> bool:
    runs = in_runs(plane == value)
    if not runs[corner]:
        return False
    regions, _ = ndimage.label(runs)
    return int(np.count_nonzero(regions == regions[corner])) >= REGION


def in_runs(mask: Mask) -> Mask:
    """Return which true values of a section (y, x) are in a run of at least RUN, along x or along y."""
    return _runs_along(mask, 1) | _runs_along(mask, 0)


def _runs_along(mask: Mask, axis: int) -> Mask:
    """Open `mask` by a line; lengths double, so that few passes over the section are needed."""
    if mask.shape[axis] < RUN:
        return np.zeros_like(mask)
    starts, length = np.moveaxis(mask, axis, 0), 1
    while length < RUN:
        starts = starts[:-length] & starts[length:]
        length *= 2
    runs = np.zeros_like(mask)
    along = np.moveaxis(runs, axis, 0)
    for offset in range(RUN):
        along[offset : offset + len(starts)] |= starts
    return runs


class PaddedSections:
    """Which voxels of each section of a volume are padding, or within MARGIN of it.

    Parameters
    ----------
    section
        Gives the section (y, x) at an index z.
    box
        The part of the volume inside its constant borders; sections outside it are not read.
    values
        Of the padding, as `padding_values` found them.
    """

    def __init__(self, section: Callable[[int], Array], box: Box, values: tuple[float, ...]) -> None:
        self._section = section
        self._range = range(*box[0])
        self._values = values
        self._runs: dict[int, Mask] = {}

    def __call__(self, z: int) -> Mask:
        """Return the mask (y, x) of section `z`; sections in order are each read once."""
        near = [index for index in range(z - MARGIN, z + MARGIN + 1) if index in self._range]
        self._runs = {index: self._runs[index] if index in self._runs else self._read(index) for index in near}
        return _grown(np.logical_or.reduce(list(self._runs.values())))

    def _read(self, z: int) -> Mask:
        plane = np.asarray(self._section(z))
        return np.asarray(np.logical_or.reduce([in_runs(plane == value) for value in self._values]))


def _grown(mask: Mask) -> Mask:
    """Grow a mask (y, x) by MARGIN to all sides."""
    grown = mask.copy()
    for axis in (0, 1):
        source, target = np.moveaxis(grown.copy(), axis, 0), np.moveaxis(grown, axis, 0)
        for shift in range(1, MARGIN + 1):
            target[shift:] |= source[:-shift]
            target[:-shift] |= source[shift:]
    return grown
