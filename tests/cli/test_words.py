"""Tests of reading a command line: MWR's manual as it stands, every spelling, and what is refused."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from commanding import run
from mwr_hpc.cli.words import Given, WordReader
from mwr_hpc.config.loading import resolve
from mwr_hpc.config.schema import COMMANDS, EvaluateSettings, PredictSettings, SimulateSettings, TrainSettings
from mwr_hpc.errors import ConfigError


def read(settings, line, has_json=False):
    return WordReader(settings, line.split(), has_json).read()


def train(line):
    return resolve(TrainSettings, read(TrainSettings, line).values).settings


def test_command_lines_of_the_mwr_manual():
    settings = train(
        "--input_dir ./tomo --mask_dir ./masks/ --noise_dir None --pretrained_model model.h5 --iterations 50 "
        "--ncube 300 --cube_size 64 --crop_size 96 --noise_level 0.07 --noise_start_iter 0 --noise_pause 5 --epoch 8 "
        "--batchsize 8 --step_per_epoch 200 --preprocessing_ncpus 4 --gpuID 0,1,2,3 --continue_training True "
        "--continue_iter 20 --tilt_range -67 57"
    )
    assert (settings.input_dir, settings.noise_dir) == (Path("tomo").absolute(), None)
    assert (settings.epochs, settings.batch_size, settings.steps_per_epoch) == (8, 8, 200)
    assert (settings.gpuID, settings.preprocessing_ncpus) == ((0, 1, 2, 3), 4)
    assert (settings.continue_training, settings.continue_iter) == (True, 20)
    assert settings.tilt_range == (-67.0, 57.0)
    subtomograms = train("--datas_are_subtomos True --subtomo_dir ./subtomos --iterations 5")
    assert (subtomograms.datas_are_subtomos, subtomograms.ncube) == (True, 1)


@pytest.mark.parametrize("spelling", ["--cube_size 48", "--cube-size 48", "--cube_size=48", "--cubesize 48"])
def test_dashes_underscores_and_equals(spelling):
    assert train(f"--input-dir t {spelling}").cube_size == 48


@pytest.mark.parametrize("spelling", ["--gpuID 0", "--gpu-id 0", "--gpu_id=0", "--gpuid 0", "--GPUID 0"])
def test_gpu_spellings(spelling):
    assert train(f"--input_dir t {spelling}").gpuID == (0,)


@pytest.mark.parametrize(
    ("words", "value"),
    [("--flip_tilt", True), ("--flip-tilt True", True), ("--flip_tilt False", False), ("--flip_tilt=false", False),
     ("--no-flip-tilt", False), ("--flip_tilt --seed 3", True), ("--flip_tilt yes", True)],
)  # fmt: skip
def test_flags(words, value):
    assert train(f"--input_dir t {words}").flip_tilt is value


@pytest.mark.parametrize(
    "words", ["-67 57", "-67,57", "=-67,57", "[-67, 57]", "=(-67,57)", "-67.0 57.0 --seed 1", "-67, 57"]
)
def test_tilt_ranges(words):
    assert train(f"--tilt_range{'' if words[0] == '=' else ' '}{words} --input_dir t").tilt_range == (-67.0, 57.0)


def test_a_tilt_range_takes_no_more_than_two_numbers():
    given = read(EvaluateSettings, "--tilt_range -60 60 7.mrc")
    assert given.values == {"tilt_range": "-60 60", "tomogram": "7.mrc"}
    assert read(EvaluateSettings, "--tilt_range None a.mrc").values == {"tilt_range": "None", "tomogram": "a.mrc"}


def test_models_lists_and_tomograms_are_told_apart():
    mixed = read(PredictSettings, "a.mrc m1.h5 b.rec --out x m2.h5 --keep-measured")
    assert mixed.values == {
        "inputs": ["a.mrc", "b.rec"],
        "models": ["m1.h5", "m2.h5"],
        "out": "x",
        "keep_measured": True,
    }
    listed = read(PredictSettings, "m.h5 --tomograms list.star")
    assert listed.values == {"models": ["m.h5"], "tomograms": "list.star"}
    named = read(PredictSettings, "m.h5 --tomograms a.mrc b.mrc --out x")
    assert named.values == {"models": ["m.h5"], "inputs": ["a.mrc", "b.mrc"], "out": "x"}


def test_lists_of_paths_end_at_the_next_option():
    given = read(SimulateSettings, "--density_maps a.mrc b.mrc --shape 20 30 40 --seed 1")
    assert given.values == {"density_maps": ["a.mrc", "b.mrc"], "shape": "20 30 40", "seed": "1"}


def test_words_after_two_dashes_are_bare():
    assert read(PredictSettings, "m.h5 -- --odd.mrc").values == {"models": ["m.h5"], "inputs": ["--odd.mrc"]}


def test_options_of_every_command():
    given = read(EvaluateSettings, "a.mrc --config c.yaml --site=s.yaml --json", has_json=True)
    assert given == Given({"tomogram": "a.mrc"}, Path("c.yaml"), Path("s.yaml"), True)


def test_the_last_of_repeated_options_counts():
    assert train("--input_dir t --seed 1 --seed 2").seed == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--cub_size 3", "did you mean '--cube_size'"),
        ("--json", "unknown option '--json'"),
        ("--no-cube-size", "unknown option '--no-cube-size'"),
        ("-i t", "unknown option '-i'"),
        ("--cube_size", "without its value"),
        ("--cube_size --seed 3", "--cube_size stands without its value"),
        ("--tilt_range", "without its value"),
        ("tomograms", "'tomograms' belongs to no option"),
        ("--seed 1 2", "'2' belongs to no option"),
    ],
)
def test_what_cannot_be_read(line, message):
    with pytest.raises(ConfigError, match=message):
        read(TrainSettings, line)


def test_one_tomogram_is_judged_at_a_time():
    with pytest.raises(ConfigError, match=r"b\.mrc"):
        read(EvaluateSettings, "a.mrc b.mrc")


@pytest.fixture(scope="module")
def advertised():
    """The options that each command's help shows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        lines = {name: settings.help_line().split()[1:] for name, settings in COMMANDS.items()}
        return {name: re.findall(r"--\w+", run(*words).out) for name, words in lines.items()}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_suggestion_is_an_option_of_that_very_command(command, advertised):
    options = set(advertised[command])
    every_option = sorted({option for shown in advertised.values() for option in shown})
    has_json = "--json" in options

    def refused(word):
        try:
            WordReader(COMMANDS[command], [word, "1"], has_json).read()
        except ConfigError as error:
            return str(error)
        return ""

    @settings(max_examples=100)
    @given(some.sampled_from(every_option), some.integers(2, 30), some.sampled_from(["", "s", "_", "x"]))
    def misspell(option, position, letters):
        message = refused(option[:position] + letters + option[position + 1 :])
        if suggested := re.search("did you mean '(.*?)'", message):
            assert suggested[1] in options
            assert "unknown option" not in refused(suggested[1])

    misspell()


def test_what_resembles_no_option_gets_no_suggestion():
    with pytest.raises(ConfigError, match=r"unknown option '--picks'\. See 'mwr-hpc boxnet evaluate --help'"):
        read(COMMANDS["boxnet evaluate"], "--picks folder")
