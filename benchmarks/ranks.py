"""Samples per second of one and of two ranks with one thread each, and where the time of a step goes.

    python benchmarks/ranks.py [--filter-base 16] [--cube-size 32] [--steps 20]

Needs Horovod and two cores. Each rank has four samples of a step, as much work with two ranks as alone. The figures are
what a run writes to its ``curves.jsonl``: the median of the epochs after the first, which holds the making of the
graphs. Other programs on the machine slow down two ranks more than one: each step waits for the slower.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from mwr_hpc.simulation.tomogram import TomogramSpecification, simulate_tomogram
from mwr_hpc.training.communicator import require_horovod
from mwr_hpc.training.curves import Curve, read_curves

FIGURES = ("samples_per_second", "input_wait", "compute", "allreduce")


def train(tomograms: Path, run: Path, ranks: int, options: argparse.Namespace) -> list[Curve]:
    """Train on as many cores as there are ranks."""
    cores = sorted(os.sched_getaffinity(0))[:ranks]
    network = f"--filter_base {options.filter_base} --cube_size {options.cube_size} --precision float32".split()
    schedule = f"--iterations 1 --epochs 4 --steps_per_epoch {options.steps} --batch_size {4 * ranks}".split()
    words = ["train", "--input_dir", tomograms, "--run_dir", run, *network, *schedule, "--ncube", "20"]
    subprocess.run(
        [sys.executable, "-m", "mwr_hpc.cli.main", *words, "--ranks", str(ranks)],
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return list(read_curves(run / "iterations/01/curves.jsonl"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filter-base", type=int, default=16)
    parser.add_argument("--cube-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    require_horovod()
    print("ranks  samples/s  input  computation  allreduce  (shares of the time)")
    with tempfile.TemporaryDirectory() as folder:
        tomograms = Path(folder) / "tomograms"
        made = simulate_tomogram(TomogramSpecification(shape=(48, 128, 128)), Path(folder) / "made")
        tomograms.mkdir()
        made["tomogram"].rename(tomograms / "t.mrc")
        for ranks in (1, 2):
            later = train(tomograms, Path(folder) / f"run{ranks}", ranks, options)[1:]
            speed, *shares = (statistics.median(epoch[name] for epoch in later) for name in FIGURES)
            print(f"{ranks:5}  {speed:9.2f}  {shares[0]:5.1%}  {shares[1]:11.1%}  {shares[2]:9.1%}")


if __name__ == "__main__":
    main()
