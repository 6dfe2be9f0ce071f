"""Grey values: statistics of a volume in one pass and bounded memory, and the affine map made of them.

The map (value - offset) / scale * sign takes a tomogram to mean 0 and standard deviation 1 (or by percentiles, as MWR
does) with density positive; its inverse gives a corrected tomogram the grey values of its input.
"""

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

PERCENTILES = np.arange(101.0)
"""The percentiles that are recorded; 4 and 96 are those of MWR's normalisation."""

SAMPLE_SIZE = 2**20
"""Voxels, evenly spread, of which the percentiles are taken: the rank of P4 is then uncertain by 0.02 %."""

POOLED_KNOTS = 2**14
"""Grey values at which the distributions of many volumes are mixed: a rank is then uncertain by 0.01 %."""

LARGEST_VALUE = 1e15
"""Grey values beyond this are damage: their squares would not fit float32."""


@dataclass(frozen=True)
class VolumeStatistics:
    """What is known of the grey values of one volume, or of several pooled.

    Attributes
    ----------
    count
        Number of voxels.
    mean, std, minimum, maximum
        Of these voxels; `std` is the population's.
    quantiles
        Values at the percentiles 0, 1, ..., 100.
    """

    count: int
    mean: float
    std: float
    minimum: float
    maximum: float
    quantiles: tuple[float, ...]

    def percentile(self, percent: float) -> float:
        """Return the value below which `percent` of the voxels lie."""
        return float(np.interp(percent, PERCENTILES, self.quantiles))

    def to_record(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self) | {"quantiles": list(self.quantiles)}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """Return the statistics that `to_record` recorded."""
        return cls(**(record | {"quantiles": tuple(record["quantiles"])}))

    @classmethod
    def pooled(cls, statistics: Sequence["VolumeStatistics"]) -> Self:
        """Return the statistics of all voxels together: moments exact, percentiles from the mixed distributions."""
        if len(statistics) == 1:
            only = statistics[0]
            return cls(only.count, only.mean, only.std, only.minimum, only.maximum, only.quantiles)
        counts = np.array([one.count for one in statistics], np.float64)
        means = np.array([one.mean for one in statistics])
        mean = float(np.average(means, weights=counts))
        variances = np.array([one.std for one in statistics]) ** 2 + (means - mean) ** 2
        values = np.unique([one.quantiles for one in statistics])
        if len(values) > POOLED_KNOTS:
            values = values[np.linspace(0, len(values) - 1, POOLED_KNOTS).round().astype(int)]
        below = np.zeros(len(values))
        for one in statistics:
            below += np.interp(values, one.quantiles, PERCENTILES) * (one.count / counts.sum())
        return cls(
            count=int(counts.sum()),
            mean=mean,
            std=math.sqrt(np.average(variances, weights=counts)),
            minimum=min(one.minimum for one in statistics),
            maximum=max(one.maximum for one in statistics),
            quantiles=tuple(np.interp(PERCENTILES, below, values).tolist()),
        )


