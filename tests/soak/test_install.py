"""The install commands of the README, run in fresh environments of every Python that is supported."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from commanding import SHORT_TRAINING

pytestmark = pytest.mark.soak

PROJECT = Path(__file__).parents[2]
COMMAND = re.compile(r"`pip install (-c constraints\.txt '\.\[cpu\]')`")
SIMULATE = ["simulate", "tomogram", "--out", "tomograms", "--shape", "24", "40", "40", "--crowding", "0.05"]
QUIET = ["-qq", "--disable-pip-version-check", "--no-input"]


def interpreter(version: str) -> str:
    """Find `pythonX.Y` on the path, or where pyenv keeps it."""
    kept = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    found = str(kept[-1]) if kept else shutil.which(f"python{version}")  # pyenv's own python3.X may lead nowhere
    if found is None or subprocess.run([found, "--version"], capture_output=True).returncode:
        pytest.skip(f"no python{version} on this machine")
    return found


def call(*words: str | Path, cwd: Path, code: int = 0) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    ended = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=clean, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture(params=["3.11", "3.12"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    call("git", "clone", "-q", PROJECT, tmp_path / "source", cwd=tmp_path)
    call(interpreter(request.param), "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    return tmp_path


def test_the_readme_installs_a_program_that_trains_and_corrects(environment: Path) -> None:
    command = COMMAND.search((PROJECT / "README.md").read_text())
    assert command, "the README has an install command"
    words = command.group(1).replace("'", "").split()
    pip = environment / "venv/bin/pip"
    call(pip, "install", *QUIET, *words, cwd=environment / "source")
    call(pip, "check", cwd=environment)
    shutil.rmtree(environment / "source")  # what is installed has to be enough
    program = environment / "venv/bin/mwr-hpc"
    assert "mwr-hpc 0." in call(program, "--version", cwd=environment)
    assert "slurm:" in call(program, "config", "site", cwd=environment)
    site = environment / "site.yaml"
    site.write_text(call(program, "config", "site", cwd=environment))
    call("bash", "-n", "-c", call(program, "config", "horovod", cwd=environment), cwd=environment)
    call(program, *SIMULATE, cwd=environment)
    train = ["train", "--input_dir", "tomograms", *SHORT_TRAINING]
    assert "mwr-hpc config horovod" in call(program, *train, "--ranks", "2", cwd=environment, code=2)
    assert "sbatch" in call(program, "submit", *train, "--site", site, "--dry-run", cwd=environment)
    call(program, *train, cwd=environment)
    call(program, "predict", "mwr_run/results/model_iter01.h5", "tomograms", cwd=environment)
    assert (environment / "corrected/tomogram_corrected.mrc").exists()


def test_without_an_extra_the_first_line_says_what_to_install(environment: Path) -> None:
    pip = environment / "venv/bin/pip"
    call(pip, "install", *QUIET, "-c", "constraints.txt", ".", cwd=environment / "source")
    program = environment / "venv/bin/mwr-hpc"
    call(program, *SIMULATE, cwd=environment)
    refused = call(program, "train", "--input_dir", "tomograms", cwd=environment, code=2)
    assert "TensorFlow is not installed: run `" in refused and "tensorflow-cpu==2.18.1" in refused
    assert not (environment / "mwr_run").exists()
