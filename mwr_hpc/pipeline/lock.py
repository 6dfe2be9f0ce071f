"""One coordinator per run: a lock file that beats.

The lock holds a token, who holds it and a counter that its holder raises every few seconds. Clocks of two hosts are
never compared: an observer waits for the counter to move on its own clock. A holder that is provably dead (see
`holder`) loses the lock at once, any other after `PATIENCE` seconds without a beat.
"""

import contextlib
import errno
import fcntl
import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mwr_hpc.errors import ConfigError, DiskFullError, InputError, StopRequested
from mwr_hpc.events import Emit, Notice, ShouldStop, ignore, never
from mwr_hpc.io.atomic import atomic_file, disk_full_reported, require_writable
from mwr_hpc.pipeline.holder import DamagedLockError, Holder, check_token, is_held, read_holder

BEAT = 5.0
PATIENCE = 60.0

SETTLING = 2.0
"""Seconds after which a lock that was taken without the file system's help is looked at again."""

_WITHOUT_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
"""How file systems say that they have no flock: Lustre mounted without it, some in user space, NFS without lockd."""


class RunLock:
    """The lock of one run directory, held within ``with``.

    Parameters
    ----------
    path
        The lock file.
    beat, patience
        Seconds between beats, and without one after which a holder of unknown fate counts as dead.
    option
        What to use another one of, for the message: the option that names the folder, or "folder".
    emit
        Told when a holder's beat has to be waited for.
    should_stop
        Polled meanwhile.

    Raises
    ------
    ConfigError
        On entering, when another coordinator holds the run (names its host and pid), or the lock file is damaged.
    InputError
        On entering, when the lock's folder cannot be made or written to.
    StopRequested
        On entering, when a stop was asked for while waiting.
    StageError
        On leaving by a StopRequested, when the stop's cause was that the lock had been lost.
    """

    def __init__(
        self,
        path: Path,
        beat: float = BEAT,
        patience: float = PATIENCE,
        option: str = "--run_dir",
        emit: Emit = ignore,
        should_stop: ShouldStop = never,
    ) -> None:
        self.path = path
        self.holder = Holder.this_process(uuid.uuid4().hex)
        self.exclusive = True
        """Whether the file system keeps others out of a `critical_section`; known once the lock is held."""
        self._beat, self._patience, self._option = beat, patience, option
        self._emit, self._should_stop = emit, should_stop
        self._lost = False
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
        seen = _Seen()
        while not self._taken(seen):
            if self._should_stop():
                raise StopRequested(f"stopped while waiting for a sign of life in {self.path}")
            time.sleep(min(1.0, self._patience / 10))
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._ended.set()
        self._thread.join()
        try:
            with critical_section(self.path):
                if self.is_held():
                    self.path.unlink()
        except OSError:
            if error is None:
                raise  # otherwise what ended the work, probably the same storage, is to be reported
        if self._lost and isinstance(error, StopRequested):
            self.check()

    def check(self) -> None:
        """Raise StageError unless this coordinator still holds the run."""
        check_token(self.path, self.token)

    def is_held(self) -> bool:
        """Whether this coordinator still holds the run."""
        with contextlib.suppress(DamagedLockError):
            return is_held(self.path, self.token)
        return False

    def until_lost(self, should_stop: ShouldStop) -> ShouldStop:
        """Return what also asks for a stop once the lock is lost, so that nobody works on for hours in vain."""
        return lambda: should_stop() or self._lost

    def _taken(self, seen: "_Seen") -> bool:
        """Take the lock if nobody has it, or nobody alive.

        Raises
        ------
        ConfigError
            It is somebody's, or damaged and stays so for longer than a living holder takes to write it again.
        """
        with critical_section(self.path) as self.exclusive:
            try:
                current = read_holder(self.path)
            except DamagedLockError:
                if seen.damaged_for() > self._beat:
                    raise
                return False
            free = current is None or current.is_provably_dead() or seen.silent_for(current) > self._patience
            if free:
                _write(self.path, self.holder)
        if free:
            return self.exclusive or self._has_settled()
        assert current is not None, "a lock that is not there is free"
        if current.is_provably_alive() or seen.has_beaten(current):
            raise ConfigError(
                f"{self.path.parent}: this run is held by another coordinator, {current.named()}, "
                f"which is alive. Wait for it, stop it, or use another {self._option}."
            )
        if seen.is_new(current):
            self._emit(
                Notice(
                    f"{self.path.parent}: waiting up to {self._patience:g} s to see whether another coordinator, "
                    f"{current.named()}, is alive"
                )
            )
        seen.see(current)
        return False

    def _has_settled(self) -> bool:
        """Whether of several that took the lock at once, which no file system kept apart, this one wrote it last."""
        time.sleep(SETTLING)
        return self.is_held()

    def _keep_beating(self) -> None:
        while not self._ended.wait(self._beat):
            # What storage objects to is the running stage's to report; the next beat may succeed again.
            with contextlib.suppress(OSError, DiskFullError), critical_section(self.path):
                with contextlib.suppress(DamagedLockError):  # by nobody who took it over: it is written again
                    if not is_held(self.path, self.token):
                        self._lost = True
                        return
                self.holder = replace(self.holder, beat=self.holder.beat + 1)
                _write(self.path, self.holder)


@dataclass
class _Seen:
    """What one who waits for a lock has seen of it, on his own clock."""

    holder: Holder | None = None
    since: float = 0.0
    damaged_since: float | None = None

    def is_new(self, current: Holder) -> bool:
        return self.holder is None or self.holder.token != current.token

    def see(self, current: Holder) -> None:
        self.damaged_since = None
        if current != self.holder:
            self.holder, self.since = current, time.monotonic()

    def silent_for(self, current: Holder) -> float:
        return time.monotonic() - self.since if current == self.holder else 0.0

    def has_beaten(self, current: Holder) -> bool:
        return self.holder is not None and self.holder.token == current.token and self.holder.beat != current.beat

    def damaged_for(self) -> float:
        if self.damaged_since is None:
            self.damaged_since = time.monotonic()
        return time.monotonic() - self.damaged_since


def _write(path: Path, holder: Holder) -> None:
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(asdict(holder)))


@contextlib.contextmanager
def critical_section(path: Path) -> Iterator[bool]:
    """Make reading, deciding and replacing one step for all processes that share the file system's locks.

    Yields
    ------
    bool
        Whether it is: some file systems have no locks.
    """
    with disk_full_reported(path):
        guard = path.with_suffix(".guard").open("a")
    with guard:
        yield _locked(guard.fileno())


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
        return False
    return True
