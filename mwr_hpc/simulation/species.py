"""Macromolecules for simulated micrographs: from density maps or made up at random, projected along any direction.

A projection is a slice through the molecule's Fourier transform, so that each particle has an orientation and a place
of its own at the cost of one small interpolation.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, spatial

from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc_fields import Signedness
from mwr_hpc.io.volume import open_volume
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.simulation.shapes import FloatArray, GaussianModel, Matrix, random_rotation

SMALLEST, LARGEST = 80.0, 350.0
"""Angstrom: the diameters of made-up molecules."""

MODEL_VOXEL = 8.0
"""Angstrom: made-up molecules have no detail finer than twice this."""

MASS_INSIDE = 0.98
"""Share of a molecule's mass that a sphere of its diameter around its centre of mass holds."""

SYMMETRIES = ("C1", "C1", "C2", "C3", "C4", "C5", "C6", "C7", "D2", "D2", "D3", "D5", "D7", "T", "O")
"""What a made-up molecule draws from."""


@dataclass(frozen=True, eq=False)
class Species:
    """One kind of particle.

    Attributes
    ----------
    name
        For tables.
    density
        (nz, ny, nx), 0 in the ice, about 1 in the molecule.
    voxel_size
        Angstrom.
    """

    name: str
    density: FloatArray
    voxel_size: float

    @cached_property
    def centre(self) -> Matrix:
        """Centre of mass, z y x in voxels."""
        return np.array(ndimage.center_of_mass(self.density))

    @cached_property
    def diameter(self) -> float:
        """Angstrom; of the sphere around the centre of mass that holds `MASS_INSIDE` of the mass."""
        grid = np.indices(self.density.shape).reshape(3, -1).T - self.centre
        radius = np.linalg.norm(grid, axis=1)
        order = np.argsort(radius)
        mass = np.cumsum(self.density.ravel()[order], dtype=np.float64)
        return float(2 * self.voxel_size * radius[order][np.searchsorted(mass, MASS_INSIDE * mass[-1])])

    @cached_property
    def _spectrum(self) -> npt.NDArray[np.complex64]:
        """Fourier transform of the twofold padded map, frequency 0 in the middle, centre of mass at the origin."""
        size = fft.next_fast_len(2 * max(self.density.shape))
        size += size % 2
        padded = np.zeros((size, size, size), np.float32)
        nz, ny, nx = self.density.shape
        # Linear interpolation between frequencies multiplies the density by sinc^2 of the distance to the origin.
        z, y, x = (
            1 / np.sinc((np.arange(count) - centre) / size) ** 2
            for count, centre in zip(self.density.shape, self.centre, strict=True)
        )
        padded[:nz, :ny, :nx] = self.density * (z[:, None, None] * y[:, None] * x)
        spectrum = fft.fftn(padded, overwrite_x=True, workers=1)
        frequency = fft.fftfreq(size)
        z, y, x = (np.exp(2j * np.pi * frequency * centre).astype(np.complex64) for centre in self.centre)
        spectrum *= z[:, None, None]
        spectrum *= y[:, None]
        spectrum *= x
        shifted: npt.NDArray[np.complex64] = fft.fftshift(spectrum)
        return shifted

    def project(self, rotations: Matrix, shifts: Matrix, pixel_size: float) -> FloatArray:
        """Sum the density along the beam for many particles.

        Parameters
        ----------
        rotations
            (n, 3, 3), act on (z, y, x) column vectors.
        shifts
            (n, 2), y x in pixels: where between the pixels each centre of mass is.
        pixel_size
            Angstrom.

        Returns
        -------
        (n, m, m), density times angstrom; the centre of mass is `shifts` from pixel m // 2.
        """
        reach = np.linalg.norm(self.density.shape) * self.voxel_size / 2
        size = fft.next_fast_len(int(2 * np.ceil(reach / pixel_size)) + 4)
        size += size % 2
        ky, kx = fft.fftfreq(size)[:, None], fft.rfftfreq(size)
        plane = np.stack(np.broadcast_arrays(0.0, ky, kx)).reshape(3, -1) / pixel_size
        middle = len(self._spectrum) // 2
        scale = len(self._spectrum) * self.voxel_size
        images = np.empty((len(rotations), size, size), np.float32)
        for index, (rotation, (y, x)) in enumerate(zip(rotations, shifts, strict=True)):
            places = (rotation.T @ plane) * scale + middle
            slice_ = ndimage.map_coordinates(self._spectrum, places, order=1, prefilter=False).reshape(size, -1)
            slice_ = slice_ * np.exp(-2j * np.pi * (ky * (y + size // 2) + kx * (x + size // 2)))
            images[index] = fft.irfft2(slice_, (size, size), workers=1)
        return images * np.float32(self.voxel_size**3 / pixel_size**2)


def species_from_map(path: Path, signedness: Signedness | None = None) -> Species:
    """A species from a density map with positive density; `signedness` is that of its bytes, if known.

    Raises
    ------
    InputError
        The map cannot be read, is empty or has no voxel size.
    """
    volume = open_volume(path, signedness)
    density, voxel_size = np.asarray(volume.data, np.float32), volume.voxel_size[0]
    if voxel_size <= 0:
        raise InputError(f"{path}: the header has no voxel size; a density map needs one, in angstrom")
    if not (np.isfinite(density).all() and density.max() > 0):
        raise InputError(f"{path}: a density map must be finite and positive where the molecule is; is it inverted?")
    positive = np.maximum(density, 0)
    molecule = positive > 0.1 * positive.max()
    typical = np.median(positive[molecule])
    (box,) = ndimage.find_objects(ndimage.binary_dilation(molecule, iterations=2).astype(np.int8))
    return Species(path.stem, positive[box] / typical, voxel_size)


def made_up_species(seed: int, number: int) -> Species:
    """Draw the `number`-th of an endless series of macromolecules, 80 to 350 angstrom in diameter.

    An asymmetric unit of a few compact domains, each of a few blobs, is repeated by a point group; some are hollow
    rings and shells, some long, some round.
    """
    generator = keyed_generator(seed, "made-up species", index=number)
    symmetry = SYMMETRIES[generator.integers(len(SYMMETRIES))]
    operations = _point_group(symmetry)
    diameter = np.exp(generator.uniform(np.log(SMALLEST), np.log(LARGEST)))
    sigma = generator.uniform(8.0, 11.0)
    blobs = max(3, round(generator.uniform(0.25, 0.5) * (diameter / 2 / sigma) ** 3 / 4 / len(operations)))
    centres = _domains(generator, blobs, len(operations))
    centres *= generator.uniform([0.5, 0.7, 0.7], [1.4, 1.0, 1.0])  # along the axis of symmetry, and across
    centres = np.einsum("gij,nj->gni", operations, centres).reshape(-1, 3)
    if symmetry == "C1":
        centres = centres - centres.mean(axis=0)
    radius = np.linalg.norm(centres, axis=1).max()
    centres *= max(diameter / 2 - sigma, sigma) / radius
    heights = np.tile(generator.uniform(0.6, 1.0, blobs), len(operations))
    box = GaussianModel(centres, sigma, heights).render(np.eye(3), np.zeros(3), MODEL_VOXEL)
    return Species(f"{symmetry}_{number}", box, MODEL_VOXEL)


def _domains(generator: np.random.Generator, blobs: int, copies: int) -> Matrix:
    """Blobs of one asymmetric unit, in a unit ball: in 1 to 4 domains, away from the axis when there are copies."""
    domains = generator.integers(1, 5)
    directions = generator.standard_normal((domains, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    hollow = generator.random() < 0.4
    distance = generator.uniform(0.5 if hollow or copies > 1 else 0.0, 0.8, (domains, 1))
    middles = directions * distance
    which = generator.integers(domains, size=blobs)
    spread = generator.uniform(0.12, 0.3, (domains, 3))
    return middles[which] + spread[which] * generator.standard_normal((blobs, 3))


def _point_group(symmetry: str) -> Matrix:
    """The rotations of a point group, (n, 3, 3) on (z, y, x): cyclic and dihedral about z, tetrahedral, octahedral."""
    if symmetry in ("T", "O"):
        group = spatial.transform.Rotation.create_group("T" if symmetry == "T" else "O")
        return np.asarray(group.as_matrix())
    angles = 2 * np.pi * np.arange(int(symmetry[1:])) / int(symmetry[1:])
    about_z = spatial.transform.Rotation.from_rotvec(np.outer(angles, (1.0, 0.0, 0.0))).as_matrix()
    half_turn = np.diag((-1.0, 1.0, -1.0))
    return np.concatenate([about_z, about_z @ half_turn]) if symmetry[0] == "D" else np.asarray(about_z)


def random_rotations(generator: np.random.Generator, count: int) -> Matrix:
    """Orientations (count, 3, 3), uniform over all."""
    return np.array([random_rotation(generator) for _ in range(count)]).reshape(count, 3, 3)
