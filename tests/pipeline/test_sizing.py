"""Tests of sizing: what is chosen for which tomograms and speed, that it is chosen once, and what a run keeps."""

import math
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from commanding import SMALLEST, refusal, run, volume
from mwr_hpc.cluster.pool import InlinePool
from mwr_hpc.config import sizes
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.config.site import TrainingResources
from mwr_hpc.errors import ConfigError
from mwr_hpc.events import Notice, TrainingStep, ignore, never
from mwr_hpc.missing_wedge.entries import TomogramEntry
from mwr_hpc.missing_wedge.network import Architecture, build_network
from mwr_hpc.pipeline import sizing
from mwr_hpc.pipeline.backend import OnThisHost
from mwr_hpc.pipeline.coordinator import train
from mwr_hpc.pipeline.network_cost import forward_gflop
from mwr_hpc.pipeline.sizing import settle_size
from mwr_hpc.pipeline.speed import CORE_GFLOPS, GPU_GFLOPS, Speed, assumed_speed
from mwr_hpc.run_directory import RunDirectory
from mwr_hpc.training.framework import configure, keras

NAMES = list(sizes.SIZES)


class PlaceOf(OnThisHost):
    """This host at a given speed, which may be asked for so many times."""

    def __init__(self, gflops, times=math.inf):
        self.gflops = gflops
        self.times = times

    def speed(self, settings):
        self.times -= 1
        assert self.times >= 0, "the speed was measured again"
        return Speed(self.gflops, "measured on this machine")

    def preparation(self, place, units, processes):
        return nullcontext(InlinePool())


def entries(*shapes):
    names = (Path(f"{number}.mrc") for number in range(len(shapes)))
    return [
        TomogramEntry(name.stem, name, shape, (10.0, 10.0, 10.0)) for name, shape in zip(names, shapes, strict=True)
    ]


def sized(shapes, gflops=240.0, emit=ignore, **options):
    settings = TrainSettings(**{"input_dir": "in", "run_dir": "no such run", **options})
    return settle_size(settings, RunDirectory(settings.run_dir), entries(*shapes), PlaceOf(gflops), emit)


@pytest.mark.parametrize("edge", [16, 32])
@pytest.mark.parametrize(("base", "depth", "convs", "kernel"), [(4, 3, 2, 3), (3, 1, 1, 5), (2, 2, 3, 1)])
def test_operations_are_those_of_the_network_s_layers(base, depth, convs, kernel, edge):
    configure()
    counted = 0
    for layer in build_network(Architecture(base, depth, convs, kernel), "float32").layers:
        if isinstance(layer, keras.layers.Conv3D | keras.layers.Conv3DTranspose):
            name = layer.name
            level = depth if name.startswith("bottom") else 0 if name == "last" else int(name[name.index("_") - 1])
            counted += 2 * math.prod(layer.kernel.shape) * (edge >> level + name.endswith("_stride")) ** 3
    options = {"filter_base": base, "unet_depth": depth, "convs_per_depth": convs, "kernel": kernel}
    assert forward_gflop(options, edge) == pytest.approx(counted * 1e-9)


@settings(max_examples=25, deadline=None)
@given(st.floats(1, 1e5), st.floats(1, 10), st.floats(0.1, 10), st.integers(1, 300))
def test_more_speed_or_time_never_gives_a_smaller_size(gflops, factor, hours, tomograms):
    shapes = [(200, 400, 400)] * tomograms
    chosen = [
        NAMES.index(sized(shapes, speed, hours=time).preset)
        for speed, time in ((gflops, hours), (gflops * factor, hours), (gflops, hours * factor))
    ]
    assert chosen[0] <= chosen[1] and chosen[0] <= chosen[2]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.integers(8, 300)] * 3), min_size=1, max_size=5), st.floats(1, 1e6))
def test_crops_fit_every_tomogram_that_counts(shapes, gflops):
    settings = sized(shapes, gflops)
    thicknesses = [min(shape) for shape in shapes]
    counting = [thickness for thickness in thicknesses if 2 * thickness >= sizing.SMALLEST_CROP] or thicknesses
    assert settings.crop_size <= 2 * min(counting)
    assert settings.cube_size <= settings.crop_size
    assert TrainSettings(**settings.to_parameters()) == settings


def test_a_cohort_shares_the_sub_tomograms_out_and_ranks_share_a_batch():
    shape = (200, 400, 400)
    alone = sized([shape])
    assert sized([shape] * 5).ncube == math.ceil(sizes.SIZES[sized([shape] * 5).preset]["ncube"] / 5)
    assert alone.ncube == sizes.SIZES[alone.preset]["ncube"]
    assert sized([shape], ranks=3).batch_size % 3 == 0


def test_options_that_leave_the_size_open_are_kept():
    settings = sized([(80, 100, 100)], learning_rate=1e-3, ncube=7, seed=3, contrast="bright")
    assert (settings.learning_rate, settings.ncube, settings.seed) == (1e-3, 7, 3)
    assert settings.contrast == "bright" and settings.preset in NAMES


