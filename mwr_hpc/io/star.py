"""STAR lists of tomograms: what a run works on, in columns that users of RELION, IsoNet and Warp know.

========================  ======================================================================
rlnMicrographName         path of the tomogram (or rlnTomoReconstructedTomogram); required
rlnTomoName               its id; by default the file name less the last extension
rlnTomogramPixelSize      voxel size in angstrom, used where the file's header has none
mwrTiltMin, mwrTiltMax    tilt range in degrees; by default the command's
mwrMaskPath               mask
mwrEvenPath, mwrOddPath   reconstructions from the even and the odd frames or tilts
mwrGroup                  name of the group, such as a data set or session
mwrBytes                  "signed" or "unsigned": how bytes of mode 0 are read, where the file leaves it open
========================  ======================================================================

What other programs write is read too, where a list has none of these:

- IsoNet (util/metadata.py; IsoNet2 bin/isonet.py, prepare_star): rlnPixelSize, rlnMaskName, rlnTiltMin and rlnTiltMax;
  in IsoNet2 rlnTomoName is the path, and rlnTomoReconstructedTomogramHalf1 and -Half2 are the halves.
- RELION 5 (tomograms.star): rlnTomoReconstructedTomogram and its halves as above, the voxel size
  rlnTomoTiltSeriesPixelSize times rlnTomoTomogramBinning, the tilts in the file that rlnTomoTiltSeriesStarFile names.
- Lists for Warp's reconstructions: wrpMicrographName, when it is the path of a volume.

Other columns are ignored. A relative path starts at the list's folder, or at one above it (RELION's project folder),
else at the current one.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc_fields import Signedness
from mwr_hpc.io.star_text import StarTable, read_tables, write_table
from mwr_hpc.io.volume import is_volume_name

PATH_COLUMNS = ("rlnMicrographName", "rlnTomoReconstructedTomogram", "wrpMicrographName")
NAME = "rlnTomoName"
VOXEL_SIZE = ("rlnTomogramPixelSize", "rlnPixelSize")
SERIES_PIXEL_SIZE, BINNING, SERIES = "rlnTomoTiltSeriesPixelSize", "rlnTomoTomogramBinning", "rlnTomoTiltSeriesStarFile"
TILTS = (("mwrTiltMin", "mwrTiltMax"), ("rlnTiltMin", "rlnTiltMax"))
MASK = ("mwrMaskPath", "rlnMaskName")
EVEN = ("mwrEvenPath", "rlnTomoReconstructedTomogramHalf1")
ODD = ("mwrOddPath", "rlnTomoReconstructedTomogramHalf2")
GROUP = "mwrGroup"
BYTES = "mwrBytes"
BLOCK = "tomograms"
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
    tilts
        File of the tilt angles (see `mwr_hpc.io.tilts`), which says the range where `tilt_range` does not.
    signedness
        Of an MRC file's bytes.
    """

    path: Path
    name: str | None = None
    voxel_size: float | None = None
    tilt_range: tuple[float, float] | None = None
    mask: Path | None = None
    even: Path | None = None
    odd: Path | None = None
    group: str | None = None
    tilts: Path | None = None
    signedness: Signedness | None = None


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
        _Row(path, line, {name: _text(values[row]) for name, values in table.columns.items()}).parsed(path_column)
        for row, line in enumerate(table.lines)
    ]
    if not rows:
        raise InputError(f"{path}: the list is empty; add a line for each tomogram")
    return rows


def rows_of_group(source: Path, rows: list[TomogramRow], group: str | None) -> list[TomogramRow]:
    """Return the rows of one group, or all when `group` is None.

    Raises
    ------
    InputError
        No row is of this group.
    """
    chosen = [row for row in rows if group is None or row.group == group]
    if not chosen:
        groups = sorted({row.group for row in rows if row.group is not None})
        found = f"the groups {', '.join(groups)}" if groups else "no groups (column mwrGroup)"
        raise InputError(f"{source}: no tomogram is of the group {group}; found {found}")
    return chosen


def write_tomogram_list(path: Path, rows: Sequence[TomogramRow]) -> None:
    """Write a STAR list of tomograms, atomically; paths are written as they are."""
    any_stated = any(row.signedness for row in rows)
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
            **({BYTES: row.signedness} if any_stated else {}),
        }
        for row in rows
    ]
    write_star(path, BLOCK, records)


