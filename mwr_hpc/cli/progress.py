"""Shows what happens during a command: bars on a terminal, a line every 30 seconds otherwise.

`Progress` folds the events into where the work stands; the two observers only differ in how they show that.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TextIO

from mwr_hpc.cli.output import say_to
from mwr_hpc.cli.pace import Pace
from mwr_hpc.events import (
    Emit,
    EpochFinished,
    Event,
    IterationStarted,
    Notice,
    StageFinished,
    StageStarted,
    TrainingStep,
    UnitFailed,
    UnitFinished,
    UnitProgress,
)
from mwr_hpc.printable import printable, printable_lines

if TYPE_CHECKING:
    from rich.progress import TextColumn

SECONDS_BETWEEN_LINES = 30.0

LONG = 24 * 3600.0
"""Seconds from which a training is warned of."""


@dataclass
class Progress:
    """Where the work stands, by the events so far; `clock` gives seconds."""

    clock: Callable[[], float] = time.monotonic
    iteration: int = 0
    iterations: int = 0
    stage: str = ""
    units: int = 0
    units_done: int = 0
    failed: int = 0
    epoch: int = 0
    epochs: int = 0
    trained: float = 0.0
    loss: float | None = None
    validation_loss: float | None = None
    parts: dict[str, float] = field(default_factory=dict)
    started: tuple[float, float] | None = None
    pace: Pace = field(default_factory=Pace)
    warned: bool = False

    def update(self, event: Event) -> str | None:
        """Take in one event; return what has to be told at once, if anything."""
        if isinstance(event, IterationStarted | StageStarted | TrainingStep):
            self.pace.update(event, self.clock())
        match event:
            case IterationStarted():
                self.iteration, self.iterations, self.trained = event.iteration, event.iterations, 0.0
            case StageStarted():
                self.stage, self.units, self.units_done = event.stage, event.units, event.done
                self.failed, self.epoch = 0, 0
                self.parts.clear()
            case UnitProgress():
                self.parts[event.name] = event.done / max(1, event.total)
            case UnitFinished():
                self.units_done += 1
                self.parts.pop(event.name, None)
            case UnitFailed():
                self.failed += 1
                self.parts.pop(event.name, None)
                return f"{event.stage}: {event.name} is left out: {event.reason}"
            case StageFinished() if event.done or event.failed:
                return _stage_line(event)
            case TrainingStep():
                self.epoch, self.epochs, self.loss = event.epoch, event.epochs, event.loss
                self.trained = ((event.epoch - 1) + event.step / event.steps) / event.epochs
            case EpochFinished():
                self.loss, self.validation_loss = event.loss, event.validation_loss
            case Notice():
                return f"Warning: {event.text}" if event.warning else event.text
        if self.started is None:
            self.started = self.clock(), self.overall
        return self._warning() if isinstance(event, TrainingStep) else None

    def _warning(self) -> str | None:
        """Say once that a training will be long, and what shortens it."""
        left = self.pace.seconds_left(self.clock())
        if self.warned or left is None or left < LONG or not self.iterations:
            return None
        self.warned = True
        return (
            f"Warning: at this pace the training takes about {duration(left)} more. What shortens it: fewer "
            "--iterations; or, in another --run_dir, --hours, which chooses a size that fits, or a smaller "
            "--filter_base, --cube_size, --epochs or --steps_per_epoch"
        )

    @property
    def stage_share(self) -> float:
        """How much of the stage is done, from 0 to 1."""
        if self.epoch:
            return self.trained
        ended = self.units_done + self.failed + sum(self.parts.values())
        return min(1.0, ended / self.units) if self.units else 0.0

    @property
    def overall(self) -> float:
        """How much of the command is done, from 0 to 1; of an iteration training takes nearly all the time."""
        if self.iterations:
            return (self.iteration - 1 + self.trained) / self.iterations
        return self.stage_share

    def seconds_left(self) -> float | None:
        """Time left at the pace so far; None as long as there is no pace, and at the end."""
        if self.started is None or self.overall >= 1:
            return None
        left = self.pace.seconds_left(self.clock())
        if left is not None or self.epoch:
            return left
        since, share = self.started
        gained = self.overall - share
        return (self.clock() - since) * (1 - self.overall) / gained if gained > 0 else None

    def stage_text(self) -> str:
        """Name the stage and how far it is."""
        text = f"{self.stage} {self.units_done} of {self.units}"
        if self.epoch:
            text = f"{self.stage}, epoch {self.epoch} of {self.epochs}"
        return f"{text}, {self.failed} failed" if self.failed else text

    def loss_text(self) -> str:
        """Give the latest losses; empty before training."""
        if self.loss is None:
            return ""
        return f"loss {self.loss:.4g}" + (
            f" (held out {self.validation_loss:.4g})" if self.validation_loss is not None else ""
        )

    def line(self) -> str:
        """Tell everything in one line."""
        left = self.seconds_left()
        parts = [
            f"iteration {self.iteration} of {self.iterations}" if self.iterations else "",
            f"{self.stage_text()} ({self.stage_share:.0%})" if self.stage else "",
            self.loss_text(),
            f"about {duration(left)} left" if left is not None else "",
        ]
        return ", ".join(part for part in parts if part)


def _stage_line(event: StageFinished) -> str:
    before = f", {event.skipped} done before" if event.skipped else ""
    failed = f", {event.failed} failed" if event.failed else ""
    return f"{event.stage}: {event.done} done{before}{failed} in {duration(event.seconds)}"


def duration(seconds: float) -> str:
    """Write a time span with the two units that matter.

    >>> duration(59.4), duration(3725)
    ('59 s', '1 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 2 * 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} days {whole % 86400 // 3600} h"


class LineObserver(AbstractContextManager["LineObserver"]):
    """Writes a line every 30 seconds, and at once what cannot wait: failures, notices, the end of a stage.

    Parameters
    ----------
    stream
        Where the lines go.
    interval
        Seconds between lines.
    """

    def __init__(self, stream: TextIO, interval: float = SECONDS_BETWEEN_LINES) -> None:
        self.progress = Progress()
        self._stream = stream
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write_lines, name="progress lines", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def __call__(self, event: Event) -> None:
        """Observe one event."""
        text = self.progress.update(event)
        if text is not None:
            self._write(text)

    def _write_lines(self) -> None:
        while not self._ended.wait(self._interval):
            line = self.progress.line()
            if line:
                self._write(line)

    def _write(self, text: str) -> None:
        say_to(self._stream, f"{time.strftime('%H:%M:%S')} {text}")


def _plain(template: str) -> "TextColumn":
    """Show a text as it is: Rich would read [red] in it as a colour."""
    from rich.progress import TextColumn

    return TextColumn(template, markup=False)


class BarObserver(AbstractContextManager["BarObserver"]):
    """Shows bars on a terminal: overall with the time left, and the stage with the loss."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn
        from rich.progress import Progress as Bars

        self.progress = Progress()
        columns = (_plain("{task.description}"), BarColumn(), _plain("{task.percentage:>3.0f} %"))
        self._bars = Bars(*columns, _plain("{task.fields[note]}"), console=Console(stderr=True))
        self._overall = self._bars.add_task("overall", total=1.0, visible=False, note="")
        self._stage = self._bars.add_task("", total=1.0, visible=False, note="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Observe one event."""
        text = self.progress.update(event)
        if text is not None:
            self._bars.console.print(printable_lines(text), markup=False, highlight=False, emoji=False)
        now = self.progress
        seconds = now.seconds_left()
        left = f"about {duration(seconds)} left" if seconds is not None else ""
        self._bars.update(
            self._overall,
            completed=now.overall,
            visible=now.iterations > 0,
            description=f"iteration {now.iteration} of {now.iterations}",
            note=left,
        )
        self._bars.update(
            self._stage,
            completed=now.stage_share,
            visible=bool(now.stage),
            description=printable(now.stage_text()),
            note=now.loss_text() if now.iterations else left,
        )


@contextmanager
def observing() -> Iterator[Emit]:
    """Give the observer that suits where the output goes: bars on a terminal, lines elsewhere (both on stderr)."""
    with BarObserver() if sys.stderr.isatty() else LineObserver(sys.stderr) as observer:
        yield observer
