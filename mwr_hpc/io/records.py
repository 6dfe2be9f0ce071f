"""Small JSON records that a crash may leave cut, empty or full of NULs: what can be read is, the rest is named."""

from pathlib import Path
from typing import Any

from mwr_hpc.io.bounded_json import parse_json

Record = dict[str, Any]


def parsed(text: str | bytes) -> Record | None:
    """Return the object that a JSON text holds; None where it holds none."""
    try:
        value = parse_json(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def read_record(path: Path, damage: list[str], then: str) -> Record | None:
    """Read a file of one JSON object.

    Parameters
    ----------
    path
        The file.
    damage
        Gets a sentence that names the file where it is damaged, with `then`, what follows from it.

    Returns
    -------
    dict or None
        None where there is no file, or a damaged one.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    record = parsed(content)
    if record is None:
        damage.append(f"{path}: damaged; {then}")
    return record


def read_lines(path: Path, damage: list[str], then: str) -> list[Record]:
    """Read a file of JSON objects, one a line, in order; as `read_record`, for each line by itself."""
    try:
        lines = path.read_bytes().split(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        return []
    records = [parsed(line) for line in lines if line.strip()]
    found = [record for record in records if record is not None]
    if len(found) < len(records):
        damage.append(f"{path}: {len(records) - len(found)} of {len(records)} lines are damaged; {then}")
    elif not records:
        damage.append(f"{path}: damaged, it is empty; {then}")
    return found