def is_own_list(path: Path) -> bool:
    """Whether a file is a list as `write_tomogram_list` writes them."""
    try:
        tables = read_tables(path)
    except InputError:
        return False
    return len(tables) == 1 and (tables[0].block, GROUP in tables[0].columns) == (BLOCK, True)


def write_star(path: Path, block: str, records: Sequence[Mapping[str, object]]) -> None:
    """Write records, all with the same names, as one block of a STAR file, atomically."""
    # As text: a number keeps its digits, and an id such as 007 its zeros.
    columns = {name: [str(record[name]) for record in records] for name in records[0]}
    write_table(path, columns, block)


def _table(path: Path) -> tuple[StarTable, str]:
    tables = read_tables(path)
    found = [(table, column) for table in tables for column in PATH_COLUMNS if column in table.columns]
    # IsoNet2 has the path where all others have the id.
    found += [(table, NAME) for table in tables if any(map(is_volume_name, table.columns.get(NAME, ())))]
    if not found:
        columns = sorted({column for table in tables for column in table.columns})
        raise InputError(
            f"{path}: the required column {PATH_COLUMNS[0]} (path of the tomogram) is missing; "
            f"found {', '.join(columns) or 'no columns'}"
        )
    filled = [(table, column) for table, column in found if table.lines] or found
    lines = {table.lines[0]: f"data_{table.block} at line {table.lines[0]}" for table, _ in filled if table.lines}
    if len(lines) > 1:
        raise InputError(
            f"{path}: holds several tables of tomograms ({', '.join(lines.values())}); give each a list of its own"
        )
    return filled[0]


def _text(value: str) -> str | None:
    text = value.strip()
    return None if text.lower() in MISSING else text


@dataclass(frozen=True)
class _Row:
    """One line as text, with where it comes from for the errors."""

    source: Path
    line: int
    record: dict[str, str | None]

    def parsed(self, path_column: str) -> TomogramRow:
        path = self._path(path_column)
        if path is None:
            raise InputError(f"{self.source}: line {self.line} has no {path_column}; give a path")
        return TomogramRow(
            path=path,
            name=None if path_column == NAME else self.record.get(NAME),
            voxel_size=self._voxel_size(),
            tilt_range=self._tilt_range(),
            mask=self._path(*MASK),
            even=self._path(*EVEN),
            odd=self._path(*ODD),
            group=self.record.get(GROUP),
            tilts=self._path(SERIES),
            signedness=self._signedness(),
        )

    def _voxel_size(self) -> float | None:
        stated = next((size for column in VOXEL_SIZE if (size := self._size(column)) is not None), None)
        pixel_size, binning = self._size(SERIES_PIXEL_SIZE), self._size(BINNING)
        if stated is None and pixel_size is not None and binning is not None:
            return pixel_size * binning
        return stated

    def _tilt_range(self) -> tuple[float, float] | None:
        for columns in TILTS:
            low, high = map(self._number, columns)
            if low is not None and high is not None:
                return low, high
            if (low is None) != (high is None):
                raise InputError(
                    f"{self.source}: line {self.line} gives only one of {columns[0]} and {columns[1]}; give both"
                )
        return None

    def _signedness(self) -> Signedness | None:
        match self.record.get(BYTES):
            case None | "signed" | "unsigned" as known:
                return known
            case unknown:
                raise InputError(
                    f"{self.source}: line {self.line} has {unknown} as {BYTES}; expected signed or unsigned, or none"
                )

    def _path(self, *columns: str) -> Path | None:
        text = next((text for column in columns if (text := self.record.get(column)) is not None), None)
        if text is None:
            return None
        folder = self.source.absolute().parent
        places = [folder / text, *(above / text for above in folder.parents), Path(text)]
        return next((place for place in places if os.path.exists(place)), places[0]).absolute()

    def _size(self, column: str) -> float | None:
        """A size that cannot be is worse than none; 0 says that it is not known."""
        size = self._number(column)
        if size is not None and not 0 <= size < math.inf:
            raise InputError(f"{self.source}: line {self.line} has {size:g} as {column}; expected a size above 0")
        return size or None

    def _number(self, column: str) -> float | None:
        text = self.record.get(column)
        try:
            return None if text is None else float(text)
        except ValueError as error:
            raise InputError(f"{self.source}: line {self.line} has {text!r} as {column}; expected a number") from error
