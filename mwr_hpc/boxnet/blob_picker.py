"""A picker without a network: blobs of the particles' size by a difference of Gaussians; what a network has to beat."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mwr_hpc.boxnet.curate import Picks, inside_border, keep_stronger

RATIO = 1.6
"""Of the widths of the two Gaussians; so their difference is most like the Laplacian (Marr and Hildreth 1980)."""


def blob_response(image: NDArray[np.float32], diameter: float) -> NDArray[np.float32]:
    """How much each place looks like a bright disc.

    Parameters
    ----------
    image
        (h, w), density positive.
    diameter
        Of the disc in pixels. The Laplacian of a Gaussian answers a disc of radius r best at a width of r / sqrt(2);
        the two Gaussians have this width between them.

    Returns
    -------
    ndarray of float32, (h, w)
        In units of its own standard deviation, which is taken from the middle of its values so that few bright spots do
        not count.
    """
    width = diameter / (2 * np.sqrt(2))
    narrow = ndimage.gaussian_filter(image, width / np.sqrt(RATIO), mode="nearest")
    response = narrow - ndimage.gaussian_filter(image, width * np.sqrt(RATIO), mode="nearest")
    low, middle, high = np.quantile(response, [0.1587, 0.5, 0.8413])  # one standard deviation of a normal distribution
    return np.asarray((response - middle) / max((high - low) / 2, np.finfo(np.float32).tiny), np.float32)


def find_blobs(
    image: NDArray[np.float32], *, diameter: float, min_distance: float | None = None, border: float = 0.0
) -> Picks:
    """Pick local maxima of the response of one micrograph.

    Parameters
    ----------
    image
        (h, w), density positive.
    diameter, min_distance, border
        As for `curate.find_picks`.

    Returns
    -------
    Picks
        Of all positive responses; choose among them by a threshold.
    """
    response = blob_response(image, diameter)
    peaks = np.argwhere((response == ndimage.maximum_filter(response, 3)) & (response > 0))
    picks = Picks(peaks.astype(np.float32), response[tuple(peaks.T)])
    picks = inside_border(picks, (image.shape[0], image.shape[1]), border)
    return keep_stronger(picks, diameter / 2 if min_distance is None else min_distance)
