"""What happens during a run, as small frozen records.

Code that does the work emits these and prints nothing; progress bars, the log, ``events.jsonl`` and the tests observe.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True)
class Notice(Event):
    """Something the user should read once; `warning` when it may spoil the result."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class IterationStarted(Event):
    """Iteration `iteration` (from 1) of `iterations` begins."""

    iteration: int
    iterations: int


@dataclass(frozen=True)
class StageStarted(Event):
    """A stage with `units` units of work begins, of which `done` need not be done again."""

    stage: str
    units: int
    done: int = 0


@dataclass(frozen=True)
class UnitFinished(Event):
    """One unit of a stage is published."""

    stage: str
    name: str
    seconds: float


@dataclass(frozen=True)
class UnitFailed(Event):
    """One unit failed and its tomogram is quarantined for `reason`."""

    stage: str
    name: str
    reason: str


@dataclass(frozen=True)
class UnitProgress(Event):
    """A long unit tells how far it is: `done` of `total` (slabs, shards, cubes)."""

    stage: str
    name: str
    done: int
    total: int


@dataclass(frozen=True)
class StageFinished(Event):
    """A stage is complete: how many units were done, skipped (done before) and failed, in how many seconds."""

    stage: str
    done: int
    skipped: int
    failed: int
    seconds: float


@dataclass(frozen=True)
class TrainingStep(Event):
    """One optimiser step: `step` of `steps` in `epoch` of `epochs` (all from 1), with the batch's mean loss."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class EpochFinished(Event):
    """Losses (per voxel or pixel) of one epoch; `validation_loss` is None without held-out data.

    `figures` are what else the method tells of the model by then, by name. `input_wait`, `compute` and `allreduce` are
    shares of the epoch's wall time, from 0 to 1.
    """

    iteration: int
    epoch: int
    epochs: int
    loss: float
    validation_loss: float | None
    samples_per_second: float
    input_wait: float
    compute: float
    allreduce: float
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class InputRefused(Event):
    """A rank of a training found options or input at fault."""

    reason: str


@dataclass(frozen=True)
class StorageFailed(Event):
    """The storage failed under a rank of a training."""

    reason: str


def event_to_record(event: Event) -> dict[str, Any]:
    """Return an event as JSON-able values, its kind among them."""
    return {"event": type(event).__name__, **asdict(event)}


def event_from_record(record: dict[str, Any]) -> Event:
    """Return the event that `event_to_record` described."""
    kinds = {kind.__name__: kind for kind in Event.__subclasses__()}
    return kinds[record["event"]](**{name: value for name, value in record.items() if name != "event"})


@dataclass(frozen=True)
class ArrayDamaged(Event):
    """A rank of a training found the array `path` damaged: `what` is wrong with it."""

    path: str
    what: str


Emit = Callable[[Event], None]
ShouldStop = Callable[[], bool]


def ignore(event: Event) -> None:
    """The observer of those who do not observe."""


def never() -> bool:
    """The `should_stop` of those who never stop."""
    return False
