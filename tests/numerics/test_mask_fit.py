"""A mask that lies upside down is noticed, and no other one is suspected."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mwr_hpc.numerics.mask_fit import fits_better_upside_down


def contaminated(seed: int, strength: float, rough: bool, spots: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """An image of noise with some discs that are denser, or rougher, and the mask of these."""
    generator = np.random.default_rng(seed)
    image = generator.normal(size=(160, 200)) + ndimage.gaussian_filter(generator.normal(size=(160, 200)), 20) * 10
    y, x = np.indices(image.shape)
    mask = np.zeros(image.shape, bool)
    for _ in range(spots):
        row, column, radius = generator.uniform(0, 160), generator.uniform(0, 200), generator.uniform(6, 20)
        mask |= (y - row) ** 2 + (x - column) ** 2 < radius**2
    image[mask] = image[mask] * (1 + strength) if rough else image[mask] + strength
    return image.astype(np.float32), mask


@given(seed=st.integers(0, 10_000), strength=st.floats(0, 5), rough=st.booleans(), spots=st.integers(1, 8))
@settings(max_examples=150, deadline=None)
def test_a_mask_that_lies_right_is_never_suspected(seed: int, strength: float, rough: bool, spots: int) -> None:
    image, mask = contaminated(seed, strength, rough, spots)
    assert not fits_better_upside_down(image, mask)


@pytest.mark.parametrize("rough", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_mask_that_lies_upside_down_is_noticed(seed: int, rough: bool) -> None:
    image, mask = contaminated(seed, 3.0, rough)
    assert fits_better_upside_down(image, mask[::-1])


def test_what_says_nothing_is_not_suspected() -> None:
    image, mask = contaminated(0, 3.0, False)
    for empty in (np.zeros_like(mask), np.ones_like(mask)):
        assert not fits_better_upside_down(image, empty)
    assert not fits_better_upside_down(np.ones_like(image), mask[::-1])
    assert not fits_better_upside_down(image, mask[:, ::-1])
