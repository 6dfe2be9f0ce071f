"""What a plan says is what a run leaves: every file, and the bytes within a tenth."""

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from commanding import SMALLEST, files_below, run, small_model, volume
from mwr_hpc.cli.train import drawing_curves
from mwr_hpc.config.schema import PredictSettings, TrainSettings
from mwr_hpc.events import Emit, EpochFinished, Event, ignore, never
from mwr_hpc.io.volume import open_volume
from mwr_hpc.missing_wedge.cohort import cohort_from_folder
from mwr_hpc.missing_wedge.convert import convert_tomogram
from mwr_hpc.missing_wedge.network import Architecture, build_network
from mwr_hpc.pipeline.coordinator import train
from mwr_hpc.pipeline.plan import plan_train
from mwr_hpc.pipeline.plan_prediction import plan_predict
from mwr_hpc.pipeline.plan_sizes import NetworkSize, Size, converted, sampled_ratios
from mwr_hpc.pipeline.prediction import predict
from mwr_hpc.run_directory import RunDirectory
from mwr_hpc.training.framework import configure


def left_in(folder: Path) -> Size:
    sizes = []
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a partial file that has got its name meanwhile
            if path.is_file():
                sizes.append(path.stat().st_size)
    return Size(len(sizes), sum(sizes))


def assert_as_planned(planned: Size, found: Size) -> None:
    assert planned.files == found.files
    assert planned.bytes == pytest.approx(found.bytes, rel=0.1)


@pytest.mark.parametrize(
    ("shapes", "options"),
    [
        ([(40, 96, 100), (24, 60, 60)], {"iterations": 1}),
        ([(40, 96, 100)], {"iterations": 3, "epochs": 3, "ncube": 20, "cube_size": 16, "crop_size": 24}),
        ([(30, 40, 50)] * 10, {"iterations": 2, "rotations": 20, "filter_base": 4, "unet_depth": 2}),
    ],
    ids=["one iteration", "arrays of old iterations removed", "whole tomograms held out"],
)
def test_a_training_leaves_what_was_planned(tmp_path: Path, shapes: list, options: dict) -> None:
    for number, shape in enumerate(shapes):
        volume(tmp_path / "in" / f"t{number}.mrc", shape=shape, seed=number)
    settings = TrainSettings(**SMALLEST | options | {"input_dir": tmp_path / "in", "run_dir": tmp_path / "run"})
    planned = plan_train(settings)
    assert not settings.run_dir.exists()
    most = Size()

    def observe(event: object) -> None:
        nonlocal most
        now = left_in(settings.run_dir)
        most = Size(max(most.files, now.files), max(most.bytes, now.bytes))

    train(settings, drawing_curves(RunDirectory(settings.run_dir), observe), never)
    assert_as_planned(planned.left, left_in(settings.run_dir))
    assert most.bytes <= 1.1 * planned.peak.bytes
    assert planned.peak.bytes <= 1.1 * max(most.bytes, left_in(settings.run_dir).bytes)
    units = {one.stage: one.units for one in planned.stages}
    for stage in ("convert", "extract"):
        assert units[stage] == len((settings.run_dir / "receipts" / f"{stage}.jsonl").read_text().splitlines())


@pytest.mark.parametrize("form", ["mrc", "ome-zarr", "both"])
@pytest.mark.parametrize("models", [1, 2])
def test_a_prediction_leaves_what_was_planned(tmp_path: Path, form: str, models: int) -> None:
    volume(tmp_path / "in" / "a.mrc", shape=(40, 60, 60))
    volume(tmp_path / "in" / "b.rec", shape=(30, 70, 50), seed=1)
    settings = PredictSettings(
        models=[small_model(tmp_path / f"m{number}.h5") for number in range(models)],
        inputs=[tmp_path / "in"],
        out=tmp_path / "out",
        format=form,
        cube_size=32,
        crop_size=48,
    )
    planned = plan_predict(settings)
    predict(settings, ignore, never)
    assert_as_planned(planned.left, left_in(settings.out))


def test_what_compresses_is_planned_smaller(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(3, (40, 96, 96)).astype(np.int16)
    volume(tmp_path / "in" / "a.mrc", counts)
    settings = TrainSettings(**SMALLEST | {"input_dir": tmp_path / "in", "run_dir": tmp_path / "run"})
    planned = plan_train(settings)
    assert planned.compression["int16"][0] < 0.5
    train(settings, drawing_curves(RunDirectory(settings.run_dir), ignore), never)
    assert_as_planned(planned.left, left_in(settings.run_dir))


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(2, 1, 1, 3),
        Architecture(3, 3, 2, 3),
        Architecture(4, 2, 3, 5, batch_normalization=True),
        Architecture(2, 2, 2, 1, dropout=0.1),
    ],
)
def test_weights_are_counted_as_the_network_makes_them(architecture: Architecture) -> None:
    configure()
    network = build_network(architecture, "float32")
    counted = NetworkSize.of(architecture.to_record())
    assert (counted.arrays, counted.values) == (len(network.weights), network.count_params())
    assert counted.trained_arrays == len(network.trainable_weights)
    assert counted.trained_values == sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)


