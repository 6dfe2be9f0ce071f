"""Noise added at a level, and the level of each iteration."""

import numpy as np
import pytest

from mwr_hpc.numerics.noise import add_noise, noise_level_at


def test_what_is_added_has_the_level_times_the_deviation_of_the_cube():
    rng = np.random.default_rng(0)
    cube, noise = rng.normal(5, 3, (16, 16, 16)).astype(np.float32), rng.normal(100, 40, (16, 16, 16))
    noisy = add_noise(cube, noise.astype(np.float32), 0.2)
    assert noisy.dtype == np.float32
    added = noisy - cube
    assert added.std() == pytest.approx(0.2 * cube.std(), rel=1e-4)
    assert added.mean() == pytest.approx(0, abs=1e-4)
    assert np.corrcoef(added.ravel(), noise.ravel())[0, 1] == pytest.approx(1, abs=1e-5)


def test_level_zero_changes_nothing():
    cube = np.random.default_rng(0).normal(size=(4, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(add_noise(cube, cube[::-1], 0.0), cube)


def test_constant_noise_is_refused():
    with pytest.raises(ValueError, match="constant"):
        add_noise(np.ones((2, 2, 2), np.float32), np.ones((2, 2, 2), np.float32), 0.1)


@pytest.mark.parametrize(
    ("iteration", "level"), [(1, 0), (14, 0), (15, 0.05), (19, 0.05), (20, 0.10), (24, 0.10), (25, 0.15), (30, 0.20)]
)
def test_the_level_rises_after_every_pause(iteration, level):
    assert noise_level_at(iteration, 0.05, 15, 5) == pytest.approx(level)
