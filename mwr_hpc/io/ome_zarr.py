"""OME-Zarr 0.5 volumes: a sharded Zarr v3 array in the input's own dtype, with a two-fold pyramid for viewers.

https://ngff.openmicroscopy.org/0.5/. Shards are written whole and by one writer: a shard written in parts, or by two
writers, would silently lose voxels.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray

from mwr_hpc.errors import DamagedArrayError, InputError
from mwr_hpc.io.atomic import disk_full_reported, target_of
from mwr_hpc.io.checksums import OWN_ATTRIBUTES, seal, sealed_metadata
from mwr_hpc.io.finite import require_finite
from mwr_hpc.io.mrc_header import MrcHeader, Shape, Triple, as_triple
from mwr_hpc.io.pyramid import Level, level_shapes
from mwr_hpc.io.shards import ShardWriter
from mwr_hpc.io.zarr_bounds import require_bounded

Array = NDArray[Any]

ANGSTROMS = {None: 1.0, "angstrom": 1.0, "nanometer": 10.0, "micrometer": 1e4}

# Zarr would start a thread per core in every worker process. ZARR_THREADING__MAX_WORKERS says otherwise.
if zarr.config.get("threading.max_workers") is None:
    zarr.config.set({"threading.max_workers": 1})


class StoredArray:
    """A Zarr array of an image, open for reading: what does not fit its checksums is reported as damage of the image.

    Parameters
    ----------
    image
        The directory of the image.
    array
        The Zarr array.

    Attributes
    ----------
    shape, dtype, ndim
        Of the array.
    """

    def __init__(self, image: Path, array: Any) -> None:
        self._image, self._array = image, array
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype[Any] = array.dtype
        self.ndim = array.ndim

    def __getitem__(self, key: Any) -> Array:
        """Read.

        Raises
        ------
        DamagedArrayError
            A chunk or an index of a shard cannot be decoded, or does not fit its checksum.
        """
        try:
            return np.asarray(self._array[key])
        except (ValueError, RuntimeError) as error:
            raise DamagedArrayError(self._image, f"damaged voxels ({type(error).__name__}: {error})") from error

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        """Read all of it."""
        return np.asarray(self[...], dtype)


@dataclass(frozen=True)
class OmeZarrVolume:
    """An OME-Zarr directory, open for reading.

    Attributes
    ----------
    path
        The directory.
    data
        The full-resolution array (z, y, x); slicing it reads.
    voxel_size, origin
        (z, y, x) in angstrom; the voxel size is 0 where it is not known.
    attributes
        What the writer was given.
    """

    path: Path
    data: StoredArray
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
    DamagedArrayError
        It is not such a directory, or its metadata are not as they were written.
    InputError
        Its axes are not z, y, x in a unit of length.
    """
    try:
        document = sealed_metadata(path)
        attributes = document["attributes"]
        image = attributes["ome"]["multiscales"][0]
        axes = [(axis["name"], ANGSTROMS[axis.get("unit")]) for axis in image["axes"]]
        level = image["datasets"][0]
        transformations = {one["type"]: one[one["type"]] for one in level["coordinateTransformations"]}
        scale, translation = transformations["scale"], transformations.get("translation", (0.0, 0.0, 0.0))
        require_bounded(path / level["path"], sealed_metadata(path / level["path"], path))
        data = StoredArray(path, zarr.open_array(path / level["path"], mode="r"))
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise DamagedArrayError(
            path, f"not an OME-Zarr 0.5 image ({type(error).__name__}: {error})", "convert the tomogram again"
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
        self._levels: list[Level] = []
        self._shards = ShardWriter()
        with disk_full_reported(path):
            for number, level_shape in reversed(list(enumerate(level_shapes((nz, ny, nx))))):
                coarser = self._levels[0] if self._levels else None
                level = Level(path / str(number), level_shape, np.dtype(dtype), coarser, self._shards)
                self._levels.insert(0, level)

    @property
    def layers(self) -> list[tuple[int, int]]:
        """(first, last + 1) section of each layer of shards: slabs of these sizes are written without a copy."""
        depth, step = self._levels[0].shape[0], self._levels[0].grid.shard[0]
        return [(z, min(z + step, depth)) for z in range(0, depth, step)]

    def write(self, first: int, slab: Array) -> None:
        """Write the next sections, in the background: `slab` must not change afterwards.

        Parameters
        ----------
        first
            Index of the first of them.
        slab
            (n, y, x).
        """
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
        with disk_full_reported(self._path):
            self._shards.__exit__(kind, error, trace)
        if error is not None:
            return
        finest = self._levels[0]
        if finest.received != finest.shape[0]:
            raise RuntimeError(f"{target_of(self._path)}: {finest.received} of {finest.shape[0]} sections were written")
        with disk_full_reported(self._path):
            zarr.create_group(
                self._path, attributes={"ome": self._metadata(), OWN_ATTRIBUTES: self.attributes}, zarr_format=3
            )
            for array in (self._path, *(level.path for level in self._levels)):
                seal(array)

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
