"""One coordinator per run: who may take a lock over, and who is refused."""

import dataclasses
import json
import os
import subprocess
import sys
import time

import pytest

from mwr_hpc.errors import ConfigError, StageError
from mwr_hpc.pipeline.lock import RunLock, check_token, read_holder


def leave_lock(path, **changes):
    """A lock file as a dead or distant coordinator left it."""
    holder = dataclasses.replace(RunLock(path).holder, token="other", **changes)
    path.write_text(json.dumps(dataclasses.asdict(holder)))
    return holder


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_second_coordinator_is_refused_with_the_first_ones_host_and_pid(tmp_path):
    path = tmp_path / "lock.json"
    with RunLock(path) as first, pytest.raises(ConfigError) as refusal, RunLock(path):
        pass
    assert str(first.holder.pid) in str(refusal.value)
    assert first.holder.host in str(refusal.value)


def test_lock_is_gone_after_use_and_free_again(tmp_path):
    path = tmp_path / "lock.json"
    for _ in range(2):
        with RunLock(path):
            assert read_holder(path) is not None
        assert read_holder(path) is None


def test_dead_holder_of_this_host_loses_the_lock_at_once(tmp_path):
    path = tmp_path / "lock.json"
    leave_lock(path, pid=dead_process())
    started = time.monotonic()
    with RunLock(path, patience=60) as lock:
        assert read_holder(path).token == lock.token
    assert time.monotonic() - started < 30


def test_reused_pid_is_not_taken_for_the_holder(tmp_path):
    path = tmp_path / "lock.json"
    leave_lock(path, pid=os.getpid(), started=1)
    with RunLock(path) as lock:
        assert read_holder(path).token == lock.token


def test_holder_of_an_earlier_boot_loses_the_lock_at_once(tmp_path):
    path = tmp_path / "lock.json"
    leave_lock(path, boot="another boot")
    with RunLock(path) as lock:
        assert read_holder(path).token == lock.token


def test_silent_holder_on_another_host_loses_the_lock_after_the_patience_only(tmp_path):
    path = tmp_path / "lock.json"
    leave_lock(path, host="elsewhere")
    started = time.monotonic()
    with RunLock(path, patience=1.0):
        assert time.monotonic() - started >= 1.0


def test_beating_holder_on_another_host_keeps_the_lock(tmp_path):
    path = tmp_path / "lock.json"
    program = (
        "import json, sys, time, pathlib\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "for beat in range(200):\n"
        "    holder = json.loads(path.read_text()) | {'beat': beat}\n"
        "    new = path.with_suffix('.new'); new.write_text(json.dumps(holder)); new.replace(path); time.sleep(0.05)\n"
    )
    leave_lock(path, host="elsewhere", pid=4321)
    beating = subprocess.Popen([sys.executable, "-c", program, path])
    try:
        with pytest.raises(ConfigError, match="4321 on elsewhere"), RunLock(path, patience=5):
            pass
    finally:
        beating.kill()
        beating.wait()


def test_counter_beats_while_held(tmp_path):
    path = tmp_path / "lock.json"
    with RunLock(path, beat=0.05):
        before = read_holder(path).beat
        deadline = time.monotonic() + 20
        while read_holder(path).beat <= before and time.monotonic() < deadline:
            time.sleep(0.02)
        assert read_holder(path).beat > before


def test_coordinator_that_lost_its_lock_neither_publishes_nor_removes_the_new_one(tmp_path):
    path = tmp_path / "lock.json"
    with RunLock(path, beat=0.05) as lock:
        other = leave_lock(path)
        with pytest.raises(StageError, match="taken this run over"):
            check_token(path, lock.token)
        time.sleep(0.2)
        assert read_holder(path) == other
    assert read_holder(path) == other


def test_what_is_no_lock_file_is_named(tmp_path):
    path = tmp_path / "lock.json"
    path.write_text("not json")
    with pytest.raises(ConfigError, match=r"lock\.json"), RunLock(path):
        pass
