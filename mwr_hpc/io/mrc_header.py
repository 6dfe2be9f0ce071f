"""The header of an MRC file: read in either byte order, checked against the file's size, and made for a new file.

`mrc_fields` has the layout, `mrc_size` finds the voxels in the file, and `mrc_bytes` tells signed bytes from unsigned.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc_bytes import decide, stamped_signedness
from mwr_hpc.io.mrc_fields import (
    ANGLES,
    AXES,
    BYTES_MODE,
    CELL,
    DENSITIES,
    DTYPES,
    HEADER_SIZE,
    IDENTIFIER,
    IMOD,
    IMOD_SIGNED_BYTES,
    IMOD_STAMP,
    INTERVALS,
    LABEL_COUNT,
    LABEL_SIZE,
    LABELS_OFFSET,
    LABELS_USED,
    MAP_OFFSET,
    MODE,
    MODES,
    ORIGIN,
    RMS,
    SIZES,
    SPACE_GROUP,
    STAMP_OFFSET,
    STAMPS,
    VERSION,
    VERSIONS,
    ByteOrder,
    Signedness,
    get,
    put,
    sizes_text,
)
from mwr_hpc.io.mrc_size import check_geometry, find_layout

Shape = tuple[int, int, int]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class MrcHeader:
    """A header as its bytes, so that whatever is not understood here is kept.

    Attributes
    ----------
    fixed
        The first 1024 bytes.
    extended
        The extended header, empty when there is none.
    byte_order
        "<" little or ">" big endian.
    signedness
        How bytes are read where that was decided by more than the header's stamp; only for mode 0.
    notes
        What had to be assumed to read the file, in words; `fixed` and `extended` are as they should have been.
    """

    fixed: bytes
    extended: bytes
    byte_order: ByteOrder
    signedness: Signedness | None = field(default=None, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def from_bytes(cls, content: bytes, byte_order: ByteOrder) -> Self:
        """Return the header whose `to_bytes` is `content`."""
        return cls(content[:HEADER_SIZE], content[HEADER_SIZE:], byte_order)

    def to_bytes(self) -> bytes:
        """Return everything that precedes the voxels in the file."""
        return self.fixed + self.extended

    @property
    def shape(self) -> Shape:
        """Voxels along (z, y, x)."""
        nx, ny, nz = self._get(SIZES)
        return nz, ny, nx

    @property
    def mode(self) -> int:
        """The MRC mode: the kind of voxel."""
        return int(self._get(MODE)[0])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The voxels' dtype in the file's byte order."""
        if self.mode == BYTES_MODE and (self.signedness or self.stamped_signedness) == "unsigned":
            return np.dtype("u1")
        return np.dtype(DTYPES[self.mode]).newbyteorder(self.byte_order)

    @property
    def stamped_signedness(self) -> Signedness | None:
        """Signedness of bytes by the IMOD stamp; None without a stamp."""
        return stamped_signedness(self.fixed, self.byte_order)

    @property
    def densities(self) -> tuple[float, float]:
        """Minimum and maximum, as the header has them."""
        low, high, _ = self._get(DENSITIES)
        return low, high

    def told_signedness(self, given: Signedness | None) -> Signedness | None:
        """Return how a unit of work has to be told to read the bytes.

        None where it reads them so by itself and version 0.1.0 did, so that what that version made keeps its key.

        Parameters
        ----------
        given
            What the user says, if anything.
        """
        if self.mode != BYTES_MODE or self.stamped_signedness == (given or self.signedness):
            return None
        return given or ("unsigned" if self.signedness == "unsigned" else None)

    @property
    def voxel_size(self) -> Triple:
        """Voxel size along (z, y, x) in angstrom; 0 where the file does not say."""
        x, y, z = (
            length / (intervals if intervals > 0 else size)
            for length, intervals, size in zip(self._get(CELL), self._get(INTERVALS), self._get(SIZES), strict=True)
        )
        return z, y, x

    @property
    def origin(self) -> Triple:
        """Origin (z, y, x) in angstrom."""
        x, y, z = self._get(ORIGIN)
        return z, y, x

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in use, without their padding."""
        used = min(max(0, self._get(LABELS_USED)[0]), LABEL_COUNT)
        starts = range(LABELS_OFFSET, LABELS_OFFSET + used * LABEL_SIZE, LABEL_SIZE)
        return tuple(self.fixed[at : at + LABEL_SIZE].decode("latin-1").rstrip(" \0") for at in starts)

    def derived(self, dtype: np.dtype[Any], label: str) -> "MrcHeader":
        """Return the header of a result that was made from this file.

        Voxel size, origin, extended header and byte order are kept; the kind of voxel changes and a label is added.

        Parameters
        ----------
        dtype
            Of the result's voxels.
        label
            At most 80 ASCII characters; the last label gives way when all ten are in use.
        """
        fixed = bytearray(self.fixed)
        order = self.byte_order
        put(fixed, order, MODE, MODES[dtype.str[1:]])
        stamp, flags = self._get(IMOD)
        if stamp == IMOD_STAMP:
            put(fixed, order, IMOD, stamp, flags | IMOD_SIGNED_BYTES)
        elif dtype.kind == "i" and dtype.itemsize == 1:  # without a stamp readers have to guess
            put(fixed, order, IMOD, IMOD_STAMP, IMOD_SIGNED_BYTES)
        if min(self._get(INTERVALS)) <= 0:  # `voxel_size` has taken the sizes for them
            put(fixed, order, INTERVALS, *self._get(SIZES))
        if self._get(SPACE_GROUP)[0] < 0:
            put(fixed, order, SPACE_GROUP, 1)
        if self._get(VERSION)[0] not in VERSIONS:
            put(fixed, order, VERSION, VERSIONS[0])
        put(fixed, order, AXES, 1, 2, 3)
        fixed[MAP_OFFSET : MAP_OFFSET + 4] = IDENTIFIER
        fixed[STAMP_OFFSET : STAMP_OFFSET + 4] = STAMPS[order]
        labels = [*self.labels[: LABEL_COUNT - 1], label]
        put(fixed, order, LABELS_USED, len(labels))
        at = LABELS_OFFSET + (len(labels) - 1) * LABEL_SIZE
        fixed[at:] = label.encode("ascii")[:LABEL_SIZE].ljust(LABEL_SIZE).ljust(HEADER_SIZE - at, b"\0")
        return MrcHeader(bytes(fixed), self.extended, order)

    def with_voxel_size(self, voxel_size: Triple) -> "MrcHeader":
        """Return the header with this voxel size, (z, y, x) in angstrom."""
        fixed, sizes = bytearray(self.fixed), self._get(SIZES)
        put(fixed, self.byte_order, INTERVALS, *sizes)
        put(fixed, self.byte_order, CELL, *(n * size for n, size in zip(sizes, voxel_size[::-1], strict=True)))
        return replace(self, fixed=bytes(fixed))

    def with_statistics(self, minimum: float, maximum: float, mean: float, rms: float) -> "MrcHeader":
        """Return the header with these statistics of the voxels."""
        fixed = bytearray(self.fixed)
        put(fixed, self.byte_order, DENSITIES, minimum, maximum, mean)
        put(fixed, self.byte_order, RMS, rms)
        return replace(self, fixed=bytes(fixed))

    def _get(self, field: tuple[int, str]) -> tuple[Any, ...]:
        return get(self.fixed, self.byte_order, field)


def new_header(shape: Shape, voxel_size: Triple, origin: Triple) -> MrcHeader:
    """Return the little-endian header of a float32 volume that comes from no file.

    Parameters
    ----------
    shape, voxel_size, origin
        All (z, y, x); the sizes and the origin in angstrom.
    """
    fixed = bytearray(HEADER_SIZE)
    sizes = shape[::-1]
    put(fixed, "<", SIZES, *sizes)
    put(fixed, "<", MODE, MODES["f4"])
    put(fixed, "<", INTERVALS, *sizes)
    put(fixed, "<", CELL, *(count * size for count, size in zip(sizes, voxel_size[::-1], strict=True)))
    put(fixed, "<", ANGLES, 90.0, 90.0, 90.0)
    put(fixed, "<", AXES, 1, 2, 3)
    put(fixed, "<", SPACE_GROUP, 1)
    put(fixed, "<", VERSION, VERSIONS[0])
    put(fixed, "<", ORIGIN, *origin[::-1])
    fixed[MAP_OFFSET : MAP_OFFSET + 4] = IDENTIFIER
    fixed[STAMP_OFFSET : STAMP_OFFSET + 4] = STAMPS["<"]
    return MrcHeader(bytes(fixed), b"", "<")


def read_header(path: Path, signedness: Signedness | None = None) -> MrcHeader:
    """Read and check the header of an MRC file; nothing of the announced size is allocated.

    Of bytes without an IMOD stamp some voxels are read, to tell whether they are signed.

    Parameters
    ----------
    path
        The file.
    signedness
        How bytes are to be read; None: as stamp, header and voxels tell.

    Raises
    ------
    InputError
        The file is missing, not an MRC file, truncated, its header holds values that cannot be, or it remains open
        whether its bytes are signed.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # reading a pipe would wait for ever
            raise InputError(f"{path}: a pipe or a device, expected a file; write the volume to one")
        with path.open("rb") as stream:
            size, fixed = path.stat().st_size, stream.read(HEADER_SIZE)
            layout = find_layout(path, fixed, size)
            fixed = layout.corrected(fixed)
            header = MrcHeader(fixed, stream.read(layout.extended), layout.byte_order, notes=layout.notes)
            check_geometry(path, fixed, layout.byte_order)
            if header.mode == BYTES_MODE:
                start, count = HEADER_SIZE + layout.extended, math.prod(header.shape)
                known, notes = signedness or header.stamped_signedness, header.notes
                if known is None:
                    known, more = decide(path, stream, fixed, layout.byte_order, start, count)
                    notes += more
                header = replace(header, signedness=known, notes=notes)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    return header


def require_volume(path: Path, header: MrcHeader) -> None:
    """Raise InputError unless the header is that of one three-dimensional volume."""
    if min(header.shape) <= 1:
        raise InputError(
            f"{path}: {sizes_text(header.fixed, header.byte_order)} voxels (x, y, z) are an image, but a volume with "
            "many sections is needed; give the reconstructed tomogram"
        )
    group = header._get(SPACE_GROUP)[0]
    if 401 <= group <= 630:
        raise InputError(f"{path}: space group {group} marks a stack of volumes; save each volume in a file of its own")


def as_triple(value: float | Sequence[float]) -> Triple:
    """Return (z, y, x) of a value that may be one number for all axes."""
    z, y, x = (value,) * 3 if isinstance(value, float | int) else value
    return float(z), float(y), float(x)
