"""What in a volume is no measurement: padding and isolated outliers, which statistics and networks never see.

A result shows it as it was: `Defects.hide_in` takes it from what a network is given, `Defects.restore_in` puts it back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.numerics.normalization import Box, StatisticsAccumulator, VolumeStatistics
from mwr_hpc.numerics.outliers import Limits, Outliers, find_outliers
from mwr_hpc.numerics.padding import PaddedSections, padding_values

Array = NDArray[Any]

LEAST_MEASURED = 0.01
"""Share of a volume's voxels that has to be left for a value to be that of padding."""


@dataclass(frozen=True)
class Defects:
    """Padding and outliers of one volume.

    Attributes
    ----------
    statistics
        Of the measured voxels: without padding, isolated outliers replaced.
    padded_statistics
        The same with the padding counted, as version 0.1.0 did.
    outliers
        What is beyond 30 robust standard deviations.
    padding
        The values that fill corners.
    padded_share
        Of all voxels inside the constant borders.
    padded_below, padded_above
        Grey values beyond which a voxel is padding, or mostly: those between padding and data are interpolated.
    """

    statistics: VolumeStatistics
    padded_statistics: VolumeStatistics
    outliers: Outliers = field(default_factory=Outliers)
    padding: tuple[float, ...] = ()
    padded_share: float = 0.0
    padded_below: float = -np.inf
    padded_above: float = np.inf

    @property
    def any(self) -> bool:
        """Whether there is something to tell."""
        return bool(self.padding or len(self.outliers) or self.outliers.connected)

    def hide_in(self, values: Array, start: Sequence[int]) -> Array:
        """Replace outliers by the medians of their neighbours, and padding by the mean.

        Parameters
        ----------
        values
            A part of the volume, (z, y, x); changed in place where it is float32.
        start
            Its first voxel in the volume.

        Returns
        -------
        float32 values, the same array where nothing had to be copied.
        """
        hidden = np.require(values, np.float32, "W")
        self.outliers.replace_in(hidden, start)
        if self.padding:
            hidden[self._padded(hidden)] = self.statistics.mean
        return hidden

    def restore_in(self, values: Array, original: Array, start: Sequence[int]) -> None:
        """Put back, in place, what `hide_in` took from `original`."""
        self.outliers.restore_in(values, start)
        if self.padding:
            padded = self._padded(original)
            values[padded] = original[padded]

    def _padded(self, values: Array) -> NDArray[np.bool_]:
        return (values < self.padded_below) | (values > self.padded_above)

    def padding_counted(self) -> "Defects":
        """Return the defects as a model sees them that was trained by version 0.1.0: padding is data like any other."""
        return Defects(self.padded_statistics, self.padded_statistics, self.outliers)

    def summary(self) -> dict[str, Any]:
        """Return plain values for JSON, whose size does not depend on the number of outliers."""
        beyond = [float(value) if np.isfinite(value) else None for value in (self.padded_below, self.padded_above)]
        return {
            "outliers": len(self.outliers),
            "connected_outliers": self.outliers.connected,
            "padding": list(self.padding),
            "padded_share": self.padded_share,
            "padded_beyond": beyond,
            "statistics": self.statistics.to_record(),
            "padded_statistics": self.padded_statistics.to_record(),
        }

    def to_record(self) -> dict[str, Any]:
        """Return plain values for JSON: the summary and every outlier."""
        return self.summary() | {
            "outlier_positions": self.outliers.positions.tolist(),
            "outlier_values": self.outliers.found.tolist(),
            "outlier_replacements": self.outliers.replaced.tolist(),
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Defects":
        """Return the defects that `to_record` recorded."""
        below, above = record["padded_beyond"]
        return cls(
            VolumeStatistics.from_record(record["statistics"]),
            VolumeStatistics.from_record(record["padded_statistics"]),
            Outliers(
                np.array(record["outlier_positions"], np.int64).reshape(-1, 3),
                np.array(record["outlier_values"], np.float32),
                np.array(record["outlier_replacements"], np.float32),
                record["connected_outliers"],
            ),
            tuple(record["padding"]),
            record["padded_share"],
            -np.inf if below is None else below,
            np.inf if above is None else above,
        )


def find_defects(
    accumulator: StatisticsAccumulator, whole: VolumeStatistics, section: Callable[[int], Array], box: Box
) -> Defects | None:
    """Find padding and outliers of a volume, once its statistics have been measured with all voxels.

    What holds none costs the reading of two sections. A padded volume is read once more, an outlier has its section and
    those beside it read again.

    Parameters
    ----------
    accumulator
        Has every section of the volume; is left with the statistics of the measured voxels.
    whole
        Its result so far.
    section
        Gives the section (y, x) at an index z.
    box
        The part of the volume inside its constant borders.

    Returns
    -------
    Defects or None
        None when there is neither padding nor a voxel beyond the limits.
    """
    sections, everything = _Sections(section, box), accumulator.copy()
    if padding := padding_values(section, box):
        sections.padded = PaddedSections(section, box, padding)
        for z in range(*box[0]):
            accumulator.measure(z, *sections(z))
        if accumulator.count < LEAST_MEASURED * whole.count:
            padding, sections.padded, accumulator = (), None, everything.copy()
    statistics = accumulator.result() if padding else whole
    limits = Limits.of(statistics.percentile)
    low, high = accumulator.extremes().T
    beyond = np.flatnonzero((low < limits.low) | (high > limits.high)) + box[0][0]
    if not padding and not len(beyond):
        return None
    outliers = find_outliers(sections, beyond.tolist(), range(*box[0]), limits) if len(beyond) else Outliers()
    for z in np.unique(outliers.positions[:, 0]).tolist():
        values, measured = sections(z)
        outliers.replace_in(values[None], (z, 0, 0))
        accumulator.measure(z, values, measured)
        everything.measure(z, values)
    far_below = [value for value in padding if value < limits.low]
    far_above = [value for value in padding if value > limits.high]
    found = Defects(
        accumulator.result(),
        everything.result(),
        outliers,
        padding,
        1 - statistics.count / whole.count,
        (max(far_below) + limits.low) / 2 if far_below else -np.inf,
        (min(far_above) + limits.high) / 2 if far_above else np.inf,
    )
    return found if found.any else None


class _Sections:
    """Sections of a volume as float32 copies, with what of each is measured."""

    def __init__(self, section: Callable[[int], Array], box: Box) -> None:
        self._section = section
        self._inside = slice(*box[1]), slice(*box[2])
        self.padded: PaddedSections | None = None

    def __call__(self, z: int) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        values = np.array(self._section(z), np.float32)
        measured = np.zeros(values.shape, bool)
        measured[self._inside] = True
        if self.padded is not None:
            measured &= ~self.padded(z)
        return values, measured
