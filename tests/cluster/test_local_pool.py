"""Worker processes of this host: they come back however slowly they start, and a pool without any says why."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

import killing
from commanding import partials_below, volume
from launching import is_alive, wait_until
from mwr_hpc.cluster.local_pool import local_pool
from mwr_hpc.errors import ClusterError
from mwr_hpc.events import never
from worker_runs import contents, python_set_up, workers_of

SLOW_START = """
import os, time
if os.path.exists(os.environ["SLOWLY"]):
    time.sleep({seconds})
"""
GIVEN_UP_SOON = {"DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1s"}
"""Dask's own watcher, which waits for 15 s otherwise, gives up before such a start is over."""


def test_workers_killed_while_starts_are_slow_come_back_and_the_result_is_the_same(tmp_path: Path) -> None:
    for number in range(8):
        volume(tmp_path / f"in/t{number}.mrc", shape=(48, 160, 160), seed=number)
    words = ["convert", tmp_path / "in", "--preprocessing_ncpus", 2, "--out"]
    killing.run_well([*words, tmp_path / "undisturbed"])
    slowly = tmp_path / "slowly"
    search = f"{python_set_up(tmp_path / 'site', SLOW_START.format(seconds=8))}:{os.environ.get('PYTHONPATH', '')}"
    environment = os.environ | GIVEN_UP_SOON | {"SLOWLY": str(slowly), "PYTHONPATH": search}
    with (tmp_path / "log").open("w") as stream:
        run = subprocess.Popen(
            [*killing.PROGRAM, *map(str, [*words, tmp_path / "out"])], env=environment, stdout=stream, stderr=stream
        )
    try:
        wait_until(lambda: bool(partials_below(tmp_path / "out")), "nothing was begun", 60)
        slowly.touch()
        for worker in workers_of(run.pid):
            worker.kill()
        assert run.wait(60) == 0, (tmp_path / "log").read_text()
    finally:
        run.kill()
        run.wait()
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed") != {}
    assert partials_below(tmp_path / "out") == []


def test_workers_end_with_a_killed_coordinator_even_while_they_start(tmp_path: Path) -> None:
    volume(tmp_path / "in/a.mrc")
    slowly = tmp_path / "slowly"
    slowly.touch()
    search = f"{python_set_up(tmp_path / 'site', SLOW_START.format(seconds=2))}:{os.environ.get('PYTHONPATH', '')}"
    run = subprocess.Popen(
        [*killing.PROGRAM, "convert", str(tmp_path / "in"), "--out", str(tmp_path / "out")],
        env=os.environ | {"SLOWLY": str(slowly), "PYTHONPATH": search},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: bool(workers_of(run.pid)), "no worker was started", 60)
    workers = [worker.pid for worker in workers_of(run.pid)]
    run.send_signal(signal.SIGKILL)
    run.wait()
    wait_until(lambda: not any(map(is_alive, workers)), "a worker was left")
    assert partials_below(tmp_path / "out") == []


def test_a_pool_whose_workers_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = "import os, sys\nsys.stderr.write('no licence for you\\n')\nsys.stderr.flush()\nos._exit(3)\n"
    monkeypatch.syspath_prepend(python_set_up(tmp_path / "site", broken))
    with pytest.raises(ClusterError, match=r"(?s)exit code 3\..*no licence for you"), local_pool(2) as pool:
        list(pool.run(abs, range(3), never))


def test_a_pool_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with local_pool(2) as pool:
        (folder,) = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert len(list(pool.run(abs, range(3), never))) == 3
        workers = workers_of(os.getpid())
        assert len(workers) == 2
    assert list(tmp_path.iterdir()) == []
    assert not any(is_alive(worker.pid) for worker in workers)
