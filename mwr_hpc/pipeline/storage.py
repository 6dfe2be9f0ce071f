"""Whether the storage is gone, or cannot give the files of one tomogram alone."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mwr_hpc.errors import StorageError
from mwr_hpc.io.atomic import partial_path, sync_path
from mwr_hpc.io.storage import read_afresh, storage_error
from mwr_hpc.pipeline.units import Unit

ADVICE = "no tomogram is to blame; nothing incomplete was published"


def require_storage(failed: Unit, units: Sequence[Unit], error: StorageError) -> None:
    """See that the storage works for others than one unit: what they read can be read, and there can be written.

    Parameters
    ----------
    failed
        The unit for which it failed, by `error`.
    units
        All of the stage.

    Raises
    ------
    StorageError
        It does not, or there is nothing else on the same file system by which to know.
    """
    own = set(_files(failed))
    try:
        others = (path for unit in units for path in _files(unit) if path not in own)
        other = next((path for path in others if _together(path, own)), None)
        if other is not None:
            read_afresh(_largest_file(other))
        _write(failed.target.parent)
    except OSError as second:
        if storage_error(second) is None:
            raise
        raise StorageError(f"{error}; and {second.filename or other}: {second.strerror}. {ADVICE}") from second
    if other is None:
        raise StorageError(f"{error}; there is no other file to read beside it. {ADVICE}")


def _files(unit: Unit) -> Iterator[Path]:
    return (path for path in unit.inputs.values() if isinstance(path, Path))


def _together(path: Path, own: set[Path]) -> bool:
    devices = {os.stat(one.parent).st_dev for one in own}
    return path.exists() and os.stat(path.parent).st_dev in devices


def _largest_file(path: Path) -> Path:
    """The file itself, or the largest one in a Zarr directory, which holds voxels."""
    inside = [inner for inner in path.rglob("*") if inner.is_file()] if path.is_dir() else []
    return max(inside, key=lambda inner: inner.stat().st_size, default=path)


def _write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    probe = partial_path(folder / "storage")
    try:
        probe.write_bytes(b"\0" * 4096)
        sync_path(probe)
    finally:
        probe.unlink(missing_ok=True)
