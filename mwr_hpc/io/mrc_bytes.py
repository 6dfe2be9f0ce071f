"""Whether the bytes of an MRC file of mode 0 are signed: MRC2014 says so, but many programs write unsigned ones.

An IMOD stamp says which they are. Without one the header's minimum and maximum decide if the voxels bear them out, and
otherwise the voxels: read in the wrong way, grey values that are next to each other jump from one end of the range to
the other. A mask, which is never negative, needs no decision: see `mask_values`.
"""

import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc_fields import DENSITIES, IMOD, IMOD_SIGNED_BYTES, IMOD_STAMP, ByteOrder, Signedness, get

Bytes = NDArray[np.uint8]

PIECES, PIECE = 64, 2**14
"""Number and voxels of the pieces that are examined, evenly spaced: one megabyte, or the whole of a small file."""

HALF = 128
"""The byte at which unsigned values go on and signed ones jump."""

ROUNDING = 1.0
"""By which a header's minimum and maximum, computed before rounding, may be within the values."""

LEAST_VALUES = 8
"""Different values that say something about continuity; labels and masks have fewer."""

LEAST_SLOPE, DEVIATIONS = 0.1, 4.0
"""`continuity` that decides: so much at least, and so many times what chance gives."""

NEAR = 8
"""Largest distance from a padding value at which bytes are compared with it."""

WIDER = 4
"""Times that the unused bytes at one end of the range must be as many as at the other, where continuity is open."""


def stamped_signedness(fixed: bytes, order: ByteOrder) -> Signedness | None:
    """Return what an IMOD stamp says of the bytes; None without a stamp."""
    stamp, flags = get(fixed, order, IMOD)
    if stamp != IMOD_STAMP:
        return None
    return "signed" if flags & IMOD_SIGNED_BYTES else "unsigned"


def decide(
    path: Path, stream: BinaryIO, fixed: bytes, order: ByteOrder, start: int, count: int
) -> tuple[Signedness, tuple[str, ...]]:
    """Decide how the bytes of a file without an IMOD stamp are to be read.

    Parameters
    ----------
    path
        For the message.
    stream
        The file; some pieces of it are read.
    fixed, order
        The header's first 1024 bytes, and their order.
    start, count
        Where the voxels begin, and how many there are.

    Returns
    -------
    Signedness, tuple of str
        The reading, and what had to be assumed, in words.

    Raises
    ------
    InputError
        Header and voxels leave it open, or contradict one another.
    """
    sample = _sample(stream, start, count)
    by_header = stated_by_range(get(fixed, order, DENSITIES)[:2], sample)
    by_values = shown_by_values(sample)
    differs = bool(sample.max() >= HALF)
    if differs and by_header and by_values and by_header != by_values:
        raise _open(path, f"its minimum and maximum say that they are {by_header}, its values that they are not")
    decided = by_header or by_values
    if decided is None:
        raise _open(path, "it has no IMOD stamp, and neither its minimum and maximum nor its values tell")
    assumed = "the header does not tell how its bytes are to be read, its values show that they are unsigned"
    return decided, ((assumed,) if differs and by_header is None and decided == "unsigned" else ())


def stated_by_range(densities: tuple[float, float], sample: Bytes) -> Signedness | None:
    """Return the one reading that a header's minimum and maximum allow; None where they allow both or none."""
    low, high = densities
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        return None
    readings: dict[Signedness, NDArray[Any]] = {"signed": sample.view(np.int8), "unsigned": sample}
    fitting = [
        name
        for name, values in readings.items()
        if low - ROUNDING <= int(values.min()) and int(values.max()) <= high + ROUNDING
    ]
    if fitting and sample.max() < HALF:  # the sample is the same both ways, but not all voxels may be
        return "unsigned" if claims_unsigned(densities) else "signed"
    return fitting[0] if len(fitting) == 1 else None


def claims_unsigned(densities: tuple[float, float]) -> bool:
    """Whether a header's minimum and maximum are those of unsigned bytes, as IMOD takes them."""
    low, high = densities
    return low >= 0 and HALF <= high < math.inf


