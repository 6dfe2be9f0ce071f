"""Stage: a whole tomogram through a trained network, in overlapping tiles, blended and written slab by slab.

Three things happen at once: a thread reads and normalises tiles, another has the network predict them, and
this one blends and writes. Memory is that of two slabs of tiles, one read and one written.
"""

import base64
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.errors import ConfigError, InputError
from mwr_hpc.io.mrc import MrcVolume, MrcWriter, open_mrc
from mwr_hpc.io.ome_zarr import OmeZarrWriter, open_ome_zarr
from mwr_hpc.io.volume import Volume, open_volume, read_sections, section_reader
from mwr_hpc.missing_wedge.changes import measured_change
from mwr_hpc.missing_wedge.predict import Predictor
from mwr_hpc.numerics.defects import Defects, find_defects
from mwr_hpc.numerics.normalization import Normalization, StatisticsAccumulator, VolumeStatistics
from mwr_hpc.numerics.padding import constant_borders
from mwr_hpc.numerics.tiling import Tile, blend, plan_tiles, read_tiles
from mwr_hpc.numerics.wedge import combine, measured_region
from mwr_hpc.training.prefetch import in_background

MARGIN = 16
"""Context of a tile beyond its core on each side, in voxels, where nobody chose sizes; half of it is blended."""

LARGEST_TILE = 160
"""The margins of larger tiles are a smaller share of the work, but their slabs need more memory."""

SECTIONS_AT_ONCE = 16
"""That get their grey values back and are written together."""

TILE_BYTES, BATCH_BYTES = 2**31, 2**30
"""What a network may use for a tile, and for a batch of several, which are no faster where one fills it; fixed numbers,
so that results do not depend on the machine's memory."""

FLOAT16_STEPS = 10
"""Steps of float16 that a standard deviation must have: their rounding then adds noise of 3 % of it at most."""

PADDING_EXCLUDED = "excluded"
"""What a model says whose training left padding out of the statistics; version 0.1.0 counted it and says nothing."""

LABEL = "mwr_hpc: missing wedge corrected"


class _Slabs:
    """Slabs of a volume's sections, of which boxes are cut, without its defects.

    Of an MRC file only the rows of a box are read, section by section, so that next to nothing of it is in memory. Of
    OME-Zarr the last slab is kept, because every read would decode it again.
    """

    def __init__(self, volume: Volume, defects: Defects | None) -> None:
        self._volume = volume
        self._defects = defects
        self.shape = volume.shape
        self._kept: tuple[slice, NDArray[Any]] | None = None

    def __getitem__(self, sections: slice) -> "NDArray[Any] | _MrcSlab":
        if isinstance(self._volume, MrcVolume):
            return _MrcSlab(self._volume, sections, self._defects)
        if self._kept is None or self._kept[0] != sections:
            self._kept = None
            values = read_sections(self._volume, sections.start, sections.stop)
            self._kept = sections, self._defects.hide_in(values, (sections.start, 0, 0)) if self._defects else values
        return self._kept[1]


class _MrcSlab:
    """A slab of an MRC file; cutting a box of it reads the box."""

    def __init__(self, volume: MrcVolume, sections: slice, defects: Defects | None) -> None:
        self._volume = volume
        self._defects = defects
        self._first = sections.start
        self.shape = (sections.stop - sections.start, *volume.shape[1:])

    def __getitem__(self, box: tuple[slice, slice, slice]) -> NDArray[np.float32]:
        z, y, x = box
        values = np.empty([part.stop - part.start for part in box], np.float32)
        for number, section in enumerate(range(self._first + z.start, self._first + z.stop)):
            values[number] = self._volume.rows(section, y.start, y.stop)[:, x]
        return self._defects.hide_in(values, (self._first + z.start, y.start, x.start)) if self._defects else values


class Sizes(NamedTuple):
    """Largest edge of a tile, and of its core."""

    tile: int
    core: int


