"""Launches ranks whose program is a text in a test, and finds their processes."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from mwr_hpc.cluster.ranks import run_ranks
from mwr_hpc.events import never

PREAMBLE = "import os, signal, subprocess, sys, time\nrank = int(os.environ['MWR_RANK'])\n"
SLEEP = "time.sleep(600)\n"


class Launcher:
    """Runs rank programs written in a test, and knows what the ranks said and which processes they were."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "ranks.log"
        self.shown: list[str] = []

    def command(self, program: str) -> list[str]:
        announce = f"open({str(self.folder)!r} + f'/pid-{{rank}}', 'w').write(str(os.getpid()))\n"
        return [sys.executable, "-c", PREAMBLE + announce + program]

    def __call__(self, program: str, ranks: int, should_stop: Callable[[], bool] = never) -> None:
        run_ranks(
            self.command(program),
            ranks,
            meeting_folder=self.folder,
            log=self.log,
            show=self.shown.append,
            should_stop=should_stop,
        )

    def pids(self) -> list[int]:
        return [int(path.read_text() or 0) for path in sorted(self.folder.glob("pid-*"))]

    def alive(self) -> list[int]:
        return [pid for pid in self.pids() if is_alive(pid)]


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
