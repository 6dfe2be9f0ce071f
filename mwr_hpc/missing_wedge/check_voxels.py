"""Looks at the voxels of a tomogram before training: bad ones, padding, outliers, and sections that repeat."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mwr_hpc.io.volume import Volume, section_reader
from mwr_hpc.missing_wedge.defects_in_words import defects_in_words
from mwr_hpc.numerics.defects import Defects, find_defects
from mwr_hpc.numerics.normalization import LARGEST_VALUE, StatisticsAccumulator
from mwr_hpc.numerics.outliers import outliers_of
from mwr_hpc.numerics.padding import constant_borders, in_runs, padding_values

SECTIONS = 9
"""Sections that are looked at in a large volume, each with its neighbour, unless all are."""

SMALL = 2**25
"""Voxels up to which a volume is looked at whole in any case."""


@dataclass(frozen=True)
class VoxelReport:
    """What was seen of the voxels.

    Attributes
    ----------
    bad
        Why they cannot be used; None where they can.
    defects
        Padding and outliers of a volume that was looked at whole.
    warnings
        Sentences.
    """

    bad: str | None = None
    defects: Defects | None = None
    warnings: tuple[str, ...] = ()


def look_at_voxels(volume: Volume, full: bool) -> VoxelReport:
    """Look at all sections of a small volume, or if `full`; else at some of them."""
    depth = volume.shape[0]
    whole = full or int(np.prod(volume.shape)) <= SMALL
    section = section_reader(volume)
    accumulator = StatisticsAccumulator(volume.shape)
    pairs: Sequence[int] = range(depth - 1)
    if not whole:
        pairs = np.unique(np.linspace(0, depth - 2, SECTIONS).astype(int)).tolist()
    low, high, same = np.inf, -np.inf, []
    before: Any = None
    for z in sorted({*pairs, *(z + 1 for z in pairs), depth - 1}):
        plane = np.asarray(section(z))
        if accumulator.add(z, plane[None]) is not None:
            return VoxelReport(
                f"section {z} holds values that are not finite or beyond {LARGEST_VALUE:g}; reconstruct it again"
            )
        smallest, largest = float(plane.min()), float(plane.max())
        if before is not None and z - 1 in pairs and smallest < largest and np.array_equal(before, plane):
            same.append(z)
        low, high, before = min(low, smallest), max(high, largest), plane
    if low == high:
        return VoxelReport(f"all voxels that were read have the value {low:g}; reconstruct it again")
    repeated = tuple(_of_repeated(same, len(pairs)))
    if not whole:
        return VoxelReport(warnings=(*defects_in_words(_in_some(volume, pairs), "the voxels looked at"), *repeated))
    defects = _in_all(volume)
    return VoxelReport(None, defects, (*(defects_in_words(defects.summary()) if defects else ()), *repeated))


def _of_repeated(same: list[int], compared: int) -> Iterator[str]:
    if same:
        yield (
            f"{len(same)} of {compared} neighbouring sections that were compared are identical, first {same[0] - 1} "
            f"and {same[0]}: it was upsampled by repeating sections, or written by a faulty program; take the "
            "reconstruction as it was before, or reconstruct it again"
        )


def _in_all(volume: Volume) -> Defects | None:
    section = section_reader(volume)
    box = constant_borders(volume.shape, section)
    assert box is not None, "not all voxels have one value"
    accumulator = StatisticsAccumulator(volume.shape, box)
    for z in range(volume.shape[0]):
        accumulator.add(z, np.asarray(section(z))[None])
    return find_defects(accumulator, accumulator.result(), section, box)


def _in_some(volume: Volume, indices: Sequence[int]) -> dict[str, Any]:
    """What `Defects.summary` gives, of some sections, each of them alone."""
    section = section_reader(volume)
    box = constant_borders(volume.shape, section)
    assert box is not None, "not all voxels have one value"
    values = padding_values(section, box)
    inside = slice(*box[1]), slice(*box[2])
    isolated = connected = padded = total = 0
    for z in indices:
        plane = np.asarray(section(z))[inside]
        runs = np.logical_or.reduce([in_runs(plane == value) for value in values] or [np.zeros(plane.shape, bool)])
        padded, total = padded + np.count_nonzero(runs), total + plane.size
        if not values:
            found = outliers_of(plane[None])
            isolated, connected = isolated + len(found), connected + found.connected
    return {
        "outliers": isolated,
        "connected_outliers": connected,
        "padding": values,
        "padded_share": padded / total,
    }
