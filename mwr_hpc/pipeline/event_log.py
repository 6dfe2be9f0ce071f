"""``events.jsonl``: what happened to a run, a line an event, for `status` and for whoever looks next morning."""

import json
import time
from pathlib import Path

from mwr_hpc.events import Emit, Event, TrainingStep, UnitProgress, event_to_record


def recording(path: Path, emit: Emit) -> Emit:
    """An observer that appends each event to `path` and hands it on to `emit`.

    Steps and progress within a unit are not recorded: they are many, and the curves tell what they mean.
    """
    path.parent.mkdir(parents=True, exist_ok=True)

    def observe(event: Event) -> None:
        if not isinstance(event, TrainingStep | UnitProgress):
            line = {"time": round(time.time(), 3), **event_to_record(event)}
            with path.open("a") as stream:
                stream.write(json.dumps(line) + "\n")
        emit(event)

    return observe
