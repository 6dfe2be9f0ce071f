"""A picking network in teaching, killed five times with all its processes, ends as one that never was."""

import os

import pytest

from boxnet.teaching import new_examples, old_examples, write_store
from killing import kill_when, run_well

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.needs("horovod"))])
def test_killed_five_times_it_ends_with_the_same_bytes(tmp_path, monkeypatch, ranks):
    monkeypatch.setenv("MWR_HPC_MODELS", str(tmp_path / "models"))
    write_store(tmp_path / "new", new_examples())
    write_store(tmp_path / "old", old_examples())

    def words(name):
        where = [
            "--name",
            "Net",
            "--run_dir",
            tmp_path / name,
            "--examples",
            tmp_path / "new",
            "--corpus",
            tmp_path / "old",
        ]
        size = ["--width", 8, "--depth", 2, "--patch", 64, "--epochs", 12, "--batch_size", 4]
        return ["boxnet", "retrain", "--parent", "scratch", *where, *size, "--ranks", ranks]

    run_well(words("whole"))
    published = tmp_path / "models" / "Net.h5"
    whole = published.read_bytes()
    published.unlink()
    checkpoints = tmp_path / "parts" / "iterations" / "01" / "checkpoint"
    for number in range(5):
        before = {path.name for path in checkpoints.glob("step_*.h5")}

        def moment(before=before, wait=1 + number % 2):
            return len({path.name for path in checkpoints.glob("step_*.h5")} - before) >= wait

        kill_when(words("parts"), moment, tmp_path / "log")
        assert not os.path.exists(published)
    run_well(words("parts"))
    assert published.read_bytes() == whole == (tmp_path / "parts" / "Net.h5").read_bytes()
