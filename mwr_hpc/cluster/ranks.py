"""Starts the ranks of a training on this host and stays with them: output, stop, failure. No ssh, no MPI.

The ranks end together. One that fails takes the others with it; nobody outlives the launcher, whatever becomes of it.
"""

import contextlib
import math
import os
import selectors
import signal
import subprocess
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from mwr_hpc.cluster.private_network import joining_argv
from mwr_hpc.cluster.rank_environment import MEETING, RANK, RANKS, local_threads, python_environment, thread_environment
from mwr_hpc.errors import ClusterError, InputError, StopRequested
from mwr_hpc.events import ShouldStop, never
from mwr_hpc.printable import printable
from mwr_hpc.training.placement import LostRanksError

LAST_LINES = 20
"""How much of a failed rank's output its error quotes."""

_POLL_SECONDS = 0.1

_CAUSE_SECONDS = 10.0
"""After a rank ended because it lost the others, so long the one that was lost has to end too and be blamed."""

_LONGEST_LINE = 65536


def run_ranks(
    argv: Sequence[str],
    ranks: int,
    *,
    meeting_folder: Path,
    log: Path,
    show: Callable[[str], None],
    quoted: Callable[[str], bool] = lambda line: True,
    should_stop: ShouldStop = never,
    network: Sequence[int] = (),
) -> None:
    """Run `ranks` copies of a program, each of which finds its place by `rank_environment.accept_rank`.

    Returns when all have ended with exit code 0. Must stay in the thread that calls it: ranks are tied to it.

    Parameters
    ----------
    argv
        The program and its arguments, the same for all ranks.
    ranks
        How many.
    meeting_folder
        Where rank 0 leaves, for a moment, the address of its rendezvous.
    log
        File that all output is appended to, each line with its rank in front.
    show
        Gets each line of rank 0, and of the others those that are not to be quoted.
    quoted
        Whether a line is worth quoting when its rank fails.
    should_stop
        Asked all the time; once it is true every rank gets SIGTERM, and is expected to agree with the others on a
        step to stop after, and to exit with 0 or 85.
    network
        Descriptors of a `private_network` that the ranks join; none: they stay in this process's.

    Raises
    ------
    ClusterError
        A rank failed or was killed; the text says which and why, and quotes its last lines. All others are dead.
    InputError
        Likewise, where the rank's exit code blames options or input.
    StopRequested
        The ranks stopped in good order.
    """
    environment = os.environ | python_environment() | thread_environment(local_threads(ranks))
    environment |= {RANKS: str(ranks), MEETING: str(meeting_folder / f"rendezvous-{uuid.uuid4().hex}")}
    environment["PYTHONUNBUFFERED"] = "1"  # the last words of a killed rank count
    command = [sys.executable, "-m", "mwr_hpc.cluster.tied_process", str(os.getpid()), *argv]
    if network:
        command = joining_argv(network, os.getpid(), argv)
    with log.open("a", encoding="utf-8", buffering=1) as record:
        started: list[_Rank] = []
        try:
            for rank in range(ranks):
                started.append(_Rank(rank, command, environment, record, show, quoted, network))
            codes = _follow(started, should_stop)
        except _RankFailedError as failure:
            kind = InputError if failure.code == InputError.exit_code else ClusterError
            raise kind(f"{failure} The whole output is in {log}.") from None
        finally:
            for one in started:
                one.kill()
                one.output.close()
            Path(environment[MEETING]).unlink(missing_ok=True)
    if any(codes):
        raise StopRequested(f"the {ranks} ranks stopped in good order")


class _RankFailedError(Exception):
    """What befell the first rank that failed, written for the user, and its exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def _follow(ranks: list["_Rank"], should_stop: ShouldStop) -> list[int]:
    """Pass on output until all ranks have ended well, and return their exit codes."""
    running = list(ranks)
    stopping = False
    bereaved: list[_Rank] = []
    blame_by = math.inf
    with selectors.DefaultSelector() as selector:
        for one in running:
            selector.register(one.output, selectors.EVENT_READ, one)
        while running:
            if not stopping and should_stop():
                stopping = True
                for one in running:
                    one.process.terminate()
            for key, _ in selector.select(_POLL_SECONDS):
                if not key.data.forward():
                    selector.unregister(key.fileobj)
            ended = [one for one in running if one.has_ended()]
            for one in ended:
                one.kill()
            running = [one for one in running if one not in ended]
            if stopping and any(one.code == -signal.SIGTERM for one in ended):
                return [StopRequested.exit_code]  # asked before it could listen: nothing had begun
            failed = [one for one in ended if one.code not in (0, StopRequested.exit_code)]
            causes = [one for one in failed if one.code != LostRanksError.exit_code]
            if causes:
                raise min(causes, key=lambda one: one.code).failure(len(ranks))
            if failed and not bereaved:
                blame_by = time.monotonic() + _CAUSE_SECONDS
            bereaved += failed
            if bereaved and (not running or time.monotonic() > blame_by):
                raise bereaved[0].failure(len(ranks))
    return [one.code for one in ranks]


class _Rank:
    """One rank's process, in a session of its own, and the output it has not yet ended a line of."""

    def __init__(
        self,
        rank: int,
        command: list[str],
        environment: dict[str, str],
        record: IO[str],
        show: Callable[[str], None],
        quoted: Callable[[str], bool],
        inherited: Sequence[int],
    ) -> None:
        self.rank = rank
        self.record = record
        self.show = show
        self.quoted = quoted
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self.rest = b""
        self.process = subprocess.Popen(
            command,
            env=environment | {RANK: str(rank)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=inherited,
            start_new_session=True,  # Ctrl-C is for the launcher, and what the rank starts can be killed with it
        )
        assert self.process.stdout is not None
        self.output = self.process.stdout
        os.set_blocking(self.output.fileno(), False)

    @property
    def code(self) -> int:
        """Exit code, negative for a signal; only after `kill`."""
        assert self.process.returncode is not None
        return self.process.returncode

    def forward(self) -> bool:
        """Pass on some of the output that waits; False when there is none, or will be none any more."""
        try:
            chunk = os.read(self.output.fileno(), 65536)
        except BlockingIOError:
            return False
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        for line in lines:
            self._line(line)
        if self.rest and (not chunk or len(self.rest) > _LONGEST_LINE):
            self._line(self.rest)
            self.rest = b""
        return bool(chunk)

    def _line(self, raw: bytes) -> None:
        line = printable(raw.decode(errors="surrogateescape").rstrip("\r"))
        if self.quoted(line):
            self.last_lines.append(line)
        self.record.write(f"[{self.rank}] {line}\n")
        if self.rank == 0 or not self.quoted(line):
            self.show(line)

    def has_ended(self) -> bool:
        """True when the process is dead; it stays a zombie, so that its group's number cannot be another's yet."""
        if self.process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def kill(self) -> None:
        """Kill the rank and all that it started, if alive; pass on its last words."""
        if self.process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        while self.forward():
            pass

    def failure(self, ranks: int) -> _RankFailedError:
        """Say how the rank ended."""
        if self.code < 0:
            fate = f"was killed by {signal.Signals(-self.code).name}"
            if self.code == -signal.SIGKILL:
                fate += " (if nobody did it, the system did for want of memory)"
        else:
            fate = f"ended with exit code {self.code}"
        words = "\n".join(f"    {line}" for line in self.last_lines) or "    (none)"
        text = f"rank {self.rank} of {ranks} {fate}; the other ranks were ended. Its last lines:\n{words}\n"
        return _RankFailedError(text, self.code)