def test_the_choice_is_told_with_its_reason_and_what_never_fits_is_warned_of():
    told = []
    sized([(80, 100, 100)], emit=told.append, hours=3)
    assert f"Of {', '.join(NAMES)} this is the largest that fits --hours 3: about " in told[-1].text
    assert "at 240 GFLOP/s (measured on this machine)" in told[-1].text and not told[-1].warning
    assert sized([(80, 100, 100)], 0.1, emit=told.append).preset == NAMES[0]
    assert "the smallest there is, though it does not fit --hours 1" in told[-1].text and told[-1].warning


@pytest.mark.parametrize("option", [{"filter_base": 16}, {"iterations": 3}, {"preset": "mwr"}, {"steps_per_epoch": 9}])
def test_a_training_whose_size_is_given_is_not_measured(option):
    settings = TrainSettings(input_dir="in", run_dir="no such run", **option)
    run_directory = RunDirectory(settings.run_dir)
    assert settle_size(settings, run_directory, entries((80, 80, 80)), PlaceOf(1, times=0), ignore) == settings


def test_the_speed_of_a_job_is_assumed_by_what_it_asks_for():
    assert assumed_speed(TrainingResources(cores=8, ranks_per_node=2)).gflops == 4 * CORE_GFLOPS
    assert assumed_speed(TrainingResources(cores=8, gpus="a100:4")).gflops == GPU_GFLOPS


@pytest.fixture
def tiny_sizes(monkeypatch):
    """Named sizes that train in a moment."""
    names = sizes.SIZED_OPTIONS
    smallest = {name: value for name, value in SMALLEST.items() if name in names} | {"learning_rate": 1e-3}
    for name in NAMES:
        monkeypatch.setitem(sizes.SIZES, name, smallest | {"iterations": 1 + NAMES.index(name)})


def models(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "results").glob("*.h5"))}


def test_a_run_is_sized_once_and_goes_on_with_what_it_got(tiny_sizes, tmp_path):
    volume(tmp_path / "in" / "a.mrc")
    volume(tmp_path / "in" / "b.mrc", seed=1)
    plain = {"input_dir": tmp_path / "in", "preprocessing_ncpus": 1, "precision": "float32"}

    def go(folder, place, **more):
        notices = []
        emit = lambda event: notices.append(event.text) if isinstance(event, Notice) else None  # noqa: E731
        train(TrainSettings(**plain, run_dir=tmp_path / folder, **more), emit, never, place)
        return " ".join(notices)

    assert "size quick" in go("sized", PlaceOf(1e-9, times=1))  # far too slow: the smallest
    frozen = yaml.safe_load((tmp_path / "sized/config.yaml").read_text())
    assert (frozen["preset"], frozen["hours"], frozen["iterations"], frozen["filter_base"]) == ("quick", None, 1, 2)
    first = models(tmp_path / "sized")
    nothing_new = PlaceOf(1e9, times=0)
    go("sized", nothing_new)
    assert models(tmp_path / "sized") == first
    assert "--hours 5 changes nothing" in go("sized", nothing_new, hours=5)
    go("sized", nothing_new, iterations=2)
    assert list(models(tmp_path / "sized")) == ["model_iter01.h5", "model_iter02.h5"]


def test_a_run_of_version_0_1_0_goes_on_by_the_plain_command(tmp_path):
    """Its configuration knows neither presets nor hours."""
    volume(tmp_path / "in/a.mrc")
    place = PlaceOf(1, times=0)
    folders = {"input_dir": tmp_path / "in", "run_dir": tmp_path / "run"}
    train(TrainSettings(**SMALLEST, **folders), ignore, never, place)
    config, before = tmp_path / "run/config.yaml", models(tmp_path / "run")
    old = {name: value for name, value in yaml.safe_load(config.read_text()).items() if name not in ("preset", "hours")}
    config.write_text(yaml.safe_dump(old))
    plain = {name: value for name, value in SMALLEST.items() if name not in sizes.SIZED_OPTIONS}
    steps = []
    train(TrainSettings(**plain, **folders), lambda event: steps.append(isinstance(event, TrainingStep)), never, place)
    assert models(tmp_path / "run") == before and not any(steps)
    assert yaml.safe_load(config.read_text())["filter_base"] == SMALLEST["filter_base"]
    with pytest.raises(ConfigError, match="filter_base: 2 in the run, 3 asked for"):
        train(TrainSettings(**SMALLEST | folders | {"filter_base": 3}), ignore, never, place)


def test_a_plan_shows_the_size_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    volume("in/a.mrc", shape=(40, 60, 60))
    ended = run("plan", "train", "--input_dir", "in", "--hours", 1e-6)
    assert ended.code == 0, ended
    assert "Size quick: " in ended.out and "measured on this machine" in ended.err
    assert not Path("mwr_run").exists()
    assert "--hours 2 asks for a size" in refusal("train", "--input_dir", "in", "--hours", 2, "--iterations", 3)
