"""Pairs per CPU-second, bytes and files of preparation, beside what IsoNet needs for the same pairs.

    python benchmarks/preparation.py [--shape 200 400 400] [--ncube 50] [--json FILE]

One tomogram of noise, crop 96, cube 64, all 20 rotations. IsoNet's figure was measured once on a like machine.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.missing_wedge.convert import convert_tomogram
from mwr_hpc.missing_wedge.cube_arrays import CubeReader
from mwr_hpc.missing_wedge.extract import extract_subtomograms
from mwr_hpc.missing_wedge.pair_reader import PairDataset
from mwr_hpc.missing_wedge.pairs import make_pairs

CUBE, CROP, ROTATIONS = 64, 96, 20
ISONET_PAIRS_PER_CPU_SECOND = 15.4


def cpu_seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


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
    figures["extract_cpu_s"] = cpu_seconds(
        lambda: extract_subtomograms({"tomogram": folder / "t.ome.zarr", "mask": None}, extraction, crops)
    )
    count = len(CubeReader(crops)) * ROTATIONS
    for name, predicted in (("first", None), ("later", crops)):
        parameters = {**common, "iteration": 1, "rotations": ROTATIONS, "tilt_range": [-60.0, 60.0]}
        inputs = {"subtomograms": crops, "predicted": predicted}
        spent = cpu_seconds(lambda: make_pairs(inputs, parameters, folder / name))  # noqa: B023 - called at once
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

    figures["pairs_read_per_cpu_s"] = len(chosen) / cpu_seconds(read)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(200, 400, 400))
    parser.add_argument("--ncube", type=int, default=50)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), tuple(arguments.shape), arguments.ncube)
    for name, value in figures.items():
        print(f"{name:36s} {value:10.4g}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
