"""OME-Zarr 0.5 volumes: a sharded Zarr v3 array in the input's own dtype, with a two-fold pyramid for viewers.

https://ngff.openmicroscopy.org/0.5/. Shards are written whole and by one writer: a shard written in parts, or by two
writers, would silently lose voxels.
"""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray
from zarr.codecs import BloscCodec

from mwr_hpc.errors import InputError
from mwr_hpc.io.atomic import disk_full_reported, target_of
from mwr_hpc.io.finite import require_finite
from mwr_hpc.io.mrc_header import MrcHeader, Shape, Triple, as_triple

Array = NDArray[Any]

CHUNK = 64
# 256^3 voxels, but flat: a layer of shards of a 1024 x 1024 tomogram is read in one go in a quarter of the memory.
LARGEST_SHARD = (64, 512, 512)
LARGEST_TOP_LEVEL = 256
ANGSTROMS = {None: 1.0, "angstrom": 1.0, "nanometer": 10.0, "micrometer": 1e4}
OWN_ATTRIBUTES = "mwr_hpc"

# Zarr would start a thread per core in every worker process. ZARR_THREADING__MAX_WORKERS says otherwise.
if zarr.config.get("threading.max_workers") is None:
    zarr.config.set({"threading.max_workers": 1})


@dataclass(frozen=True)
class OmeZarrVolume:
    """An OME-Zarr directory, open for reading.

    Attributes
    ----------
    path
        The directory.
    data
        The full-resolution Zarr array (z, y, x); slicing it reads.
    voxel_size, origin
        (z, y, x) in angstrom; the voxel size is 0 where it is not known.
    attributes
        What the writer was given.
    """

    path: Path
    data: Any
    voxel_size: Triple
    origin: Triple
    attributes: Mapping[str, Any]

    @property
    def shape(self) -> Shape:
        """Voxels along (z, y, x)."""
        nz, ny, nx = self.data.shape
        return nz, ny, nx

    @property
    def mrc_header(self) -> MrcHeader | None:
        """The header of the MRC file that this was converted from."""
        encoded = self.attributes.get("mrc_header")
        if encoded is None:
            return None
        return MrcHeader.from_bytes(base64.b64decode(encoded), self.attributes["mrc_byte_order"])


def open_ome_zarr(path: Path) -> OmeZarrVolume:
    """Open the full resolution of an OME-Zarr 0.5 directory for reading.

    Raises
    ------
    InputError
        It is not such a directory, or its axes are not z, y, x in a unit of length.
    """
    try:
        document = json.loads((path / "zarr.json").read_bytes())
        attributes = document["attributes"]
        image = attributes["ome"]["multiscales"][0]
        axes = [(axis["name"], ANGSTROMS[axis.get("unit")]) for axis in image["axes"]]
        level = image["datasets"][0]
        transformations = {one["type"]: one[one["type"]] for one in level["coordinateTransformations"]}
        scale, translation = transformations["scale"], transformations.get("translation", (0.0, 0.0, 0.0))
        data = zarr.open_array(path / level["path"], mode="r")
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise InputError(
            f"{path}: not an OME-Zarr 0.5 image ({type(error).__name__}: {error}); convert the tomogram again"
        ) from error
    if [name for name, _ in axes] != ["z", "y", "x"] or data.ndim != 3:
        raise InputError(f"{path}: axes {[name for name, _ in axes]}, expected z, y, x; give a single volume")
    units = [unit for _, unit in axes]
    known = "unit" in image["axes"][0]
    return OmeZarrVolume(
        path,
        data,
        as_triple([size * unit if known else 0.0 for size, unit in zip(scale, units, strict=True)]),
        as_triple([at * unit for at, unit in zip(translation, units, strict=True)]),
        attributes.get(OWN_ATTRIBUTES, {}),
    )


