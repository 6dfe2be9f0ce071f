"""Odd tomograms with what they hold, and what has to be said of them: material of `soak/test_sixty_inputs.py`."""

import gzip
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from mrc_files import as_bytes, mrc_file, tomogram

SHAPE = (18, 28, 26)
NO_STATISTICS = (0.0, 0.0, 0.0)
NAN = float("nan")


@dataclass(frozen=True)
class Odd:
    """A file, and what reading it must give.

    Attributes
    ----------
    write
        Writes it; returns the voxels that are meant, None where it must be refused.
    says
        Words of the refusal, of `convert` and of `check`; or of the warning of `check`.
    notes
        Words of the warning of every command that reads the header.
    ending
        Of the file's name.
    """

    write: Callable[[Path], NDArray[np.generic] | None]
    says: str = ""
    notes: str = ""
    ending: str = ".mrc"


VOLUMES: dict[str, Odd] = {}


def odd(
    name: str, says: str = "", notes: str = "", ending: str = ".mrc"
) -> Callable[[Callable[[Path], NDArray[np.generic] | None]], Callable[[Path], NDArray[np.generic] | None]]:
    """Register what writes the file of this name."""

    def register(
        write: Callable[[Path], NDArray[np.generic] | None],
    ) -> Callable[[Path], NDArray[np.generic] | None]:
        VOLUMES[name] = Odd(write, says, notes, ending)
        return write

    return register


def grey(seed: int) -> NDArray[np.float64]:
    """Return a tomogram of its own."""
    return tomogram(SHAPE, 100 + seed)


def integers(seed: int, middle: float = 0, sigma: float = 900, dtype: str = "i2") -> NDArray[np.generic]:
    """Return one as integers."""
    return np.rint(middle + sigma * grey(seed)).astype(dtype)


def patched(path: Path, at: int, content: bytes) -> None:
    """Write some bytes into a file."""
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(content)


def written(path: Path, values: NDArray[np.generic], order: str = "<", **header: object) -> NDArray[np.generic]:
    """Write a file and return what it means."""
    mrc_file(path, values, order, **header)  # type: ignore[arg-type]  # each has the type of its parameter
    return values


@odd("unsigned_big_endian_no_statistics", notes="its values show that they are unsigned")
def _(path: Path) -> NDArray[np.generic]:
    return written(path, as_bytes(grey(1), "u1"), ">", densities=NO_STATISTICS)


@odd("signed_statistics_nan")
def _(path: Path) -> NDArray[np.generic]:
    return written(path, as_bytes(grey(2), "i1"), densities=(NAN, NAN, NAN))


@odd("statistics_less_128", notes="its values show that they are unsigned")
def _(path: Path) -> NDArray[np.generic]:
    values = as_bytes(grey(3), "u1")
    return written(path, values, densities=(float(values.min()) - 128, float(values.max()) - 128, 0.0))


@odd("dark_unsigned_of_two_sevenths", notes="its values show that they are unsigned")
def _(path: Path) -> NDArray[np.generic]:
    values = np.clip(np.rint(95 + 18 * grey(4)), 0, 255).astype("u1")
    return written(path, values, densities=(-3.5, 4.25, 0.0))


@odd("bytes_the_same_both_ways")
def _(path: Path) -> NDArray[np.generic]:
    return written(path, np.clip(np.rint(62 + 14 * grey(5)), 1, 125).astype("i1"), densities=(9.0, 7.0, 8.0))


@odd("stamp_says_unsigned_statistics_signed")
def _(path: Path) -> NDArray[np.generic]:
    return written(path, as_bytes(grey(6), "u1"), ">", imod_flags=0, densities=(-128.0, 127.0, 0.0))


@odd("stamp_says_signed_statistics_reversed")
def _(path: Path) -> NDArray[np.generic]:
    return written(path, as_bytes(grey(7), "i1"), imod_flags=1, densities=(90.0, -80.0, NAN))


@odd("bytes_of_white_noise", says="--bytes signed or --bytes unsigned")
def _(path: Path) -> None:
    noise = np.random.default_rng(8).integers(0, 256, SHAPE).astype("u1")
    mrc_file(path, noise, densities=(0.0, -1.0, -2.0))


@odd("unsigned_words_big_endian")
def _(path: Path) -> NDArray[np.generic]:
    return written(path, integers(9, 45_000, 4_000, "u2"), ">")


