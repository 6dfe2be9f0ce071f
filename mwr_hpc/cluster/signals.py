"""Turns the signals of people and batch systems into a request to stop in good order, which is acknowledged at once."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C, what a batch system sends at a cancellation, and what SLURM sends before the time limit."""

Acknowledge = Callable[[signal.Signals, bool], None]
"""Told a signal, and whether the stop had been asked for before."""


class StopFlag:
    """Callable that tells whether a stop was asked for, and by which signal."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        return self.signal is not None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: the first signal asks for a stop; a Ctrl-C after it no longer waits for that."""
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)


@contextlib.contextmanager
def stop_on_signals(acknowledge: Acknowledge | None = None) -> Iterator[StopFlag]:
    """Give a flag that SIGINT, SIGTERM and SIGUSR1 set.

    Only the main thread can handle signals, so it belongs around a whole command.

    Parameters
    ----------
    acknowledge
        Called in a thread of its own as soon as a signal has come, also while the main thread computes and cannot look.

    Raises
    ------
    KeyboardInterrupt
        In the main thread, at a Ctrl-C after the first signal.
    """
    flag = StopFlag()
    before = {number: signal.signal(number, flag.handle) for number in WATCHED}
    try:
        with _acknowledged(acknowledge) if acknowledge else contextlib.nullcontext():
            yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _acknowledged(acknowledge: Acknowledge) -> Iterator[None]:
    """Have a thread told of each signal by the interpreter, which writes its number to a pipe when it comes."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def follow() -> None:
        stopping = False
        while number := os.read(reading, 1)[0]:
            if number in WATCHED:
                acknowledge(signal.Signals(number), stopping)
                stopping = True

    thread = threading.Thread(target=follow, name="signals", daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(writing, b"\0")
        thread.join()
        os.close(reading)
        os.close(writing)
