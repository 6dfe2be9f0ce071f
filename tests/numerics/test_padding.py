"""Padding is recognised by its one value, whatever was rotated, and chance is not taken for it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from mwr_hpc.numerics.padding import MARGIN, RUN, PaddedSections, in_runs, padding_values

SHAPE = (24, 60, 70)
BOX = ((0, 24), (0, 60), (0, 70))


def noise(mean: float = 20_000, std: float = 100) -> np.ndarray:
    return np.random.default_rng(1).normal(mean, std, SHAPE)


@given(st.integers(0, 2**32 - 1))
def test_runs_are_what_a_search_by_hand_finds(seed: int) -> None:
    mask = np.random.default_rng(seed).random((13, 11)) < 0.8
    expected = np.zeros_like(mask)
    for y, x in np.ndindex(mask.shape):
        for line, target in ((mask[y : y + RUN, x], expected[y : y + RUN, x]), (mask[y, x:], expected[y, x:])):
            if len(line) >= RUN and line[:RUN].all():
                target[:RUN] = True
    np.testing.assert_array_equal(in_runs(mask), expected)


@pytest.mark.parametrize("axes", [(1, 2), (0, 2), (0, 1)])
@pytest.mark.parametrize("angle", [4, 10, 40])
@pytest.mark.parametrize("fill", [0, 20_000])
def test_corners_after_a_rotation(axes: tuple[int, int], angle: float, fill: float) -> None:
    volume = ndimage.rotate(noise(), angle, axes, reshape=False, order=1, cval=fill).astype(np.int16)
    truth = ndimage.rotate(np.ones(SHAPE), angle, axes, reshape=False, order=1, cval=0)
    assert padding_values(lambda z: volume[z], BOX) == (fill,)
    padded = PaddedSections(lambda z: volume[z], BOX, (fill,))
    found = np.stack([padded(z) for z in range(SHAPE[0])])
    pure = ndimage.binary_erosion(truth == 0, iterations=2)
    assert found[pure].all()
    assert not found[ndimage.binary_erosion(truth == 1, np.ones((2 * MARGIN + 3,) * 3))].any()
    if fill == 0:
        assert not found[ndimage.binary_erosion(truth == 1, np.ones((3, 3, 3)), iterations=2 * MARGIN)].any()
        assert volume[~found].min() > 19_000  # nothing interpolated with the padding is left


@pytest.mark.parametrize("levels", [1.0, 3.0])
def test_coarse_grey_values_make_no_padding(levels: float) -> None:
    volume = np.round(noise(0, levels)).astype(np.int8)
    assert padding_values(lambda z: volume[z], BOX) == ()


def test_sections_may_be_asked_for_in_any_order() -> None:
    volume = ndimage.rotate(noise(), 10, (0, 2), reshape=False, order=1)
    padded = PaddedSections(lambda z: volume[z], BOX, (0.0,))
    first = [padded(z) for z in range(SHAPE[0])]
    again = [padded(z) for z in reversed(range(SHAPE[0]))][::-1]
    np.testing.assert_array_equal(first, again)
