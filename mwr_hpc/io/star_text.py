"""STAR tables written as text: the same values give the same bytes, without a date in them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mwr_hpc.io.atomic import atomic_file


def write_table(path: Path, columns: Mapping[str, Sequence[str]], block: str = "") -> None:
    """Write one table, atomically.

    Parameters
    ----------
    path
        The file.
    columns
        The texts of each column by its name, without the leading underscore; all of one length, which may be 0.
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
    """A text as one word; an empty one is None, since STAR has no empty values."""
    if not text:
        return "None"
    return f'"{text}"' if any(letter.isspace() for letter in text) or text[0] in "#_\"'" else text
