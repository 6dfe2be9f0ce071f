"""Training on what `convert` wrote, and on the folders that MWR's manual names together."""

from pathlib import Path

import pytest

from commanding import SHORT_TRAINING, refusal, run, volume


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    volume("in/a.mrc")
    volume("in/b.mrc", seed=1)


def test_what_convert_wrote_can_be_trained_on():
    assert run("convert", "in", "--out", "converted").code == 0
    masks = ["--mask_dir", "converted", "--allow_missing_masks"]
    ended = run("train", "--input_dir", "converted", *masks, *SHORT_TRAINING)
    assert ended.code == 0, ended
    assert Path("mwr_run/results/model_iter01.h5").exists()


def test_convert_takes_no_ome_zarr():
    assert run("convert", "in", "--out", "in").code == 0
    assert run("convert", "in", "--out", "in").code == 0
    assert "a.ome.zarr: is OME-Zarr already; name MRC files" in refusal("convert", "in/a.ome.zarr", "--out", "out")


@pytest.mark.parametrize(("are_subtomos", "unused"), [("True", "input_dir"), ("False", "subtomo_dir")])
def test_mwr_s_command_lines_name_both_folders(are_subtomos, unused):
    volume("subtomos/c.mrc")
    words = ["--input_dir", "in", "--datas_are_subtomos", are_subtomos, "--subtomo_dir", "subtomos"]
    ended = run("train", *words, *SHORT_TRAINING)
    assert ended.code == 0, ended
    assert f"--{unused} {Path('in' if unused == 'input_dir' else 'subtomos').absolute()} is not used" in ended.err
    trained_on = sorted(path.stem for path in Path("mwr_run/subtomograms").glob("*.zarr"))
    assert trained_on == (["c"] if are_subtomos == "True" else ["a", "b"])
