"""Speed of picking: megapixels of the micrographs a second, and what share of the time the network takes.

    python benchmarks/picking.py [--size 4096] [--angpix 1.06] [--micrographs 8] [--processes 1 2]

First one micrograph after the other in this process, on one thread, with the CPU time of each part; then `mwr-hpc
boxnet pick` as users run it, with as many processes, by the clock and its start included. The model is an untrained
one of the usual size, or --model.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from mwr_hpc.boxnet import pick
from mwr_hpc.boxnet.candidates import Candidates, Rules, read_candidates, write_candidates
from mwr_hpc.boxnet.network import Architecture, build_network, initialise
from mwr_hpc.boxnet.registry import METHOD
from mwr_hpc.io.micrograph import read_micrograph
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.numerics.micrograph import prepare
from mwr_hpc.training.framework import configure
from mwr_hpc.training.model_file import named_weights, write_model

RULES = Rules(threshold=0.3, diameter=190.0)


def untrained(path: Path) -> Path:
    """Write a model of the usual size."""
    configure()
    architecture = Architecture()
    network = build_network(architecture, "float32")
    initialise(network, 0)
    described = {"method": METHOD, "architecture": architecture.to_record(), "precision": "float32", "masks": True}
    described["background_weight"] = 1.0
    write_model(path, {**described, "pixel_size": 8.0, "threshold": 0.3, "training_set": {}}, named_weights(network))
    return path


def write_micrographs(folder: Path, number: int, size: int, angpix: float) -> list[Path]:
    """Write micrographs of noise."""
    folder.mkdir()
    paths = [folder / f"m{index:03d}.mrc" for index in range(number)]
    for index, path in enumerate(paths):
        image = keyed_generator(0, "benchmark", index=index).standard_normal((1, size, size), np.float32)
        with MrcWriter(path, image.shape, np.float32, voxel_size=angpix) as writer:
            writer.write(0, image)
    return paths


def timed(parts: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    started = time.process_time()
    result = work()
    parts[name] = time.process_time() - started
    return result


def one_by_one(paths: list[Path], model: Path, folder: Path) -> Iterator[dict[str, float]]:
    """Yield the CPU seconds of each part of picking each micrograph."""
    labeller = pick.loaded(model, 0)
    for path in paths:
        parts: dict[str, float] = {}
        micrograph = timed(parts, "read", lambda path=path: read_micrograph(path))
        image = timed(parts, "prepare", lambda read=micrograph: prepare(read.image, read.pixel_size))
        said = timed(parts, "network", lambda image=image: labeller.winners(image))
        seen = Candidates(path.name, micrograph.image.shape, micrograph.pixel_size, *said)
        timed(parts, "keep", lambda seen=seen: write_candidates(folder / "c.h5", seen))
        timed(parts, "choose", lambda: read_candidates(folder / "c.h5").picks(RULES))
        (folder / "c.h5").unlink()
        yield parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--angpix", type=float, default=1.06)
    parser.add_argument("--micrographs", type=int, default=8)
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = options.model or untrained(folder / "untrained.h5")
        paths = write_micrographs(folder / "m", options.micrographs, options.size, options.angpix)
        megapixels = options.size**2 / 1e6
        every = list(one_by_one(paths, model, folder))[1:]  # the first also traces the network's graph
        parts = {name: float(np.median([one[name] for one in every])) for name in every[0]}
        total = sum(parts.values())
        line = {"megapixels": megapixels, "seconds": {name: round(value, 3) for name, value in parts.items()}}
        print(json.dumps(line | {"megapixels_per_second": megapixels / total, "network": parts["network"] / total}))
        for processes in options.processes:
            words = ["boxnet", "pick", "--model", model, "--micrographs", folder / "m", "--diameter", 190]
            words += ["--out", folder / f"out{processes}", "--processes", processes]
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "mwr_hpc.cli.main", *map(str, words)], check=True, capture_output=True
            )
            speed = megapixels * len(paths) / (time.perf_counter() - started)
            print(json.dumps({"processes": processes, "megapixels_per_second": round(speed, 1)}))


if __name__ == "__main__":
    main()
