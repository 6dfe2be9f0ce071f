"""Becomes a command that the kernel kills when the process that started it is gone, even by SIGKILL.

Run as `python -m mwr_hpc.cluster.tied_process PARENT_PID COMMAND...`. The tie is made here, between fork and the
command, because the parent has threads, and Python code run by a forked copy of such a process can deadlock.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""From <sys/prctl.h>; what it sets outlives an exec."""


def tie(parent: int) -> None:
    """Tie this process to `parent`, or end it where `parent` has gone already.

    Raises
    ------
    OSError
        The kernel refuses.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it went before the tie was made
        sys.exit(1)


def become_tied(parent: int, command: list[str]) -> None:
    """Tie this process to `parent` and replace it by `command`; does not return.

    Raises
    ------
    OSError
        The command cannot be run.
    """
    tie(parent)
    os.execvp(command[0], command)


if __name__ == "__main__":
    become_tied(int(sys.argv[1]), sys.argv[2:])
