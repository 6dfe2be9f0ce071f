"""A crowded specimen: shapes placed at random without overlap."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.simulation.shapes import FOOTPRINT_DENSITY, LARGEST_REACH, FloatArray, Shape, random_rotation

BoolArray = npt.NDArray[np.bool_]

POSITIONS_TRIED = 1000
"""Places tried for one shape before another shape, turned otherwise, gets its turn."""

SHAPES_TRIED = 20
"""Shapes in a row that found no place before the specimen counts as full."""

PROBES = 64
"""Voxels of a shape that are looked up at every place; only where all are free is the whole shape looked up."""


class Specimen:
    """A volume that fills up.

    The centre of every shape lies in the volume; what sticks out of a face is cut off, as in a section of a cell.
    The arrays behind it have a border that holds the largest shape, so that every box lies within them.

    Parameters
    ----------
    shape
        (nz, ny, nx).
    voxel_size
        Angstrom.
    seed
        Decides everything.
    """

    def __init__(self, shape: tuple[int, int, int], voxel_size: float, seed: int) -> None:
        self.shape = shape
        self.voxel_size = voxel_size
        self.seed = seed
        self._border = int(np.ceil(LARGEST_REACH / voxel_size)) + 5
        bordered = [size + 2 * self._border for size in shape]
        self._density: FloatArray = np.zeros(bordered, np.float32)
        self._occupied: BoolArray = np.zeros(bordered, np.bool_)
        self._inside = tuple(slice(self._border, self._border + size) for size in shape)

    @property
    def density(self) -> FloatArray:
        """Positive where material is, 0 in the ice; shape (nz, ny, nx)."""
        return self._density[self._inside]

    def material(self, margin: int) -> BoolArray:
        """Where material is, or is at most `margin` voxels away (city-block); shape (nz, ny, nx)."""
        return ndimage.binary_dilation(self.density > FOOTPRINT_DENSITY, iterations=margin)

    def fill(
        self,
        kind: str,
        choose: Callable[[np.random.Generator], Shape],
        count: int | None = None,
        crowding: float = 1.0,
    ) -> int:
        """Place shapes at random places and orientations until there are enough, or no place is found for more.

        Parameters
        ----------
        kind
            What they are; keys the random numbers, so that one kind does not change another's draws.
        choose
            Draws a shape.
        count
            How many; None: as many as `crowding` takes.
        crowding
            Stop when shapes placed by this call occupy this share of the volume.

        Returns
        -------
        How many were placed.
        """
        placed = tried_in_vain = attempt = 0
        room = crowding * self.density.size
        while placed != count and room > 0 and tried_in_vain < SHAPES_TRIED:
            generator = keyed_generator(self.seed, f"simulated {kind}", index=attempt)
            rotation, shift = random_rotation(generator), generator.uniform(-0.5, 0.5, 3)
            box = choose(generator).render(rotation, shift, self.voxel_size)
            attempt += 1
            if corner := self._free_corner(box, generator):
                room -= self._place(box, corner)
                placed, tried_in_vain = placed + 1, 0
            else:
                tried_in_vain += 1
        return placed

    def _free_corner(self, box: FloatArray, generator: np.random.Generator) -> tuple[int, ...] | None:
        """The first of many random corners at which `box` overlaps nothing, or None."""
        lowest = self._border - np.array(box.shape) // 2
        corners = generator.integers(lowest, lowest + self.shape, (POSITIONS_TRIED, 3))
        occupied = self._occupied.ravel()
        strides = np.array(self._occupied.strides)  # in bytes, and a bool is one byte
        footprint = np.argwhere(box > FOOTPRINT_DENSITY) @ strides
        probes = footprint[:: max(1, len(footprint) // PROBES)]
        promising = corners[~occupied[(corners @ strides)[:, None] + probes].any(axis=1)]
        for corner in promising:
            if not occupied[corner @ strides + footprint].any():
                return tuple(int(value) for value in corner)
        return None

    def _place(self, box: FloatArray, corner: tuple[int, ...]) -> int:
        """Add `box` to the specimen; returns how many voxels of the volume it occupies."""
        where = tuple(slice(start, start + size) for start, size in zip(corner, box.shape, strict=True))
        footprint = box > FOOTPRINT_DENSITY
        self._density[where] += box
        self._occupied[where] |= ndimage.binary_dilation(footprint)
        inside = tuple(
            slice(max(0, self._border - start), max(0, self._border + size - start))
            for start, size in zip(corner, self.shape, strict=True)
        )
        return int(np.count_nonzero(footprint[inside]))
