"""What is missing in an installation is reported before any work, with the command that adds it."""

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commanding import SHORT_TRAINING, refusal, run, small_model, volume
from mwr_hpc import installation
from mwr_hpc.config.schema import COMMANDS
from mwr_hpc.errors import ConfigError

PROJECT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorflow" else found(name))


@pytest.fixture
def without_dask_jobqueue(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.metadata.version

    def version(name: str) -> str:
        if name == "dask-jobqueue":
            raise importlib.metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(importlib.metadata, "version", version)


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--input_dir", "in", *SHORT_TRAINING],
        ["predict", "model.h5", "in"],
        ["demo"],
        ["boxnet", "pick", "--model", "BoxNetGeneric", "--micrographs", "in", "--diameter", 190],
        ["boxnet", "demo"],
        ["plan", "predict", "model.h5", "in"],
    ],
    ids=lambda words: " ".join(map(str, words[:2])),
)
def test_every_command_with_a_network_says_at_once_how_to_install_tensorflow(
    words: list[object], without_tensorflow: None
) -> None:
    """On 0.1.0 these ran for minutes and ended in a traceback."""
    volume("in/a.mrc")
    Path("model.h5").touch()
    message = refusal(*words)
    assert "TensorFlow is not installed" in message
    assert f"{sys.executable} -m pip install tensorflow-cpu==2.18.1" in message
    assert "'tensorflow[and-cuda]==2.18.1'" in message


def test_what_needs_no_network_works_without_tensorflow(without_tensorflow: None) -> None:
    volume("in/a.mrc", shape=(24, 40, 40))
    assert run("convert", "in", "--out", "out").code == 0
    ended = run("check", "in", "--cube_size", 16)
    assert ended.code == 2 and "Error: TensorFlow: TensorFlow is not installed: run `" in ended.out


def test_a_missing_package_stops_every_command_before_any_work(without_dask_jobqueue: None) -> None:
    volume("in/a.mrc")
    small_model("model.h5")
    for words in (["train", "--input_dir", "in"], ["predict", "model.h5", "in"], ["convert", "in"], ["check", "in"]):
        assert f"dask-jobqueue: not installed; run `{sys.executable} -m pip install dask-jobqueue`" in refusal(*words)


def test_the_commands_with_a_network_are_those_that_import_tensorflow() -> None:
    networks = {name for name, settings in COMMANDS.items() if settings.runs_network}
    assert networks == {
        *("train", "predict", "demo"),
        *("boxnet retrain", "boxnet pick", "boxnet train-generic", "boxnet demo"),
    }


def test_example_and_recipe_come_with_the_program() -> None:
    assert run("config", "site").out == (PROJECT / "configs/sites/example.yaml").read_text()
    assert run("config", "horovod").out == (PROJECT / "tools/build_horovod.sh").read_text()
    subprocess.run(["bash", "-n"], input=run("config", "horovod").out, text=True, check=True)


def test_files_are_found_as_installed_and_missing_ones_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "__file__", str(tmp_path / "site-packages/mwr_hpc/installation.py"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(ConfigError, match=r"jobs/train.sbatch is neither in .*install mwr-hpc again"):
        installation.shipped_file("jobs/train.sbatch")
    installed = tmp_path / "share/mwr-hpc/jobs/train.sbatch"
    installed.parent.mkdir(parents=True)
    shutil.copy(PROJECT / "jobs/train.sbatch", installed)
    assert installation.shipped_file("jobs/train.sbatch") == installed
