"""Figures of merit of a tomogram: against a known truth, or without one.

The definitions are those of section 8 of the design: both volumes less their mean, tapered at every face; Fourier
coefficients with BAND[0] < |k| <= BAND[1] cycles per voxel; "measured" is inside the tilt range by more than BORDER
degrees and "missing" outside by more than that. The sign of the density is never fitted. Spectra are summed plane by
plane, so that beside the two transforms hardly any memory is needed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from mwr_hpc.numerics.wedge import TiltRange

Array = NDArray[Any]

BAND = (0.03, 0.40)
LOW_BAND = 0.10
BORDER = 3.0
REGIONS = ("all", "measured", "missing")
SSIM_SIGMA = 1.5
_SSIM_TRUNCATE = 3.5
_SLAB = 64
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


@dataclass(frozen=True)
class AgainstTruth:
    """Figures of merit against a known truth; the dictionaries are keyed by REGIONS.

    Attributes
    ----------
    fcc
        Fourier correlation coefficients.
    slope
        Amplitudes, 1 where right; None when the measured region at low frequency does not correlate.
    contrast_inverted
        The measured region correlates negatively: density has the wrong sign.
    shells
        Fourier shell correlations.
    real_cc
        Pearson correlation.
    psnr, ssim
        In decibel and at most 1, after the best affine fit whose scale is not negative.
    """

    fcc: dict[str, float]
    slope: dict[str, float | None]
    contrast_inverted: bool
    shells: dict[str, ShellCorrelation]
    real_cc: float
    psnr: float
    ssim: float


def evaluate(truth: Array, volume: Array, tilt_range: TiltRange) -> AgainstTruth:
    """Judge a volume against the truth.

    Parameters
    ----------
    truth, volume
        (nz, ny, nx) of one shape.
    tilt_range
        (tilt_min, tilt_max) in degrees.

    Raises
    ------
    ValueError
        When shapes differ, or a volume is constant or not finite.
    """
    _check(truth, volume)
    sums = _Sums(truth, volume, tilt_range)
    low = sums.slope("measured", LOW_BAND)
    psnr, ssim = _after_affine_fit(truth, volume)
    fcc = {region: sums.fcc(region) for region in REGIONS}
    return AgainstTruth(
        fcc=fcc,
        slope={region: sums.slope(region, BAND[1]) / low if low > 0 else None for region in REGIONS},
        contrast_inverted=fcc["measured"] < 0,
        shells={region: sums.shell_correlation(region) for region in REGIONS},
        real_cc=_pearson(truth, volume),
        psnr=psnr,
        ssim=ssim,
    )


def agreement(before: Array, volume: Array, tilt_range: TiltRange) -> float:
    """Return the Fourier correlation of a volume with its input in the measured region."""
    _check(before, volume)
    return _Sums(before, volume, tilt_range).fcc("measured")


def wedge_fill(volume: Array, tilt_range: TiltRange) -> float | None:
    """Return how full the wedge is: 0 is empty, 1 as strong as the measured region of the same shells.

    The ratio of the mean powers, missing to measured, of every shell in the band, averaged with the number of missing
    coefficients as weight. It says nothing of whether what fills the wedge is right. None when the wedge is too narrow
    to have coefficients more than BORDER degrees inside it.
    """
    _check(volume)
    return _Sums(volume, volume, tilt_range).wedge_fill()


class _Sums:
    """Sums over |k| bins of cross and auto spectra, for each region."""

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

    def _in_band(self, region: str, upper: float) -> Array:
        """Sums over BAND[0] < |k| <= upper."""
        return np.asarray(self._bands[region][:, 1 : 1 + int(np.searchsorted(self._edges, upper))].sum(axis=1))

    def fcc(self, region: str) -> float:
        cross, of_truth, of_volume, _ = self._in_band(region, BAND[1])
        return float(cross / np.sqrt(of_truth * of_volume + 1e-300))

    def slope(self, region: str, upper: float) -> float:
        cross, of_truth, _, _ = self._in_band(region, upper)
        return float(cross / (of_truth + 1e-300))

    def shell_correlation(self, region: str) -> ShellCorrelation:
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

    def wedge_fill(self) -> float | None:
        rings = np.arange(self._shells + 2)
        chosen = (rings > BAND[0] * self._size) & (rings <= BAND[1] * self._size)
        _, _, missing, missing_count = self._rings["missing"][:, chosen]
        _, _, measured, measured_count = self._rings["measured"][:, chosen]
        both = (missing_count > 0) & (measured_count > 0) & (measured > 0)
        if not both.any():
            return None
        ratio = (missing[both] / missing_count[both]) / (measured[both] / measured_count[both])
        return float(np.average(ratio, weights=missing_count[both]))


def _check(*volumes: Array) -> None:
    shapes = {volume.shape for volume in volumes}
    if len(shapes) > 1:
        raise ValueError(f"the volumes have different shapes (z, y, x): {' and '.join(map(str, sorted(shapes)))}")
    for volume in volumes:
        low, high = float(volume.min()), float(volume.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError("a volume holds NaN or infinite values")
        if low == high:
            raise ValueError(f"all voxels of a volume are {low:g}")


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


def _moments(truth: Array, volume: Array) -> tuple[float, float, float, float, float]:
    """Means of both, variances of both, covariance; in slabs and double precision."""
    mean_t, mean_v = float(truth.mean(dtype=np.float64)), float(volume.mean(dtype=np.float64))
    sums = np.zeros(3)
    for t, v in zip(truth, volume, strict=True):
        dt, dv = t.astype(np.float64) - mean_t, v.astype(np.float64) - mean_v
        sums += (dt * dt).sum(), (dv * dv).sum(), (dt * dv).sum()
    variance_t, variance_v, covariance = (sums / truth.size).tolist()
    return mean_t, mean_v, variance_t, variance_v, covariance


def _pearson(truth: Array, volume: Array) -> float:
    _, _, variance_t, variance_v, covariance = _moments(truth, volume)
    return float(covariance / np.sqrt(variance_t * variance_v))


def _after_affine_fit(truth: Array, volume: Array) -> tuple[float, float]:
    """PSNR (dB) and SSIM after the least-squares fit a V + b with a >= 0."""
    mean_t, mean_v, variance_t, variance_v, covariance = _moments(truth, volume)
    scale = max(covariance / variance_v, 0.0)
    low, high = np.percentile(truth, [0.1, 99.9])
    data_range = float(high - low)
    mean_square = variance_t - 2 * scale * covariance + scale**2 * variance_v
    psnr = float(10 * np.log10(data_range**2 / max(mean_square, 1e-300)))
    return psnr, _ssim(truth, volume, scale, mean_t - scale * mean_v, data_range)


def _ssim(truth: Array, volume: Array, scale: float, offset: float, data_range: float) -> float:
    """Mean structural similarity (Wang et al. 2004) of truth and scale * volume + offset, in slabs."""
    halo = int(_SSIM_TRUNCATE * SSIM_SIGMA + 0.5)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    total = 0.0
    for start in range(0, len(truth), _SLAB):
        first, last = max(0, start - halo), min(len(truth), start + _SLAB + halo)
        kept = slice(start - first, min(start + _SLAB, len(truth)) - first)
        t = truth[first:last].astype(np.float64)
        v = volume[first:last].astype(np.float64) * scale + offset
        t1, v1, tt, vv, tv = (
            ndimage.gaussian_filter(one, SSIM_SIGMA, truncate=_SSIM_TRUNCATE)[kept]
            for one in (t, v, t * t, v * v, t * v)
        )
        luminance = (2 * t1 * v1 + c1) / (t1 * t1 + v1 * v1 + c1)
        structure = (2 * (tv - t1 * v1) + c2) / (tt - t1 * t1 + vv - v1 * v1 + c2)
        total += float((luminance * structure).sum())
    return total / truth.size