@odd("half_floats_without_map", notes="no 'MAP ' at byte 208")
def _(path: Path) -> NDArray[np.generic]:
    return written(path, grey(10).astype("f2"), ">", identifier=b"\0\0\0\0", stamp=b"\0\0\0\0")


@odd("extended_header_absent", notes="the extended header of 131072 bytes that is announced is not there")
def _(path: Path) -> NDArray[np.generic]:
    return written(path, integers(11), announced=131_072)


@odd("extended_header_negative", notes="the extended header of -80 bytes that is announced is not there")
def _(path: Path) -> NDArray[np.generic]:
    return written(path, integers(12), ">", announced=-80)


@odd("five_bytes_behind", notes="5 bytes behind the voxels that are not announced")
def _(path: Path) -> NDArray[np.generic]:
    return written(path, grey(13).astype("f4"), extended=b"SERI" * 77, tail=b"\n\r\n\0\x1a")


@odd("negative_intervals_big_endian")
def _(path: Path) -> NDArray[np.generic]:
    nz, ny, nx = SHAPE
    return written(path, integers(14), ">", intervals=(-nx, -ny, -nz))


@odd("stamp_of_the_other_order")
def _(path: Path) -> NDArray[np.generic]:
    return written(path, integers(15), ">", stamp=b"\x44\x41\0\0")


@odd("upper_case_ending", ending=".MRC")
def _(path: Path) -> NDArray[np.generic]:
    return written(path, integers(16))


@odd("one_byte_short", says="truncated")
def _(path: Path) -> None:
    mrc_file(path, integers(17))
    path.write_bytes(path.read_bytes()[:-1])


@odd("complex_voxels", says="mode")
def _(path: Path) -> None:
    mrc_file(path, np.repeat(grey(18).astype("f4"), 2, axis=2), mode=4)
    patched(path, 0, struct.pack("<i", SHAPE[2]))


@odd("exchanged_axes", says="columns, rows and sections are the axes (1, 3, 2)")
def _(path: Path) -> None:
    mrc_file(path, integers(19))
    patched(path, 64, struct.pack("<3i", 1, 3, 2))


@odd("stack_of_volumes", says="space group 401 marks a stack of volumes")
def _(path: Path) -> None:
    mrc_file(path, integers(20), intervals=(SHAPE[2], SHAPE[1], SHAPE[0] // 3))
    patched(path, 88, struct.pack("<i", 401))


@odd("minus_infinity_big_endian", says="finite")
def _(path: Path) -> None:
    values = grey(21).astype("f4")
    values[7, 3, 25] = -np.inf
    mrc_file(path, values, ">", densities=(-3.0, 3.0, 0.0))


@odd("nan_half_float", says="finite")
def _(path: Path) -> None:
    values = grey(22).astype("f2")
    values[-1, -1, -1] = np.nan
    mrc_file(path, values, densities=(-3.0, 3.0, 0.0))


@odd("cell_not_a_number", says="the cell is")
def _(path: Path) -> None:
    mrc_file(path, integers(23), apix=NAN)


@odd("compressed_by_gzip", says="not an MRC file")
def _(path: Path) -> None:
    mrc_file(path, integers(24))
    path.write_bytes(gzip.compress(path.read_bytes()))


@odd("hdf5", says="not an MRC file")
def _(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["volume"] = grey(25)


@odd("announces_terabytes", says="truncated")
def _(path: Path) -> None:
    mrc_file(path, integers(26))
    patched(path, 0, struct.pack("<3i", 30_000, 30_000, 2_000))


@odd("pair_of_hot_voxels", says="2 isolated voxels (at most 2 connected) are beyond 30")
def _(path: Path) -> NDArray[np.generic]:
    values = grey(27).astype("f4")
    values[5, 6, 7] = values[6, 7, 8] = -4e6
    return written(path, values, ">")


@odd("small_bead", says="8 connected voxels are beyond 30")
def _(path: Path) -> NDArray[np.generic]:
    values = integers(28, 1_000, 100)
    values[9:11, 12:14, 12:14] = -25_000
    return written(path, values)


@odd(
    "section_repeated_three_times",
    says="2 of 17 neighbouring sections that were compared are identical, first 11 and 12",
)
def _(path: Path) -> NDArray[np.generic]:
    values = integers(29)
    values[12:14] = values[11]
    return written(path, values)


@odd("one_value", says="all voxels")
def _(path: Path) -> None:
    mrc_file(path, np.full(SHAPE, -31, "i2"))
