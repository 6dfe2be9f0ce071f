"""Where a run stands, from its files alone, so that it can be asked anywhere and at any time, also after a crash.

The events say what was begun and done, the receipts' quarantine what is left out and why, the curves how far a training
is, the lock whether a coordinator is at work.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from mwr_hpc.config.boxnet_training import RetrainSettings
from mwr_hpc.config.fields import Settings
from mwr_hpc.config.loading import settings_from_yaml
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.errors import ConfigError
from mwr_hpc.io.atomic import PARTIAL
from mwr_hpc.io.records import read_record
from mwr_hpc.pipeline.history import History, Stage, read_history
from mwr_hpc.pipeline.holder import DamagedLockError, read_holder
from mwr_hpc.pipeline.lock import PATIENCE
from mwr_hpc.pipeline.quarantine import Quarantine
from mwr_hpc.pipeline.receipts import ReceiptBook
from mwr_hpc.pipeline.training_units import newest_trained
from mwr_hpc.run_directory import CANDIDATES, STATE_FOLDER, UNUSABLE, RunDirectory
from mwr_hpc.training.curves import read_curves


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
    untrained
        What the newest model was not trained on when the run ended last, and how it differs.
    damaged
        The records that cannot be read, with what follows from that.
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
    untrained: dict[str, str] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)


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
    damage: list[str] = []
    settings = _settings(TrainSettings, run.config, damage)
    run = RunDirectory(run.root, settings.result_dir if settings else None)
    history = read_history([run.events], damage)
    coordinator, alive = _coordinator([run.lock])
    iterations = settings.iterations if settings else history.iterations
    book = ReceiptBook(run.receipts)
    complete = 0 < iterations <= newest_trained(run, book)
    damage += book.take_damage()
    stage = history.current
    state = alive or ("finished" if complete else "stopped")
    left_out = _left_out(run.unusable, [run.quarantine], damage)
    untrained = _reasons(run.untrained, damage)
    if stage is None:
        ended = Status(str(run.root), state, coordinator, iterations=iterations)
        return replace(ended, left_out=left_out, untrained=untrained, damaged=damage)
    training = stage.name == "train" and not stage.ended
    running = 0
    if state == "running" and not stage.ended:
        running = 1 if training else _partials(_stage_folder(run, stage.name))
    curves = read_curves(run.curves(history.iteration), damage)
    return Status(
        run=str(run.root),
        state=state,
        coordinator=coordinator,
        iteration=history.iteration,
        iterations=iterations,
        stage=stage.name,
        units=stage.units,
        done=stage.done,
        running=running,
        failed=stage.failed,
        epoch=len(curves) if training else 0,
        epochs=settings.epochs if training and settings else 0,
        per_hour=_per_hour(stage, state),
        stage_seconds_left=_stage_seconds_left(stage, state),
        seconds_left=_seconds_left(history, state),
        left_out=left_out,
        untrained=untrained,
        damaged=damage,
    )


def _of_retraining(run: RunDirectory) -> Status:
    damage: list[str] = []
    settings = _settings(RetrainSettings, run.retraining, damage)
    history = read_history([run.events], damage)
    coordinator, alive = _coordinator([run.lock])
    stage = history.current
    training = stage is not None and stage.name == "train"
    ended = training and stage is not None and stage.ended
    state = alive or ("finished" if ended else "stopped")
    curves = read_curves(run.curves(1), damage)
    return Status(
        run=str(run.root),
        state=state,
        coordinator=coordinator,
        stage=stage.name if stage else "",
        units=1,
        done=int(ended),
        running=int(state == "running" and not ended),
        epoch=int(curves[-1].get("epoch", 0)) if training and curves else 0,
        epochs=settings.epochs if training and settings else 0,
        damaged=damage,
    )


def _of_sweep(folder: Path, state: Path) -> Status:
    """All shares and stages together."""
    damage: list[str] = []
    histories = [read_history([path], damage) for path in sorted(state.glob("events*.jsonl"))]
    stages = [stage for history in histories for stage in history.stages.values()]
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
        left_out=_left_out(state / UNUSABLE, sorted((state / "quarantine").glob("*")), damage),
        damaged=damage,
    )


AnySettings = TypeVar("AnySettings", bound=Settings)


def _settings(model: type[AnySettings], path: Path, damage: list[str]) -> AnySettings | None:
    """The run's configuration; where it cannot be read, the rest can still be told."""
    try:
        return settings_from_yaml(model, path)
    except ConfigError as error:
        damage.append(str(error))
        return None


def _coordinator(locks: Iterable[Path]) -> tuple[dict[str, Any] | None, str | None]:
    """Who holds the run, and its state in a word; None twice when nobody does, or only one who is dead."""
    for lock in locks:
        try:
            holder = read_holder(lock)
        except DamagedLockError:
            return None, f"unknown, as {lock} is damaged"
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


def _left_out(unusable: Path, folders: Iterable[Path], damage: list[str]) -> dict[str, str]:
    left_out = _reasons(unusable, damage)
    for quarantine in map(Quarantine, folders):
        left_out |= {one.identifier: f"{one.stage}: {one.reason}" for one in quarantine}
        damage += quarantine.damage
    return left_out


def _reasons(path: Path, damage: list[str]) -> dict[str, str]:
    record = read_record(path, damage, "it is written anew at the next start")
    return {name: str(reason) for name, reason in (record or {}).items()}


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
    if iteration.isdigit():
        return run.iteration(int(iteration)) / name
    return (run.tomogram("any") if name == "convert" else run.subtomograms("any")).parent


def _partials(folder: Path) -> int:
    """Units that are being written."""
    return sum(PARTIAL in path.name for path in folder.iterdir()) if folder.is_dir() else 0
