"""Pairs per CPU-second, bytes and files of preparation beside what IsoNet needs, and conversion beside its limits.

    python benchmarks/preparation.py [--shape 200 400 400] [--ncube 50] [--converted 256 768 768] [--json FILE]

Pairs: one tomogram of noise, crop 96, cube 64, all 20 rotations. IsoNet's figure was measured once on a like machine.

Conversion: seconds until a tomogram of float32 noise is on the disk, beside what codec and disk allow, in the same run.
The codec's seconds are those that one thread takes to compress the same chunks of all levels, the disk's those that it
takes to read the tomogram and to write and synchronise the same files. Doing both at once takes at least the longer of
them: `conversion_of_limit` is this time divided by the conversion's. Where all cores are busy, as when many tomograms
are converted at once, processor seconds matter instead: `conversion_of_cpu_limit` is those of codec and disk together
divided by the conversion's. Of several rounds the shortest times count.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.io.ome_zarr import open_ome_zarr
from mwr_hpc.io.pyramid import halved, level_shapes
from mwr_hpc.io.shards import encode_shard, grid_of
from mwr_hpc.missing_wedge.convert import convert_tomogram
from mwr_hpc.missing_wedge.cube_arrays import CubeReader
from mwr_hpc.missing_wedge.extract import extract_subtomograms
from mwr_hpc.missing_wedge.pair_reader import PairDataset
from mwr_hpc.missing_wedge.pairs import make_pairs

CUBE, CROP, ROTATIONS = 64, 96, 20
ISONET_PAIRS_PER_CPU_SECOND = 15.4
ROUNDS = 3


class Spent(NamedTuple):
    """Seconds on the clock, and of the processor."""

    wall: float
    cpu: float


def timed(call: Callable[[], Any]) -> Spent:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def size_and_files(folder: Path) -> tuple[int, int]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files), len(files)


def measure(folder: Path, shape: tuple[int, int, int], ncube: int) -> dict[str, float]:
    volume = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    with MrcWriter(folder / "t.mrc", volume.shape, volume.dtype) as writer:
        writer.write(0, volume)
    convert_tomogram({"tomogram": folder / "t.mrc"}, {}, folder / "t.ome.zarr")
    common = {"id": "t", "cube_size": CUBE, "crop_size": CROP, "seed": 0}
    normalization = {"offset": 0.0, "scale": 1.0, "sign": 1}
    extraction = {**common, "ncube": ncube, "hold_out": False, "subtomograms": False, "normalization": normalization}
    crops = folder / "crops.zarr"
    figures: dict[str, float] = {}
    figures["extract_cpu_s"] = timed(
        lambda: extract_subtomograms({"tomogram": folder / "t.ome.zarr", "mask": None}, extraction, crops)
    ).cpu
    count = len(CubeReader(crops)) * ROTATIONS
    for name, predicted in (("first", None), ("later", crops)):
        parameters = {**common, "iteration": 1, "rotations": ROTATIONS, "tilt_range": [-60.0, 60.0]}
        inputs = {"subtomograms": crops, "predicted": predicted}
        spent = timed(lambda: make_pairs(inputs, parameters, folder / name)).cpu  # noqa: B023 - called at once
        figures[f"pairs_per_cpu_s_{name}_iteration"] = count / spent
    figures["times_isonet"] = figures["pairs_per_cpu_s_later_iteration"] / ISONET_PAIRS_PER_CPU_SECOND

    # IsoNet writes each pair as two float32 MRC files.
    size, files = size_and_files(folder / "later")
    figures["share_of_isonets_bytes"] = size / (count * 2 * (4 * CUBE**3 + 1024))
    figures["share_of_isonets_files"] = files / (2 * count)
    dataset = PairDataset({"t": folder / "later"})
    chosen = np.random.default_rng(0).permutation(len(dataset.training))[:200]

    def read() -> None:
        for index in chosen:
            dataset.read(dataset.training[index])

    figures["pairs_read_per_cpu_s"] = len(chosen) / timed(read).cpu
    return figures


def measure_conversion(folder: Path, shape: tuple[int, int, int]) -> dict[str, float]:
    tomogram, converted, copies = folder / "c.mrc", folder / "c.ome.zarr", folder / "copies"
    with MrcWriter(tomogram, shape, np.float32) as writer:
        for z in range(shape[0]):
            writer.write(z, np.random.default_rng(z).normal(size=(1, *shape[1:])).astype(np.float32))
    spent: dict[str, list[Spent]] = {"convert": [], "codec": [], "disk": []}
    for _ in range(ROUNDS):
        for path in (converted, copies):
            shutil.rmtree(path, ignore_errors=True)
        os.sync()
        spent["convert"].append(timed(lambda: convert_tomogram({"tomogram": tomogram}, {}, converted)))
        spent["codec"].append(codec_time(np.asarray(open_ome_zarr(converted).data[:])))
        files = [path.read_bytes() for path in sorted(converted.rglob("*")) if path.is_file()]
        copies.mkdir()
        spent["disk"].append(timed(lambda: read_and_write(tomogram, copies, files)))  # noqa: B023 - called at once
    wall = {name: min(one.wall for one in times) for name, times in spent.items()}
    cpu = {name: min(one.cpu for one in times) for name, times in spent.items()}
    return {
        **{f"{name}_s": seconds for name, seconds in wall.items()},
        **{f"{name}_cpu_s": seconds for name, seconds in cpu.items()},
        "conversion_mb_per_s": tomogram.stat().st_size / 1e6 / wall["convert"],
        "conversion_of_limit": max(wall["codec"], wall["disk"]) / wall["convert"],
        "conversion_of_cpu_limit": (cpu["codec"] + cpu["disk"]) / cpu["convert"],
    }


def codec_time(volume: np.ndarray) -> Spent:
    """What one thread needs for all chunks of all levels."""
    wall = cpu = 0.0
    for level, shape in enumerate(level_shapes(volume.shape)):
        volume = halved(volume, volume.dtype) if level else volume
        grid = grid_of(shape)
        for z in range(0, shape[0], grid.shard[0]):
            for y in range(0, shape[1], grid.shard[1]):
                for x in range(0, shape[2], grid.shard[2]):
                    block = volume[z : z + grid.shard[0], y : y + grid.shard[1], x : x + grid.shard[2]]
                    one = timed(lambda: list(encode_shard(block, grid, volume.dtype)))  # noqa: B023 - as above
                    wall, cpu = wall + one.wall, cpu + one.cpu
    return Spent(wall, cpu)


def read_and_write(tomogram: Path, folder: Path, files: list[bytes]) -> None:
    tomogram.read_bytes()
    for number, content in enumerate(files):
        with (folder / str(number)).open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(200, 400, 400))
    parser.add_argument("--ncube", type=int, default=50)
    parser.add_argument("--converted", type=int, nargs=3, default=(256, 768, 768))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), tuple(arguments.shape), arguments.ncube)
        figures |= measure_conversion(Path(folder), tuple(arguments.converted))
    for name, value in figures.items():
        print(f"{name:36s} {value:10.4g}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
