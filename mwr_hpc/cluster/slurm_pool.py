"""A pool of Dask workers in SLURM jobs: TLS, worker jobs that SLURM may take away at any time, and their scripts.

dask-jobqueue writes the script of a worker job; submitting, counting and replacing jobs is `worker_jobs`.
"""

import contextlib
import functools
import itertools
import math
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from mwr_hpc.cluster.job_name import JobName
from mwr_hpc.cluster.keys import Keys, make_keys
from mwr_hpc.cluster.local_pool import private_folder
from mwr_hpc.cluster.pool import DaskPool, Finished
from mwr_hpc.cluster.rank_environment import thread_environment
from mwr_hpc.cluster.slurm import Slurm
from mwr_hpc.cluster.submission import log_pattern, resource_words
from mwr_hpc.cluster.worker_jobs import WorkerJobs
from mwr_hpc.config.site import SiteProfile, WorkerResources
from mwr_hpc.events import ShouldStop

LEAVING = 180.0
"""Seconds before the end of its job at which a worker leaves (a quarter of the walltime if that is less)."""


class SlurmPool:
    """Runs tasks on workers in SLURM jobs, of which there are as many as there is work for.

    Parameters
    ----------
    pool
        Hands out the tasks.
    jobs
        Keeps the workers.
    resources
        Says how many jobs at most.
    units_at_once
        Tasks that a job works on side by side.
    """

    def __init__(self, pool: DaskPool, jobs: WorkerJobs, resources: WorkerResources, units_at_once: int) -> None:
        self._pool = pool
        self._jobs = jobs
        self._most = resources.workers
        self._units_at_once = units_at_once

    def run(self, function: Callable[..., Any], tasks: Iterable[Any], should_stop: ShouldStop) -> Iterator[Finished]:
        """Yield each task's end as it comes; see `DaskPool.run`."""
        waiting = list(tasks)
        unfinished = len(waiting)
        self._want(unfinished)
        try:
            for end in self._pool.run(function, waiting, should_stop):
                unfinished -= 1
                self._want(unfinished)
                yield end
        finally:
            self._jobs.want(0)

    def _want(self, tasks: int) -> None:
        self._jobs.want(min(self._most, math.ceil(tasks / self._units_at_once)))


@contextlib.contextmanager
def slurm_pool(
    site: SiteProfile,
    resources: WorkerResources,
    name: JobName,
    *,
    units_at_once: int,
    secrets: Path,
    logs: Path,
    should_stop: ShouldStop,
    interval: float = 5.0,
) -> Iterator[SlurmPool]:
    """A pool of worker jobs, all ended on leaving, so that none of them is writing any more.

    Jobs are submitted when there is work and ended `worker_jobs.LINGER` seconds after there is none. Worker jobs of
    the same run and unit that a dead coordinator left behind are cancelled first: only for who holds the run's lock.

    Parameters
    ----------
    site
        Set-up file, scratch and interface.
    resources
        What each job asks for, such as ``site.preparation``.
    name
        Run and unit of the jobs' names.
    units_at_once
        Tasks that a job works on side by side, each in a process of its own; its cores are shared out among them.
    secrets
        Folder for the keys of TLS, which all nodes see; made with mode 0700.
    logs
        Folder for the jobs' scripts and output.
    should_stop
        Asked while SLURM does not answer.
    interval
        Seconds between looks at the jobs.
    """
    from mwr_hpc.cluster.scheduler import names_of_workers, scheduling

    keys = make_keys(secrets / name.unit)
    slurm = Slurm(should_stop=should_stop)

    def of_this_pool() -> set[str]:
        return {job.id for found, job in slurm.jobs_of(name.run).items() if found.unit == name.unit}

    slurm.cancel(sorted(of_this_pool()))
    logs.mkdir(parents=True, exist_ok=True)
    script = WorkerScript(site, resources, units_at_once, keys)
    slurm_job()  # here, because jobs are submitted by another thread, which may not touch the signals
    with (
        private_folder() as folder,
        scheduling(keys, folder, **scheduler_address(site.interface)) as (cluster, client),
    ):
        numbers = itertools.count(_last_number(logs, name) + 1)

        def submit() -> tuple[str, JobName]:
            job = JobName(name.run, name.unit, next(numbers))
            path = logs / f"{job}.sbatch"
            path.write_text(script.text(cluster.scheduler_address, job))  # the record of this attempt, too
            argv = ["sbatch", "--parsable", f"--job-name={job}", f"--output={log_pattern(path.with_suffix('.out'))}"]
            return slurm.submit([*argv, str(path)], job), job

        def log_of(job: JobName) -> str:
            return str(logs / f"{job}.out")

        with WorkerJobs(slurm, submit, lambda: names_of_workers(cluster), log_of, interval) as jobs:
            yield SlurmPool(DaskPool(client, jobs.check), jobs, resources, units_at_once)
        slurm.end(of_this_pool())


