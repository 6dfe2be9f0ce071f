"""The fields of an MRC file's header: where they are, and how they are read and written.

The layout is MRC2014 (Cheng et al., J. Struct. Biol. 192, 146, 2015, doi:10.1016/j.jsb.2015.04.002) with IMOD's
additions (https://bio3d.colorado.edu/imod/doc/mrc_format.txt).
"""

import struct
from typing import Any, Literal

HEADER_SIZE, LARGEST_EXTENSION = 1024, 2**26
"""Bytes of the header, and of the largest extended header that is read."""

LABEL_SIZE = 80
LABEL_COUNT = 10
DTYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
MODES = {dtype: mode for mode, dtype in DTYPES.items()}
MODE_NAMES = {0: "bytes", 1: "int16", 2: "float32", 6: "uint16", 12: "float16"}
BYTES_MODE = 0

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

IDENTIFIER = b"MAP "
VERSIONS = (20141, 20140)
IMOD_STAMP = 1146047817
IMOD_SIGNED_BYTES = 1
IMOD_HALF_BYTES = 16

ByteOrder = Literal["<", ">"]
Signedness = Literal["signed", "unsigned"]
STAMPS: dict[ByteOrder, bytes] = {"<": b"\x44\x44\x00\x00", ">": b"\x11\x11\x00\x00"}
ORDER_NAMES: dict[ByteOrder, str] = {"<": "little-endian", ">": "big-endian"}


def get(fixed: bytes | bytearray, order: ByteOrder, field: tuple[int, str]) -> tuple[Any, ...]:
    """Return the values of a field of a header's first 1024 bytes."""
    offset, kind = field
    return struct.unpack_from(order + kind, fixed, offset)


def put(fixed: bytearray, order: ByteOrder, field: tuple[int, str], *values: float | int) -> None:
    """Set the values of a field."""
    offset, kind = field
    struct.pack_into(order + kind, fixed, offset, *values)


def sizes_text(fixed: bytes, order: ByteOrder) -> str:
    """Spell the sizes, x first."""
    return " x ".join(str(size) for size in get(fixed, order, SIZES))
