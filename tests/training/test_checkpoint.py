"""The checkpoints of a folder are those of one training: what another left neither stays nor is gone on from."""

from pathlib import Path

import numpy as np

from mwr_hpc.events import Event, Notice, ignore
from mwr_hpc.training.checkpoint import Checkpoint, CheckpointFolder

from .learning import make_engine, train


def checkpoint(step: int, config_hash: str = "own") -> Checkpoint:
    return Checkpoint(config_hash, step, 6, 0.0, 0.0, 1, [], [np.zeros(3)], [np.zeros(2)])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_later_step_of_another_training_does_not_displace_this_ones(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    for step in (90, 100):
        folder.write(checkpoint(step, "other"))
    for step in (1, 2):
        folder.write(checkpoint(step))
    assert names(tmp_path) == ["step_00000001.h5", "step_00000002.h5"]
    newest = folder.newest("own", ignore)
    assert newest is not None and newest.step == 2


def test_damaged_files_of_later_steps_do_not_either(tmp_path: Path) -> None:
    for step in (90, 100):
        (tmp_path / f"step_{step:08d}.h5").write_text("damaged")
    CheckpointFolder(tmp_path).write(checkpoint(1))
    assert names(tmp_path) == ["step_00000001.h5"]


def test_a_training_that_begins_anew_removes_those_of_another_and_says_so(tmp_path: Path) -> None:
    CheckpointFolder(tmp_path / "checkpoint").write(checkpoint(2, "other"))
    events: list[Event] = []
    train(make_engine(), tmp_path, emit=events.append)
    told = [event.text for event in events if isinstance(event, Notice)]
    assert len(told) == 1 and "checkpoints that are damaged or of another training" in told[0]
    newest = CheckpointFolder(tmp_path / "checkpoint").newest(None, ignore)
    assert newest is not None and (newest.config_hash, newest.step) == ("hash", newest.steps)
    assert "step_00000002.h5" not in names(tmp_path / "checkpoint")
