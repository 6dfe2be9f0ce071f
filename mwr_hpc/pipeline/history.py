"""What the events of a run tell: which stages were begun, how far they came, and how fast."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mwr_hpc.pipeline.event_log import read_events


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


def read_history(paths: Iterable[Path], damage: list[str]) -> History:
    """Read files of events in order; `damage` names those that cannot be read whole."""
    history = History()
    for path in paths:
        for record in read_events(path, damage):
            history.take(record)
    return history
