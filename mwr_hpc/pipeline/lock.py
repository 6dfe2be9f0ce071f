"""One coordinator per run: a lock file that beats.

The lock holds a token, who holds it and a counter that its holder raises every few seconds. Clocks of two hosts are
never compared: an observer waits for the counter to move on its own clock. A holder that is provably dead (this host,
and either another boot or no such process) loses the lock at once, any other after `PATIENCE` seconds without a beat.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mwr_hpc.errors import ConfigError, DiskFullError, InputError, StageError
from mwr_hpc.io.atomic import atomic_file, disk_full_reported, require_writable
from mwr_hpc.io.bounded_json import parse_json

BEAT = 5.0
PATIENCE = 60.0


@dataclass(frozen=True)
class Holder:
    """Who holds a run; `started`, the process's start time in clock ticks since boot, tells a reused pid apart."""

    token: str
    host: str
    boot: str
    pid: int
    started: int
    job: str | None
    beat: int = 0

    def is_this_host(self) -> bool:
        """Whether the holder is, or was, a process of this machine."""
        return self.host == socket.gethostname()

    def is_provably_dead(self) -> bool:
        """Whether the holder cannot be alive: same host, and another boot or the process gone."""
        return self.is_this_host() and (self.boot != _boot_id() or _start_time(self.pid) != self.started)

    def is_provably_alive(self) -> bool:
        """Whether the holder is certainly alive: a running process of this host."""
        return self.is_this_host() and not self.is_provably_dead()


class RunLock:
    """The lock of one run directory, held within ``with``.

    Parameters
    ----------
    path
        The lock file.
    beat, patience
        Seconds between beats, and without one after which another host's holder counts as dead.
    option
        With which another folder can be named, for the message.

    Raises
    ------
    ConfigError
        On entering, when another coordinator holds the run; names its host and pid.
    InputError
        On entering, when the lock's folder cannot be made or written to.
    """

    def __init__(self, path: Path, beat: float = BEAT, patience: float = PATIENCE, option: str = "--run_dir") -> None:
        self.path = path
        self.holder = Holder(
            token=uuid.uuid4().hex,
            host=socket.gethostname(),
            boot=_boot_id(),
            pid=os.getpid(),
            started=_start_time(os.getpid()) or 0,
            job=os.environ.get("SLURM_JOB_ID"),
        )
        self._beat, self._patience, self._option = beat, patience, option
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, name="run lock", daemon=True)

    @property
    def token(self) -> str:
        """What proves to a worker that this coordinator still holds the run."""
        return self.holder.token

    def __enter__(self) -> "RunLock":
        require_writable(self.path.parent)
        try:
            with disk_full_reported(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:  # rights are not all that a file system may object to
            raise InputError(f"{self.path.parent}: cannot be made ({error.strerror}); name another folder") from error
        observed: Holder | None = None
        since = time.monotonic()
        while True:
            with critical_section(self.path):
                current = read_holder(self.path)
                silent = current == observed and time.monotonic() - since > self._patience
                if current is None or current.is_provably_dead() or silent:
                    _write(self.path, self.holder)
                    break
            if current.is_provably_alive() or _has_beaten(observed, current):
                raise ConfigError(
                    f"{self.path.parent}: this run is held by another coordinator, process {current.pid} on "
                    f"{current.host}{f' (SLURM job {current.job})' if current.job else ''}, which is alive. "
                    f"Wait for it, stop it, or use another {self._option}."
                )
            if current != observed:
                observed, since = current, time.monotonic()
            time.sleep(min(1.0, self._patience / 10))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        with critical_section(self.path):
            if is_held(self.path, self.token):
                self.path.unlink()

    def check(self) -> None:
        """Raise StageError unless this coordinator still holds the run."""
        check_token(self.path, self.token)

    def _keep_beating(self) -> None:
        while not self._ended.wait(self._beat):
            with critical_section(self.path):
                if not is_held(self.path, self.token):
                    return
                self.holder = replace(self.holder, beat=self.holder.beat + 1)
                # A full disk is the running stage's to report; the next beat may find space again.
                with contextlib.suppress(DiskFullError):
                    _write(self.path, self.holder)


def read_holder(path: Path) -> Holder | None:
    """Who holds the lock, None when nobody does."""
    try:
        return Holder(**parse_json(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{path}: not a lock file of this program ({error}). Remove it if no run is using the folder."
        ) from None


def is_held(path: Path, token: str) -> bool:
    """Whether the lock at `path` is the one of `token`."""
    try:
        return bool(parse_json(path.read_text())["token"] == token)
    except FileNotFoundError:
        return False


def check_token(path: Path, token: str) -> None:
    """Raise StageError unless the lock at `path` is the one of `token`: called before anything is published."""
    if not is_held(path, token):
        raise StageError(
            f"{path.parent}: another coordinator has taken this run over; nothing more is written by this one."
        )


def _has_beaten(observed: Holder | None, current: Holder) -> bool:
    return observed is not None and observed.token == current.token and observed.beat != current.beat


def _write(path: Path, holder: Holder) -> None:
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(asdict(holder)))


@contextlib.contextmanager
def critical_section(path: Path) -> Iterator[None]:
    """Reading, judging and replacing the lock is one step for all processes that share the file system's locks."""
    with disk_full_reported(path):
        guard = path.with_suffix(".guard").open("a")
    with guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_time(pid: int) -> int | None:
    """Start time of a living process in clock ticks since boot (proc(5), field 22); None when gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])
