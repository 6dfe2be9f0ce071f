"""Where a run stands, from its files alone, so that it can be asked anywhere and at any time, also after a crash.

The events say what was begun and done, the receipts' quarantine what is left out and why, the curves how far a training
is, the lock whether a coordinator is at work.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mwr_hpc.config.boxnet_training import RetrainSettings
from mwr_hpc.config.loading import settings_from_yaml
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.errors import ConfigError
from mwr_hpc.io.atomic import PARTIAL
from mwr_hpc.io.bounded_json import parse_json
from mwr_hpc.pipeline.lock import PATIENCE, read_holder
from mwr_hpc.pipeline.receipts import ReceiptBook
from mwr_hpc.pipeline.stages import Quarantine
from mwr_hpc.pipeline.training_units import newest_trained
from mwr_hpc.run_directory import CANDIDATES, STATE_FOLDER, UNUSABLE, RunDirectory
from mwr_hpc.training.curves import read_curves


@dataclass
class Stage:
    """One stage as far as its events tell; times are of the coordinator's clock."""

    name: str
    units: int
    done: int
    began: float
    failed: int = 0
    ended: bool = False
    finished_now: int = 0
    last: float | None = None

    def rate(self) -> float | None:
        """Units a second since the stage began, None before the first."""
        if self.last is None or self.last <= self.began:
            return None
        return (self.finished_now + self.failed) / (self.last - self.began)

    def seconds_left(self) -> float | None:
        """At the pace so far."""
        pace, left = self.rate(), self.units - self.done - self.failed
        return left / pace if pace else None


@dataclass
class History:
    """What the events tell of a run."""

    stages: dict[str, Stage] = field(default_factory=dict)
    current: Stage | None = None
    iteration: int = 0
    iterations: int = 0
    iteration_began: float = 0.0
    iteration_seconds: float | None = None

    def take(self, record: Mapping[str, Any]) -> None:
        """Take in one line of ``events.jsonl``."""
        when, kind = record["time"], record["event"]
        stage = self.stages.get(record.get("stage", ""))
        if kind == "IterationStarted":
            if record["iteration"] == self.iteration + 1 and self.iteration:
                self.iteration_seconds = when - self.iteration_began
            self.iteration, self.iterations = record["iteration"], record["iterations"]
            self.iteration_began = when
        elif kind == "StageStarted":
            self.current = Stage(record["stage"], record["units"], record["done"], when)
            self.stages[record["stage"]] = self.current
        elif stage is not None and kind == "UnitFinished":
            stage.done, stage.finished_now, stage.last = stage.done + 1, stage.finished_now + 1, when
        elif stage is not None and kind == "UnitFailed":
            stage.failed, stage.last = stage.failed + 1, when
        elif stage is not None and kind == "StageFinished":
            stage.ended = True


@dataclass(frozen=True)
class Status:
    """Where a run stands.

    Attributes
    ----------
    state
        running, silent (its coordinator has not been heard of for long), stopped or finished; where SLURM answers also
        waiting (a job of the run will go on with it).
    coordinator
        Host, process and job of the one that holds the run, None when nobody does.
    iteration, iterations
        0 before the first, and for a sweep.
    stage, units, done, running, failed
        Of the stage at work, or the last one; of a sweep of all its stages so far.
    epoch, epochs
        Of a training at work, else 0.
    per_hour
        Units of the stage an hour, None as long as there is no pace.
    stage_seconds_left, seconds_left
        Of the stage, and of the whole run once an iteration is complete.
    left_out
        Quarantined tomograms and the reasons.
    """

    run: str
    state: str
    coordinator: dict[str, Any] | None
    iteration: int = 0
    iterations: int = 0
    stage: str = ""
    units: int = 0
    done: int = 0
    running: int = 0
    failed: int = 0
    epoch: int = 0
    epochs: int = 0
    per_hour: float | None = None
    stage_seconds_left: float | None = None
    seconds_left: float | None = None
    left_out: dict[str, str] = field(default_factory=dict)


def status_of(folder: Path) -> Status:
    """Say where the run in `folder` stands.

    Raises
    ------
    ConfigError
        There is no run.
    """
    run = RunDirectory(folder)
    if run.config.exists():
        return _of_training(run)
    if run.retraining.exists():
        return _of_retraining(run)
    state = folder / STATE_FOLDER
    if state.is_dir():
        return _of_sweep(folder, state)
    if (folder / "jobs").is_dir():  # submitted, and not begun
        return Status(str(folder), "stopped", None)
    raise ConfigError(f"{folder}: no run of `mwr-hpc train` or `predict`; name the folder that it writes to")


