"""The missing wedge: which Fourier coefficients a tilt series measured, and filtering with that region.

Conventions: arrays are (z, y, x), beam along z, tilt axis along y. A tilt angle t maps (x, z) to
x' = x cos t + z sin t, so that the projection at t measures the plane kz / kx = tan t, the same for every ky.
A region is a boolean mask in the layout of a real FFT. Along an axis on which it is constant it has length 1, and
that axis is never transformed: filtering plane by plane is exact and cheaper. Of the other axes the last is halved.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

TiltRange = tuple[float, float]
Region = NDArray[np.bool_]
Volume = NDArray[np.float32]
Array = NDArray[Any]


def check_tilt_range(tilt_min: float, tilt_max: float) -> TiltRange:
    """Return the range (degrees) as floats, or raise ValueError when it is empty, reversed, too wide or complete."""
    low, high = float(tilt_min), float(tilt_max)
    if not (-90.0 <= low <= 90.0 and -90.0 <= high <= 90.0):
        raise ValueError(f"tilt range {low:g} {high:g}: both angles must lie between -90 and 90 degrees")
    if low >= high:
        raise ValueError(f"tilt range {low:g} {high:g}: the first angle must be smaller than the second")
    if (low, high) == (-90.0, 90.0):
        raise ValueError("tilt range -90 90 leaves no missing wedge to fill: give the range that was recorded")
    return low, high


def effective_tilt_range(tilt_range: TiltRange, flip_tilt: bool) -> TiltRange:
    """Return the range in this program's sign of tilt; `flip_tilt` says that it has the other sign."""
    return (-tilt_range[1], -tilt_range[0]) if flip_tilt else tilt_range


def measured_region(shape: tuple[int, int, int], tilt_range: TiltRange) -> Region:
    """Say which Fourier coefficients of a volume were measured.

    With s = -1 where kx < 0, else +1, a coefficient is measured where tilt_min <= atan2(s kz, |kx|) <= tilt_max. The
    tilt axis itself (kx = kz = 0) is measured; kx = 0 with kz != 0 lies at +-90 degrees and is not. On the Nyquist
    planes of even sizes k and -k share a coefficient, so both must be measured: this keeps the region Hermitian.

    Parameters
    ----------
    shape
        (nz, ny, nx) of the volume.
    tilt_range
        (tilt_min, tilt_max) in degrees.

    Returns
    -------
    ndarray of bool, (nz, 1, nx // 2 + 1)
        True where measured; the same for every ky.
    """
    nz, _, nx = shape
    angle = np.degrees(np.arctan2(fft.fftfreq(nz)[:, None], fft.rfftfreq(nx)))

    def inside(degrees: Array) -> Region:
        return (tilt_range[0] <= degrees) & (degrees <= tilt_range[1])

    nyquist = np.zeros(angle.shape, bool)
    if nz % 2 == 0:
        nyquist[nz // 2] = True
    if nx % 2 == 0:
        nyquist[:, nx // 2] = True
    region = inside(angle) & (inside(-angle) | ~nyquist)
    region[:, 0] = False
    region[0, 0] = True
    return np.asarray(region[:, None, :])


def filter_volume(volume: Array, region: Region) -> Volume:
    """Keep only the Fourier coefficients of `region`.

    Parameters
    ----------
    volume
        (..., nz, ny, nx) real.
    region
        As `measured_region` or `rotation.turned_regions` give it for (nz, ny, nx).

    Returns
    -------
    ndarray of float32, the volume's shape
    """
    axes = _transformed_axes(region)
    spectrum = fft.rfftn(np.asarray(volume, np.float32), axes=axes, workers=1)
    spectrum *= region
    sizes = [volume.shape[axis] for axis in axes]
    return np.asarray(fft.irfftn(spectrum, sizes, axes=axes, overwrite_x=True, workers=1), np.float32)


def combine(measured: Array, predicted: Array, region: Region) -> Volume:
    """Take the coefficients of `region` from `measured` and all others from `predicted`, both (..., nz, ny, nx).

    This is IFFT(W FFT(S) + (1 - W) FFT(P)), written as P + filter(S - P) to need one forward transform, not two.
    """
    predicted = np.asarray(predicted, np.float32)
    difference = np.asarray(measured, np.float32) - predicted
    return predicted + filter_volume(difference, region)


def filtered_centres(volume: Array, regions: Sequence[Region], size: int) -> Iterator[Volume]:
    """Yield the centre cube of the volume filtered with each region, computing little else.

    The planes outside the centre are never transformed, regions that are constant along the same axis share the
    forward transform, and the inverse goes axis by axis, cropped after each.

    Parameters
    ----------
    volume
        (n, n, n) real.
    regions
        Regions for (n, n, n), each constant along one axis.
    size
        Edge of the centre cube, of the same parity as n.

    Yields
    ------
    ndarray of float32, (size, size, size)
        A view into a temporary array: copy it into its place.
    """
    edge = volume.shape[0]
    spectra: dict[tuple[int, ...], Array] = {}
    for region in regions:
        axes = _transformed_axes(region)
        if axes not in spectra:
            planes: Array = np.asarray(volume, np.float32)
            for axis in {-3, -2, -1}.difference(axes):
                planes = _centre_along(planes, axis, size)
            spectra[axes] = fft.rfftn(planes, axes=axes, workers=1)
        part = spectra[axes] * region
        for axis in axes[:-1]:
            part = _centre_along(fft.ifft(part, axis=axis, overwrite_x=True, workers=1), axis, size)
        yield _centre_along(fft.irfft(part, edge, axis=axes[-1], overwrite_x=True, workers=1), axes[-1], size)


def _transformed_axes(region: Region) -> tuple[int, ...]:
    return tuple(axis for axis in (-3, -2, -1) if region.shape[axis] > 1)


def _centre_along(array: Array, axis: int, size: int) -> Array:
    start = (array.shape[axis] - size) // 2
    index = [slice(None)] * array.ndim
    index[axis] = slice(start, start + size)
    return array[tuple(index)]
