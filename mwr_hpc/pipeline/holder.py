"""Who holds a run, and what proves that it is alive or dead.

A process number means something only within one PID namespace of one boot of one machine, so a holder's process is
looked for only where all three are this process's own. Nothing else is proof. Another boot under this host's name may
be this machine after a restart, or another machine of that name; containers may share a host name, and images a
machine's identity. Whether such a holder is alive only its beat can tell.
"""

import os
import socket
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from mwr_hpc.errors import ConfigError, StageError
from mwr_hpc.io.bounded_json import parse_json

LARGEST_PID = 2**31 - 1

DAMAGE_PATIENCE = 10.0
"""Seconds, two beats, within which a living holder writes its lock again that was damaged."""


class DamagedLockError(ConfigError):
    """A lock file that says nothing: who holds the run cannot be known."""


@dataclass(frozen=True)
class Holder:
    """Who holds a run.

    Attributes
    ----------
    token
        Unique; what the holder's workers show.
    host, boot, namespace
        Where `pid` is valid: host name, the kernel's boot id, and the PID namespace. Empty where it cannot be told, as
        `namespace` is in the locks of version 0.1.0.
    pid, started
        The process, and its start time in clock ticks since boot, which tells a reused number apart.
    job
        The SLURM job that it runs in.
    beat
        Raised every few seconds.
    """

    token: str
    host: str
    boot: str
    pid: int
    started: int
    job: str | None
    beat: int = 0
    namespace: str = ""

    @classmethod
    def this_process(cls, token: str) -> Self:
        """Return this process as a holder."""
        return cls(
            token=token,
            host=socket.gethostname(),
            boot=_boot_id(),
            pid=os.getpid(),
            started=_start_time("self") or 0,
            job=os.environ.get("SLURM_JOB_ID"),
            namespace=_pid_namespace(),
        )

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """Read what a lock file holds; what another version has added is left alone.

        Raises
        ------
        ValueError, TypeError
            Something is missing or of another kind.
        """
        holder = cls(**{name: record[name] for name in record if name in {field.name for field in fields(cls)}})
        texts, numbers = (holder.token, holder.host, holder.boot, holder.namespace), (holder.started, holder.beat)
        if not all(isinstance(text, str) for text in texts) or not all(isinstance(one, int) for one in numbers):
            raise TypeError("its values are of the wrong kind")
        if not isinstance(holder.pid, int) or not 0 < holder.pid <= LARGEST_PID:
            raise ValueError(f"{holder.pid!r} is no process number")
        return holder

    def is_provably_dead(self) -> bool:
        """Whether the holder's process, which would be visible here, is gone."""
        return self._is_here() and _is_running(self.pid, self.started) is False

    def is_provably_alive(self) -> bool:
        """Whether the holder's process is visible here and runs."""
        return self._is_here() and _is_running(self.pid, self.started) is True

    def named(self) -> str:
        """Name the process in a message."""
        return named(asdict(self))

    def _is_here(self) -> bool:
        place = (self.host, self.boot, self.namespace)
        return all(place) and place == (socket.gethostname(), _boot_id(), _pid_namespace())


def read_holder(path: Path) -> Holder | None:
    """Return who holds the lock, None when nobody does.

    Raises
    ------
    DamagedLockError
        The file cannot be understood.
    """
    record = _read(path)
    try:
        return None if record is None else Holder.from_record(record)
    except (ValueError, TypeError) as error:
        raise _damaged(path, error) from None


def is_held(path: Path, token: str) -> bool:
    """Return whether the lock at `path` is the one of `token`.

    Raises
    ------
    DamagedLockError
        The file cannot be understood.
    """
    record = _read(path)
    return record is not None and record["token"] == token


def check_token(path: Path, token: str, patience: float = DAMAGE_PATIENCE) -> None:
    """See that the lock at `path` is the one of `token`: called before anything is published.

    Raises
    ------
    StageError
        It is another's, is gone, or is damaged and not written again within `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            record = _read(path)
            break
        except DamagedLockError as error:
            if time.monotonic() > deadline:
                raise StageError(f"{error} Nothing more is written by this coordinator.") from None
            time.sleep(min(0.5, patience / 10))
    if record is None:
        raise StageError(
            f"{path}: was removed while this run was going on, by hand or because its coordinator has ended. Nothing "
            "more is published; what is finished is kept, and the same command goes on."
        )
    if record["token"] != token:
        raise StageError(
            f"{path.parent}: another coordinator{f', {named(record)},' if 'pid' in record else ''} has taken this run "
            "over; nothing more is written by this one."
        )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record = parse_json(path.read_text())
        if not isinstance(record, dict) or not isinstance(record.get("token"), str):
            raise TypeError("it holds no token")
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise _damaged(path, error) from None
    return record


def _damaged(path: Path, error: Exception) -> DamagedLockError:
    return DamagedLockError(
        f"{path}: damaged, no lock file of this program ({error}), so whether another coordinator works here cannot be "
        "known. See that none does, remove the file, and give the same command again."
    )


def named(record: dict[str, Any]) -> str:
    """Name a holder's process in a message."""
    job = f" (SLURM job {record['job']})" if record.get("job") else ""
    return f"process {record.get('pid')} on {record.get('host')}{job}"


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    """Name the PID namespace of this process; empty where /proc shows the processes of another one, or does not tell.

    The line NSpid has a number for each namespace from the one that /proc shows down to the process's own.
    """
    try:
        status = Path("/proc/self/status").read_text()
        numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
        return os.readlink("/proc/self/ns/pid") if numbers == [str(os.getpid())] else ""
    except (OSError, StopIteration):
        return ""


def _is_running(pid: int, started: int) -> bool | None:
    """Whether a process that began at `started` runs; None where the system hides it, as with other users' hidepid."""
    try:
        os.kill(pid, 0)  # sends nothing, and unlike /proc always knows whether there is such a process
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's, so there is one
    found = _start_time(pid)
    return None if found is None else found == started


def _start_time(pid: int | str) -> int | None:
    """Read a process's start time in clock ticks since boot (proc(5), field 22): 0 of a zombie, None if unreadable."""
    try:
        values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, UnicodeDecodeError):
        return None
    return 0 if values[0] in "ZX" else int(values[19])
