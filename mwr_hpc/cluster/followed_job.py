"""Submits a job and stays with it to its end, or finds the one that goes on from before and stays with that."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mwr_hpc.cluster.job_name import JobName
from mwr_hpc.cluster.slurm import Job, Slurm
from mwr_hpc.errors import ClusterError, StopRequested, WorkGoesOn
from mwr_hpc.events import ShouldStop
from mwr_hpc.io.atomic import atomic_file
from mwr_hpc.io.records import read_record

NOBODYS_FAULT = frozenset({"BOOT_FAIL", "NODE_FAIL", "PREEMPTED", "TIMEOUT"})
"""Ends after which the same job is worth another attempt."""

MOST_ATTEMPTS = 5


def follow_job(
    slurm: Slurm,
    name: JobName,
    argv: Callable[[JobName], Sequence[str]],
    record: Path,
    *,
    look: Callable[[Job], None],
    should_stop: ShouldStop,
    interval: float = 5.0,
) -> None:
    """Return when the job has completed; a waiting or running one of the same run and unit is adopted.

    Parameters
    ----------
    slurm
        Asked for the state.
    name
        Run and unit; the attempt is counted here.
    argv
        Command line of sbatch for one attempt, whose name the job must carry.
    record
        File for the name of the last attempt, written before it is submitted.
    look
        Called with the job at every look at it.
    should_stop
        Once it is true the job is left to go on.
    interval
        Seconds between looks.

    Raises
    ------
    ClusterError
        The job failed, or was cancelled.
    WorkGoesOn
        A stop was asked for; the job goes on.
    """
    ends: list[str] = []
    while len(ends) < MOST_ATTEMPTS:
        identifier = _running(slurm, name) or submit_attempt(slurm, name, argv, record)
        ended = wait_for_job(slurm, identifier, look, should_stop, interval)
        if ended is None or ended.state == "COMPLETED":
            return
        successor = ended.exit_code == StopRequested.exit_code and _running(slurm, name) is not None
        if not successor and ended.state not in NOBODYS_FAULT:
            code = f", exit code {ended.exit_code}" if ended.exit_code else ""
            raise ClusterError(f"job {ended.id} ({ended.name}) ended as {ended.state}{code} (reason {ended.reason})")
        ends.append(f"{ended.id} {ended.state}")
    raise ClusterError(f"the job {name.unit} of run {name.run} was lost again and again: {', '.join(ends)}")


def _running(slurm: Slurm, name: JobName) -> str | None:
    found = [job for known, job in slurm.jobs_of(name.run).items() if known.unit == name.unit and not job.ended]
    return found[-1].id if found else None


def submit_attempt(slurm: Slurm, name: JobName, argv: Callable[[JobName], Sequence[str]], record: Path) -> str:
    """Submit the next attempt, recorded before it is submitted, and return the job's number; see `follow_job`."""
    last = (read_record(record, [], "") or {}).get("attempt")
    if not isinstance(last, int):  # the first attempt, or what a crash has left of the record
        last = max((known.attempt for known in slurm.jobs_of(name.run) if known.unit == name.unit), default=0)
    attempt = JobName(name.run, name.unit, last + 1)
    record.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(record) as partial:
        partial.write_text(json.dumps({"attempt": attempt.attempt, "name": str(attempt)}))
    return slurm.submit(argv(attempt), attempt)


def wait_for_job(
    slurm: Slurm, identifier: str, look: Callable[[Job], None], should_stop: ShouldStop, interval: float = 5.0
) -> Job | None:
    """Stay with a job to its end, as `follow_job` does, and return how it ended; None when SLURM has forgotten it."""
    while True:
        job = slurm.job(identifier)
        if job is None:
            return None
        look(job)
        if job.ended:
            return job
        deadline = time.monotonic() + interval
        while time.monotonic() < deadline:
            if should_stop():
                raise WorkGoesOn(f"stopped; job {job.id} ({job.name}) goes on, the next start waits for it")
            time.sleep(min(0.2, interval))
