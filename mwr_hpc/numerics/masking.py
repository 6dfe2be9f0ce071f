"""Masks of where the specimen is, by MWR's two tests, slab by slab so that memory does not grow with the depth.

Both tests work on the volume binned twofold (means of 2 x 2 x 2 voxels), density positive, and both must hold:

- local density: the volume smoothed by a Gaussian of `side` / 2, then its maximum over a cube of 2 `side` + 1; the
  `percentile` percent of the voxels that have most of it pass;
- local variation: the standard deviation within a cube of 2 `side` + 1 exceeds `threshold` times that of the volume.

MWR and IsoNet 0.1 (bin/make_mask.py and util/filter.py of IsoNet-cryoET/IsoNet) have these tests, windows and meanings
of `percentile` and `threshold`; they bin by leaving voxels out, which keeps all noise, and only later versions smooth.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mwr_hpc.numerics.normalization import LARGEST_VALUE

Array = NDArray[Any]
Shape = tuple[int, int, int]

BIN = 2
TRUNCATE = 4.0
"""Standard deviations at which the Gaussian ends."""

SLAB_VOXELS = 2**24
"""Binned voxels of a slab without its halo; about five float32 arrays of a slab with its halo are in memory at once."""

SAMPLE_SIZE = 2**21
"""Binned voxels, evenly spread, of which the percentile is taken; smaller volumes are taken whole."""


class BadVoxelError(ValueError):
    """A voxel of the volume is no usable number."""


@dataclass(frozen=True)
class MaskTests:
    """What decides where the specimen is.

    Attributes
    ----------
    side
        Half the edge of the windows, in binned voxels.
    percentile
        Percent of the voxels that pass the test of local density; 100 leaves it out.
    threshold
        Local standard deviation in units of the volume's; 0 leaves the test out.
    z_crop
        Share of the depth that is left out at the top and again at the bottom.
    """

    side: int = 8
    percentile: float = 99.0
    threshold: float = 1.0
    z_crop: float = 0.0


def mask_slabs(
    section: Callable[[int], Array], shape: Shape, tests: MaskTests, sign: int
) -> Iterator[tuple[int, NDArray[np.int8]]]:
    """Make the mask of a volume, slab by slab.

    The volume is read three times: for its mean and standard deviation, for the percentile, and for the mask.

    Parameters
    ----------
    section
        Gives the section (y, x) of grey values at an index z.
    shape
        (nz, ny, nx) of the volume.
    tests
        What decides.
    sign
        -1 where protein is dark, else 1.

    Yields
    ------
    z : int
        First section of a slab; slabs come in order and cover the volume once.
    slab : ndarray of int8, (sections, ny, nx)
        1 where the specimen is.

    Raises
    ------
    BadVoxelError
        A voxel is not finite, or absurdly large.
    """
    volume = _Binned(section, shape)
    mean, deviation = _moments(volume)
    if deviation == 0.0:
        raise BadVoxelError("all voxels have the same value")
    scale = sign / deviation
    limit = _density_limit(volume, mean, scale, tests)
    top = round(tests.z_crop * shape[0])
    for first, core, values in _slabs(volume, mean, scale, tests.side):
        binned = _density(values, tests.side)[core] >= limit
        if tests.threshold > 0:
            binned &= _variation(values, tests.side)[core] > tests.threshold
        start, stop = BIN * first, min(BIN * (first + len(binned)), shape[0])
        slab = np.repeat(np.repeat(np.repeat(binned.view(np.int8), BIN, axis=0), BIN, axis=1), BIN, axis=2)
        slab = slab[: stop - start, : shape[1], : shape[2]]
        slab[: max(0, top - start)] = 0
        slab[max(0, shape[0] - top - start) :] = 0
        yield start, slab


class _Binned:
    """A volume binned twofold, row of sections by row; an odd last voxel of an axis counts twice."""

    def __init__(self, section: Callable[[int], Array], shape: Shape) -> None:
        self._section = section
        self._depth = shape[0]
        self.shape = tuple(-(-size // BIN) for size in shape)

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """Read the binned sections `start` to `stop`."""
        rows = np.empty((stop - start, *self.shape[1:]), np.float32)
        for index in range(start, stop):
            below = BIN * index
            total = self._read(below) + self._read(min(below + 1, self._depth - 1))
            total = np.pad(total, [(0, size % BIN) for size in total.shape], "edge")
            lines = total[0::2] + total[1::2]
            rows[index - start] = (lines[:, 0::2] + lines[:, 1::2]) * np.float32(1 / 8)
        return rows

    def _read(self, z: int) -> NDArray[np.float32]:
        values = np.asarray(self._section(z), np.float32)
        if not (np.abs(values) <= LARGEST_VALUE).all():
            y, x = np.argwhere(~(np.abs(values) <= LARGEST_VALUE))[0]
            raise BadVoxelError(f"the voxel (z, y, x) = ({z}, {y}, {x}) has the value {values[y, x]:g}")
        return values

    def slab_rows(self) -> int:
        """Sections of a slab."""
        return max(1, SLAB_VOXELS // (self.shape[1] * self.shape[2]))


def _moments(volume: _Binned) -> tuple[float, float]:
    """Mean and standard deviation, of the variances and means of all rows so that a large mean costs no digits."""
    means, variances = [], []
    for index in range(volume.shape[0]):
        row = volume.rows(index, index + 1)
        means.append(row.mean(dtype=np.float64))
        variances.append(row.var(dtype=np.float64))
    mean = float(np.mean(means))
    return mean, float(np.sqrt(np.mean(variances) + np.var(means)))


def _slabs(volume: _Binned, mean: float, scale: float, side: int) -> Iterator[tuple[int, slice, NDArray[np.float32]]]:
    """Yield the first row of each slab, the slab's place in what was read, and that, normalised.

    Each slab comes with a halo as wide as the filters reach; they reflect at the faces of the volume only.
    """
    depth = volume.shape[0]
    halo = int(TRUNCATE * side / 2 + 0.5) + side
    step = volume.slab_rows()
    for first in range(0, depth, step):
        last = min(first + step, depth)
        start, stop = max(0, first - halo), min(depth, last + halo)
        values = volume.rows(start, stop)
        values -= np.float32(mean)
        values *= np.float32(scale)
        yield first, slice(first - start, last - start), values


def _density(values: Array, side: int) -> Array:
    """The most that the smoothed density reaches in each window."""
    smooth = ndimage.gaussian_filter(values, side / 2, truncate=TRUNCATE)
    return np.asarray(ndimage.maximum_filter(smooth, 2 * side + 1, output=smooth))


def _variation(values: Array, side: int) -> Array:
    """The standard deviation within each window; overwrites `values`."""
    window = 2 * side + 1
    mean = ndimage.uniform_filter(values, window)
    variance = ndimage.uniform_filter(np.square(values, out=values), window)
    variance -= np.square(mean, out=mean)
    return np.asarray(np.sqrt(np.maximum(variance, 0, out=variance)))


def _density_limit(volume: _Binned, mean: float, scale: float, tests: MaskTests) -> float:
    """Least local density that passes: the percentile of an evenly spread sample."""
    if tests.percentile >= 100:
        return -np.inf
    stride = max(1, int(np.prod(volume.shape)) // SAMPLE_SIZE)
    # A stride that shares a factor with the row length would visit few columns only.
    while np.gcd(stride, volume.shape[2]) > 1:
        stride += 1
    plane = volume.shape[1] * volume.shape[2]
    samples = [
        _density(values, tests.side)[core].ravel()[-(first * plane) % stride :: stride].copy()
        for first, core, values in _slabs(volume, mean, scale, tests.side)
    ]
    return float(np.percentile(np.concatenate(samples), 100 - tests.percentile))
