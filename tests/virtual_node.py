"""One node of the tests' SLURM: starts its slurmd, and when it ends, all that ran on the node ends with it.

Run as `virtual_node.py NAME [FOLDER INTERFACE ADDRESS]`. With the last three it expects network, host name, mount and
process namespaces of its own and makes itself at home in them; without them the node shares the host's.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from types import FrameType

import psutil

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def settle(name: str, folder: str, interface: str, address: str) -> None:
    """Take host name, hosts file and, once the test has plugged it in, the network address."""
    socket.sethostname(name)
    for file in ("hosts", "nsswitch.conf"):
        if os.path.exists(f"/etc/{file}"):
            subprocess.run(["mount", "--bind", f"{folder}/etc/{file}", f"/etc/{file}"], check=True)
    while interface not in (known for _, known in socket.if_nameindex()):
        time.sleep(0.01)
    for words in (
        ["link", "set", "lo", "up"],
        ["addr", "add", f"{address}/24", "dev", interface],
        ["link", "set", interface, "up"],
        ["route", "add", "default", "via", address.rpartition(".")[0] + ".1"],
    ):
        subprocess.run(["ip", *words], check=True)


def power_off(number: int, frame: FrameType | None) -> None:
    """Kill whatever runs on the node; daemons and jobs have no say in it."""
    while children := psutil.Process().children(recursive=True):
        for child in children:
            child.kill()
        reap()
    os._exit(0)


def reap() -> None:
    """Collect the processes that ended, as a machine's first process has to."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def main(name: str, *home: str) -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, power_off)
    if home:
        settle(name, *home)
    subprocess.Popen(["slurmd", "-D", "-N", name])
    while True:
        reap()
        time.sleep(0.2)


if __name__ == "__main__":
    main(*sys.argv[1:])
