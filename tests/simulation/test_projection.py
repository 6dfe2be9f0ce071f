"""The tilt series and its back-projection against closed forms, and against the program's own wedge."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft

from mwr_hpc.numerics.wedge import measured_region
from mwr_hpc.simulation.projection import back_project, contrast_transfer, detector_width, project, tilt_angles
from mwr_hpc.simulation.shapes import add_gaussians

SIGMA = 1.5


def blob(shape: tuple[int, int, int], centre: tuple[float, float, float]) -> np.ndarray:
    volume = np.zeros(shape, np.float32)
    add_gaussians(volume, np.array([centre], float), SIGMA, np.ones(1))
    return volume


def reconstruct(volume: np.ndarray, tilt_range: tuple[float, float], step: float) -> np.ndarray:
    angles = tilt_angles(tilt_range, step)
    return back_project(project(volume, angles), angles, volume.shape[0], volume.shape[2])


def test_tilt_angles_include_both_ends() -> None:
    np.testing.assert_allclose(tilt_angles((-66, 57), 3), np.arange(-66, 58, 3))
    angles = tilt_angles((-67, 57), 3)
    assert (angles[0], angles[-1], len(angles)) == (-67, 57, 42)


@settings(max_examples=25, deadline=None)
@given(st.floats(-90, 90), st.floats(8, 15), st.floats(8, 23))
def test_a_blob_projects_to_x_cos_t_plus_z_sin_t(angle: float, z: float, x: float) -> None:
    shape = (24, 4, 32)
    image = project(blob(shape, (z, 2, x)), np.array([angle]))[0, 2]
    tilt, width = np.radians(angle), detector_width(24, 32)
    position = (x - 16) * np.cos(tilt) + (z - 12) * np.sin(tilt)
    expected = SIGMA * np.sqrt(2 * np.pi) * np.exp(-0.5 * ((np.arange(width) - width // 2 - position) / SIGMA) ** 2)
    np.testing.assert_allclose(image, expected, atol=0.005 * expected.max())


def test_every_tilt_sees_all_of_the_density() -> None:
    volume = np.random.default_rng(0).random((9, 5, 14)).astype(np.float32)
    series = project(volume, np.array([-80.0, -33.0, 0.0, 45.0, 90.0]))
    np.testing.assert_allclose(series.sum(axis=2), np.tile(volume.sum(axis=(0, 2)), (5, 1)), rtol=1e-4)


def test_untilted_projection_is_the_sum_along_the_beam() -> None:
    volume = np.random.default_rng(0).random((8, 70, 16)).astype(np.float32)
    image = project(volume, np.array([0.0]))[0]
    margin = image.shape[1] // 2 - 8
    np.testing.assert_allclose(image[:, margin : margin + 16], volume.sum(axis=0), rtol=0.02)


@pytest.mark.parametrize("centre", [(12, 5, 20), (7.3, 3, 11.6), (17, 7, 30)])
def test_a_full_range_gives_the_volume_back(centre: tuple[float, float, float]) -> None:
    volume = blob((25, 9, 40), centre)
    angles = np.arange(-90.0, 90.0, 1.5)
    restored = back_project(project(volume, angles), angles, 25, 40)
    np.testing.assert_allclose(restored, volume, atol=0.03)


@pytest.mark.parametrize("tilt_range", [(-60.0, 60.0), (-66.0, 42.0)])
def test_a_blob_comes_back_at_its_own_place(tilt_range: tuple[float, float]) -> None:
    restored = reconstruct(blob((32, 8, 48), (20, 3, 13)), tilt_range, 3.0)
    assert np.unravel_index(restored.argmax(), restored.shape) == (20, 3, 13)


@pytest.mark.parametrize("tilt_range", [(-60.0, 60.0), (-66.0, 42.0), (-30.0, 70.0)])
def test_the_missing_region_is_empty_and_agrees_with_the_wedge(tilt_range: tuple[float, float]) -> None:
    """What the program calls measured holds the power; its mirror image (the other sign of tilt) does not."""
    shape = (64, 8, 64)
    volume = blob(shape, (32, 4, 32)) - 0.5 * blob(shape, (35, 4, 30))
    truth, restored = (np.abs(fft.rfftn(v)) ** 2 for v in (volume, reconstruct(volume, tilt_range, 1.5)))
    kz, kx = fft.fftfreq(64)[:, None, None], fft.rfftfreq(64)[None, None]
    ring = (np.hypot(kz, kx) > 0.06) & (np.hypot(kz, kx) < 0.35)

    def share(widened: tuple[float, float], inside: bool) -> float:
        region = measured_region(shape, widened)
        chosen = np.broadcast_to(ring & (region if inside else ~region), truth.shape)
        return float(restored[chosen].sum() / truth[chosen].sum())

    low, high = tilt_range
    assert share((low - 10, high + 10), inside=False) < 0.02
    assert share((low + 10, high - 10), inside=True) == pytest.approx(1, abs=0.05)
    if low != -high:
        assert share((-high - 10, -low + 10), inside=False) > 0.1


def test_rows_are_independent_of_each_other() -> None:
    volume = np.random.default_rng(1).standard_normal((8, 70, 12)).astype(np.float32)
    angles = tilt_angles((-50, 50), 10)
    np.testing.assert_allclose(project(volume[:, 66:67], angles), project(volume, angles)[:, 66:67], atol=1e-5)


def test_contrast_transfer_is_positive_at_low_frequency_and_zero_where_the_formula_says() -> None:
    """Without spherical aberration and amplitude contrast the first zero is at k = 1 / sqrt(lambda defocus)."""
    transfer = contrast_transfer((1, 20000), 4.0, 3.0, spherical_aberration=0.0, amplitude_contrast=0.0)[0]
    first_zero = int(np.flatnonzero(transfer[1:] < 0)[0])
    wavelength = 0.019687  # angstrom, at 300 kV
    assert first_zero / (20000 * 4.0) == pytest.approx(1 / np.sqrt(wavelength * 3e4), rel=1e-3)
    assert contrast_transfer((4, 4), 10.0, 3.0)[0, 0] == pytest.approx(0.07)
