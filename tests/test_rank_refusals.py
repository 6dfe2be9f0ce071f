"""What several ranks cannot do is refused before anything is read or written: exit code 2 and what to do."""

import importlib.util

import pytest

from commanding import SHORT_TRAINING, refusal, volume


@pytest.fixture
def train(tmp_path, monkeypatch):
    """The words of a command that would train, in a folder with a tomogram."""
    volume(tmp_path / "in/t.mrc")
    monkeypatch.chdir(tmp_path)
    return ["train", "--input_dir", "in", "--run_dir", "run", *SHORT_TRAINING]


@pytest.fixture
def horovod_is(monkeypatch):
    """A function that makes Horovod seem installed, or not."""
    find_spec = importlib.util.find_spec

    def set_to(present):
        found = object() if present else None
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *rest: found if name == "horovod" else find_spec(name, *rest)
        )

    return set_to


def test_without_horovod_the_command_that_installs_it(train, horovod_is):
    horovod_is(False)
    assert "needs Horovod, which is not installed: `mwr-hpc config horovod" in refusal(*train, "--ranks", 2)


def test_two_gpus_are_two_ranks(train, horovod_is):
    horovod_is(False)
    assert "more than one rank needs Horovod" in refusal(*train, "--gpuID", "0,1")


@pytest.mark.parametrize(
    ("size", "ranks", "nearest"), [(8, 3, "use 6 or 9"), (2, 4, "use 4"), (9, 2, "use 8 or 10"), (7, 4, "use 4 or 8")]
)
def test_a_batch_that_the_ranks_do_not_divide(train, horovod_is, size, ranks, nearest):
    horovod_is(True)
    message = refusal(*train, "--batch_size", size, "--ranks", ranks)
    assert f"--batch_size {size} is the batch of all ranks together" in message
    assert message.rstrip().endswith(nearest)


def test_batch_normalisation(train, horovod_is):
    horovod_is(True)
    message = refusal(*train, "--batch_normalization", "True", "--ranks", 2)
    assert "use --ranks 1, or leave batch normalisation out" in message
