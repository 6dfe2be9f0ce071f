"""Turns the signals of people and batch systems into a request to stop in good order."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class StopFlag:
    """Callable that tells whether a stop was asked for, and by which signal."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        return self.signal is not None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: the first signal asks for a stop; a second Ctrl-C no longer waits for it."""
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Within it SIGINT, SIGTERM and SIGUSR1 (what SLURM sends before the time limit) set the flag it gives.

    Only the main thread can handle signals, so it belongs around a whole command.
    """
    flag = StopFlag()
    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, flag.handle) for number in watched}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
