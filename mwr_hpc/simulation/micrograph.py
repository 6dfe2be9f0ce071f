"""Simulates micrographs with known truth: particles in ice of uneven thickness, contamination, optics and noise."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import fft

from mwr_hpc.errors import ConfigError
from mwr_hpc.io.mrc_fields import Signedness
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.simulation.contamination import BoolArray, contaminate
from mwr_hpc.simulation.exposure import MARGIN, Field, Optics, smoothing_transfer
from mwr_hpc.simulation.placing import draw, fragment_of, scatter
from mwr_hpc.simulation.shapes import FloatArray
from mwr_hpc.simulation.species import Species, made_up_species, random_rotations, species_from_map

Range = tuple[float, float]

FRAGMENTS = 0.15
"""Broken particles for each whole one at contamination 1."""

BORDER_STRIPS = 0.2
"""Probability, at contamination 1, that the outermost pixels repeat the last real ones, as after motion correction."""

FRAGMENT_KINDS = 2
"""In how many ways the particles of one micrograph break."""

PROJECTIONS_MEASURED = 24
"""Orientations that decide how strong the signal of a species is."""


@dataclass(frozen=True)
class MicrographSpecification:
    """Everything that decides a series of simulated micrographs.

    A range is drawn from anew for each micrograph (both ends the same: a fixed value).

    Attributes
    ----------
    size
        (height, width) in pixels.
    pixel_size
        Angstrom.
    density_maps
        Files of one macromolecule each; the micrographs take them in turn.
    species
        Without maps: how many made-up species the micrographs take in turn.
    particles
        Per micrograph; None: as many as `crowding` says.
    crowding
        Share of the area that discs of the particle's diameter cover.
    snr
        Variance of a particle's noise-free image within its disc over the variance of the noise, both at 8 A per pixel
        (or at `pixel_size`, if that is coarser). None: no noise.
    defocus
        Underfocus in micrometre.
    voltage, spherical_aberration, amplitude_contrast
        Kilovolt, millimetre, a fraction.
    smoothing
        Standard deviation in angstrom of the Gaussian that a denoised micrograph has been smoothed with; 0 none.
    ice_gradient
        Standard deviation of slow changes of the background, over that of the noise.
    contamination
        0 none, 1 as usual: ice crystals, drops of ethane, aggregates, carbon edges, broken particles, torn borders.
    contrast
        Whether protein is dark or bright.
    signedness
        Of the bytes of density maps of mode 0; None where the files tell.
    seed
        Of every random draw.

    Raises
    ------
    ConfigError
        A value that cannot work.
    """

    size: tuple[int, int] = (1024, 1024)
    pixel_size: float = 4.0
    density_maps: tuple[Path, ...] = ()
    species: int = 12
    particles: int | None = None
    crowding: Range = (0.05, 0.3)
    snr: Range | None = (0.5, 2.0)
    defocus: Range = (1.0, 3.0)
    voltage: float = 300.0
    spherical_aberration: float = 2.7
    amplitude_contrast: float = 0.07
    smoothing: Range = (0.0, 18.0)
    ice_gradient: float = 1.0
    contamination: float = 1.0
    contrast: Literal["dark", "bright"] = "dark"
    signedness: Signedness | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _require(min(self.size) >= 64, "size", self.size, "at least 64 pixels on each side")
        _require(0.2 <= self.pixel_size <= 20, "pixel_size", self.pixel_size, "from 0.2 to 20 angstrom")
        _require(self.species >= 1, "species", self.species, "1 or more")
        _require(self.particles is None or self.particles >= 0, "particles", self.particles, "0 or more")
        limits: tuple[tuple[str, float, float], ...] = (
            ("crowding", 0.0, 0.5),
            ("snr", 1e-3, 1e3),
            ("defocus", 0.05, 10.0),
            ("smoothing", 0.0, 50.0),
        )
        for name, low, high in limits:
            value = getattr(self, name)
            holds = value is None or low <= value[0] <= value[1] <= high
            _require(holds, name, value, f"one number, or a lowest and a highest, from {low:g} to {high:g}")
        for name in ("ice_gradient", "contamination"):
            _require(0 <= getattr(self, name) <= 10, name, getattr(self, name), "from 0 to 10")
        _require(self.contrast in ("dark", "bright"), "contrast", self.contrast, "dark or bright")

    def to_record(self) -> dict[str, Any]:
        """Return all fields as JSON-able values."""
        record = asdict(self) | {"density_maps": [str(path) for path in self.density_maps]}
        if self.signedness is None:  # what version 0.1.0 made goes on
            del record["signedness"]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "MicrographSpecification":
        """Return the specification that `to_record` described."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
        }
        return cls(**values | {"density_maps": tuple(map(Path, record["density_maps"]))})


@dataclass(frozen=True, eq=False)
class Conditions:
    """What is drawn for a micrograph as a whole; see `MicrographSpecification`."""

    species: Species
    crowding: float
    defocus: float
    smoothing: float
    snr: float | None


@dataclass(frozen=True, eq=False)
class Micrograph:
    """One simulated micrograph and the truth about it.

    Attributes
    ----------
    image
        (height, width) float32; the noise has a standard deviation of about 1.
    positions
        (n, 2) float32, y x in pixels of the image: the particles' centres, none under contamination.
    junk
        (m, 2) float32: broken particles, which are to be left alone but are not masked.
    mask
        bool, contamination, at the working pixel size (see `numerics.micrograph.working_shape`) where that is coarser.
    conditions
        As drawn for this micrograph.
    """

    image: FloatArray
    positions: FloatArray
    junk: FloatArray
    mask: BoolArray
    conditions: Conditions


