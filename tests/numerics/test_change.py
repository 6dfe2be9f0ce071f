"""What a correction changed, on volumes for which it is known in closed form."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from mwr_hpc.numerics.change import BLOCK, Change, change_of, sample_boxes
from mwr_hpc.numerics.wedge import combine, filter_volume, measured_region

TILT = (-60.0, 50.0)
SHAPE = (40, 48, 56)


def noise(seed: int) -> np.ndarray:
    """White noise that is zero near the faces, where the taper would mix the regions."""
    inner = np.random.default_rng(seed).normal(size=[n - 8 for n in SHAPE])
    return np.pad(inner, 4).astype(np.float32)


@pytest.mark.parametrize("filled", [0.0, 0.5, 1.0])
def test_the_wedge_is_as_full_as_the_square_of_the_amplitude_that_was_put_there(filled: float) -> None:
    truth = noise(0)
    region = measured_region(SHAPE, TILT)
    before = filter_volume(truth, region)
    change = change_of([(before, combine(before, filled * truth, region))], TILT)
    assert change.wedge_fill == pytest.approx(filled**2, abs=0.12)
    assert change.wedge_fill_before == pytest.approx(0, abs=0.03)
    assert change.measured < 0.005 and change.keeps_the_rest
    assert change.leaves_wedge_empty == (filled == 0)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 1.0])
def test_what_changed_elsewhere_is_a_share_of_the_power(share: float) -> None:
    before = noise(1)
    change = change_of([(before, before * np.float32(1 - share))], TILT)
    assert change.measured == pytest.approx(share**2, rel=1e-3, abs=1e-6)
    assert change.keeps_the_rest == (share < 0.1)


def test_neither_grey_values_nor_their_scale_matter() -> None:
    before, after = noise(2), noise(2) + 0.3 * noise(3)
    plain = change_of([(before, after)], TILT)
    scaled = change_of([(20 * before + 900, 20 * after + 900)], TILT)
    for name, value in plain.to_record().items():
        assert scaled.to_record()[name] == pytest.approx(value, rel=1e-3)


def test_noise_that_nobody_fills_in_does_not_make_a_filled_wedge_look_empty() -> None:
    """Most coefficients hold nothing but weak noise: a mean in which all shells count alike stays below 0.05 here."""
    region = measured_region(SHAPE, TILT)
    particles = 8 * gaussian_filter(noise(7), 2.0)
    before = filter_volume(particles + 0.3 * noise(8), region)
    change = change_of([(before, combine(before, 0.7 * particles, region))], TILT)
    assert change.wedge_fill == pytest.approx(0.49, abs=0.15)


def test_several_blocks_count_by_their_power() -> None:
    quiet, loud = (noise(4), noise(4)), (10 * noise(5), np.zeros(SHAPE, np.float32))
    both = change_of([quiet, loud], TILT)
    assert both.measured == pytest.approx(100 / 101, rel=0.02)


def test_no_wedge_is_no_empty_wedge() -> None:
    change = change_of([(noise(6), noise(6))], (-90.0, 90.0))
    assert change.wedge_fill is None and not change.leaves_wedge_empty
    assert replace(change, wedge_fill=0.01).leaves_wedge_empty


@given(st.tuples(st.integers(1, 700), st.integers(1, 700), st.integers(1, 700)))
def test_boxes_lie_inside_and_have_one_shape(shape: tuple[int, int, int]) -> None:
    boxes = list(sample_boxes(shape))
    assert 1 <= len(boxes) <= 4
    for box in boxes:
        for part, size in zip(box, shape, strict=True):
            assert 0 <= part.start < part.stop <= size and part.stop - part.start == min(size, BLOCK)


def test_a_record_comes_back() -> None:
    change = Change(0.4, 0.03, 0.2)
    assert Change(**change.to_record()) == change
