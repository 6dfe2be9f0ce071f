"""Micrographs at the working pixel size: frequencies, positions, slopes, grey scale and sign."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwr_hpc.numerics.micrograph import (
    fourier_crop,
    high_pass,
    hot_pixels,
    prepare,
    subtract_plane,
    without_outliers,
    without_padding,
    working_shape,
)


def waves(shape: tuple[int, int], cycles_y: int, cycles_x: int) -> np.ndarray:
    y, x = np.indices(shape) / np.array(shape)[:, None, None]
    return np.cos(2 * np.pi * (cycles_y * y + cycles_x * x) + 0.3).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "pixel_size", "expected"),
    [
        ((2048, 2048), 3.54, (906, 906)),
        ((3838, 3710), 1.06, (508, 492)),
        ((100, 60), 8.0, (100, 60)),
        ((101, 61), 8.0, (100, 60)),
    ],
)
def test_the_working_shape_is_even_and_that_of_warp(
    shape: tuple[int, int], pixel_size: float, expected: tuple[int, int]
) -> None:
    assert working_shape(shape, pixel_size) == expected


def test_a_coarser_micrograph_is_refused() -> None:
    with pytest.raises(ValueError, match="10 A per pixel are coarser than the 8 A"):
        working_shape((64, 64), 10.0)


@pytest.mark.parametrize("shape", [(64, 96), (75, 91)])
def test_cropping_keeps_low_frequencies_exactly_and_drops_high_ones(shape: tuple[int, int]) -> None:
    image = waves(shape, 5, -7) + 3 + waves(shape, 20, 3) + waves(shape, 2, 29)
    cropped = fourier_crop(image, (32, 40))
    np.testing.assert_allclose(cropped, waves((32, 40), 5, -7) + 3, atol=2e-5)


@given(a=st.floats(-5, 5), b=st.floats(-1, 1), c=st.floats(-1, 1))
@settings(max_examples=20, deadline=None)
def test_a_plane_leaves_nothing(a: float, b: float, c: float) -> None:
    y, x = np.indices((17, 24))
    np.testing.assert_allclose(subtract_plane((a + b * y + c * x).astype(np.float32)), 0, atol=1e-4)


def test_the_plane_is_the_one_of_least_squares() -> None:
    image = np.random.default_rng(0).random((12, 15)).astype(np.float32)
    y, x = np.indices(image.shape)
    design = np.stack([np.ones(image.size), y.ravel(), x.ravel()], axis=1)
    fitted = design @ np.linalg.lstsq(design, image.ravel().astype(float), rcond=None)[0]
    np.testing.assert_allclose(subtract_plane(image), image - fitted.reshape(image.shape), atol=1e-6)


def test_the_high_pass_is_a_half_at_500_angstrom() -> None:
    # 1000 pixels of 5 A: frequencies are multiples of 1 / 5000 A, so that 500 A is the tenth.
    transfer = high_pass((1000, 1000), 5.0)[:, 0]
    assert transfer[0] == 0 and transfer[5] == pytest.approx(0, abs=1e-6)
    assert transfer[10] == pytest.approx(0.5)
    assert transfer[15] == pytest.approx(1) and transfer[400] == 1
    np.testing.assert_array_equal(transfer[1:500], transfer[:500:-1])


@pytest.mark.parametrize(("contrast", "sign"), [("dark", -1), ("bright", 1)])
def test_prepared_micrographs_have_one_grey_scale_and_bright_protein(contrast: str, sign: int) -> None:
    image = 1000 + 50 * waves((96, 96), 12, 5) + np.arange(96)
    prepared = prepare(image, 4.0, contrast=contrast)  # type: ignore[arg-type]  # a text of the parameters
    assert prepared.shape == (48, 48) and prepared.dtype == np.float32
    centre = prepared[12:36, 12:36]
    assert centre.mean() == pytest.approx(0, abs=1e-5) and centre.std() == pytest.approx(1, abs=1e-5)
    assert np.corrcoef(prepared.ravel(), sign * waves((48, 48), 12, 5).ravel())[0, 1] > 0.999


def test_a_pixel_stays_where_it_is_by_the_rule_of_coordinates() -> None:
    image = np.zeros((120, 150), np.float32)
    y, x = 70, 33
    image[y, x] = 1
    prepared = prepare(image, 3.2, contrast="bright")
    height, width = prepared.shape
    peak = np.unravel_index(prepared.argmax(), prepared.shape)
    assert abs(peak[0] - y * height / 120) <= 0.5 and abs(peak[1] - x * width / 150) <= 0.5


def test_constant_grey_values_are_refused() -> None:
    with pytest.raises(ValueError, match="constant"):
        prepare(np.full((64, 64), 7, np.uint8), 4.0)
    ramp = np.add.outer(np.arange(64), np.arange(64))  # nothing is left of a slope
    with pytest.raises(ValueError, match="constant"):
        prepare(ramp, 4.0)


def test_integers_give_the_same_as_floats() -> None:
    image = np.random.default_rng(1).integers(0, 255, (64, 80)).astype(np.uint8)
    np.testing.assert_array_equal(prepare(image, 5.0), prepare(image.astype(np.float64), 5.0))


@pytest.mark.parametrize("value", [2_000.0, 1e5, -1e9])
def test_a_hot_pixel_changes_nothing_but_its_place(value: float) -> None:
    clean = np.random.default_rng(5).normal(0, 1, (200, 240)).astype(np.float32)
    hot = clean.copy()
    hot[100, 120] = value
    assert hot_pixels(clean) == 0 and without_outliers(clean) is clean
    assert hot_pixels(hot) == 1
    np.testing.assert_allclose(prepare(hot, 4.0), prepare(clean, 4.0), atol=1.5)
    assert np.abs(prepare(hot, 4.0) - prepare(clean, 4.0)).mean() < 0.01


@pytest.mark.parametrize("value", [0, 30_000])
def test_corners_that_a_rotation_left_change_nothing_else(value: int) -> None:
    clean = np.random.default_rng(6).normal(20_000, 100, (300, 320)).astype(np.int16)
    y, x = np.indices(clean.shape)
    corners = (x + y < 60) | (x + y > 560)
    padded = np.where(corners, np.int16(value), clean)
    assert without_padding(clean) is clean
    filled = without_padding(padded)
    assert np.abs(filled - 20_000).max() < 600 and hot_pixels(padded) == 0
    before, after = prepare(clean, 4.0), prepare(padded, 4.0)
    inside = (slice(40, -40), slice(40, -40))
    assert np.abs(after[inside] - before[inside]).mean() < 0.1 and np.abs(after).max() < 8
