"""Runs the program as a user would, kills it at a chosen moment, and starts it again: shared by the kill tests."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

PROGRAM = [sys.executable, "-m", "mwr_hpc.cli.main"]


def run(arguments: Sequence[object], **options) -> subprocess.CompletedProcess:
    """Run a command to its end; its output is in the result."""
    return subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=900, **options)


def run_well(arguments: Sequence[object]) -> str:
    """Run a command that must succeed and return what it printed."""
    ended = run(arguments)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def kill_when(arguments: Sequence[object], moment: Callable[[], bool], log: Path, number: int = signal.SIGKILL) -> int:
    """Start a command and send a signal to all its processes as soon as `moment` is there.

    Returns
    -------
    int
        The exit code.
    """
    with log.open("a") as stream:
        process = subprocess.Popen(
            [*PROGRAM, *map(str, arguments)], stdout=stream, stderr=stream, start_new_session=True
        )
        try:
            while process.poll() is None and not moment():
                time.sleep(0.0005)
            assert process.poll() is None, f"the moment did not come:\n{log.read_text()}"
            if number == signal.SIGKILL:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
            return process.wait(120)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def exists(folder: Path, pattern: str, count: int = 1) -> Callable[[], bool]:
    """A moment: `count` paths match."""
    return lambda: len(list(folder.glob(pattern))) >= count


def both(*moments: Callable[[], bool]) -> Callable[[], bool]:
    """A moment: all of them at once."""
    return lambda: all(moment() for moment in moments)


def partials(*folders: Path) -> list[Path]:
    """What a dead process left."""
    return [path for folder in folders for path in folder.rglob("*.partial-*")]
