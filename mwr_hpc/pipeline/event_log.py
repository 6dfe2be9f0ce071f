"""``events.jsonl``: what happened to a run, a line an event, for `status` and for whoever looks next morning."""

import json
import math
import time
from pathlib import Path

from mwr_hpc.events import Emit, Event, TrainingStep, UnitProgress, event_to_record
from mwr_hpc.io.records import Record, read_lines

NUMBERS = {"IterationStarted": ("iteration", "iterations"), "StageStarted": ("units", "done")}
"""What an event of a kind must hold to be of use."""

IN_STAGE = ("StageStarted", "UnitFinished", "UnitFailed", "StageFinished")


def recording(path: Path, emit: Emit) -> Emit:
    """An observer that appends each event to `path` and hands it on to `emit`.

    Steps and progress within a unit are not recorded: they are many, and the curves tell what they mean.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _end_last_line(path)

    def observe(event: Event) -> None:
        if not isinstance(event, TrainingStep | UnitProgress):
            line = {"time": round(time.time(), 3), **event_to_record(event)}
            with path.open("a") as stream:
                stream.write(json.dumps(line) + "\n")
        emit(event)

    return observe


def read_events(path: Path, damage: list[str]) -> list[Record]:
    """Return what `recording` wrote; lines that cannot be read are passed over, and named in `damage`."""
    told: list[str] = []
    then = "what happened then is not known"
    records = read_lines(path, told, then)
    sound = [record for record in records if _is_sound(record)]
    if len(sound) < len(records):
        told.append(f"{path}: {len(records) - len(sound)} of its lines are damaged; {then}")
    damage += told
    return sound


def _end_last_line(path: Path) -> None:
    """A line that a crash cut off must not swallow the first one of this start."""
    if path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n"):
        with path.open("a") as stream:
            stream.write("\n")


def _is_sound(record: Record) -> bool:
    when, kind, stage = record.get("time"), record.get("event"), record.get("stage", "")
    if not _is_number(when) or not isinstance(kind, str) or not isinstance(stage, str):
        return False
    numbers = NUMBERS.get(kind, ())
    return all(isinstance(record.get(name), int) for name in numbers) and (bool(stage) or kind not in IN_STAGE)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
