"""Where units of work run: in this process, or on Dask workers.

All pools have one method: they call a function on each task, a bounded number at a time, and give back each result
or error as it comes. What travels back is small (receipts), never a volume.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from mwr_hpc.errors import ClusterError, MwrError, StorageError
from mwr_hpc.events import ShouldStop

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

    A task whose worker is lost goes to another one. A task that fails by an error that is not deliberate, for which its
    host may be to blame, gets a second attempt on another host where there is one. One whose workers died again and
    again may only have been beside the one that kills them: it gets its last attempt alone, after all others.

    Parameters
    ----------
    client
        A connected ``distributed.Client``.
    check
        Called again and again while tasks wait, with a number that grows with every task that ends; raises when there
        will be no worker.
    """

    def __init__(self, client: Any, check: Callable[[int], None]) -> None:
        self._client = client
        self._check = check
        self._progress = 0
        self._threads, self._asked = 0, -math.inf

    def run(self, function: Callable[..., Any], tasks: Iterable[Any], should_stop: ShouldStop) -> Iterator[Finished]:
        """Yield each task's end as it comes.

        Raises
        ------
        ClusterError
            There is no worker and will be none.
        """
        from distributed import wait as wait_for

        waiting = iter(tasks)
        self._progress += 1  # what befell workers that had nothing to do does not count
        running: dict[Any, Any] = {}
        second_attempts: set[Any] = set()
        suspects: list[Any] = []
        last_attempts: set[Any] = set()
        stopped_at: float | None = None
        while True:
            if stopped_at is None and should_stop():
                stopped_at = time.monotonic()
            while stopped_at is None and len(running) < self._window():
                task = next(waiting, None)
                if task is None:
                    break
                running[self._client.submit(function, task, pure=False, retries=0)] = task
            if not running and suspects and stopped_at is None:
                alone = self._client.submit(function, suspects[0], pure=False, retries=0)
                running[alone] = suspects.pop(0)
                last_attempts.add(alone)
            if not running:
                return
            if stopped_at is not None and time.monotonic() - stopped_at > GRACE:
                self._client.cancel(list(running), force=True)
                return
            self._check(self._progress)
            try:
                with self._client.as_current():  # there may be a pool for other work beside this one
                    done = wait_for(list(running), timeout=0.5, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                continue
            for future in done:
                task = running.pop(future)
                if _killed_workers(future) and future not in last_attempts:
                    suspects.append(task)
                    future.release()
                    continue
                elsewhere = [] if future in second_attempts else self._other_hosts(future)
                if elsewhere:
                    again = self._client.submit(
                        function, task, pure=False, retries=0, workers=elsewhere, allow_other_workers=True
                    )
                    running[again] = task
                    second_attempts.add(again)
                else:
                    self._progress += 1
                    yield _ended(task, future)
                future.release()

    def _other_hosts(self, future: Any) -> list[str]:
        """Workers for a second attempt: those of hosts where this failed task has not been; none if that is no use."""
        if future.status != "error" or _is_final(future.exception()) or _killed_workers(future):
            return []
        failed_on = {_host(address) for address in self._client.run_on_scheduler(_erred_on, key=future.key)}
        return [address for address in self._client.nthreads() if _host(address) not in failed_on]

    def _window(self) -> int:
        """Tasks in flight; asking for the workers takes as long as a small task, so it is done once a second."""
        if time.monotonic() - self._asked > 1.0:
            self._threads, self._asked = sum(self._client.nthreads().values()), time.monotonic()
        return 2 * max(1, self._threads)


def available_cores() -> int:
    """Cores that this process may use: its affinity, which batch systems set."""
    return len(os.sched_getaffinity(0))


def _erred_on(key: str, dask_scheduler: Any) -> list[str]:
    """Addresses of the workers on which a task has failed; runs on the scheduler."""
    return list(dask_scheduler.tasks[key].erred_on)


def _host(address: str) -> str | None:
    return urlsplit(address).hostname


def _is_final(error: BaseException) -> bool:
    """Whether a deliberate error would come on any host; another one may reach a storage that this one has lost."""
    return isinstance(error, MwrError) and not isinstance(error, StorageError)


def _killed_workers(future: Any) -> bool:
    from distributed import KilledWorker

    return future.status == "error" and isinstance(future.exception(), KilledWorker)


def _ended(task: Any, future: Any) -> Finished:
    error = future.exception() if future.status == "error" else None
    if error is not None and _killed_workers(future):
        reason = f"the worker process died {error.allowed_failures + 1} times on this (killed, or out of memory)"
        return Finished(task, error=ClusterError(reason))
    return Finished(task, error=error) if error is not None else Finished(task, result=future.result())
