"""STAR tables as text: read with the line of whatever is wrong, written with the same bytes for the same values.

The dialect is RELION's: blocks ``data_<name>``, in each a loop of columns or single items; a value is a word, or is
quoted, or is a block of lines between semicolons; a word that begins with # begins a comment. Names lose their leading
underscore. A file that is no UTF-8 is read as Latin-1.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mwr_hpc.errors import InputError
from mwr_hpc.io.atomic import atomic_file
from mwr_hpc.io.text import read_text

MOST_LINES, LONGEST_LINE, MOST_COLUMNS, MOST_TABLES = 5_000_000, 2**20, 1000, 10_000
"""Lines of a file, characters of a line, columns of a table, tables of a file."""

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
    tables: list[StarTable] = []
    block, in_loop, items = None, False, False
    begun = _Row()
    text = read_text(path, "a STAR file")
    if text.count("\n") > MOST_LINES:
        raise InputError(f"{path}: {text.count(chr(10))} lines, expected at most {MOST_LINES}; give a list in parts")
    for number, first, words, before_text in _lines_with_texts(path, text):
        if len(tables) > MOST_TABLES or (tables and len(tables[-1].columns) > MOST_COLUMNS):
            raise InputError(
                f"{path}: line {number}: expected at most {MOST_COLUMNS} columns and {MOST_TABLES} tables; the file is "
                "damaged"
            )
        names_column = first.startswith("_") and in_loop and not tables[-1].lines
        if begun.words and first.startswith(("data_", "loop_")):
            break  # to the refusal of a row without an end
        begins_row = before_text and not first.startswith("_")
        if in_loop and not names_column and (begun.words or begins_row or not first):
            begun = begun.followed_by(number, words)
            if len(begun.words) < len(tables[-1].columns):
                continue
            number, first, words, begun = begun.line, "-", begun.words, _Row()
        if first.startswith("data_"):
            block, in_loop, items = first.removeprefix("data_"), False, False
        elif block is None:
            raise InputError(f"{path}: not a STAR file: line {number} begins with {first!r}, expected data_<name>")
        elif first == "loop_":
            tables.append(StarTable(block))
            in_loop, items = True, False
        elif names_column:
            name = first.removeprefix("_")
            if name in tables[-1].columns:
                raise InputError(f"{path}: line {number} names the column {name} a second time; remove one of them")
            tables[-1].columns[name] = []
        elif first.startswith("_") and not (in_loop and len(words) == len(tables[-1].columns)):
            if not items:
                tables.append(StarTable(block, lines=[number]))
                in_loop, items = False, True
            tables[-1].columns[first.removeprefix("_")] = [words[1] if len(words) > 1 else ""]
        elif items and not first and (last := list(tables[-1].columns.values())[-1]) == [""]:
            last[0] = words[0]
        elif in_loop and len(words) == len(tables[-1].columns):
            tables[-1].lines.append(number)
            for values, word in zip(tables[-1].columns.values(), words, strict=True):
                values.append(word)
        else:
            expected = f"expected {len(tables[-1].columns)}" if in_loop else "outside any table"
            raise InputError(f"{path}: line {number} has {len(words)} values, {expected}; the file is damaged")
    if begun.words:
        raise InputError(
            f"{path}: line {begun.line} has {len(begun.words)} values, expected {len(tables[-1].columns)}; the file is "
            "damaged"
        )
    return tables


@dataclass(frozen=True)
class _Row:
    """The values so far of a row that a block of text has broken off, and the line on which it began."""

    line: int = 0
    words: list[str] = field(default_factory=list)

    def followed_by(self, line: int, words: list[str]) -> "_Row":
        return _Row(self.line or line, self.words + words)


def _lines_with_texts(path: Path, text: str) -> Iterator[tuple[int, str, list[str], bool]]:
    """Yield number, first word, words, and whether a block of text follows, of each line that says something.

    The first word is as it stands there, since quoted words are values whatever they begin with. A block of text, from
    a line that begins with a semicolon to the next line of a semicolon alone, is one word, with no first word.
    """
    # Not splitlines: file names may hold what it takes for the end of a line.
    lines = enumerate(text.split("\n"), 1)
    held: tuple[int, str, list[str]] | None = None
    for number, line in lines:
        if len(line) > LONGEST_LINE:
            raise InputError(f"{path}: line {number}: expected at most {LONGEST_LINE} characters; the file is damaged")
        if line.startswith(";"):
            found = (number, "", [_text_block(path, number, line, lines)])
        elif words := _words(line):
            found = (number, line.split(maxsplit=1)[0], words)
        else:
            continue
        if held:
            yield *held, not found[1]
        held = found
    if held:
        yield *held, False


def _text_block(path: Path, number: int, first: str, lines: Iterator[tuple[int, str]]) -> str:
    """The lines up to that of a semicolon alone, which is taken too."""
    block = [first[1:]]
    for _, line in lines:
        if line.rstrip() == ";":
            return "\n".join(line.rstrip("\r") for line in block).strip("\n")
        block.append(line)
    raise InputError(
        f"{path}: line {number} begins a block of text with a semicolon, which no line of a semicolon alone ends; the "
        "file is damaged"
    )


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
    if _words(text) == [text] and not text.startswith(("_", "data_", "loop_", ";")):
        return text
    quote = "'" if '"' in text else '"'
    return f"{quote}{text}{quote}" if text else "None"
