"""Keeps a pool of worker jobs at its size: submits, replaces what was lost, and ends what has nothing to do.

Neither dask-jobqueue's scaling nor the lifetimes of workers replace a job that is gone, so this looks itself, every few
seconds, at what SLURM says and at which workers are connected.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from mwr_hpc.cluster.job_name import JobName
from mwr_hpc.cluster.slurm import ENDED, Job, Slurm
from mwr_hpc.errors import ClusterError

LINGER = 60.0
"""Seconds for which jobs without work are kept: the next stage mostly follows at once."""

LONGEST_START = 600.0
"""Seconds from a job's start to its worker's connection after which the job counts as broken."""

LONGEST_ABSENCE = 120.0
"""Seconds after which a running job whose worker is no longer connected is replaced."""

FAILED_STARTS = 3
"""So many jobs in succession that ended before their worker connected are nobody's bad luck."""

MOST_LOSSES = 10
"""So many lost workers for each that is wanted, without one task done meanwhile, are not either."""


@dataclass
class _WorkerJob:
    """One job as far as it is known; times are of the monotonic clock."""

    id: str
    name: JobName
    running_since: float | None = None
    last_seen: float | None = None


class WorkerJobs:
    """The jobs of one pool.

    Parameters
    ----------
    slurm
        Asked for states.
    submit
        Submits one more job and returns its number and name.
    connected
        Names of the workers that are connected; a job's begin with the job's name.
    log_of
        Where a job writes, for the message when jobs cannot start.
    interval
        Seconds between looks.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        slurm: Slurm,
        submit: Callable[[], tuple[str, JobName]],
        connected: Callable[[], set[str]],
        log_of: Callable[[JobName], str],
        interval: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slurm = slurm
        self._submit = submit
        self._connected = connected
        self._log_of = log_of
        self._interval = interval
        self._clock = clock
        self._jobs: list[_WorkerJob] = []
        self._wanted = 0
        self._idle_since: float | None = None
        self._failed_starts = 0
        self._losses = 0
        self._progress = 0
        self._error: Exception | None = None
        self._woken = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._keep, name="worker jobs", daemon=True)

    def __enter__(self) -> "WorkerJobs":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._woken.set()
        self._thread.join()
        self._slurm.cancel([job.id for job in self._jobs])

    def want(self, jobs: int) -> None:
        """Set how many jobs there is work for; 0: none, they are ended after `LINGER` seconds."""
        if jobs > self._wanted:
            self._woken.set()
        self._idle_since = None if jobs else self._clock()
        self._wanted = jobs

    def check(self, progress: int) -> None:
        """Raise what keeps the pool from having workers.

        Parameters
        ----------
        progress
            Any number that changes whenever a task is done.

        Raises
        ------
        ClusterError
            As `reconcile` tells it.
        """
        if progress != self._progress:
            self._progress, self._losses = progress, 0
        if self._error is not None:
            raise self._error

    def _keep(self) -> None:
        while not self._ended:
            try:
                self.reconcile()
            except Exception as error:  # told to the thread that waits for results, which would wait for ever
                self._error = error
                return
            self._woken.wait(self._interval)
            self._woken.clear()

    def reconcile(self) -> None:
        """Look once, and do what is to be done.

        Raises
        ------
        ClusterError
            SLURM does not answer, refuses jobs, none of them brings a worker, or workers are lost and nothing is done.
        """
        if not self._jobs and not self._wanted:
            return
        listed = {job.id: job for job in self._slurm.own_jobs()} if self._jobs else {}
        names = self._connected()
        for job in list(self._jobs):
            self._look_at(job, listed.get(job.id), names)
        idle_since = self._idle_since
        if idle_since is not None and self._clock() - idle_since > LINGER:
            self._slurm.cancel([job.id for job in self._jobs])
            self._jobs.clear()
        while len(self._jobs) < self._wanted and not self._ended:
            self._jobs.append(_WorkerJob(*self._submit()))

    def _look_at(self, job: _WorkerJob, found: Job | None, names: set[str]) -> None:
        now = self._clock()
        if any(name == str(job.name) or name.startswith(f"{job.name}-") for name in names):
            job.last_seen = now
            self._failed_starts = 0
        if found is None or found.state in ENDED:
            self._jobs.remove(job)
            self._count_loss(job)
        elif found.state != "RUNNING":
            job.running_since = None
        elif job.running_since is None:
            job.running_since = now
        elif self._is_missing(job, now):
            self._drop(job)
            self._count_loss(job)

    @staticmethod
    def _is_missing(job: _WorkerJob, now: float) -> bool:
        """Whether the worker of a running job has not been seen for too long."""
        if job.last_seen is not None:
            return now - job.last_seen > LONGEST_ABSENCE
        return job.running_since is not None and now - job.running_since > LONGEST_START

    def _drop(self, job: _WorkerJob) -> None:
        self._jobs.remove(job)
        self._slurm.cancel([job.id])

    def _count_loss(self, job: _WorkerJob) -> None:
        if job.last_seen is None:
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS:
                raise ClusterError(
                    f"{self._failed_starts} worker jobs in succession ended before their worker connected; the last, "
                    f"{self._described(job)}. Look there; mostly the set-up file of the site profile or its network "
                    "interface is at fault."
                )
            return
        self._losses += 1
        if self._wanted and self._losses >= MOST_LOSSES * self._wanted:
            raise ClusterError(
                f"{self._losses} worker jobs in succession were lost without anything done meanwhile; the last, "
                f"{self._described(job)}. Look there; mostly the memory or walltime of the site profile is too small."
            )

    def _described(self, job: _WorkerJob) -> str:
        known = None
        with contextlib.suppress(ClusterError):
            known = self._slurm.job(job.id)
        state = f"{known.state}, reason {known.reason}, exit code {known.exit_code}" if known else "unknown to SLURM"
        return f"{job.id} ({state}), wrote {self._log_of(job.name)}"
