"""Killed at twelve moments and started again, the result is that of the undisturbed run, byte for byte."""

import pytest

import killing
from killing import both, exists
from mwr_hpc.simulation.tomogram import TomogramSpecification, simulate_tomogram

pytestmark = pytest.mark.soak

TRAINING = [
    *("--cube_size", 24, "--crop_size", 32, "--unet_depth", 2, "--filter_base", 4, "--ncube", 24, "--rotations", 8),
    *("--iterations", 2, "--epochs", 3, "--steps_per_epoch", 12, "--batch_size", 4, "--precision", "float32"),
]


@pytest.fixture(scope="module")
def tomograms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tomograms")
    for number in range(3):
        made = folder / f"made{number}"
        paths = simulate_tomogram(TomogramSpecification(shape=(64, 192, 192), seed=number), made)
        paths["tomogram"].rename(folder / f"t{number}.mrc")
    return folder


def commands(tomograms, run, out):
    train = ["train", "--input_dir", tomograms, "--run_dir", run, *TRAINING]
    return train, ["predict", run / "results" / "model_iter02.h5", tomograms, "--out", out]


def results(run, out):
    return {path.name: path.read_bytes() for path in [*run.glob("results/*.h5"), *out.glob("*.mrc")]}


@pytest.fixture(scope="module")
def undisturbed(tomograms, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    for command in commands(tomograms, folder / "run", folder / "out"):
        killing.run_well(command)
    return results(folder / "run", folder / "out")


def moments(run, out):
    pairs, predicted = run / "iterations/01/pairs", run / "iterations/01/predicted"
    checkpoints = [run / f"iterations/{number:02d}/checkpoint" for number in (1, 2)]
    return {
        "conversion, first": exists(run, "tomograms/*.partial-*"),
        "conversion, later": both(exists(run, "tomograms/*.zarr"), exists(run, "tomograms/*.partial-*")),
        "extraction, first": exists(run, "subtomograms/*.partial-*"),
        "extraction, later": both(exists(run, "subtomograms/*.zarr"), exists(run, "subtomograms/*.partial-*")),
        "pairs, first iteration": exists(pairs, "*.partial-*"),
        "pairs, second iteration": exists(run, "iterations/02/pairs/*.partial-*"),
        "training, before a checkpoint": both(exists(checkpoints[0].parent, "*"), exists(pairs, "t*.zarr", 3)),
        "training, after a checkpoint": exists(checkpoints[1], "*.h5"),
        "sub-tomograms, first": exists(predicted, "*.partial-*"),
        "sub-tomograms, later": both(exists(predicted, "*.zarr"), exists(predicted, "*.partial-*")),
        "tomograms, first": exists(out, "*.partial-*"),
        "tomograms, later": both(exists(out, "*_corrected.mrc"), exists(out, "*.partial-*")),
    }


@pytest.mark.parametrize("moment", sorted(moments(killing.Path(), killing.Path())))
def test_killed_run_goes_on_to_the_same_bytes(moment, tomograms, undisturbed, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    reached = moments(run, out)[moment]
    train, predict = commands(tomograms, run, out)
    if moment.startswith("tomograms"):
        killing.run_well(train)
        assert killing.kill_when(predict, reached, tmp_path / "log") == -9
    else:
        assert killing.kill_when(train, reached, tmp_path / "log") == -9
        killing.run_well(train)
    killing.run_well(predict)
    assert not killing.partials(run, out)
    assert results(run, out) == undisturbed
