"""Tests of the named sizes: what they settle, what beats them, and what keeps a training from being sized."""

import sys

import pytest
from pydantic import ValidationError

from commanding import run
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.config.sizes import PRESETS, SIZED_OPTIONS, SIZES, SIZING_OPTIONS
from mwr_hpc.pipeline.network_cost import forward_gflop


def train(**values):
    return TrainSettings(**{"input_dir": "tomograms", **values})


@pytest.mark.parametrize("name", SIZES)
def test_a_size_is_a_preset_whose_values_are_those_of_the_training(name):
    settings = train(preset=name)
    assert {option: getattr(settings, option) for option in SIZED_OPTIONS} == SIZES[name]
    assert settings.predict_batch_size == settings.batch_size


def test_each_size_does_more_than_the_one_before():
    def work(name):
        size = train(preset=name).model_dump()
        samples = size["iterations"] * size["epochs"] * size["steps_per_epoch"] * size["batch_size"]
        return samples * forward_gflop(size, size["cube_size"])

    assert list(SIZES) == sorted(SIZES, key=work)
    assert len({work(name) for name in SIZES}) == len(SIZES)


def test_what_is_given_beats_a_preset():
    settings = train(preset="quick", cube_size=64, ncube=3)
    assert (settings.cube_size, settings.crop_size, settings.ncube) == (64, 96, 3)
    assert settings.iterations == SIZES["quick"]["iterations"]


def test_the_manual_s_preset_is_the_defaults():
    assert train(preset="mwr") == train().model_copy(update={"preset": "mwr"})
    assert train(preset="mwr").filter_base == 64
    assert PRESETS[0] == "mwr"


@pytest.mark.parametrize("option", SIZING_OPTIONS)
def test_any_option_that_says_how_large_it_is_keeps_a_training_from_being_sized(option):
    values = {"cube_size": 32, "crop_size": 128, "unet_depth": 2, "preset": "mwr", "pretrained_model": "m.h5"}
    given = {option: values.get(option, 3)}
    assert train(**given).sizing_given == [option]
    with pytest.raises(ValidationError, match=f"--hours 2 asks for a size that fits, but --{option}"):
        train(**given, hours=2)


def test_options_that_say_nothing_of_the_size_leave_it_open():
    settings = train(
        ncube=3, batch_size=2, seed=4, contrast="bright", hours=0.5, pretrained_model="none", preset="auto"
    )
    assert settings.sizing_given == []


def shown(*words):
    lines = run("config", "show", "train", *words).out.splitlines()
    return next(line for line in lines if line.startswith("preset: "))


def test_mwr_s_program_name_and_configuration_files_mean_the_manual_s_settings(tmp_path, monkeypatch):
    config = tmp_path / "c.yaml"
    config.write_text("seed: 1")
    assert shown().startswith("preset: None")
    assert shown("--config", config) == "preset: mwr  # --config is given"
    config.write_text("preset: quick")
    assert shown("--config", config) == f"preset: quick  # config file {config}"
    monkeypatch.setattr(sys, "argv", ["/env/bin/mwr_cli.py"])
    assert shown() == "preset: mwr  # program name mwr_cli.py"
    assert shown("--preset", "small") == "preset: small  # command line"
