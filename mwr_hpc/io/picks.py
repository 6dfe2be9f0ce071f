"""Particle positions in files: STAR as RELION and Warp have it, and see `foreign_picks` for those of other programs.

Positions are in pixels of the micrograph, x along columns and y along rows, 0 at the centre of the first pixel.

A STAR file of RELION 3.0 and Warp has one table, RELION 3.1 puts another one before it, ``data_optics``, which may tell
the pixel size. Read are rlnCoordinateX and rlnCoordinateY, rlnMicrographName and rlnAutopickFigureOfMerit if they are
there; everything else is ignored.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from mwr_hpc.errors import InputError
from mwr_hpc.io.foreign_picks import numbers, read_box, read_cbox, read_topaz
from mwr_hpc.io.pick_table import FloatArray, PickTable, listed_paths
from mwr_hpc.io.star_text import column_lines, is_one_value, read_tables, write_lines, write_table

X, Y, NAME, SCORE = "rlnCoordinateX", "rlnCoordinateY", "rlnMicrographName", "rlnAutopickFigureOfMerit"
STAR, CBOX, BOX, TOPAZ = ".star", ".cbox", ".box", (".txt", ".tsv")
"""How files of particles end."""

PIXEL_SIZES = ("rlnMicrographPixelSize", "rlnMicrographOriginalPixelSize", "rlnPixelSize")

CBOX_COLUMNS = (
    *("CoordinateX", "CoordinateY", "CoordinateZ", "Width", "Height", "Depth", "EstWidth", "EstHeight"),
    *("Confidence", "NumBoxes", "Angle"),
)


def read_picks(path: Path) -> PickTable:
    """Read a file of particles, of the format that its ending says; one without any is read too.

    Raises
    ------
    InputError
        It is no such file or has no coordinates, a value is no number, a name leads out of its folder.
    """
    ending = path.suffix.lower()
    if ending == BOX:
        return read_box(path)
    if ending in TOPAZ:
        return read_topaz(path)
    tables = read_tables(path)
    if ending == CBOX:
        return read_cbox(path, tables)
    table = next((table for table in tables if X in table.columns and Y in table.columns), None)
    if table is None:
        columns = sorted({column for table in tables for column in table.columns})
        raise InputError(
            f"{path}: no coordinates (columns {X} and {Y}); found {', '.join(columns) or 'no columns'}; "
            "give a file of particles"
        )
    sizes = {
        float(size)
        for other in tables
        for column in PIXEL_SIZES
        if column in other.columns
        for size in numbers(path, other, column)
    }
    if len(sizes) > 1:
        found = ", ".join(f"{size:g}" for size in sorted(sizes))
        raise InputError(f"{path}: micrographs of several pixel sizes ({found} A); write one file for each of them")
    names = table.columns.get(NAME)
    return PickTable(
        path,
        numbers(path, table, X),
        numbers(path, table, Y),
        listed_paths(path, NAME, names) if names is not None else None,
        numbers(path, table, SCORE) if SCORE in table.columns else None,
        sizes.pop() if sizes else None,
    )


def write_picks(
    path: Path, x: ArrayLike, y: ArrayLike, micrograph: str | Sequence[str], scores: ArrayLike | None = None
) -> None:
    """Write a STAR file of particles, atomically; the same particles give the same bytes.

    Parameters
    ----------
    path
        The file.
    x, y
        (n,) in pixels.
    micrograph
        The name of the micrograph, or of each one's.
    scores
        (n,) or None.
    """
    columns, rows = np.asarray(x, np.float64), np.asarray(y, np.float64)
    names = [micrograph] * len(columns) if isinstance(micrograph, str) else list(micrograph)
    texts = {X: _texts(columns, 3), Y: _texts(rows, 3), NAME: names}
    if scores is not None:
        texts[SCORE] = _texts(np.asarray(scores, np.float64), 6)
    write_table(path, texts)


def require_listable(micrograph: Path) -> None:
    """Raise InputError for a micrograph whose name no list of particles can hold."""
    if not is_one_value(micrograph.name):
        raise InputError(
            f"{micrograph}: no list of particles can hold this name, for it has a line break, both kinds of quotes, or "
            "bytes that are no UTF-8; rename the file"
        )


def write_box(path: Path, x: ArrayLike, y: ArrayLike, box_size: int) -> None:
    """Write EMAN's .box, atomically: whole pixels of each box's first corner, then its sides."""
    corners = (np.floor(np.asarray(values, np.float64) - box_size / 2 + 0.5).astype(int) for values in (x, y))
    side = str(box_size)
    write_lines(path, [], ((str(left), str(top), side, side) for left, top in zip(*corners, strict=True)))


def write_cbox(path: Path, x: ArrayLike, y: ArrayLike, box_size: int, scores: ArrayLike) -> None:
    """Write crYOLO's .cbox (version 1.0), atomically: the first corners of boxes, and confidences."""
    header = ["", "data_global", "", "_cbox_format_version 1.0", "", "data_cryolo", "", "loop_"]
    header += column_lines(CBOX_COLUMNS)
    left, top = (_texts(np.asarray(values, np.float64) - box_size / 2, 3) for values in (x, y))
    side = str(box_size)
    rows = zip(left, top, _texts(np.asarray(scores, np.float64), 6), strict=True)
    write_lines(
        path,
        header,
        ((a, b, "<NA>", side, side, "<NA>", side, side, score, "<NA>", "<NA>") for a, b, score in rows),
        ["", "data_cryolo_include", "", "loop_", "_slice_index #1", ""],
    )


def _texts(values: FloatArray, digits: int) -> list[str]:
    if not np.isfinite(values).all():
        raise ValueError("positions and scores must be finite")
    # Adding zero turns a rounded -0.0 into 0.0.
    return [f"{value:.{digits}f}" for value in np.round(values, digits) + 0.0]