class StatisticsAccumulator:
    """Statistics of a volume that passes by in slabs; the result does not depend on how it was cut into slabs.

    Parameters
    ----------
    shape
        (z, y, x) of the volume.
    interior
        The part that counts; see `padding.constant_borders`.
    """

    def __init__(self, shape: tuple[int, int, int], interior: Box | None = None) -> None:
        self._z, y, x = interior or ((0, shape[0]), (0, shape[1]), (0, shape[2]))
        self._section = (slice(*y), slice(*x))
        size = (y[1] - y[0]) * (x[1] - x[0])
        self._section_size = size
        depth = self._z[1] - self._z[0]
        # A stride that shares a factor with the row length would visit few columns only.
        self._stride = max(1, -(-size * depth // SAMPLE_SIZE))
        while math.gcd(self._stride, x[1] - x[0]) > 1:
            self._stride += 1
        self._sections = np.full((depth, 4), np.nan)
        self._counts = np.full(depth, size)
        self._samples: list[Array] = [np.empty(0, np.float32)] * depth

    def add(self, first: int, slab: Array) -> tuple[int, int, int] | None:
        """Take in the sections `first`, `first` + 1, ... of the volume.

        Parameters
        ----------
        first
            Index of the slab's first section in the volume.
        slab
            Shape (n, y, x): whole sections, any real dtype.

        Returns
        -------
        tuple of int or None
            (z, y, x) of the first voxel that is no usable number (NaN, infinite or beyond `LARGEST_VALUE`), if there
            is one; in the border too.
        """
        for z, plane in enumerate(slab, first):
            whole = np.asarray(plane, np.float32)
            low, high = float(whole.min()), float(whole.max())
            if not (low >= -LARGEST_VALUE and high <= LARGEST_VALUE):
                y, x = np.argwhere(~(np.abs(whole) <= LARGEST_VALUE))[0]
                return z, int(y), int(x)
            if not self._z[0] <= z < self._z[1]:
                continue
            self.measure(z, whole)
        return None

    def measure(self, z: int, section: NDArray[np.float32], measured: NDArray[np.bool_] | None = None) -> None:
        """Take in one section of the part that counts, or take it in anew.

        Parameters
        ----------
        z
            Index of the section in the volume.
        section
            Shape (y, x): the whole section, all values usable.
        measured
            Shape of the section: the voxels that count; None: all.
        """
        values = section[self._section]
        index = z - self._z[0]
        start = -(index * self._section_size) % self._stride
        chosen = slice(start, None, self._stride)
        sample = values.ravel()[chosen]
        kept = None if measured is None or measured[self._section].all() else measured[self._section]
        self._samples[index] = sample.copy() if kept is None else sample[kept.ravel()[chosen]]
        self._counts[index] = values.size if kept is None else np.count_nonzero(kept)
        self._sections[index] = _moments(values, kept) if self._counts[index] else (np.inf, -np.inf, 0.0, 0.0)

    def copy(self) -> "StatisticsAccumulator":
        """Return another accumulator of the same sections."""
        other = copy(self)
        other._sections, other._counts, other._samples = self._sections.copy(), self._counts.copy(), [*self._samples]
        return other

    @property
    def count(self) -> int:
        """Number of voxels that count so far."""
        return int(self._counts.sum())

    def extremes(self) -> NDArray[np.float64]:
        """Return the minimum and the maximum of every section of the part that counts, (n, 2)."""
        return self._sections[:, :2].copy()

    def result(self) -> VolumeStatistics:
        """Return the statistics of the whole volume.

        Raises
        ------
        RuntimeError
            Sections are missing.
        """
        low, high, mean, variance = self._sections.T
        if np.isnan(low).any():
            raise RuntimeError(f"{int(np.isnan(low).sum())} of {len(low)} sections were not added")
        average = np.mean if (self._counts == self._section_size).all() else self._weighted_mean
        whole = float(average(mean))
        sample = np.concatenate(self._samples)
        quantiles = np.percentile(sample, PERCENTILES).astype(np.float64)
        quantiles[[0, -1]] = low.min(), high.max()
        return VolumeStatistics(
            count=self.count,
            mean=whole,
            std=math.sqrt(float(average(variance + (mean - whole) ** 2))),
            minimum=float(low.min()),
            maximum=float(high.max()),
            quantiles=tuple(quantiles.tolist()),
        )

    def _weighted_mean(self, values: Array) -> Any:
        return np.average(values, weights=self._counts)


def _moments(values: NDArray[np.float32], kept: NDArray[np.bool_] | None) -> tuple[float, float, float, float]:
    """Minimum, maximum, mean and variance of values (y, x); of those that are kept where not all are."""
    if kept is None:
        low, high, pivot, count = values.min(), values.max(), values.mean(dtype=np.float32), values.size
        centred = values - pivot
    else:
        some = values[kept]
        low, high, pivot, count = some.min(), some.max(), some.mean(dtype=np.float32), some.size
        centred = np.where(kept, values - pivot, np.float32(0))
    # Sums of squares lose their digits when the mean is large; about a value close to it they do not.
    mean = centred.sum(axis=1).sum(dtype=np.float64) / count
    square = np.einsum("yx,yx->y", centred, centred).sum(dtype=np.float64) / count
    return float(low), float(high), float(pivot) + mean, max(0.0, square - mean * mean)


@dataclass(frozen=True)
class Normalization:
    """The affine map (value - offset) / scale * sign and its inverse.

    Attributes
    ----------
    offset, scale
        In grey values; `scale` is positive.
    sign
        -1 where protein is dark, so that density is positive in the program.
    """

    offset: float
    scale: float
    sign: int

    def apply(self, values: Array) -> NDArray[np.float32]:
        """Map grey values to normalised, density-positive ones (float32, same shape)."""
        centred = np.subtract(values, np.float32(self.offset), dtype=np.float32)
        return np.multiply(centred, np.float32(self.sign / self.scale), out=centred)

    def undo(self, values: Array) -> NDArray[np.float32]:
        """Map normalised values back to grey values (float32, same shape)."""
        scaled = np.multiply(values, np.float32(self.scale * self.sign), dtype=np.float32)
        return np.add(scaled, np.float32(self.offset), out=scaled)

    def to_record(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """Return the map that `to_record` recorded."""
        return cls(**record)

    @classmethod
    def from_statistics(
        cls, statistics: VolumeStatistics, percentile: bool, contrast: Literal["dark", "bright"]
    ) -> Self:
        """Choose the map of a volume.

        Parameters
        ----------
        statistics
            Of the volume without its constant borders.
        percentile
            True: density at the percentiles 4 and 96 becomes 0 and 1, as in MWR. False: mean 0, standard deviation 1.
        contrast
            "dark" or "bright": what protein looks like in the file.

        Raises
        ------
        ValueError
            The scale would be zero.
        """
        sign = -1 if contrast == "dark" else 1
        low, high = statistics.percentile(4), statistics.percentile(96)
        if percentile:
            # Dark protein is negated, which turns its 4th percentile into the negated 96th.
            offset, scale = (high if sign < 0 else low), high - low
        else:
            offset, scale = statistics.mean, statistics.std
        if not scale > 0:
            what = "percentiles 4 and 96 are both" if percentile else "standard deviation is zero around"
            raise ValueError(f"grey values cannot be normalised: {what} {offset:g}")
        return cls(offset, scale, sign)
