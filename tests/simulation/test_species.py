"""Macromolecules of micrographs: their projections, compared with sums along the beam, and the made-up series."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from mrc_files import mrc_file
from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.simulation.shapes import GaussianModel
from mwr_hpc.simulation.species import (
    SYMMETRIES,
    Species,
    _point_group,
    made_up_species,
    random_rotations,
    species_from_map,
)

BLOBS = np.array([[0, 0, 30], [40, 10, -20], [-30, 25, -10.0]])
HEIGHTS = np.array([1.0, 0.7, 1.3])
SIGMA = 12.0


def three_blobs(voxel_size: float = 6.0) -> Species:
    box = GaussianModel(BLOBS, SIGMA, HEIGHTS).render(np.eye(3), np.array([0.3, -0.2, 0.1]), voxel_size)
    return Species("blobs", box, voxel_size)


def test_a_projection_is_the_sum_along_the_beam_wherever_the_particle_lies() -> None:
    species = three_blobs()
    rotations = random_rotations(np.random.default_rng(0), 4)
    shifts = np.array([[0, 0], [0.4, -0.3], [-0.5, 0.5], [0.1, 0.9]])
    images = species.project(rotations, shifts, 8.0)
    mean = (HEIGHTS[:, None] * BLOBS).sum(axis=0) / HEIGHTS.sum()
    scale = float(species.density.sum(dtype=float)) * species.voxel_size**3 / HEIGHTS.sum()
    grid = (np.arange(images.shape[1]) - images.shape[1] // 2) * 8.0
    for image, rotation, shift in zip(images, rotations, shifts, strict=True):
        expected = np.zeros(image.shape)
        for centre, height in zip((rotation @ (BLOBS - mean).T).T, HEIGHTS, strict=True):
            y, x = centre[1:] + 8.0 * shift
            squared = (grid[:, None] - y) ** 2 + (grid - x) ** 2
            expected += height * scale / (2 * np.pi * SIGMA**2) * np.exp(-squared / (2 * SIGMA**2))
        np.testing.assert_allclose(image, expected, atol=0.02 * expected.max())


def test_a_projection_keeps_the_mass_and_the_centre_of_mass() -> None:
    species = three_blobs()
    mass = species.density.sum(dtype=float) * species.voxel_size**3
    for pixel_size in (5.0, 8.0, 11.0):
        rotations = random_rotations(np.random.default_rng(1), 1)
        (image,) = species.project(rotations, np.array([[0.25, -0.4]]), pixel_size)
        # The correction for interpolation is right on average over the frequencies, and 5 % too much at 0.
        assert image.sum(dtype=float) * pixel_size**2 == pytest.approx(mass, rel=0.06)
        y, x = np.indices(image.shape) - len(image) // 2
        assert (y * image).sum() / image.sum() == pytest.approx(0.25, abs=0.15)
        assert (x * image).sum() / image.sum() == pytest.approx(-0.4, abs=0.15)


def test_the_diameter_holds_nearly_all_mass() -> None:
    grid = np.indices((41, 41, 41)) - 20
    ball = (np.linalg.norm(grid, axis=0) <= 15).astype(np.float32)
    # 98 % of a ball's mass lie within 0.98^(1/3) of its radius.
    assert Species("ball", ball, 4.0).diameter == pytest.approx(2 * 15 * 4 * 0.98 ** (1 / 3), rel=0.02)


def test_made_up_species_are_the_same_each_time_and_of_the_sizes_said() -> None:
    again = made_up_species(3, 7)
    np.testing.assert_array_equal(made_up_species(3, 7).density, again.density)
    assert not np.array_equal(made_up_species(3, 8).density, again.density)
    series = [made_up_species(0, number) for number in range(20)]
    diameters = np.array([species.diameter for species in series])
    assert (diameters > 60).all() and (diameters < 370).all() and np.ptp(diameters) > 100
    assert len({species.name.partition("_")[0] for species in series}) > 5
    assert all(0.5 < np.quantile(s.density[s.density > 0.1 * s.density.max()], 0.99) < 6 for s in series)


@pytest.mark.parametrize("symmetry", sorted(set(SYMMETRIES)))
def test_point_groups_are_groups(symmetry: str) -> None:
    group = _point_group(symmetry)
    order = {"T": 12, "O": 24}.get(symmetry) or int(symmetry[1:]) * (2 if symmetry[0] == "D" else 1)
    assert group.shape == (order, 3, 3)
    np.testing.assert_allclose(np.linalg.det(group), 1, atol=1e-9)
    for product in np.einsum("aij,bjk->abik", group, group).reshape(-1, 3, 3):
        assert (np.abs(group - product).max(axis=(1, 2)) < 1e-6).any()


def test_maps_are_cropped_to_the_molecule_and_bad_ones_refused(tmp_path: Path) -> None:
    density = np.zeros((24, 28, 32), np.float32)
    density[10:14, 8:12, 20:24] = 40.0

    def mrc(name: str, values: np.ndarray, voxel_size: float = 5.0) -> Path:
        with MrcWriter(tmp_path / name, values.shape, np.float32, voxel_size=voxel_size) as writer:
            writer.write(0, values)
        return tmp_path / name

    species = species_from_map(mrc("a.mrc", density))
    assert species.name == "a" and species.density.shape == (8, 8, 8) and species.density.max() == 1
    with pytest.raises(InputError, match="no voxel size"):
        species_from_map(mrc("b.mrc", density, 0.0))
    with pytest.raises(InputError, match="is it inverted"):
        species_from_map(mrc("c.mrc", -density))
    with pytest.raises(InputError, match="cannot be read"):
        species_from_map(tmp_path / "none.mrc")


def test_a_map_of_bytes_is_read_as_it_was_written(tmp_path: Path) -> None:
    density = ndimage.gaussian_filter(np.pad(np.ones((8, 8, 8)), 10), 2)
    stored = np.rint(density / density.max() * 220).astype(np.uint8)
    flat = species_from_map(mrc_file(tmp_path / "float.mrc", stored.astype(np.float32))).density
    cases: list[tuple[Any, Any]] = [(None, None), ((0, 0, 0), None), ((-128, 127, 0), "unsigned")]
    for densities, said in cases:
        path = mrc_file(tmp_path / "bytes.mrc", stored, densities=densities)
        np.testing.assert_array_equal(species_from_map(path, said).density, flat)
