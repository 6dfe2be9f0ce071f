"""What this machine offers to training: versions, processors, GPUs, Horovod, SLURM, and room for a run."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from mwr_hpc import __version__
from mwr_hpc.cluster.pool import available_cores
from mwr_hpc.errors import ConfigError
from mwr_hpc.installation import HOROVOD_RECIPE
from mwr_hpc.training.communicator import describe_horovod
from mwr_hpc.training.hardware import available_threads, resolve_precision

PACKAGES = ("numpy", "scipy", "zarr", "dask", "h5py", "keras")
TENSORFLOW = ("tensorflow", "tensorflow-cpu")
SLURM_COMMANDS = ("sbatch", "squeue", "scontrol", "scancel", "srun")
PROCESSOR_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Environment:
    """What was found.

    Attributes
    ----------
    versions
        By package; None for what is not installed.
    precision
        What --precision auto means here.
    horovod
        What it was built for, or why several ranks cannot train.
    slurm
        Paths of SLURM's commands; None for those that are missing.
    free_bytes, free_files
        Where the run would be; `free_files` is None where the file system has no limit.
    """

    versions: dict[str, str | None]
    processor: str
    processor_features: tuple[str, ...]
    cores: int
    threads: int
    memory_bytes: int
    gpus: tuple[str, ...]
    precision: str
    horovod: str
    slurm: dict[str, str | None]
    free_bytes: int
    free_files: int | None

    def to_record(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def look_around(run_dir: Path) -> Environment:
    """Look at this machine, and at the file system of `run_dir`, which need not exist."""
    lines = _read_lines(Path("/proc/cpuinfo"))
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    folder = next(path for path in (run_dir, *run_dir.parents) if path.is_dir())
    system = os.statvfs(folder)
    return Environment(
        versions={
            "mwr_hpc": __version__,
            "python": platform.python_version(),
            "tensorflow": next(filter(None, map(_version, TENSORFLOW)), None),
            **{name: _version(name) for name in PACKAGES},
        },
        processor=next(models, platform.machine()),
        processor_features=tuple(name for name in PROCESSOR_FEATURES if name in flags),
        cores=available_cores(),
        threads=available_threads(),
        memory_bytes=psutil.virtual_memory().available,
        gpus=tuple(visible_gpus()),
        precision=resolve_precision("auto"),
        horovod=_horovod(),
        slurm={name: shutil.which(name) for name in SLURM_COMMANDS},
        free_bytes=system.f_bavail * system.f_frsize,
        free_files=system.f_favail if system.f_files else None,
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def visible_gpus() -> list[str]:
    """Models of the NVIDIA GPUs that the driver knows; TensorFlow need not be loaded for that."""
    models = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        named = (line.partition(":")[2].strip() for line in _read_lines(path) if line.startswith("Model"))
        models.append(next(named, "NVIDIA GPU"))
    return models


def _horovod() -> str:
    if importlib.util.find_spec("tensorflow") is None:
        return "needs TensorFlow, which is not installed"
    try:
        return describe_horovod()
    except ConfigError:
        return f"not installed: one process trains; {HOROVOD_RECIPE}"
    except ImportError as error:
        return f"broken ({error}): one process trains; {HOROVOD_RECIPE}"


def _read_lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
