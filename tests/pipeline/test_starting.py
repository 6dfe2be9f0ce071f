"""How a run begins and goes on: what of it is frozen."""

from pathlib import Path

import pytest

from mwr_hpc.config.loading import resolve
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.errors import ConfigError
from mwr_hpc.events import ignore
from mwr_hpc.pipeline.starting import freeze_settings
from mwr_hpc.run_directory import RunDirectory
from mwr_hpc.training import hardware


def test_a_run_whose_gradients_were_unsound_does_not_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It was begun where a GPU was visible, or by a version that allowed it."""
    run_directory = RunDirectory(tmp_path)
    settings = TrainSettings(input_dir=Path("in"), run_dir=run_directory.root, kernel=5)
    for gpus in ([(8, 0)], []):
        monkeypatch.setattr(hardware, "_gpu_capabilities", lambda gpus=gpus: gpus)
        if gpus:
            assert freeze_settings(settings, run_directory, ignore).precision == "bfloat16"
        else:
            with pytest.raises(ConfigError, match="in another --run_dir"):
                freeze_settings(settings, run_directory, ignore)


def test_a_run_keeps_the_rules_of_the_version_that_began_it(tmp_path: Path) -> None:
    settings = TrainSettings(input_dir=Path("in"), run_dir=tmp_path)
    run = RunDirectory(tmp_path)
    assert freeze_settings(settings, run, ignore).begun_by == "0.2"
    assert freeze_settings(settings, run, ignore).begun_by == "0.2"
    lines = run.config.read_text().splitlines(keepends=True)
    of_0_1_0 = "".join(line for line in lines if not line.startswith("begun_by"))
    run.config.write_text(of_0_1_0)
    assert freeze_settings(settings, run, ignore).begun_by is None
    assert run.config.read_text() == of_0_1_0


def test_the_rules_are_no_option(tmp_path: Path) -> None:
    assert "begun_by" not in TrainSettings.spellings()
    run = RunDirectory(tmp_path)
    freeze_settings(TrainSettings(input_dir=tmp_path, run_dir=tmp_path), run, ignore)
    again = resolve(TrainSettings, config=run.config)  # a run's configuration serves another run
    assert again.settings.begun_by is None
