"""Sums over the Fourier coefficients of two volumes, by region and by frequency, on which figures of merit are built.

Both volumes less their mean are tapered at every face; "measured" is inside the tilt range by more than BORDER degrees
and "missing" outside by more than that. Spectra are summed plane by plane, so that beside the two transforms hardly any
memory is needed.
"""

from copy import copy
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from mwr_hpc.numerics.wedge import TiltRange

Array = NDArray[Any]

BAND = (0.03, 0.40)
LOW_BAND = 0.10
BORDER = 3.0
REGIONS = ("all", "measured", "missing")
_FEWEST_COEFFICIENTS = 20


@dataclass(frozen=True)
class ShellCorrelation:
    """Fourier shell correlation, and where it first falls below 0.5 and 0.143 (cycles per voxel).

    A crossing is None where the curve is below from its first usable shell; it is the last usable frequency where the
    curve never falls below.
    """

    frequency: tuple[float, ...]
    correlation: tuple[float | None, ...]
    below_half: float | None
    below_0143: float | None


class SpectralSums:
    """Sums over |k| bins of cross and auto spectra, for each region.

    Parameters
    ----------
    truth, volume
        (nz, ny, nx) of one shape: the first and the second volume.
    tilt_range
        (tilt_min, tilt_max) in degrees.
    """

    def __init__(self, truth: Array, volume: Array, tilt_range: TiltRange) -> None:
        self._edges = np.array([BAND[0], LOW_BAND, BAND[1]])
        self._shells = min(truth.shape) // 2
        self._size = min(truth.shape)
        shape = truth.shape
        reference = _tapered_spectrum(truth)
        other = reference if volume is truth else _tapered_spectrum(volume)
        ky, kx = fft.fftfreq(shape[1])[:, None], fft.rfftfreq(shape[2])
        friedel = np.full(kx.shape, 2.0)
        friedel[0] = 1.0
        if shape[2] % 2 == 0:
            friedel[-1] = 1.0
        # Of every region: (cross, power of the truth, power of the volume, count) in bands and in shells.
        self._bands = {region: np.zeros((4, len(self._edges) + 1)) for region in REGIONS}
        self._rings = {region: np.zeros((4, self._shells + 2)) for region in REGIONS}
        for kz, t, v in zip(fft.fftfreq(shape[0]), reference, other, strict=True):
            radius = np.sqrt(kz**2 + ky**2 + kx**2)
            # Intervals are open below and closed above.
            band = np.searchsorted(self._edges, radius.ravel(), side="left")
            ring = np.minimum(np.rint(radius.ravel() * self._size).astype(int), self._shells + 1)
            weight = np.broadcast_to(friedel, radius.shape)
            terms = [
                (t.real * v.real + t.imag * v.imag) * weight,
                (t.real**2 + t.imag**2) * weight,
                (v.real**2 + v.imag**2) * weight,
                np.ones(radius.shape),
            ]
            depth = np.broadcast_to(_degrees_inside(kz, kx, tilt_range), radius.shape)
            for region in REGIONS:
                inside = _inside(depth, region)
                for row, term in enumerate(terms):
                    chosen = (term * inside).ravel()
                    self._bands[region][row] += np.bincount(band, chosen, len(self._edges) + 1)
                    self._rings[region][row] += np.bincount(ring, chosen, self._shells + 2)

    def __add__(self, other: Self) -> Self:
        """Return the sums over this pair of volumes and another one of the same shape and tilt range."""
        both = copy(self)
        both._bands = {region: mine + other._bands[region] for region, mine in self._bands.items()}
        both._rings = {region: mine + other._rings[region] for region, mine in self._rings.items()}
        return both

    def _in_band(self, region: str, upper: float) -> Array:
        """Sums over BAND[0] < |k| <= upper."""
        return np.asarray(self._bands[region][:, 1 : 1 + int(np.searchsorted(self._edges, upper))].sum(axis=1))

    def fcc(self, region: str) -> float:
        """Fourier correlation coefficient."""
        cross, of_truth, of_volume, _ = self._in_band(region, BAND[1])
        return float(cross / np.sqrt(of_truth * of_volume + 1e-300))

    def slope(self, region: str, upper: float) -> float:
        """Cross spectrum over the first volume's power, for BAND[0] < |k| <= upper."""
        cross, of_truth, _, _ = self._in_band(region, upper)
        return float(cross / (of_truth + 1e-300))

    def shell_correlation(self, region: str) -> ShellCorrelation:
        """Fourier shell correlation."""
        cross, of_truth, of_volume, count = self._rings[region][:, 1:-1]
        power = np.sqrt(of_truth * of_volume)
        known = power > 0
        correlation = np.divide(cross, power, out=np.full(len(cross), np.nan), where=known)
        frequency = np.arange(1, self._shells + 1) / self._size
        # The first shell is within the taper's own width of zero frequency.
        usable = known & (count >= _FEWEST_COEFFICIENTS) & (np.arange(len(cross)) > 0)
        return ShellCorrelation(
            frequency=tuple(frequency.tolist()),
            correlation=tuple(float(c) if k else None for c, k in zip(correlation, known, strict=True)),
            below_half=_crossing(frequency[usable], correlation[usable], 0.5),
            below_0143=_crossing(frequency[usable], correlation[usable], 0.143),
        )

    def difference(self, region: str) -> float:
        """Power of the second volume's difference from the first, as a share of the first one's power."""
        cross, of_first, of_second, _ = self._in_band(region, BAND[1])
        return float(max(0.0, of_first + of_second - 2 * cross) / (of_first + 1e-300))

    def wedge_fill(self, of: Literal["first", "second"] = "second") -> float | None:
        """Power in the missing region of one volume over what it would be with the measured power in each shell."""
        rings = np.arange(self._shells + 2)
        chosen = (rings > BAND[0] * self._size) & (rings <= BAND[1] * self._size)
        row = 1 if of == "first" else 2
        missing, missing_count = self._rings["missing"][(row, 3), :][:, chosen]
        measured, measured_count = self._rings["measured"][(row, 3), :][:, chosen]
        both = (missing_count > 0) & (measured_count > 0) & (measured > 0)
        if not both.any():
            return None
        full = missing_count[both] * measured[both] / measured_count[both]
        return float(missing[both].sum() / full.sum())


