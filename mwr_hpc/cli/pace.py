"""Estimates the time of a training from its steps, once three are done, or two that are slow."""

from dataclasses import dataclass

from mwr_hpc.events import IterationStarted, StageStarted, TrainingStep

SLOW_STEP = 10.0
"""Seconds from which a single step counts as a measure of the others."""

STEPS_TIMED = 2
"""Steps after the first, in which the network is traced, from which their mean counts."""


@dataclass
class Pace:
    """The steps of a training on the clock; times are in seconds.

    Attributes
    ----------
    iteration, iterations
        As the events count them; 0 and 0 for a training without iterations.
    done, steps
        Of the training of this iteration.
    a_step
        Time of one step; None while it is unknown.
    between
        From the last step of an iteration to the first one of the next.
    """

    iteration: int = 0
    iterations: int = 0
    done: int = 0
    steps: int = 0
    a_step: float | None = None
    between: float = 0.0
    _first: tuple[float, int] | None = None
    _last: float | None = None

    def update(self, event: IterationStarted | StageStarted | TrainingStep, now: float) -> None:
        """Take in an event that came at `now`."""
        match event:
            case IterationStarted():
                self.iteration, self.iterations, self.done, self._first = event.iteration, event.iterations, 0, None
                self._last = self._last if self._last is not None else now
            case StageStarted():
                self._first = None
            case TrainingStep():
                self._step(event, now)

    def _step(self, event: TrainingStep, now: float) -> None:
        self.done, self.steps = (event.epoch - 1) * event.steps + event.step, event.epochs * event.steps
        if self._first is None:
            self._first = now, self.done
            if self._last is not None:
                self.between = max(0.0, now - self._last - (self.a_step or 0.0))
        elif self.done > self._first[1]:
            mean = (now - self._first[0]) / (self.done - self._first[1])
            if self.a_step is not None or mean >= SLOW_STEP or self.done >= self._first[1] + STEPS_TIMED:
                self.a_step = mean
        self._last = now

    def seconds_left(self, now: float) -> float | None:
        """Return the time to the end of all iterations; None while nothing is known of a step.

        While a slow second step goes on it counts as long as it has lasted so far.
        """
        a_step = self.a_step
        if a_step is None and self._first is not None and now - self._first[0] >= SLOW_STEP:
            a_step = now - self._first[0]
        if a_step is None or not self.steps:
            return None
        later = max(0, self.iterations - self.iteration)
        return a_step * (self.steps * (later + 1) - self.done) + self.between * later
