"""Particle positions as EMAN, crYOLO and Topaz write them.

- EMAN's ``.box`` (crYOLO and RELION write it too): x, y of the first corner of a box, its width and height, in pixels.
- crYOLO's ``.cbox``: a STAR file, whose table ``data_cryolo`` has corners and sizes of boxes, and confidences.
- Topaz' tables (``.txt``, ``.tsv``): image_name, x_coord, y_coord and perhaps score, separated by tabs, with the
  positions of centres; the names have no ending (https://topaz-em.readthedocs.io).
"""

from pathlib import Path

import numpy as np

from mwr_hpc.errors import InputError
from mwr_hpc.io.pick_table import FloatArray, PickTable, listed_paths
from mwr_hpc.io.star_text import StarTable
from mwr_hpc.io.text import finite, read_text

TOPAZ_NAME, TOPAZ_X, TOPAZ_Y, TOPAZ_Z, TOPAZ_SCORE = "image_name", "x_coord", "y_coord", "z_coord", "score"
CBOX = ("CoordinateX", "CoordinateY", "Width", "Height")
CBOX_BLOCK, CBOX_Z, CBOX_SCORE = "cryolo", "CoordinateZ", "Confidence"
NOTHING = ("<NA>", "nan", "None")
BOX_WORDS = (4, 5)
"""Numbers in a line of .box; the fifth, which EMAN once wrote, tells nothing."""


def read_box(path: Path) -> PickTable:
    """Read EMAN's .box; the centres of its boxes are the particles.

    Raises
    ------
    InputError
        The file cannot be read, or a line is none of a box.
    """
    corners, sides = [], []
    for number, line in enumerate(read_text(path, "a file of boxes").split("\n"), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) not in BOX_WORDS:
            raise InputError(f"{path}: line {number} has {len(words)} values; expected x, y, width and height of a box")
        x, y, width, height = (finite(path, number, word, "of a box") for word in words[:4])
        if min(width, height) <= 0:
            raise InputError(f"{path}: line {number} has a box of {width:g} x {height:g} pixels; expected more than 0")
        corners.append((x, y))
        sides.append((width, height))
    x, y = (np.array(corners, np.float64) + np.array(sides, np.float64) / 2).reshape(-1, 2).T
    return PickTable(path, x, y)


def read_cbox(path: Path, tables: list[StarTable]) -> PickTable:
    """Take the particles from the tables of a crYOLO .cbox.

    Raises
    ------
    InputError
        They hold no boxes, boxes in a tomogram, or a value that is no number.
    """
    table = next((table for table in tables if table.block == CBOX_BLOCK and CBOX[0] in table.columns), None)
    missing = [name for name in CBOX if table is None or name not in table.columns]
    if table is None or missing:
        raise InputError(f"{path}: no {', '.join(missing)} in a table data_{CBOX_BLOCK}; give crYOLO's .cbox")
    deep = [line for line, text in zip(table.lines, table.columns.get(CBOX_Z, ()), strict=False) if text not in NOTHING]
    if deep:
        raise InputError(f"{path}: line {deep[0]} has a {CBOX_Z}: a box in a tomogram; give the boxes of a micrograph")
    left, top, width, height = (numbers(path, table, name) for name in CBOX)
    scores = numbers(path, table, CBOX_SCORE) if CBOX_SCORE in table.columns else None
    return PickTable(path, left + width / 2, top + height / 2, scores=scores)


def read_topaz(path: Path) -> PickTable:
    """Read a table of Topaz.

    Raises
    ------
    InputError
        The file cannot be read, is no such table, or a value is no number.
    """
    header: list[str] = []
    names, values = [], []
    for number, line in enumerate(read_text(path, "a table of Topaz").split("\n"), 1):
        words = line.strip("\r\n").split("\t")
        if not line.strip():
            continue
        if not header:
            header = [word.strip() for word in words]
            _check_header(path, number, header)
            continue
        if len(words) != len(header):
            raise InputError(
                f"{path}: line {number} has {len(words)} values, expected {len(header)}, separated by tabs: "
                f"{', '.join(header)}"
            )
        row = dict(zip(header, words, strict=True))
        columns = [name for name in (TOPAZ_X, TOPAZ_Y, TOPAZ_SCORE) if name in row]
        names.append(row[TOPAZ_NAME].strip())
        values.append([finite(path, number, row[name], f"as {name}") for name in columns])
    if not header:
        raise InputError(f"{path}: is empty; expected a table of Topaz: {TOPAZ_NAME}, {TOPAZ_X}, {TOPAZ_Y}")
    x, y, *scores = np.array(values, np.float64).reshape(-1, 2 + (TOPAZ_SCORE in header)).T
    return PickTable(path, x, y, listed_paths(path, TOPAZ_NAME, names), scores[0] if scores else None)


def is_topaz_table(path: Path) -> bool:
    """Return whether the first line of a file names the columns of Topaz."""
    with path.open("rb") as stream:
        first = stream.readline(1 << 12)
    return {TOPAZ_NAME, TOPAZ_X, TOPAZ_Y} <= set(first.decode("utf-8-sig", errors="replace").split())


def _check_header(path: Path, number: int, header: list[str]) -> None:
    missing = [name for name in (TOPAZ_NAME, TOPAZ_X, TOPAZ_Y) if name not in header]
    if missing:
        raise InputError(
            f"{path}: line {number} names no column {', '.join(missing)}; expected a table of Topaz, with tabs between "
            f"{TOPAZ_NAME}, {TOPAZ_X} and {TOPAZ_Y}"
        )
    if len(set(header)) < len(header):
        raise InputError(f"{path}: line {number} names a column twice; remove one of them")
    if TOPAZ_Z in header:
        raise InputError(f"{path}: has {TOPAZ_Z}: places in a tomogram; give those of micrographs")


def numbers(path: Path, table: StarTable, column: str) -> FloatArray:
    """Return a column of a STAR table as finite numbers.

    Raises
    ------
    InputError
        One is no finite number.
    """
    values = zip(table.columns[column], table.lines, strict=True)
    return np.array([finite(path, line, text, f"as {column}") for text, line in values], np.float64)
