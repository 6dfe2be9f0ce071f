"""Where units of work run: in this process, or on Dask workers. The only module that imports Dask.

Both pools have one method: they call a function on each task, a bounded number at a time, and give back each result
or error as it comes. What travels back is small (receipts), never a volume.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import psutil

from mwr_hpc.errors import ClusterError
from mwr_hpc.events import ShouldStop

MEMORY_SHARE = 0.8
"""Share of the machine's memory that the workers of a local pool may use together."""

GRACE = 30.0
"""Seconds that running tasks have to finish once a stop was asked for."""


@dataclass(frozen=True)
class Finished:
    """One task's end: its `result`, or the `error` that it raised."""

    task: Any
    result: Any = None
    error: BaseException | None = None


class Pool(Protocol):
    """Calls a function on tasks."""

    def run(self, function: Callable[..., Any], tasks: Iterable[Any], should_stop: ShouldStop) -> Iterator[Finished]:
        """Yield each task's end as it comes; after a stop was asked for no further task begins."""
        ...


class InlinePool:
    """Runs tasks one after the other in this process, for stages that use all its cores by themselves."""

    def run(self, function: Callable[..., Any], tasks: Iterable[Any], should_stop: ShouldStop) -> Iterator[Finished]:
        """Yield each task's end as it comes."""
        for task in tasks:
            if should_stop():
                return
            try:
                result = function(task)
            except Exception as error:  # whatever a task raises is handed on, none is dropped
                yield Finished(task, error=error)
            else:
                yield Finished(task, result=result)


class DaskPool:
    """Runs tasks on the workers of a Dask cluster, at most two per thread in flight.

    Parameters
    ----------
    client
        A connected ``distributed.Client``.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def run(self, function: Callable[..., Any], tasks: Iterable[Any], should_stop: ShouldStop) -> Iterator[Finished]:
        """Yield each task's end as it comes.

        Raises
        ------
        ClusterError
            No worker is left.
        """
        from distributed import wait as wait_for

        waiting = iter(tasks)
        running: dict[Any, Any] = {}
        stopped_at: float | None = None
        while True:
            if stopped_at is None and should_stop():
                stopped_at = time.monotonic()
            while stopped_at is None and len(running) < self._window():
                task = next(waiting, None)
                if task is None:
                    break
                running[self._client.submit(function, task, pure=False, retries=0)] = task
            if not running:
                return
            if stopped_at is not None and time.monotonic() - stopped_at > GRACE:
                self._client.cancel(list(running), force=True)
                return
            try:
                done = wait_for(list(running), timeout=0.5, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                continue
            for future in done:
                task = running.pop(future)
                yield _ended(task, future)
                future.release()

    def _window(self) -> int:
        threads = sum(self._client.nthreads().values())
        return 2 * max(1, threads)


@contextlib.contextmanager
def local_pool(workers: int) -> Iterator[DaskPool]:
    """A pool of `workers` processes of one thread each on this machine, closed on leaving.

    A worker process ends by itself when this one dies, so that a killed run leaves nobody writing.
    """
    import dask
    from distributed import Client, LocalCluster

    memory = int(psutil.virtual_memory().total * MEMORY_SHARE / workers)
    settings = {
        "distributed.scheduler.allowed-failures": 2,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.target": False,
        "distributed.comm.timeouts.connect": "30s",
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=memory,
            host="127.0.0.1",
            dashboard_address=None,
            # Without a dashboard the scheduler still listens; on a fixed port it would warn of whoever has that.
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            silence_logs=logging.CRITICAL,
            preload=["mwr_hpc.cluster.worker_setup"],
        ) as cluster,
        Client(cluster) as client,
    ):
        yield DaskPool(client)


def available_cores() -> int:
    """Cores that this process may use: its affinity, which batch systems set."""
    return len(os.sched_getaffinity(0))


def _ended(task: Any, future: Any) -> Finished:
    from distributed import KilledWorker

    error = future.exception() if future.status == "error" else None
    if isinstance(error, KilledWorker):
        reason = f"the worker process died {error.allowed_failures + 1} times on this (killed, or out of memory)"
        return Finished(task, error=ClusterError(reason))
    return Finished(task, error=error) if error is not None else Finished(task, result=future.result())
