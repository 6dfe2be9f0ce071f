"""A micrograph as the particle picker sees it: coarse pixels, no slopes, protein bright, one grey scale for all."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from mwr_hpc.numerics.outliers import outliers_of
from mwr_hpc.numerics.padding import PaddedSections, padding_values

FloatArray = NDArray[np.float32]

WORKING_PIXEL_SIZE = 8.0
"""Angstrom; a pixel in which particles of 80 to 400 A are 10 to 50 pixels wide."""

HIGH_PASS = 500.0
"""Angstrom; what varies more slowly is ice thickness and illumination, no particle."""


def working_shape(shape: tuple[int, int], pixel_size: float, working: float = WORKING_PIXEL_SIZE) -> tuple[int, int]:
    """Rows and columns of a micrograph at the working pixel size: even numbers, as Warp's (rounded, then made even).

    Parameters
    ----------
    shape
        (height, width) of the micrograph.
    pixel_size, working
        Angstrom per pixel before and after.

    Raises
    ------
    ValueError
        The micrograph is coarser than `working`, or has less than two working pixels on a side.
    """
    ratio = pixel_size / working
    if ratio > 1.001:
        raise ValueError(f"{pixel_size:g} A per pixel are coarser than the {working:g} A per pixel worked at")
    height, width = (min(int(size * ratio + 0.5) // 2 * 2, size - size % 2) for size in shape)
    if min(height, width) < 2:
        raise ValueError(f"{shape[0]} x {shape[1]} pixels of {pixel_size:g} A are too few")
    return height, width


def fourier_crop(image: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Resample to fewer pixels by leaving out frequencies; the pixel of index 0 stays where it is.

    Parameters
    ----------
    image
        (height, width).
    shape
        Even numbers, at most those of the image.

    Returns
    -------
    The same grey values in fewer pixels.
    """
    return fft.irfft2(cropped_spectrum(image, shape), shape, workers=1)


def cropped_spectrum(image: FloatArray, shape: tuple[int, int]) -> NDArray[np.complex64]:
    """The spectrum, in rfft2 layout, of the image that `fourier_crop` gives."""
    height, width = image.shape
    rows, columns = shape
    # One axis after the other: the second transform has only the columns that are kept.
    half = fft.rfft(np.asarray(image, np.float32), axis=1, workers=1)[:, : columns // 2 + 1]
    spectrum = fft.fft(half, axis=0, workers=1)
    kept = np.concatenate([spectrum[: rows // 2], spectrum[height - rows // 2 :]])
    scaled: NDArray[np.complex64] = kept * np.float32(rows * columns / (height * width))
    return scaled


def subtract_plane(image: FloatArray) -> FloatArray:
    """Subtract the plane a + b y + c x that fits best (least squares)."""
    height, width = image.shape
    y = np.arange(height) - (height - 1) / 2
    x = np.arange(width) - (width - 1) / 2
    rows, columns = image.mean(axis=1, dtype=np.float64), image.mean(axis=0, dtype=np.float64)
    # On a grid, slopes along y and x are independent of one another.
    slope_y = rows @ y / max(y @ y, 1.0)
    slope_x = columns @ x / max(x @ x, 1.0)
    flat: FloatArray = image - (rows.mean() + slope_y * y[:, None]).astype(np.float32)
    flat -= (slope_x * x).astype(np.float32)
    return flat


def high_pass(shape: tuple[int, int], pixel_size: float, cutoff: float = HIGH_PASS) -> FloatArray:
    """A filter in rfft2 layout: a half at 1 / `cutoff`, a cosine from 0 at half of that frequency to 1.5 times it."""
    frequency = np.hypot(fft.fftfreq(shape[0], pixel_size)[:, None], fft.rfftfreq(shape[1], pixel_size))
    ramp = np.clip(frequency * cutoff - 0.5, 0, 1)
    transfer: FloatArray = (0.5 - 0.5 * np.cos(np.pi * ramp)).astype(np.float32)
    return transfer


def without_outliers(image: NDArray[Any]) -> NDArray[Any]:
    """Replace hot pixels and X-ray hits by the median of their neighbours; the same image where there are none.

    A spike is a cross of rings once frequencies are cropped, and a larger standard deviation for all that is real.
    """
    outliers = outliers_of(image[None])
    if not len(outliers):
        return image
    cleaned = image.astype(np.float32)
    outliers.replace_in(cleaned[None], (0, 0, 0))
    return cleaned


def hot_pixels(image: NDArray[Any]) -> int:
    """Count the pixels that `without_outliers` replaces in a micrograph whose padding has been filled."""
    return len(outliers_of(without_padding(image)[None]))


def without_padding(image: NDArray[Any]) -> NDArray[Any]:
    """Fill corners of one value, as a rotation leaves them, with the median; the same image where there are none.

    Their edges would look like particles, and hide those beside them.
    """
    box = ((0, 1), (0, image.shape[0]), (0, image.shape[1]))
    values = padding_values(lambda _: image, box)
    padded = PaddedSections(lambda _: image, box, values)(0) if values else np.zeros(image.shape, bool)
    if not padded.any() or padded.all():
        return image
    filled = image.astype(np.float32)
    filled[padded] = np.median(image[~padded])
    return filled


def prepare(
    image: NDArray[Any],
    pixel_size: float,
    working: float = WORKING_PIXEL_SIZE,
    contrast: Literal["dark", "bright"] = "dark",
) -> FloatArray:
    """Bring a micrograph to the working pixel size and grey scale.

    Padding is filled, isolated outliers are replaced, a plane is subtracted, frequencies are cropped, slow variations
    are filtered out, and the values are scaled by the mean and the standard deviation of the central half of each side.

    Parameters
    ----------
    image
        (height, width) of any real type.
    pixel_size, working
        Angstrom per pixel, before and after.
    contrast
        Whether protein is dark or bright in `image`; in the result it is bright.

    Returns
    -------
    float32 of `working_shape`. A position (y, x) of the micrograph lies at (y h / H, x w / W).

    Raises
    ------
    ValueError
        The micrograph is too coarse or too small, or nothing is left of it (its grey values are constant).
    """
    height, width = image.shape
    shape = working_shape((height, width), pixel_size, working)
    image = without_outliers(without_padding(image))
    spectrum = cropped_spectrum(subtract_plane(np.asarray(image, np.float32)), shape)
    spectrum *= high_pass(shape, working)
    small: FloatArray = fft.irfft2(spectrum, shape, workers=1)
    centre = small[shape[0] // 4 : shape[0] - shape[0] // 4, shape[1] // 4 : shape[1] - shape[1] // 4]
    mean, deviation = centre.mean(dtype=np.float64), centre.std(dtype=np.float64)
    span = float(np.max(image)) - float(np.min(image))
    if not deviation > 1e-6 * span:
        raise ValueError("its grey values are constant in the central half")
    sign = -1.0 if contrast == "dark" else 1.0
    return (small - np.float32(mean)) * np.float32(sign / deviation)
