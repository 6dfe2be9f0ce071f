"""A run that was on SLURM goes on elsewhere: not beside its job, and not with a job that nobody can ask about."""

import pytest

from mwr_hpc.cluster.slurm import Job, Slurm
from mwr_hpc.errors import ClusterError, ConfigError
from mwr_hpc.pipeline.rank_claim import new_claim
from mwr_hpc.pipeline.training_job import CLAIM_FILE, require_no_job


@pytest.fixture
def claim(tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/train_01.json").write_text("{}")
    return new_claim(tmp_path / "iterations/01" / CLAIM_FILE)


def require(folder):
    require_no_job(folder, folder / "jobs", "run-1")


def test_beside_a_job_of_the_run_nothing_else_trains(tmp_path, claim, monkeypatch):
    jobs = [Job("7", "RUNNING", "mwr.run-1.train_01.1"), Job("8", "RUNNING", "mwr.run-2.train_01.1")]
    monkeypatch.setattr(Slurm, "own_jobs", lambda self: jobs)
    with pytest.raises(ConfigError, match=r"job 7 .* is RUNNING and works on this run; go on with --slurm"):
        require(tmp_path)
    claim.check()
    jobs.pop(0)
    require(tmp_path)
    assert not claim.lock.exists()


def test_a_job_that_nobody_can_ask_about_loses_its_right(tmp_path, claim, monkeypatch):
    def no_answer(self):
        raise ClusterError("squeue not found")

    monkeypatch.setattr(Slurm, "own_jobs", no_answer)
    require(tmp_path)
    assert not claim.lock.exists()


def test_a_run_that_was_never_on_slurm_asks_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(Slurm, "own_jobs", lambda self: pytest.fail("asked"))
    require(tmp_path)
