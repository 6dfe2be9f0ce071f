"""Shards of compressed chunks, as `sharding_indexed` of Zarr v3 describes them, encoded and written in the background.

zarr-python spends on its way to each chunk as long as the codec spends on it. So shards are put together here, with the
same codec; any Zarr v3 program reads them. https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/
"""

import io
import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numcodecs.blosc import Blosc
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec  # this import also makes Blosc safe in several threads

from mwr_hpc.io.atomic import sync_path
from mwr_hpc.io.checksums import ABSENT, index_size, with_checksum
from mwr_hpc.io.mrc_header import Shape

Array = NDArray[Any]

CHUNK = 64
# 256^3 voxels, but flat: a layer of shards of a 1024 x 1024 tomogram is read in one go in a quarter of the memory.
LARGEST_SHARD = (64, 512, 512)

COMPRESSORS = (BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"), Crc32cCodec())
"""What the metadata say; `encoded` is the same."""

_BLOSC = Blosc("zstd", 3, Blosc.BITSHUFFLE)
PARTS_AHEAD = 8
"""Encoded chunks that may wait to be written: a megabyte each at most."""


class Grid(NamedTuple):
    """Shapes of a volume's chunks and shards."""

    chunk: Shape
    shard: Shape

    def shards(self, shape: Shape) -> int:
        """Count the shards of a volume."""
        return math.prod(math.ceil(size / edge) for size, edge in zip(shape, self.shard, strict=True))

    @property
    def index_size(self) -> int:
        """Bytes of each shard's index."""
        chunks = math.prod(s // c for s, c in zip(self.shard, self.chunk, strict=True))
        return index_size(chunks)


def grid_of(shape: Shape) -> Grid:
    """Return chunk and shard of a volume: shards of equal size, so that the last one of an axis is not all padding."""
    chunk, shard = [], []
    for size, largest in zip(shape, LARGEST_SHARD, strict=True):
        edge = min(CHUNK, size)
        chunk.append(edge)
        shard.append(math.ceil(math.ceil(size / math.ceil(size / largest)) / edge) * edge)
    return Grid((chunk[0], chunk[1], chunk[2]), (shard[0], shard[1], shard[2]))


def encoded(chunk: Array) -> bytes:
    """Compress a chunk in C order, and put the checksum of the result behind it."""
    return with_checksum(bytes(_BLOSC.encode(chunk)))


def encode_shard(block: Array, grid: Grid, dtype: np.dtype[Any]) -> Iterator[bytes]:
    """Yield the parts of a shard's file: its chunks in C order, then the index.

    Parameters
    ----------
    block
        The voxels of the shard, fewer where it reaches beyond the volume: chunks are filled up there with zeros, and
        those altogether beyond are absent.
    grid
        Shapes of chunks and shards.
    dtype
        Of the array; blocks are cast to it.
    """
    counts = [s // c for s, c in zip(grid.shard, grid.chunk, strict=True)]
    index = np.full((math.prod(counts), 2), ABSENT, "<u8")
    offset = 0
    for entry, place in zip(index, itertools.product(*map(range, counts)), strict=True):
        piece = block[tuple(slice(i * edge, (i + 1) * edge) for i, edge in zip(place, grid.chunk, strict=True))]
        if not piece.size:
            continue
        if piece.shape == grid.chunk:
            chunk = np.ascontiguousarray(piece, dtype)
        else:
            chunk = np.zeros(grid.chunk, dtype)
            chunk[tuple(map(slice, piece.shape))] = piece
        part = encoded(chunk)
        entry[:] = offset, len(part)
        offset += len(part)
        yield part
    yield index_bytes(index)


def index_bytes(index: NDArray[np.uint64]) -> bytes:
    """Return the index at the end of a shard: offset and size of each chunk, (n, 2) little-endian, and a checksum."""
    return with_checksum(index.tobytes())


class ShardWriter:
    """Writes the shards of one array or several: one thread encodes, one writes, and one waits for the disk.

    A context manager. When its block ends all is on the disk, or what went wrong is raised and nobody writes any more.
    """

    def __init__(self) -> None:
        self._encoder = ThreadPoolExecutor(1, "encode shards")
        self._pages = ThreadPoolExecutor(1, "write shards")
        self._disk = ThreadPoolExecutor(1, "synchronise shards")
        self._encodings: list[Future[None]] = []
        self._writing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                for encoding in self._encodings:
                    encoding.result()
                self._synchronised()
        finally:
            self._encoder.shutdown(cancel_futures=True)
            self._pages.shutdown()
            self._disk.shutdown(cancel_futures=True)

    def put(self, shards: Iterable[tuple[Path, Array]], grid: Grid, dtype: np.dtype[Any]) -> "Future[None]":
        """Write shards, given by file and voxels, in the background.

        Returns
        -------
        Future
            Done when they are encoded, and the voxels are no longer needed; raises what went wrong until then.
        """
        encoding = self._encoder.submit(self._encode, list(shards), grid, dtype)
        self._encodings.append(encoding)
        return encoding

    def _encode(self, shards: list[tuple[Path, Array]], grid: Grid, dtype: np.dtype[Any]) -> None:
        for path, block in shards:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write(path, encode_shard(block, grid, dtype))
            # The disk works on while the next shard is encoded, and does not fall behind by more than that.
            self._synchronised()
            self._writing = self._disk.submit(sync_path, path)

    def _write(self, path: Path, parts: Iterator[bytes]) -> None:
        """Write a file's parts in order, while the next ones are encoded."""
        with path.open("wb", buffering=0) as stream:
            writes: deque[Future[None]] = deque()
            try:
                for part in parts:
                    if len(writes) == PARTS_AHEAD:
                        writes.popleft().result()
                    writes.append(self._pages.submit(write_all, stream, part))
            finally:
                wait(writes)  # nobody writes to a file that is closed
            for write in writes:
                write.result()

    def _synchronised(self) -> None:
        if self._writing is not None:
            self._writing.result()


def write_all(stream: io.RawIOBase, part: bytes | memoryview) -> None:
    """Write all of `part`, of which a nearly full disk may take only a part at first."""
    view = memoryview(part).cast("B")
    while len(view):
        view = view[stream.write(view) or 0 :]