class OmeZarrWriter:
    """Writes an OME-Zarr directory from slabs in order of z, with its pyramid, in the memory of a few shard layers.

    A context manager. The directory becomes a valid image when the block ends without an exception.

    Parameters
    ----------
    path
        The directory to create.
    shape
        (z, y, x).
    dtype
        Of the voxels; every level has it.
    voxel_size, origin
        (z, y, x) in angstrom; the voxel size is 0 where it is not known.

    Attributes
    ----------
    attributes
        JSON-able values kept under "mwr_hpc" in the image's metadata; read when the block ends.

    Raises
    ------
    InputError
        A value is not finite in `dtype`.
    DiskFullError
        No space is left.
    """

    def __init__(
        self,
        path: Path,
        shape: Sequence[int],
        dtype: DTypeLike,
        voxel_size: Sequence[float],
        origin: Sequence[float] = (0.0, 0.0, 0.0),
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self._path = path
        self._voxel_size = as_triple(voxel_size)
        self._origin = as_triple(origin)
        self.attributes = dict(attributes or {})
        nz, ny, nx = (int(size) for size in shape)
        shapes: list[Shape] = [(nz, ny, nx)]
        while max(shapes[-1]) > LARGEST_TOP_LEVEL:
            nz, ny, nx = ((size + 1) // 2 for size in shapes[-1])
            shapes.append((nz, ny, nx))
        self._levels: list[_Level] = []
        with disk_full_reported(path):
            for number, level_shape in reversed(list(enumerate(shapes))):
                coarser = self._levels[0] if self._levels else None
                self._levels.insert(0, _Level(path / str(number), level_shape, np.dtype(dtype), coarser))

    @property
    def layers(self) -> list[tuple[int, int]]:
        """(first, last + 1) section of each layer of shards: slabs of these sizes are written without a copy."""
        depth, step = self._levels[0].shape[0], self._levels[0].shard[0]
        return [(z, min(z + step, depth)) for z in range(0, depth, step)]

    def write(self, first: int, slab: Array) -> None:
        """Write the next sections; `first` is the index of the first of them, `slab` has shape (n, y, x)."""
        finest = self._levels[0]
        if first != finest.received or slab.shape[1:] != finest.shape[1:] or first + len(slab) > finest.shape[0]:
            raise ValueError(f"a slab of {slab.shape} at section {first} does not follow {finest.received} sections")
        for z, section in enumerate(slab, first):
            require_finite(self._path, z, section, finest.dtype)
        with disk_full_reported(self._path):
            finest.append(slab)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            return
        finest = self._levels[0]
        if finest.received != finest.shape[0]:
            raise RuntimeError(f"{target_of(self._path)}: {finest.received} of {finest.shape[0]} sections were written")
        with disk_full_reported(self._path):
            zarr.create_group(
                self._path, attributes={"ome": self._metadata(), OWN_ATTRIBUTES: self.attributes}, zarr_format=3
            )

    def _metadata(self) -> dict[str, Any]:
        known = min(self._voxel_size) > 0
        unit = {"unit": "angstrom"} if known else {}
        voxel = self._voxel_size if known else (1.0, 1.0, 1.0)
        return {
            "version": "0.5",
            "multiscales": [
                {
                    "name": "tomogram",
                    "type": "mean",
                    "axes": [{"name": name, "type": "space"} | unit for name in "zyx"],
                    "datasets": [self._dataset(number, voxel) for number in range(len(self._levels))],
                }
            ],
        }

    def _dataset(self, number: int, voxel: Triple) -> dict[str, Any]:
        factor = 2**number
        # A coarse voxel's centre is the middle of the fine voxels that it is the mean of.
        origin = [at + (factor - 1) / 2 * size for at, size in zip(self._origin, voxel, strict=True)]
        return {
            "path": str(number),
            "coordinateTransformations": [
                {"type": "scale", "scale": [size * factor for size in voxel]},
                {"type": "translation", "translation": origin},
            ],
        }


class _Level:
    """One level of the pyramid: gathers slabs into layers of shards, writes those and hands their means on."""

    def __init__(self, path: Path, shape: Shape, dtype: np.dtype[Any], coarser: "_Level | None") -> None:
        self.shape = shape
        chunk, self.shard = _grid(shape)
        self.received = 0
        self.dtype = dtype.newbyteorder("=")
        self._coarser = coarser
        self._waiting: list[Array] = []
        self._array = zarr.create_array(
            path,
            shape=shape,
            dtype=self.dtype,
            chunks=chunk,
            shards=self.shard,
            compressors=BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"),
            dimension_names=("z", "y", "x"),
            # Looking for chunks of zeros costs more than writing the few that there are.
            config={"write_empty_chunks": True},
        )

    def append(self, slab: Array) -> None:
        """Take the next sections, and write every layer of shards that is complete with them."""
        while len(slab):
            layer_start = self.received // self.shard[0] * self.shard[0]
            layer_stop = min(layer_start + self.shard[0], self.shape[0])
            part = slab[: layer_stop - self.received]
            slab = slab[len(part) :]
            self.received += len(part)
            complete = self.received == layer_stop
            # What has to wait is copied: the caller may use its buffer again.
            self._waiting.append(part if complete else part.astype(self.dtype))
            if complete:
                layer = part if len(self._waiting) == 1 else np.concatenate(self._waiting)
                self._waiting.clear()
                self._write(layer_start, layer)

    def _write(self, start: int, layer: Array) -> None:
        stop = start + len(layer)
        _, height, width = self.shard
        for y in range(0, self.shape[1], height):
            for x in range(0, self.shape[2], width):
                block = layer[:, y : y + height, x : x + width].astype(self.dtype, copy=False)
                self._array[start:stop, y : y + height, x : x + width] = block
        if self._coarser is not None:
            self._coarser.append(_halved(layer, self.dtype))


def _grid(shape: Shape) -> tuple[Shape, Shape]:
    """Return chunk and shard of a volume: shards of equal size, so that the last one of an axis is not all padding."""
    chunk, shard = [], []
    for size, largest in zip(shape, LARGEST_SHARD, strict=True):
        edge = min(CHUNK, size)
        chunk.append(edge)
        shard.append(math.ceil(math.ceil(size / math.ceil(size / largest)) / edge) * edge)
    return (chunk[0], chunk[1], chunk[2]), (shard[0], shard[1], shard[2])


def _halved(layer: Array, dtype: np.dtype[Any]) -> Array:
    """Return the means of 2 x 2 x 2 voxels; a last odd plane counts twice."""
    depth, height, width = ((size + 1) // 2 for size in layer.shape)
    halved = np.empty((depth, height, width), dtype)
    for z in range(depth):
        lower = layer[2 * z].astype(np.float32)
        section = lower + layer[min(2 * z + 1, len(layer) - 1)]
        if section.shape != (2 * height, 2 * width):
            section = np.pad(section, [(0, size % 2) for size in section.shape], "edge")
        rows = section[0::2] + section[1::2]
        mean = (rows[:, 0::2] + rows[:, 1::2]) * np.float32(0.125)
        halved[z] = np.rint(mean) if dtype.kind in "iu" else mean
    return halved
