"""Small text files that other programs wrote, in UTF-8, else in Latin-1, and the numbers in them."""

import math
import stat
from pathlib import Path

from mwr_hpc.errors import InputError

LARGEST = 1 << 28
"""Bytes of the largest file that can be a list or a table of positions; reading what is larger is a mistake."""


def number_of(text: str) -> float:
    """Return a text as a number; 1_000, which Python takes for one, is none.

    Raises
    ------
    ValueError
        It is no number.
    """
    if "_" in text:
        raise ValueError(f"could not convert string to float: {text!r}")
    return float(text)


def read_text(path: Path, kind: str) -> str:
    """Read a text.

    Parameters
    ----------
    path
        The file.
    kind
        What it should be, for the message: "a STAR file".

    Returns
    -------
    str
        Without a mark of the byte order; a file that is no UTF-8 is taken for Latin-1, in which every byte is a letter.

    Raises
    ------
    InputError
        There is no such file, it cannot be read, it is too large, or it is no text.
    """
    try:
        found = path.stat()
        if stat.S_ISREG(found.st_mode) and found.st_size > LARGEST:
            raise InputError(f"{path}: not {kind} ({found.st_size} bytes); expected at most {LARGEST}: check the path")
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; check the path") from error
    except OSError as error:
        raise InputError(f"{path}: not {kind} ({error.strerror}); check the path and its rights") from error
    if b"\0" in content:
        raise InputError(f"{path}: not {kind} (it is no text); check the path")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def finite(path: Path, line: int, text: str, what: str) -> float:
    """Return a word of a text file as a finite number.

    Parameters
    ----------
    path, line
        Where it stands, for the message.
    text
        The word.
    what
        What it should be, for the message: "as rlnCoordinateX".

    Raises
    ------
    InputError
        It is none.
    """
    try:
        number = number_of(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{path}: line {line} has {text!r} {what}; expected a finite number")
    return number
