"""What all tests share: features that a machine may lack, the shared real data, bounded threads, hypothesis profiles.

A test marked `needs("horovod")` skips where the feature is absent and says what to do; a feature named in
MWR_HPC_REQUIRE (comma separated: horovod, slurm, network_namespaces, pid_namespaces, shared_data) fails there instead.
"""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# Before TensorFlow is imported: these numbers, not the machine's, decide how many threads a test takes.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "2")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# A user's own settings must not reach the tests.
for _name in [name for name in os.environ if name.startswith("MWR_HPC_")]:
    if _name not in ("MWR_HPC_REQUIRE", "MWR_HPC_SHARED", "MWR_HPC_CACHE"):
        del os.environ[_name]

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=50)
settings.register_profile("developer", deadline=None, max_examples=50)
# What a change must pass is the same every time it is asked for; new examples are tried where people work.
settings.load_profile("ci" if os.environ.get("CI") or os.environ.get("MWR_HPC_REQUIRE") else "developer")

SHARED = Path(os.environ.get("MWR_HPC_SHARED") or Path(__file__).parents[2] / "shared")


def _no_horovod() -> str | None:
    return None if importlib.util.find_spec("horovod") else "Horovod is not installed: run `make horovod`"


def _no_slurm() -> str | None:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [name for name in ("munged", "slurmctld", "slurmd", "srun") if not shutil.which(name, path=path)]
    if missing:
        return f"{', '.join(missing)} not found: run `make system-packages` as root on Debian"
    return None if os.geteuid() == 0 else "a SLURM of our own needs root"


def _no_network_namespaces() -> str | None:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    ip = shutil.which("ip", path=path)
    if ip is None:
        return "`ip` not found: run `make system-packages` as root on Debian"
    name = f"mwr-probe-{os.getpid()}"
    made = subprocess.run([ip, "netns", "add", name], capture_output=True, text=True)
    if made.returncode:
        return f"network namespaces cannot be made here: {made.stderr.strip()}"
    subprocess.run([ip, "netns", "delete", name], check=True)
    return None


def _no_pid_namespaces() -> str | None:
    made = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True, text=True)
    return f"PID namespaces cannot be made here: {made.stderr.strip()}" if made.returncode else None


def _no_shared_data() -> str | None:
    if (SHARED / "data").is_dir():
        return None
    return f"no folder {SHARED / 'data'}: MWR_HPC_SHARED says where the real data are"


WHY_ABSENT: dict[str, Callable[[], str | None]] = {
    "horovod": _no_horovod,
    "slurm": _no_slurm,
    "network_namespaces": _no_network_namespaces,
    "pid_namespaces": _no_pid_namespaces,
    "shared_data": _no_shared_data,
}


def absent(feature: str, reason: str) -> None:
    """Skip the running test, or fail it where MWR_HPC_REQUIRE names the feature."""
    if feature in os.environ.get("MWR_HPC_REQUIRE", "").split(","):
        pytest.fail(f"MWR_HPC_REQUIRE names {feature}, but: {reason}", pytrace=False)
    pytest.skip(reason)


def pytest_configure() -> None:
    required = set(filter(None, os.environ.get("MWR_HPC_REQUIRE", "").split(",")))
    if unknown := required - set(WHY_ABSENT):
        raise pytest.UsageError(f"MWR_HPC_REQUIRE: no feature {sorted(unknown)}, there are {sorted(WHY_ABSENT)}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for feature in marker.args:
            if reason := WHY_ABSENT[feature]():
                absent(feature, reason)


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """A function from a path below the shared data, such as "phantoms/sym/tomo.mrc", to the file."""

    def find(relative: str) -> Path:
        if reason := _no_shared_data():
            absent("shared_data", reason)
        path = SHARED / "data" / relative
        if not path.exists():
            absent("shared_data", f"{path} is absent")
        return path

    return find
