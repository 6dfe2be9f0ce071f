"""MRC volumes: read as they are asked for, written section by section with the same bytes for the same voxels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mwr_hpc.errors import InputError
from mwr_hpc.io.atomic import disk_full_reported, target_of
from mwr_hpc.io.finite import require_finite
from mwr_hpc.io.mrc_fields import MODES, Signedness
from mwr_hpc.io.mrc_header import MrcHeader, Shape, Triple, as_triple, new_header, read_header

Array = NDArray[Any]

LARGEST_SECTION = 2**31
"""Bytes that are read at once."""


@dataclass(frozen=True)
class MrcVolume:
    """An MRC file, open for reading.

    Attributes
    ----------
    path
        The file.
    header
        Its header, checked.
    """

    path: Path
    header: MrcHeader

    @property
    def shape(self) -> Shape:
        """Voxels along (z, y, x)."""
        return self.header.shape

    @property
    def voxel_size(self) -> Triple:
        """Voxel size (z, y, x) in angstrom; 0 where the file does not say."""
        return self.header.voxel_size

    @property
    def origin(self) -> Triple:
        """Origin (z, y, x) in angstrom."""
        return self.header.origin

    @property
    def mrc_header(self) -> MrcHeader:
        """The header, under the name that all kinds of volumes have for it."""
        return self.header

    @cached_property
    def data(self) -> Array:
        """The voxels (z, y, x) as a read-only memory map in the file's own dtype and byte order."""
        return np.memmap(self.path, self.header.dtype, "r", self._first_voxel, self.shape)

    def slab(self, start: int, stop: int) -> Array:
        """Read the sections `start` to `stop`.

        They are not mapped: where the storage fails, a map ends the process by a signal.

        Raises
        ------
        InputError
            The file has become shorter since its header was read.
        """
        nz, ny, nx = self.shape
        if not 0 <= start < stop <= nz:
            raise IndexError(f"sections {start} to {stop} of {nz}")
        return self._read(start * ny * nx, (stop - start, ny, nx))

    def rows(self, section: int, start: int, stop: int) -> Array:
        """Read the rows `start` to `stop` of a section, as `slab` reads sections, of which a large one is much."""
        nz, ny, nx = self.shape
        if not (0 <= section < nz and 0 <= start < stop <= ny):
            raise IndexError(f"rows {start} to {stop} of section {section} of {self.shape}")
        return self._read((section * ny + start) * nx, (stop - start, nx))

    def _read(self, first: int, shape: tuple[int, ...]) -> Array:
        """Read voxels that follow one another, from number `first` on."""
        dtype = self.header.dtype
        values = np.empty(shape, dtype)
        waiting = values.reshape(-1).view(np.uint8).data
        with self.path.open("rb", buffering=0) as stream:
            stream.seek(self._first_voxel + first * dtype.itemsize)
            while waiting:
                count = stream.readinto(waiting)
                if not count:
                    raise InputError(f"{self.path}: became shorter while it was read; copy or export it again")
                waiting = waiting[count:]
        return values

    def around(self) -> tuple[bytes, bytes]:
        """Read what lies before and behind the voxels, as it is in the file whatever had to be assumed to read it."""
        with self.path.open("rb") as stream:
            before = stream.read(self._first_voxel)
            stream.seek(self._first_voxel + math.prod(self.shape) * self.header.dtype.itemsize)
            return before, stream.read()

    @property
    def _first_voxel(self) -> int:
        return len(self.header.to_bytes())


def open_mrc(path: Path, signedness: Signedness | None = None) -> MrcVolume:
    """Open an MRC file (image or volume) for reading; bytes are read as `signedness` says, or as the file tells.

    Raises
    ------
    InputError
        The file cannot be read as MRC; see `read_header`.
    """
    header = read_header(path, signedness)
    section = math.prod(header.shape[1:]) * header.dtype.itemsize
    if section > LARGEST_SECTION:
        raise InputError(
            f"{path}: {header.shape} voxels (z, y, x) are {section} bytes in each section, expected at most "
            f"{LARGEST_SECTION}; crop or bin it"
        )
    return MrcVolume(path, header)


class MrcWriter:
    """Writes an MRC file section by section, in any order, in the memory of the slab that is written.

    A context manager. The file is no valid result before the block has ended without an exception, so `path` should be
    a partial path. The same voxels give the same bytes, however they were cut into slabs: there is no time stamp.

    Parameters
    ----------
    path
        The file to create.
    shape
        (z, y, x).
    dtype
        int8, int16, uint16, float32 or float16.
    like
        The input's header: voxel size, origin, extended header, labels and byte order are taken from it.
    voxel_size, origin
        In angstrom, one number or (z, y, x); used without `like`.
    label
        Added to the labels; at most 80 ASCII characters.

    Raises
    ------
    InputError
        A value does not fit `dtype`.
    DiskFullError
        No space is left.
    """

    def __init__(
        self,
        path: Path,
        shape: Sequence[int],
        dtype: DTypeLike,
        like: MrcHeader | None = None,
        *,
        voxel_size: float | Sequence[float] = 1.0,
        origin: float | Sequence[float] = 0.0,
        label: str = "mwr_hpc",
    ) -> None:
        nz, ny, nx = (int(size) for size in shape)
        native = np.dtype(dtype)
        if native.str[1:] not in MODES:
            raise ValueError(f"MRC files hold no {native}; choose one of {', '.join(MODES)}")
        if like is not None and like.shape != (nz, ny, nx):
            raise ValueError(f"a volume of {(nz, ny, nx)} voxels cannot have the header of one of {like.shape}")
        base = like or new_header((nz, ny, nx), as_triple(voxel_size), as_triple(origin))
        self._header = base.derived(native, label)
        self._path = path
        self._shape = (nz, ny, nx)
        # One row per section, so that the statistics do not depend on the slabs: minimum, maximum, mean, variance.
        self._sections = np.full((nz, 4), np.nan)
        with disk_full_reported(path):
            self._stream = path.open("wb")
            self._stream.write(self._header.to_bytes())

    def write(self, first: int, slab: Array) -> None:
        """Write the sections `first`, `first` + 1, ...

        Parameters
        ----------
        first
            Index of the slab's first section.
        slab
            Shape (n, y, x), of a dtype that casts to the file's within its kind (float32 to float16, say).
        """
        if slab.shape[1:] != self._shape[1:] or not 0 <= first <= first + len(slab) <= self._shape[0]:
            raise ValueError(f"a slab of {slab.shape} voxels at section {first} is not part of {self._shape}")
        offset = len(self._header.to_bytes())
        for z, section in enumerate(slab, first):
            require_finite(self._path, z, section, self._header.dtype)
            voxels = np.ascontiguousarray(section.astype(self._header.dtype, casting="same_kind", copy=False))
            values = voxels.astype(np.float64)
            self._sections[z] = values.min(), values.max(), values.mean(), values.var()
            with disk_full_reported(self._path):
                self._stream.seek(offset + z * voxels.nbytes)
                self._stream.write(voxels.view(np.uint8).data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with disk_full_reported(self._path), self._stream:
            if error is None:
                self._finish()

    def _finish(self) -> None:
        low, high, mean, variance = self._sections.T
        if np.isnan(low).any():
            missing = int(np.isnan(low).sum())
            raise RuntimeError(f"{target_of(self._path)}: {missing} of {len(low)} sections were not written")
        whole = float(mean.mean())
        rms = float(np.sqrt(np.mean(variance + (mean - whole) ** 2)))
        header = self._header.with_statistics(float(low.min()), float(high.max()), whole, rms)
        self._stream.seek(0)
        self._stream.write(header.to_bytes())
