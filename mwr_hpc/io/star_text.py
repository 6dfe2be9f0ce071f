"""STAR tables as text: read with the line of whatever is wrong, written with the same bytes for the same values.

The dialect is RELION's: blocks ``data_<name>``, in each a loop of columns or single items; a value is a word, or is
quoted; a word that begins with # begins a comment. Names lose their leading underscore.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mwr_hpc.errors import InputError
from mwr_hpc.io.atomic import atomic_file

LARGEST, MOST_LINES, LONGEST_LINE, MOST_COLUMNS, MOST_TABLES = 2**28, 5_000_000, 2**20, 1000, 10_000
"""Bytes and lines of a file, characters of a line, columns of a table, tables of a file."""

WORD = re.compile(r"\"([^\"]*)\"(?!\S)|'([^']*)'(?!\S)|(\S+)")


@dataclass
class StarTable:
    """One table: a loop, or the single items of a block as a loop of one row.

    Attributes
    ----------
    block
        What follows ``data_``.
    columns
        The texts of each column by its name.
    lines
        The line of the file on which each row stands, from 1.
    """

    block: str
    columns: dict[str, list[str]] = field(default_factory=dict)
    lines: list[int] = field(default_factory=list)


def read_tables(path: Path) -> list[StarTable]:
    """Read all tables of a STAR file.

    Raises
    ------
    InputError
        The file cannot be read, or is no STAR file.
    """
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise InputError(f"{path}: {size} bytes, expected at most {LARGEST}; give a list in parts")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"{path}: not a STAR file ({reason}); give a STAR file, of RELION or Warp") from error
    if text.count("\n") > MOST_LINES:
        raise InputError(f"{path}: {text.count(chr(10))} lines, expected at most {MOST_LINES}; give a list in parts")
    if "\0" in text:
        raise InputError(f"{path}: not a STAR file (it is no text); give a STAR file, of RELION or Warp")
    # Not splitlines: file names may hold what it takes for the end of a line.
    lines = text.split("\n")
    tables: list[StarTable] = []
    block, in_loop, items = None, False, False
    for number, line in enumerate(lines, 1):
        if len(line) > LONGEST_LINE or len(tables) > MOST_TABLES or (tables and len(tables[-1].columns) > MOST_COLUMNS):
            raise InputError(
                f"{path}: line {number}: expected at most {LONGEST_LINE} characters in a line, {MOST_COLUMNS} columns "
                f"and {MOST_TABLES} tables; the file is damaged"
            )
        words = _words(line)
        # Quoted words are values, whatever they begin with.
        first = line.split(maxsplit=1)[0] if words else ""
        if not words:
            continue
        if first.startswith("data_"):
            block, in_loop, items = first.removeprefix("data_"), False, False
        elif block is None:
            raise InputError(f"{path}: not a STAR file: line {number} begins with {first!r}, expected data_<name>")
        elif first == "loop_":
            tables.append(StarTable(block))
            in_loop, items = True, False
        elif first.startswith("_") and in_loop and not tables[-1].lines:
            name = first.removeprefix("_")
            if name in tables[-1].columns:
                raise InputError(f"{path}: line {number} names the column {name} a second time; remove one of them")
            tables[-1].columns[name] = []
        elif first.startswith("_") and not (in_loop and len(words) == len(tables[-1].columns)):
            if not items:
                tables.append(StarTable(block, lines=[number]))
                in_loop, items = False, True
            tables[-1].columns[first.removeprefix("_")] = [words[1] if len(words) > 1 else ""]
        elif in_loop and len(words) == len(tables[-1].columns):
            tables[-1].lines.append(number)
            for values, word in zip(tables[-1].columns.values(), words, strict=True):
                values.append(word)
        else:
            expected = f"expected {len(tables[-1].columns)}" if in_loop else "outside any table"
            raise InputError(f"{path}: line {number} has {len(words)} values, {expected}; the file is damaged")
    return tables


def _words(line: str) -> list[str]:
    words = []
    for match in WORD.finditer(line):
        double, single, bare = match.groups()
        if bare is not None and bare.startswith("#"):
            break
        words.append(next(word for word in (double, single, bare) if word is not None))
    return words


def is_one_value(text: str) -> bool:
    """Whether a text can be written as one value and be read again: STAR knows no escapes."""
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes of a file name that are no UTF-8
        return False
    return not (("'" in text and '"' in text) or {"\n", "\r", "\0"} & set(text))


def write_table(path: Path, columns: Mapping[str, Sequence[str]], block: str = "") -> None:
    """Write one table, atomically.

    Parameters
    ----------
    path
        The file.
    columns
        The texts of each column by its name; all of one length, which may be 0.
    block
        What follows ``data_``.
    """
    header = ["", f"data_{block}", "", "loop_", *column_lines(columns)]
    write_lines(path, header, zip(*([_quoted(text) for text in texts] for texts in columns.values()), strict=True))


def column_lines(names: Iterable[str]) -> list[str]:
    """Return the lines that name the columns of a loop."""
    return [f"_{name} #{number}" for number, name in enumerate(names, 1)]


def write_lines(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]], end: Sequence[str] = ()) -> None:
    """Write lines, then rows of words, then more lines, atomically."""
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(f"{line}\n" for line in header)
        stream.writelines(" ".join(row) + "\n" for row in rows)
        stream.writelines(f"{line}\n" for line in end)


def _quoted(text: str) -> str:
    """A text as one word; an empty one is None, since STAR has no empty values.

    STAR has no way to write both quotes in one value: double ones become single ones then.
    """
    if '"' in text and "'" in text:
        text = text.replace('"', "'")
    if _words(text) == [text] and not text.startswith(("_", "data_", "loop_")):
        return text
    quote = "'" if '"' in text else '"'
    return f"{quote}{text}{quote}" if text else "None"
