"""How long names and paths may be: the file system says it, and the names made here are longer than the user's."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from mwr_hpc.errors import InputError

BELOW = 600
"""Bytes that paths below a folder of results may add: a folder and a partial file of the longest names."""


def require_short_path(folder: Path) -> None:
    """See that the paths of what is written below a folder are not too long for the system.

    Raises
    ------
    InputError
        They may be.
    """
    size, most = _size(folder.absolute()), _limit(folder, "PC_PATH_MAX")
    if most is not None and size + BELOW > most:
        raise InputError(
            f"{folder}: this path has {size} bytes; at most {most - BELOW} leave room for the names of what is written "
            f"below it, since a whole path may have {most}. Name a folder nearer to the root"
        )


def require_short_name(path: Path, written: Path, option: str) -> None:
    """See that a file that the user names can be written, which happens under another, longer name.

    Raises
    ------
    InputError
        The file system takes no such name; the text names `option`.
    """
    most = _limit(written.parent, "PC_NAME_MAX")
    if most is not None and _size(written.name) > most:
        left = most - _size(written.name) + _size(path.name)
        raise InputError(
            f"{option} {path}: the name has {_size(path.name)} bytes, expected at most {left} on this file system; "
            "choose a shorter one"
        )


def long_names(identifiers: Iterable[str], made: Callable[[str], Iterable[Path]]) -> dict[str, str]:
    """Find the ids that are too long for the files that are named after them.

    Parameters
    ----------
    identifiers
        Of tomograms or micrographs.
    made
        From an id to the files with the longest names and paths.

    Returns
    -------
    dict
        By id, why it cannot be used and what to do.
    """
    found: dict[str, str] = {}
    for identifier in identifiers:
        size = _size(identifier)
        most = min((size + _room(path) for path in made(identifier)), default=size)
        if most < size:
            found[identifier] = (
                f"the name has {size} bytes, expected at most {max(most, 0)}: this program adds to it, and the system "
                "limits the length of names and paths. Rename the file, or give a shorter name in a list (rlnTomoName)"
            )
    return found


def _room(path: Path) -> int:
    """Bytes by which the name or the path may grow; negative where it is too long already."""
    name, whole = _limit(path.parent, "PC_NAME_MAX"), _limit(path.parent, "PC_PATH_MAX")
    rooms = [name - _size(path.name)] if name is not None else []
    rooms += [whole - 1 - _size(path.absolute())] if whole is not None else []  # a NUL byte ends it
    return min(rooms, default=0)


def _size(name: str | Path) -> int:
    return len(os.fsencode(name))


def _limit(folder: Path, what: str) -> int | None:
    """Ask the nearest folder that is there; None where the file system sets no limit or does not say it."""
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    try:
        limit = os.pathconf(nearest, what)
    except OSError:
        return None
    return limit if limit > 0 else None
