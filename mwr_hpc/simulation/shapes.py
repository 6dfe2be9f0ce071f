"""What a simulated tomogram is filled with: macromolecules, vesicles, filaments and gold beads.

Every shape can render itself as a small density box; lengths are in angstrom, densities about 1 (gold: 6).
The built-in macromolecules are sums of Gaussians, so that turning and shifting them costs no interpolation.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations, product
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mwr_hpc.numerics.keyed_random import keyed_generator

FloatArray = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

FOOTPRINT_DENSITY = 0.1
"""Where a shape is denser than this, nothing else may be."""

LARGEST_REACH = 400.0
"""Angstrom from a shape's centre within which all of it lies."""

GOLD_DENSITY = 6.0
REACH = 3.5
"""Standard deviations after which a Gaussian counts as zero."""


class Shape(Protocol):
    """Something that can be placed in a specimen."""

    def render(self, rotation: Matrix, shift: Matrix, voxel_size: float) -> FloatArray:
        """A box with the shape at voxel n // 2 of each axis.

        Parameters
        ----------
        rotation
            (3, 3), acts on (z, y, x) column vectors.
        shift
            (3,), in voxels: where between the voxels the shape's centre is.
        voxel_size
            Angstrom.
        """
        ...


def random_rotation(generator: np.random.Generator) -> Matrix:
    """A rotation matrix (3, 3), uniform over all orientations (from a uniform unit quaternion)."""
    a, b, c, d = (quaternion := generator.standard_normal(4)) / np.linalg.norm(quaternion)
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a - b * b + c * c - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a - b * b - c * c + d * d],
        ]
    )


