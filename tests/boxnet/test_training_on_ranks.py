"""One and two real Horovod ranks teach the same picking network."""

from pathlib import Path

import numpy as np
import pytest

from launching import Launcher
from mwr_hpc.boxnet.registry import METHOD
from mwr_hpc.errors import ConfigError
from mwr_hpc.training.curves import read_curves
from mwr_hpc.training.model_file import read_model

from .teaching import new_examples, old_examples, train

PROGRAM = f"""
from pathlib import Path
from mwr_hpc.cluster.rank_environment import accept_rank
placement = accept_rank(Path("unused"))
sys.path.insert(0, {str(Path(__file__).parent)!r})
from picker_ranks import main
"""


def weights_in(folder):
    description, weights = read_model(folder / "model.h5", METHOD)
    return description, np.concatenate([values.ravel() for _, values in weights])


@pytest.mark.needs("horovod")
def test_two_ranks_teach_the_network_that_one_does(tmp_path):
    for size in (1, 2):
        folder = tmp_path / str(size)
        folder.mkdir()
        Launcher(folder)(PROGRAM + f"main(placement, Path({str(folder)!r}))\n", size)
    (alone, one), (together, two) = (weights_in(tmp_path / size / "rank0") for size in "12")
    assert not (tmp_path / "2" / "rank1" / "model.h5").exists()
    # statistics of whole batches, not of groups, would be others on each rank: some per cent
    start = train(
        tmp_path / "start", new_examples(), old_examples(), epochs=1, batch_size=8, lr_start=1e-9, lr_end=1e-9
    )
    assert start["epoch"] == 1
    moved = np.linalg.norm(one - weights_in(tmp_path / "start")[1])
    assert np.linalg.norm(one - two) < 1e-2 * moved
    curves = [read_curves(tmp_path / size / "rank0" / "curves.jsonl") for size in "12"]
    for first, second in zip(*curves, strict=True):
        for name in ("training_loss", "validation_loss", "old_training_loss", "old_validation_loss"):
            assert first[name] == pytest.approx(second[name], rel=1e-2)
    assert alone["threshold"] == pytest.approx(together["threshold"], abs=0.05)


def test_a_batch_that_ranks_cannot_share_in_groups_is_refused(tmp_path):
    class OneOfTwo:
        rank, size = 0, 2

    with pytest.raises(ConfigError, match="in groups of 2, which are normalised together: use 4 or 8"):
        train(tmp_path, communicator=OneOfTwo(), batch_size=6)
