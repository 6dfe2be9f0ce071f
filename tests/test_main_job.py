"""The main job as a user runs it: a folder of tomograms becomes models, and corrected tomograms."""

import itertools
import json
import signal

import mrcfile
import numpy as np
import pytest

import killing
from killing import both, exists
from mwr_hpc.io.mrc_header import read_header
from mwr_hpc.simulation.tomogram import TomogramSpecification, simulate_tomogram

TRAINING = [
    *("--cube_size", 16, "--crop_size", 24, "--unet_depth", 1, "--filter_base", 4, "--ncube", 6, "--rotations", 8),
    *("--iterations", 2, "--epochs", 2, "--steps_per_epoch", 8, "--batch_size", 4, "--tilt_range", -50, 60),
]


@pytest.fixture(scope="module")
def tomograms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tomograms")
    for number in range(2):
        specification = TomogramSpecification(shape=(32, 72, 80), tilt_range=(-50, 60), seed=number)
        simulate_tomogram(specification, folder / f"made{number}")["tomogram"].rename(folder / f"t{number}.mrc")
    return folder


def train_command(tomograms, run, *more):
    return ["train", "--input_dir", tomograms, "--run_dir", run, *TRAINING, *more]


def models(run):
    return {path.name: path.read_bytes() for path in run.glob("results/*.h5")}


@pytest.fixture(scope="module")
def undisturbed(tomograms, tmp_path_factory):
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    killing.run_well(train_command(tomograms, run))
    return run


def test_run_leaves_models_receipts_and_few_files(undisturbed):
    assert sorted(models(undisturbed)) == ["model_iter01.h5", "model_iter02.h5"]
    receipts = [json.loads(line) for path in undisturbed.glob("receipts/*.jsonl") for line in path.open()]
    assert {(receipt["stage"], receipt["name"]) for receipt in receipts} == {
        *itertools.product(("convert", "extract", "pairs_01", "pairs_02", "predicted_01"), ("t0", "t1")),
        ("train", "01"),
        ("train", "02"),
    }
    files = [path for path in undisturbed.rglob("*") if path.is_file()]
    assert sum("t0" in str(path.relative_to(undisturbed)) for path in files) <= 20
    assert not (undisturbed / "lock.json").exists()
    assert (undisturbed / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_same_command_again_does_nothing_again(tomograms, undisturbed):
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.h5")}
    killing.run_well(train_command(tomograms, undisturbed))
    assert before == {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.h5")}


@pytest.mark.parametrize(
    ("number", "place", "code"),
    [
        (signal.SIGKILL, "pairs", -signal.SIGKILL),
        (signal.SIGKILL, "training", -signal.SIGKILL),
        (signal.SIGTERM, "training", 85),
        (signal.SIGINT, "training", 85),
    ],
)
def test_interrupted_run_goes_on_to_the_same_bytes(tomograms, undisturbed, tmp_path, number, place, code):
    run = tmp_path / "run"
    moment = {
        "pairs": exists(run, "iterations/02/pairs/*.partial-*"),
        "training": both(exists(run, "iterations/01/checkpoint/*.h5"), lambda: not exists(run, "results/*.h5")()),
    }[place]
    assert killing.kill_when(train_command(tomograms, run), moment, tmp_path / "log", number) == code
    if code == 85:
        log = (tmp_path / "log").read_text()
        assert "Traceback" not in log
        assert "the same command again" in log
        assert "stopping in good order" in log
    killing.run_well(train_command(tomograms, run))
    assert models(run) == models(undisturbed)
    assert not killing.partials(run)


def test_more_iterations_go_on_and_an_earlier_one_can_be_gone_back_to(tomograms, undisturbed, tmp_path):
    run = tmp_path / "run"
    killing.run_well(train_command(tomograms, run, "--iterations", 1))
    assert models(run) == {"model_iter01.h5": models(undisturbed)["model_iter01.h5"]}
    killing.run_well(train_command(tomograms, run))
    assert models(run) == models(undisturbed)
    killing.run_well(train_command(tomograms, run, "--iterations", 3, "--continue_iter", 1))
    continued = models(run)
    assert sorted(continued) == ["model_iter01.h5", "model_iter02.h5", "model_iter03.h5"]
    assert continued["model_iter02.h5"] == models(undisturbed)["model_iter02.h5"]
    assert (run / "set_aside" / "after_01_1" / "model_iter02.h5").read_bytes() == continued["model_iter02.h5"]


def test_run_goes_on_only_with_its_own_settings(tomograms, undisturbed):
    refused = killing.run([*train_command(tomograms, undisturbed), "--learning_rate", "0.01"])
    assert refused.returncode == 2
    assert "learning_rate: 0.0004 in the run, 0.01 asked for" in refused.stderr
    refused = killing.run([*train_command(tomograms, undisturbed), "--continue_training", "False"])
    assert refused.returncode == 2
    assert "holds a run already" in refused.stderr


def test_corrected_tomograms_look_like_their_inputs_from_outside(tomograms, undisturbed, tmp_path):
    command = ["predict", undisturbed / "results/model_iter02.h5", tomograms, "--out", tmp_path / "out"]
    killing.run_well(command)
    for name in ("t0", "t1"):
        source, corrected = tomograms / f"{name}.mrc", tmp_path / "out" / f"{name}_corrected.mrc"
        before, after = read_header(source), read_header(corrected)
        assert (after.shape, after.voxel_size, after.origin) == (before.shape, before.voxel_size, before.origin)
        assert mrcfile.validate(corrected)
        old, new = mrcfile.read(source).astype(float), mrcfile.read(corrected).astype(float)
        assert np.corrcoef(old.ravel(), new.ravel())[0, 1] > 0.5
        assert abs(new.mean() - old.mean()) < 0.1 * old.std()
        assert 0.3 < new.std() / old.std() < 1.5
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.mrc")}
    killing.run_well(command)
    assert written == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.mrc")}


def test_several_models_have_a_folder_each_and_both_formats_agree(tomograms, undisturbed, tmp_path):
    found = sorted(undisturbed.glob("results/*.h5"))
    killing.run_well(["predict", *found, tomograms / "t0.mrc", "--out", tmp_path / "out", "--format", "both"])
    from mwr_hpc.io.volume import open_volume

    for number in (1, 2):
        folder = tmp_path / "out" / f"model_iter0{number}"
        as_mrc = open_volume(folder / "t0_corrected.mrc").data
        as_zarr = open_volume(folder / "t0_corrected.ome.zarr").data
        np.testing.assert_array_equal(np.asarray(as_mrc), np.asarray(as_zarr[...]))