def shown_by_values(sample: Bytes) -> Signedness | None:
    """Return the reading in which neighbouring voxels are alike; None where neither is clearly better."""
    if sample.max() < HALF:
        # Both readings are the same here. What the sample has missed goes on at the nearer end of its range.
        return "unsigned" if HALF - 1 - int(sample.max()) < int(sample.min()) else "signed"
    counts = np.bincount(sample, minlength=256)
    values = np.flatnonzero(counts)
    if len(values) == 2 and values[0] == 0:
        return "unsigned"  # a mask
    if len(values) < LEAST_VALUES:
        return "signed" if set(values) <= {HALF, HALF + 1} else None  # a mask of IMOD, in which -128 is 0
    padding = padding_values(counts)
    slope, pairs = continuity(sample, padding)
    if abs(slope) > max(LEAST_SLOPE, DEVIATIONS / math.sqrt(max(pairs, 1))):
        return "unsigned" if slope > 0 else "signed"
    return _shown_by_gaps(values[~padding[values]])


def _shown_by_gaps(values: NDArray[np.int64]) -> Signedness | None:
    """Return the reading whose range ends where bytes are unused; None where that is so of both or none.

    `values` are the different bytes, in order.
    """
    low, high = values[values < HALF], values[values >= HALF]
    if not len(low) or not len(high):
        return None
    at_signed_ends, at_unsigned_ends = high[0] - low[-1], 256 + low[0] - high[-1]
    if at_signed_ends >= WIDER * at_unsigned_ends:
        return "signed"
    return "unsigned" if at_unsigned_ends >= WIDER * at_signed_ends else None


def padding_values(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of the 256 bytes may be padding or clipped, so that the edges of their areas say nothing.

    They are more frequent than all bytes near them on one side together, from the counts of all 256.
    """
    steps = range(1, NEAR + 1)
    below, above = (sum(np.roll(counts, sign * step) for step in steps) for sign in (1, -1))
    padding: NDArray[np.bool_] = counts > np.minimum(below, above)
    return padding


def continuity(sample: Bytes, padding: NDArray[np.bool_]) -> tuple[float, int]:
    """Compare the jumps between neighbouring voxels in both readings.

    Two bytes that differ by d differ by 256 - d in the other reading if one of them is below 128 and the other is not;
    all other pairs have the same difference in both.

    Parameters
    ----------
    sample
        Voxels, mostly in the order of their rows.
    padding
        The bytes, of all 256, whose pairs are not counted.

    Returns
    -------
    float, int
        The mean of 1 - d / 128 over those pairs, from -1 (signed values) to 1 (unsigned ones), 0 for white noise; and
        how many pairs there are.
    """
    first, second = sample[:-1].astype(np.int16), sample[1:].astype(np.int16)
    across = ((first >= HALF) != (second >= HALF)) & ~padding[first] & ~padding[second]
    differences = np.abs(first[across] - second[across])
    return (float(1 - differences.mean() / HALF), len(differences)) if len(differences) else (0.0, 0)


def mask_values(voxels: NDArray[Any]) -> NDArray[Any]:
    """Return the voxels of a mask as they are meant: bytes are never negative.

    IMOD stores unsigned values less 128 as signed bytes, so a mask without zeros has its zeros at -128.
    """
    if voxels.dtype.kind not in "iu" or voxels.dtype.itemsize != 1:
        return voxels
    values = voxels.view(np.uint8)
    shifted = (values == HALF).any() and values.all()
    return values ^ np.uint8(HALF) if shifted else values


def require_numbers(path: Path, voxels: NDArray[Any]) -> None:
    """Raise InputError for a mask with a value that is no number, which is neither inside nor outside."""
    if voxels.dtype.kind == "f" and np.isnan(voxels.min()):
        count = int(np.count_nonzero(np.isnan(voxels)))
        raise InputError(f"{path}: {count} values of the mask are nan; expected 0 and 1: make the mask again")


def _sample(stream: BinaryIO, start: int, count: int) -> Bytes:
    """Read some pieces of the voxels, one after the other."""
    if count <= PIECES * PIECE:
        stream.seek(start)
        return np.frombuffer(stream.read(count), np.uint8)
    pieces = []
    for at in np.linspace(0, count - PIECE, PIECES).astype(np.int64):
        stream.seek(start + int(at))
        pieces.append(stream.read(PIECE))
    return np.frombuffer(b"".join(pieces), np.uint8)


def _open(path: Path, why: str) -> InputError:
    return InputError(
        f"{path}: whether its bytes (mode 0) are signed is open: {why}; give --bytes signed or --bytes unsigned (in a "
        "list the column mwrBytes), or save the file in another mode, for instance with `newstack -mode 1`"
    )
