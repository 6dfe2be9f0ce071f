"""A network for the ranks of one host that nobody else can reach: Gloo asks nobody who he is.

It is a network namespace of the kernel's, in which there is a loopback and nothing else. Ordinary users may make one
only within a user namespace, where every file keeps its owner; some systems forbid that.
"""

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mwr_hpc.cluster.rank_environment import python_environment
from mwr_hpc.cluster.tied_process import become_tied

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
"""From <linux/sched.h>."""

SIOCSIFFLAGS, IFF_UP = 0x8914, 1
"""From <linux/sockios.h> and <linux/if.h>."""

READY = b"ready"

STDOUT = 1


class NoPrivateNetworkError(Exception):
    """The kernel refuses; the text says why."""


@contextlib.contextmanager
def private_network() -> Iterator[list[int]]:
    """Open a private network, which is gone when the block is left and all that joined it have ended.

    Yields
    ------
    list of int
        File descriptors for `joining_argv`.

    Raises
    ------
    NoPrivateNetworkError
        The kernel refuses.
    """
    with contextlib.ExitStack() as opened:
        holder = opened.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", __name__, "hold"],
                stdin=subprocess.PIPE,  # it holds the network until this is closed
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=os.environ | python_environment(),
                start_new_session=True,
            )
        )
        assert holder.stdin is not None and holder.stdout is not None
        opened.callback(holder.stdin.close)
        said = holder.stdout.readline().strip()
        if said != READY:
            raise NoPrivateNetworkError(said.decode(errors="replace") or "the process that makes it ended")
        descriptors = []
        for kind in _kinds():
            descriptors.append(os.open(f"/proc/{holder.pid}/ns/{kind}", os.O_RDONLY))
            opened.callback(os.close, descriptors[-1])
        yield descriptors


def joining_argv(descriptors: Sequence[int], parent: int, command: Sequence[str]) -> list[str]:
    """Command line that runs `command`, tied to `parent`, in a private network; it inherits the descriptors."""
    words = ["join", ",".join(map(str, descriptors)), str(parent)]
    return [sys.executable, "-m", "mwr_hpc.cluster.private_network", *words, *command]


def _kinds() -> list[str]:
    """Namespaces to make and to join: root needs no user namespace, in which it would lose its rights to files."""
    return ["net"] if os.geteuid() == 0 else ["user", "net"]


def _hold() -> None:
    """Make the network, say so, and keep it until nobody listens any more."""
    uid, gid = os.geteuid(), os.getegid()
    try:
        if "user" in _kinds():
            _call("unshare", CLONE_NEWUSER | CLONE_NEWNET)
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        else:
            _call("unshare", CLONE_NEWNET)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))
    except OSError as error:
        _say(str(error.strerror).encode())
        return
    _say(READY)
    sys.stdin.read()


def _say(line: bytes) -> None:
    os.write(STDOUT, line + b"\n")


def _call(function: str, *arguments: int) -> None:
    """Call a function of the C library that returns 0, or raise its OSError."""
    if getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def _join(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        _call("setns", descriptor, 0)
        os.close(descriptor)


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        _hold()
    else:
        _join([int(word) for word in sys.argv[2].split(",")])
        become_tied(int(sys.argv[3]), sys.argv[4:])
