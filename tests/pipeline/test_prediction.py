"""`mwr-hpc predict`: whose tilt range counts, what a list says, and results that lie among the inputs."""

from pathlib import Path

import numpy as np
import pytest

from commanding import refusal, run, small_model, volume
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.io.mrc_header import read_header
from mwr_hpc.io.ome_zarr import open_ome_zarr
from mwr_hpc.io.star import TomogramRow, write_tomogram_list
from mwr_hpc.missing_wedge.entries import TomogramEntry
from mwr_hpc.pipeline import prediction
from mwr_hpc.pipeline.prediction import Model
from mwr_hpc.training import hardware


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_results_among_the_inputs_are_not_corrected_again():
    volume("in/a.mrc")
    volume("in/b_corrected.mrc")  # somebody's name for a tomogram: there is no b
    small_model("model.h5")
    for _ in range(2):
        ended = run("predict", "model.h5", "in", "--out", "in", "--cube_size", 12, "--crop_size", 16)
        assert ended.code == 0, ended
    assert "earlier corrections: a_corrected" in ended.err
    found = sorted(path.name for path in Path("in").glob("*.mrc"))
    assert found == ["a.mrc", "a_corrected.mrc", "b_corrected.mrc", "b_corrected_corrected.mrc"]


def test_a_list_gives_the_voxel_size_that_the_header_has_not_and_its_masks_do_not_matter():
    with MrcWriter(Path("a.mrc"), (16, 24, 24), np.float32, voxel_size=0.0) as writer:
        writer.write(0, np.random.default_rng(0).normal(size=(16, 24, 24)).astype(np.float32))
    row = TomogramRow(Path("a.mrc").absolute(), "a", voxel_size=8.5, mask=Path("gone.mrc"), even=Path("gone.mrc"))
    write_tomogram_list(Path("list.star"), [row])
    small_model("model.h5")
    sizes = ["--cube_size", 12, "--crop_size", 16]
    ended = run("predict", "model.h5", "list.star", "--out", "out", "--format", "both", *sizes)
    assert ended.code == 0, ended
    assert read_header(Path("out/a_corrected.mrc")).voxel_size == pytest.approx((8.5,) * 3)
    assert open_ome_zarr(Path("out/a_corrected.ome.zarr")).voxel_size == pytest.approx((8.5,) * 3)
    assert run("predict", "model.h5", "list.star", "--out", "zarr", "--format", "ome-zarr", *sizes).code == 0
    assert open_ome_zarr(Path("zarr/a_corrected.ome.zarr")).voxel_size == pytest.approx((8.5,) * 3)


def test_of_several_tilt_ranges_of_training_none_is_guessed(monkeypatch):
    volume("in/a.mrc")
    small_model("model.h5")
    read = prediction.read_model

    def trained_on_two(*arguments):
        description, weights = read(*arguments)
        description["training_set"]["tilt_range"] = [[-60, 60], [-50, 40]]
        return description, weights

    monkeypatch.setattr(prediction, "read_model", trained_on_two)
    message = refusal("predict", "model.h5", "in", "--out", "out")
    assert "in/a.mrc: its tilt range is not known" in message and "-60 to 60, -50 to 40" in message
    assert "--tilt_range" in message and "--tomograms" in message


def test_a_known_range_wins_over_those_of_training():
    model = Model(Path("m.h5"), "", [[-60.0, 60.0], [-50.0, 40.0]])
    entry = TomogramEntry("a", Path("a.mrc"), (16, 24, 24), (10.0,) * 3, tilt_range=(-45.0, 30.0))
    assert model.tilt_range_for(entry) == [-45.0, 30.0]


def test_a_gpu_that_is_not_there_is_refused_before_anything_is_read(monkeypatch):
    monkeypatch.setattr(hardware, "_gpu_capabilities", list)
    Path("damaged.h5").write_bytes(b"no model")
    volume("in/a.mrc")
    assert "--gpuID 1: GPU 1 is not visible" in refusal("predict", "damaged.h5", "in", "--out", "out", "--gpuID", 1)
    assert "--gpuID 0: GPU 0 is not visible" in refusal("train", "--input_dir", "in", "--cube_size", 8, "--gpuID", 0)
