"""What this machine is good at: threads that we may use, and the arithmetic that it does faster.

Needs no TensorFlow unless there is a GPU to ask about.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from mwr_hpc.errors import ConfigError

BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16")
"""Processor flags with which bfloat16 convolutions run 1.7 to 2 times as fast as float32 (benchmarks/training_step.py);
without them they are emulated and slower."""

BFLOAT16_KERNEL = 3
"""Widest kernel of which oneDNN's gradient in bfloat16 is sound on processors; wider ones, where a level is 4 voxels
wide, give values beyond all bounds now and then (TensorFlow 2.18)."""

BFLOAT16_GPU = (8, 0)
"""First compute capability of NVIDIA GPUs with bfloat16 units."""


def available_threads() -> int:
    """Threads for this process: what its launcher said (as TensorFlow reads it), else SLURM's share or the affinity."""
    if told := os.environ.get("TF_NUM_INTRAOP_THREADS"):
        return int(told)
    cores = len(os.sched_getaffinity(0))
    return min(cores, int(os.environ.get("SLURM_CPUS_PER_TASK", cores)))


def resolve_precision(
    precision: Literal["auto", "float32", "bfloat16"], kernel: int = 3, cpuinfo: Path = Path("/proc/cpuinfo")
) -> Literal["float32", "bfloat16"]:
    """Decide what `auto` means on this machine: bfloat16 where the hardware multiplies it, else float32.

    Parameters
    ----------
    precision
        Returned as it is unless "auto".
    kernel
        Edge of the kernels that are trained.
    cpuinfo
        Where Linux tells the processor's flags.
    """
    if precision != "auto":
        return precision
    if gpus := _gpu_capabilities():
        return "bfloat16" if min(gpus) >= BFLOAT16_GPU else "float32"
    if kernel > BFLOAT16_KERNEL:
        return "float32"
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return "bfloat16" if any(flag in flags for flag in BFLOAT16_FLAGS) else "float32"


def check_kernel(precision: Literal["auto", "float32", "bfloat16"], kernel: int) -> None:
    """See that kernels of this edge can be trained on this machine in the precision that was asked for.

    Raises
    ------
    ConfigError
        They cannot.
    """
    if precision == "bfloat16" and kernel > BFLOAT16_KERNEL and not is_gpu_visible():
        raise ConfigError(
            f"--precision bfloat16 with --kernel {kernel}: on processors the gradients of kernels wider than "
            f"{BFLOAT16_KERNEL} are unsound in bfloat16; use --precision float32 or --kernel {BFLOAT16_KERNEL}, "
            "in another --run_dir where this one was begun so"
        )


def resolve_hardware(
    precision: Literal["auto", "float32", "bfloat16"], deterministic: bool | None, kernel: int = 3
) -> dict[str, Any]:
    """Replace what is left to the hardware by what it means here, to be frozen in the run's configuration.

    Returns
    -------
    dict
        `precision`, and `deterministic`: true on CPU, where it costs nothing, false on GPUs.
    """
    decided = not _gpu_capabilities() if deterministic is None else deterministic
    return {"precision": resolve_precision(precision, kernel), "deterministic": decided}


def is_gpu_visible() -> bool:
    """Whether this process would work on a GPU."""
    return bool(_gpu_capabilities())


def check_devices(chosen: Sequence[int]) -> None:
    """See that GPUs of these indices are visible to this process.

    Raises
    ------
    ConfigError
        One is not, or there is none at all.
    """
    count = len(_gpu_capabilities())
    missing = [index for index in chosen if not 0 <= index < count]
    if missing:
        visible = f"{count} are, from 0 to {count - 1}" if count else "none is (no NVIDIA driver, or none shown)"
        raise ConfigError(
            f"--gpuID {','.join(map(str, chosen))}: GPU {missing[0]} is not visible to this process, {visible}; "
            f"{'name those' if count else 'leave the option out to work on the processor'}"
        )


def devices_of_rank(chosen: Sequence[int] | None, local_rank: int) -> list[int] | None:
    """Give each rank of a host one GPU: of those `chosen`, else of those visible; None where there is none.

    Where SLURM bound each rank to a GPU of its own, that one is all the rank sees.
    """
    available = list(chosen) if chosen else list(range(len(_gpu_capabilities())))
    return [available[local_rank % len(available)]] if available else None


def _gpu_capabilities() -> list[tuple[int, int]]:
    """Compute capabilities of the visible GPUs; TensorFlow is asked only where there is an NVIDIA driver."""
    if not Path("/proc/driver/nvidia").exists() or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return []
    from mwr_hpc.training.framework import tf

    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return [detail.get("compute_capability", (0, 0)) for detail in details]
