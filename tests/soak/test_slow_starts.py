"""Workers killed at random while every process takes 20 s to start: the run ends, with the same bytes."""

import os
import random
import subprocess
import time

import psutil
import pytest

import killing
from commanding import partials_below, volume
from worker_runs import contents, python_set_up, workers_of

pytestmark = pytest.mark.soak

SLOW_START = """
import sys, time
if "mwr_hpc.cluster.worker_process" in sys.orig_argv or "--multiprocessing-fork" in sys.orig_argv:
    time.sleep(20)
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    for number in range(8):
        volume(folder / f"in/t{number}.mrc", shape=(96, 300, 300), seed=number)
    killing.run_well(["convert", folder / "in", "--out", folder / "out", "--preprocessing_ncpus", 2])
    return folder


@pytest.mark.parametrize("seed", range(6))
def test_workers_killed_at_random_while_starts_are_slow(undisturbed, tmp_path, seed):
    chosen = random.Random(seed)
    search = f"{python_set_up(tmp_path / 'site', SLOW_START)}:{os.environ.get('PYTHONPATH', '')}"
    words = ["convert", undisturbed / "in", "--out", tmp_path / "out", "--preprocessing_ncpus", 2]
    with (tmp_path / "log").open("w") as stream:
        run = subprocess.Popen(
            [*killing.PROGRAM, *map(str, words)],
            env=os.environ | {"PYTHONPATH": search},
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        kills = 0
        while run.poll() is None and kills < 4:
            time.sleep(chosen.uniform(1, 26))
            try:
                victims = workers_of(run.pid)
                chosen.choice(victims).kill()
            except (psutil.NoSuchProcess, IndexError):
                continue
            kills += 1
        assert run.wait(240) == 0, (tmp_path / "log").read_text()
    finally:
        run.kill()
        run.wait()
    assert contents(tmp_path / "out") == contents(undisturbed / "out") != {}
    assert partials_below(tmp_path / "out") == []
