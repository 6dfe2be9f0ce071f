"""A training goes on with another number of ranks than before, and says so."""

from dataclasses import replace

import pytest

from mwr_hpc.errors import StopRequested
from mwr_hpc.events import Notice, TrainingStep, ignore
from mwr_hpc.training.checkpoint import CheckpointFolder

from .learning import make_engine, train


@pytest.mark.parametrize("ranks", [1, 4])
def test_it_is_told_when_the_number_differs(tmp_path, ranks):
    with pytest.raises(StopRequested):
        train(make_engine(), tmp_path, should_stop=lambda: True)
    checkpoints, events = CheckpointFolder(tmp_path / "checkpoint"), []
    checkpoint = checkpoints.newest("hash", ignore)
    checkpoints.write(replace(checkpoint, ranks=ranks))
    train(make_engine(), tmp_path, emit=events.append)
    told = [event.text for event in events if isinstance(event, Notice) and "ranks did the steps before" in event.text]
    assert [text[:7] for text in told] == ([] if ranks == 1 else ["4 ranks"])
    assert len([event for event in events if isinstance(event, TrainingStep)]) == 5
