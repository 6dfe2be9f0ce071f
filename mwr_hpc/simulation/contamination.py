"""What nobody wants in a micrograph: ice crystals, ethane, aggregates, carbon, and the mask that a user would paint.

Densities are those of `Species`, about 1 for protein in ice, times the thickness in angstrom.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mwr_hpc.simulation.shapes import FloatArray, Matrix
from mwr_hpc.simulation.species import Species, random_rotations

BoolArray = npt.NDArray[np.bool_]
Profile = Callable[[Matrix, Matrix], Matrix]
"""Density times angstrom at (y, x) angstrom from the middle."""

AREA = 4096.0**2
"""Square angstrom in which the numbers below are expected at contamination 1."""

ICE_CRYSTALS, ETHANE_DROPS, AGGREGATES = 2.0, 0.6, 1.0

CARBON = 0.2
"""Probability of a carbon edge in the field at contamination 1."""

ICE_DENSITY, ETHANE_DENSITY, CARBON_DENSITY = 2.0, 1.0, 1.5
"""Relative to protein in ice: a crystal on the surface stands against vacuum, carbon is twice as dense as ice."""

ABSORPTION = (0.03, 0.3)
"""Share of its density at which ice, ethane or carbon is seen whatever the defocus: it scatters electrons away."""

MASK_MARGIN = 24.0
"""Angstrom that a user paints beyond the edge."""


@dataclass(frozen=True)
class Contamination:
    """What lies on the grid beside particles.

    Attributes
    ----------
    density
        (h, w), density times angstrom.
    absorption
        (h, w), the part of it that is seen whatever the defocus.
    mask
        (h, w), where no particle can be trusted.
    """

    density: FloatArray
    absorption: FloatArray
    mask: BoolArray


def contaminate(
    shape: tuple[int, int], pixel_size: float, amount: float, species: Species, generator: np.random.Generator
) -> Contamination:
    """Strew contamination over a field.

    Parameters
    ----------
    shape
        (h, w) in pixels.
    pixel_size
        Angstrom.
    amount
        0 none, 1 as usual, 2 twice as much.
    species
        What the aggregates are made of.
    generator
        Of the random numbers.
    """
    dirt = _Dirt(shape, pixel_size, generator)
    expected = amount * shape[0] * shape[1] * pixel_size**2 / AREA
    if generator.random() < 1 - (1 - CARBON) ** amount:
        dirt.add_carbon()
    for _ in range(generator.poisson(ETHANE_DROPS * expected)):
        dirt.add_ethane()
    for _ in range(generator.poisson(ICE_CRYSTALS * expected)):
        dirt.add_ice_crystals()
    for _ in range(generator.poisson(AGGREGATES * expected)):
        dirt.add_aggregate(species)
    margin = round(MASK_MARGIN / pixel_size)
    mask = ndimage.binary_dilation(dirt.mask, iterations=margin) if margin else dirt.mask
    return Contamination(dirt.density, dirt.absorption, mask)


class _Dirt:
    """A field that gets dirty; see `contaminate`."""

    def __init__(self, shape: tuple[int, int], pixel_size: float, generator: np.random.Generator) -> None:
        self.density: FloatArray = np.zeros(shape, np.float32)
        self.absorption: FloatArray = np.zeros(shape, np.float32)
        self.mask: BoolArray = np.zeros(shape, np.bool_)
        self._shape = shape
        self._pixel_size = pixel_size
        self._generator = generator

    def add_carbon(self) -> None:
        """Add the film around a hole of 1 to 2.4 micrometre, whose edge runs through the field at random."""
        draw, pixel_size, (height, width) = self._generator, self._pixel_size, self._shape
        radius = draw.uniform(5e3, 12e3) / pixel_size
        direction = draw.uniform(0, 2 * np.pi)
        # How far from its middle the field is free.
        inward = draw.uniform(0.1, 0.95) * min(height, width) / 2
        y, x = _grid((height, width), (height / 2, width / 2))
        y = y + (radius - inward) * np.sin(direction)
        x = x + (radius - inward) * np.cos(direction)
        ragged = ndimage.gaussian_filter(draw.standard_normal(self._shape, np.float32), 60 / pixel_size)
        outside = np.hypot(y, x) - radius + ragged / ragged.std() * 15 / pixel_size
        film = np.clip(outside * pixel_size / 40 + 0.5, 0, 1)
        grains = ndimage.gaussian_filter(draw.standard_normal(self._shape, np.float32), 6 / pixel_size)
        thickness, roughness = draw.uniform(60, 200), draw.uniform(0.1, 0.3)
        density = CARBON_DENSITY * thickness * film * (1 + roughness * grains / grains.std())
        self.density += density.astype(np.float32)
        self.absorption += (draw.uniform(*ABSORPTION) * density).astype(np.float32)
        self.mask |= film > 0.25

    def add_ethane(self) -> None:
        """Add a smooth round drop of 200 to 1000 angstrom."""
        draw = self._generator
        radius = draw.uniform(100, 500)
        ratio, turn = draw.uniform(0.7, 1.0), draw.uniform(0, np.pi)
        height = draw.uniform(0.4, 1.0) * radius

        def drop(y: Matrix, x: Matrix) -> Matrix:
            along, across = np.cos(turn) * y + np.sin(turn) * x, (np.cos(turn) * x - np.sin(turn) * y) / ratio
            return ETHANE_DENSITY * height * np.clip(1 - (along**2 + across**2) / radius**2, 0, 1)

        self._add_blob(draw.uniform(0, self._shape), radius, drop)

    def add_ice_crystals(self) -> None:
        """Add one to three uneven grains of 120 to 800 angstrom that touch."""
        draw = self._generator
        place = draw.uniform(0, self._shape)
        for _ in range(draw.integers(1, 4)):
            radius = np.exp(draw.uniform(np.log(60), np.log(400)))
            self._add_blob(place, 2 * radius, _grain(radius, draw))
            place = place + draw.normal(0, 1.0, 2) * radius / self._pixel_size

    def add_aggregate(self, species: Species) -> None:
        """Add a clump of 8 to 40 particles, some of them on top of one another."""
        draw, pixel_size = self._generator, self._pixel_size
        count = draw.integers(8, 41)
        # In a disc that a third of them would fill, so that none lies apart, where it would pass for a good one.
        reach = 0.5 * np.sqrt(count / 3) * species.diameter / pixel_size
        angle, distance = draw.uniform(0, 2 * np.pi, count), reach * np.sqrt(draw.random(count))
        offsets = np.stack([np.sin(angle), np.cos(angle)], axis=1) * distance[:, None]
        places = draw.uniform(0, self._shape) + offsets
        whole = np.floor(places).astype(int)
        images = species.project(random_rotations(draw, count), places - whole, pixel_size)
        half = images.shape[1] // 2
        clump: FloatArray = np.zeros(self._shape, np.float32)
        for image, (row, column) in zip(images, whole, strict=True):
            paste(clump, image, row - half, column - half)
        self.density += clump
        self.mask |= ndimage.gaussian_filter(clump, 0.2 * species.diameter / pixel_size) > 0.1 * images.max()

    def _add_blob(self, place: Matrix, reach: float, profile: Profile) -> None:
        """Add what lies within `reach` angstrom of a place, and mask where it is above 0."""
        half = int(np.ceil(reach / self._pixel_size)) + 1
        row, column = (round(value) - half for value in place)
        y, x = _grid((2 * half + 1, 2 * half + 1), (place[0] - row, place[1] - column))
        patch = profile(y * self._pixel_size, x * self._pixel_size).astype(np.float32)
        soft = ndimage.gaussian_filter(patch, 4 / self._pixel_size)
        paste(self.density, soft, row, column)
        paste(self.absorption, np.float32(self._generator.uniform(*ABSORPTION)) * soft, row, column)
        inside: FloatArray = np.zeros(self._shape, np.float32)
        paste(inside, (patch > 0).astype(np.float32), row, column)
        self.mask |= inside > 0


def paste(canvas: FloatArray, patch: FloatArray, row: int, column: int) -> None:
    """Add a patch whose first pixel is at (row, column); what lies outside the canvas is left out."""
    height, width = canvas.shape
    top, left = max(row, 0), max(column, 0)
    bottom, right = min(row + patch.shape[0], height), min(column + patch.shape[1], width)
    if top < bottom and left < right:
        canvas[top:bottom, left:right] += patch[top - row : bottom - row, left - column : right - column]


def _grain(radius: float, generator: np.random.Generator) -> Profile:
    """A wavy outline around a top that slopes and has steps."""
    order = np.arange(2.0, 7.0)[:, None, None]
    waves = generator.normal(0, 0.25, (5, 1, 1)) / order
    phases = generator.uniform(0, 2 * np.pi, (5, 1, 1))
    thickness = generator.uniform(0.1, 0.9) * radius
    slope_y, slope_x = generator.normal(0, 0.3, 2) / radius
    ripple, period = generator.uniform(0, 0.3), generator.uniform(40, 120)

    def profile(y: Matrix, x: Matrix) -> Matrix:
        edge = radius * (1 + (waves * np.cos(order * np.arctan2(y, x) + phases)).sum(axis=0))
        rim: Matrix = np.sqrt(np.clip((edge - np.hypot(y, x)) / (0.3 * radius), 0, 1))
        top = 1 + slope_y * y + slope_x * x + ripple * np.sin(2 * np.pi * (y + 0.5 * x) / period)
        return ICE_DENSITY * thickness * rim * np.clip(top, 0.3, 2)

    return profile


def _grid(shape: tuple[int, int], origin: tuple[float, float]) -> tuple[Matrix, Matrix]:
    return (np.arange(shape[0]) - origin[0])[:, None], (np.arange(shape[1]) - origin[1])[None, :]
