"""The pool's size is kept, with a clock and a SLURM that the test plays."""

import pytest

from mwr_hpc.cluster import worker_jobs
from mwr_hpc.cluster.job_name import JobName
from mwr_hpc.cluster.slurm import Job
from mwr_hpc.cluster.worker_jobs import WorkerJobs
from mwr_hpc.errors import ClusterError


class World:
    """SLURM, its workers and the time."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.workers: set[str] = set()
        self.now = 0.0
        self.jobs = WorkerJobs(self, self.submit, lambda: self.workers, str, clock=lambda: self.now)  # type: ignore[arg-type]  # plays Slurm

    def submit(self) -> tuple[str, JobName]:
        number = str(len(self.states) + 1)
        self.states[number] = "PENDING"
        return number, JobName("run", "prepare", int(number))

    def own_jobs(self) -> list[Job]:
        return [Job(number, state) for number, state in self.states.items() if state in ("PENDING", "RUNNING")]

    def job(self, number: str) -> Job:
        return Job(number, self.states[number], exit_code=1)

    def cancel(self, numbers: list[str]) -> None:
        self.states |= dict.fromkeys(numbers, "CANCELLED")

    def connect(self, number: str) -> None:
        self.states[number] = "RUNNING"
        self.workers.add(f"mwr.run.prepare.{number}-0")

    def after(self, seconds: float) -> dict[str, str]:
        self.now += seconds
        self.jobs.reconcile()
        return self.states


@pytest.fixture
def world() -> World:
    return World()


def test_no_job_without_work_and_as_many_as_wanted_with(world: World) -> None:
    assert world.after(0) == {}
    world.jobs.want(2)
    assert world.after(5) == {"1": "PENDING", "2": "PENDING"}
    assert len(world.after(10_000)) == 2  # a queue may be long


def test_a_lost_job_is_replaced(world: World) -> None:
    world.jobs.want(2)
    world.after(0)
    world.connect("1")
    world.after(5)
    world.states["1"] = "NODE_FAIL"
    world.workers.clear()
    assert world.after(5) == {"1": "NODE_FAIL", "2": "PENDING", "3": "PENDING"}


def test_a_job_whose_worker_is_cut_off_is_replaced_after_a_while(world: World) -> None:
    world.jobs.want(1)
    world.after(0)
    world.connect("1")
    world.after(5)
    world.workers.clear()
    assert world.after(worker_jobs.LONGEST_ABSENCE - 1) == {"1": "RUNNING"}
    assert world.after(2) == {"1": "CANCELLED", "2": "PENDING"}


def test_jobs_without_work_are_kept_for_a_while_then_ended(world: World) -> None:
    world.jobs.want(1)
    world.after(0)
    world.jobs.want(0)
    assert world.after(worker_jobs.LINGER - 1) == {"1": "PENDING"}
    world.jobs.want(1)
    assert world.after(worker_jobs.LINGER) == {"1": "PENDING"}
    world.jobs.want(0)
    assert world.after(worker_jobs.LINGER + 1) == {"1": "CANCELLED"}


def test_jobs_that_never_bring_a_worker_are_an_error(world: World) -> None:
    world.jobs.want(1)
    with pytest.raises(ClusterError, match=r"3 worker jobs in succession.*FAILED.*exit code 1.*mwr.run.prepare.3"):
        for _ in range(10):
            world.after(5)
            world.states |= dict.fromkeys((job.id for job in world.own_jobs()), "FAILED")


def test_a_job_that_runs_without_bringing_a_worker_is_replaced(world: World) -> None:
    world.jobs.want(1)
    world.after(0)
    world.states["1"] = "RUNNING"
    world.after(5)
    assert world.after(worker_jobs.LONGEST_START + 1) == {"1": "CANCELLED", "2": "PENDING"}
