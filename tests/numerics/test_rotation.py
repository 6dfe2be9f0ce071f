"""Rotations of the cube, and wedging before turning against turning before wedging."""

import itertools

import numpy as np
import pytest
from scipy import fft

from mwr_hpc.numerics.rotation import (
    CUBE_ROTATIONS,
    WEDGE_ROTATIONS,
    target_regions,
    turn,
    turn_box,
    turned_regions,
)
from mwr_hpc.numerics.wedge import filter_volume, filtered_centres, measured_region

RANGES = [(-60.0, 60.0), (-67.0, 57.0), (-45.0, 45.0), (-40.0, 65.0)]


def test_there_are_24_different_proper_rotations_that_form_a_group():
    cube = np.arange(27).reshape(3, 3, 3)
    turned = {turn(cube, g).tobytes() for g in CUBE_ROTATIONS}
    assert len(turned) == 24
    for g, h in itertools.product(CUBE_ROTATIONS, repeat=2):
        assert turn(turn(cube, g), h).tobytes() in turned


def test_no_rotation_is_a_mirror_image():
    """A left-handed corner of three different voxels never becomes right-handed."""
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]])
    for g in CUBE_ROTATIONS:
        turned = []
        for p in points:
            cube = np.zeros((4, 4, 4))
            cube[tuple(p)] = 1
            turned.append(np.argwhere(turn(cube, g))[0])
        arms = np.array(turned[1:]) - turned[0]
        assert np.linalg.det(arms) == pytest.approx(6)


def test_the_20_are_those_that_move_a_symmetric_wedge():
    region = measured_region((16, 16, 16), (-60.0, 60.0))
    volume = np.random.default_rng(0).normal(size=(16, 16, 16))
    moving = [
        g
        for g in CUBE_ROTATIONS
        if not np.allclose(filter_volume(turn(volume, g), region), turn(filter_volume(volume, region), g), atol=1e-4)
    ]
    assert tuple(moving) == WEDGE_ROTATIONS
    assert len(WEDGE_ROTATIONS) == 20


@pytest.mark.parametrize("size", [16, 15])
@pytest.mark.parametrize("tilt_range", RANGES)
def test_turned_wedge_then_turn_equals_turn_then_wedge(size, tilt_range):
    volume = np.random.default_rng(0).normal(size=(size, size, size)).astype(np.float32)
    regions, which = turned_regions(size, tilt_range)
    region = measured_region(volume.shape, tilt_range)
    for index, g in enumerate(WEDGE_ROTATIONS):
        brute = filter_volume(turn(volume, g), region)
        np.testing.assert_allclose(turn(filter_volume(volume, regions[which[index]]), g), brute, atol=2e-5)


@pytest.mark.parametrize("size", [16, 24])
def test_there_are_5_turned_regions_of_a_symmetric_range_and_at_most_10_else(size):
    assert len(turned_regions(size, (-60.0, 60.0))[0]) == 5
    regions, which = turned_regions(size, (-67.0, 57.0))
    assert 5 < len(regions) <= 10
    assert set(which) == set(range(len(regions)))


@pytest.mark.parametrize("tilt_range", RANGES)
@pytest.mark.parametrize("size", [8, 12])
def test_filtered_centres_are_the_centres_of_the_filtered(tilt_range, size):
    volume = np.random.default_rng(0).normal(size=(18, 18, 18)).astype(np.float32)
    margin = (18 - size) // 2
    regions, _ = turned_regions(18, tilt_range)
    for region, centre in zip(regions, filtered_centres(volume, regions, size), strict=True):
        brute = filter_volume(volume, region)[margin:-margin, margin:-margin, margin:-margin]
        np.testing.assert_allclose(centre, brute, atol=1e-5)


def test_filtering_leaves_the_volume_as_it_was():
    volume = np.random.default_rng(0).normal(size=(12, 12, 12)).astype(np.float32)
    before = volume.copy()
    regions, _ = turned_regions(12, (-60.0, 60.0))
    for _ in filtered_centres(volume, regions, 8):
        pass
    np.testing.assert_array_equal(volume, before)


@pytest.mark.parametrize("rotation", CUBE_ROTATIONS, ids=str)
def test_a_box_turns_with_the_cube(rotation):
    box = np.array([1, 4, 0, 7, 5, 6])
    cube = np.zeros((8, 8, 8), bool)
    cube[1:4, 0:7, 5:6] = True
    z0, z1, y0, y1, x0, x1 = turn_box(box, 8, rotation)
    expected = np.zeros_like(cube)
    expected[z0:z1, y0:y1, x0:x1] = True
    np.testing.assert_array_equal(turn(cube, rotation), expected)


def test_leading_axes_stay_and_turning_does_not_copy():
    cubes = np.random.default_rng(0).normal(size=(2, 3, 4, 4, 4))
    turned = turn(cubes, WEDGE_ROTATIONS[5])
    assert np.shares_memory(turned, cubes)
    np.testing.assert_array_equal(turned[1, 2], turn(cubes[1, 2], WEDGE_ROTATIONS[5]))


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("tilt_range", [(-60.0, 60.0), (-67.0, 41.0)])
def test_a_turned_cubes_measured_coefficients_are_those_of_its_target_region(size, tilt_range):
    cube = np.random.default_rng(0).normal(size=(size, size, size)).astype(np.float32)
    measured = filter_volume(cube, measured_region(cube.shape, tilt_range))
    regions = target_regions(size, tilt_range)
    assert regions.shape == (20, size, size, size // 2 + 1)
    for rotation, region in zip(WEDGE_ROTATIONS, regions, strict=True):
        kept = fft.irfftn(region * fft.rfftn(turn(cube, rotation)), cube.shape)
        np.testing.assert_allclose(kept, turn(measured, rotation), atol=1e-5)
