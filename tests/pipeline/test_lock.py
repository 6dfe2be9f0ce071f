"""One coordinator per run: who may take a lock over, and who is refused."""

import dataclasses
import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mwr_hpc.errors import ConfigError, StageError, StopRequested
from mwr_hpc.pipeline import lock as lock_module
from mwr_hpc.pipeline.holder import check_token, read_holder
from mwr_hpc.pipeline.lock import RunLock, critical_section


def leave_lock(path, **changes):
    """A lock file as a dead or distant coordinator left it."""
    holder = dataclasses.replace(RunLock(path).holder, token="other", **changes)
    with critical_section(path):
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


@pytest.mark.parametrize(
    "elsewhere",
    [{"host": "elsewhere"}, {"boot": "another machine of this name"}, {"namespace": "pid:[1]"}, {"namespace": ""}],
    ids=["host", "boot", "container", "version 0.1.0"],
)
def test_silent_holder_that_may_be_out_of_sight_loses_the_lock_after_the_patience_only(tmp_path, elsewhere):
    path = tmp_path / "lock.json"
    leave_lock(path, pid=dead_process(), **elsewhere)
    told = []
    started = time.monotonic()
    with RunLock(path, patience=0.4, emit=told.append):
        assert time.monotonic() - started >= 0.4
    assert [notice.text for notice in told] == [told[0].text]
    assert "waiting up to 0.4 s" in told[0].text


def test_lock_of_version_0_1_0_is_read_and_waited_for(tmp_path):
    path = tmp_path / "lock.json"
    leave_lock(path, pid=dead_process())
    record = json.loads(path.read_text())
    del record["namespace"]
    path.write_text(json.dumps(record))
    started = time.monotonic()
    with RunLock(path, patience=0.4):
        assert time.monotonic() - started >= 0.4


def test_process_that_the_system_hides_is_not_taken_for_dead(tmp_path, monkeypatch):
    holder = leave_lock(tmp_path / "lock.json")
    monkeypatch.setattr("mwr_hpc.pipeline.holder._start_time", lambda pid: None)
    assert not holder.is_provably_dead()
    assert not holder.is_provably_alive()


def test_stop_ends_the_wait_for_a_beat(tmp_path):
    path = tmp_path / "lock.json"
    leave_lock(path, host="elsewhere")
    with pytest.raises(StopRequested), RunLock(path, should_stop=lambda: True):
        pass
    assert read_holder(path).token == "other"


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


DAMAGED = {
    "empty": b"",
    "cut": b'{"token": "a", "host',
    "NULs": bytes(64),
    "random": bytes(range(128, 256)),
    "list": b"[]",
    "another's": b'{"token": 1}',
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_lock_is_never_replaced_but_named_after_a_beat(tmp_path, content):
    path = tmp_path / "lock.json"
    path.write_bytes(content)
    started = time.monotonic()
    with pytest.raises(ConfigError, match=r"lock\.json: damaged"), RunLock(path, beat=0.3, patience=1):
        pass
    assert time.monotonic() - started >= 0.3
    assert path.read_bytes() == content
    with pytest.raises(StageError, match=r"lock\.json: damaged"):
        check_token(path, "token", patience=0.1)


def test_holder_writes_its_damaged_lock_again_and_so_keeps_the_run(tmp_path):
    path = tmp_path / "lock.json"
    with RunLock(path, beat=0.2) as lock:
        path.write_bytes(b"")
        with pytest.raises(ConfigError, match="held by another"), RunLock(path, beat=3):
            pass
        check_token(path, lock.token, patience=3)


def test_removed_lock_is_called_that_and_stops_its_holder_soon(tmp_path):
    path = tmp_path / "lock.json"
    with pytest.raises(StageError, match=r"lock\.json: was removed"), RunLock(path, beat=0.05) as lock:
        path.unlink()
        should_stop = lock.until_lost(lambda: False)
        deadline = time.monotonic() + 20
        while not should_stop() and time.monotonic() < deadline:
            time.sleep(0.02)
        with pytest.raises(StageError, match=r"lock\.json: was removed"):
            lock.check()
        raise StopRequested("stopped after step 7")
    assert not path.exists()


def test_who_has_taken_over_is_named(tmp_path):
    path = tmp_path / "lock.json"
    with RunLock(path) as lock:
        leave_lock(path, host="elsewhere", pid=4321)
        with pytest.raises(StageError, match="4321 on elsewhere, has taken this run over"):
            lock.check()


HOLD = """
import pathlib, sys, time
from mwr_hpc.pipeline.lock import RunLock, critical_section
with RunLock(pathlib.Path(sys.argv[1]), beat=0.2):
    print("held", flush=True)
    time.sleep(600)
"""
TAKE = """
import pathlib, sys
from mwr_hpc.pipeline.lock import RunLock, critical_section
with RunLock(pathlib.Path(sys.argv[1]), patience=2):
    print("taken", flush=True)
"""
NAMESPACES = {
    "own /proc": ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"],
    "the host's /proc": ["unshare", "--pid", "--fork", "--kill-child"],
}


@pytest.mark.needs("pid_namespaces")
@pytest.mark.parametrize("namespace", NAMESPACES.values(), ids=NAMESPACES)
def test_coordinators_in_two_containers_of_one_host_do_not_take_each_other_for_dead(tmp_path, namespace):
    path = tmp_path / "lock.json"
    inside = [*namespace, sys.executable, "-c"]
    with RunLock(path, beat=0.2) as lock:
        refused = subprocess.run([*inside, TAKE, path], capture_output=True, text=True, timeout=60)
        assert "is held by another coordinator" in refused.stderr and "taken" not in refused.stdout
        lock.check()
    with subprocess.Popen([*inside, HOLD, path], stdout=subprocess.PIPE, text=True) as holding:
        try:
            assert holding.stdout.readline() == "held\n"
            with pytest.raises(ConfigError, match="is held by another"), RunLock(path, patience=3):
                pass
        finally:
            holding.kill()


WITHOUT_LOCKS = [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK]


@pytest.fixture(params=WITHOUT_LOCKS, ids=lambda number: errno.errorcode[number])
def no_flock(request, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(lock_module, "SETTLING", 0.2)


@pytest.mark.usefixtures("no_flock")
def test_run_is_held_by_one_also_without_the_file_systems_locks(tmp_path):
    path = tmp_path / "lock.json"
    with RunLock(path) as first:
        assert not first.exclusive
        with pytest.raises(ConfigError, match="held by another"), RunLock(path):
            pass
    assert not path.exists()


@pytest.mark.usefixtures("no_flock")
def test_of_two_that_take_the_lock_at_once_without_the_file_systems_locks_one_holds_it(tmp_path, monkeypatch):
    path = tmp_path / "lock.json"
    write, both_saw_it_free, one_is_refused = lock_module._write, threading.Barrier(2), threading.Event()
    first_writes = threading.local()

    def write_together(path, holder):
        if not getattr(first_writes, "done", False):
            first_writes.done = True
            both_saw_it_free.wait(20)
        write(path, holder)

    monkeypatch.setattr(lock_module, "_write", write_together)

    def take():
        try:
            with RunLock(path):
                assert one_is_refused.wait(20)
                return "held"
        except ConfigError:
            one_is_refused.set()
            return "refused"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(lambda _: take(), range(2))) == ["held", "refused"]
