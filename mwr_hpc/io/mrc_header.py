"""The header of an MRC file: read in either byte order, checked against the file's size, and made for a new file.

The layout is MRC2014 (Cheng et al., J. Struct. Biol. 192, 146, 2015, doi:10.1016/j.jsb.2015.04.002) with IMOD's
additions (https://bio3d.colorado.edu/imod/doc/mrc_format.txt).
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from mwr_hpc.errors import InputError

HEADER_SIZE, LARGEST_EXTENSION = 1024, 2**26
LABEL_SIZE = 80
LABEL_COUNT = 10
DTYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
MODES = {dtype: mode for mode, dtype in DTYPES.items()}

# Byte offsets of the fields, and how struct reads them.
SIZES = (0, "3i")
MODE = (12, "i")
INTERVALS = (28, "3i")
CELL = (40, "3f")
ANGLES = (52, "3f")
AXES = (64, "3i")
DENSITIES = (76, "3f")
SPACE_GROUP = (88, "i")
EXTENDED_SIZE = (92, "i")
VERSION = (108, "i")
IMOD = (152, "2i")
ORIGIN = (196, "3f")
MAP_OFFSET = 208
STAMP_OFFSET = 212
RMS = (216, "f")
LABELS_USED = (220, "i")
LABELS_OFFSET = 224

IMOD_STAMP = 1146047817
IMOD_SIGNED_BYTES = 1
IMOD_HALF_BYTES = 16
STAMPS = {"<": b"\x44\x44\x00\x00", ">": b"\x11\x11\x00\x00"}

Shape = tuple[int, int, int]
Triple = tuple[float, float, float]
ByteOrder = Literal["<", ">"]


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
    """

    fixed: bytes
    extended: bytes
    byte_order: ByteOrder

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
        """The voxels' dtype in the file's byte order; bytes are unsigned only where an IMOD stamp says so."""
        stamp, flags = self._get(IMOD)
        if self.mode == 0 and stamp == IMOD_STAMP and not flags & IMOD_SIGNED_BYTES:
            return np.dtype("u1")
        return np.dtype(DTYPES[self.mode]).newbyteorder(self.byte_order)

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
        _put(fixed, order, MODE, MODES[dtype.str[1:]])
        stamp, flags = self._get(IMOD)
        if stamp == IMOD_STAMP:
            _put(fixed, order, IMOD, stamp, flags | IMOD_SIGNED_BYTES)
        _put(fixed, order, AXES, 1, 2, 3)
        fixed[STAMP_OFFSET : STAMP_OFFSET + 4] = STAMPS[order]
        labels = [*self.labels[: LABEL_COUNT - 1], label]
        _put(fixed, order, LABELS_USED, len(labels))
        at = LABELS_OFFSET + (len(labels) - 1) * LABEL_SIZE
        fixed[at : at + LABEL_SIZE] = label.encode("ascii")[:LABEL_SIZE].ljust(LABEL_SIZE)
        return MrcHeader(bytes(fixed), self.extended, order)

    def with_voxel_size(self, voxel_size: Triple) -> "MrcHeader":
        """Return the header with this voxel size, (z, y, x) in angstrom."""
        fixed, sizes = bytearray(self.fixed), self._get(SIZES)
        _put(fixed, self.byte_order, INTERVALS, *sizes)
        _put(fixed, self.byte_order, CELL, *(n * size for n, size in zip(sizes, voxel_size[::-1], strict=True)))
        return MrcHeader(bytes(fixed), self.extended, self.byte_order)

    def with_statistics(self, minimum: float, maximum: float, mean: float, rms: float) -> "MrcHeader":
        """Return the header with these statistics of the voxels."""
        fixed = bytearray(self.fixed)
        _put(fixed, self.byte_order, DENSITIES, minimum, maximum, mean)
        _put(fixed, self.byte_order, RMS, rms)
        return MrcHeader(bytes(fixed), self.extended, self.byte_order)

    def _get(self, field: tuple[int, str]) -> tuple[Any, ...]:
        offset, kind = field
        return struct.unpack_from(self.byte_order + kind, self.fixed, offset)


def new_header(shape: Shape, voxel_size: Triple, origin: Triple) -> MrcHeader:
    """Return the little-endian header of a float32 volume that comes from no file.

    Parameters
    ----------
    shape, voxel_size, origin
        All (z, y, x); the sizes and the origin in angstrom.
    """
    fixed = bytearray(HEADER_SIZE)
    sizes = shape[::-1]
    _put(fixed, "<", SIZES, *sizes)
    _put(fixed, "<", MODE, MODES["f4"])
    _put(fixed, "<", INTERVALS, *sizes)
    _put(fixed, "<", CELL, *(count * size for count, size in zip(sizes, voxel_size[::-1], strict=True)))
    _put(fixed, "<", ANGLES, 90.0, 90.0, 90.0)
    _put(fixed, "<", AXES, 1, 2, 3)
    _put(fixed, "<", SPACE_GROUP, 1)
    _put(fixed, "<", VERSION, 20141)
    _put(fixed, "<", ORIGIN, *origin[::-1])
    fixed[MAP_OFFSET : MAP_OFFSET + 4] = b"MAP "
    fixed[STAMP_OFFSET : STAMP_OFFSET + 4] = STAMPS["<"]
    return MrcHeader(bytes(fixed), b"", "<")