def _tapered_spectrum(volume: Array) -> Array:
    """Real FFT of the volume less its mean, falling to zero by a raised cosine over max(4, n / 16) voxels."""
    tapered: Array = np.subtract(volume, np.float32(volume.mean(dtype=np.float64)), dtype=np.float32)
    for axis, n in enumerate(volume.shape):
        width = max(4, n // 16)
        rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(width) + 0.5) / width)
        window = np.ones(n, np.float32)
        window[:width] = rise
        window[n - width :] = rise[::-1]
        tapered *= window.reshape([-1 if a == axis else 1 for a in range(3)])
    return np.asarray(fft.rfftn(tapered, overwrite_x=True, workers=1))


def _degrees_inside(kz: float, kx: Array, tilt_range: TiltRange) -> Array:
    """How far, in degrees, inside the tilt range the coefficients (kz, kx >= 0) lie; negative outside."""
    low, high = tilt_range
    angle = np.degrees(np.arctan2(kz, kx))
    depth = np.minimum(angle - low, high - angle)
    # kx = 0 is the tilt axis, which is measured, or the beam, which is at +90 and -90 degrees alike.
    depth[0] = 90.0 if kz == 0 else min(high - 90.0, -90.0 - low)
    return np.asarray(depth)


def _inside(depth: Array, region: str) -> Array:
    if region == "measured":
        return np.asarray(depth > BORDER)
    return np.asarray(depth < -BORDER) if region == "missing" else np.ones(depth.shape, bool)


def _crossing(frequency: Array, correlation: Array, level: float) -> float | None:
    """First frequency at which a curve falls below a level, interpolated linearly."""
    below = np.flatnonzero(correlation < level)
    if len(correlation) == 0 or (len(below) and below[0] == 0):
        return None
    if not len(below):
        return float(frequency[-1])
    i, j = below[0] - 1, below[0]
    share = (correlation[i] - level) / (correlation[i] - correlation[j])
    return float(frequency[i] + share * (frequency[j] - frequency[i]))
