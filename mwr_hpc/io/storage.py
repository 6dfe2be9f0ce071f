"""Errors of the storage, for which no file is to blame: waited out, and told apart from damage."""

import errno
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from mwr_hpc.errors import StorageError

PAUSES = (1.0, 4.0, 16.0)
"""Seconds to wait before each further try."""

ERRNOS = frozenset({errno.EIO, errno.ESTALE, errno.EROFS, errno.ETIMEDOUT, errno.ENOTCONN})

_OF_FILES_ALONE = frozenset({errno.EIO, errno.ESTALE, errno.EROFS})
"""The others are errors of connections too."""

_IN_HDF5 = re.compile(r"\berrno = (\d+)")

Result = TypeVar("Result")


def storage_error(error: BaseException) -> OSError | None:
    """Return the error of the storage that an exception is, or that led to it; None where there is none.

    Readers turn what they meet into an InputError, whose cause this finds. It is lost when an exception travels to
    another process, so it has to be asked for where the file is read.
    """
    for one in _chain(error):
        if isinstance(one, OSError) and (number := _errno(one)) in ERRNOS:
            return one if one.errno == number else OSError(number, os.strerror(number or 0), one.filename)
    return None


def is_of_a_file(error: OSError) -> bool:
    """Whether an error of `storage_error` cannot be one of a network connection."""
    return error.errno in _OF_FILES_ALONE or error.filename is not None


def patiently(work: Callable[[], Result], about: Path | str, pauses: Sequence[float]) -> Result:
    """Do `work`, again after each of the growing `pauses` (seconds) as long as the storage fails.

    Parameters
    ----------
    work
        May be called several times.
    about
        What to name where the error names no file.

    Raises
    ------
    StorageError
        It failed to the last.
    """
    for pause in (*pauses, None):
        try:
            return work()
        except StorageError:
            raise
        except Exception as error:
            cause = storage_error(error)
            if cause is None:
                raise
            if pause is None:
                tries = f"{len(pauses) + 1} tries" if pauses else "one try"
                raise StorageError(f"{cause.filename or about}: {cause.strerror}, in {tries}") from error
        time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def read_afresh(path: Path) -> None:
    """Read some of a file, from the storage if the system lets go of what it has in memory."""
    with path.open("rb", buffering=0) as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        stream.seek(os.fstat(stream.fileno()).st_size // 2)
        stream.read(4096)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _errno(error: OSError) -> int | None:
    """The error's number; HDF5 has it in its text alone."""
    found = _IN_HDF5.search(str(error)) if error.errno is None else None
    return int(found.group(1)) if found else error.errno