def add_gaussians(volume: FloatArray, centres: Matrix, sigma: float, heights: Matrix) -> None:
    """Add isotropic Gaussians to `volume` in place; what lies outside is left out.

    Parameters
    ----------
    volume
        Shape (nz, ny, nx).
    centres
        (n, 3), z y x in voxels.
    sigma
        Standard deviation in voxels.
    heights
        (n,).
    """
    for centre, height in zip(centres, heights, strict=True):
        low = np.maximum(np.ceil(centre - REACH * sigma), 0).astype(int)
        high = np.minimum(np.floor(centre + REACH * sigma) + 1, volume.shape).astype(int)
        if (low >= high).any():
            continue
        z, y, x = (
            np.exp(-0.5 * ((np.arange(start, stop) - middle) / sigma) ** 2)
            for start, stop, middle in zip(low, high, centre, strict=True)
        )
        window = volume[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        window += (height * z[:, None, None] * y[:, None] * x).astype(np.float32)


@dataclass(frozen=True, eq=False)
class GaussianModel:
    """A molecule as Gaussians of one width around its centre.

    Attributes
    ----------
    centres
        (n, 3), z y x in angstrom.
    sigma
        Standard deviation in angstrom.
    heights
        (n,), relative: the model is scaled so that its mean density at the centres is 1.
    """

    centres: Matrix
    sigma: float
    heights: Matrix

    @cached_property
    def _mean_density(self) -> float:
        distances = self.centres[:, None] - self.centres
        overlap = np.exp(-0.5 * (distances**2).sum(axis=2) / self.sigma**2)
        return float((overlap * self.heights).sum(axis=1).mean())

    def render(self, rotation: Matrix, shift: Matrix, voxel_size: float) -> FloatArray:
        """See `Shape.render`; a Gaussian is never drawn narrower than 0.6 voxels, below which it would alias."""
        sigma = max(self.sigma / voxel_size, 0.6)
        centres = (rotation @ self.centres.T).T / voxel_size + shift
        half = int(np.ceil(np.abs(centres).max() + REACH * sigma))
        box = np.zeros((2 * half + 1,) * 3, np.float32)
        add_gaussians(box, centres + half, sigma, self.heights / self._mean_density)
        return box


@dataclass(frozen=True, eq=False)
class MapModel:
    """A molecule as a density map, turned by cubic spline interpolation.

    Attributes
    ----------
    density
        Any cube or box, z y x, positive where the molecule is; its scale does not matter.
    voxel_size
        Of the map, in angstrom.
    """

    density: FloatArray
    voxel_size: float

    @cached_property
    def _scaled(self) -> FloatArray:
        """The map without its negative values, 1 at its densest but for the densest thousandth of the molecule."""
        positive = np.maximum(self.density, 0)
        peak = np.quantile(positive[positive > 0.1 * positive.max()], 0.999)
        return (positive / peak).astype(np.float32)

    @cached_property
    def _centre(self) -> Matrix:
        return np.array(ndimage.center_of_mass(self._scaled))

    @cached_property
    def radius(self) -> float:
        """Angstrom from the centre of mass to the farthest voxel of the molecule."""
        inside = np.argwhere(self._scaled > FOOTPRINT_DENSITY)
        return float(np.linalg.norm(inside - self._centre, axis=1).max()) * self.voxel_size

    def render(self, rotation: Matrix, shift: Matrix, voxel_size: float) -> FloatArray:
        """See `Shape.render`; a map finer than `voxel_size` is smoothed first."""
        ratio = voxel_size / self.voxel_size
        half = int(np.ceil(self.radius / voxel_size)) + 2
        matrix = rotation.T * ratio
        offset = self._centre - matrix @ (np.array([half] * 3) + shift)
        source = ndimage.gaussian_filter(self._scaled, 0.5 * np.sqrt(max(ratio**2 - 1, 0)))
        box: FloatArray = ndimage.affine_transform(source, matrix, offset, (2 * half + 1,) * 3, order=3)
        return np.maximum(box, 0)


@dataclass(frozen=True, eq=False)
class Vesicle:
    """An ellipsoid of a lipid bilayer: two leaflets of heads, 40 angstrom apart.

    Attributes
    ----------
    semi_axes
        (3,), angstrom, to the middle of the membrane, along the vesicle's own z y x.
    """

    semi_axes: Matrix

    def render(self, rotation: Matrix, shift: Matrix, voxel_size: float) -> FloatArray:
        """See `Shape.render`; the distance to the ellipsoid is its first-order approximation, good near it."""
        half = int(np.ceil((self.semi_axes.max() + 45.0) / voxel_size)) + 1
        grid = np.indices((2 * half + 1,) * 3).reshape(3, -1) - half - shift[:, None]
        scaled = (rotation.T @ grid * voxel_size) / self.semi_axes[:, None]
        radius = np.linalg.norm(scaled, axis=0)
        slope = np.linalg.norm(scaled / self.semi_axes[:, None], axis=0) / np.maximum(radius, 1e-6)
        distance = (radius - 1) / np.maximum(slope, 1 / self.semi_axes.max())
        leaflets = sum(np.exp(-0.5 * ((distance - side * 20.0) / 8.0) ** 2) for side in (-1, 1))
        return (0.8 * leaflets).astype(np.float32).reshape((2 * half + 1,) * 3)


@dataclass(frozen=True, eq=False)
class GoldBead:
    """A solid sphere, far denser than protein.

    Attributes
    ----------
    diameter
        Angstrom.
    """

    diameter: float

    def render(self, rotation: Matrix, shift: Matrix, voxel_size: float) -> FloatArray:
        """See `Shape.render`; the edge is one voxel wide."""
        radius = self.diameter / 2 / voxel_size
        half = int(np.ceil(radius)) + 2
        distance = np.linalg.norm(np.indices((2 * half + 1,) * 3) - half - shift[:, None, None, None], axis=0)
        return (GOLD_DENSITY * np.clip(radius - distance + 0.5, 0, 1)).astype(np.float32)


def filament(length: float) -> GaussianModel:
    """An actin-like filament along z: a subunit every 27.5 angstrom, turned by -166.6 degrees from the last."""
    index = np.arange(-int(length / 55), int(length / 55) + 1)
    angle = np.radians(-166.6) * index
    centres = np.stack([27.5 * index, 18.0 * np.sin(angle), 18.0 * np.cos(angle)], axis=1)
    return GaussianModel(centres, sigma=14.0, heights=np.ones(len(index)))


def built_in_species() -> tuple[GaussianModel, ...]:
    """Five macromolecules of 110 to 260 angstrom, with cavities, symmetries and uneven insides."""
    return (_barrel(), _double_ring(), _tetramer(), _cage(), _two_lobes())


def _ring(height: float, radius: float, subunits: int, offset: float = 0.0) -> Matrix:
    angle = 2 * np.pi * (np.arange(subunits) + offset) / subunits
    return np.stack([np.full(subunits, height), radius * np.sin(angle), radius * np.cos(angle)], axis=1)


def _barrel() -> GaussianModel:
    """Four stacked rings of seven, like a 20S proteasome."""
    rings = [_ring(height, 40.0, 7, offset) for height, offset in ((-57, 0.0), (-19, 0.5), (19, 0.5), (57, 0.0))]
    return GaussianModel(np.concatenate(rings), sigma=13.0, heights=np.repeat([1.0, 0.8, 0.8, 1.0], 7))


def _double_ring() -> GaussianModel:
    """Two rings of seven two-domain subunits back to back, like GroEL."""
    rings = [_ring(side * height, radius, 7) for side in (-1, 1) for height, radius in ((20, 44.0), (58, 54.0))]
    return GaussianModel(np.concatenate(rings), sigma=13.0, heights=np.repeat([1.0, 0.7, 1.0, 0.7], 7))


def _tetramer() -> GaussianModel:
    """Four crooked subunits with the dihedral symmetry D2, about 180 x 130 x 90 angstrom, like beta-galactosidase."""
    subunit = np.array([[12, 18, 20], [24, 40, 36], [10, 48, 62], [30, 22, 66], [14, 20, 48]], dtype=float)
    turns = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    return GaussianModel(
        (turns[:, None] * subunit).reshape(-1, 3), sigma=11.0, heights=np.tile([1.0, 0.8, 1.1, 0.6, 0.9], 4)
    )


def _cage() -> GaussianModel:
    """A hollow shell of 24 subunits with octahedral symmetry, about 150 angstrom, like ferritin."""
    point = np.array([14.0, 34.0, 52.0])
    centres = [
        np.array(signs) * point[list(axes)]
        for axes in permutations(range(3))
        for signs in product((1, -1), repeat=3)
        if np.prod(signs) * np.linalg.det(np.eye(3)[list(axes)]) > 0
    ]
    return GaussianModel(np.array(centres), sigma=12.0, heights=np.ones(24))


def _two_lobes() -> GaussianModel:
    """Two irregular lobes with a cleft, about 260 angstrom, like a ribosome: random domains drawn once and for all."""
    generator = keyed_generator(0, "two-lobed species")
    directions = generator.standard_normal((2, 55, 3))
    unit_ball = directions / np.linalg.norm(directions, axis=2, keepdims=True) * generator.random((2, 55, 1)) ** (1 / 3)
    semi_axes, middles = np.array([[75, 75, 50], [85, 50, 35]]), np.array([[0, 0, 45], [10, 0, -55]])
    centres = (unit_ball * semi_axes[:, None] + middles[:, None]).reshape(-1, 3)
    return GaussianModel(centres, sigma=11.0, heights=generator.uniform(0.4, 1.0, 110))
