"""Isolated outliers: hot pixels and X-ray hits, which no specimen makes, and gold beads, which are no outliers.

One voxel of a million standard deviations outweighs all others in a mean, a standard deviation or a network. Voxels are
outliers beyond SIGMAS robust standard deviations; what more than GROUP of them that touch make is a thing, a gold bead
say, and stays.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SIGMAS = 30.0
"""Robust standard deviations from the median beyond which a voxel may be an outlier."""

GROUP = 2
"""Outliers that touch, along an axis or a diagonal, are isolated up to so many."""

MOST_CANDIDATES = 2**20
"""Voxels beyond the limits that are kept in memory; of more than that none is called isolated."""

MOST_OUTLIERS = 100_000
"""More than so many are no defects of single pixels, and none is replaced."""

SAMPLE_SIZE = 2**16
"""Voxels, evenly spread, that the limits of a volume in memory are taken from."""

PERCENTILES = (1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0)

SPREADS = ((25.0, 1.349), (5.0, 3.290), (1.0, 4.653))
"""Tail in percent, and the distance of that percentile from its mirror image for a normal distribution of standard
deviation 1. The largest spread counts, so that heavy tails are no outliers."""


@dataclass(frozen=True)
class Limits:
    """Grey values beyond which a voxel may be an outlier, and the median."""

    low: float
    high: float
    median: float

    @classmethod
    def of(cls, percentile: Callable[[float], float]) -> "Limits":
        """Return the limits of a volume from its percentiles; infinite ones where most voxels have one value."""
        spread = max((percentile(100 - tail) - percentile(tail)) / width for tail, width in SPREADS)
        median = percentile(50)
        reach = SIGMAS * spread if spread > 0 else np.inf
        return cls(median - reach, median + reach, median)

    def beyond(self, values: Array) -> NDArray[np.bool_]:
        """Return which values are beyond the limits."""
        return (values < self.low) | (values > self.high)


@dataclass(frozen=True)
class Outliers:
    """What is beyond the limits in a volume.

    Attributes
    ----------
    positions
        (n, 3) int: z, y, x of the isolated outliers, ascending.
    found, replaced
        (n,) float32: their grey values, and the medians of their neighbours.
    connected
        Number of voxels beyond the limits that belong to larger things, and stay.
    """

    positions: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 3), np.int64))
    found: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    replaced: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    connected: int = 0

    def __len__(self) -> int:
        """Return the number of isolated outliers."""
        return len(self.positions)

    def replace_in(self, values: Array, start: Sequence[int]) -> None:
        """Replace the isolated outliers in a part of the volume, whose first voxel is at `start`, in place."""
        self._put(values, start, self.replaced)

    def restore_in(self, values: Array, start: Sequence[int]) -> None:
        """Put the isolated outliers back, as they were found."""
        self._put(values, start, self.found)

    def _put(self, values: Array, start: Sequence[int], grey: NDArray[np.float32]) -> None:
        places = self.positions - np.asarray(start)
        inside = ((places >= 0) & (places < values.shape)).all(axis=1)
        values[tuple(places[inside].T)] = grey[inside]


Sections = Callable[[int], tuple[Array, NDArray[np.bool_] | None]]
"""Gives the voxels (y, x) at an index z, and which of them count; None: all."""


def find_outliers(sections: Sections, beyond: Sequence[int], depth: range, limits: Limits) -> Outliers:
    """Find what is beyond the limits in a volume, and which of it is isolated.

    Parameters
    ----------
    sections
        Reads a section.
    beyond
        Ascending indices of the sections that reach beyond the limits: those and the neighbours of isolated outliers
        are read.
    depth
        Indices of the sections that there are.
    limits
        Of the volume.
    """
    positions, total = _candidates(sections, beyond, limits)
    isolated = positions[_are_isolated(positions)] if total <= MOST_CANDIDATES else positions[:0]
    if not 0 < len(isolated) <= MOST_OUTLIERS:
        return Outliers(connected=total)
    found, replaced = zip(*_replacements(sections, isolated, depth, limits), strict=True)
    return Outliers(isolated, np.concatenate(found), np.concatenate(replaced), total - len(isolated))


def outliers_of(volume: Array) -> Outliers:
    """Find the outliers of a volume (z, y, x) in memory; an image is a volume of one section."""
    sample = volume.ravel()[:: max(1, volume.size // SAMPLE_SIZE) | 1]
    quantiles = np.percentile(np.asarray(sample, np.float32), PERCENTILES)
    limits = Limits.of(lambda percent: float(np.interp(percent, PERCENTILES, quantiles)))
    if limits.low <= volume.min() and volume.max() <= limits.high:
        return Outliers()
    return find_outliers(lambda z: (volume[z], None), range(len(volume)), range(len(volume)), limits)


def _candidates(sections: Sections, beyond: Sequence[int], limits: Limits) -> tuple[NDArray[np.int64], int]:
    """Positions (n, 3) of the voxels beyond the limits, up to MOST_CANDIDATES, and how many there are in all."""
    total, parts = 0, [np.empty((0, 3), np.int64)]
    for z in beyond:
        values, counts = sections(z)
        mask = limits.beyond(values) if counts is None else limits.beyond(values) & counts
        number = int(np.count_nonzero(mask))
        if number and total + number <= MOST_CANDIDATES:
            parts.append(np.insert(np.argwhere(mask), 0, z, axis=1))
        total += number
    return np.concatenate(parts), total


def _are_isolated(positions: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of ascending positions (n, 3) touch no other one, or one that touches no third."""
    if not len(positions):
        return np.zeros(0, bool)
    _, height, width = positions.max(axis=0) + 3  # a voxel of room, so that rows do not touch around their ends
    keys = (positions[:, 0] * height + positions[:, 1] + 1) * width + positions[:, 2] + 1
    ahead = [1, *(width + dx for dx in (-1, 0, 1))]
    ahead += [height * width + dy * width + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    pairs = []
    for step in ahead:
        at = np.minimum(np.searchsorted(keys, keys + step), len(keys) - 1)
        first = np.flatnonzero(keys[at] == keys + step)
        pairs.append(np.stack([first, at[first]]))
    one, other = np.concatenate(pairs, axis=1)
    touching = np.bincount(one, minlength=len(keys)) + np.bincount(other, minlength=len(keys))
    theirs = np.bincount(one, touching[other], len(keys)) + np.bincount(other, touching[one], len(keys))
    isolated: NDArray[np.bool_] = (touching < GROUP) & (theirs < GROUP)
    return isolated


def _replacements(
    sections: Sections, positions: NDArray[np.int64], depth: range, limits: Limits
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Yield, section by section, the values at positions and the medians of their neighbours within the limits."""
    for z in np.unique(positions[:, 0]):
        here = positions[positions[:, 0] == z, 1:]
        near = [sections(index) for index in range(z - 1, z + 2) if index in depth]
        replaced = [_median_around(near, y, x, limits) for y, x in here]
        found = sections(int(z))[0][tuple(here.T)]
        yield np.asarray(found, np.float32), np.array(replaced, np.float32)


def _median_around(near: Sequence[tuple[Array, NDArray[np.bool_] | None]], y: int, x: int, limits: Limits) -> float:
    around = slice(max(0, y - 1), y + 2), slice(max(0, x - 1), x + 2)
    values = [plane[around] if counts is None else plane[around][counts[around]] for plane, counts in near]
    usable = np.concatenate([np.ravel(part) for part in values]).astype(np.float64)
    usable = usable[~limits.beyond(usable)]
    return float(np.median(usable)) if len(usable) else limits.median
