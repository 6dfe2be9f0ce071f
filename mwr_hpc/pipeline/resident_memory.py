"""The largest resident size of this process since a moment.

`getrusage` tells that of a process with all it was before: a worker's begins with what its parent had when it was
started, and a second unit's with the first one's. Linux keeps another figure, which can be begun anew
(proc_pid_clear_refs(5)).
"""

import resource
from contextlib import suppress
from pathlib import Path

_PROCESS = Path("/proc/self")


def forget_peak() -> None:
    """Begin anew, where the system can."""
    with suppress(OSError):
        (_PROCESS / "clear_refs").write_text("5")


def peak_memory() -> int:
    """Largest resident size in bytes since `forget_peak`; where the system cannot tell, since the process began."""
    with suppress(OSError):
        for line in (_PROCESS / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
