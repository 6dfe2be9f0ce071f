"""Where the voxels of an MRC file lie: decided by the file's size, which header and extended header must explain.

Headers that IMOD and other permissive readers accept are accepted too, as long as the size leaves one reading: what had
to be assumed is returned, so that it can be told once.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc_fields import (
    AXES,
    BYTES_MODE,
    CELL,
    DTYPES,
    EXTENDED_SIZE,
    HEADER_SIZE,
    IDENTIFIER,
    IMOD,
    IMOD_HALF_BYTES,
    IMOD_STAMP,
    LARGEST_EXTENSION,
    MAP_OFFSET,
    MODE,
    MODE_NAMES,
    ORDER_NAMES,
    ORIGIN,
    SIZES,
    STAMP_OFFSET,
    STAMPS,
    ByteOrder,
    get,
    put,
    sizes_text,
)


@dataclass(frozen=True)
class Layout:
    """How a file is read.

    Attributes
    ----------
    byte_order
        "<" little or ">" big endian.
    extended
        Bytes of the extended header that is there.
    notes
        What was assumed, in words.
    """

    byte_order: ByteOrder
    extended: int
    notes: tuple[str, ...] = ()

    def corrected(self, fixed: bytes) -> bytes:
        """Return the first 1024 bytes as they should have been for a file that is read so."""
        if not self.notes:
            return fixed
        result = bytearray(fixed)
        put(result, self.byte_order, EXTENDED_SIZE, self.extended)
        if not _has_identifier(fixed):
            result[MAP_OFFSET : MAP_OFFSET + 4] = IDENTIFIER
            result[STAMP_OFFSET : STAMP_OFFSET + 4] = STAMPS[self.byte_order]
        return bytes(result)


def find_layout(path: Path, fixed: bytes, size: int) -> Layout:
    """Decide how a file is read.

    Parameters
    ----------
    path
        For the message.
    fixed
        The first 1024 bytes.
    size
        Of the file, in bytes.

    Raises
    ------
    InputError
        The file is no MRC file, its mode is not supported, or its size does not fit its header.
    """
    if size < HEADER_SIZE:
        raise _no_mrc_file(path, f"{size} bytes")
    # Some programs write a wrong stamp, so it only decides which order is tried first.
    stamped: ByteOrder = ">" if fixed[STAMP_OFFSET] == 0x11 else "<"
    orders: tuple[ByteOrder, ByteOrder] = (stamped, "<" if stamped == ">" else ">")
    layout = next(_layouts(fixed, orders, size), None)
    if layout is None and not _has_identifier(fixed):
        raise _no_mrc_file(path, f"{fixed[MAP_OFFSET : MAP_OFFSET + 4]!r} at byte {MAP_OFFSET}")
    _require_mode(path, fixed, layout.byte_order if layout else stamped)
    if layout is None:
        raise _misfit(path, fixed, stamped, size)
    return layout


def check_geometry(path: Path, fixed: bytes, order: ByteOrder) -> None:
    """Raise InputError where axes, cell or origin cannot be."""
    axes, cell, origin = get(fixed, order, AXES), get(fixed, order, CELL), get(fixed, order, ORIGIN)
    if axes not in ((1, 2, 3), (0, 0, 0)):
        raise InputError(
            f"{path}: columns, rows and sections are the axes {axes}, expected (1, 2, 3), that is x, y, z; "
            "save the volume with that order of axes"
        )
    if not all(math.isfinite(length) and length >= 0 for length in cell):
        raise InputError(
            f"{path}: the cell is {cell} angstrom, expected finite lengths, 0 when unknown; set the voxel "
            "size, for instance with `alterheader -del`"
        )
    if not all(math.isfinite(value) for value in origin):
        raise InputError(
            f"{path}: the origin is {origin}, expected finite numbers; set it, for instance "
            "with `alterheader -org 0,0,0`"
        )


def _layouts(fixed: bytes, orders: tuple[ByteOrder, ...], size: int) -> Iterator[Layout]:
    """Yield what explains the size, the best first."""
    unnamed = () if _has_identifier(fixed) else (f"no '{IDENTIFIER.decode()}' at byte {MAP_OFFSET}, read as MRC",)
    possible = [(order, voxels) for order in orders if (voxels := _voxel_bytes(fixed, order)) is not None]
    for order, voxels in possible:
        extended = get(fixed, order, EXTENDED_SIZE)[0]
        if 0 <= extended <= LARGEST_EXTENSION and HEADER_SIZE + extended + voxels == size:
            yield Layout(order, extended, tuple(f"{text}, {ORDER_NAMES[order]}" for text in unnamed))
    for order, voxels in possible:
        extended = get(fixed, order, EXTENDED_SIZE)[0]
        if HEADER_SIZE + voxels == size:
            absent = f"the extended header of {extended} bytes that is announced is not there, read without it"
            yield Layout(order, 0, (*unnamed, absent))
    if unnamed:
        return
    for order, voxels in possible:
        extended = get(fixed, order, EXTENDED_SIZE)[0]
        more = size - HEADER_SIZE - extended - voxels
        # As many bytes again as voxels would mean that the sizes or the mode are wrong.
        if 0 <= extended <= LARGEST_EXTENSION and 0 < more < voxels and not _fitting_modes(fixed, order, size):
            yield Layout(order, extended, (f"{more} bytes behind the voxels that are not announced, left unread",))


def _has_identifier(fixed: bytes) -> bool:
    return fixed[MAP_OFFSET : MAP_OFFSET + 3] == IDENTIFIER[:3]


def _voxel_bytes(fixed: bytes, order: ByteOrder) -> int | None:
    sizes, mode = get(fixed, order, SIZES), get(fixed, order, MODE)[0]
    if mode not in DTYPES or min(sizes) < 1:
        return None
    return int(math.prod(sizes) * np.dtype(DTYPES[mode]).itemsize)


def _fitting_modes(fixed: bytes, order: ByteOrder, size: int) -> list[int]:
    """Return the modes other than the header's that the size of the file would fit."""
    count, extended = math.prod(get(fixed, order, SIZES)), get(fixed, order, EXTENDED_SIZE)[0]
    starts = {HEADER_SIZE, HEADER_SIZE + max(0, extended)}
    others = (mode for mode in DTYPES if mode != get(fixed, order, MODE)[0])
    return [mode for mode in others if size - count * np.dtype(DTYPES[mode]).itemsize in starts]


