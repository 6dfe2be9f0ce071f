"""Files and folders that cannot be worked on: every command says so in one message and writes nothing."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from commanding import SHAPE, SHORT_TRAINING, damaged_volume, partials_below, refusal, run, small_model, volume

BYTES = 1024 + 4 * int(np.prod(SHAPE))
TRAIN = ["train", "--input_dir", "in", "--run_dir", "run", *SHORT_TRAINING]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()


def with_sizes(path, nx, ny, nz):
    volume(path)
    with open(path, "r+b") as stream:
        stream.write(struct.pack("<3i", nx, ny, nz))


def shortened(path):
    volume(path)
    os.truncate(path, BYTES - 100)


def lengthened(path):
    volume(path)
    with open(path, "ab") as stream:
        stream.write(b"m" * BYTES)


BAD_HEADERS = {
    "not an MRC": (
        lambda path: Path(path).write_bytes(b"a JPEG, say" * 200),
        ["not an MRC file", "expected a header", "export the volume as MRC again"],
    ),
    "empty": (lambda path: Path(path).touch(), ["not an MRC file", "0 bytes", "export the volume as MRC again"]),
    "truncated": (shortened, ["truncated", f"has {BYTES - 100} bytes", f"asks for {BYTES}", "copy or export it again"]),
    "too long": (lengthened, ["too long", f"has {2 * BYTES} bytes", f"asks for {BYTES}", "copy or export it again"]),
    "absurd sizes": (
        lambda path: with_sizes(path, 2**31 - 1, 2**31 - 1, 2**31 - 1),
        ["truncated", "2147483647 x 2147483647 x 2147483647", "copy or export it again"],
    ),
    "negative sizes": (lambda path: with_sizes(path, -24, 24, 16), ["-24 x 24 x 16", "at least 1", "export it again"]),
    "an image": (lambda path: volume(path, shape=(1, 24, 24)), ["24 x 24 x 1", "image", "give the reconstructed"]),
    "dangling link": (lambda path: Path(path).symlink_to("gone.mrc"), ["No such file", "check the path"]),
}


@pytest.mark.parametrize("bad", BAD_HEADERS)
@pytest.mark.parametrize("command", ["train", "train on a list", "predict", "convert", "evaluate", "simulate"])
def test_bad_headers_are_refused_before_anything_is_written(command, bad):
    make, says = BAD_HEADERS[bad]
    make("in/a.mrc")
    Path("list.star").write_text("data_\n\nloop_\n_rlnMicrographName\nin/a.mrc\n")
    Path("model.h5").touch()
    words = {
        "train": TRAIN,
        "train on a list": ["train", "--tomograms", "list.star", "--run_dir", "run", *SHORT_TRAINING],
        "predict": ["predict", "model.h5", "in", "--out", "out"],
        "convert": ["convert", "in", "--out", "out"],
        "evaluate": ["evaluate", "in/a.mrc", "--tilt_range", "-60", "60"],
        "simulate": ["simulate", "tomogram", "--density_maps", "in/a.mrc", "--out", "out", "--shape", "16", "16", "16"],
    }[command]
    message = refusal(*words)
    assert "in/a.mrc" in message
    if bad == "dangling link" and command in ("evaluate", "simulate"):
        assert "does not exist; expected a file" in message
    else:
        assert all(text in message for text in says), message


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: damaged_volume(path, np.nan), ["(z, y, x) = (15, 23, 23)", "nan", "expected finite numbers"]),
        (lambda path: damaged_volume(path, np.inf), ["(z, y, x) = (15, 23, 23)", "inf", "expected finite numbers"]),
        (lambda path: volume(path, np.full(SHAPE, 7, np.float32)), ["all voxels have", "value", "again"]),
    ],
    ids=["NaN", "infinite", "constant"],
)
def test_bad_voxels_are_refused_and_nothing_is_half_written(make, says):
    path = make("in/a.mrc")
    small_model("model.h5")
    ended = run("predict", "model.h5", "in", "--out", "out")
    assert (ended.code, ended.out, ended.err.count("Error: ")) == (2, "", 1)
    assert all(text in ended.err for text in [str(path), *says]), ended.err
    assert sorted(os.listdir("out")) == [".mwr_hpc", "results.csv", "results.star"]
    assert not partials_below(Path())
    ended = run("evaluate", path, "--tilt_range", "-60", "60")
    assert (ended.code, ended.out, str(path) in ended.err) == (2, "", True)


def test_bad_voxels_are_refused_by_conversion():
    damaged_volume("in/nan.mrc", np.nan)
    damaged_volume("in/infinite.rec", -np.inf)
    volume("in/constant.map", np.full(SHAPE, 7, np.float32))
    ended = run("convert", "in", "--out", "out", "--preprocessing_ncpus", 1)
    assert (ended.code, ended.out, ended.err.count("Error: ")) == (2, "", 1)
    message = ended.err.partition("Error: ")[2]
    for text in ("in/nan.mrc", "value nan", "in/infinite.rec", "value -inf", "in/constant.map", "the value 7"):
        assert text in message
    assert "Traceback" not in ended.err
    assert os.listdir("out") == [".mwr_hpc"]
    assert not partials_below(Path())


def test_no_input():
    assert "found no input; give exactly one of --input_dir" in refusal("train", *SHORT_TRAINING)
    assert "found no input; name MRC files or folders" in refusal("convert", "--out", "out")
    assert "found no model" in refusal("predict", "in")
    assert "found no tomogram; name one" in refusal("evaluate", "--tilt_range", "-60", "60")


def test_empty_folder():
    Path("model.h5").touch()
    for words in (TRAIN, ["predict", "model.h5", "in", "--out", "out"], ["convert", "in", "--out", "out"]):
        message = refusal(*words)
        assert f"{Path('in').absolute()}: no " in message
        assert ".mrc" in message and "the folder of the tomograms" in message


def test_two_files_of_one_id():
    first, second = volume("in/a.mrc").absolute(), volume("in/a.rec").absolute()
    Path("model.h5").touch()
    for words in (TRAIN, ["predict", "model.h5", "in", "--out", "out"], ["convert", "in", "--out", "out"]):
        message = refusal(*words)
        assert f"two tomograms have the id a: {first} and {second}; rename one" in message


def test_one_file_named_twice():
    path = volume("in/a.mrc").absolute()
    run("cohort", "in", "--out", "once.star")
    assert f"{path} is named twice; name it once" in refusal("cohort", "once.star", "in", "--out", "twice.star")
    assert not Path("twice.star").exists()


def test_list_with_missing_files():
    Path("model.h5").touch()
    Path("list.star").write_text("data_\n\nloop_\n_rlnMicrographName\nin/gone.mrc\nin/lost.mrc\n")
    for words in (["train", *SHORT_TRAINING], ["predict", "model.h5"]):
        message = refusal(*words, "--tomograms", "list.star")
        assert "list.star" in message and "in/gone.mrc" in message and "in/lost.mrc" in message
    Path("list.star").write_text("data_\n\nloop_\n_rlnVoltage\n300\n")
    assert "required column rlnMicrographName" in refusal("train", "--tomograms", "list.star")
    Path("list.star").write_bytes(bytes(range(256)))
    assert "list.star" in refusal("train", "--tomograms", "list.star")


def test_masks():
    volume("in/a.mrc")
    volume("in/b.mrc")
    volume("masks/a.mrc", np.ones((16, 24, 20), np.int8))
    volume("masks/b_mask.mrc", np.ones((8, 24, 24), np.int8))
    message = refusal(*TRAIN, "--mask_dir", "masks")
    assert "masks/a.mrc: the mask has (16, 24, 20) voxels" in message and "very same grid" in message
    assert "masks/b_mask.mrc: the mask has (8, 24, 24) voxels" in message
    volume("in/c.mrc")
    message = refusal(*TRAIN, "--mask_dir", "masks")
    assert "no mask for c; expected c.mrc or c_mask.mrc" in message and "--allow_missing_masks" in message


def test_empty_mask():
    volume("in/a.mrc")
    mask = volume("masks/a.mrc", np.zeros(SHAPE, np.int8))
    ended = run(*TRAIN, "--mask_dir", "masks")
    assert (ended.code, ended.out, ended.err.count("Error: ")) == (2, "", 1)
    assert f"{mask.absolute()}: no voxel of the mask reaches 0.5; expected 1 where there is specimen" in ended.err
    assert not partials_below(Path())


def test_too_thin_for_the_crop():
    path = volume("in/a.mrc", shape=(5, 40, 40)).absolute()
    message = refusal(*TRAIN)
    assert f"{path}: (5, 40, 40) voxels" in message and "--crop_size 12" in message
    assert "use for example --cube_size 6 --crop_size 10" in message


def test_sub_tomogram_smaller_than_the_crop():
    volume("in/a.mrc", shape=(10, 10, 10))
    message = refusal("train", "--datas_are_subtomos", "True", "--subtomo_dir", "in", *SHORT_TRAINING)
    assert "in/a.mrc" in message and "use for example --cube_size 6 --crop_size 10" in message


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--cube_size 9", "--cube_size 9 (command line): not a multiple of 2 (2^unet_depth"),
        ("--cube_size 36 --unet_depth 3", "use 32 or 40"),
        ("--cube_size 16 --crop_size 12", "--crop_size 12 (command line): smaller than cube_size 16"),
        ("--crop_size 13", "--crop_size 13 (command line): not a multiple of 2"),
        ("--tilt_range 60 60", "the first angle must be smaller than the second"),
        ("--tilt_range 60 -60", "the first angle must be smaller than the second"),
        ("--tilt_range -60 91", "between -90 and 90 degrees"),
        ("--tilt_range -90 90", "no missing wedge to fill"),
        ("--tilt_range -60", "expected two angles in degrees"),
    ],
)
def test_values_that_do_not_fit(options, says):
    volume("in/a.mrc")
    message = refusal(*TRAIN, *options.split())
    assert says in message


def test_sizes_that_do_not_fit_the_model():
    volume("in/a.mrc")
    small_model("model.h5", depth=3)
    message = refusal("predict", "model.h5", "in", "--out", "out", "--cube_size", 16, "--crop_size", 20)
    assert "--cube_size 16 with --crop_size 20" in message and "multiple of 8" in message
    message = refusal("predict", "model.h5", "in", "--out", "out", "--cube_size", 24, "--crop_size", 16)
    assert "--crop_size 16 (command line): smaller than cube_size 24" in message


def test_tilt_range_of_a_list_and_of_other_commands():
    volume("in/a.mrc")
    Path("list.star").write_text("data_\n\nloop_\n_rlnMicrographName\n_mwrTiltMin\n_mwrTiltMax\nin/a.mrc 60 -60\n")
    message = refusal("train", "--tomograms", "list.star", *SHORT_TRAINING)
    assert "list.star: a: tilt range 60 -60" in message
    message = refusal("evaluate", "in/a.mrc", "--tilt_range", "60", "-60")
    assert "the first angle must be smaller than the second" in message
    assert "--tilt_range" in refusal("simulate", "tomogram", "--tilt_range", "-91", "0")


def test_noise_volumes_are_looked_at_before_the_first_iteration():
    volume("in/a.mrc")
    Path("noise").mkdir()
    assert "noise: no noise volumes" in refusal(*TRAIN, "--noise_dir", "noise")
    volume("noise/n.mrc", shape=(4, 24, 24))
    assert "noise/n.mrc: a noise volume of (4, 24, 24) voxels" in refusal(*TRAIN, "--noise_dir", "noise")
