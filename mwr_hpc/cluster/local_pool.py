"""A pool of worker processes on this host, which nobody but the user can reach, and which come back when they die."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from mwr_hpc.cluster.keys import make_keys
from mwr_hpc.cluster.pool import DaskPool
from mwr_hpc.cluster.rank_environment import python_environment, thread_environment
from mwr_hpc.cluster.worker_processes import WorkerProcesses

MEMORY_SHARE = 0.8
"""Share of the machine's memory that the workers of a pool may use together."""

LONGEST_OPENING = 30.0
"""Seconds for which tasks wait until all workers are there; then those begin that are."""

LAST_LINES = 20
"""Amount of the output that an error quotes of workers that cannot start."""


@contextlib.contextmanager
def local_pool(workers: int) -> Iterator[DaskPool]:
    """A pool of `workers` processes of one thread each on this machine, closed on leaving.

    Its keys, its temporary files and the output of its workers lie in a private folder, which is removed on leaving. A
    worker process ends by itself when this one dies, so that a killed run leaves nobody writing.

    Raises
    ------
    ClusterError
        The workers cannot be started.
    """
    from mwr_hpc.cluster.scheduler import DEATH_TIMEOUT, WORKER_SETTINGS, names_of_workers, scheduling, worker_words

    memory = int(psutil.virtual_memory().total * MEMORY_SHARE / workers)
    environment = os.environ | python_environment() | WORKER_SETTINGS | thread_environment(1)
    with private_folder() as folder:
        keys = make_keys(folder / "keys")
        words = ["--no-nanny", "--nthreads", "1", "--memory-limit", str(memory), "--host", "127.0.0.1"]
        words += ["--local-directory", str(folder), "--death-timeout", str(DEATH_TIMEOUT), *worker_words(keys)]
        program = [sys.executable, "-m", "mwr_hpc.cluster.worker_process", str(os.getpid())]

        def start(_: int, name: str) -> subprocess.Popen[bytes]:
            with open(folder / name, "wb") as output:
                return subprocess.Popen(
                    [*program, cluster.scheduler_address, "--name", name, *words],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is for the coordinator, which lets the running units finish
                )

        def last_words(name: str) -> str:
            lines = (folder / name).read_text(errors="replace").splitlines()[-LAST_LINES:]
            return "Its last lines:\n" + "\n".join(f"    {line}" for line in lines or ["(none)"])

        with (
            scheduling(keys, folder, host="127.0.0.1") as (cluster, client),
            WorkerProcesses(start, workers, lambda: names_of_workers(cluster), last_words, memory) as processes,
        ):
            processes.wait_for_all(LONGEST_OPENING)
            yield DaskPool(client, processes.check)


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A new folder that only the user can enter, removed with all that is in it on leaving."""
    with tempfile.TemporaryDirectory(prefix="mwr-hpc-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
