"""Micrographs: one image in an MRC or TIFF file, with its pixel size."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.errors import InputError
from mwr_hpc.io import tiff
from mwr_hpc.io.mrc import open_mrc
from mwr_hpc.io.mrc_bytes import mask_values, require_numbers
from mwr_hpc.io.mrc_fields import Signedness
from mwr_hpc.io.mrc_header import MrcHeader, read_header
from mwr_hpc.numerics.normalization import LARGEST_VALUE

MRC_SUFFIXES = (".mrc",)
SUFFIXES = (*MRC_SUFFIXES, *tiff.SUFFIXES)

UNKNOWN_PIXEL_SIZES = (0.0, 1.0)
"""What headers say when nobody set the pixel size."""

TOLERANCE = 0.01
"""Relative difference up to which two pixel sizes are the same."""


@dataclass(frozen=True, eq=False)
class Micrograph:
    """One micrograph.

    Attributes
    ----------
    path
        The file.
    image
        (height, width) in the file's own type; all values are finite and not all are the same.
    pixel_size
        Angstrom.
    """

    path: Path
    image: NDArray[Any]
    pixel_size: float


def same_pixel_size(one: float, other: float) -> bool:
    """Whether two pixel sizes are the same but for the rounding of headers."""
    return abs(one - other) <= TOLERANCE * max(one, other)


def is_micrograph_name(name: str) -> bool:
    """Whether a file of this name can be read as a micrograph."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def micrograph_files(folder: Path) -> list[Path]:
    """The micrographs of a folder by name: none of its subfolders.

    Raises
    ------
    InputError
        There is none, or two differ only in the ending, so that their picks would be the same files.
    """
    files = sorted(path for path in folder.iterdir() if is_micrograph_name(path.name) and path.is_file())
    if not files:
        raise InputError(f"{folder}: no micrographs in this folder; expected files ending in {', '.join(SUFFIXES)}")
    by_stem = stems_of(files)
    for stem, paths in by_stem.items():
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            raise InputError(f"{folder}: {names} are ambiguous: both are micrograph {stem}; leave one of them here")
    return files


def stems_of(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Sort files by the name without its last ending, which is what picks and masks are matched by."""
    by_stem: dict[str, list[Path]] = {}
    for path in paths:
        by_stem.setdefault(path.stem, []).append(path)
    return by_stem


def header_of(path: Path, signedness: Signedness | None = None) -> MrcHeader | None:
    """Read the header of a micrograph; None for TIFF.

    Raises
    ------
    InputError
        See `read_header`.
    """
    return read_header(path, signedness) if path.suffix.lower() in MRC_SUFFIXES else None


def pixel_size_of(path: Path, angpix: float | None, signedness: Signedness | None = None) -> float:
    """The pixel size of a micrograph in angstrom, from its header alone.

    Parameters
    ----------
    path
        The micrograph.
    angpix
        What the user says, or None.
    signedness
        Of an MRC file's bytes; None where it tells.

    Raises
    ------
    InputError
        The file is no micrograph, nobody says its pixel size, or header and user contradict one another.
    """
    found = 0.0
    if (header := header_of(path, signedness)) is not None:
        _, y, x = header.voxel_size
        if header.shape[0] != 1:
            raise InputError(f"{path}: found {header.shape[0]} sections, expected one image; average the movie first")
        if not same_pixel_size(y, x):
            raise InputError(f"{path}: pixels of {x:g} x {y:g} A in the header; expected square ones: correct it")
        found = x
    known = not any(abs(found - value) < 1e-6 for value in UNKNOWN_PIXEL_SIZES)
    if not known and angpix is None:
        said = f"the header says {found:g} A, which means that nobody set it" if found else "the file does not tell"
        raise InputError(f"{path}: no pixel size: {said}; give it with --angpix, in angstrom")
    if known and angpix is not None and not same_pixel_size(found, angpix):
        raise InputError(
            f"{path}: the header says {found:g} A per pixel, --angpix {angpix:g}; leave --angpix out, or correct it"
        )
    return found if known else float(angpix or 0.0)


def read_micrograph(path: Path, angpix: float | None = None, signedness: Signedness | None = None) -> Micrograph:
    """Read a micrograph.

    Parameters
    ----------
    path
        MRC (an image, or one section) or TIFF.
    angpix
        Its pixel size in angstrom, where the file does not tell.
    signedness
        Of an MRC file's bytes; None where it tells.

    Raises
    ------
    InputError
        See `pixel_size_of`; or the file is damaged, or its values are not finite or all the same.
    """
    pixel_size = pixel_size_of(path, angpix, signedness)
    image: NDArray[Any]
    of_mrc = path.suffix.lower() in MRC_SUFFIXES
    image = open_mrc(path, signedness).slab(0, 1)[0] if of_mrc else tiff.read_image(path)
    low, high = image.min(), image.max()
    if not -LARGEST_VALUE <= low <= high <= LARGEST_VALUE:
        usable = np.abs(np.nan_to_num(np.asarray(image, np.float64), nan=np.inf)) <= LARGEST_VALUE
        y, x = np.argwhere(~usable)[0]
        raise InputError(
            f"{path}: the pixel (y, x) = ({y}, {x}) has the value {image[y, x]:g}; expected finite numbers up to "
            f"{LARGEST_VALUE:g}: make the micrograph again"
        )
    if low == high:
        raise InputError(f"{path}: all pixels have the value {low:g}; make the micrograph again")
    return Micrograph(path, image, pixel_size)


def require_one_pixel_size(pixel_sizes: Sequence[tuple[Path, float]]) -> float:
    """The pixel size that all micrographs have.

    Raises
    ------
    InputError
        Two of them differ.
    """
    first, size = pixel_sizes[0]
    for path, other in pixel_sizes[1:]:
        if not same_pixel_size(size, other):
            raise InputError(
                f"mixed pixel sizes: {first} has {size:g} A, {path} has {other:g} A; work on the micrographs of one "
                "pixel size at a time"
            )
    return size


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask of contamination, MRC or TIFF: True where it is more than a half, of bytes see `mask_values`.

    Raises
    ------
    InputError
        The file cannot be read, or holds more than one image or a value that is no number.
    """
    if path.suffix.lower() not in MRC_SUFFIXES:
        return tiff.read_mask(path)
    volume = open_mrc(path, "unsigned")
    if volume.shape[0] != 1:
        raise InputError(f"{path}: a mask of {volume.shape[0]} sections; expected one image")
    values = mask_values(volume.data[0])
    require_numbers(path, values)
    mask: NDArray[np.bool_] = values > 0.5
    return mask
