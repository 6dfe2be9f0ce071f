"""Back-projected noise: empty in the missing wedge, of the right sign of tilt, with the spectrum of its filter."""

import numpy as np
import pytest

from mwr_hpc.numerics.back_projected_noise import NoiseFilter, NoiseProjector
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.numerics.wedge import measured_region
from mwr_hpc.numerics.wedge_evidence import find_wedge

SIZE = 48
TILTS = (-40.0, 60.0)


def mean_power(noise_filter: NoiseFilter, cubes: int = 6) -> np.ndarray:
    """Power in the plane of kz and kx, with a window so that the cube's faces do not leak into the wedge."""
    projector = NoiseProjector(SIZE, TILTS, 2.0, noise_filter)
    edge = np.hanning(SIZE + 2)[1:-1]
    window = edge[:, None, None] * edge
    spectra = [
        np.fft.rfftn(projector.cube(keyed_generator(0, "test", index=index)) * window, axes=(0, 2))
        for index in range(cubes)
    ]
    return np.mean(np.abs(spectra) ** 2, axis=(0, 2))


def region(low: float, high: float) -> np.ndarray:
    return measured_region((SIZE, SIZE, SIZE), (low, high))[:, 0]


def frequency() -> np.ndarray:
    return np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE))


@pytest.mark.parametrize("noise_filter", ["none", "ramp", "hamming"])
def test_the_missing_wedge_is_empty(noise_filter: NoiseFilter) -> None:
    power = mean_power(noise_filter)
    band = (frequency() > 0.15) & (frequency() < 0.45)
    inside = power[band & region(-35, 55)].mean()
    assert power[band & ~region(-45, 65)].mean() < 0.01 * inside
    # The mirrored sign of tilt would put power between 45 and 55 degrees on the other side.
    assert power[band & region(-60, -46)].mean() < 0.05 * inside
    assert power[band & region(46, 55)].mean() > 0.5 * inside


@pytest.mark.parametrize("noise_filter", ["none", "ramp", "hamming"])
def test_spectrum_is_the_squared_filter_over_k(noise_filter: NoiseFilter) -> None:
    """Tilts spread over an arc that grows with k, so a squared weight w^2 becomes w^2 / k."""
    power, k = mean_power(noise_filter), frequency()
    shells = np.arange(0.1, 0.41, 0.05)
    found = np.array([power[(np.abs(k - shell) < 0.02) & region(-35, 55)].mean() for shell in shells])
    weight = {
        "none": np.ones_like(shells),
        "ramp": shells,
        "hamming": shells * (0.54 + 0.46 * np.cos(2 * np.pi * shells)),
    }[noise_filter]
    expected = weight**2 / shells
    ratio = found / expected
    assert np.allclose(ratio / ratio.mean(), 1, atol=0.15)


def test_cubes_are_normalised_and_keyed() -> None:
    projector = NoiseProjector(24, TILTS, 5.0, "ramp")
    first, again, other = (projector.cube(keyed_generator(0, "test", index=index)) for index in (0, 0, 1))
    assert (first.shape, first.dtype) == ((24, 24, 24), np.float32)
    assert abs(first.mean()) < 1e-4 and first.std() == pytest.approx(1, abs=1e-3)
    assert np.array_equal(first, again)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.1


def test_the_check_finds_its_tilt_range() -> None:
    evidence = find_wedge(NoiseProjector(64, (-66, 57), 3.0, "ramp").cube(keyed_generator(0, "test")))
    assert evidence is not None and evidence.tilt_range == pytest.approx((-66, 57), abs=3)
