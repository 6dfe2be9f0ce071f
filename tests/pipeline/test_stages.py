"""A stage does what is not done, leaves the bad ones out with their reasons, and stops in good order."""

import dataclasses
import os
import signal
from pathlib import Path

import pytest

from mwr_hpc.cluster.local_pool import local_pool
from mwr_hpc.cluster.pool import InlinePool
from mwr_hpc.errors import ConfigError, DiskFullError, InputError, StopRequested
from mwr_hpc.events import StageFinished, UnitFailed, UnitFinished, ignore, never
from mwr_hpc.io.atomic import PARTIAL, without_partials
from mwr_hpc.pipeline.lock import RunLock
from mwr_hpc.pipeline.quarantine import Quarantine
from mwr_hpc.pipeline.receipts import ReceiptBook
from mwr_hpc.pipeline.stages import Outcome, StageRunner
from mwr_hpc.pipeline.units import Claim, Unit


def write(inputs, parameters, output):
    kind = parameters.get("kind", "good")
    output.write_text(kind)
    if kind == "input":
        raise InputError("bad.mrc: is bad")
    if kind == "setting":
        raise ConfigError("--gpuID 7: not there")
    if kind == "full":
        raise DiskFullError("no space")
    if kind == "lost" and not Path(parameters["once"]).exists():
        Path(parameters["once"]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "bug":
        raise ZeroDivisionError("a bug")
    return {}


@pytest.fixture
def make_runner(tmp_path):
    with RunLock(tmp_path / "lock.json") as lock:

        def make(emit=ignore, should_stop=never):
            book, quarantine = ReceiptBook(tmp_path / "receipts"), Quarantine(tmp_path / "quarantine")
            claim = Claim(tmp_path / "lock.json", lock.token)
            return StageRunner(book, quarantine, claim, tmp_path / "logs", emit, should_stop)

        yield make


def unit(tmp_path, name, kind="good"):
    return Unit(
        stage="write",
        name=name,
        function=f"{__name__}:write",
        inputs={},
        input_keys={},
        parameters={"kind": kind},
        target=tmp_path / "out" / name,
        receipt=tmp_path / "receipts" / "write" / f"{name}.json",
    )


def test_one_bad_unit_does_not_stop_the_others(tmp_path, make_runner):
    seen = []
    runner = make_runner(seen.append)
    units = [unit(tmp_path, "a"), unit(tmp_path, "b", "input"), unit(tmp_path, "c")]
    receipts = runner.run("write", units, InlinePool())
    assert sorted(receipts) == ["a", "c"]
    assert runner.quarantine.reasons("abc") == {"b": "write: bad.mrc: is bad"}
    assert [event.name for event in seen if isinstance(event, UnitFailed)] == ["b"]
    finish = next(event for event in seen if isinstance(event, StageFinished))
    assert (finish.done, finish.skipped, finish.failed) == (2, 0, 1)


def test_a_setting_that_cannot_work_blames_no_tomogram(tmp_path, make_runner):
    runner = make_runner()
    with pytest.raises(ConfigError, match="--gpuID 7"):
        runner.run("write", [unit(tmp_path, "a", "setting")], InlinePool())
    assert list(runner.quarantine) == []


def test_what_is_unfinished(tmp_path, make_runner):
    units = [unit(tmp_path, "a"), unit(tmp_path, "b", "input"), unit(tmp_path, "c")]
    make_runner().run("write", units[:2], InlinePool())
    assert make_runner().unfinished("write", units) == [units[2]]


def test_finished_units_are_not_done_again(tmp_path, make_runner):
    units = [unit(tmp_path, "a"), unit(tmp_path, "b")]
    make_runner().run("write", units, InlinePool())
    inodes = [os.stat(each.target).st_ino for each in units]
    seen = []
    receipts = make_runner(seen.append).run("write", units, InlinePool())
    assert sorted(receipts) == ["a", "b"]
    assert not [event for event in seen if isinstance(event, UnitFinished)]
    assert inodes == [os.stat(each.target).st_ino for each in units]


def test_bad_input_stays_out_until_the_unit_is_another_one(tmp_path, make_runner):
    make_runner().run("write", [unit(tmp_path, "a", "input")], InlinePool())
    seen = []
    make_runner(seen.append).run("write", [unit(tmp_path, "a", "input")], InlinePool())
    assert not [event for event in seen if isinstance(event, UnitFailed)]
    runner = make_runner()
    assert list(runner.run("write", [unit(tmp_path, "a")], InlinePool())) == ["a"]
    assert runner.quarantine.reasons("abc") == {}


def test_bug_is_tried_again_at_the_next_start_and_its_traceback_is_kept(tmp_path, make_runner):
    seen = []
    make_runner(seen.append).run("write", [unit(tmp_path, "a", "bug")], InlinePool())
    (failure,) = [event for event in seen if isinstance(event, UnitFailed)]
    log = tmp_path / "logs" / "write_a.log"
    assert str(log) in failure.reason
    assert "ZeroDivisionError: a bug" in log.read_text()
    assert "Traceback" in log.read_text()
    again = []
    make_runner(again.append).run("write", [unit(tmp_path, "a", "bug")], InlinePool())
    assert [event for event in again if isinstance(event, UnitFailed)]


def test_full_disk_stops_the_stage_and_blames_no_tomogram(tmp_path, make_runner):
    runner = make_runner()
    with pytest.raises(DiskFullError):
        runner.run("write", [unit(tmp_path, "a"), unit(tmp_path, "b", "full"), unit(tmp_path, "c")], InlinePool())
    assert runner.quarantine.reasons("abc") == {}
    assert (tmp_path / "out" / "a").exists()


def test_stop_keeps_what_is_done_and_says_so(tmp_path, make_runner):
    done = []

    def note(event):
        if isinstance(event, UnitFinished):
            done.append(event)

    runner = make_runner(note, lambda: bool(done))
    with pytest.raises(StopRequested, match="1 of 3"):
        runner.run("write", [unit(tmp_path, name) for name in "abc"], InlinePool())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a"]


def test_stop_after_the_last_unit_is_no_stop(tmp_path, make_runner):
    done = []
    runner = make_runner(done.append, lambda: any(isinstance(event, UnitFinished) for event in done))
    assert list(runner.run("write", [unit(tmp_path, "a")], InlinePool())) == ["a"]


def test_exit_code_tells_whether_some_failed():
    assert Outcome().exit_code == 0
    assert Outcome(failed={"a": "bad"}).exit_code == 1


@pytest.mark.parametrize("kind", ["raise", "die"])
def test_dask_workers_give_results_and_errors_and_survive_a_killed_worker(kind):
    with local_pool(2) as pool:
        ends = {end.task: end for end in pool.run(_task(kind), range(6), never)}
    assert len(ends) == 6
    assert ends[3].error is not None
    assert ("worker process died" in str(ends[3].error)) == (kind == "die")
    assert [ends[n].result for n in range(6) if n != 3] == [0, 1, 4, 16, 25]


def _task(kind):
    def task(number):
        import os as system
        import signal

        if number == 3 and kind == "die":
            system.kill(system.getpid(), signal.SIGKILL)
        if number == 3:
            raise ValueError("bad")
        return number**2

    return task


def test_dask_pool_begins_nothing_after_a_stop():
    with local_pool(1) as pool:
        ends = []
        for end in pool.run(abs, range(50), lambda: len(ends) >= 3):
            ends.append(end)
    assert 3 <= len(ends) < 50


def test_quarantine_is_remembered(tmp_path, make_runner):
    make_runner().run("write", [unit(tmp_path, "a", "input")], InlinePool())
    assert Quarantine(tmp_path / "quarantine").reasons("abc") == {"a": "write: bad.mrc: is bad"}
    assert dataclasses.asdict(Quarantine(tmp_path / "quarantine").get("a"))["input_at_fault"]


def test_a_lost_workers_unit_is_done_elsewhere_and_nothing_of_it_stays_behind(tmp_path, make_runner):
    lost = dataclasses.replace(unit(tmp_path, "a"), parameters={"kind": "lost", "once": str(tmp_path / "once")})
    with without_partials([], [tmp_path / "out"], lambda: True), local_pool(1) as pool:
        receipts = make_runner().run("write", [lost], pool)
        assert [path for path in (tmp_path / "out").iterdir() if PARTIAL in path.name]
    assert sorted(receipts) == ["a"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]
