"""Whether a mask of contamination lies on what stands out in its micrograph, or would if it were turned upside down."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

WINDOW = 9
"""Edge in pixels of the windows of local mean and variance; at 8 A per pixel that of a small particle."""

LEAST_SHARE = 0.05
"""Of the variance of a local property that a mask must explain to say anything."""

CLEARLY = 3.0
"""Times that the share must be those of all other orientations."""


def fits_better_upside_down(image: NDArray[np.float32], mask: NDArray[np.bool_]) -> bool:
    """Whether a mask fits its image clearly better with its rows reversed.

    Contamination differs from the rest in its local mean or variance. A mask that covers it explains a share of the
    variance of these; in other orientations it explains next to nothing, unless image or mask are symmetric. So the
    share of the reversed mask is compared with that of the mask as it is, and with the mirror images of both as
    controls.

    Parameters
    ----------
    image
        (height, width).
    mask
        (height, width), True at contamination.
    """
    image = np.asarray(image, np.float32)
    mean = ndimage.uniform_filter(image, WINDOW)
    variance = ndimage.uniform_filter(image * image, WINDOW) - mean * mean
    properties = [mean, np.log(np.maximum(variance, np.finfo(np.float32).tiny))]
    as_is, reversed_ = (max(_explained(one, some) for one in properties) for some in (mask, mask[::-1]))
    if reversed_ < max(LEAST_SHARE, CLEARLY * as_is):
        return False
    controls = (mask[:, ::-1], mask[::-1, ::-1])
    return all(reversed_ >= CLEARLY * max(_explained(one, some) for one in properties) for some in controls)


def _explained(local: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Return the share of the variance of a local property that the mask explains; 0 where either is constant."""
    share = float(mask.mean())
    variance = float(local.var(dtype=np.float64))
    if not 0 < share < 1 or variance == 0:
        return 0.0
    inside = float(local[mask].mean(dtype=np.float64)) - float(local.mean(dtype=np.float64))
    return inside**2 * share / (1 - share) / variance