def _require_mode(path: Path, fixed: bytes, order: ByteOrder) -> None:
    mode = get(fixed, order, MODE)[0]
    stamp, flags = get(fixed, order, IMOD)
    halves = mode == BYTES_MODE and stamp == IMOD_STAMP and flags & IMOD_HALF_BYTES
    if mode not in DTYPES or halves:
        raise InputError(
            f"{path}: {'bytes with two 4-bit voxels each' if halves else f'mode {mode}'} is not supported, only modes "
            "0 (bytes), 1 (int16), 2 (float32), 6 (uint16) and 12 (float16); convert it, for instance with "
            "`newstack -mode 2`"
        )


def _no_mrc_file(path: Path, found: str) -> InputError:
    return InputError(
        f"{path}: not an MRC file: found {found}, expected a header of {HEADER_SIZE} bytes with 'MAP ' at byte "
        f"{MAP_OFFSET}; export the volume as MRC again"
    )


def _misfit(path: Path, fixed: bytes, order: ByteOrder, size: int) -> InputError:
    """Say what about the sizes cannot be."""
    sizes, extended = sizes_text(fixed, order), get(fixed, order, EXTENDED_SIZE)[0]
    if min(get(fixed, order, SIZES)) < 1:
        return InputError(
            f"{path}: the header announces {sizes} voxels (x, y, z); all must be at least 1: "
            "the file is damaged, copy or export it again"
        )
    if not 0 <= extended <= LARGEST_EXTENSION:
        return InputError(
            f"{path}: the extended header has {extended} bytes, expected 0 to {LARGEST_EXTENSION}: it is damaged, "
            "copy or export it again"
        )
    mode = get(fixed, order, MODE)[0]
    expected = HEADER_SIZE + extended + (_voxel_bytes(fixed, order) or 0)
    fitting = _fitting_modes(fixed, order, size)
    would_fit = " or ".join(f"{other} ({MODE_NAMES[other]})" for other in fitting)
    advice = f"the size fits mode {would_fit}: correct the mode, or export it again" if fitting else None
    return InputError(
        f"{path}: {'truncated' if size < expected else 'too long'}: the file has {size} bytes, but its header "
        f"({sizes} voxels (x, y, z) of mode {mode}, extended header of {extended} bytes) asks for {expected}; "
        f"{advice or 'copy or export it again'}"
    )
