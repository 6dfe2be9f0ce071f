"""TIFF images: micrographs and masks, row by row from the first, as in MRC."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from mwr_hpc.errors import InputError
from mwr_hpc.io.atomic import atomic_file

SUFFIXES = (".tif", ".tiff")
MASKED = 255
"""What masks written here have at contamination; any value but 0 is read as such."""


def read_tiff(path: Path) -> NDArray[Any]:
    """Read a TIFF with one image of one channel.

    Returns
    -------
    (height, width), in the file's own type.

    Raises
    ------
    InputError
        The file cannot be read, or holds a stack or colours.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            pages = len(tiff.pages)
            shape = tiff.pages[0].shape
            if pages != 1 or len(shape) != 2:
                found = f"{pages} images" if pages != 1 else f"an image of shape {shape}, in colours"
                raise InputError(f"{path}: found {found}, expected one image of one channel; save each image by itself")
            image: NDArray[Any] = tiff.pages[0].asarray()
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; check the path") from error
    except InputError:
        raise
    # A damaged file may fail anywhere in the decoder, as anything.
    except Exception as error:
        raise InputError(f"{path}: cannot be read as TIFF ({error}); copy or export it again") from error
    return image


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask, True where the image is not 0.

    Raises
    ------
    InputError
        See `read_tiff`.
    """
    mask: NDArray[np.bool_] = read_tiff(path) != 0
    return mask


def write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    """Write a mask, (height, width), atomically; the same mask gives the same bytes."""
    with atomic_file(path) as partial:
        image = np.where(mask, np.uint8(MASKED), np.uint8(0))
        tifffile.imwrite(partial, image, compression="zlib", software="mwr-hpc", metadata=None)
