"""A hundred random kills over ten runs: none hangs, and each ends with the bytes of a run that was left alone.

Killed are whole process groups, worker processes, those that look after workers, and ranks, as they are found in the
tree of a run's processes. In a third of the runs every start of a process takes 20 seconds more.
"""

import itertools
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

import killing
from rank_runs import simulate_tomograms

pytestmark = [pytest.mark.soak, pytest.mark.needs("horovod"), pytest.mark.timeout(3600)]

RUNS, KILLS = 10, 10
AT_ONCE = 3
LONGEST_WITHOUT_KILL = 600.0
"""Seconds within which a run that nobody disturbs any more ends, slowed and beside others on two cores."""

TRAINING = [
    *("--cube_size", 8, "--crop_size", 12, "--unet_depth", 1, "--filter_base", 4, "--convs_per_depth", 1),
    *("--ncube", 4, "--rotations", 4, "--iterations", 2, "--epochs", 4, "--steps_per_epoch", 10, "--batch_size", 4),
    *("--tilt_range", -50, 60, "--precision", "float32", "--deterministic", True, "--preprocessing_ncpus", 2),
]
SLOWED = "import time\ntime.sleep(20)\n"


def is_slowed(seed: int) -> bool:
    return seed % 3 == 1


def ranks_of(seed: int) -> int:
    return 1 + seed % 2


def command(tomograms: Path, run: Path, ranks: int) -> list[object]:
    return ["train", "--input_dir", tomograms, "--run_dir", run, "--ranks", ranks, *TRAINING]


def results(run: Path) -> dict[str, bytes]:
    """The models, and the sub-tomograms that were predicted."""
    paths = [*run.glob("results/*.h5"), *run.glob("iterations/*/predicted/*/c/**/*")]
    return {str(path.relative_to(run)): path.read_bytes() for path in paths if path.is_file()}


@pytest.fixture(scope="module")
def tomograms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate_tomograms(tmp_path_factory.mktemp("tomograms"), 4)


@pytest.fixture(scope="module")
def undisturbed(tomograms: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, bytes]]:
    """The results by the number of ranks."""
    found = {}
    for ranks in (1, 2):
        run = tmp_path_factory.mktemp("undisturbed") / "run"
        killing.run_well(command(tomograms, run, ranks))
        found[ranks] = results(run)
        assert len(found[ranks]) == 2 + 4
    return found


class Disturber:
    """Starts runs and kills their processes at random moments.

    Parameters
    ----------
    seed
        Of the moments and victims.
    folder
        For run directories and their output.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.draw = random.Random(seed)
        self.kills: list[str] = []
        self.ended: list[Path] = []
        self._slowed = is_slowed(seed)
        self._folder = folder
        self._log = folder / "output"
        self._environment = dict(os.environ)
        if self._slowed:
            (folder / "sitecustomize.py").write_text(SLOWED)
            self._environment["PYTHONPATH"] = str(folder)

    def disturb(self, tomograms: Path, ranks: int) -> None:
        """Kill `KILLS` times, in as many runs as are needed for that, each of which is brought to its end."""
        for number in itertools.count():
            run = self._folder / f"run{number}"
            while (code := self._live(command(tomograms, run, ranks))) != 0:
                assert code in (-signal.SIGKILL, 70), self._told(f"ended with {code}")
            self.ended.append(run)
            if len(self.kills) >= KILLS:
                return

    def _live(self, arguments: list[object]) -> int:
        """Run the command once, killing meanwhile; return its exit code."""
        before = len(self.kills)
        with self._log.open("a") as stream:
            process = subprocess.Popen(
                [*killing.PROGRAM, *map(str, arguments)],
                stdout=stream,
                stderr=stream,
                env=self._environment,
                start_new_session=True,
            )
        try:
            self._disturb_until_end(process)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode != 0:
            assert len(self.kills) > before, self._told(f"ended with {process.returncode} though nothing was killed")
        return process.returncode

    def _disturb_until_end(self, process: subprocess.Popen[bytes]) -> None:
        quiet_since = time.monotonic()
        pause = self._pause()
        while process.poll() is None:
            quiet = time.monotonic() - quiet_since
            assert quiet < LONGEST_WITHOUT_KILL, self._told("hangs")
            if len(self.kills) < KILLS and quiet > pause:
                self._kill_one(process)
                quiet_since, pause = time.monotonic(), self._pause()
            time.sleep(0.02)

    def _pause(self) -> float:
        return self.draw.uniform(0, 60 if self._slowed else 20)

    def _kill_one(self, process: subprocess.Popen[bytes]) -> None:
        victims = victims_in(process.pid)
        kind = self.draw.choice(sorted(victims))
        victim = self.draw.choice(victims[kind])
        if kind == "group":
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        else:
            try:
                victim.kill()
            except psutil.NoSuchProcess:
                return
        self.kills.append(kind)

    def _told(self, what: str) -> str:
        return f"{what} after {self.kills}:\n{self._log.read_text()[-4000:]}"


def victims_in(pid: int) -> dict[str, list[psutil.Process]]:
    """What can be killed of a run at this moment, by kind."""
    victims: dict[str, list[psutil.Process]] = {"group": [psutil.Process(pid)]}
    for child in psutil.Process(pid).children(recursive=True):
        try:
            words = " ".join(child.cmdline())
            has_children = bool(child.children())
        except psutil.NoSuchProcess:
            continue
        if "mwr_hpc.cli.rank" in words:
            kind = "rank"
        elif not words or "resource_tracker" in words:
            continue
        else:
            kind = "nanny" if has_children else "worker"
        victims.setdefault(kind, []).append(child)
    return victims


@pytest.fixture(scope="module")
def disturbances(
    tomograms: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[tuple[Disturber, "Future[None]"]]]:
    """All runs, some at a time: most of a slowed one's time is spent waiting."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        disturbers = [Disturber(seed, tmp_path_factory.mktemp(f"seed{seed}")) for seed in range(RUNS)]
        yield [
            (disturber, pool.submit(disturber.disturb, tomograms, ranks_of(seed)))
            for seed, disturber in enumerate(disturbers)
        ]
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("seed", range(RUNS))
def test_killed_at_random_a_run_ends_with_the_same_bytes(seed, undisturbed, disturbances):
    disturber, disturbance = disturbances[seed]
    disturbance.result()
    print(f"seed {seed}, {len(disturber.ended)} runs: {disturber.kills}")
    assert len(disturber.kills) == KILLS
    for run in disturber.ended:
        assert results(run) == undisturbed[ranks_of(seed)]
        assert not killing.partials(run)
        assert not (run / "lock.json").exists()
