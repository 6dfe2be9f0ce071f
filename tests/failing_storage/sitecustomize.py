"""Makes opening some files fail as a storage does: loaded by every Python process that has this folder on its path.

MWR_TEST_FAULTS names a folder. Each file in it is a fault: its name is the number of the error, its lines are a part of
the path, for reading or writing ("r" or "w"), and how often it happens, 0 for always.
"""

import builtins
import io
import os
from pathlib import Path

_open = io.open


def _failing(file, mode="r", *arguments, **options):
    folder = os.environ.get("MWR_TEST_FAULTS")
    if folder and isinstance(file, str | os.PathLike) and not os.fspath(file).startswith(folder):
        for name in os.listdir(folder):
            with _open(os.path.join(folder, name)) as stream:
                number, (part, kind, times) = int(name.partition("_")[0]), stream.read().split()
            writes = bool(set(mode) & set("wax+"))
            if part in str(file) and writes == (kind == "w"):
                if int(times) == 1:
                    os.unlink(os.path.join(folder, name))
                elif int(times):
                    with _open(os.path.join(folder, name), "w") as stream:
                        stream.write(f"{part} {kind} {int(times) - 1}")
                raise OSError(number, os.strerror(number), os.fspath(file))
    return _open(file, mode, *arguments, **options)


builtins.open = io.open = _failing


def fault(folder: Path, number: int, part: str, kind: str = "r", times: int = 0) -> Path:
    """Have files with `part` in their path fail with the error `number`."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{number}_{part.replace('/', '-')}"
    path.write_text(f"{part} {kind} {times}")
    return path
