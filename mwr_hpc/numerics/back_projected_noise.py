"""Noise with the spectrum that a reconstruction's noise has: white detector noise, filtered and back-projected.

It is zero in the missing wedge and has the filter's weight over 1 / k between the tilts, as noise in tomograms has;
networks that were trained against white noise leave this kind alone.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft, sparse

from mwr_hpc.numerics.wedge import TiltRange

NoiseFilter = Literal["none", "ramp", "hamming"]

OVERSAMPLING = 4
"""Samples of the fine detector per pixel: with linear interpolation, its sinc^2 divided out, 3 % error at Nyquist."""


class NoiseProjector:
    """Makes noise cubes of one size for one tilt scheme.

    Parameters
    ----------
    size
        Edge of the cubes in voxels.
    tilt_range
        (min, max) in degrees, both tilted to.
    tilt_step
        Degrees between tilts; gives way by as much as a whole number of steps needs.
    noise_filter
        Weight of each projection's frequency k (cycles per pixel): 1, |k|, or |k| times the Hamming window
        0.54 + 0.46 cos(2 pi k) as in IMOD-like and IsoNet's reconstructions of noise.
    """

    def __init__(self, size: int, tilt_range: TiltRange, tilt_step: float, noise_filter: NoiseFilter) -> None:
        low, high = tilt_range
        self._size = size
        angles = np.linspace(low, high, max(1, round((high - low) / tilt_step)) + 1)
        # Beyond the cube's diagonal and as even as the filter's transform wants it.
        self._pixels = 2 * fft.next_fast_len(int(np.ceil(size / np.sqrt(2))) + 2, real=True)
        frequency = fft.rfftfreq(self._pixels)
        weight = np.ones_like(frequency) if noise_filter == "none" else frequency
        if noise_filter == "hamming":
            weight = weight * (0.54 + 0.46 * np.cos(2 * np.pi * frequency))
        self._weight = (weight / np.sinc(frequency / OVERSAMPLING) ** 2).astype(np.float32)
        self._tilts = len(angles)
        self._rays = sparse.hstack([self._rays_at(angle) for angle in angles], format="csr")

    def cube(self, generator: np.random.Generator) -> NDArray[np.float32]:
        """Draw one cube, (size, size, size) in the order (z, y, x), of mean 0 and standard deviation 1."""
        size, fine = self._size, OVERSAMPLING * self._pixels
        images = generator.standard_normal((self._tilts, self._pixels, size), np.float32)
        spectra = fft.rfft(images, axis=1, workers=1) * self._weight[:, None]
        # The frequencies of the pixels are the lowest ones of the fine samples, zeros follow.
        samples = fft.irfft(spectra, fine, axis=1, workers=1).reshape(self._tilts * fine, size)
        planes = (self._rays @ samples).reshape(size, size, size)
        cube = np.ascontiguousarray(planes.transpose(0, 2, 1))
        cube -= cube.mean(dtype=np.float64).astype(np.float32)
        return np.asarray(cube / np.float32(cube.std(dtype=np.float64)))

    def _rays_at(self, angle: float) -> Any:
        """Linear interpolation of the fine detector at each voxel's x' = x cos t + z sin t, (z and x, samples)."""
        place = np.arange(self._size) - self._size // 2
        tilt = np.radians(angle)
        position = OVERSAMPLING * (place * np.cos(tilt) + place[:, None] * np.sin(tilt) + self._pixels / 2).ravel()
        left = np.floor(position).astype(np.int32)
        share = (position - left).astype(np.float32)
        return sparse.csr_array(
            (
                np.stack([1 - share, share], axis=1).ravel(),
                np.stack([left, left + 1], axis=1).ravel(),
                np.arange(0, 2 * position.size + 1, 2, dtype=np.int32),
            ),
            shape=(position.size, OVERSAMPLING * self._pixels),
        )
