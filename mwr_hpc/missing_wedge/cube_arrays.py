"""Zarr arrays of cubes that are read one at a time, many times: uncompressed, one cube a chunk, many a shard.

Any Zarr v3 program reads them. `CubeReader` reads a cube with one read at a known place in the shard, which takes a
thirtieth of the time that zarr-python spends on its way there. Behind each cube lies its checksum, but in arrays of
version 0.1.0.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray
from zarr.codecs import Crc32cCodec

from mwr_hpc.errors import DamagedArrayError, InputError
from mwr_hpc.io.checksums import (
    ABSENT,
    CHECKSUM_BYTES,
    crc32c,
    index_size,
    is_whole,
    seal,
    sealed_metadata,
    shard_index,
)
from mwr_hpc.io.shards import index_bytes, write_all
from mwr_hpc.io.zarr_bounds import require_bounded

SHARD_BYTES = 2**26
"""Most that a shard may hold: the writer keeps one in memory."""

FLOAT16_SAFE = 30_000.0
"""Half of what float16 holds: higher defects (in standard deviations) are cut off, so that filtering stays finite."""

_BYTES, _CHECKSUM = {"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}
_LAYOUT = {
    "index_codecs": [_BYTES, _CHECKSUM],
    "index_location": "end",
}

_ALL_FLOAT16 = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)


def as_float32(cube: NDArray[np.float16]) -> NDArray[np.float32]:
    """Widen to float32 in C order by looking every value up, up to four times as fast as NumPy's own conversion."""
    return _ALL_FLOAT16.take(cube.view(np.uint16), mode="clip")


