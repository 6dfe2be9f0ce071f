"""Masks: which voxels of a tomogram sub-tomograms may be centred on."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc_bytes import mask_values, require_numbers
from mwr_hpc.io.volume import open_volume, read_sections

THRESHOLD = 0.5


def load_mask(path: Path, shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Read the mask of a tomogram.

    Parameters
    ----------
    path
        MRC or OME-Zarr; voxels of at least 0.5 belong to the mask, of bytes see `mask_values`.
    shape
        (z, y, x) of the tomogram.

    Returns
    -------
    ndarray of bool
        Shape (z, y, x).

    Raises
    ------
    InputError
        The mask cannot be read, has another shape, a value that is no number, or is empty.
    """
    volume = open_volume(path, "unsigned")
    if volume.shape != tuple(shape):
        raise InputError(
            f"{path}: the mask has {volume.shape} voxels (z, y, x), its tomogram {tuple(shape)}; "
            "make the mask on the very same grid"
        )
    voxels = mask_values(read_sections(volume, 0, volume.shape[0]))
    require_numbers(path, voxels)
    mask: NDArray[np.bool_] = voxels >= THRESHOLD
    if not mask.any():
        raise InputError(f"{path}: no voxel of the mask reaches {THRESHOLD}; expected 1 where there is specimen")
    return mask
