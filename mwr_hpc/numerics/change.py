"""What a correction changed: how full the missing wedge became, and how much of the rest is another than before."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from typing import Any

from numpy.typing import NDArray

from mwr_hpc.numerics.spectral_sums import SpectralSums
from mwr_hpc.numerics.wedge import TiltRange

Array = NDArray[Any]

EMPTY_BELOW = 0.05
"""A wedge with a smaller share of the power that the measured region has counts as empty."""

UNCHANGED_BELOW = 0.01
"""A smaller share of the measured region's power that changed counts as no change: its noise is still there."""

BLOCK = 128
"""Largest edge, in voxels, of the blocks in which a whole tomogram is measured."""


@dataclass(frozen=True)
class Change:
    """The figures of one correction.

    Attributes
    ----------
    wedge_fill, wedge_fill_before
        Power in the missing region over what it would be with the measured region's power per coefficient in each
        shell, after and before: 0 empty, 1 as strong. None where the wedge is too narrow to have its own coefficients.
    measured
        Power of the difference in the measured region, as a share of the power before.
    """

    wedge_fill: float | None
    wedge_fill_before: float | None
    measured: float

    @property
    def leaves_wedge_empty(self) -> bool:
        """Whether the missing wedge holds next to nothing after the correction."""
        return self.wedge_fill is not None and self.wedge_fill < EMPTY_BELOW

    @property
    def keeps_the_rest(self) -> bool:
        """Whether next to nothing changed where the tomogram was measured."""
        return self.measured < UNCHANGED_BELOW

    def to_record(self) -> dict[str, float | None]:
        """Return plain values for JSON."""
        return asdict(self)


def change_of(pairs: Iterable[tuple[Array, Array]], tilt_range: TiltRange) -> Change:
    """Measure what changed between volumes before and after.

    Parameters
    ----------
    pairs
        One or more (before, after), each (nz, ny, nx), all of one shape; the figures are those of all together.
    tilt_range
        (tilt_min, tilt_max) in degrees.
    """
    sums = reduce(add, (SpectralSums(before, after, tilt_range) for before, after in pairs))
    return Change(sums.wedge_fill("second"), sums.wedge_fill("first"), sums.difference("measured"))


def sample_boxes(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice, slice]]:
    """Yield up to four boxes of one shape around the middle of a volume of `shape` (z, y, x)."""
    z, y, x = (_starts(size) for size in shape)
    for first_y in y:
        for first_x in x:
            corner = (z[len(z) // 2], first_y, first_x)
            first, second, third = (slice(at, at + min(BLOCK, size)) for at, size in zip(corner, shape, strict=True))
            yield first, second, third


def _starts(size: int) -> list[int]:
    return [max(0, (size - BLOCK) // 2)] if size < 2 * BLOCK else [size // 2 - BLOCK, size // 2]
