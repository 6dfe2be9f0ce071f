"""How fast a training will go: measured on this machine, or assumed of the nodes of a job."""

from dataclasses import dataclass
from typing import Any

from mwr_hpc.cluster.apart import run_apart
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.config.site import TrainingResources
from mwr_hpc.config.sizes import SIZES
from mwr_hpc.pipeline.network_cost import FORWARD_AND_BACKWARD, forward_gflop
from mwr_hpc.training.hardware import resolve_hardware

CORE_GFLOPS, GPU_GFLOPS = 40.0, 4000.0
"""Assumed of a core and of a GPU of a training job: what a core without bfloat16 units reaches in float32, and a tenth
of what GPUs for computing are sold with. A faster node only ends sooner."""


@dataclass(frozen=True)
class Speed:
    """How fast one rank works through the network's convolutions.

    Attributes
    ----------
    gflops
        10^9 operations a second, of a whole training step.
    origin
        How that is known, in words.
    """

    gflops: float
    origin: str


def measured_speed(settings: TrainSettings, ranks: int) -> Speed:
    """Take a few steps with the smallest size on this machine, which so many ranks will share."""
    options = settings.model_dump() | SIZES["quick"]
    hardware = resolve_hardware(settings.precision, settings.deterministic, settings.kernel)
    seconds = run_apart(_seconds_per_step, options, hardware["precision"], hardware["deterministic"], settings.gpuID)
    gflops = FORWARD_AND_BACKWARD * forward_gflop(options, options["cube_size"]) / seconds
    shared = f", shared by {ranks} ranks" if ranks > 1 else ""
    return Speed(gflops / ranks, f"measured on this machine{shared}")


def _seconds_per_step(*arguments: Any) -> float:
    """Import TensorFlow only where it is called."""
    from mwr_hpc.missing_wedge.speed import seconds_per_step

    return seconds_per_step(*arguments)


def assumed_speed(resources: TrainingResources) -> Speed:
    """What a rank of a training job is taken to reach, by the cores or GPUs that the job asks for."""
    if resources.gpu_count:
        share = resources.gpu_count / resources.ranks
        return Speed(GPU_GFLOPS * share, f"assumed of {share:g} GPU a rank: another node cannot be measured from here")
    cores = resources.cores // resources.ranks
    return Speed(CORE_GFLOPS * cores, f"assumed of {cores} cores a rank: another node cannot be measured from here")
