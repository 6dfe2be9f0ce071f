"""Keeps the worker processes of a pool at their number: starts them, and replaces each that is lost.

Dask's own watchers give a worker up when starting it takes longer than they expect, and tell nobody. So this looks
itself, several times a second, at the processes and at which workers are connected. Worker jobs have `worker_jobs`.
"""

import contextlib
import math
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from mwr_hpc.errors import ClusterError

LONGEST_START = 600.0
"""Seconds from the start of a process to its worker's connection after which it counts as broken."""

LONGEST_ABSENCE = 120.0
"""Seconds after which a process whose worker is no longer connected is replaced."""

FAILED_STARTS = 5
"""So many processes in succession that ended before their worker connected are nobody's bad luck."""

MOST_LOSSES = 10
"""So many lost workers for each that there should be, without one task done meanwhile, are not either."""

LONGEST_PAUSE = 60.0
"""Seconds before a place whose processes fail again and again gets another one."""

LAST_MEMORY = 0.95
"""Share of its memory limit at which a worker is ended, before the system ends somebody else."""


@dataclass
class _Place:
    """One of the processes that there should be; times are of the monotonic clock."""

    starts: int = 0
    failures: int = 0
    next_start: float = -math.inf
    process: subprocess.Popen[bytes] | None = None
    name: str = ""
    started: float = 0.0
    last_seen: float | None = None


class WorkerProcesses:
    """The worker processes of one pool, from entering the block to leaving it.

    All are started by one thread, which lives as long as the block, so that they may be tied to it.

    Parameters
    ----------
    start
        Starts the process of a place (from 0) under the name that its worker shall have.
    places
        How many processes there should be.
    connected
        Names of the workers that are connected; those of a process with several workers add a dash and a number.
    last_words
        What the process of that name said at its end, for the message when none can start.
    memory_limit
        Bytes at which a process is ended; None: somebody else looks after that.
    interval
        Seconds between looks.
    farewell
        Seconds that processes have to end by themselves when the pool is closed.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        start: Callable[[int, str], subprocess.Popen[bytes]],
        places: int,
        connected: Callable[[], set[str]],
        last_words: Callable[[str], str],
        memory_limit: int | None = None,
        interval: float = 0.2,
        farewell: float = 4.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._start = start
        self._places = [_Place() for _ in range(places)]
        self._connected = connected
        self._last_words = last_words
        self._memory_limit = memory_limit
        self._interval = interval
        self._farewell = farewell
        self._clock = clock
        self._failed_starts = 0
        self._losses = 0
        self._progress = 0
        self._error: Exception | None = None
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="worker processes", daemon=True)

    def __enter__(self) -> "WorkerProcesses":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._thread.join()

    def check(self, progress: int) -> None:
        """Raise what keeps the pool from having workers.

        Parameters
        ----------
        progress
            Any number that changes whenever a task is done.

        Raises
        ------
        ClusterError
            Processes end before their worker connects, or workers are lost and nothing is done.
        """
        if progress != self._progress:
            self._progress, self._losses = progress, 0
        if self._error is not None:
            raise self._error

    def wait_for_all(self, longest: float) -> None:
        """Wait until all workers have connected once or `longest` seconds have passed; raises like `check`."""
        deadline = time.monotonic() + longest
        while any(place.last_seen is None for place in self._places) and time.monotonic() < deadline:
            self.check(self._progress)
            time.sleep(0.02)

    def _keep(self) -> None:
        try:
            while not self._leaving.is_set():
                self.reconcile()
                self._leaving.wait(self._interval)
        except Exception as error:  # told to the thread that waits for results
            self._error = error
            self._leaving.wait()
        finally:
            self._end([place.process for place in self._places if place.process is not None])

    def reconcile(self) -> None:
        """Look once, and do what is to be done.

        Raises
        ------
        ClusterError
            As `check` tells it.
        """
        names = self._connected()
        for number, place in enumerate(self._places):
            if place.process is None:
                if self._clock() >= place.next_start:
                    self._begin(number, place)
            else:
                self._look_at(place, place.process, names)

    def _begin(self, number: int, place: _Place) -> None:
        place.starts += 1
        place.name = f"worker{number}.{place.starts}"
        place.started, place.last_seen = self._clock(), None
        try:
            place.process = self._start(number, place.name)
        except OSError as error:  # no more processes or no memory for another one
            self._count_loss(place, f"could not be started: {error}")

    def _look_at(self, place: _Place, process: subprocess.Popen[bytes], names: set[str]) -> None:
        now = self._clock()
        if any(name == place.name or name.startswith(f"{place.name}-") for name in names):
            if place.last_seen is None:
                place.failures = self._failed_starts = 0
            place.last_seen = now
        since, longest = (
            (place.started, LONGEST_START) if place.last_seen is None else (place.last_seen, LONGEST_ABSENCE)
        )
        if process.poll() is None and self._takes_too_much(process):
            process.kill()  # before the system has no memory left
            process.wait()
        elif process.poll() is None and now - since > longest:
            self._end([process])
        code = process.poll()
        if code is not None:
            place.process = None
            self._count_loss(place, f"{_fate(code)}. {self._last_words(place.name)}")

    def _count_loss(self, place: _Place, fate: str) -> None:
        now = self._clock()
        if place.last_seen is None:
            place.failures += 1
            place.next_start = now + min(LONGEST_PAUSE, 0.5 * 2.0 ** (place.failures - 1))
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS and not self._connected():
                raise ClusterError(
                    f"{self._failed_starts} worker processes in succession ended before they could work; the last "
                    f"{fate}"
                )
            return
        place.next_start = now
        self._losses += 1
        if self._losses >= MOST_LOSSES * len(self._places):
            raise ClusterError(
                f"{self._losses} worker processes in succession were lost without anything done meanwhile; the last "
                f"{fate}"
            )

    def _takes_too_much(self, process: subprocess.Popen[bytes]) -> bool:
        if self._memory_limit is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            return bool(psutil.Process(process.pid).memory_info().rss > LAST_MEMORY * self._memory_limit)
        return False

    def _end(self, running: list[subprocess.Popen[bytes]]) -> None:
        """End processes, gently at first: srun ends its step only when it is asked to."""
        for process in running:
            process.terminate()
        deadline = time.monotonic() + self._farewell
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _fate(code: int) -> str:
    """Say how a process ended."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
