"""STAR lists of tomograms: what a run works on, in columns that RELION users know.

========================  ======================================================================
rlnMicrographName         path of the tomogram (or rlnTomoReconstructedTomogram); required
rlnTomoName               its id; by default the file name less the last extension
rlnTomogramPixelSize      voxel size in angstrom, used where the file's header has none
mwrTiltMin, mwrTiltMax    tilt range in degrees; by default the command's
mwrMaskPath               mask
mwrEvenPath, mwrOddPath   reconstructions from the even and the odd frames or tilts
mwrGroup                  name of the group, such as a data set or session
========================  ======================================================================

Other columns are ignored. A relative path starts at the list's folder, else at the current one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import starfile

from mwr_hpc.errors import InputError
from mwr_hpc.io.atomic import atomic_file

PATH_COLUMNS = ("rlnMicrographName", "rlnTomoReconstructedTomogram")
OTHER_COLUMNS = (
    *("rlnTomoName", "rlnTomogramPixelSize", "mwrTiltMin", "mwrTiltMax"),
    *("mwrMaskPath", "mwrEvenPath", "mwrOddPath", "mwrGroup"),
)
MISSING = ("", "none", "<na>", "nan", "null")


@dataclass(frozen=True)
class TomogramRow:
    """One line of a list; None is what the list does not say.

    Attributes
    ----------
    path, mask, even, odd
        Files; they need not exist.
    name
        The id.
    voxel_size
        In angstrom.
    tilt_range
        (min, max) in degrees.
    """

    path: Path
    name: str | None = None
    voxel_size: float | None = None
    tilt_range: tuple[float, float] | None = None
    mask: Path | None = None
    even: Path | None = None
    odd: Path | None = None
    group: str | None = None


def read_tomogram_list(path: Path) -> list[TomogramRow]:
    """Read a STAR list of tomograms.

    Returns
    -------
    list of TomogramRow
        In the list's order, paths resolved.

    Raises
    ------
    InputError
        It is not a STAR file, has no column of paths, or a value cannot be read; the text names column and line.
    """
    table, path_column = _table(path)
    rows = [
        _Row(path, number, {name: _text(value) for name, value in record.items()}).parsed(path_column)
        for number, record in enumerate(table.to_dict("records"), 1)
    ]
    if not rows:
        raise InputError(f"{path}: the list is empty; add a line for each tomogram")
    return rows


def write_tomogram_list(path: Path, rows: Sequence[TomogramRow]) -> None:
    """Write a STAR list of tomograms, atomically; paths are written as they are."""
    records = [
        {
            "rlnTomoName": row.name,
            "rlnMicrographName": row.path,
            "rlnTomogramPixelSize": row.voxel_size,
            "mwrTiltMin": row.tilt_range[0] if row.tilt_range else None,
            "mwrTiltMax": row.tilt_range[1] if row.tilt_range else None,
            "mwrMaskPath": row.mask,
            "mwrEvenPath": row.even,
            "mwrOddPath": row.odd,
            "mwrGroup": row.group,
        }
        for row in rows
    ]
    # As text: a number keeps its digits, and an id such as 007 its zeros.
    table = pd.DataFrame([{name: str(value) for name, value in record.items()} for record in records])
    with atomic_file(path) as partial:
        starfile.write({"tomograms": table}, partial)


def _table(path: Path) -> tuple[pd.DataFrame, str]:
    try:
        blocks: dict[str, Any] = starfile.read(path, always_dict=True, parse_as_string=[*PATH_COLUMNS, *OTHER_COLUMNS])
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such list; check the path") from error
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise InputError(f"{path}: not a STAR file ({error}); give a STAR list of tomograms") from error
    tables = [block if isinstance(block, pd.DataFrame) else pd.DataFrame([block]) for block in blocks.values()]
    found = [(table, column) for table in tables for column in PATH_COLUMNS if column in table]
    if not found:
        columns = sorted({str(column) for table in tables for column in table})
        raise InputError(
            f"{path}: the required column {PATH_COLUMNS[0]} (path of the tomogram) is missing; "
            f"found {', '.join(columns) or 'no columns'}"
        )
    return found[0]


def _text(value: Any) -> str | None:
    text = str(value).strip()
    return None if text.lower() in MISSING else text


@dataclass(frozen=True)
class _Row:
    """One line as text, with where it comes from for the errors."""

    source: Path
    number: int
    record: dict[Any, str | None]

    def parsed(self, path_column: str) -> TomogramRow:
        path = self._path(path_column)
        if path is None:
            raise InputError(f"{self.source}: line {self.number} of the table has no {path_column}; give a path")
        low, high = self._number("mwrTiltMin"), self._number("mwrTiltMax")
        if (low is None) != (high is None):
            raise InputError(
                f"{self.source}: line {self.number} of the table gives only one of mwrTiltMin and mwrTiltMax; give both"
            )
        return TomogramRow(
            path=path,
            name=self.record.get("rlnTomoName"),
            voxel_size=self._number("rlnTomogramPixelSize"),
            tilt_range=None if low is None or high is None else (low, high),
            mask=self._path("mwrMaskPath"),
            even=self._path("mwrEvenPath"),
            odd=self._path("mwrOddPath"),
            group=self.record.get("mwrGroup"),
        )

    def _path(self, column: str) -> Path | None:
        text = self.record.get(column)
        if text is None:
            return None
        beside = self.source.parent / text
        return (beside if beside.exists() or not Path(text).exists() else Path(text)).absolute()

    def _number(self, column: str) -> float | None:
        text = self.record.get(column)
        try:
            return None if text is None else float(text)
        except ValueError as error:
            raise InputError(
                f"{self.source}: line {self.number} of the table has {text!r} as {column}; expected a number"
            ) from error
