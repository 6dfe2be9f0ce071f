"""Checksums (CRC-32C) of stored Zarr arrays: behind every chunk, in every shard's index, and one of the metadata.

Those of chunks and indices are Zarr's own codec ``crc32c``, which any Zarr v3 program checks on reading. That of the
metadata (shape, codecs, attributes) is an attribute, the seal. Arrays of version 0.1.0 have neither, but for the
indices'.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from mwr_hpc.errors import DamagedArrayError
from mwr_hpc.io.bounded_json import read_json

METADATA = "zarr.json"
SEAL = "mwr_hpc_crc32c"
"""The attribute with the checksum of all other metadata of an array, or of the `OWN_ATTRIBUTES` of an image."""

OWN_ATTRIBUTES = "mwr_hpc"
"""Under which we write what OME-Zarr has no place for."""

CHECKSUM_BYTES, INDEX_ENTRY_BYTES = 4, 16
ABSENT = 2**64 - 1
"""Offset and size of a chunk that is not there."""

Bytes = NDArray[np.uint8]


def crc32c(content: bytes | NDArray[Any]) -> int:
    """Return the CRC-32C of bytes, or of an array that is contiguous."""
    value: int = google_crc32c.value(content)
    return value


def with_checksum(content: bytes) -> bytes:
    """Return bytes with their checksum behind them, as the codec ``crc32c`` stores a chunk."""
    return content + crc32c(content).to_bytes(CHECKSUM_BYTES, "little")


def is_whole(stored: Bytes) -> bool:
    """Whether bytes with a checksum behind them are those that were written."""
    content, checksum = stored[:-CHECKSUM_BYTES], stored[-CHECKSUM_BYTES:]
    return len(checksum) == CHECKSUM_BYTES and crc32c(content) == int.from_bytes(checksum.tobytes(), "little")


def seal(folder: Path) -> None:
    """Write the checksum of a Zarr array's or group's metadata into its attributes, when they are complete."""
    document = read_json(folder / METADATA)
    document.setdefault("attributes", {})[SEAL] = _checksum(document)
    (folder / METADATA).write_text(json.dumps(document, indent=2))


def sealed_metadata(folder: Path, image: Path | None = None) -> dict[str, Any]:
    """Read the metadata of a Zarr array or group; a seal must fit them, none need be there.

    Parameters
    ----------
    folder
        The array or group.
    image
        What it belongs to and is reported as, where that is not itself.

    Raises
    ------
    DamagedArrayError
        The seal does not fit.
    OSError, ValueError
        There are no metadata, or they are no JSON.
    """
    document: dict[str, Any] = read_json(folder / METADATA)
    written = document.get("attributes", {}).get(SEAL)
    if written is not None and written != _checksum(document):
        raise DamagedArrayError(image or folder, f"its {METADATA} is not as it was written")
    return document


def is_sealed(folder: Path) -> bool:
    """Whether an array or group was written with checksums; it takes no time, as nothing is parsed."""
    return f'"{SEAL}"'.encode() in (folder / METADATA).read_bytes()


def _checksum(document: Mapping[str, Any]) -> int:
    attributes = {name: value for name, value in document["attributes"].items() if name != SEAL}
    # Other programs may add to what an image says of itself; what is in the arrays is ours alone.
    is_image = document.get("node_type") == "group"
    covered = attributes.get(OWN_ATTRIBUTES) if is_image else {**document, "attributes": attributes}
    return crc32c(json.dumps(covered, sort_keys=True).encode())


def damage_below(folder: Path) -> Iterator[str]:
    """Read every byte of a Zarr array or group and of the arrays in it; yield what is damaged and how.

    Chunks without a checksum are passed over.
    """
    for metadata in sorted(folder.rglob(METADATA)):
        array = metadata.parent
        name = metadata.relative_to(folder)
        try:
            document = sealed_metadata(array)
            yield from _damaged_shards(folder, array, document)
        except DamagedArrayError:
            yield f"its {name} is not as it was written"
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            yield f"its {name} cannot be read ({type(error).__name__}: {error})"


def _damaged_shards(folder: Path, array: Path, document: Mapping[str, Any]) -> Iterator[str]:
    if document["node_type"] != "array":
        return
    (sharding,) = document["codecs"]
    layout = sharding["configuration"]
    checked = layout["codecs"][-1]["name"] == "crc32c"
    if checked and SEAL not in document.get("attributes", {}):
        yield f"the {METADATA} of {array.name} has lost its checksum"
    shard_shape = document["chunk_grid"]["configuration"]["chunk_shape"]
    chunks = math.prod(size // edge for size, edge in zip(shard_shape, layout["chunk_shape"], strict=True))
    for path in sorted(path for path in (array / "c").rglob("*") if path.is_file()):
        shard = np.fromfile(path, np.uint8)
        name = path.relative_to(folder)
        index = shard_index(shard[-index_size(chunks) :], chunks)
        if index is None:
            yield f"the index of the shard {name} is not as it was written"
            continue
        for number, (offset, size) in enumerate(index.tolist()):
            if checked and offset != ABSENT and not is_whole(shard[offset : offset + size]):
                yield f"chunk {number} of the shard {name} is not as it was written"


def index_size(chunks: int) -> int:
    """Return the bytes of the index of a shard of so many chunks."""
    return INDEX_ENTRY_BYTES * chunks + CHECKSUM_BYTES


def shard_index(stored: Bytes, chunks: int) -> NDArray[np.uint64] | None:
    """Return offset and size of a shard's chunks, (chunks, 2), from the bytes at its end; None if they are damaged."""
    if len(stored) != index_size(chunks) or not is_whole(stored):
        return None
    return stored[:-CHECKSUM_BYTES].view("<u8").reshape(chunks, 2)
