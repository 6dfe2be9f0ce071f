"""Tests of where settings come from: which source wins, what each origin is called, and what is refused."""

import os

import pytest
import yaml

from mwr_hpc.config.loading import (
    RESERVED_VARIABLES,
    SCHEMA_VERSION,
    changed_settings,
    resolve,
    settings_from_yaml,
    settings_to_yaml,
)
from mwr_hpc.config.schema import PredictSettings, TrainSettings
from mwr_hpc.errors import ConfigError

INPUT = {"input_dir": "tomograms"}


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write


def test_later_sources_win_one_by_one(write):
    site = write(
        "site.yaml", {"epochs": 1, "rotations": 1, "train": {"rotations": 2, "ncube": 2, "seed": 2, "kernel": 5}}
    )
    config = write("c.yaml", {"ncube": 3, "seed": 3, "kernel": 7})
    environment = {"MWR_HPC_SEED": "4", "MWR_HPC_KERNEL": "9", "MWR_HPC_SITE": str(site)}
    resolved = resolve(TrainSettings, {**INPUT, "kernel": "11"}, config=config, environment=environment)
    settings, origins = resolved.settings, resolved.origins
    assert [settings.epochs, settings.rotations, settings.ncube, settings.seed, settings.kernel] == [1, 2, 3, 4, 11]
    assert origins["batch_size"] == "default"
    assert origins["crop_size"] == "default (1.5 x cube_size)"
    assert origins["epochs"] == f"site file {site}"
    assert origins["rotations"] == f"site file {site}, train"
    assert origins["ncube"] == f"config file {config}"
    assert origins["seed"] == "environment variable MWR_HPC_SEED"
    assert origins["kernel"] == "command line"


def test_explicit_site_beats_the_variable(write):
    one, two = write("1.yaml", {"epochs": 1}), write("2.yaml", {"epochs": 2})
    resolved = resolve(TrainSettings, INPUT, site=two, environment={"MWR_HPC_SITE": str(one)})
    assert resolved.settings.epochs == 2


def test_site_file_serves_all_commands(write):
    site = write("site.yaml", {"keep_measured": True, "predict": {"dtype": "float16"}, "preprocessing-ncpus": 4})
    assert resolve(TrainSettings, INPUT, site=site).settings.preprocessing_ncpus == 4
    predict = resolve(PredictSettings, {"models": "m.h5", "inputs": "a.mrc"}, site=site).settings
    assert (predict.keep_measured, predict.dtype) == (True, "float16")


def test_spellings_and_yaml_values(write):
    config = write("c.yaml", "step-per-epoch: 5\nBatchSize: 4\ntilt_range: [-67, 57]\ngpu-id: 0,1\nnoise_dir: None\n"
                             "learning_rate: 1e-3\ncrop_size:\n")  # fmt: skip
    settings = resolve(TrainSettings, INPUT, config=config).settings
    assert (settings.steps_per_epoch, settings.batch_size, settings.gpuID) == (5, 4, (0, 1))
    assert (settings.tilt_range, settings.noise_dir) == ((-67.0, 57.0), None)
    assert (settings.learning_rate, settings.crop_size) == (1e-3, 96)


@pytest.mark.parametrize("source", ["site", "section", "config", "environment", "command line"])
def test_unknown_options_name_the_nearest_known(write, source):
    content = {"cub_size": 3}
    arguments = {
        "site": lambda: {"site": write("s.yaml", content)},
        "section": lambda: {"site": write("s.yaml", {"train": content})},
        "config": lambda: {"config": write("c.yaml", content)},
        "environment": lambda: {"environment": {"MWR_HPC_CUB_SIZE": "3"}},
        "command line": lambda: {"command_line": content},
    }[source]()
    with pytest.raises(ConfigError, match=r"cube_size|CUBE_SIZE"):
        resolve(TrainSettings, **arguments)


def test_a_section_of_another_command_is_checked_too(write):
    with pytest.raises(ConfigError, match="keep_measured"):
        resolve(TrainSettings, INPUT, site=write("s.yaml", {"predict": {"kept_measured": True}}))


def test_sections_belong_in_a_site_file(write):
    with pytest.raises(ConfigError, match="site file"):
        resolve(TrainSettings, INPUT, config=write("c.yaml", {"train": {"epochs": 1}}))


def test_variables_of_other_commands_and_reserved_ones_are_left_alone():
    environment = dict.fromkeys(RESERVED_VARIABLES, "") | {"MWR_HPC_KEEP_MEASURED": "1", "PATH": os.defpath}
    assert resolve(TrainSettings, INPUT, environment=environment).settings.epochs == 10


def test_an_option_twice_in_one_source_is_refused(write):
    with pytest.raises(ConfigError, match="twice"):
        resolve(TrainSettings, INPUT, config=write("c.yaml", {"epoch": 1, "epochs": 2}))


@pytest.mark.parametrize("content", ["a: [1", "- 1\n- 2\n", "just text", "1: 2", "\x00"])
def test_files_that_are_no_configuration(write, content):
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        resolve(TrainSettings, INPUT, config=write("c.yaml", content))


def test_absent_and_empty_files(write, tmp_path):
    assert resolve(TrainSettings, INPUT, config=write("c.yaml", "")).settings.epochs == 10
    for path in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(ConfigError, match=str(path)):
            resolve(TrainSettings, INPUT, config=path)


def test_a_bad_value_is_reported_with_value_origin_expectation_and_remedy(write):
    config = write("c.yaml", {"batch_size": "many"})
    with pytest.raises(ConfigError) as caught:
        resolve(TrainSettings, {**INPUT, "cube_size": "60"}, config=config)
    cube, batch = str(caught.value).splitlines()
    assert batch == f"--batch_size many (config file {config}): expected a whole number; for example --batch_size 8"
    assert cube.startswith("--cube_size 60 (command line): not a multiple of 8")
    assert caught.value.exit_code == 2


def test_incomplete_settings_can_be_shown_but_not_used():
    assert resolve(TrainSettings, incomplete=True).settings.input_dir is None
    with pytest.raises(ConfigError, match="found no input"):
        resolve(TrainSettings)


def test_yaml_round_trip(tmp_path):
    settings = TrainSettings(input_dir="t", tilt_range=(-67, 57), gpuID=(0, 1), noise_level=0.1, crop_size=128, seed=5)
    path = tmp_path / "config.yaml"
    path.write_text(settings_to_yaml(settings))
    assert settings_from_yaml(TrainSettings, path) == settings
    assert TrainSettings.model_validate(settings.to_parameters()) == settings
    assert resolve(TrainSettings, config=path).settings == settings


@pytest.mark.parametrize(("version", "message"), [(SCHEMA_VERSION + 1, "newer"), ("x", "whole number"), (0, "whole")])
def test_versions_that_cannot_be_read(tmp_path, version, message):
    path = tmp_path / "config.yaml"
    content = yaml.safe_load(settings_to_yaml(TrainSettings(**INPUT))) | {"schema_version": version, "unheard_of": 1}
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=message):
        settings_from_yaml(TrainSettings, path)


def test_a_run_configuration_without_version_is_refused(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("epochs: 3\n")
    with pytest.raises(ConfigError, match="schema_version"):
        settings_from_yaml(TrainSettings, path)


def test_only_changes_of_what_is_computed_count():
    before = TrainSettings(**INPUT)
    assert changed_settings(before, TrainSettings(**INPUT, iterations=50, gpuID="0", preprocessing_ncpus=2)) == {}
    assert changed_settings(before, TrainSettings(**INPUT, cube_size=48)) == {
        "cube_size": (64, 48),
        "crop_size": (96, 72),
    }
