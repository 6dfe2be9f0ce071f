"""Names and folders that leave no room for what is named after them: excluded or refused, by every command."""

import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from boxnet.teaching import SMALL, new_examples, write_store
from commanding import SHORT_TRAINING, Ended, partials_below, refusal, run, small_model, volume
from mwr_hpc.cluster.pool import InlinePool
from mwr_hpc.io.names import long_names
from mwr_hpc.io.star import TomogramRow, write_tomogram_list
from mwr_hpc.pipeline import backend, conversion
from picking import DIAMETER, micrograph, spot_model

LONG = "L" * 215
TRAIN = ["train", *SHORT_TRAINING, "--run_dir", "run"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for module in (backend, conversion):
        monkeypatch.setattr(module, "local_pool", lambda workers: nullcontext(InlinePool()))
    monkeypatch.setenv("MWR_HPC_MODELS", str(tmp_path / "models"))
    return tmp_path


def assert_only_the_long_one_is_excluded(ended: Ended, name: str = LONG) -> None:
    assert ended.code == 1, ended
    assert f"{name}: the name has {len(os.fsencode(name))} bytes, expected at most " in ended.err
    assert "Traceback" not in ended.err and ended.err.count("the name has") == 1
    assert not partials_below(Path.cwd())


def test_tomograms() -> None:
    volume(f"in/{LONG}.mrc", seed=1)
    volume("in/b.mrc", seed=2)
    small_model("model.h5")
    for words, result in (
        ([*TRAIN, "--input_dir", "in"], "run/results/model_iter01.h5"),
        (["predict", "model.h5", "in", "--out", "out"], "out/b_corrected.mrc"),
        (["convert", "in", "--out", "zarr", "--preprocessing_ncpus", 1], "zarr/b.ome.zarr"),
        (["make-mask", "in", "--out", "masks", "--preprocessing_ncpus", 1], "masks/b_mask.mrc"),
        (["cohort", "in", "--out", "list.star"], "list.star"),
    ):
        assert_only_the_long_one_is_excluded(run(*words))
        assert Path(result).exists()


def test_ids_of_a_list_count_in_bytes() -> None:
    """Of 130 letters with two bytes each no file could have the name, and one of 100 does not fit either way."""
    name = "Ä" * 130
    rows = [TomogramRow(volume("a.mrc").absolute(), name), TomogramRow(volume("b.mrc").absolute(), "b")]
    write_tomogram_list(Path("list.star"), rows)
    assert_only_the_long_one_is_excluded(run("cohort", "list.star", "--out", "again.star"), name)


def test_micrographs() -> None:
    for name in (LONG, "b"):
        micrograph(Path(f"m/{name}.mrc"))
    spot_model(Path("models/spots.h5"))
    words = ["--micrographs", "m", "--diameter", DIAMETER]
    assert_only_the_long_one_is_excluded(run("boxnet", "pick", *words, "--model", "spots", "--processes", 1))
    Path(f"m/matching/{LONG}_spots.star").write_bytes(Path("m/matching/b_spots.star").read_bytes())
    assert_only_the_long_one_is_excluded(
        run("boxnet", "examples", "prepare", *words, "--out", "store", "--val_fraction", 0)
    )
    assert Path("store/b").is_dir()


def test_names_that_the_user_gives_to_files() -> None:
    volume("in/b.mrc")
    name = "n" * 225
    assert "--out" in refusal("make-mask", "in/b.mrc", "--out", f"{name}.mrc")
    assert "--out" in refusal("cohort", "in", "--out", f"{name}.star")
    assert "--out" in refusal("generate-noise", "--out", name, "--number", 1, "--cube_size", 16)
    write_store(Path("store"), new_examples())
    options = [word for option, value in SMALL.items() for word in (f"--{option}", value)]
    words = ["--examples", "store", "--corpus", "none", "--patch", 64, *options, "--run_dir", "short"]
    assert "--name" in refusal("boxnet", "retrain", "--parent", "scratch", "--name", name, *words)
    small_model(f"{'m' * 245}.h5")
    small_model("model.h5")
    assert "mmm" in refusal("predict", f"{'m' * 245}.h5", "model.h5", "in", "--out", "out")


def test_deep_folders_are_refused(here: Path) -> None:
    volume("in/b.mrc")
    small_model("model.h5")
    deep = "/".join([str(here), *["d" * 200] * 18])
    for words in ([*TRAIN, "--input_dir", "in", "--run_dir", deep], ["predict", "model.h5", "in", "--out", deep]):
        assert "leave room for the names" in refusal(*words)


def test_the_limit_is_that_of_the_longest_name(here: Path) -> None:
    def made(name: str) -> list[Path]:
        return [here / f"{name}.json", here / f"{name}_corrected.mrc", here / name]

    most = os.pathconf(here, "PC_NAME_MAX") - len("_corrected.mrc")
    assert not long_names(["a" * most], made)
    assert f"expected at most {most}:" in long_names(["a" * (most + 1)], made)["a" * (most + 1)]
