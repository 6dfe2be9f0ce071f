"""How a simulated specimen becomes a micrograph: field of view, contrast transfer, noise.

The specimen has no detail finer than twice the working pixel, so it is drawn in such pixels (or in the micrograph's, if
those are coarser) whatever the pixel size of the micrograph; only the noise has the micrograph's own resolution.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from mwr_hpc.numerics.micrograph import WORKING_PIXEL_SIZE, working_shape
from mwr_hpc.simulation.contamination import BoolArray, Contamination
from mwr_hpc.simulation.projection import contrast_transfer
from mwr_hpc.simulation.shapes import FloatArray

Spectrum = npt.NDArray[np.complex64]

MARGIN = 320.0
"""Angstrom simulated around the field, so that nothing ends or wraps round at its border."""

SOLVENT = 0.3
"""Share of the noise power that comes from the ice and passes the optics; the rest is shot noise."""

DETECTOR = 0.35
"""Standard deviation in pixels of the detector's spread of each electron."""


@dataclass(frozen=True)
class Optics:
    """Microscope and later smoothing.

    Attributes
    ----------
    defocus
        Underfocus in micrometre.
    voltage, spherical_aberration, amplitude_contrast
        Kilovolt, millimetre, a fraction.
    smoothing
        Standard deviation in angstrom of the Gaussian that the micrograph is smoothed with.
    """

    defocus: float
    voltage: float
    spherical_aberration: float
    amplitude_contrast: float
    smoothing: float

    def transfer(self, shape: tuple[int, int], pixel_size: float) -> FloatArray:
        """What the specimen's spectrum is multiplied with, smoothing apart, in rfft2 layout."""
        return contrast_transfer(
            shape, pixel_size, self.defocus, self.voltage, self.spherical_aberration, self.amplitude_contrast
        )


def smoothing_transfer(deviation: float, shape: tuple[int, int], pixel_size: float) -> FloatArray:
    """What a Gaussian of this standard deviation (angstrom) multiplies a spectrum in rfft2 layout with."""
    y = np.exp(-2 * (np.pi * deviation * fft.fftfreq(shape[0], pixel_size)) ** 2)
    x = np.exp(-2 * (np.pi * deviation * fft.rfftfreq(shape[1], pixel_size)) ** 2)
    return (y[:, None] * x).astype(np.float32)


class Field:
    """The field of view of a micrograph with a margin around it, in the pixels that the specimen is drawn in.

    Parameters
    ----------
    size
        (height, width) of the micrograph.
    pixel_size
        Of the micrograph in angstrom.
    """

    def __init__(self, size: tuple[int, int], pixel_size: float) -> None:
        self.size = size
        self.image_pixel_size = pixel_size
        self.pixel_size = max(pixel_size, WORKING_PIXEL_SIZE)
        self._margin = int(np.ceil(MARGIN / pixel_size))
        # An even number: an odd one has no exact half as coarse.
        height, width = (side + side % 2 + 2 * self._margin for side in size)
        self._whole = (height, width)
        self.shape = working_shape(self._whole, pixel_size, self.pixel_size)
        self._scale = np.array(self._whole) / self.shape

    @property
    def area(self) -> float:
        """Of the micrograph, without the margin, in square angstrom."""
        return self.size[0] * self.size[1] * self.image_pixel_size**2

    def to_image(self, places: npt.NDArray[np.floating]) -> FloatArray:
        """Positions in the micrograph, (n, 2) y x in its pixels, of places in the field."""
        positions: FloatArray = (places * self._scale - self._margin).astype(np.float32)
        return positions

    def contains(self, places: npt.NDArray[np.floating]) -> BoolArray:
        """Which of the places in the field, (n, 2), lie in the micrograph."""
        positions = self.to_image(places)
        inside: BoolArray = ((positions >= 0) & (positions <= np.array(self.size) - 1)).all(axis=1)
        return inside

    def crop_mask(self, mask: BoolArray) -> BoolArray:
        """The mask of the micrograph alone, at the working pixel size if that is coarser."""
        shape = working_shape(self.size, self.image_pixel_size, self.pixel_size)
        rows, columns = (
            np.round((np.arange(count) * side / count + self._margin) / scale).astype(int)
            for count, side, scale in zip(shape, self.size, self._scale, strict=True)
        )
        cropped: BoolArray = mask[rows[:, None], columns]
        return cropped

    def expose(
        self, particles: FloatArray, dirt: Contamination, optics: Optics, generator: np.random.Generator | None
    ) -> tuple[FloatArray, FloatArray]:
        """Take the picture.

        Parameters
        ----------
        particles
            Density times angstrom, of the field's shape.
        dirt
            Also of the field's shape.
        optics
            Of the microscope.
        generator
            Of the noise; None: no noise.

        Returns
        -------
        signal, noise
            (height, width) each, protein bright; the noise has variance 1 at the pixel size of the field.
        """
        scattered: Spectrum = fft.rfft2(particles + dirt.density, workers=1)
        absorbed: Spectrum = fft.rfft2(dirt.absorption, workers=1)
        spectrum = scattered * optics.transfer(self.shape, self.pixel_size) + absorbed
        spectrum *= smoothing_transfer(optics.smoothing, self.shape, self.pixel_size)
        signal: FloatArray = fft.irfft2(self._refined(spectrum), self._whole, workers=1)
        return self._cropped(signal), self._noise(optics, generator)

    def _noise(self, optics: Optics, generator: np.random.Generator | None) -> FloatArray:
        """Shot noise and the noise of the ice, whose powers add up: one draw serves both."""
        if generator is None:
            return np.zeros(self.size, np.float32)
        shape, pixel_size = self._whole, self.image_pixel_size
        detector = smoothing_transfer(DETECTOR * pixel_size, shape, pixel_size) ** 2
        power = (SOLVENT * 2 * optics.transfer(shape, pixel_size) ** 2 + (1 - SOLVENT)) * detector
        amplitude = np.sqrt(power) * smoothing_transfer(optics.smoothing, shape, pixel_size)
        white = generator.standard_normal(shape, np.float32)
        spectrum: Spectrum = fft.rfft2(white, workers=1) * amplitude
        rows, columns = (count // 2 for count in self.shape)
        coarse = np.concatenate([amplitude[:rows, : columns + 1], amplitude[shape[0] - rows :, : columns + 1]])
        # All columns but the first stand for two frequencies each.
        variance = (2 * (coarse**2).sum(dtype=np.float64) - (coarse[:, 0] ** 2).sum()) / (shape[0] * shape[1])
        noise: FloatArray = fft.irfft2(spectrum / np.float32(np.sqrt(variance)), shape, workers=1)
        return self._cropped(noise)

    def _refined(self, spectrum: Spectrum) -> Spectrum:
        """The spectrum of the same image in the micrograph's own pixels."""
        rows, columns = (count // 2 for count in self.shape)
        fine = np.zeros((self._whole[0], self._whole[1] // 2 + 1), np.complex64)
        fine[:rows, :columns] = spectrum[:rows, :columns]
        fine[self._whole[0] - rows + 1 :, :columns] = spectrum[rows + 1 :, :columns]
        return fine * np.float32(self._scale[0] * self._scale[1])

    def _cropped(self, image: FloatArray) -> FloatArray:
        (height, width), start = self.size, self._margin
        return np.ascontiguousarray(image[start : start + height, start : start + width])
