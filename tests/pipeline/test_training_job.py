"""A run that was on SLURM goes on elsewhere: not beside its job, and not with a job that nobody can ask about."""

import pytest

from mwr_hpc.cluster.slurm import Job, Slurm
from mwr_hpc.config.site import SiteProfile
from mwr_hpc.errors import ClusterError, ConfigError, DamagedArrayError, InputError
from mwr_hpc.events import ArrayDamaged, InputRefused, Notice, ignore, never
from mwr_hpc.pipeline.rank_claim import new_claim
from mwr_hpc.pipeline.rank_job import EVENT_MARK, RankJob, event_line, showing
from mwr_hpc.pipeline.training_job import CLAIM_FILE, TrainingJobs, require_no_job
from mwr_hpc.pipeline.units import Claim
from mwr_hpc.training.placement import LostRanksError


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


class OneJobThatFails:
    """Stands for SLURM: a job that has ended with srun's exit code, the highest of all ranks'."""

    def jobs_of(self, run):
        return {}

    def job(self, identifier):
        return Job("7", "FAILED", "mwr.run-1.train_01.1", "NonZeroExitCode", LostRanksError.exit_code)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ([], ClusterError),
        ([event_line(InputRefused("model.h5: damaged"))], InputError),
        ([event_line(ArrayDamaged("model.h5", "damaged"))], DamagedArrayError),
    ],
)
def test_a_rank_that_refuses_its_input_is_the_users_to_mend(tmp_path, said, error):
    log = tmp_path / "logs/train_01.out"
    log.parent.mkdir()

    class Slurm(OneJobThatFails):
        def submit(self, argv, name):
            log.write_text("\n".join([*said, "rank 1 of 2 lost the others", ""]))
            return "7"

    lock = tmp_path / "lock.json"
    lock.write_text('{"token": "mine"}')
    job = RankJob(
        None, [], tmp_path / "model.h5", Claim(lock, "mine"), tmp_path / "checkpoint", tmp_path / "iterations/01/curves"
    )
    jobs = TrainingJobs(SiteProfile(), Slurm(), "run-1", tmp_path / "jobs", log.parent, ignore, never, 0.1)
    with pytest.raises(error, match=r"model.h5: damaged|ended as FAILED, exit code 87(.|\n)*lost the others") as raised:
        jobs(job)
    assert raised.value.exit_code == (2 if said else 70)


def test_an_event_that_a_kill_cut_off_is_shown_as_it_is() -> None:
    events, lines = [], []
    observe = showing(events.append, lines.append)
    whole = event_line(Notice("a word"))
    for line in (whole, whole[:-5], EVENT_MARK + '{"event": "Gone"}', "text"):
        observe(line)
    assert events == [Notice("a word")]
    assert lines == [whole[:-5], EVENT_MARK + '{"event": "Gone"}', "text"]
