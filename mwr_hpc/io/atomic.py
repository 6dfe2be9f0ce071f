"""Files and directories that appear complete or not at all: written beside their target, published by one rename.

Whatever carries ".partial-" in its name was left by a process that died, and may be deleted when nobody writes there.
"""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mwr_hpc.errors import DiskFullError, InputError, StopRequested, WorkGoesOn
from mwr_hpc.io.names import require_short_name, require_short_path

PARTIAL = ".partial-"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def partial_path(target: Path) -> Path:
    """Return a new name beside `target` (same file system, so that a rename can publish it); nothing is created."""
    return target.with_name(f"{target.name}{PARTIAL}{uuid.uuid4().hex}")


def named_within_limits(target: Path, option: str) -> None:
    """Raise InputError, naming `option`, where the file system takes no name as long as that of `target`'s partial."""
    require_short_name(target, partial_path(target), option)


def target_of(partial: Path) -> Path:
    """Return what a partial path, or one inside a partial directory, is to become; any other path is itself.

    A partial is removed by the time that a message is read, so messages name this.
    """
    return Path(*(part.partition(PARTIAL)[0] for part in partial.parts))


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Give a path to write a file to, and publish that file as `target` when the block ends without an exception.

    Parameters
    ----------
    target
        What readers see; until the end the old file, or none.

    Yields
    ------
    Path
        The partial path, which is removed when the block fails.

    Raises
    ------
    DiskFullError
        No space or no quota is left.
    """
    partial = partial_path(target)
    try:
        with disk_full_reported(target):
            yield partial
            sync_path(partial)
        publish(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def publish(partial: Path, target: Path) -> None:
    """Rename a complete, synchronised file or directory to `target` and make the rename itself durable.

    Parameters
    ----------
    partial
        What was written.
    target
        Its final name; a file there is replaced, a directory there must be empty or absent.

    Raises
    ------
    DiskFullError
        No space or no quota is left for the directory's entry.
    """
    with disk_full_reported(target):
        partial.replace(target)
        sync_path(target.parent)


def require_writable(folder: Path) -> None:
    """See that a folder can be written to, or made where it is not there yet; nothing is created.

    Raises
    ------
    InputError
        The path is a file or leads through one, is too long, or the rights do not suffice.
    """
    require_short_path(folder)
    nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise InputError(f"{folder}: {nearest} is no folder; name a folder, new or old, for what is written here")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: no right to write to {nearest}; name another folder, or have its rights changed")


@contextmanager
def without_partials(flat: Sequence[Path], whole: Sequence[Path]) -> Iterator[None]:
    """Remove what dead processes left, and at an early end also what the processes of this one left.

    Only the owner of the folders may enter. On leaving, none of its workers may be running, except by a WorkGoesOn.

    Parameters
    ----------
    flat
        Folders, without those in them: a user's, where others may be writing below.
    whole
        Folders with all below them: nobody else's.
    """

    def clean() -> None:
        for folder in flat:
            remove_partials(folder, below=False)
        for folder in whole:
            remove_partials(folder)

    clean()
    try:
        yield
    except WorkGoesOn:
        raise
    except (DiskFullError, StopRequested):
        clean()
        raise


def sync_tree(path: Path) -> None:
    """Bring a file, or a directory with all it holds, to the disk.

    Raises
    ------
    DiskFullError
        Some file systems find out only now that no space is left.
    """
    with disk_full_reported(path):
        for folder, _, names in os.walk(path):
            for name in names:
                sync_path(Path(folder, name))
            sync_path(Path(folder))
        if path.is_file():
            sync_path(path)


def remove_partials(folder: Path, below: bool = True) -> list[Path]:
    """Remove what dead processes left in `folder`, and in those `below` it.

    Only the owner of the folder may call this, when none of its writers is running.

    Returns
    -------
    list of Path
        What was removed.
    """
    removed: list[Path] = []
    for parent, folders, files in os.walk(folder):
        for name in [name for name in folders + files if PARTIAL in name]:
            path = Path(parent, name)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
            removed.append(path)
        folders[:] = [name for name in folders if below and PARTIAL not in name]
    return removed


@contextmanager
def disk_full_reported(path: Path) -> Iterator[None]:
    """Turn the system's "no space left" and "quota exceeded" into a DiskFullError that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFullError(
            f"{target_of(path)}: {os.strerror(error.errno)} while writing it; nothing incomplete was published. "
            "Free some space or quota and give the same command again, it goes on where it stopped."
        ) from error


def sync_path(path: Path) -> None:
    """Wait until a file or directory is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
