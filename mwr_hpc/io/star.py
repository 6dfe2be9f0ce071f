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
  in IsoNet2 rlnTomoName is the path, and rlnTomoReconstructedTomogramHalf1 and -Half2 are the halves. A deconvolved
  tomogram beside the raw one (rlnDeconvTomoName) is refused: the list does not say which of the two is meant.
- RELION 5 (tomograms.star): rlnTomoReconstructedTomogram and its halves as above, the voxel size
  rlnTomoTiltSeriesPixelSize times rlnTomoTomogramBinning, the tilts in the file that rlnTomoTiltSeriesStarFile names.
- Lists for Warp's reconstructions: wrpMicrographName, when it is the path of a volume.

A row may have halves and no tomogram. Other columns are ignored. A relative path starts at the list's folder, or at one
above it (RELION's project folder), else at the current one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mwr_hpc.errors import InputError
from mwr_hpc.io.list_row import ListRow
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
DECONVOLVED = "rlnDeconvTomoName"
GROUP = "mwrGroup"
BYTES = "mwrBytes"
BLOCK = "tomograms"
HALF = re.compile(r"_(?:half[12]|EVN|ODD|even|odd)(?=_Vol$|$)")
"""What RELION, AreTomo and IsoNet add to the name of a tomogram for its halves."""


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
    halves_only
        Whether the list names no tomogram; `path` is the even half then.
    origins
        From which column of which list each value comes, by what it is: "voxel size".
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
    halves_only: bool = False
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)


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
    rows = [_parsed(ListRow.of(path, table, row), path_column) for row in range(len(table.lines))]
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
            "rlnMicrographName": None if row.halves_only else row.path,
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
    if not any(table.lines for table, _ in found):
        halves = [table for table in tables if _first_in(table, EVEN) and _first_in(table, ODD)]
        found += [(table, PATH_COLUMNS[0]) for table in halves]
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


def _first_in(table: StarTable, columns: Sequence[str]) -> str | None:
    return next((column for column in columns if column in table.columns), None)


def _parsed(row: ListRow, path_column: str) -> TomogramRow:
    path, even, odd = row.path("tomogram", path_column), row.path("even half", *EVEN), row.path("odd half", *ODD)
    name = None if path_column == NAME else row.value("id", NAME)
    halves_only = path is None and even is not None and odd is not None
    if even is not None and odd is not None and path is None:
        path, name = even, name or _common_name(even, odd)
    if path is None:
        raise InputError(f"{row.source}: line {row.line} has no {path_column}; give a path")
    if row.path("deconvolved", DECONVOLVED) not in (None, path):
        raise InputError(
            f"{row.source}: line {row.line} has {row.record[DECONVOLVED]} as {DECONVOLVED} and {path} as "
            f"{path_column}; expected one tomogram: to work on the latter put None for {DECONVOLVED}, to work on the "
            f"deconvolved one put it for {path_column} too"
        )
    parsed = TomogramRow(
        path=path,
        name=name,
        voxel_size=_voxel_size(row),
        tilt_range=_tilt_range(row),
        mask=row.path("mask", *MASK),
        even=even,
        odd=odd,
        group=row.value("group", GROUP),
        tilts=row.path("tilt angles", SERIES),
        signedness=_signedness(row),
        halves_only=halves_only,
    )
    return replace(parsed, origins=row.origins_of_all())


def _voxel_size(row: ListRow) -> float | None:
    for column in VOXEL_SIZE:
        if (size := row.size(column)) is not None:
            row.note("voxel size", column)
            return size
    pixel_size, binning = row.size(SERIES_PIXEL_SIZE), row.size(BINNING)
    if pixel_size is None or binning is None:
        return None
    row.note("voxel size", SERIES_PIXEL_SIZE, BINNING)
    return pixel_size * binning


def _signedness(row: ListRow) -> Signedness | None:
    match row.value("bytes", BYTES):
        case None | "signed" | "unsigned" as known:
            return known
        case unknown:
            raise InputError(
                f"{row.source}: line {row.line} has {unknown} as {BYTES}; expected signed or unsigned, or none"
            )


def _tilt_range(row: ListRow) -> tuple[float, float] | None:
    for columns in TILTS:
        low, high = map(row.number, columns)
        if low is not None and high is not None:
            row.note("tilt range", *columns)
            return low, high
        if (low is None) != (high is None):
            raise InputError(
                f"{row.source}: line {row.line} gives only one of {columns[0]} and {columns[1]}; give both"
            )
    return None


def _common_name(even: Path, odd: Path) -> str | None:
    """The name that two halves have but for what their program added; None where that is not the same."""
    names = {HALF.sub("", path.stem) for path in (even, odd)}
    return names.pop() if len(names) == 1 else None
