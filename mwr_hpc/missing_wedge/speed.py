"""How long a training step takes on this machine, found by taking a few."""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from mwr_hpc.missing_wedge.loss import error_loss
from mwr_hpc.missing_wedge.network import build_network, initialise
from mwr_hpc.missing_wedge.train import architecture_of
from mwr_hpc.training.communicator import SerialCommunicator
from mwr_hpc.training.engine import Batch, Engine
from mwr_hpc.training.framework import configure
from mwr_hpc.training.rates import WarmUp

STEPS, STEPS_BEFORE = 5, 2
"""Steps that are timed, and steps before them, in which the network is traced and memory is found."""


def seconds_per_step(
    options: Mapping[str, Any],
    precision: Literal["float32", "bfloat16"],
    deterministic: bool,
    devices: Sequence[int] | None,
) -> float:
    """Train a network on a constant, one pair a step, and return the median of the times.

    Nothing of it is left: the network that is trained afterwards gets weights of its own.

    Parameters
    ----------
    options
        `cube_size` and those that make the network, as `train` calls them.
    precision, deterministic, devices
        As the training will have them.
    """
    configure(devices, deterministic)
    engine = Engine(
        build_network(architecture_of(options), precision), error_loss("l2"), WarmUp(1e-4), SerialCommunicator()
    )
    initialise(engine.model, 0)
    size = options["cube_size"]
    cube = np.ones((1, size, size, size, 1), np.float32)
    region = np.ones((1, size, size, size // 2 + 1), bool)
    batch = Batch(cube, cube, cube, np.zeros((1, 2), np.int32), region)
    seconds = []
    for _ in range(STEPS_BEFORE + STEPS):
        started = time.perf_counter()
        engine.apply(engine.gradients(batch))
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[STEPS_BEFORE:])
