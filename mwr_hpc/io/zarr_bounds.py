"""Bounds of Zarr arrays: what is not stored is read as zeros, and metadata can announce any size."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

SMALL = 2**26
"""Bytes that may be read of nothing."""

LARGEST_RATIO = 1000
"""How many times more an array may hold than its files; grey values compress to a tenth at best."""

LARGEST_CHUNK = 2**29
"""Bytes of a chunk, which is decoded at once."""

MOST_CHUNKS = 2**20
"""Chunks of a shard, whose index is read at once."""

SMALLEST_CHUNK, FEW_CHUNKS = 512, 10_000
"""Elements that chunks have on average where there are more than a few."""


def require_bounded(folder: Path, document: Mapping[str, Any]) -> None:
    """Check an array before anything of it is read.

    Parameters
    ----------
    folder
        The array.
    document
        Its metadata.

    Raises
    ------
    ValueError
        The array announces what it cannot hold, or chunks that no memory holds.
    KeyError, TypeError, IndexError
        The metadata are no array's.
    """
    shape = document["shape"]
    outer = document["chunk_grid"]["configuration"]["chunk_shape"]
    inner = outer
    if document["codecs"][0]["name"] == "sharding_indexed":
        inner = document["codecs"][0]["configuration"]["chunk_shape"]
    if not all(type(edge) is int and edge > 0 for edge in (*shape, *outer, *inner)):
        raise ValueError(f"its shape is {shape}, in chunks of {outer} and {inner}")
    item = np.dtype(document["data_type"]).itemsize
    chunk, announced = math.prod(inner), math.prod(shape) * item
    if chunk * item > LARGEST_CHUNK:
        raise ValueError(f"its chunks have {chunk * item} bytes each, expected at most {LARGEST_CHUNK}")
    if math.prod(outer) // chunk > MOST_CHUNKS:
        raise ValueError(f"its shards have {math.prod(outer) // chunk} chunks each, expected at most {MOST_CHUNKS}")
    chunks = math.prod(math.ceil(size / edge) for size, edge in zip(shape, inner, strict=True))
    if chunks > FEW_CHUNKS and math.prod(shape) < chunks * SMALLEST_CHUNK:
        raise ValueError(f"it has {chunks} chunks of {chunk} elements; write it anew with larger ones")
    if announced > SMALL and not _hold(folder, announced / LARGEST_RATIO):
        raise ValueError(f"it announces {announced} bytes, of which its files do not hold a thousandth")


def _hold(folder: Path, least: float) -> bool:
    """Whether the files of a folder have so many bytes; no more of them are looked at than that takes."""
    held = 0
    for size in _sizes(folder):
        held += size
        if held >= least:
            return True
    return False


def _sizes(folder: Path) -> Iterator[int]:
    return (path.stat().st_size for path in folder.rglob("*") if path.is_file())
