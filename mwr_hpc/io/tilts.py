"""Tilt angles of a tilt series, from the files of IMOD, RELION 5 and Warp.

- IMOD: ``.tlt`` (angles after alignment) and ``.rawtlt`` (of the stage), one number a line
  (https://bio3d.colorado.edu/imod/doc/man/tiltalign.html).
- RELION 5: the STAR file of a tilt series that rlnTomoTiltSeriesStarFile names, with rlnTomoYTilt (after alignment)
  and rlnTomoNominalStageTiltAngle (of the stage).
- Warp: ``.tomostar`` with wrpAngleTilt (WarpTools ts_import; by default of the other sign than the stage's).

Which sign of tilt a program's angles have in a volume is not in these files: `mwr-hpc check` finds it.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from mwr_hpc.errors import InputError
from mwr_hpc.io.star_text import read_tables

TILT_COLUMNS = ("rlnTomoYTilt", "rlnTomoNominalStageTiltAngle", "wrpAngleTilt")
"""In order of preference: what the reconstruction used is better than what the stage was told."""

SUFFIXES = (".tlt", ".rawtlt", ".tomostar", ".star")
"""In order of preference."""

RADIANS = 1.6
"""Angles that are all smaller are a tilt series in radians, not one of three degrees."""

ADDED_TO_NAMES = re.compile(r"(_full)?_rec$|_\d+\.\d+Apx$")
"""What IMOD (``_rec``) and Warp (``_10.00Apx``) add to a tilt series' name for its tomogram."""


def read_tilt_range(path: Path) -> tuple[float, float]:
    """Read the lowest and the highest angle (degrees) of a tilt series.

    Parameters
    ----------
    path
        Any of the files that the module describes.

    Raises
    ------
    InputError
        The file cannot be read, or holds fewer than two different angles between -90 and 90 degrees.
    """
    angles = _from_star(path) if path.suffix in (".star", ".tomostar") else _from_lines(path)
    low, high = float(angles.min(initial=np.inf)), float(angles.max(initial=-np.inf))
    if not -90 <= low < high <= 90:
        found = f"{len(angles)} angles" + (f" from {low:g} to {high:g}" if len(angles) else "")
        raise InputError(f"{path}: found {found}, expected at least two between -90 and 90 degrees; check the file")
    if max(-low, high) < RADIANS:
        raise InputError(f"{path}: found angles from {low:g} to {high:g}; expected degrees, these look like radians")
    return low, high


def find_tilts(folder: Path, identifier: str) -> Path | None:
    """Find a tomogram's file of tilt angles: ``<id>.tlt`` and so on, exactly, or less what a program adds to names."""
    for name in dict.fromkeys((identifier, ADDED_TO_NAMES.sub("", identifier))):
        for suffix in SUFFIXES:
            if (path := folder / f"{name}{suffix}").is_file():
                return path
    return None


def _from_lines(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        return np.array([float(line) for line in lines if line.strip() and not line.lstrip().startswith("#")])
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path and its rights") from error
    except ValueError as error:
        raise InputError(f"{path}: expected one tilt angle a line ({error}); give IMOD's .tlt or .rawtlt") from error


def _from_star(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    tables = [table.columns for table in read_tables(path)]
    found = [(column, table[column]) for column in TILT_COLUMNS for table in tables if column in table]
    if not found:
        raise InputError(f"{path}: no column {', '.join(TILT_COLUMNS)}; give the STAR file of a tilt series")
    column, words = found[0]
    try:
        return np.array([float(word) for word in words])
    except ValueError as error:
        raise InputError(f"{path}: not every {column} is a number ({error}); check the file") from error
