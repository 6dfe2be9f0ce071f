"""Tests of the settings: what follows from other options, what fits together, what is refused with which advice."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mwr_hpc.config.checks import default_crop_size
from mwr_hpc.config.fields import option_info
from mwr_hpc.config.schema import COMMANDS, PredictSettings, SimulateSettings, TrainSettings


def train(**values):
    return TrainSettings(**{"input_dir": "tomograms", **values})


@pytest.mark.parametrize(("cube", "crop"), [(64, 96), (48, 72), (8, 16), (40, 64), (56, 88)])
def test_crop_is_one_and_a_half_cubes_on_the_grid_of_the_network(cube, crop):
    assert train(cube_size=cube).crop_size == crop


@given(st.integers(1, 60), st.integers(1, 6))
def test_default_crop_always_fits(cubes, depth):
    multiple = 2**depth
    crop = default_crop_size(cubes * multiple, multiple)
    assert crop % multiple == 0
    assert abs(crop - 1.5 * cubes * multiple) <= multiple / 2
    assert train(cube_size=cubes * multiple, unet_depth=depth).crop_size == crop


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ({"cube_size": 60}, "use 56 or 64"),
        ({"cube_size": 4}, "use 8"),
        ({"crop_size": 100}, "use 96 or 104"),
        ({"crop_size": 48}, "use 96"),
        ({"cube_size": 48, "unet_depth": 5}, "use 32 or 64"),
        ({"kernel": 4}, "use 3 or 5"),
        ({"rotations": 21}, "20"),
        ({"rotations": 0}, "1"),
        ({"batch_size": 0}, "1"),
        ({"predict_batch_size": -1}, "1"),
        ({"drop_out": 1.0}, "1"),
        ({"drop_out": -0.1}, "0"),
        ({"learning_rate": "nan"}, "finite"),
        ({"tilt_range": (60, -60)}, "smaller than the second"),
        ({"tilt_range": (30, 30)}, "smaller than the second"),
        ({"tilt_range": (-60, 91)}, "between -90 and 90"),
        ({"tilt_range": "60"}, "-60 60"),
        ({"gpuID": "0,0"}, "different"),
        ({"gpuID": "-1"}, "from 0"),
        ({"precision": "float16"}, "bfloat16"),
        ({"loss": "mse"}, "l2"),
        ({"contrast": "grey"}, "bright"),
        ({"mask_dir": " "}, "a path"),
        ({"continue_iter": 30}, "more than 30"),
        ({"continue_iter": 3, "continue_training": False}, "contradicts"),
        ({"subtomo_dir": "s", "input_dir": None}, "datas_are_subtomos"),
        ({"tomograms": "a.star"}, "exactly one"),
        ({"input_dir": None}, "exactly one"),
        ({"input_dir": None, "datas_are_subtomos": True}, "subtomo_dir"),
    ],
)
def test_what_cannot_work_is_refused_with_advice(values, advice):
    with pytest.raises(ValidationError, match=advice):
        train(**values)


@pytest.mark.parametrize("text", ["-67 57", "-67,57", "(-67, 57)", "[-67,57]", "-67:57"])
def test_tilt_range_spellings(text):
    assert train(tilt_range=text).tilt_range == (-67.0, 57.0)


@pytest.mark.parametrize(("text", "indices"), [("0,1,2,3", (0, 1, 2, 3)), ("2", (2,)), (1, (1,)), ("None", None)])
def test_gpu_spellings(text, indices):
    assert train(gpuID=text).gpuID == indices


def test_subtomograms_give_one_crop_each_unless_told_otherwise():
    subtomograms = {"datas_are_subtomos": True, "subtomo_dir": "s", "input_dir": None}
    assert train(**subtomograms).ncube == 1
    assert train(**subtomograms, ncube=7).ncube == 7


def test_folders_of_tomograms_and_of_subtomograms_may_both_be_given_as_to_mwr():
    assert train(datas_are_subtomos=True, subtomo_dir="s", input_dir="t").ncube == 1
    assert train(datas_are_subtomos=False, subtomo_dir="s", input_dir="t").ncube == 50


def test_every_value_of_the_example_configuration_is_the_default():
    text = (Path(__file__).parents[2] / "configs/missing_wedge.yaml").read_text()
    stated = yaml.safe_load(text)
    defaults = TrainSettings(input_dir="tomograms")
    assert {name: getattr(TrainSettings(**stated), name) for name in stated} == {
        name: getattr(defaults, name) for name in stated
    }
    assert "learning_rate" in stated
    left_out = re.findall(r"^# (\w+): ", text, re.MULTILINE)
    assert "tilt_range" in left_out and set(left_out) <= set(TrainSettings.model_fields)
    assert train().ncube == 50


def test_defaults_follow_from_other_options():
    settings = train(run_dir="r", batch_size=3)
    assert settings.result_dir == settings.run_dir / "results"
    assert settings.predict_batch_size == 3
    assert train(batch_size=3, predict_batch_size=5).predict_batch_size == 5


def test_none_and_auto_are_words():
    settings = train(noise_dir="None", crop_size="auto", steps_per_epoch="automatic", continue_iter="0")
    assert (settings.noise_dir, settings.crop_size, settings.steps_per_epoch) == (None, 96, None)
    assert settings.continue_iter is None
    assert train(noise_dir="auto").noise_dir.name == "auto"  # a folder may be called so


def test_settings_are_frozen_and_refuse_unknown_names():
    with pytest.raises(ValidationError):
        train().cube_size = 32
    with pytest.raises(ValidationError):
        train(cube=32)


def test_what_may_change_when_a_run_goes_on():
    may_change = {name for name, field in TrainSettings.model_fields.items() if option_info(field).may_change}
    assert may_change == {
        "iterations", "preprocessing_ncpus", "gpuID", "predict_batch_size", "continue_training", "continue_iter",
        "run_dir", "ranks", "slurm", "in_allocation", "preset", "hours",
    }  # fmt: skip


def test_predict_needs_a_model_and_tomograms_but_not_two_sources():
    PredictSettings(models="m.h5", inputs="a.mrc")
    for values in ({"models": "m.h5"}, {"inputs": "a.mrc"}, {"models": "m", "inputs": "a", "tomograms": "l.star"}):
        with pytest.raises(ValidationError, match="found"):
            PredictSettings(**values)
    with pytest.raises(ValidationError, match="at least 64"):
        PredictSettings(models="m.h5", inputs="a.mrc", cube_size=64, crop_size=48)


def test_simulation_takes_what_the_simulator_takes():
    from dataclasses import fields

    from mwr_hpc.simulation.tomogram import TomogramSpecification

    defaults = {field.name: field.default for field in fields(TomogramSpecification)}
    settings = SimulateSettings()
    values = settings.model_dump() | {"signedness": settings.bytes}
    assert {name: values[name] for name in defaults} == defaults


def test_every_option_is_described():
    for settings in COMMANDS.values():
        for name, field in settings.options().items():
            assert field.description, name
            assert option_info(field).group, name
            assert field.description.endswith((".", ")")), name
        assert len(settings.spellings()) == sum(1 + len(option_info(f).aliases) for f in settings.options().values())
