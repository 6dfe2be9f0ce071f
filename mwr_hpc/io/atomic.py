"""Files and directories that appear complete or not at all: written beside their target, published by one rename.

Whatever carries ".partial-" in its name was left by a process that died, and may be deleted when nobody writes there.
"""

import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mwr_hpc.errors import ConfigError, DiskFullError, InputError, StopRequested, WorkGoesOn
from mwr_hpc.io.names import require_short_name, require_short_path

PARTIAL = ".partial-"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_WITHOUT_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_WITHOUT_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)
_WRITTEN_MEANWHILE = (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY, errno.ESTALE)
_TRIES = 5


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


def publish_new(partial: Path, target: Path) -> None:
    """Publish a complete, synchronised file under a name that nobody has; the partial is left to its owner.

    Raises
    ------
    FileExistsError
        The name is taken, be it since a moment ago.
    """
    try:
        os.link(partial, target)  # unlike a rename, refused when the name is taken
    except OSError as error:
        if error.errno not in _WITHOUT_LINKS:
            raise
        # Without hard links an empty file takes the name first, which nobody else then can.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
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
def without_partials(flat: Sequence[Path], whole: Sequence[Path], is_owner: Callable[[], bool]) -> Iterator[None]:
    """Remove what dead processes left, and at the end also what workers of this one left that were lost meanwhile.

    Only the owner of the folders may enter. On leaving, none of its workers may be running, except by a WorkGoesOn, or
    on a node that was lost: that one can publish nothing, and removes what it writes by itself when it notices.

    Parameters
    ----------
    flat
        Folders, without those in them: a user's, where others may be writing below.
    whole
        Folders with all below them: nobody else's.
    is_owner
        Whether the folders are still this process's; what is another's by now may be being written.
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
    except (DiskFullError, StopRequested, KeyboardInterrupt):
        if is_owner():
            clean()
        raise
    if is_owner():
        clean()


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

    Only the owner of the folder may call this, when none of its writers is running, but for one on a lost node.

    Returns
    -------
    list of Path
        What was removed.
    """
    removed: list[Path] = []
    for parent, folders, files in os.walk(folder):
        for name in [name for name in folders + files if PARTIAL in name]:
            path = Path(parent, name)
            remove_partial(path)
            removed.append(path)
        folders[:] = [name for name in folders if below and PARTIAL not in name]
    return removed


def remove_partial(path: Path) -> None:
    """Remove a partial file or directory.

    A lost node may be writing in it: after a few tries what it has added since is left for the next start to remove.
    """
    for _ in range(_TRIES):
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            return
        except OSError as error:
            if error.errno not in _WRITTEN_MEANWHILE:
                raise
        time.sleep(0.1)


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
    """Wait until a file or directory is on the disk.

    Some file systems cannot do this for directories. There a crash of the storage may undo the last renames, each as a
    whole, and what is missing is then made again.

    Raises
    ------
    ConfigError
        The file system cannot do this for files either, so what is published could be incomplete after a crash.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _WITHOUT_SYNC:
            raise
        if not path.is_dir():
            raise ConfigError(
                f"{target_of(path)}: its file system cannot bring a file to the disk for certain (fsync: "
                f"{error.strerror}), so a crash could leave damaged results; choose a folder on another file system"
            ) from error
    finally:
        os.close(descriptor)
