"""A training job's own right to publish: it outlives its coordinator, and is that of the last start of the last job."""

import pytest

from mwr_hpc.errors import StageError
from mwr_hpc.pipeline.rank_claim import claim_of_start, new_claim, take_over


def may_publish(claim) -> bool:
    try:
        claim.check()
    except StageError:
        return False
    return True


def test_a_job_publishes_until_another_is_submitted(tmp_path):
    path = tmp_path / "01/claim.json"
    first = new_claim(path)
    take_over(first, "7-0")
    running = claim_of_start(first, "7-0")
    assert may_publish(running)
    second = new_claim(path)
    assert not may_publish(running)
    with pytest.raises(StageError, match="taken"):
        take_over(first, "7-1")  # requeued by SLURM although another job was submitted
    take_over(second, "8-0")
    assert may_publish(claim_of_start(second, "8-0")) and not may_publish(running)


def test_of_a_job_that_slurm_started_twice_only_the_later_publishes(tmp_path):
    claim = new_claim(tmp_path / "claim.json")
    take_over(claim, "7-0")
    cut_off = claim_of_start(claim, "7-0")
    take_over(claim, "7-1")
    assert may_publish(claim_of_start(claim, "7-1"))
    assert not may_publish(cut_off)


def test_nobody_publishes_without_the_file(tmp_path):
    claim = new_claim(tmp_path / "claim.json")
    claim.lock.unlink()
    assert not may_publish(claim)
