"""Where a run stands, told from files that the test writes; what retry releases."""

import json
import os
import time
from pathlib import Path

import pytest

from mwr_hpc.config.loading import settings_to_yaml
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.errors import ConfigError
from mwr_hpc.pipeline.jobs import retry
from mwr_hpc.pipeline.lock import RunLock
from mwr_hpc.pipeline.quarantine import Quarantine, Quarantined
from mwr_hpc.pipeline.status import status_of
from mwr_hpc.run_directory import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "run")
    directory.root.mkdir()
    settings = TrainSettings(input_dir=tmp_path, run_dir=directory.root, iterations=3, epochs=4)
    directory.config.write_text(settings_to_yaml(settings))
    return directory


def happened(run: RunDirectory, *events: tuple) -> None:
    """Append events: seconds ago, kind, and what it says."""
    now = time.time()
    with run.events.open("a") as stream:
        for ago, kind, values in events:
            stream.write(json.dumps({"time": now - ago, "event": kind, **values}) + "\n")


def started(stage: str, units: int, done: int = 0) -> dict:
    return {"stage": stage, "units": units, "done": done}


def finished(stage: str, name: str) -> dict:
    return {"stage": stage, "name": name, "seconds": 1.0}


def test_a_run_before_its_first_event(run: RunDirectory) -> None:
    status = status_of(run.root)
    assert (status.state, status.stage, status.iterations, status.coordinator) == ("stopped", "", 3, None)


def test_a_stage_at_work_with_its_pace_and_who_is_left_out(run: RunDirectory) -> None:
    failed = {"stage": "convert", "name": "d", "reason": "NaN"}
    happened(run, (100, "StageStarted", started("convert", 10, 2)), (50, "UnitFinished", finished("convert", "c")))
    happened(run, (40, "UnitFailed", failed))
    run.unusable.write_text('{"cut": "cut.mrc is cut off"}')
    Quarantine(run.quarantine).add(Quarantined("d", "convert", "k", "NaN", True))
    for name in ("e.ome.zarr.partial-1", "f.ome.zarr.partial-2", "c.ome.zarr"):
        (run.root / "tomograms" / name).mkdir(parents=True)
    with RunLock(run.lock):
        status = status_of(run.root)
    assert (status.state, status.coordinator["pid"]) == ("running", os.getpid())
    assert (status.stage, status.units, status.done, status.running, status.failed) == ("convert", 10, 3, 2, 1)
    assert status.per_hour == pytest.approx(2 / 60 * 3600, rel=0.01)
    assert status.stage_seconds_left == pytest.approx(6 * 30, rel=0.01)
    assert status.left_out == {"cut": "cut.mrc is cut off", "d": "convert: NaN"}
    stopped = status_of(run.root)
    assert (stopped.state, stopped.running, stopped.per_hour) == ("stopped", 0, None)


def test_a_training_tells_its_epochs_and_the_iterations_left(run: RunDirectory) -> None:
    for ago, iteration in ((300, 1), (100, 2)):
        happened(run, (ago, "IterationStarted", {"iteration": iteration, "iterations": 3}))
    happened(run, (50, "StageStarted", started("train", 1)))
    run.iteration(2).mkdir(parents=True)
    run.curves(2).write_text('{"epoch": 1}\n{"epoch": 2}\n')
    with RunLock(run.lock):
        status = status_of(run.root)
    assert (status.stage, status.iteration, status.epoch, status.epochs, status.running) == ("train", 2, 2, 4, 1)
    assert status.seconds_left == pytest.approx(2 * 200 - 100, abs=5)


def test_a_line_that_a_kill_cut_off_does_not_matter(run: RunDirectory) -> None:
    happened(run, (9, "StageStarted", started("extract", 5)))
    with run.events.open("a") as stream:
        stream.write('{"time": 1, "event": "Unit')
    assert status_of(run.root).units == 5


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run"):
        status_of(tmp_path)


def test_retry_releases_those_named_or_all(run: RunDirectory) -> None:
    for name in "abc":
        Quarantine(run.quarantine).add(Quarantined(name, "convert", "k", "NaN", True))
    with pytest.raises(ConfigError, match="x not left out by this run; left out are: a, b, c"):
        retry(run.root, ["a", "x"])
    assert retry(run.root, ["b"]) == ["b"]
    assert set(status_of(run.root).left_out) == {"a", "c"}
    assert retry(run.root, []) == ["a", "c"]
    assert status_of(run.root).left_out == {}