def conditions_of(specification: MicrographSpecification, index: int) -> Conditions:
    """Draw the conditions of one micrograph of a series.

    Raises
    ------
    InputError
        The density map cannot be used.
    """
    generator = keyed_generator(specification.seed, "simulated micrograph, conditions", index=index)
    if specification.density_maps:
        species = _species_from_map(
            specification.density_maps[index % len(specification.density_maps)], specification.signedness
        )
    else:
        species = made_up_species(specification.seed, index % specification.species)
    crowding, defocus, smoothing = (
        float(generator.uniform(*limits))
        for limits in (specification.crowding, specification.defocus, specification.smoothing)
    )
    snr = None
    if specification.snr is not None:
        snr = float(np.exp(generator.uniform(*np.log(specification.snr))))
    return Conditions(species, crowding, defocus, smoothing, snr)


_species_from_map = lru_cache(maxsize=4)(species_from_map)


def simulate_micrograph(specification: MicrographSpecification, index: int) -> Micrograph:
    """Simulate one micrograph of a series, the same whatever else of the series has been simulated.

    Raises
    ------
    InputError
        The density map cannot be used.
    """

    def generator(purpose: str) -> np.random.Generator:
        return keyed_generator(specification.seed, f"simulated micrograph, {purpose}", index=index)

    conditions = conditions_of(specification, index)
    species = conditions.species
    optics = Optics(
        conditions.defocus,
        specification.voltage,
        specification.spherical_aberration,
        specification.amplitude_contrast,
        conditions.smoothing,
    )
    field = Field(specification.size, specification.pixel_size)
    amount = specification.contamination
    dirt = contaminate(field.shape, field.pixel_size, amount, species, generator("contamination"))
    count = specification.particles
    if count is None:
        count = round(conditions.crowding * field.area * 4 / (np.pi * species.diameter**2))
    whole, junk = scatter(field, dirt.mask, count, round(FRAGMENTS * amount * count), species, generator("places"))

    particles = np.zeros(field.shape, np.float32)
    draw(particles, species, whole, field.pixel_size, generator("orientations"))
    for part, some in enumerate(np.array_split(junk, FRAGMENT_KINDS)):
        breaking = generator(f"fragment {part}")
        draw(particles, fragment_of(species, breaking), some, field.pixel_size, breaking)

    snr = conditions.snr
    signal, noise = field.expose(particles, dirt, optics, generator("noise") if snr is not None else None)
    power = _signal_power(species, optics, field.pixel_size, generator("signal"))
    image = signal * np.float32(np.sqrt((snr or 1.0) / power)) + noise
    image += specification.ice_gradient * _slow_changes(specification.size, generator("ice"))
    strips = _repeat_borders(image, amount, generator("borders"))
    return Micrograph(
        image=-image if specification.contrast == "dark" else image,
        positions=_within(field.to_image(whole), strips, specification.size),
        junk=_within(field.to_image(junk), strips, specification.size),
        mask=field.crop_mask(dirt.mask),
        conditions=conditions,
    )


def _signal_power(species: Species, optics: Optics, pixel_size: float, generator: np.random.Generator) -> float:
    """Variance of single particles' noise-free images within the disc of their diameter."""
    rotations = random_rotations(generator, PROJECTIONS_MEASURED)
    images = species.project(rotations, np.zeros((len(rotations), 2)), pixel_size)
    margin = int(np.ceil(MARGIN / pixel_size))
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin)))
    shape = (padded.shape[1], padded.shape[2])
    transfer = optics.transfer(shape, pixel_size) * smoothing_transfer(optics.smoothing, shape, pixel_size)
    exposed = fft.irfft2(fft.rfft2(padded, workers=1) * transfer, shape, workers=1)
    offset = np.arange(shape[0]) - shape[0] // 2
    disc = np.hypot(offset[:, None], offset) <= species.diameter / 2 / pixel_size
    return float(exposed[:, disc].var(axis=1, dtype=np.float64).mean())


def _slow_changes(shape: tuple[int, int], generator: np.random.Generator) -> FloatArray:
    """A smooth field of standard deviation 1: ice that gets thicker towards somewhere, uneven illumination."""
    waves = np.arange(4)
    y, x = (np.cos(np.pi * waves * (np.arange(side)[:, None] + 0.5) / side) for side in shape)
    heights = generator.standard_normal((4, 4)) / (1.0 + waves[:, None] ** 2 + waves**2)
    heights[0, 0] = 0
    field = y @ heights @ x.T
    return (field / field.std()).astype(np.float32)


def _repeat_borders(image: FloatArray, amount: float, generator: np.random.Generator) -> tuple[int, int, int, int]:
    """Let the outermost pixels repeat the last real ones; returns how many: top, bottom, left, right."""
    top, bottom, left, right = (0, 0, 0, 0)
    if generator.random() < min(BORDER_STRIPS * amount, 1):
        widths = generator.uniform(0, 0.03, 4) * np.repeat(image.shape, 2) * (generator.random(4) < 0.6)
        top, bottom, left, right = (int(width) for width in widths)
        image[:top] = image[top]
        image[image.shape[0] - bottom :] = image[image.shape[0] - bottom - 1]
        image[:, :left] = image[:, left, None]
        image[:, image.shape[1] - right :] = image[:, image.shape[1] - right - 1, None]
    return top, bottom, left, right


def _within(positions: FloatArray, strips: tuple[int, int, int, int], shape: tuple[int, int]) -> FloatArray:
    """The positions that are in the picture and not under a border strip."""
    top, bottom, left, right = strips
    (y, x), (height, width) = positions.T, shape
    return positions[(y >= top) & (y <= height - 1 - bottom) & (x >= left) & (x <= width - 1 - right)]


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise ConfigError(f"{name} is {value}; it must be {expected}")
