"""Tilt angles of a tilt series, from the files of IMOD, AreTomo, SerialEM, RELION 5 and Warp.

- IMOD: ``.tlt`` (angles after alignment), ``.rawtlt`` (of the stage), ``tilt.com`` (of a reconstruction), AreTomo's
  ``.aln`` and SerialEM's ``.mdoc``: see `mwr_hpc.io.tilt_files`.
- RELION 5: the STAR file of a tilt series that rlnTomoTiltSeriesStarFile names, with rlnTomoYTilt (after alignment)
  and rlnTomoNominalStageTiltAngle (of the stage).
- Warp: ``.tomostar`` with wrpAngleTilt (WarpTools ts_import; by default of the other sign than the stage's).

Which sign of tilt a program's angles have in a volume is not in these files: `mwr-hpc check` finds it.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path

from mwr_hpc.errors import InputError
from mwr_hpc.io.star_text import read_tables
from mwr_hpc.io.text import number_of
from mwr_hpc.io.tilt_files import angles_of_aln, angles_of_lines, angles_of_mdoc, angles_of_tilt_com

TILT_COLUMNS = ("rlnTomoYTilt", "rlnTomoNominalStageTiltAngle", "wrpAngleTilt")
"""In order of preference: what the reconstruction used is better than what the stage was told."""

SUFFIXES = (".tlt", ".aln", ".rawtlt", ".tomostar", ".star", ".mdoc")
"""In order of preference: an alignment knows more than the stage."""

TILT_COM = "tilt.com"
"""In a folder of the tilt series' name; preferred to all others, for it says which views took part."""

STACKS = (".st", ".mrc", "_st")
"""What stands between a tilt series' name and the ending where a program added the latter to the name of the stack."""

RADIANS = 1.6
"""Angles that are all smaller are a tilt series in radians, not one of three degrees."""

ADDED_BEHIND = re.compile(r"(_full)?_rec$|_\d+\.\d+Apx$|(_EVN|_ODD)?_Vol$")
"""What IMOD (``_rec``), Warp (``_10.00Apx``) and AreTomo (``_Vol``) add to a tilt series' name for its tomogram."""

ADDED_BEFORE = re.compile(r"^rec_")
"""What RELION puts before it."""


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
    angles = READERS.get(path.suffix.lower(), angles_of_lines)(path)
    low, high = min(angles, default=math.inf), max(angles, default=-math.inf)
    if not all(map(math.isfinite, angles)):
        low = high = math.nan
    if not -90 <= low < high <= 90:
        found = f"{len(angles)} angles" + (f" from {low:g} to {high:g}" if len(angles) else "")
        raise InputError(f"{path}: found {found}, expected at least two between -90 and 90 degrees; check the file")
    if max(-low, high) < RADIANS:
        raise InputError(f"{path}: found angles from {low:g} to {high:g}; expected degrees, these look like radians")
    return low, high


def find_tilts(folder: Path, identifier: str) -> Path | None:
    """Find a tomogram's file of tilt angles: ``<id>.tlt`` and so on, exactly, or less what a program adds to names.

    Raises
    ------
    InputError
        Without additions two names fit, and there are files of both.
    """
    if (exact := _tilts_named(folder, identifier)) is not None:
        return exact
    without_end = ADDED_BEHIND.sub("", identifier)
    names = dict.fromkeys((without_end, ADDED_BEFORE.sub("", identifier), ADDED_BEFORE.sub("", without_end)))
    found = [path for name in names if (path := _tilts_named(folder, name)) is not None]
    if len(found) > 1:
        raise InputError(
            f"{folder}: {found[0].name} and {found[1].name} could both be the angles of {identifier}; remove one"
        )
    return found[0] if found else None


def _tilts_named(folder: Path, name: str) -> Path | None:
    places = [name + ending for suffix in SUFFIXES for ending in (suffix, suffix.upper())]
    places += [f"{name}{stack}{suffix}" for suffix in (".aln", ".mdoc") for stack in STACKS]
    return next((folder / place for place in (f"{name}/{TILT_COM}", *places) if (folder / place).is_file()), None)


def _from_star(path: Path) -> list[float]:
    tables = read_tables(path)
    found = [(column, table) for column in TILT_COLUMNS for table in tables if column in table.columns]
    if not found:
        raise InputError(f"{path}: no column {', '.join(TILT_COLUMNS)}; give the STAR file of a tilt series")
    column, table = found[0]
    angles = []
    for text, line in zip(table.columns[column], table.lines, strict=True):
        try:
            angles.append(number_of(text))
        except ValueError as error:
            raise InputError(
                f"{path}: line {line}: not every {column} is a number ({error}); check the file"
            ) from error
    return angles


READERS: dict[str, Callable[[Path], list[float]]] = {
    ".star": _from_star,
    ".tomostar": _from_star,
    ".com": angles_of_tilt_com,
    ".aln": angles_of_aln,
    ".mdoc": angles_of_mdoc,
}
"""By how a file ends; all others have an angle a line."""
