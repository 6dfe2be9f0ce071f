"""Peak memory on a volume of 512 x 1024 x 1024 float32 voxels (2 GB), each stage in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from commanding import small_model
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
