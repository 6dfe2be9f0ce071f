"""Runs commands in this process and sees how they end; makes the small files that they work on."""

import contextlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from mwr_hpc.cli.main import main
from mwr_hpc.io.atomic import PARTIAL
from mwr_hpc.io.mrc import MrcWriter

SHAPE = (16, 24, 24)

SMALLEST = {
    "filter_base": 2,
    "unet_depth": 1,
    "convs_per_depth": 1,
    "cube_size": 8,
    "crop_size": 12,
    "ncube": 2,
    "rotations": 2,
    "iterations": 1,
    "epochs": 1,
    "steps_per_epoch": 1,
    "batch_size": 2,
    "precision": "float32",
    "preprocessing_ncpus": 1,
}
SHORT_TRAINING = [word for name, value in SMALLEST.items() for word in (f"--{name}", str(value))]
"""Options of the smallest training that there is."""


class Ended(NamedTuple):
    """How a command ended."""

    code: object
    out: str
    err: str


def run(*words: object) -> Ended:
    """Run a command to its end; whatever is not an orderly exit is raised."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit) as exit_, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        main([str(word) for word in words])
    return Ended(exit_.value.code, out.getvalue(), err.getvalue())


def refusal(*words: object) -> str:
    """Run a command that must refuse to start: exit code 2, one message, and not a file or folder more than before.

    Returns
    -------
    str
        The message.
    """
    before = files_below(Path.cwd())
    ended = run(*words)
    assert (ended.code, ended.out) == (2, ""), ended
    assert ended.err.startswith("Error: ") and ended.err.count("Error: ") == 1, ended.err
    assert "Traceback" not in ended.err
    assert files_below(Path.cwd()) == before
    return ended.err


def files_below(folder: Path) -> list[Path]:
    """All files and folders in a folder and below."""
    return sorted(folder.rglob("*"))


def partials_below(folder: Path) -> list[Path]:
    """What a command left half-written."""
    return [path for path in files_below(folder) if PARTIAL in path.name]


def volume(path: Path | str, values: np.ndarray | None = None, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Path:
    """Write an MRC file, of noise where no values are given."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if values is None:
        values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    with MrcWriter(path, values.shape, values.dtype, voxel_size=10.0) as writer:
        writer.write(0, values)
    return path


def damaged_volume(path: Path | str, voxel: float) -> Path:
    """Write an MRC file of noise with one voxel that is no number, which `MrcWriter` refuses to write."""
    path = volume(path)
    with path.open("r+b") as stream:
        stream.seek(-4, 2)
        stream.write(np.float32(voxel).tobytes())
    return path


def small_model(path: Path | str, *, precision: str = "float32", **architecture: int) -> Path:
    """Write an untrained model of the missing-wedge network."""
    from mwr_hpc.missing_wedge.network import METHOD, Architecture, build_network, initialise
    from mwr_hpc.training.framework import configure
    from mwr_hpc.training.model_file import named_weights, write_model

    configure()
    chosen = Architecture(**{"filter_base": 2, "depth": 1, "convs_per_depth": 1, "kernel": 3, **architecture})
    network = build_network(chosen, "float32")
    initialise(network, 0)
    description = {
        "method": METHOD,
        "architecture": chosen.to_record(),
        "precision": precision,
        "training_set": {"tilt_range": [-60, 60], "normalization": "mean and standard deviation", "contrast": "dark"},
    }
    write_model(Path(path), description, named_weights(network))
    return Path(path)
