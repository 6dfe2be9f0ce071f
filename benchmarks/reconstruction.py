"""Reconstructions of a phantom with known truth: figures of merit against CPU time, a line a run.

    python benchmarks/reconstruction.py ../shared/data/phantoms/sym [--inputs tomo tomo_clean] [--seeds 0 1 2]

Each budget is one training (its own preparation and sub-tomogram predictions counted) and one correction of the whole
tomogram. The folder holds truth.mrc, the inputs, and tilt_range.txt with the two angles.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = [sys.executable, "-m", "mwr_hpc.cli.main"]
NETWORK = ["--filter_base", "16", "--unet_depth", "3", "--cube_size", "48", "--crop_size", "72", "--contrast", "bright"]
TRAINING = ["--ncube", "20", "--rotations", "20", "--batch_size", "1", "--learning_rate", "6e-4"]
BUDGETS = {
    "3 CPU-minutes": ["--iterations", "8", "--epochs", "1", "--steps_per_epoch", "64"],
    "10 CPU-minutes": ["--iterations", "24", "--epochs", "1", "--steps_per_epoch", "72"],
}


def run(*arguments: object) -> str:
    words = [*PROGRAM, *map(str, arguments)]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL).stdout


def cpu_seconds(receipts: Path) -> float:
    lines = [json.loads(line) for path in receipts.glob("*.jsonl") for line in path.open()]
    return sum(line["cpu_seconds"] for line in lines if line["stage"] != "correct")


def reconstruct(folder: Path, name: str, budget: list[str], seed: int, more: list[str]) -> dict[str, float]:
    tilts = (folder / "tilt_range.txt").read_text().split()
    with tempfile.TemporaryDirectory() as scratch:
        inputs, training = Path(scratch, "inputs"), Path(scratch, "run")
        inputs.mkdir()
        (inputs / "tomogram.mrc").symlink_to((folder / f"{name}.mrc").resolve())
        common = ["--tilt_range", *tilts]
        settings = [*common, *NETWORK, *TRAINING, *budget, "--seed", seed, *more]
        run("train", "--input_dir", inputs, "--run_dir", training, *settings)
        model = sorted(training.glob("results/*.h5"))[-1]
        run("predict", model, inputs, "--out", Path(scratch, "out"), *common)
        corrected = Path(scratch, "out", "tomogram_corrected.mrc")
        judged = json.loads(run("evaluate", corrected, "--truth", folder / "truth.mrc", *common, "--json"))
        train, correct = (Path(scratch, path) for path in ("run/receipts", "out/.mwr_hpc/receipts"))
        corrected_in = json.loads((correct / "correct.jsonl").read_text())["cpu_seconds"]
        return {"cpu_seconds": cpu_seconds(train), "correction_cpu_seconds": corrected_in, **flat(judged["after"])}


def flat(record: dict, prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key} ")
        elif isinstance(value, int | float):
            found[f"{prefix}{key}"] = value
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--inputs", nargs="+", default=["tomo", "tomo_clean"])
    parser.add_argument("--budgets", nargs="+", choices=list(BUDGETS), default=list(BUDGETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path)
    arguments, more = parser.parse_known_args()
    results = []
    print(f"{'input':11s} {'budget':15s} seed  CPU-s  fcc missing  slope missing  real cc", flush=True)
    for name in arguments.inputs:
        for budget in arguments.budgets:
            for seed in arguments.seeds:
                found = reconstruct(arguments.folder, name, BUDGETS[budget], seed, more)
                results.append({"input": name, "budget": budget, "seed": seed, **found})
                print(
                    f"{name:11s} {budget:15s} {seed:4d} {found['cpu_seconds']:6.0f} {found['fcc missing']:12.3f} "
                    f"{found['slope missing']:14.3f} {found['real_cc']:8.3f}",
                    flush=True,
                )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
