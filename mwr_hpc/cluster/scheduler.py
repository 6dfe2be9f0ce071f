"""Dask's scheduler in this process and the settings of its workers: TLS everywhere, HTTP nowhere."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Scheduler, SpecCluster, Worker

from mwr_hpc.cluster.keys import Keys

SCHEDULER_SETTINGS = {
    "distributed.scheduler.allowed-failures": 2,
    "distributed.scheduler.http.routes": [],
    "distributed.comm.timeouts.connect": "30s",
    # Transitions of past tasks, for developers of Dask: a thousand of them, its default, hold 7 MB of this process.
    "distributed.admin.low-level-log-length": 100,
}
"""Dask's settings for the process that has the scheduler."""

WORKER_SETTINGS = {
    "DASK_DISTRIBUTED__WORKER__HTTP__ROUTES": "[]",
    "DASK_DISTRIBUTED__WORKER__MEMORY__SPILL": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__TARGET": "False",
    # A paused worker has nothing to spill and would wait for ever.
    "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "False",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "30s",
    "MALLOC_TRIM_THRESHOLD_": "65536",  # freed memory goes back to the system, as Dask has it for its own processes
}
"""Environment of workers; what the coordinator sets for itself does not reach other processes."""

DEATH_TIMEOUT = 120
"""Seconds that a worker looks for its scheduler before it ends."""


class _WithoutHttp:
    """Dask opens a port for HTTP, which asks for no key, even where dashboard and routes are off."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Open nothing."""


class SilentScheduler(_WithoutHttp, Scheduler):
    """A scheduler that speaks to those who have the keys only."""


class SilentWorker(_WithoutHttp, Worker):
    """A worker that speaks to those who have the keys only."""


def worker_words(keys: Keys) -> list[str]:
    """Arguments of ``dask worker`` that are the same in all pools."""
    return [
        *keys.words(),
        *("--protocol", "tls://", "--no-dashboard"),
        *("--worker-class", f"{SilentWorker.__module__}.{SilentWorker.__name__}"),
        *("--preload", "mwr_hpc.cluster.worker_setup"),
    ]


@contextlib.contextmanager
def scheduling(keys: Keys, folder: Path, **address: str) -> Iterator[tuple[SpecCluster, Client]]:
    """A scheduler without workers in this process, and a client of it.

    Parameters
    ----------
    keys
        Who has them may connect.
    folder
        A private folder for Dask's temporary files. Dask's own choice has a name that everybody can guess, in a folder
        where everybody may write, and Python would look there for modules.
    address
        ``host`` or ``interface``: where it listens, on any free port.
    """
    security = keys.security()
    options = {"protocol": "tls://", "port": 0, "security": security, "dashboard": False, **address}
    with (
        dask.config.set(SCHEDULER_SETTINGS | {"temporary-directory": str(folder)}),
        SpecCluster(
            workers={},
            scheduler={"cls": SilentScheduler, "options": options},
            security=security,
            silence_logs="critical",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield cluster, client


def names_of_workers(cluster: SpecCluster) -> set[str]:
    """Return the names of the workers that are connected."""
    return {str(worker.name) for worker in list(cluster.scheduler.workers.values())}
