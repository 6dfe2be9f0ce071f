"""Odd micrographs with spots at known places, and what has to be said of them: see `soak/test_sixty_inputs.py`."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from mrc_files import as_bytes, mrc_file

SHAPE = (240, 304)
ANGPIX = 4.0
Image = NDArray[np.float64]


@dataclass(frozen=True)
class Odd:
    """A micrograph: what writes it, None where it must be refused; whether `says` is a refusal; and its words."""

    write: Callable[[Path, Image], None]
    refused: bool
    says: str
    ending: str


MICROGRAPHS: dict[str, Odd] = {}


def places(seed: int) -> NDArray[np.int64]:
    """Return where the spots of a micrograph are, (n, 2) as (y, x) in pixels."""
    generator = np.random.default_rng(7_000 + seed)
    corners = np.array([(y, x) for y in range(32, SHAPE[0] - 32, 42) for x in range(32, SHAPE[1] - 32, 42)])
    chosen = corners[generator.random(len(corners)) < 0.45]
    return chosen + generator.integers(-4, 5, chosen.shape)


def picture(seed: int) -> Image:
    """Return a micrograph, protein dark, noise of 0.2 and spots 2 deep; the first row is the bottom."""
    y, x = np.indices(SHAPE)
    image = 0.2 * np.random.default_rng(8_000 + seed).standard_normal(SHAPE)
    for row, column in places(seed):
        image -= 2 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 6**2))
    return image


def odd(
    name: str, *, says: str = "", refused: bool = False, ending: str = ".tif"
) -> Callable[[Callable[[Path, Image], None]], Callable[[Path, Image], None]]:
    """Register what writes the micrograph of this name, of a picture that is its own."""

    def register(write: Callable[[Path, Image], None]) -> Callable[[Path, Image], None]:
        MICROGRAPHS[name] = Odd(write, refused, says, ending)
        return write

    return register


def words(image: Image) -> NDArray[np.uint16]:
    """Return a picture as 16-bit words, first row at the top."""
    return np.rint(30_000 + 4_000 * image[::-1]).astype(np.uint16)


def tones(image: Image) -> NDArray[np.uint8]:
    """Return a picture as bytes, first row at the top."""
    return np.clip(np.rint(160 + 50 * image[::-1]), 0, 255).astype(np.uint8)


def floats(image: Image) -> NDArray[np.float32]:
    """Return a picture as floats, first row at the top."""
    return image[::-1].astype(np.float32)


@odd("lzw_with_predictor")
def _(path: Path, image: Image) -> None:
    tifffile.imwrite(path, words(image), compression="lzw", predictor=True, byteorder=">")


@odd("jpeg_in_strips", ending=".tiff")
def _(path: Path, image: Image) -> None:
    tifffile.imwrite(path, tones(image), compression="jpeg", compressionargs={"level": 97}, rowsperstrip=16)


@odd("deflate_of_floats_big_endian")
def _(path: Path, image: Image) -> None:
    tifffile.imwrite(path, floats(image), compression="zlib", predictor=3, byteorder=">")


@odd("packbits_of_signed_bytes", ending=".TIF")
def _(path: Path, image: Image) -> None:
    tifffile.imwrite(path, (tones(image) ^ 128).view(np.int8), compression="packbits")


@odd("zstd_in_tiles")
def _(path: Path, image: Image) -> None:
    tifffile.imwrite(path, words(image), compression="zstd", tile=(48, 64))


@odd("doubles_in_bigtiff")
def _(path: Path, image: Image) -> None:
    tifffile.imwrite(path, image[::-1], bigtiff=True)


@odd("white_is_zero", refused=True, says="WhiteIsZero")
def _(path: Path, image: Image) -> None:
    tifffile.imwrite(path, 255 - tones(image), photometric="miniswhite")


@odd("palette", refused=True, says="palette")
def _(path: Path, image: Image) -> None:
    ramp = np.arange(256, dtype=np.uint16)[::-1] * 257
    tifffile.imwrite(path, tones(image), photometric="palette", colormap=np.stack([ramp] * 3))


@odd("lies_on_its_side", refused=True, says="orientation")
def _(path: Path, image: Image) -> None:
    tifffile.imwrite(path, words(image).T, extratags=[(274, "H", 1, 6, False)])


@odd("three_pages", refused=True, says="found 3 images")
def _(path: Path, image: Image) -> None:
    tifffile.imwrite(path, np.stack([words(image)] * 3), photometric="minisblack")


@odd("colours_in_planes", refused=True, says="expected one channel")
def _(path: Path, image: Image) -> None:
    tifffile.imwrite(path, np.stack([tones(image)] * 3), photometric="rgb", planarconfig="separate")


@odd("grey_with_alpha", refused=True, says="expected one channel")
def _(path: Path, image: Image) -> None:
    both = np.stack([tones(image), np.full(SHAPE, 255, np.uint8)], axis=2)
    tifffile.imwrite(path, both, photometric="minisblack", extrasamples=["unassalpha"])


@odd("complex_numbers", refused=True, says="complex")
def _(path: Path, image: Image) -> None:
    tifffile.imwrite(path, floats(image).astype(np.complex64))


@odd("not_a_number", refused=True, says="(y, x) = (236, 5) has the value nan")
def _(path: Path, image: Image) -> None:
    values = floats(image)
    values[3, 5] = np.nan
    tifffile.imwrite(path, values)


@odd("pages_in_a_circle")
def _(path: Path, image: Image) -> None:
    tifffile.imwrite(path, tones(image))
    content = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * entries, first)
    path.write_bytes(content)


@odd("deflated_zeros", refused=True, says="announces an image of")
def _(path: Path, image: Image) -> None:
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as file:
        for tag in ("ImageWidth", "ImageLength"):
            file.pages[0].tags[tag].overwrite(60_000)


@odd("cut_in_the_middle", refused=True, says="cannot be read as TIFF")
def _(path: Path, image: Image) -> None:
    tifffile.imwrite(path, words(image), compression="lzw", rowsperstrip=8)
    path.write_bytes(path.read_bytes()[:-40_000])


@odd("bytes_without_stamp", ending=".mrc", says="its values show that they are unsigned")
def _(path: Path, image: Image) -> None:
    mrc_file(path, as_bytes(image[None], "u1"), ">", densities=(0.0, 0.0, 0.0), apix=ANGPIX)


@odd("hot_pixels", ending=".mrc")
def _(path: Path, image: Image) -> None:
    values = image[None].astype("f4")
    values[0, 20, 20], values[0, 200, 7:9] = 1e9, -3e6
    mrc_file(path, values, apix=ANGPIX)


@odd("zero_corners", ending=".mrc")
def _(path: Path, image: Image) -> None:
    covered = ndimage.rotate(np.ones((250, 320)), 4, reshape=True)[20:260, 16:320] > 0.5
    mrc_file(path, np.where(covered, np.rint(20_000 + 200 * image), 0)[None].astype("i2"), apix=ANGPIX)


@odd("two_sections", ending=".mrc", refused=True, says="found 2 sections")
def _(path: Path, image: Image) -> None:
    mrc_file(path, np.stack([image, image]).astype("f4"), apix=ANGPIX)
