"""Files and bytes of everything that a run leaves, worked out before it runs: the arithmetic of `plan` and `check`.

The numbers of files are exact. Bytes are too, but for the text in receipts and metadata, of which typical sizes are
taken, and for compression, whose ratio is measured on samples of the tomograms themselves.
"""

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mwr_hpc.io.checksums import CHECKSUM_BYTES, index_size
from mwr_hpc.io.mrc import MrcVolume
from mwr_hpc.io.pyramid import halved, level_shapes
from mwr_hpc.io.shards import CHUNK, encoded, grid_of
from mwr_hpc.io.volume import Volume, open_volume, read_box, read_sections
from mwr_hpc.missing_wedge.cube_arrays import items_per_shard
from mwr_hpc.missing_wedge.entries import TomogramEntry
from mwr_hpc.training.checkpoint import KEPT

RECEIPT_BYTES = {
    "convert": 2830,
    "extract": 370,
    "pairs": 350,
    "predicted": 355,
    "train": 950,
    "correct": 690,
    "figure": 400,
}
"""Of a receipt by stage, typically."""

ARRAY_BYTES, IMAGE_BYTES, LEVEL_BYTES = 1200, 4500, 500
"""Of a Zarr array's metadata, an image's with its statistics, and what each level adds to the latter, typically."""

UNIT_EVENT_BYTES, STAGE_EVENT_BYTES, EPOCH_EVENT_BYTES, CURVE_BYTES = 110, 240, 330, 200
SETTINGS_BYTES, ROW_BYTES = 900, 250

HDF5_BYTES, HDF5_ARRAY_BYTES = 2400, 640
"""Of a model or checkpoint beside its values, and for each array in it, typically."""

FIGURE_BYTES, FIGURE_PIXEL_BYTES, FIGURE_PIXELS = 65_000, 3, 250_000
"""Of a figure of a tomogram before and after, typically: without its slices, of a pixel, and most pixels."""

CURVES_FIGURE_BYTES = 35_000
"""Of the figure of the loss curves, typically: 21,000 after one epoch, 45,000 after 300."""

SAMPLED_TOMOGRAMS, SAMPLE_EDGE = 8, 2 * CHUNK
"""Tomograms of a cohort whose compression is tried, and the edge in y and x of the blocks taken of them."""

SAMPLED_SECTIONS = 9
"""Sections of each that are searched for padding."""


@dataclass(frozen=True)
class Size:
    """A number of files and their bytes together."""

    files: int = 0
    bytes: int = 0

    def __add__(self, other: "Size") -> "Size":
        return Size(self.files + other.files, self.bytes + other.bytes)

    def __mul__(self, count: int) -> "Size":
        return Size(self.files * count, self.bytes * count)


def total(sizes: Iterable[Size]) -> Size:
    """Add sizes."""
    return sum(sizes, Size())


