"""TIFF images: micrographs, masks, and Warp's training files.

The first row of a TIFF is the top of the picture, the first row of an MRC file its bottom. As in Warp, IMOD and RELION,
rows are therefore reversed on the way in and out: arrays are always as in MRC, and a mask that was painted in Warp, or
over a picture of the micrograph, lies where it was painted.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from mwr_hpc.errors import InputError
from mwr_hpc.io.atomic import atomic_file
from mwr_hpc.io.mrc_bytes import require_numbers

SUFFIXES = (".tif", ".tiff")

MASKED = 255
"""What masks written here have at contamination, to be seen in any viewer; Warp's have 1."""

LARGEST, LARGEST_RATIO, SMALL = 2**31, 1100, 2**24
"""Bytes of an image; most that one byte of a file can stand for, and what may be empty."""

BIG = 2**32 - 2**24
"""Bytes beyond which a file needs BigTIFF."""

PHOTOMETRIC, ORIENTATION = 262, 274
"""Tags."""

MEANINGS = {0: "its zero is white (WhiteIsZero)", 3: "its values are numbers of colours in a palette"}
"""Of PHOTOMETRIC, those in which values are no grey values, in words."""

NOT_UPRIGHT = (2, 3, 5, 6, 7, 8)
"""Of ORIENTATION. 4, the bottom row first, is not among them: Warp states it of all its images and heeds it in none."""


def read_image(path: Path) -> NDArray[Any]:
    """Read a TIFF of one image of one channel.

    Returns
    -------
    (height, width), in the file's own type, rows as in MRC.

    Raises
    ------
    InputError
        The file cannot be read, or holds a stack or colours.
    """
    with _opened(path) as file:
        pages = len(file.pages)
        if pages != 1:
            raise InputError(f"{path}: found {pages} images, expected one; save each image by itself")
        return _page(path, file, 0)


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask: True where the image is more than a half, so that both 1 and 255 are contamination.

    Raises
    ------
    InputError
        See `read_image`; or a value is no number.
    """
    values = read_image(path)
    require_numbers(path, values)
    mask: NDArray[np.bool_] = values > 0.5
    return mask


def write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    """Write a mask, (height, width), atomically; the same mask gives the same bytes."""
    image = np.where(mask[::-1], np.uint8(MASKED), np.uint8(0))
    with atomic_file(path) as partial:
        tifffile.imwrite(partial, image, compression="zlib", software="mwr-hpc", metadata=None)


class TiffStack:
    """A stack of images of one size, read one at a time.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _opened(path) as file:
            self._length = len(file.pages)

    def __len__(self) -> int:
        """Return the number of images."""
        return self._length

    def __getitem__(self, index: int) -> NDArray[Any]:
        """Read one image, (height, width), rows as in MRC."""
        with _opened(self._path) as file:
            return _page(self._path, file, index)


def write_stack(path: Path, images: Iterable[NDArray[np.float32]], total_bytes: int) -> None:
    """Write a stack of 32-bit images, atomically, one at a time in memory.

    Parameters
    ----------
    path
        The file.
    images
        (height, width) each.
    total_bytes
        Of them all, which decides whether BigTIFF is needed.
    """
    with atomic_file(path) as partial, tifffile.TiffWriter(partial, bigtiff=total_bytes > BIG) as writer:
        for image in images:
            writer.write(
                np.ascontiguousarray(image[::-1], np.float32),
                contiguous=False,
                photometric="minisblack",
                software="mwr-hpc",
                metadata=None,
            )


def _page(path: Path, file: Any, index: int) -> NDArray[Any]:
    page = file.pages[index]
    _require_grey(path, page)
    announced, there = page.size * page.dtype.itemsize, file.filehandle.size
    if announced > min(LARGEST, SMALL + LARGEST_RATIO * there):
        raise InputError(
            f"{path}: announces an image of {page.shape} pixels, {announced} bytes, in a file of {there} bytes; copy "
            "or export it again"
        )
    image: NDArray[Any] = page.asarray()[::-1]
    return image


def _require_grey(path: Path, page: Any) -> None:
    """Raise InputError where numbers are no grey values, or lie as a viewer would not show them."""
    if len(page.shape) != 2:
        raise InputError(
            f"{path}: an image of shape {page.shape}; expected one channel: save it as grey, without alpha"
        )
    if page.dtype.kind == "c":
        raise InputError(f"{path}: its values are complex numbers; expected grey values: save the real image")
    # Of the tag itself: some programs leave it out, which tifffile takes for the first of these.
    if (meaning := _tag(page, PHOTOMETRIC)) in MEANINGS:
        raise InputError(f"{path}: {MEANINGS[meaning]}; expected values that grow from black to white: save it as grey")
    if (orientation := _tag(page, ORIENTATION)) in NOT_UPRIGHT:
        raise InputError(
            f"{path}: its orientation is {orientation}, that is mirrored or rotated; expected 1: save it as it is shown"
        )


def _tag(page: Any, code: int) -> int | None:
    tag = page.tags.get(code)
    return None if tag is None else int(tag.value)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with tifffile.TiffFile(path) as file:
            yield file
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; check the path") from error
    except InputError:
        raise
    except Exception as error:  # in a damaged file the decoder may fail anywhere, as anything
        raise InputError(f"{path}: cannot be read as TIFF ({error}); copy or export it again") from error
