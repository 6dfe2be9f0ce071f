"""Training pairs as the network sees them: single cubes read from disk and turned on the way."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.missing_wedge.cube_arrays import CubeReader, as_float32
from mwr_hpc.numerics.rotation import WEDGE_ROTATIONS, target_regions, turn, turn_box

Cube = NDArray[np.float32]

TARGET = 0
"""The place of the target among the cubes of a sub-tomogram."""


class Sample(NamedTuple):
    """One pair: of which tomogram, which of its crops, and which of the rotations chosen for that crop."""

    tomogram: str
    crop: int
    slot: int


@dataclass(frozen=True)
class _Pairs:
    """What is known of one tomogram's pairs without reading a cube."""

    cubes: CubeReader
    inputs: NDArray[np.intp]
    rotations: NDArray[np.uint8]
    valid: NDArray[np.int16]
    held_out: NDArray[np.bool_]
    tilt_range: tuple[float, float]


class PairDataset:
    """The pairs of a cohort, read one at a time; reading is thread-safe.

    Parameters
    ----------
    paths
        For each tomogram's id what `make_pairs` wrote.
    held_out_tomograms
        Ids of tomograms of which no pair is trained on.

    Attributes
    ----------
    training, held_out : list of Sample
        In the order of ids, crops and slots.
    """

    def __init__(self, paths: Mapping[str, Path], held_out_tomograms: Collection[str] = ()) -> None:
        self._tomograms = {identifier: _open(paths[identifier]) for identifier in sorted(paths)}
        self.training: list[Sample] = []
        self.held_out: list[Sample] = []
        for identifier, pairs in self._tomograms.items():
            whole = identifier in held_out_tomograms
            for crop, slot in np.ndindex(pairs.rotations.shape):
                kept = self.held_out if whole or pairs.held_out[crop] else self.training
                kept.append(Sample(identifier, crop, slot))

    def read(self, sample: Sample) -> tuple[Cube, Cube, Cube]:
        """Read one pair.

        Returns
        -------
        x, y, weight : ndarray of float32, (C, C, C)
            Input with the missing wedge, target, and 1 where the target lies inside its tomogram, else 0; turned.
        """
        pairs = self._tomograms[sample.tomogram]
        index = int(pairs.rotations[sample.crop, sample.slot])
        rotation = WEDGE_ROTATIONS[index]
        x = as_float32(turn(pairs.cubes.read(sample.crop, int(pairs.inputs[index])), rotation))
        y = as_float32(turn(pairs.cubes.read(sample.crop, TARGET), rotation))
        z0, z1, y0, y1, x0, x1 = turn_box(pairs.valid[sample.crop], len(y), rotation)
        weight = np.zeros(y.shape, np.float32)
        weight[z0:z1, y0:y1, x0:x1] = 1
        return x, y, weight

    def region(self, sample: Sample) -> NDArray[np.bool_]:
        """Say which Fourier coefficients of a pair's target were measured, (C, C, C // 2 + 1)."""
        pairs = self._tomograms[sample.tomogram]
        regions = _target_regions(pairs.cubes.shape[-1], pairs.tilt_range)
        return np.asarray(regions[pairs.rotations[sample.crop, sample.slot]])


@lru_cache(maxsize=64)
def _target_regions(size: int, tilt_range: tuple[float, float]) -> NDArray[np.bool_]:
    return target_regions(size, tilt_range)


def _open(path: Path) -> _Pairs:
    cubes = CubeReader(path)
    low, high = cubes.table("tilt_range", np.float64).tolist()
    return _Pairs(
        cubes,
        cubes.table("inputs", np.intp),
        cubes.table("rotations", np.uint8),
        cubes.table("valid", np.int16),
        cubes.table("held_out", bool),
        (low, high),
    )