def converted(volume: Volume, dtype: np.dtype[Any], ratios: Sequence[float], receipt: str = "convert") -> Size:
    """An OME-Zarr directory with its receipt.

    Parameters
    ----------
    volume
        What is converted, or corrected.
    dtype
        Of the result.
    ratios
        Compressed bytes over bytes of each level; the last stands for those beyond.
    receipt
        The stage.
    """
    levels = level_shapes(volume.shape)
    header = volume.mrc_header
    described = IMAGE_BYTES + LEVEL_BYTES * len(levels) + (0 if header is None else len(header.to_bytes()) * 4 // 3)
    size = Size(2, described + RECEIPT_BYTES[receipt])
    for number, shape in enumerate(levels):
        shards, grid = grid_of(shape).shards(shape), grid_of(shape)
        voxels = math.prod(shape) * dtype.itemsize * ratios[min(number, len(ratios) - 1)]
        size += Size(1 + shards, ARRAY_BYTES + shards * grid.index_size + round(voxels))
    return size


def corrected_mrc(volume: Volume, dtype: np.dtype[Any]) -> Size:
    """An MRC file with the header of its input."""
    header = volume.mrc_header
    extended = 1024 if header is None else len(header.to_bytes())
    return Size(1, extended + math.prod(volume.shape) * dtype.itemsize)


def figure(volume: Volume) -> Size:
    """A figure of a tomogram before and after: text and axes, and slices and spectra at the resolution of a screen."""
    depth, rows, width = volume.shape
    pixels = 2 * (2 * depth * width + rows * width)
    return Size(1, FIGURE_BYTES + FIGURE_PIXEL_BYTES * min(pixels, FIGURE_PIXELS))


def cubes(shape: tuple[int, ...], stage: str, tables: Mapping[str, Any]) -> Size:
    """An array of cubes (n, ..., C, C, C) in float16 with its receipt; `tables` are like those that it carries."""
    per_shard = items_per_shard(shape)
    shards = math.ceil(shape[0] / per_shard)
    index = index_size(per_shard * math.prod(shape[1:-3]))
    described = ARRAY_BYTES + len(json.dumps({"attributes": tables}, indent=2)) if tables else ARRAY_BYTES
    stored = 2 * math.prod(shape) + CHECKSUM_BYTES * math.prod(shape[:-3])
    return Size(2 + shards, stored + shards * index + described + RECEIPT_BYTES[stage])


def crops(count: int, size: int) -> Size:
    """The sub-tomograms of one tomogram."""
    tables = {"valid": [[10] * 6] * count, "centres": [[100] * 3] * count, "held_out": [False] * count}
    return cubes((count, size, size, size), "extract", tables)


def predictions(count: int, size: int) -> Size:
    """The sub-tomograms of one tomogram as a network predicts them."""
    return cubes((count, size, size, size), "predicted", {})


def pairs(count: int, wedges: int, size: int, rotations: int) -> Size:
    """The pairs of one tomogram: of each sub-tomogram the target and `wedges` inputs."""
    tables = {"rotations": [[10] * rotations] * count, "valid": [[10] * 6] * count, "held_out": [False] * count}
    return cubes((count, 1 + wedges, size, size, size), "pairs", tables | {"inputs": [1] * 20})


@dataclass(frozen=True)
class NetworkSize:
    """Arrays of weights of a network and their values together, and those of them that are trained."""

    arrays: int
    values: int
    trained_arrays: int
    trained_values: int

    @classmethod
    def of(cls, architecture: Mapping[str, Any]) -> "NetworkSize":
        """Count the weights that `network.build_network` makes."""
        depth, kernel = architecture["depth"], architecture["kernel"] ** 3
        widths = [architecture["filter_base"] * 2**level for level in range(depth + 1)]
        extra = architecture["convs_per_depth"] - 1
        trained: list[int] = []
        fixed: list[int] = []

        def convolutions(channels: int, filters: Sequence[int]) -> None:
            for before, after in itertools.pairwise([channels, *filters]):
                trained.extend([kernel * before * after, after])
                if architecture["batch_normalization"]:  # its offset takes the place of the bias
                    trained.append(after)
                    fixed.extend([after, after])

        for level in range(depth):
            convolutions(widths[level - 1] if level else 1, [widths[level]] * (extra + 1))
            trained.extend([kernel * widths[level] ** 2, widths[level]])
        convolutions(widths[-2], [widths[-1]] * extra + [widths[-2]])
        for level in reversed(range(depth)):
            channels = widths[level + 1] if level + 1 < depth else widths[-2]
            trained.extend([8 * channels * widths[level], widths[level]])
            convolutions(2 * widths[level], [widths[level]] * (extra + 1))
        trained.extend([widths[0], 1])
        return cls(len(trained) + len(fixed), sum(trained) + sum(fixed), len(trained), sum(trained))

    @property
    def model(self) -> Size:
        """A model file."""
        return Size(1, HDF5_BYTES + self.arrays * HDF5_ARRAY_BYTES + 4 * self.values)

    def checkpoints(self, epochs: int) -> Size:
        """The checkpoints that one training leaves, one for each of its last epochs; Adam has two values a weight."""
        arrays = self.arrays + 2 * self.trained_arrays + 2
        one = Size(1, HDF5_BYTES + arrays * HDF5_ARRAY_BYTES + 4 * (self.values + 2 * self.trained_values))
        return one * min(KEPT, epochs)


def sampled_ratios(entries: Sequence[TomogramEntry]) -> dict[str, list[float]]:
    """Try the compression on blocks of some tomograms.

    Returns
    -------
    dict
        By dtype: compressed bytes over bytes of each level.
    """
    step = max(1, len(entries) // SAMPLED_TOMOGRAMS)
    found: dict[str, list[list[float]]] = {}
    for entry in entries[::step]:
        volume = open_volume(entry.path, entry.signedness)
        dtype = np.dtype(volume.data.dtype).newbyteorder("=")
        found.setdefault(dtype.name, []).append(_ratios(volume, dtype))
    for entry in entries:  # a dtype of which no sample was taken
        volume = open_volume(entry.path, entry.signedness)
        dtype = np.dtype(volume.data.dtype).newbyteorder("=")
        if dtype.name not in found:
            found[dtype.name] = [_ratios(volume, dtype)]
    return {
        name: [float(np.mean(level)) for level in itertools.zip_longest(*several, fillvalue=1.0)]
        for name, several in found.items()
    }


def _ratios(volume: Volume, dtype: np.dtype[Any]) -> list[float]:
    """Compressed bytes over bytes of a block in the middle and one in a quarter, level by level.

    Padding, which takes next to no room, may lie beside these blocks: more of it in the volume lowers the ratios.
    """
    plain, compressed = [0, 0, 0], [0, 0, 0]
    padding = _padding(volume)
    padded = []
    for share in (0.25, 0.5):
        z, y, x = (
            slice(max(0, start), start + edge)
            for start, edge in (
                (int(share * (size - min(size, edge))), min(size, edge))
                for size, edge in zip(volume.shape, (CHUNK, SAMPLE_EDGE, SAMPLE_EDGE), strict=True)
            )
        )
        block = np.ascontiguousarray(read_box(volume, (z, y, x)), dtype)
        padded.append(np.isin(block, padding.values).mean())
        for level in range(len(plain)):
            plain[level] += block.nbytes
            compressed[level] += len(encoded(block))
            block = halved(block, dtype)
    more = (1 - padding.share) / max(1e-3, 1 - float(np.mean(padded)))
    return [min(1.0, more * part / whole) for part, whole in zip(compressed, plain, strict=True)]


class _Padding(NamedTuple):
    """The values in two opposite corners of a volume, and the share of voxels that have one of them."""

    values: tuple[float, float]
    share: float


def _padding(volume: Volume) -> _Padding:
    """Look at the ends and at a few sections; of OME-Zarr, of which one costs as much as many, at fewer."""
    depth, of_mrc = volume.shape[0], isinstance(volume, MrcVolume)
    first, last = read_sections(volume, 0, 1)[0], read_sections(volume, depth - 1, depth)[0]
    values = (first[0, 0], last[-1, -1])
    start, stop = 0, depth
    if of_mrc:
        while start < depth and np.isin(read_sections(volume, start, start + 1), values).all():
            start += 1
        while stop > start and np.isin(read_sections(volume, stop - 1, stop), values).all():
            stop -= 1
    count = SAMPLED_SECTIONS if of_mrc else 2
    centres = (
        start + (2 * number + 1) * (stop - start) // (2 * count) for number in range(count if stop > start else 0)
    )
    others = [1 - np.isin(read_sections(volume, z, z + 1)[0], values).mean() for z in centres]
    return _Padding(values, 1 - float(np.mean(others or 0)) * (stop - start) / depth)