def test_the_command_writes_nothing_and_names_what_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    volume("in/a.mrc", shape=(24, 40, 40))
    Path("in/bad.mrc").write_bytes(b"no MRC")
    before = files_below(tmp_path)
    words = [word for name, value in SMALLEST.items() for word in (f"--{name}", value)]
    ended = run("plan", "train", "--input_dir", "in", *words)
    assert ended.code == 0 and "Left out: bad: " in ended.out and "Left at the end: " in ended.out
    record = json.loads(run("plan", "train", "--input_dir", "in", "--json", *words).out)
    assert record["tomograms"] == 1 and record["left"]["files"] > 20
    assert files_below(tmp_path) == before
    assert run("plan", "check").code == 2
    assert "no tomogram can be used" in run("plan", "train", "--input_dir", "in", *words, "--crop_size", 400).err


def test_a_trial_tells_the_hours_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    volume("in/a.mrc", shape=(24, 40, 40))
    small_model("model.h5")
    before = files_below(tmp_path)
    words = [word for name, value in SMALLEST.items() for word in (f"--{name}", value)]

    def stages_of(*words: object) -> list[dict]:
        ended = run("plan", *words, "--json")
        assert ended.code == 0, ended
        return json.loads(ended.out[ended.out.index("{") :])["stages"]

    for command in (
        ["train", "--input_dir", "in", *words, "--iterations", 4],
        ["predict", "model.h5", "in", "--cube_size", 16, "--crop_size", 24],
    ):
        stages = stages_of(*command, "--measure")
        assert all(one["cpu_hours"] > 0 and one["gpu_hours"] is not None for one in stages)
        if command[0] == "train":
            planned, measured = (
                {one["stage"]: one["peak_memory"] for one in some} for some in (stages_of(*command), stages)
            )
            assert measured["train"] == measured["predicted"] > 300 * 2**20
            assert measured["convert"] == planned["convert"] and measured["train"] != planned["train"]
    assert files_below(tmp_path) == before


def test_an_interrupted_trial_tells_what_it_has_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    volume("in/a.mrc", shape=(24, 40, 40))
    words = [word for name, value in SMALLEST.items() for word in (f"--{name}", value)]
    before = files_below(tmp_path)

    @contextlib.contextmanager
    def interrupting() -> Iterator[Emit]:
        def observe(event: Event) -> None:
            if isinstance(event, EpochFinished) and event.epoch == 2:
                os.kill(os.getpid(), signal.SIGINT)

        yield observe

    monkeypatch.setattr("mwr_hpc.cli.running.observing", interrupting)
    ended = run("plan", "train", "--input_dir", "in", *words, "--iterations", 4, "--measure", "--json")
    assert ended.code == 85 and "what was measured until then" in ended.err, ended
    stages = json.loads(ended.out)["stages"]
    measured = {one["stage"] for one in stages if one["cpu_hours"] is not None}
    assert measured == {"convert", "extract", "pairs", "train"}
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("padding", ["sides", "sections", "corner"])
@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_padding_beside_the_sampled_blocks_counts(padding: str, dtype: type, tmp_path: Path) -> None:
    """A tomogram that was turned or trimmed has much of one value, which takes next to no room."""
    values = 20 * np.random.default_rng(0).normal(size=(64, 300, 300)).astype(np.float32)
    if padding == "sides":
        values[:, :60], values[:, :, 240:] = 0, 0
    elif padding == "sections":
        values[:12], values[-12:] = 0, 0
    else:
        values[:, np.add.outer(np.arange(300), np.arange(300)) < 230] = 0
    path = volume(tmp_path / "in/a.mrc", values.astype(dtype))
    entries = cohort_from_folder(path.parent, None).entries
    planned = converted(open_volume(path), np.dtype(dtype), sampled_ratios(entries)[np.dtype(dtype).name])
    convert_tomogram({"tomogram": path}, {}, tmp_path / "a.ome.zarr")
    found = sum(one.stat().st_size for one in files_below(tmp_path / "a.ome.zarr") if one.is_file())
    assert planned.bytes == pytest.approx(found, rel=0.1)
