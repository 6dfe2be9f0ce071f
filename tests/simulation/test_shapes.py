"""Shapes render where, as large and as dense as they say, however they are turned and sampled."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mwr_hpc.simulation import shapes

EYE, NO_SHIFT = np.eye(3), np.zeros(3)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_random_rotations_are_proper(seed: int) -> None:
    rotation = shapes.random_rotation(np.random.default_rng(seed))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_random_rotations_are_uniform() -> None:
    """Of a uniform rotation every entry has mean 0 and variance 1/3."""
    generator = np.random.default_rng(0)
    entries = np.array([shapes.random_rotation(generator) for _ in range(4000)])
    np.testing.assert_allclose(entries.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(entries.var(axis=0), 1 / 3, atol=0.02)


def test_a_gaussian_holds_its_closed_form_mass() -> None:
    volume = np.zeros((30, 30, 30), np.float32)
    shapes.add_gaussians(volume, np.array([[14.3, 15.1, 13.9]]), 2.0, np.array([0.7]))
    assert volume.sum() == pytest.approx(0.7 * (2 * np.pi) ** 1.5 * 8, rel=0.01)
    np.testing.assert_allclose(ndimage.center_of_mass(volume), (14.3, 15.1, 13.9), atol=0.01)


def test_gaussians_outside_are_left_out() -> None:
    volume = np.zeros((8, 8, 8), np.float32)
    shapes.add_gaussians(volume, np.array([[-20.0, 4, 4], [4, 4, 40]]), 1.0, np.ones(2))
    assert not volume.any()


@pytest.mark.parametrize("species", shapes.built_in_species())
def test_built_in_species_fit_their_box_and_have_an_inside(species: shapes.GaussianModel) -> None:
    box = species.render(shapes.random_rotation(np.random.default_rng(1)), np.array([0.2, -0.4, 0.1]), 10.0)
    edge = max(np.abs(np.take(box, index, axis)).max() for axis in range(3) for index in (0, -1))
    assert edge < 0.01 < 0.8 < box.max() < 3
    extent = np.argwhere(box > shapes.FOOTPRINT_DENSITY)
    assert 11 <= (extent.max(axis=0) - extent.min(axis=0) + 1).max() <= 32


def test_a_turned_model_is_the_turned_box() -> None:
    """A quarter turn about z permutes voxels exactly, so both ways must agree (y -> x, x -> -y)."""
    quarter = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    model = shapes.built_in_species()[4]
    straight, turned = model.render(EYE, NO_SHIFT, 10.0), model.render(quarter, NO_SHIFT, 10.0)
    np.testing.assert_allclose(turned, np.flip(straight.transpose(0, 2, 1), axis=1), atol=1e-5)


@pytest.mark.parametrize("voxel_size", [10.0, 14.0])
def test_a_map_is_turned_and_sampled_as_the_model_that_made_it(voxel_size: float) -> None:
    rotation = shapes.random_rotation(np.random.default_rng(3))
    model = shapes.built_in_species()[2]
    density = np.pad(model.render(EYE, NO_SHIFT, 5.0), ((3, 9), (0, 5), (2, 0)))
    from_map = shapes.MapModel(7.0 * density, 5.0).render(rotation, NO_SHIFT, voxel_size)
    from_model = model.render(rotation, NO_SHIFT, voxel_size)
    size = min(len(from_map), len(from_model))
    middle = [slice((len(box) - size) // 2, (len(box) + size) // 2) for box in (from_map, from_model)]
    first, second = from_map[(middle[0],) * 3], from_model[(middle[1],) * 3]
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.97
    assert from_map.max() == pytest.approx(1, abs=0.35)
    assert from_map.min() == 0


def test_a_gold_bead_has_the_volume_of_a_sphere() -> None:
    box = shapes.GoldBead(120.0).render(EYE, np.array([0.3, 0, -0.2]), 10.0)
    assert box.max() == shapes.GOLD_DENSITY
    assert box.sum() / shapes.GOLD_DENSITY == pytest.approx(4 / 3 * np.pi * 6**3, rel=0.03)


def test_a_vesicle_is_a_hollow_bilayer_of_its_size() -> None:
    box = shapes.Vesicle(np.array([200.0, 150.0, 250.0])).render(EYE, NO_SHIFT, 5.0)
    middle = len(box) // 2
    profile = box[middle, middle, middle:]
    heads = [i for i in range(1, len(profile) - 1) if profile[i] > max(profile[i - 1], profile[i + 1])]
    assert heads == [46, 54]  # 230 and 270 angstrom
    assert profile[0] < 0.01 and profile[50] < profile[46] / 5
    assert max(np.abs(np.take(box, index, axis)).max() for axis in range(3) for index in (0, -1)) < 0.01


def test_everything_stays_within_the_largest_reach() -> None:
    for shape in (shapes.filament(700.0), shapes.Vesicle(np.full(3, 320.0)), *shapes.built_in_species()):
        box = shape.render(shapes.random_rotation(np.random.default_rng(0)), NO_SHIFT, 10.0)
        assert len(box) // 2 <= shapes.LARGEST_REACH / 10.0 + 1
