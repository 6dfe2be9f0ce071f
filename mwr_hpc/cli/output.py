"""The only way to the terminal: whatever is said here is escaped, see `mwr_hpc.printable`."""

import json
import logging
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import TextIO

import typer

from mwr_hpc.printable import printable, printable_lines, printable_traceback


def say(*texts: object, err: bool = False) -> None:
    """Print texts, each on a line of its own; line breaks within one are marked as its continuation.

    Parameters
    ----------
    texts
        What to print.
    err
        Whether it goes to standard error.
    """
    for text in texts:
        typer.echo(printable_lines(text), err=err)


def say_json(record: object, indent: int | None = None) -> None:
    """Print a record as JSON, which has escapes of its own."""
    typer.echo(json.dumps(record, indent=indent))


def say_file(text: str) -> None:
    """Print the text of a file that comes with the program, as it is."""
    typer.echo(text, nl=False)


def say_to(stream: TextIO, text: object) -> None:
    """Print a text to a stream, at once."""
    print(printable_lines(text), file=stream, flush=True)


def say_traceback(error: BaseException) -> None:
    """Print the traceback of a fault of the program to standard error."""
    typer.echo(printable_traceback(error), err=True, nl=False)


def say_tabbed(*rows: Sequence[str]) -> None:
    """Print rows of a table, their cells separated by tabs."""
    for row in rows:
        typer.echo("\t".join(map(printable, row)))


def say_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], styles: Iterable[str | None], title: str | None = None
) -> None:
    """Draw a table on a terminal.

    Parameters
    ----------
    columns
        Their names.
    rows
        The texts of each row's cells.
    styles
        Rich's style of each row; None for none.
    title
        Above the table.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, title=title)
    for cells, style in zip(rows, styles, strict=True):
        # As Text: in a plain string Rich reads [red] as a colour.
        table.add_row(*(Text(printable(cell)) for cell in cells), style=style)
    Console().print(table)


def escape_all_output() -> None:
    """See that what libraries log and warn of is escaped too, and that no letter is more than the terminal's encoding.

    Called once, when the program starts.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a test's replacement may lack it
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = _format_warning
    if logging.lastResort is not None:  # what shows records for which nobody set up anything
        logging.lastResort.setFormatter(_PrintableFormatter())


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return f"{printable(filename)}:{lineno}: {category.__name__}: {printable_lines(message)}\n"
