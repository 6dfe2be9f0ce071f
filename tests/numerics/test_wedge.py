"""The measured region and filtering, against closed forms and brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import fft

from mwr_hpc.numerics import wedge

SHAPES = [(8, 6, 8), (9, 7, 11), (12, 5, 10), (36, 9, 20)]
RANGES = [(-60.0, 60.0), (-67.0, 57.0), (-45.0, 30.0), (5.0, 50.0)]


def full_region(shape, tilt_range):
    """Literal definition over the full FFT layout, one coefficient at a time."""
    region = np.zeros((shape[0], 1, shape[2]), bool)
    kz, kx = (fft.fftfreq(n) for n in (shape[0], shape[2]))

    def measured(z, x):
        if z == 0 and x == 0:
            return True
        if x == 0:
            return False
        return tilt_range[0] <= np.degrees(np.arctan2(np.sign(x) * z, abs(x))) <= tilt_range[1]

    for i, z in enumerate(kz):
        for j, x in enumerate(kx):
            candidates = {(z, x)}
            candidates |= {(-z, x)} if z == -0.5 else set()
            candidates |= {(z, -x)} if x == -0.5 else set()
            region[i, 0, j] = all(measured(a, b) and measured(-a, -b) for a, b in candidates)
    return region


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tilt_range", RANGES)
def test_region_is_the_definition(shape, tilt_range):
    region = wedge.measured_region(shape, tilt_range)
    np.testing.assert_array_equal(region, full_region(shape, tilt_range)[..., : shape[2] // 2 + 1])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tilt_range", RANGES)
def test_region_is_hermitian_so_filtering_the_full_transform_stays_real_and_agrees(shape, tilt_range):
    volume = np.random.default_rng(0).normal(size=shape)
    brute = fft.ifftn(fft.fftn(volume) * full_region(shape, tilt_range))
    assert np.abs(brute.imag).max() < 1e-12
    filtered = wedge.filter_volume(volume, wedge.measured_region(shape, tilt_range))
    assert filtered.dtype == np.float32
    np.testing.assert_allclose(filtered, brute.real, atol=1e-5)


@pytest.mark.parametrize(("tilt", "kept"), [(50, True), (-50, False), (20, True), (-20, True)])
def test_a_wave_is_kept_only_if_its_tilt_was_measured(tilt, kept):
    """A projection at tilt t measures waves along (x, z) = (cos t, sin t); here (-30, 60) tells the signs apart."""
    n, k = 64, 10
    kx, kz = round(k * np.cos(np.radians(tilt))), round(k * np.sin(np.radians(tilt)))
    z, _, x = np.mgrid[:n, :n, :n]
    wave = np.cos(2 * np.pi * (kx * x + kz * z) / n + 0.3)
    filtered = wedge.filter_volume(wave, wedge.measured_region(wave.shape, (-30.0, 60.0)))
    np.testing.assert_allclose(filtered, wave if kept else 0, atol=1e-5)


def test_waves_along_the_tilt_axis_are_measured_and_along_the_beam_are_not():
    z, y, _ = np.mgrid[:16, :16, :16]
    region = wedge.measured_region((16, 16, 16), (-60.0, 60.0))
    along_tilt_axis, along_beam = np.cos(2 * np.pi * 3 * y / 16), np.cos(2 * np.pi * 3 * z / 16)
    np.testing.assert_allclose(wedge.filter_volume(along_tilt_axis, region), along_tilt_axis, atol=1e-6)
    np.testing.assert_allclose(wedge.filter_volume(along_beam, region), 0, atol=1e-6)


def test_measured_share_is_the_angle_it_spans():
    region = wedge.measured_region((201, 1, 201), (-40.0, 40.0))
    kz, kx = np.meshgrid(fft.fftfreq(201), fft.rfftfreq(201), indexing="ij")
    disc = np.hypot(kz, kx) <= 0.5
    assert region[:, 0][disc].mean() == pytest.approx(80 / 180, abs=0.01)


@given(st.integers(2, 12), st.integers(2, 12), st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_filtering_twice_is_filtering_once_and_loses_power(nz, ny, nx, seed):
    volume = np.random.default_rng(seed).normal(size=(nz, ny, nx)).astype(np.float32)
    region = wedge.measured_region(volume.shape, (-60.0, 50.0))
    once = wedge.filter_volume(volume, region)
    np.testing.assert_allclose(wedge.filter_volume(once, region), once, atol=1e-5)
    assert np.sum(once**2) <= np.sum(volume**2) * (1 + 1e-5)


def test_a_batch_is_filtered_cube_by_cube():
    batch = np.random.default_rng(0).normal(size=(3, 8, 8, 8)).astype(np.float32)
    region = wedge.measured_region((8, 8, 8), (-60.0, 60.0))
    together = wedge.filter_volume(batch, region)
    for one, cube in zip(together, batch, strict=True):
        np.testing.assert_allclose(one, wedge.filter_volume(cube, region), atol=1e-6)


def test_combine_takes_measured_from_the_data_and_the_rest_from_the_prediction():
    rng = np.random.default_rng(1)
    measured, predicted = rng.normal(size=(2, 10, 9, 12))
    region = wedge.measured_region(measured.shape, (-50.0, 60.0))
    expected = fft.irfftn(
        np.where(region, fft.rfftn(measured), fft.rfftn(predicted)), measured.shape
    )  # a region symmetric under k -> -k makes this real without help
    np.testing.assert_allclose(wedge.combine(measured, predicted, region), expected, atol=1e-5)


def test_combine_of_a_volume_with_itself_is_the_same_bits():
    volume = np.random.default_rng(2).normal(size=(8, 8, 8)).astype(np.float32)
    region = wedge.measured_region(volume.shape, (-60.0, 60.0))
    np.testing.assert_array_equal(wedge.combine(volume, volume, region), volume)


def test_flipping_the_tilt_mirrors_the_region_in_z():
    flipped = wedge.effective_tilt_range((-67.0, 57.0), True)
    assert flipped == (-57.0, 67.0)
    region, mirrored = (wedge.measured_region((15, 3, 15), r) for r in ((-67.0, 57.0), flipped))
    np.testing.assert_array_equal(mirrored, np.roll(region[::-1], 1, axis=0))
    assert wedge.effective_tilt_range((-67.0, 57.0), False) == (-67.0, 57.0)


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [(60, -60, "smaller"), (10, 10, "smaller"), (-95, 60, "-90 and 90"), (-60, 91, "-90 and 90"),
     (-90, 90, "no missing wedge"), (float("nan"), 60, "-90 and 90")],
)  # fmt: skip
def test_an_impossible_tilt_range_is_refused_with_its_values(low, high, says):
    with pytest.raises(ValueError, match=says):
        wedge.check_tilt_range(low, high)


def test_a_possible_tilt_range_comes_back_as_floats():
    assert wedge.check_tilt_range(-67, 57) == (-67.0, 57.0)