def correct_tomogram(inputs: Mapping[str, Path], parameters: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Correct one tomogram.

    Parameters
    ----------
    inputs
        "tomogram": an MRC file or an OME-Zarr directory; "model": the model file.
    parameters
        "tilt_range"; "cube_size" and "crop_size", core and tile edge, or None; "batch_size"; "keep_measured": put each
        tile's measured Fourier values back; "dtype": "float32" or "float16"; "contrast": "dark", "bright" or None for
        that of training; "format": "mrc" or "ome-zarr"; "voxel_size" in angstrom where the tomogram is known to state
        none; "bytes", "signed" or "unsigned", where it does not tell how to read them; "gpuID" where devices were
        chosen.
    output
        The file or directory to write, with the voxel size, origin, header and grey values of the input.

    Returns
    -------
    dict
        "tiles" (how many), "tile_shape", "core", "precision", "normalization", "change" (see `Change.to_record`), and
        "defects" of the tomogram where it has any.

    Raises
    ------
    InputError
        Tomogram or model cannot be used, or grey values do not fit float16.
    ConfigError
        Sizes do not fit the network.
    StageError
        Memory does not suffice.
    DiskFullError
        No space is left.
    """
    volume = open_volume(inputs["tomogram"], parameters.get("bytes"))
    predictor = Predictor(inputs["model"], parameters["batch_size"], devices=parameters.get("gpuID"))
    training_set = predictor.description["training_set"]
    statistics, defects = _statistics(volume)
    if defects is not None:
        defects = defects if training_set.get("padding") == PADDING_EXCLUDED else defects.padding_counted()
    if parameters["dtype"] == "float16":
        _require_float16(volume.path, statistics)
    statistics = defects.statistics if defects else statistics
    normalization = Normalization.from_statistics(
        statistics,
        training_set["normalization"] == "percentile",
        parameters["contrast"] or training_set["contrast"],
    )
    architecture = predictor.description["architecture"]
    sizes = choose_sizes(parameters["cube_size"], parameters["crop_size"], architecture)
    plan = plan_tiles(volume.shape, sizes.tile, sizes.core, predictor.multiple)
    predictor.batch_size = fitting_batch(plan.tile_shape, architecture, parameters["batch_size"])
    low, high = parameters["tilt_range"]
    region = measured_region(plan.tile_shape, (low, high))

    def network_inputs() -> Iterator[tuple[tuple[Tile, Any], NDArray[np.float32]]]:
        for tile, values in read_tiles(_Slabs(volume, defects), plan, statistics.mean):
            measured = normalization.apply(values)
            del values  # or it would wait here as long as the tile
            yield (tile, measured if parameters["keep_measured"] else None), measured

    def corrected() -> Iterator[tuple[Tile, NDArray[np.float32]]]:
        for (tile, measured), prediction in predictor.predicted(in_background(network_inputs(), predictor.batch_size)):
            yield tile, prediction if measured is None else combine(measured, prediction, region)

    with _writer(volume, output, parameters) as writer:
        for first, slab in blend(plan, in_background(corrected(), 1)):
            for z in range(0, len(slab), SECTIONS_AT_ONCE):
                grey = normalization.undo(slab[z : z + SECTIONS_AT_ONCE])
                if defects is not None:
                    defects.restore_in(grey, read_sections(volume, first + z, first + z + len(grey)), (first + z, 0, 0))
                writer.write(first + z, grey)
            del slab  # or it would be kept while the next one is blended
    result = open_ome_zarr(output) if parameters["format"] == "ome-zarr" else open_mrc(output)
    return {
        "tiles": len(plan),
        "tile_shape": list(plan.tile_shape),
        "core": sizes.core,
        "precision": predictor.precision,
        "normalization": normalization.to_record(),
        "change": measured_change(volume, result, (low, high), defects).to_record(),
        **({"defects": defects.summary()} if defects else {}),
    }


def choose_sizes(cube_size: int | None, crop_size: int | None, architecture: Mapping[str, Any]) -> Sizes:
    """Choose the edges of tile and core: those asked for, and otherwise the largest tile whose activations fit.

    Raises
    ------
    ConfigError
        The sizes asked for do not fit the network or one another.
    """
    multiple = 2 ** architecture["depth"]
    if cube_size is None and crop_size is None:
        edge = LARGEST_TILE
        while edge > 4 * MARGIN and activation_bytes((edge,) * 3, architecture) > TILE_BYTES:
            edge -= 2 * multiple
        edge = edge // multiple * multiple
        return Sizes(edge, edge - 2 * MARGIN)
    tile = crop_size or math.ceil(1.5 * (cube_size or 0) / multiple) * multiple
    core = cube_size or tile * 2 // 3 // 2 * 2
    if tile % multiple or tile < core or (tile - core) % 2:
        raise ConfigError(
            f"--cube_size {core} with --crop_size {tile}: the network halves its input {architecture['depth']} times, "
            f"so crop_size must be a multiple of {multiple}, and larger than cube_size by an even number; "
            f"use for example --cube_size {2 * multiple * max(1, core // (2 * multiple))} "
            f"--crop_size {3 * multiple * max(1, core // (2 * multiple))}, or leave both out"
        )
    return Sizes(tile, core)


def fitting_batch(tile_shape: tuple[int, ...], architecture: Mapping[str, Any], most: int) -> int:
    """Return how many tiles are predicted at once: at least one."""
    return max(1, min(most, BATCH_BYTES // activation_bytes(tile_shape, architecture)))


def activation_bytes(tile_shape: tuple[int, ...], architecture: Mapping[str, Any]) -> int:
    """Estimate what the network holds at once for a tile: at its first level the skip, what joins it, and both again.

    Measured: 5.6 times filter_base float32 values a voxel (half of that in bfloat16), here rounded up.
    """
    return math.prod(tile_shape) * architecture["filter_base"] * 4 * 6


def _statistics(volume: Volume) -> tuple[VolumeStatistics, Defects | None]:
    """Those of all voxels and the defects as recorded on conversion, else from one pass over the volume.

    Raises
    ------
    InputError
        A voxel is not a finite number, or all have one value.
    """
    recorded = getattr(volume, "attributes", {})
    if "defects" in recorded:  # version 0.1.0 did not look for them
        defects = recorded["defects"]
        return VolumeStatistics.from_record(recorded["statistics"]), defects and Defects.from_record(defects)
    section = section_reader(volume)
    interior = constant_borders(volume.shape, section)
    if interior is None:
        raise InputError(f"{volume.path}: all voxels have one value, there is nothing to correct; reconstruct it again")
    accumulator = StatisticsAccumulator(volume.shape, interior)
    for start in range(0, volume.shape[0], SECTIONS_AT_ONCE):
        slab = read_sections(volume, start, min(start + SECTIONS_AT_ONCE, volume.shape[0]))
        if bad := accumulator.add(start, slab):
            z, y, x = bad
            raise InputError(
                f"{volume.path}: the voxel (z, y, x) = {bad} has the value {slab[z - start, y, x]}; expected finite "
                "numbers: reconstruct or export the tomogram again"
            )
    statistics = accumulator.result()
    return statistics, find_defects(accumulator, statistics, section, interior)


def _require_float16(path: Path, statistics: VolumeStatistics) -> None:
    """See that float16 holds the grey values, which the result shares, and resolves them.

    Raises
    ------
    InputError
        Some are beyond its largest number, or its steps around them are coarse beside their standard deviation.
    """
    largest = float(np.finfo(np.float16).max)
    typical = abs(statistics.mean) + 3 * statistics.std
    fits = max(abs(statistics.minimum), abs(statistics.maximum), typical) <= largest
    step = float(np.spacing(np.float16(typical))) if fits else math.inf
    if FLOAT16_STEPS * step <= statistics.std:
        return
    why = (
        f"float16 holds none beyond {largest:g}"
        if not fits
        else f"the steps of float16 there, {step:.2g}, are too coarse for their standard deviation {statistics.std:.2g}"
    )
    raise InputError(
        f"{path}: grey values from {statistics.minimum:g} to {statistics.maximum:g} do not suit --dtype float16: "
        f"{why}; use --dtype float32"
    )


def _writer(volume: Volume, output: Path, parameters: Mapping[str, Any]) -> MrcWriter | OmeZarrWriter:
    header, dtype = volume.mrc_header, np.dtype(parameters["dtype"])
    stated = parameters.get("voxel_size", 0.0)
    z, y, x = volume.voxel_size
    voxel_size = (z or stated, y or stated, x or stated)
    if header is not None and stated:
        header = header.with_voxel_size(voxel_size)
    if parameters["format"] == "mrc":
        return MrcWriter(output, volume.shape, dtype, header, voxel_size=voxel_size, origin=volume.origin, label=LABEL)
    attributes = {}
    if header is not None:
        derived = header.derived(dtype, LABEL)
        attributes = {
            "mrc_header": base64.b64encode(derived.to_bytes()).decode("ascii"),
            "mrc_byte_order": derived.byte_order,
        }
    return OmeZarrWriter(output, volume.shape, dtype, voxel_size, volume.origin, attributes)
