"""``events.jsonl``: everything that happened to a run, a line an event, for `status` and for whoever looks next morning."""

import json
import time
from dataclasses import asdict
from pathlib import Path

from mwr_hpc.events import Emit, Event, TrainingStep, UnitProgress


def recording(path: Path, emit: Emit) -> Emit:
    """An observer that appends each event to `path` and hands it on to `emit`.

    Steps and progress within a unit are not recorded: they are many, and the curves tell what they mean.
    """
    path.parent.mkdir(parents=True, exist_ok=True)

    def observe(event: Event) -> None:
        if not isinstance(event, TrainingStep | UnitProgress):
            line = {"time": round(time.time(), 3), "event": type(event).__name__, **asdict(event)}
            with path.open("a") as stream:
                stream.write(json.dumps(line) + "\n")
        emit(event)

    return observe
