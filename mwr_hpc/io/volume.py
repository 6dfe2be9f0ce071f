"""One read-only view of a volume, whatever the format of its file."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.io.mrc import MrcVolume, open_mrc
from mwr_hpc.io.mrc_fields import Signedness
from mwr_hpc.io.mrc_header import MrcHeader, Shape, Triple, require_volume

MRC_SUFFIXES = (".mrc", ".rec", ".map")
OME_ZARR_SUFFIX = ".ome.zarr"


class Volume(Protocol):
    """A volume, open for reading."""

    @property
    def path(self) -> Path:
        """The file or directory."""

    @property
    def data(self) -> Any:
        """The voxels (z, y, x): an array that reads what is sliced."""

    @property
    def shape(self) -> Shape:
        """Voxels along (z, y, x)."""

    @property
    def voxel_size(self) -> Triple:
        """Voxel size (z, y, x) in angstrom; 0 where the file does not say."""

    @property
    def origin(self) -> Triple:
        """Origin (z, y, x) in angstrom."""

    @property
    def mrc_header(self) -> MrcHeader | None:
        """The header of the MRC file that the volume is or was made from."""


def is_ome_zarr(path: Path) -> bool:
    """Whether the name is that of an OME-Zarr directory."""
    return path.name.endswith(OME_ZARR_SUFFIX)


def mrc_files(folder: Path) -> list[Path]:
    """The MRC files of a folder by name: not those of its subfolders, and no hidden ones."""
    return [path for path in _visible(folder) if path.suffix.lower() in MRC_SUFFIXES and not os.path.isdir(path)]


def volume_files(folder: Path) -> list[Path]:
    """The MRC files and OME-Zarr directories of a folder by name: no hidden ones, none of its subfolders."""
    return sorted([*mrc_files(folder), *(path for path in _visible(folder) if is_ome_zarr(path))])


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def is_volume_name(name: str) -> bool:
    """Whether a text is the name of a file that can be opened as a volume."""
    return name.lower().endswith((*MRC_SUFFIXES, OME_ZARR_SUFFIX))


def open_volume(path: Path, signedness: Signedness | None = None) -> Volume:
    """Open an MRC file or an OME-Zarr directory as a volume; `signedness` is that of an MRC file's bytes, if known.

    Raises
    ------
    InputError
        It cannot be read, or is an image.
    """
    if is_ome_zarr(path):
        # Commands that only read MRC files start without loading Zarr.
        from mwr_hpc.io.ome_zarr import open_ome_zarr

        return open_ome_zarr(path)
    volume = open_mrc(path, signedness)
    require_volume(path, volume.header)
    return volume


def read_sections(volume: Volume, start: int, stop: int) -> NDArray[Any]:
    """Read whole sections."""
    return volume.slab(start, stop) if isinstance(volume, MrcVolume) else np.asarray(volume.data[start:stop])


def read_box(volume: Volume, box: tuple[slice, slice, slice]) -> NDArray[Any]:
    """Read a box (z, y, x) of voxels: of an MRC file its rows alone, for a few whole sections can fill the memory."""
    z, y, x = box
    if isinstance(volume, MrcVolume):
        return np.stack([volume.rows(section, y.start, y.stop)[:, x] for section in range(z.start, z.stop)])
    return np.asarray(volume.data[box])


def section_reader(volume: Volume) -> Callable[[int], NDArray[Any]]:
    """Return what gives the section at an index; of an MRC file no more is in memory than the section."""
    if isinstance(volume, MrcVolume):
        return lambda z: read_sections(volume, z, z + 1)[0]
    return _SectionsOfShards(volume)


class _SectionsOfShards:
    """Sections of an OME-Zarr volume, read a layer of chunks at a time: each read of less would decode them all."""

    LAYER = 64

    def __init__(self, volume: Volume) -> None:
        self._data = volume.data
        self._first = -1
        self._layer: NDArray[Any] = np.empty(0)

    def __call__(self, z: int) -> NDArray[Any]:
        first = z - z % self.LAYER
        if first != self._first:
            self._layer = np.asarray(self._data[first : first + self.LAYER])
            self._first = first
        return np.asarray(self._layer[z - first])