def read_header(path: Path) -> MrcHeader:
    """Read and check the header of an MRC file; no voxel is read and nothing of the announced size allocated.

    Raises
    ------
    InputError
        The file is missing, not an MRC file, truncated, or its header holds values that cannot be.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # reading a pipe would wait for ever
            raise InputError(f"{path}: a pipe or a device, expected a file; write the volume to one")
        with path.open("rb") as stream:
            size, fixed = path.stat().st_size, stream.read(HEADER_SIZE)
            header = MrcHeader(fixed, b"", _byte_order(path, fixed, size))
            _check(path, header, size)
            extended = stream.read(header._get(EXTENDED_SIZE)[0])
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    return MrcHeader(fixed, extended, header.byte_order)


def require_volume(path: Path, header: MrcHeader) -> None:
    """Raise InputError unless the header is that of one three-dimensional volume."""
    if min(header.shape) <= 1:
        raise InputError(
            f"{path}: {_sizes(header)} voxels (x, y, z) are an image, but a volume with many sections is needed; "
            "give the reconstructed tomogram"
        )
    group = header._get(SPACE_GROUP)[0]
    if 401 <= group <= 630:
        raise InputError(f"{path}: space group {group} marks a stack of volumes; save each volume in a file of its own")


def _byte_order(path: Path, fixed: bytes, size: int) -> ByteOrder:
    """Return the order in which the file's size is right, else the stamp's: some programs write a wrong stamp."""
    identifier = fixed[MAP_OFFSET : MAP_OFFSET + 4]
    if size < HEADER_SIZE or identifier[:3] != b"MAP":
        found = f"{size} bytes" if size < HEADER_SIZE else f"{identifier!r} at byte {MAP_OFFSET}"
        raise InputError(
            f"{path}: not an MRC file: found {found}, expected a header of {HEADER_SIZE} bytes with 'MAP ' at byte "
            f"{MAP_OFFSET}; export the volume as MRC again"
        )
    stamped: ByteOrder = ">" if fixed[STAMP_OFFSET] == 0x11 else "<"
    other: ByteOrder = "<" if stamped == ">" else ">"
    return other if _expected_size(fixed, stamped) != size == _expected_size(fixed, other) else stamped


def _expected_size(fixed: bytes, order: ByteOrder) -> int | None:
    header = MrcHeader(fixed, b"", order)
    if header.mode not in DTYPES or min(header.shape) < 1 or header._get(EXTENDED_SIZE)[0] < 0:
        return None
    return int(HEADER_SIZE + header._get(EXTENDED_SIZE)[0] + math.prod(header.shape) * header.dtype.itemsize)


def _check(path: Path, header: MrcHeader, size: int) -> None:
    axes, cell = header._get(AXES), header._get(CELL)
    stamp, flags = header._get(IMOD)
    if header.mode not in DTYPES or (header.mode == 0 and stamp == IMOD_STAMP and flags & IMOD_HALF_BYTES):
        mode = f"mode {header.mode}" if header.mode not in DTYPES else "bytes with two 4-bit voxels each"
        raise InputError(
            f"{path}: {mode} is not supported, only modes 0 (bytes), 1 (int16), 2 (float32), 6 (uint16) and "
            "12 (float16); convert it, for instance with `newstack -mode 2`"
        )
    if min(header.shape) < 1:
        raise InputError(
            f"{path}: the header announces {_sizes(header)} voxels (x, y, z); all must be at least 1: "
            "the file is damaged, copy or export it again"
        )
    if axes not in ((1, 2, 3), (0, 0, 0)):
        raise InputError(
            f"{path}: columns, rows and sections are the axes {axes}, expected (1, 2, 3), that is x, y, z; "
            "save the volume with that order of axes"
        )
    extended = header._get(EXTENDED_SIZE)[0]
    if not 0 <= extended <= LARGEST_EXTENSION:
        raise InputError(
            f"{path}: the extended header has {extended} bytes, expected 0 to {LARGEST_EXTENSION}: it is damaged, "
            "copy or export it again"
        )
    expected = _expected_size(header.fixed, header.byte_order)
    if size != expected:
        raise InputError(
            f"{path}: {'truncated' if expected is None or size < expected else 'too long'}: the file has {size} bytes, "
            f"but its header ({_sizes(header)} voxels (x, y, z) of mode {header.mode}, extended header of {extended} "
            f"bytes) asks for {expected}; copy or export it again"
        )
    if not all(math.isfinite(length) and length >= 0 for length in cell):
        raise InputError(
            f"{path}: the cell is {cell} angstrom, expected finite lengths, 0 when unknown; set the voxel "
            "size, for instance with `alterheader -del`"
        )
    if not all(math.isfinite(value) for value in header.origin):
        raise InputError(
            f"{path}: the origin is {header.origin[::-1]}, expected finite numbers; set it, for instance "
            "with `alterheader -org 0,0,0`"
        )


def _sizes(header: MrcHeader) -> str:
    return " x ".join(str(size) for size in header.shape[::-1])


def _put(fixed: bytearray, order: str, field: tuple[int, str], *values: float | int) -> None:
    offset, kind = field
    struct.pack_into(order + kind, fixed, offset, *values)


def as_triple(value: float | Sequence[float]) -> Triple:
    """Return (z, y, x) of a value that may be one number for all axes."""
    z, y, x = (value,) * 3 if isinstance(value, float | int) else value
    return float(z), float(y), float(x)
