"""The rotations of a cube onto itself, applied to arrays, boxes and measured regions without interpolation.

Turning and then wedging equals wedging with a turned wedge and then turning, W(g R) = g(W_g R): the few distinct W_g
replace a Fourier transform for every rotation.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from mwr_hpc.numerics.wedge import Array, Region, TiltRange, measured_region


@dataclass(frozen=True)
class Rotation:
    """A rotation by multiples of 90 degrees.

    Axis a of the turned array is axis `axes[a]` of the original, reversed where `signs[a]` is -1.
    """

    axes: tuple[int, int, int]
    signs: tuple[int, int, int]


def _determinant(axes: tuple[int, int, int], signs: tuple[int, int, int]) -> int:
    swaps = sum(axes[i] > axes[j] for i, j in ((0, 1), (0, 2), (1, 2)))
    return int((-1) ** swaps * np.prod(signs))


_AXES = tuple(itertools.permutations((0, 1, 2), 3))
_SIGNS = tuple(itertools.product((1, -1), (1, -1), (1, -1)))

CUBE_ROTATIONS: tuple[Rotation, ...] = tuple(
    Rotation(axes, signs) for axes in _AXES for signs in _SIGNS if _determinant(axes, signs) == 1
)
"""All 24, in the lexical order of axes, then of signs with +1 before -1; the identity comes first."""

WEDGE_ROTATIONS: tuple[Rotation, ...] = tuple(g for g in CUBE_ROTATIONS if g.axes != (0, 1, 2))
"""The 20 that move a symmetric wedge, in the order of CUBE_ROTATIONS. Stored pairs refer to them by index."""


def turn(array: Array, rotation: Rotation) -> Array:
    """Turn the last three axes of an array, (..., n, n, n); the result is a view."""
    leading = array.ndim - 3
    order = (*range(leading), *(leading + axis for axis in rotation.axes))
    z, y, x = rotation.signs
    return array.transpose(order)[..., ::z, ::y, ::x]


def turn_box(box: Array, size: int, rotation: Rotation) -> NDArray[np.int16]:
    """Turn a box [z0, z1, y0, y1, x0, x1] inside a cube of edge `size` as `turn` turns the cube."""
    turned = np.empty(6, np.int16)
    for axis, (source, sign) in enumerate(zip(rotation.axes, rotation.signs, strict=True)):
        start, stop = int(box[2 * source]), int(box[2 * source + 1])
        turned[2 * axis : 2 * axis + 2] = (start, stop) if sign == 1 else (size - stop, size - start)
    return turned


def turned_regions(size: int, tilt_range: TiltRange) -> tuple[list[Region], NDArray[np.uint8]]:
    """Find the distinct measured regions W_g with W(g R) = g(W_g R) over WEDGE_ROTATIONS.

    Parameters
    ----------
    size
        Edge of the cube.
    tilt_range
        (tilt_min, tilt_max) in degrees.

    Returns
    -------
    regions : list of ndarray of bool
        5 for a symmetric tilt range, at most 10 otherwise; each of length 1 along the axis on which it is constant,
        and of the others the last is halved, ready for `wedge.filter_volume`.
    which : ndarray of uint8, (20,)
        For each rotation the index of its region.
    """
    region = _both_halves(measured_region((size, size, size), tilt_range), size)
    distinct: dict[tuple[tuple[int, ...], bytes], int] = {}
    regions: list[Region] = []
    which = np.empty(len(WEDGE_ROTATIONS), np.uint8)
    for index, rotation in enumerate(WEDGE_ROTATIONS):
        turned = _halved(_turned_back(region, rotation), size)
        key = (turned.shape, turned.tobytes())
        if key not in distinct:
            distinct[key] = len(regions)
            regions.append(turned)
        which[index] = distinct[key]
    return regions, which


def target_regions(size: int, tilt_range: TiltRange) -> Region:
    """Say which Fourier coefficients of the turned cubes g R come from a measurement, over WEDGE_ROTATIONS.

    Parameters
    ----------
    size
        Edge of the cube.
    tilt_range
        (tilt_min, tilt_max) in degrees.

    Returns
    -------
    ndarray of bool, (20, size, size, size // 2 + 1)
        In the layout of a real FFT: F(g R) = g F(R), so each is the measured region turned by g.
    """
    region = _both_halves(measured_region((size, size, size), tilt_range), size)
    whole = np.broadcast_to(region, (size, size, size))
    return np.stack([_turned(whole, rotation)[..., : size // 2 + 1] for rotation in WEDGE_ROTATIONS])


def _turned(region: Region, rotation: Rotation) -> Region:
    region = region.transpose(rotation.axes)
    for axis, sign in enumerate(rotation.signs):
        if sign == -1:
            region = _negated(region, axis)
    return region


def _negated(region: Region, axis: int) -> Region:
    """Exchange k and -k along one axis in FFT order."""
    return np.roll(np.flip(region, axis), 1, axis)


def _both_halves(half: Region, size: int) -> Region:
    """Complete the real-FFT layout (n, 1, n // 2 + 1) to (n, 1, n) by W(-k) = W(k)."""
    negative = np.flip(half[..., 1 : (size + 1) // 2], 2)
    return np.concatenate([half, _negated(negative, 0)], axis=2)


def _turned_back(region: Region, rotation: Rotation) -> Region:
    for axis, sign in enumerate(rotation.signs):
        if sign == -1:
            region = _negated(region, axis)
    return region.transpose(np.argsort(rotation.axes))


def _halved(region: Region, size: int) -> Region:
    last = max(axis for axis in range(3) if region.shape[axis] > 1)
    return np.ascontiguousarray(region.take(np.arange(len(fft.rfftfreq(size))), last))
