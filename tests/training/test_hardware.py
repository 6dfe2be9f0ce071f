"""What `auto` becomes, and how many threads there are."""

import os

import pytest

from mwr_hpc.errors import ConfigError
from mwr_hpc.training import hardware
from mwr_hpc.training.hardware import available_threads, check_devices, check_kernel, resolve_precision


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("sse2 avx512f avx512_bf16", "bfloat16"), ("amx_tile amx_bf16", "bfloat16"), ("avx2 avx512f", "float32")],
)
def test_automatic_precision_is_what_the_processor_multiplies(tmp_path, flags, expected):
    (tmp_path / "cpuinfo").write_text(f"model name\t: x\nflags\t\t: {flags}\n")
    assert resolve_precision("auto", cpuinfo=tmp_path / "cpuinfo") == expected
    assert resolve_precision("auto", 5, tmp_path / "cpuinfo") == "float32"


def test_a_precision_that_was_asked_for_is_kept(tmp_path):
    assert resolve_precision("float32", cpuinfo=tmp_path / "absent") == "float32"
    assert resolve_precision("auto", cpuinfo=tmp_path / "absent") == "float32"


@pytest.mark.parametrize(
    ("gpus", "says"), [(0, "none is .*leave the option out"), (1, "1 are, from 0 to 0.*name those")]
)
def test_gpus_that_are_not_there_are_refused(monkeypatch, gpus, says):
    monkeypatch.setattr(hardware, "_gpu_capabilities", lambda: [(8, 0)] * gpus)
    with pytest.raises(ConfigError, match=rf"--gpuID 0,1: GPU {gpus} is not visible.*{says}"):
        check_devices((0, 1))
    check_devices(range(gpus))


def test_wide_kernels_are_not_trained_in_bfloat16_on_processors(monkeypatch):
    """There oneDNN's gradients are unsound; see `BFLOAT16_KERNEL`."""
    monkeypatch.setattr(hardware, "_gpu_capabilities", list)
    with pytest.raises(ConfigError, match=r"--precision bfloat16 with --kernel 5.*use --precision float32"):
        check_kernel("bfloat16", 5)
    check_kernel("bfloat16", 3)
    check_kernel("float32", 7)
    monkeypatch.setattr(hardware, "_gpu_capabilities", lambda: [(8, 0)])
    check_kernel("bfloat16", 5)
    assert resolve_precision("auto", 5) == "bfloat16"


def test_threads_come_from_the_launcher_slurm_or_the_affinity(monkeypatch):
    cores = len(os.sched_getaffinity(0))
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    assert available_threads() == cores
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert available_threads() == 1
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", str(cores + 5))
    assert available_threads() == cores
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    assert available_threads() == 3
