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
from scipy import ndimage

from mwr_hpc.numerics.spectral_sums import BAND, LOW_BAND, REGIONS, ShellCorrelation, SpectralSums
from mwr_hpc.numerics.wedge import TiltRange

Array = NDArray[Any]

SSIM_SIGMA = 1.5
_SSIM_TRUNCATE = 3.5
_SLAB = 64


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
    sums = SpectralSums(truth, volume, tilt_range)
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
    return SpectralSums(before, volume, tilt_range).fcc("measured")


def wedge_fill(volume: Array, tilt_range: TiltRange) -> float | None:
    """Return how full the wedge is: 0 is empty, 1 as strong as the measured region of the same shells.

    The power in the missing region over the power that it would have with the measured region's power per coefficient
    in each shell of the band. Shells count by their power, so that shells that hold nothing but weak noise, which no
    network fills in, do not decide. It does not say whether what fills the wedge is right. None when the wedge is too
    narrow to have coefficients more than BORDER degrees inside it.
    """
    _check(volume)
    return SpectralSums(volume, volume, tilt_range).wedge_fill()


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
