"""The number of worker processes is kept, with a clock and processes that the test plays."""

import pytest

from mwr_hpc.cluster import worker_processes
from mwr_hpc.cluster.worker_processes import WorkerProcesses
from mwr_hpc.errors import ClusterError


class Process:
    """Plays ``subprocess.Popen``."""

    pid = 2**30  # nobody's

    def __init__(self) -> None:
        self.code: int | None = None

    def poll(self) -> int | None:
        return self.code

    def terminate(self) -> None:
        self.code = -15

    def wait(self, timeout: float) -> int | None:
        return self.code


class World:
    """Processes, their workers and the time."""

    def __init__(self) -> None:
        self.processes: dict[str, Process] = {}
        self.workers: set[str] = set()
        self.now = 0.0
        self.pool = WorkerProcesses(self.start, 2, lambda: self.workers, "{} said no".format, clock=lambda: self.now)  # type: ignore[arg-type]  # plays Popen

    def start(self, number: int, name: str) -> Process:
        self.processes[name] = Process()
        return self.processes[name]

    def connect(self) -> None:
        self.workers = {f"{name}-0" for name, process in self.processes.items() if process.code is None}

    def lose(self, code: int) -> None:
        for process in self.processes.values():
            process.code = process.code or code
        self.workers = set()

    def after(self, seconds: float) -> list[str]:
        """The processes that run afterwards."""
        self.now += seconds
        self.pool.reconcile()  # it sees what is lost, and in the next look the place is filled
        self.pool.reconcile()
        return [name for name, process in self.processes.items() if process.code is None]


@pytest.fixture
def world() -> World:
    world = World()
    world.after(0)
    return world


def test_lost_workers_are_replaced_however_long_they_take_to_start(world: World) -> None:
    assert world.after(worker_processes.LONGEST_START) == ["worker0.1", "worker1.1"]
    world.connect()
    world.after(1)
    world.lose(-9)
    assert world.after(1) == ["worker0.2", "worker1.2"]
    assert world.after(worker_processes.LONGEST_START) == ["worker0.2", "worker1.2"]


def test_a_process_that_never_connects_or_does_no_longer_is_replaced(world: World) -> None:
    world.after(worker_processes.LONGEST_START + 1)
    assert world.after(1) == ["worker0.2", "worker1.2"]
    world.connect()
    world.after(1)
    world.workers.clear()
    assert world.after(worker_processes.LONGEST_ABSENCE - 1) == ["worker0.2", "worker1.2"]
    assert world.after(2) == ["worker0.3", "worker1.3"]


def test_starts_that_fail_again_and_again_are_an_error(world: World) -> None:
    with pytest.raises(ClusterError, match=r"5 worker processes in succession .* exit code 3\. worker0\.3 said no"):
        for _ in range(worker_processes.FAILED_STARTS):
            world.lose(3)
            world.after(worker_processes.LONGEST_PAUSE)


def test_one_place_that_fails_waits_longer_and_longer_while_another_works(world: World) -> None:
    world.connect()
    world.workers.discard("worker0.1-0")
    for _ in range(20):
        for name, process in world.processes.items():
            process.code = 1 if name.startswith("worker0") else None
        world.after(10)
    assert 6 < len(world.processes) < 12


def test_workers_that_die_and_die_while_nothing_is_done_are_an_error(world: World) -> None:
    def lose_all(times: int, done: bool) -> None:
        for number in range(times):
            world.connect()
            world.after(1)
            world.pool.check(number if done else 0)
            world.lose(-9)
            world.after(1)

    lose_all(3 * worker_processes.MOST_LOSSES, done=True)
    with pytest.raises(ClusterError, match=r"20 worker processes .* nothing|without anything done.*SIGKILL"):
        lose_all(worker_processes.MOST_LOSSES, done=False)
