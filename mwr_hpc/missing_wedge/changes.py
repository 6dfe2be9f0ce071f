"""Measures on disk what a correction changed: on blocks from the middle of the tomogram before and after."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.io.volume import Volume, read_box
from mwr_hpc.numerics.change import Change, change_of, sample_boxes
from mwr_hpc.numerics.defects import Defects
from mwr_hpc.numerics.wedge import TiltRange

Block = NDArray[np.float32]


def measured_change(before: Volume, after: Volume, tilt_range: TiltRange, defects: Defects | None = None) -> Change:
    """Measure what changed from one volume to another of the same shape; eight blocks are in memory at most.

    Parameters
    ----------
    before, after
        The tomogram and the corrected one, open for reading.
    tilt_range
        (tilt_min, tilt_max) in degrees.
    defects
        Padding and outliers of the tomogram, which are in both volumes and count in neither.
    """

    def pairs() -> Iterator[tuple[Block, Block]]:
        for box in sample_boxes(before.shape):
            yield _read(before, box, defects), _read(after, box, defects)

    return change_of(pairs(), tilt_range)


def _read(volume: Volume, box: tuple[slice, slice, slice], defects: Defects | None) -> Block:
    block = read_box(volume, box).astype(np.float32)
    return block if defects is None else defects.hide_in(block, [part.start for part in box])


def describe_change(change: dict[str, Any] | None) -> str:
    """Put the figures of a receipt into a line; empty for results of versions that did not measure them."""
    if change is None:
        return ""
    after, before = change["wedge_fill"], change["wedge_fill_before"]
    wedge = "" if after is None else f"power in the missing wedge {before:.1%} -> {after:.1%}, "
    return f"{wedge}{change['measured']:.1%} of the measured power changed"
