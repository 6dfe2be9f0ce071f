"""JSON from files, within bounds: a file that nests too deep or is too large is refused like any other wrong one."""

import json
from pathlib import Path
from typing import Any

LARGEST = 2**28
"""Bytes of a file; the largest that are written here describe a cohort of a hundred thousand tomograms."""


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is no JSON, nests too deep or is too large.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"{size} bytes of JSON, expected at most {LARGEST}")
    return parse_json(path.read_text())


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises
    ------
    ValueError
        It is no JSON, or nests too deep.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON that nests too deep") from None
