"""Grey values that the chosen dtype of a file cannot hold: refused instead of written as infinity."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.errors import InputError
from mwr_hpc.io.atomic import target_of


def require_finite(path: Path, z: int, section: NDArray[Any], dtype: np.dtype[Any]) -> None:
    """See that a section stays finite in the dtype that it is about to be written in.

    Parameters
    ----------
    path
        What is written, or the partial path of it.
    z
        Index of the section.
    section
        Its grey values, (y, x).
    dtype
        Of the file.

    Raises
    ------
    InputError
        A value is NaN or infinite, or becomes so in `dtype`.
    """
    if dtype.kind != "f":
        return
    extremes = np.array([section.min(), section.max()])
    with np.errstate(over="ignore"):
        if np.isfinite(extremes.astype(dtype)).all():
            return
    raise InputError(
        f"{target_of(path)}: grey values from {extremes[0]:g} to {extremes[1]:g} in section {z} are not finite in "
        f"{dtype.name}; choose float32 for the result, unless the input is damaged"
    )