@functools.cache
def slurm_job() -> Any:
    """Return dask-jobqueue's description of a job, and keep our handler of Ctrl-C, which importing it replaces."""
    handler = signal.getsignal(signal.SIGINT)
    from dask_jobqueue.slurm import SLURMJob

    signal.signal(signal.SIGINT, handler)
    return SLURMJob


@dataclass(frozen=True)
class WorkerScript:
    """The script of a worker job, from values that the site profile's patterns have checked."""

    site: SiteProfile
    resources: WorkerResources
    units_at_once: int
    keys: Keys

    def options(self) -> dict[str, Any]:
        """What dask-jobqueue is told; `resource_words` say to SLURM what a job needs."""
        from mwr_hpc.cluster.scheduler import DEATH_TIMEOUT, WORKER_SETTINGS

        threads = thread_environment(max(1, self.resources.cores // self.units_at_once))
        variables = {"PYTHONSAFEPATH": "1"} | WORKER_SETTINGS | threads
        exports = [f"export {name}={value}" for name, value in variables.items()]
        set_up = [f"source {self.site.setup}"] if self.site.setup else []
        return {
            "cores": self.units_at_once,
            "processes": self.units_at_once,
            "memory": self.resources.memory,
            "job_directives_skip": ["#SBATCH"],  # dask-jobqueue's; those below say all
            "job_extra_directives": [*resource_words(self.resources), "--nodes=1", "--ntasks=1", "--no-requeue"],
            "job_script_prologue": [*set_up, *exports, *folder_lines(self.site.scratch)],
            "interface": self.site.interface,
            "local_directory": OWN_FOLDER,
            "python": shlex.quote(sys.executable),
            "death_timeout": DEATH_TIMEOUT,
            "worker_extra_args": self._worker_arguments(),
        }

    def text(self, scheduler: str, job: JobName) -> str:
        """The script of one job."""
        script: str = slurm_job()(scheduler, name=str(job), job_name=str(job), **self.options()).job_script()
        return script

    def _worker_arguments(self) -> Sequence[str]:
        from mwr_hpc.cluster.scheduler import worker_words

        leaving = min(LEAVING, self.resources.seconds / 4)
        lifetime = self.resources.seconds - leaving
        stagger = leaving / 4  # so that not all leave at once
        life = ["--lifetime", f"{lifetime:.0f}s", "--lifetime-stagger", f"{stagger:.0f}s"]
        return [*map(shlex.quote, worker_words(self.keys)), *life]


OWN_FOLDER = '"$folder"'
"""The word of a shell command for the folder that `folder_lines` make."""


def folder_lines(scratch: str | None) -> list[str]:
    """Shell commands that make a folder which only the user can enter, removed when the shell ends.

    Parameters
    ----------
    scratch
        Where; variables are the node's. None: where the node has temporary files.
    """
    parent = scratch or "${TMPDIR:-/tmp}"
    return [
        f'mkdir -p "{parent}"',
        f'folder=$(mktemp -d "{parent}/mwr-hpc.XXXXXXXXXX") || exit',
        "trap 'rm -rf \"$folder\"' EXIT",
        "trap : TERM",  # the workers get it too: wait for them, then remove
    ]


def scheduler_address(interface: str | None) -> dict[str, str]:
    """Where a scheduler on this host listens: the site's interface, or any; login nodes often name theirs otherwise."""
    if interface is not None and interface in psutil.net_if_addrs():
        return {"interface": interface}
    return {"host": "0.0.0.0"}


def _last_number(logs: Path, name: JobName) -> int:
    scripts = logs.glob(f"mwr.{name.run}.{name.unit}.*.sbatch")
    return max((int(path.suffixes[-2][1:]) for path in scripts), default=0)
