"""Models, run directories and cohorts that are not as they should be: refused with a reason, or worked around."""

import json
import os
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from commanding import SHAPE, SHORT_TRAINING, damaged_volume, partials_below, refusal, run, small_model, volume
from mwr_hpc.pipeline.lock import RunLock
from mwr_hpc.training.model_file import write_model

TRAIN = ["train", "--input_dir", "in", "--run_dir", "run", *SHORT_TRAINING]
AGAIN = [*TRAIN, "--mask_dir", "masks", "--allow_missing_masks"]
BROKEN = {
    "nan": ("convert: ", "the voxel (z, y, x) = (15, 23, 23) has the value nan"),
    "constant": ("convert: ", "all voxels have the value 7"),
    "short": ("", "truncated"),
    "image": ("", "an image"),
    "thin": ("", "too few for --crop_size 12"),
    "masked": ("extract: ", "no voxel of the mask reaches 0.5"),
}


def cohort(folder):
    """Two good tomograms among broken ones of several kinds, and their masks."""
    for name, seed in (("good1", 1), ("good2", 2), ("masked", 3)):
        volume(folder / f"in/{name}.mrc", seed=seed)
    damaged_volume(folder / "in/nan.mrc", np.nan)
    volume(folder / "in/constant.rec", np.full(SHAPE, 7, np.float32))
    os.truncate(volume(folder / "in/short.mrc"), 5000)
    volume(folder / "in/image.mrc", shape=(1, 24, 24))
    volume(folder / "in/thin.mrc", shape=(5, 24, 24))
    volume(folder / "masks/masked.mrc", np.zeros(SHAPE, np.int8))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a cohort, some of it broken, and the run that was trained on it; and how that ended."""
    folder = tmp_path_factory.mktemp("cohort")
    cohort(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        ended = run(*AGAIN)
    return folder, ended


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def copy_of_run(here, trained):
    """The run and its tomograms, to be spoilt."""
    folder, _ = trained
    shutil.copytree(folder, here, dirs_exist_ok=True)
    return here


def test_broken_tomograms_are_named_and_the_rest_is_trained_on(trained):
    folder, ended = trained
    assert ended.code == 1, ended
    listed = ended.err.partition("Failed and left out: 6\n")[2]
    assert listed.count("\n") == len(BROKEN)
    for name, (stage, reason) in BROKEN.items():
        assert re.search(rf"^  {name}: {stage}.*{re.escape(reason)}", listed, re.MULTILINE), listed
    assert "Traceback" not in ended.err
    assert (folder / "run/results/model_iter01.h5").exists()
    assert sorted(os.listdir(folder / "run/subtomograms")) == ["good1.zarr", "good2.zarr"]
    assert not partials_below(folder)


def test_the_same_command_again_ends_the_same(trained, monkeypatch):
    folder, before = trained
    monkeypatch.chdir(folder)
    model = (folder / "run/results/model_iter01.h5").read_bytes()
    ended = run(*AGAIN)
    assert ended.code == 1
    assert ended.err.partition("Failed")[2] == before.err.partition("Failed")[2]
    assert (folder / "run/results/model_iter01.h5").read_bytes() == model


def test_tomograms_that_are_gone_are_no_longer_named(trained, monkeypatch):
    folder, _ = trained
    monkeypatch.chdir(folder)
    aside = folder / "aside"
    aside.mkdir()
    for name in ("nan.mrc", "constant.rec", "short.mrc", "image.mrc", "thin.mrc", "masked.mrc"):
        shutil.move(folder / "in" / name, aside / name)
    try:
        ended = run(*AGAIN)
    finally:
        for path in aside.iterdir():
            shutil.move(path, folder / "in" / path.name)
    assert ended.code == 0, ended
    assert "Failed" not in ended.err


def test_broken_tomograms_are_named_and_the_rest_is_corrected(trained, here):
    folder, _ = trained
    words = ["predict", folder / "run/results/model_iter01.h5", folder / "in", "--out", "out"]
    ended = run(*words)
    assert ended.code == 1, ended
    listed = ended.err.partition("Failed and left out: 4\n")[2]
    for name in ("nan", "constant", "short", "image"):
        assert re.search(rf"^  {name}: .*{re.escape(BROKEN[name][1].split(' the value')[0])}", listed, re.MULTILINE)
    results = [f"{name}{end}" for name in ("good1", "good2", "masked", "thin") for end in (".png", "_corrected.mrc")]
    assert sorted(os.listdir("out")) == sorted([".mwr_hpc", *results, "results.csv", "results.star"])
    assert not partials_below(here)
    again = run(*words)
    assert (again.code, again.err.partition("Failed")[2]) == (1, ended.err.partition("Failed")[2])


def test_another_runs_models_are_not_taken_for_this_ones(trained, here):
    folder, _ = trained
    message = refusal(
        *("train", "--input_dir", folder / "in", "--run_dir", "new", "--result_dir", folder / "run/results"),
        *("--mask_dir", folder / "masks", "--allow_missing_masks", *SHORT_TRAINING),
    )
    assert "model_iter01.h5: a model that the run in" in message and "choose another --result_dir" in message


def test_a_folder_of_results_that_another_run_is_writing_to(here):
    volume("in/a.mrc")
    with RunLock(Path("results/.mwr_hpc/models_lock.json")):
        ended = run(*TRAIN, "--result_dir", "results")
    assert ended.code == 2 and "use another --result_dir" in ended.err
    assert not Path("run/config.yaml").exists()


def test_a_run_that_was_moved_goes_on_but_not_with_another_folder_of_results(trained, here):
    folder, _ = trained
    shutil.copytree(folder / "run", "moved")
    words = ["train", "--input_dir", folder / "in", "--run_dir", "moved", *SHORT_TRAINING]
    words += ["--mask_dir", folder / "masks", "--allow_missing_masks"]
    before = Path("moved/results/model_iter01.h5").stat().st_mtime_ns
    assert run(*words).code == 1  # of the broken tomograms
    assert Path("moved/results/model_iter01.h5").stat().st_mtime_ns == before
    ended = run(*words, "--result_dir", "elsewhere")
    assert ended.code == 2 and "result_dir" in ended.err and "started with other settings" in ended.err


def test_results_of_others_are_not_replaced(here):
    volume("in/a.mrc")
    small_model("model.h5")
    small_model("model2.h5")
    volume("out/a_corrected.mrc")
    Path("out/a.ome.zarr").mkdir()
    (Path("out/a.ome.zarr") / "precious").touch()
    for words in (["predict", "model.h5", "in", "--out", "out"], ["convert", "in", "--out", "out"]):
        assert "is there, but this command did not make it" in refusal(*words)
    Path("tables").mkdir()
    Path("tables/results.csv").touch()
    assert "results.csv: is there" in refusal("predict", "model.h5", "model2.h5", "in", "--out", "tables")


def test_own_results_are_made_again_for_other_settings(here):
    volume("in/a.mrc")
    small_model("model.h5")
    words = ["predict", "model.h5", "in", "--out", "out", "--format", "both"]
    assert run(*words).code == 0
    content = Path("out/a_corrected.mrc").read_bytes()
    flipped(Path("out/a_corrected.mrc"), -1)
    assert run(*words).code == 0
    assert Path("out/a_corrected.mrc").read_bytes() == content
    assert run(*words, "--dtype", "float16").code == 0
    assert Path("out/a_corrected.mrc").stat().st_size < len(content)


def test_nothing_but_broken_tomograms_is_no_training(here):
    damaged_volume("in/nan.mrc", np.nan)
    os.truncate(volume("in/short.mrc"), 5000)
    ended = run(*TRAIN)
    assert (ended.code, ended.out, ended.err.count("Error: ")) == (2, "", 1)
    message = ended.err.partition("Error: ")[2]
    assert "nan: convert: " in message and "short: " in message and "truncated" in message
    assert not partials_below(here)
    assert not list(here.glob("run/results/*"))


def flipped(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


def weights_at(path):
    """Where the bytes of the first kernel are in a model file."""
    with h5py.File(path) as file:
        return file["weights/0000"].id.get_offset()


DAMAGES = {
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "cut at its end": lambda path: os.truncate(path, path.stat().st_size - 1),
    "empty": lambda path: os.truncate(path, 0),
    "no HDF5": lambda path: path.write_bytes(b"weights" * 1000),
    "first byte": lambda path: flipped(path, 0),
    "a byte of the description": lambda path: flipped(path, path.read_bytes().index(b'"architecture"')),
    "a byte of the weights": lambda path: flipped(path, weights_at(path) + 2),
    "another program's": lambda path: h5py.File(path, "w").close(),
    "another method's": lambda path: write_model(path, {"method": "picking", "architecture": {}}, []),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_damaged_models_are_refused(here, damage):
    volume("in/a.mrc")
    path = small_model(here / "model.h5")
    DAMAGES[damage](path)
    for words in (["predict", "model.h5", "in", "--out", "out"], [*TRAIN, "--pretrained_model", "model.h5"]):
        message = refusal(*words)
        assert str(path) in message
        assert re.search(r"not an HDF5 file|not a model of this program|damaged|a model for 'picking'", message)
        assert re.search(r"Give a model|Take another copy", message)


def test_model_of_another_architecture(here):
    volume("in/a.mrc")
    path = small_model("model.h5", filter_base=4, depth=2)
    message = refusal(*TRAIN, "--pretrained_model", path)
    assert "in the file: " in message and "asked for: " in message
    assert "depth 2, dropout 0.0, filter_base 4" in message and "depth 1, dropout 0.0, filter_base 2" in message
    assert "differ in depth, filter_base: set these as in the file, or leave the model out" in message


def test_run_that_is_locked_by_a_living_process(copy_of_run):
    with RunLock(Path("run/lock.json")) as lock:
        message = refusal(*AGAIN)
    assert f"process {os.getpid()} on {lock.holder.host}" in message
    assert "Wait for it, stop it, or use another --run_dir" in message


def test_folders_of_results_are_locked_too(here):
    volume("in/a.mrc")
    small_model("model.h5")
    with RunLock(Path("out/.mwr_hpc/lock.json")):
        for words in (["predict", "model.h5", "in"], ["convert", "in"]):
            assert f"process {os.getpid()} on" in refusal(*words, "--out", "out")


def test_run_from_another_configuration(trained, monkeypatch):
    monkeypatch.chdir(trained[0])
    message = refusal(*AGAIN, "--seed", 7, "--learning_rate", "1e-3")
    assert str(Path("run/config.yaml").absolute()) in message
    assert "seed: 0 in the run, 7 asked for" in message
    assert "learning_rate: 0.0004 in the run, 0.001 asked for" in message
    assert message.count("asked for") == 2
    assert "another --run_dir for a new run" in message


def test_run_from_a_newer_version(copy_of_run):
    config = Path("run/config.yaml")
    config.write_text(re.sub("schema_version: .*", "schema_version: 99\nnew_option: 1", config.read_text()))
    message = refusal(*AGAIN)
    assert str(config.absolute()) in message and "99" in message and "newer" in message


@pytest.mark.parametrize("text", ["", "\0", "[1, 2", "cube_size: 8"], ids=["empty", "NUL", "no YAML", "no version"])
def test_run_whose_configuration_is_damaged(copy_of_run, text):
    Path("run/config.yaml").write_text(text)
    assert str(Path("run/config.yaml").absolute()) in refusal(*AGAIN)


def test_run_that_is_not_there(here):
    volume("in/a.mrc")
    message = refusal(*TRAIN, "--continue_iter", 1, "--iterations", 2)
    assert "--continue_iter 1" in message and "holds no run to go on with" in message


def test_run_that_may_not_be_there(trained, monkeypatch):
    monkeypatch.chdir(trained[0])
    message = refusal(*AGAIN, "--continue_training", "False")
    assert "holds a run already" in message and "Choose another --run_dir" in message
    message = refusal(*AGAIN, "--continue_iter", 2, "--iterations", 3)
    assert "--continue_iter 2" in message and "models of the iterations [1]" in message


def test_two_models_of_one_name(here):
    volume("in/a.mrc")
    for folder in ("x", "y"):
        Path(folder).mkdir()
        small_model(f"{folder}/model.h5")
    assert "two models of one name" in refusal("predict", "x/model.h5", "y/model.h5", "in", "--out", "out")


def test_lock_that_is_no_lock(copy_of_run):
    Path("run/lock.json").write_text(json.dumps({"token": 1}))
    assert "no lock file of this program" in refusal(*AGAIN)
