"""Texts as they may be shown: a file name can hold what moves a cursor, forges a line or reverses the reading order.

Only what is shown is escaped, never what is stored and read again.
"""

import traceback
from collections.abc import Sequence

CONTINUED = "  | "
"""Begins every line but the first of a text, so that no text can pass for a line that the program wrote."""

SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: object) -> str:
    r"""Return a text as one line that shows what it holds.

    Control characters, line separators, marks of direction, other characters without a picture, and the bytes of a file
    name that are no UTF-8 become escapes as Python writes them; letters of all scripts stay.

    >>> print(printable("a\x1b[2J\n\u202eb"))
    a\x1b[2J\n\u202eb
    """
    line = str(text)
    return line if line.isprintable() else "".join(map(_shown, line))


def printable_lines(text: object) -> str:
    """Return a text with its own line breaks, each further line marked as such, and all else as `printable` has it."""
    return f"\n{CONTINUED}".join(map(printable, str(text).rstrip("\n").split("\n")))


def first_of(names: Sequence[str], most: int = 5) -> str:
    """List the first of some names, and say how many more there are.

    >>> first_of(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def printable_traceback(error: BaseException) -> str:
    """Return the traceback of an error, whose messages can neither forge lines nor hold control characters."""
    parts = []
    for part in traceback.format_exception(error):
        body = part.strip("\n")
        before, _, after = part.partition(body) if body else (part, "", "")
        # A stack consists of lines of source code; all else is a message, or a sentence between two of them.
        is_stack = body.startswith("  File ")
        shown = "\n".join(map(printable, body.split("\n"))) if is_stack else printable_lines(body)
        parts.append(f"{before}{shown}{after}")
    return "".join(parts)


def _shown(letter: str) -> str:
    if letter.isprintable():
        return letter
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return SHORT.get(letter) or (f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}")