def items_per_shard(shape: tuple[int, ...]) -> int:
    """Return how many items of an array (n, ..., C, C, C) a shard holds."""
    return max(1, min(shape[0], SHARD_BYTES // (2 * math.prod(shape[1:]))))


def create_cubes(store: Any, shape: tuple[int, ...]) -> Any:
    """Create the array (n, ..., C, C, C) and write its metadata."""
    return zarr.create_array(
        store,
        shape=shape,
        dtype=np.float16,
        chunks=(*(1 for _ in shape[:-3]), *shape[-3:]),
        shards=(items_per_shard(shape), *shape[1:]),
        compressors=Crc32cCodec(),
        filters=None,
    )


class CubeWriter:
    """Writes an array of cubes item by item, a whole shard at a time, from one process.

    Parameters
    ----------
    path
        The array's folder, made here.
    shape
        (n, ..., C, C, C); each of the n items is one cube or a few.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._per_shard = items_per_shard(shape)
        self._path = path
        self._array = create_cubes(path, shape)
        stored = np.dtype([("cube", "<f2", shape[-3:]), ("checksum", "<u4")])
        self._buffer = np.empty((self._per_shard, *shape[1:-3]), stored)
        self._written = 0
        self._waiting = 0

    def next_item(self) -> NDArray[np.float16]:
        """Return the place of the next item, to be filled before the next call or `close`."""
        if self._waiting == self._per_shard:
            self._flush()
        self._waiting += 1
        return np.asarray(self._buffer["cube"][self._waiting - 1])

    def append(self, item: NDArray[Any]) -> None:
        """Write the next item, (..., C, C, C) of any floating type."""
        self.next_item()[...] = item

    def close(self, **tables: NDArray[Any]) -> None:
        """Write what waits, and `tables`, small arrays that belong to it; raise ValueError when items are missing.

        The tables become attributes: arrays of their own would double the number of files.
        """
        self._flush()
        if self._written != self._array.shape[0]:
            raise ValueError(f"{self._written} items were written to {self._path}, not {self._array.shape[0]}")
        self._array.attrs.update({name: table.tolist() for name, table in tables.items()})
        seal(self._path)

    def _flush(self) -> None:
        """Write a shard: its chunks, cubes with their checksums, lie in the buffer as they shall lie in the file."""
        shape = self._array.shape
        chunks = self._buffer[: self._waiting].reshape(-1)
        chunks["checksum"] = [crc32c(cube) for cube in chunks["cube"]]
        index = np.full((self._buffer.size, 2), ABSENT, "<u8")
        index[: chunks.size, 0] = np.arange(chunks.size) * chunks.itemsize
        index[: chunks.size, 1] = chunks.itemsize
        path = self._path.joinpath("c", str(self._written // self._per_shard), *("0" for _ in shape[1:]))
        path.parent.mkdir(parents=True)
        with path.open("wb", buffering=0) as stream:
            write_all(stream, chunks.view(np.uint8).data)
            write_all(stream, index_bytes(index))
        self._written += self._waiting
        self._waiting = 0


class CubeReader:
    """Reads single cubes of an array that `CubeWriter` wrote; reading is thread-safe.

    Parameters
    ----------
    path
        The array's folder.

    Raises
    ------
    InputError
        The array has another layout.
    DamagedArrayError
        It is not there, or its metadata are not as they were written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            description = sealed_metadata(path)
            require_bounded(path, description)
            (codec,) = description["codecs"]
            layout = codec["configuration"]
            shard = description["chunk_grid"]["configuration"]["chunk_shape"]
            self.shape: tuple[int, ...] = tuple(description["shape"])
            self._tables: dict[str, Any] = description.get("attributes", {})
            self._has_checksums = layout["codecs"] == [_BYTES, _CHECKSUM]
            fits = description["data_type"] == "float16" and all(layout[key] == _LAYOUT[key] for key in _LAYOUT)
            fits = fits and (self._has_checksums or layout["codecs"] == [_BYTES])
        except (FileNotFoundError, KeyError, IndexError, ValueError, TypeError) as error:
            raise DamagedArrayError(path, f"not a readable array of cubes: {error}") from error
        if not fits:
            raise InputError(f"{path}: not in the layout that mwr-hpc writes (uncompressed float16); remove it")
        self._items_per_shard: int = shard[0]
        self._cubes_per_item = self.shape[1:-3]
        self._indices: dict[Path, NDArray[np.uint64]] = {}

    def __len__(self) -> int:
        """Return the number of items."""
        return self.shape[0]

    def table(self, name: str, dtype: DTypeLike) -> NDArray[Any]:
        """Return one of the tables that were written with the cubes."""
        if name not in self._tables:
            raise DamagedArrayError(self._path, f"{name} is missing")
        return np.array(self._tables[name], dtype)

    def read(self, item: int, *cube: int) -> NDArray[np.float16]:
        """Read one cube, (C, C, C): item `item`, and which cube of it when an item is several.

        Raises
        ------
        DamagedArrayError
            The cube is missing, or its checksum does not fit.
        """
        shard, within = divmod(item, self._items_per_shard)
        path = self._path.joinpath("c", str(shard), *("0" for _ in self.shape[1:]))
        place = np.ravel_multi_index((within, *cube), (self._items_per_shard, *self._cubes_per_item))
        offset, size = self._index(path)[place]
        cube_bytes = 2 * math.prod(self.shape[-3:])
        expected = cube_bytes + (CHECKSUM_BYTES if self._has_checksums else 0)
        stored = np.fromfile(path, np.uint8, expected, offset=int(offset)) if size == expected else np.empty(0, "u1")
        if len(stored) < expected:
            raise DamagedArrayError(self._path, f"cube {(item, *cube)} is missing")
        if self._has_checksums and not is_whole(stored):
            raise DamagedArrayError(self._path, f"the checksum of cube {(item, *cube)} does not fit")
        return stored[:cube_bytes].view("<f2").reshape(self.shape[-3:])

    def _index(self, path: Path) -> NDArray[np.uint64]:
        """Offset and size in bytes of every chunk of a shard; it is read once, as a published shard never changes."""
        if path not in self._indices:
            chunks = self._items_per_shard * math.prod(self._cubes_per_item)
            try:
                with path.open("rb") as file:
                    file.seek(max(0, file.seek(0, 2) - index_size(chunks)))
                    index = shard_index(np.frombuffer(file.read(), np.uint8), chunks)
            except FileNotFoundError as error:
                raise DamagedArrayError(self._path, f"the shard {path.name} is missing") from error
            if index is None:
                raise DamagedArrayError(self._path, f"the index of the shard {path.name} is not as it was written")
            self._indices[path] = index
        return self._indices[path]
