"""An interrupt is acknowledged at once, whatever is running and wherever the output goes; the second ends the work."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import hashlib, os, sys, time
from mwr_hpc.cli.running import watched
from mwr_hpc.cluster.local_pool import local_pool
from mwr_hpc.config.schema import ConvertSettings
from mwr_hpc.errors import StopRequested
from mwr_hpc.events import StageStarted

def polling(settings, emit, should_stop):
    emit(StageStarted("convert", 6, 0))
    os.write(1, b"ready\\n")
    while not should_stop():
        time.sleep(0.05)
    raise StopRequested("stopped in convert")

def computing(settings, emit, should_stop):
    os.write(1, b"ready\\n")
    hashlib.pbkdf2_hmac("sha256", b"", b"", 6_000_000)  # some seconds in which no Python code of this thread runs
    raise StopRequested("stopped in computing")

def deaf(settings, emit, should_stop):
    os.write(1, b"ready\\n")
    time.sleep(600)

def in_workers(settings, emit, should_stop):
    with local_pool(1) as pool:
        os.write(1, b"ready\\n")
        list(pool.run(time.sleep, [600], should_stop))

try:
    watched(globals()[sys.argv[1]], ConvertSettings.model_construct())
except StopRequested as stop:
    print("ended:", stop, flush=True)
    sys.exit(stop.exit_code)
"""


class Started:
    """The program above with its messages on a terminal or in a pipe."""

    def __init__(self, work: str, terminal: bool) -> None:
        self._reading, writing = pty.openpty() if terminal else os.pipe()
        os.set_blocking(self._reading, False)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, work], stdout=subprocess.PIPE, stderr=writing, text=True
        )
        os.close(writing)
        self.messages = ""
        assert self.process.stdout.readline() == "ready\n", self._read()

    def interrupt(self, number: signal.Signals, text: str, within: float = 2.0) -> None:
        """Send a signal, upon which a message must come soon."""
        self.process.send_signal(number)
        deadline = time.monotonic() + within
        while text not in self._read():
            assert time.monotonic() < deadline, self.messages
            time.sleep(0.02)

    def end(self, within: float = 30) -> tuple[int, str]:
        out, _ = self.process.communicate(timeout=within)
        return self.process.returncode, out

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        os.close(self._reading)

    def _read(self) -> str:
        with contextlib.suppress(OSError):  # nothing now; or, from a terminal, nothing any more
            self.messages += os.read(self._reading, 65536).decode()
        return " ".join(self.messages.split())  # a terminal breaks lines


@pytest.fixture
def start():
    started = []

    def run(work, terminal=False):
        started.append(Started(work, terminal))
        return started[-1]

    yield run
    for one in started:
        one.close()


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "file"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_is_acknowledged_at_once(start, number, terminal):
    program = start("polling", terminal)
    name = "Ctrl-C" if number == signal.SIGINT else number.name
    program.interrupt(number, f"{name}: stopping in good order")
    assert program.end() == (85, "ended: stopped in convert\n")


def test_it_is_acknowledged_before_what_computes_can_look(start):
    program = start("computing")
    began = time.monotonic()
    program.interrupt(signal.SIGINT, "Press Ctrl-C again")
    acknowledged = time.monotonic() - began
    assert program.end()[0] == 85
    assert acknowledged < 0.5 * (time.monotonic() - began)


@pytest.mark.parametrize(
    ("work", "first"), [("deaf", signal.SIGINT), ("deaf", signal.SIGTERM), ("in_workers", signal.SIGINT)]
)
def test_a_second_one_ends_what_does_not_stop_by_itself(start, work, first):
    program = start(work)
    program.interrupt(first, "Press Ctrl-C again to end without that")
    assert program.process.poll() is None
    program.interrupt(signal.SIGINT, "Ctrl-C again: ending without waiting")
    code, out = program.end(within=20)
    assert (code, out) == (85, "ended: what was running is undone, what was finished before is kept\n")
