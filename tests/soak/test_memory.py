"""Peak memory on a volume of 512 x 1024 x 1024 float32 voxels (2 GB), each stage in a process of its own.

And that of whole commands, beside what their plans say.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from commanding import run, small_model, volume
from mwr_hpc.io.mrc import MrcWriter

pytestmark = pytest.mark.soak

SHAPE = (512, 1024, 1024)
GIBIBYTE = 2**30
STAGES = {
    "convert": ("convert:convert_tomogram", {}, 2.0),
    "make-mask": (
        "make_mask:make_mask",
        {"side": 8, "percentile": 99.0, "threshold": 0.5, "z_crop": 0.0, "contrast": "dark"},
        2.0,
    ),
    "predict": (
        "correct:correct_tomogram",
        {"tilt_range": [-60.0, 60.0], "cube_size": None, "crop_size": None, "batch_size": 1, "keep_measured": False}
        | {"dtype": "float32", "contrast": "dark", "format": "mrc"},
        2.5,
    ),
}
PROGRAM = """
import importlib, json, resource, sys
from pathlib import Path
function, inputs, parameters, output = json.loads(sys.argv[1])
module, _, name = function.partition(":")
stage = getattr(importlib.import_module(f"mwr_hpc.missing_wedge.{module}"), name)
stage({key: Path(path) for key, path in inputs.items()}, parameters, Path(output))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("large")
    noise = np.random.default_rng(0).normal(size=SHAPE[1:]).astype(np.float32)
    with MrcWriter(folder / "large.mrc", SHAPE, np.float32, voxel_size=10.0) as writer:
        for z in range(SHAPE[0]):
            writer.write(z, np.roll(noise, 37 * z)[None])
    model = small_model(folder / "model.h5", filter_base=8, depth=3, convs_per_depth=2)
    return {"tomogram": str(folder / "large.mrc"), "model": str(model)}


@pytest.mark.parametrize("stage", STAGES)
def test_peak_memory(stage: str, inputs: dict[str, str], tmp_path: Path) -> None:
    function, parameters, limit = STAGES[stage]
    job = json.dumps([function, inputs, parameters, str(tmp_path / "output")])
    ended = subprocess.run([sys.executable, "-c", PROGRAM, job], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    peak = int(ended.stdout.split()[-1]) / GIBIBYTE
    print(f"{stage}: {peak:.2f} GiB")
    assert peak < limit


def planned_and_found(words: list[object], folder: Path) -> dict[str, tuple[int, int]]:
    """Peak memory by stage, as planned and as the receipts tell it, largest unit first."""
    stages = json.loads(run("plan", *words, "--json").out)["stages"]
    program = [sys.executable, "-m", "mwr_hpc.cli.main", *map(str, words)]
    ended = subprocess.run(program, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, int] = {}
    for path in folder.rglob("receipts/**/*.json*"):
        for line in path.read_text().splitlines():
            receipt = json.loads(line)
            stage = receipt["stage"].rpartition("_")[0] if receipt["stage"][-1].isdigit() else receipt["stage"]
            found[stage] = max(found.get(stage, 0), receipt["peak_memory"])
    return {one["stage"]: (one["peak_memory"], found[one["stage"]]) for one in stages}


@pytest.mark.parametrize("precision", ["float32", "auto"])
@pytest.mark.parametrize(("shape", "filters"), [((200, 464, 480), 16), ((96, 300, 300), 32)])
def test_a_training_needs_what_was_planned(
    shape: tuple[int, int, int], filters: int, precision: str, tmp_path: Path
) -> None:
    volume(tmp_path / "in" / "t.mrc", shape=shape)
    size = ["--cube_size", 64, "--crop_size", 96, "--filter_base", filters, "--batch_size", 4, "--precision", precision]
    short = ["--ncube", 20, "--rotations", 4, "--iterations", 2, "--epochs", 1, "--steps_per_epoch", 3]
    words = ["train", "--input_dir", tmp_path / "in", "--run_dir", tmp_path / "run", "--tilt_range", -60, 60]
    for stage, (planned, found) in planned_and_found([*words, *size, *short], tmp_path / "run").items():
        print(
            f"{stage}: planned {planned / GIBIBYTE:.2f} GiB, found {found / GIBIBYTE:.2f}, ratio {planned / found:.2f}"
        )
        assert planned == pytest.approx(found, rel=0.1), stage


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("shape", "architecture", "form"),
    [
        ((64, 200, 200), {"filter_base": 8, "depth": 3, "convs_per_depth": 2}, "mrc"),
        ((256, 600, 600), {"filter_base": 8, "depth": 3, "convs_per_depth": 1}, "mrc"),
        ((200, 400, 400), {"filter_base": 16, "depth": 2, "convs_per_depth": 2}, "mrc"),
        ((200, 600, 600), {"filter_base": 4, "depth": 3, "convs_per_depth": 3}, "ome-zarr"),
    ],
)
def test_a_prediction_needs_what_was_planned(
    shape: tuple[int, int, int], architecture: dict[str, int], form: str, precision: str, tmp_path: Path
) -> None:
    volume(tmp_path / "in" / "t.mrc", shape=shape)
    model = small_model(tmp_path / "m.h5", precision=precision, **architecture)
    words = ["predict", model, tmp_path / "in", "--out", tmp_path / "out", "--format", form]
    ((planned, found),) = planned_and_found(words, tmp_path / "out").values()
    print(f"planned {planned / GIBIBYTE:.2f} GiB, found {found / GIBIBYTE:.2f}, ratio {planned / found:.2f}")
    assert planned == pytest.approx(found, rel=0.1)
