"""Ranks on one host: output, threads, stop in good order, and that no failure leaves a rank behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launching import SLEEP, Launcher, wait_until
from mwr_hpc.errors import ClusterError, InputError, StopRequested
from mwr_hpc.training.placement import LostRanksError


@pytest.fixture
def launch(tmp_path: Path) -> Launcher:
    return Launcher(tmp_path)


def test_log_has_every_rank_in_front_and_the_terminal_rank_0_only(launch: Launcher) -> None:
    launch("print('first of', rank)\nprint('last of', rank, end='')\n", 3)
    assert launch.shown == ["first of 0", "last of 0"]
    expected = [f"[{rank}] {word} of {rank}" for rank in range(3) for word in ("first", "last")]
    assert sorted(launch.log.read_text().splitlines()) == sorted(expected)


def test_large_output_arrives_whole(launch: Launcher) -> None:
    launch("for i in range(50000): print(i, 'x' * 20)\n", 2)
    assert launch.shown == [f"{i} {'x' * 20}" for i in range(50000)]


def test_bytes_that_are_no_text_do_not_stop_the_log(launch: Launcher) -> None:
    launch(r"os.write(1, b'\xff\xfe broken\n')", 1)
    assert launch.shown == [r"\xff\xfe broken"]


def test_a_module_in_the_working_directory_is_not_run(launch: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = launch.folder / "shared/mwr_hpc/__init__.py"
    planted.parent.mkdir(parents=True)
    planted.write_text("raise SystemExit('of somebody else')")
    monkeypatch.chdir(planted.parents[1])
    launch("print('of us')\n", 1)
    assert launch.shown == ["of us"]


def test_ranks_share_the_cores_of_the_launcher(launch: Launcher) -> None:
    launch("print(os.environ['OMP_NUM_THREADS'], os.environ['TF_NUM_INTRAOP_THREADS'])\n", 2)
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    assert launch.shown == [f"{threads} {threads}"]


@pytest.mark.parametrize(
    ("end", "fate"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL"),
        ("sys.exit(3)", "ended with exit code 3"),
        ("raise ValueError('a bug')", "ended with exit code 1"),
    ],
)
def test_a_rank_that_ends_badly_takes_the_others_with_it(launch: Launcher, end: str, fate: str) -> None:
    program = f"print('words of', rank)\nif rank == 2:\n    {end}\n{SLEEP}"
    with pytest.raises(ClusterError) as caught:
        launch(program, 4)
    assert f"rank 2 of 4 {fate}" in str(caught.value)
    assert "    words of 2\n" in str(caught.value)
    assert str(launch.log) in str(caught.value)
    assert launch.alive() == []


def test_a_rank_that_blames_the_input_passes_its_exit_code_and_message_on(launch: Launcher) -> None:
    program = f"if rank == 1:\n    print('a.mrc: is cut off')\n    sys.exit(2)\n{SLEEP}"
    with pytest.raises(InputError, match=r"a\.mrc: is cut off"):
        launch(program, 2)
    assert InputError.exit_code == 2 and ClusterError.exit_code == 70


def test_what_a_rank_started_ends_with_it(launch: Launcher) -> None:
    child = (
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(launch.folder)!r} + f'/pid-child-{{rank}}', 'w').write(str(child.pid))\n"
    )
    with pytest.raises(ClusterError):
        other = f"os.path.exists({str(launch.folder)!r} + '/pid-child-0')"
        launch(child + f"if rank == 1:\n    while not {other}:\n        time.sleep(0.05)\n    sys.exit(1)\n{SLEEP}", 2)
    assert len(launch.pids()) >= 3
    wait_until(lambda: launch.alive() == [], "children outlived their ranks")


def test_the_rank_that_was_lost_is_blamed_not_the_one_that_lost_it(launch: Launcher) -> None:
    """Horovod shuts down before the interpreter does, so those left over can end before the one that failed."""
    program = f"if rank == 1:\n    time.sleep(1)\n    sys.exit('NaN')\nsys.exit({LostRanksError.exit_code})\n"
    with pytest.raises(ClusterError, match=r"rank 1 of 3 ended with exit code 1[\s\S]*    NaN"):
        launch(program, 3)


def test_ranks_that_only_lost_one_another_are_reported(launch: Launcher) -> None:
    with pytest.raises(ClusterError, match="of 2 ended with exit code 87"):
        launch(f"sys.exit({LostRanksError.exit_code})\n", 2)


@pytest.mark.parametrize("code", [0, 85])
def test_a_stop_reaches_every_rank_and_waits_for_them(launch: Launcher, code: int) -> None:
    program = (
        "stop = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: stop.append(1))\n"
        "print('ready')\n"
        "while not stop:\n    time.sleep(0.01)\n"
        f"time.sleep(0.3)\nprint('checkpoint of', rank)\nsys.exit({code})\n"
    )

    def should_stop() -> bool:
        return launch.log.exists() and launch.log.read_text().count("ready") == 2

    if code:
        with pytest.raises(StopRequested):
            launch(program, 2, should_stop)
    else:
        launch(program, 2, should_stop)
    assert launch.log.read_text().count("checkpoint of") == 2


def test_a_stop_before_the_ranks_listen_is_a_good_stop(launch: Launcher) -> None:
    with pytest.raises(StopRequested):
        launch(SLEEP, 2, lambda: len(launch.pids()) == 2)
    assert launch.alive() == []


def test_no_rank_outlives_a_killed_launcher(launch: Launcher) -> None:
    program = (
        "from pathlib import Path\nfrom mwr_hpc.cluster.ranks import run_ranks\n"
        f"folder = Path({str(launch.folder)!r})\n"
        f"run_ranks({launch.command(SLEEP)!r}, 3, meeting_folder=folder, log=folder / 'log', show=print)\n"
    )
    launcher = subprocess.Popen([sys.executable, "-c", program])
    try:
        wait_until(lambda: len(launch.pids()) == 3 and 0 not in launch.pids(), "the ranks did not start")
        assert len(launch.alive()) == 3
    finally:
        launcher.kill()
        assert launcher.wait() == -signal.SIGKILL
    wait_until(lambda: launch.alive() == [], "ranks outlived their launcher")


def test_nothing_is_left_behind(launch: Launcher) -> None:
    launch("open(os.environ['MWR_RENDEZVOUS'], 'w').write('x')\n", 2)
    assert list(launch.folder.glob("rendezvous-*")) == []
