"""A tiny training on several ranks as a user starts it, and its ranks as processes to stop, kill and look at."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from killing import PROGRAM
from mwr_hpc.simulation.tomogram import TomogramSpecification, simulate_tomogram
from mwr_hpc.training.checkpoint import Checkpoint, CheckpointFolder

TRAINING = [
    *("--cube_size", 8, "--crop_size", 12, "--unet_depth", 1, "--filter_base", 2, "--convs_per_depth", 1),
    *("--ncube", 4, "--rotations", 4, "--epochs", 8, "--steps_per_epoch", 10, "--batch_size", 4, "--drop_out", 0.2),
    *("--tilt_range", -50, 60, "--precision", "float32", "--deterministic", True, "--preprocessing_ncpus", 1),
]

LONGEST_END = 60.0
"""Seconds within which a command ends after one of its ranks did."""


def simulate_tomograms(folder: Path, count: int) -> Path:
    """Write tomograms that are just large enough."""
    for number in range(count):
        specification = TomogramSpecification(shape=(24, 48, 48), tilt_range=(-50, 60), seed=number)
        simulate_tomogram(specification, folder / f"made{number}")["tomogram"].rename(folder / f"t{number}.mrc")
    return folder


def train_command(tomograms: Path, run: Path, ranks: int, iterations: int = 1) -> list[object]:
    """The words of the command after the program's name."""
    where = ["--input_dir", tomograms, "--run_dir", run, "--ranks", ranks, "--iterations", iterations]
    return ["train", *where, *TRAINING]


class RunningTraining:
    """A command that trains, and its ranks."""

    def __init__(self, arguments: list[object], log: Path) -> None:
        self._log = log
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                [*PROGRAM, *map(str, arguments)], stdout=stream, stderr=stream, start_new_session=True
            )

    def output(self) -> str:
        return self._log.read_text()

    def ranks(self) -> dict[int, psutil.Process]:
        """The ranks that are alive, by number."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            try:
                if "mwr_hpc.cli.rank" in child.cmdline():
                    found[int(child.environ()["MWR_RANK"])] = child
            except psutil.Error:  # it has just ended
                continue
        return found

    def wait_for(self, moment: Callable[[], bool], seconds: float = 120) -> None:
        """Wait for a moment that comes while the command runs."""
        deadline = time.monotonic() + seconds
        while not moment():
            assert self.process.poll() is None, f"it ended before the moment came:\n{self.output()}"
            assert time.monotonic() < deadline, f"the moment did not come:\n{self.output()}"
            time.sleep(0.0005)

    def end(self) -> int:
        """Wait for the command's end, which must come soon, and return its exit code; nothing may outlive it."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        code = self.process.wait(LONGEST_END)
        _, alive = psutil.wait_procs(children, timeout=5)
        assert alive == []
        return code


@contextmanager
def running(arguments: list[object], log: Path) -> Iterator[RunningTraining]:
    """A command that is killed, if it still runs, at the end of the block."""
    started = RunningTraining(arguments, log)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            os.killpg(started.process.pid, signal.SIGKILL)  # its ranks are tied to it
            started.process.wait()


def kill_inside_a_collective(training: RunningTraining, rank: int) -> None:
    """Stop a rank, so that the others come to wait for it in a sum, and kill it there."""
    ranks = training.ranks()
    victim = ranks.pop(rank)
    victim.suspend()
    for other in ranks.values():
        training.wait_for(lambda other=other: _waits(other))
    victim.kill()


def _waits(rank: psutil.Process) -> bool:
    """Whether its main thread uses no processor for a while: tiny steps never take so long."""

    def seconds() -> float:
        main = next(thread for thread in rank.threads() if thread.id == rank.pid)
        return float(main.user_time + main.system_time)

    before = seconds()
    time.sleep(1)
    return seconds() == before


def newest_checkpoint(run: Path, iteration: int = 1) -> Checkpoint | None:
    """The newest checkpoint, after seeing that all of them are whole."""
    notices: list[object] = []
    found = CheckpointFolder(run / f"iterations/{iteration:02d}/checkpoint").newest(None, notices.append)
    assert notices == []
    return found