def _of_training(run: RunDirectory) -> Status:
    settings = settings_from_yaml(TrainSettings, run.config)
    run = RunDirectory(run.root, settings.result_dir)
    history = _history([run.events])
    coordinator, alive = _coordinator([run.lock])
    left_out = _left_out(run.unusable, [run.quarantine])
    complete = newest_trained(run, ReceiptBook(run.receipts)) >= settings.iterations
    stage = history.current
    state = alive or ("finished" if complete else "stopped")
    if stage is None:
        return Status(str(run.root), state, coordinator, iterations=settings.iterations, left_out=left_out)
    training = stage.name == "train" and not stage.ended
    running = 0
    if state == "running" and not stage.ended:
        running = 1 if training else _partials(_stage_folder(run, stage.name))
    return Status(
        run=str(run.root),
        state=state,
        coordinator=coordinator,
        iteration=history.iteration,
        iterations=settings.iterations,
        stage=stage.name,
        units=stage.units,
        done=stage.done,
        running=running,
        failed=stage.failed,
        epoch=len(read_curves(run.curves(history.iteration))) if training else 0,
        epochs=settings.epochs if training else 0,
        per_hour=_per_hour(stage, state),
        stage_seconds_left=_stage_seconds_left(stage, state),
        seconds_left=_seconds_left(history, state),
        left_out=left_out,
    )


def _of_retraining(run: RunDirectory) -> Status:
    settings = settings_from_yaml(RetrainSettings, run.retraining)
    history = _history([run.events])
    coordinator, alive = _coordinator([run.lock])
    stage = history.current
    training = stage is not None and stage.name == "train"
    ended = training and stage is not None and stage.ended
    state = alive or ("finished" if ended else "stopped")
    curves = read_curves(run.curves(1))
    return Status(
        run=str(run.root),
        state=state,
        coordinator=coordinator,
        stage=stage.name if stage else "",
        units=1,
        done=int(ended),
        running=int(state == "running" and not ended),
        epoch=curves[-1]["epoch"] if training and curves else 0,
        epochs=settings.epochs if training else 0,
    )


def _of_sweep(folder: Path, state: Path) -> Status:
    """All shares and stages together."""
    stages = [stage for path in sorted(state.glob("events*.jsonl")) for stage in _history([path]).stages.values()]
    coordinator, alive = _coordinator(sorted(state.glob("lock*.json")))
    units, done, failed = (sum(getattr(stage, name) for stage in stages) for name in ("units", "done", "failed"))
    folders = {folder, *(path for path in folder.iterdir() if path.is_dir() and path != state)}
    folders |= set((state / CANDIDATES).glob("*"))
    state_word = alive or ("finished" if stages and all(stage.ended for stage in stages) else "stopped")
    current = next((stage for stage in stages if not stage.ended), stages[-1] if stages else None)
    return Status(
        run=str(folder),
        state=state_word,
        coordinator=coordinator,
        stage=current.name if current else "",
        units=units,
        done=done,
        running=sum(map(_partials, folders)) if state_word == "running" else 0,
        failed=failed,
        per_hour=_per_hour(current, state_word),
        stage_seconds_left=_stage_seconds_left(current, state_word),
        left_out=_left_out(state / UNUSABLE, sorted((state / "quarantine").glob("*"))),
    )


def _history(paths: Iterable[Path]) -> History:
    history = History()
    for path in paths:
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                record = parse_json(line)
            except ValueError:  # the end of a line that a kill cut off
                continue
            history.take(record)
    return history


def _coordinator(locks: Iterable[Path]) -> tuple[dict[str, Any] | None, str | None]:
    """Who holds the run, and "running" or "silent"; None twice when nobody does, or only one who is dead."""
    for lock in locks:
        holder = read_holder(lock)
        if holder is None or holder.is_provably_dead():
            continue
        told = {"host": holder.host, "pid": holder.pid, "job": holder.job}
        # Only for show, so two hosts' clocks may be compared here; who may take a run over is `RunLock`'s to judge.
        silent = not holder.is_provably_alive() and time.time() - lock.stat().st_mtime > 2 * PATIENCE
        return told, "silent" if silent else "running"
    return None, None


def coordinator_of(folder: Path) -> tuple[dict[str, Any] | None, str | None]:
    """Who holds the run or sweep in `folder`, and "running" or "silent"; None twice when nobody alive does."""
    return _coordinator([RunDirectory(folder).lock, *sorted((folder / STATE_FOLDER).glob("lock*.json"))])


def _left_out(unusable: Path, folders: Iterable[Path]) -> dict[str, str]:
    left_out = parse_json(unusable.read_text()) if unusable.exists() else {}
    return left_out | {one.identifier: f"{one.stage}: {one.reason}" for folder in folders for one in Quarantine(folder)}


def _per_hour(stage: Stage | None, state: str) -> float | None:
    rate = stage.rate() if stage is not None and state == "running" and not stage.ended else None
    return rate and 3600 * rate


def _stage_seconds_left(stage: Stage | None, state: str) -> float | None:
    return stage.seconds_left() if stage is not None and state == "running" and not stage.ended else None


def _seconds_left(history: History, state: str) -> float | None:
    """At the pace of the last whole iteration."""
    if history.iteration_seconds is None or state != "running":
        return None
    left = (history.iterations - history.iteration + 1) * history.iteration_seconds
    return max(0.0, left - (time.time() - history.iteration_began))


def _stage_folder(run: RunDirectory, stage: str) -> Path:
    name, _, iteration = stage.partition("_")
    if iteration:
        return run.iteration(int(iteration)) / name
    return (run.tomogram("any") if name == "convert" else run.subtomograms("any")).parent


def _partials(folder: Path) -> int:
    """Units that are being written."""
    return sum(PARTIAL in path.name for path in folder.iterdir()) if folder.is_dir() else 0
