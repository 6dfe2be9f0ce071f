"""One, two and four real Horovod ranks train the same model; the checks fail once nothing is averaged."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from launching import Launcher

pytestmark = pytest.mark.needs("horovod")

PROGRAM = f"""
from pathlib import Path
from mwr_hpc.cluster.rank_environment import accept_rank
placement = accept_rank(Path("unused"))
sys.path.insert(0, {str(Path(__file__).parent)!r})
from ranks_agree import main
"""


@pytest.fixture(scope="module")
def results_of(tmp_path_factory):
    """A function from a number of ranks to what each of them left."""

    @cache
    def results(size):
        folder = tmp_path_factory.mktemp(f"ranks{size}")
        Launcher(folder)(PROGRAM + f"main(placement, Path({str(folder)!r}))\n", size)
        return [dict(np.load(folder / f"rank{rank}.npz")) for rank in range(size)]

    return results


def check_gradient(ranks, alone, way):
    expected = alone["l2 gradient" if way == "apart" else f"{way} gradient"]
    for rank in ranks:
        assert np.linalg.norm(rank[f"{way} gradient"] - expected) < 1e-5 * np.linalg.norm(expected)


def check_weights_are_equal(ranks, way):
    for rank in ranks[1:]:
        assert rank[f"{way} weights"].tobytes() == ranks[0][f"{way} weights"].tobytes()


def check_end(ranks, alone, way):
    start, *_, end = alone["l2 weights" if way == "apart" else f"{way} weights"]
    assert len(ranks[0][f"{way} weights"]) == 5
    apart = np.linalg.norm(ranks[0][f"{way} weights"][-1] - end) / np.linalg.norm(end - start)
    assert apart < 1e-3


@pytest.mark.parametrize("way", ["l2", "l1"])
@pytest.mark.parametrize("size", [2, 4])
def test_ranks_agree_with_one_another_and_with_one_process(results_of, size, way):
    """Twenty steps of Adam in float32, dropout on, and as much padding on each rank as its samples have."""
    ranks, (alone,) = results_of(size), results_of(1)
    check_gradient(ranks, alone, way)
    check_weights_are_equal(ranks, way)
    check_end(ranks, alone, way)


@pytest.mark.parametrize("size", [2, 4])
def test_the_checks_notice_that_nothing_is_averaged(results_of, size):
    ranks, (alone,) = results_of(size), results_of(1)
    with pytest.raises(AssertionError):
        check_gradient(ranks, alone, "apart")
    with pytest.raises(AssertionError):
        check_weights_are_equal(ranks, "apart")
    with pytest.raises(AssertionError):
        check_end(ranks, alone, "apart")


@pytest.mark.parametrize("size", [2, 4])
def test_a_loss_that_is_no_number_on_one_rank_stops_all_with_the_samples(results_of, size):
    errors = {str(rank["error"]) for rank in results_of(size)}
    assert len(errors) == 1
    assert "is not a number" in (text := errors.pop()) and "c/3/0" in text
