"""A small problem that the engine's tests train on: blurred random cubes, made from their ids alone."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mwr_hpc.events import Emit, ShouldStop, ignore, never
from mwr_hpc.missing_wedge.loss import error_loss
from mwr_hpc.missing_wedge.network import Architecture, build_network, initialise
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.training.checkpoint import CheckpointFolder
from mwr_hpc.training.communicator import Communicator, SerialCommunicator
from mwr_hpc.training.engine import Batch, Engine
from mwr_hpc.training.framework import configure
from mwr_hpc.training.loop import run_training
from mwr_hpc.training.rates import WarmUp
from mwr_hpc.training.sampler import SampleId, Sampler
from mwr_hpc.training.schedule import Schedule

EDGE = 8
SMALL = Architecture(filter_base=2, depth=1, convs_per_depth=1, kernel=3)
SAMPLES = [(tomogram, crop, 0) for tomogram in ("a", "b", "c") for crop in range(4)]


class RandomCubes:
    """Cubes whose target is a part of their input."""

    def training_batch(self, samples: Sequence[SampleId], step: int) -> Batch:
        batch = self.validation_batch(samples)
        for number, sample in enumerate(samples):
            batch.keys[number] = keyed_generator(0, "dropout", tomogram=str(sample), index=step).integers(0, 2**31, 2)
        return batch

    def validation_batch(self, samples: Sequence[SampleId]) -> Batch:
        shape = (EDGE, EDGE, EDGE, 1)
        x = np.stack([keyed_generator(0, "cube", tomogram=str(s)).normal(size=shape) for s in samples])
        x = x.astype(np.float32)
        return Batch(x, 0.5 * x, np.ones_like(x), np.zeros((len(samples), 2), np.int32))


@lru_cache
def _built(architecture: Architecture, precision: Any, number: int) -> tuple[Engine, Any]:
    configure()
    network = build_network(architecture, precision)
    initialise(network, seed=1)
    engine = Engine(network, error_loss("l2"), WarmUp(1e-2), SerialCommunicator())
    return engine, engine.state()


def make_engine(
    architecture: Architecture = SMALL, precision: Any = "float32", communicator: Communicator | None = None
) -> Engine:
    """An engine with freshly drawn weights: the one made before, reset, because tracing its graphs takes seconds."""
    engine, (weights, optimiser) = _built(architecture, precision, communicator.rank if communicator else 0)
    engine.communicator = SerialCommunicator()
    engine.restore(weights, optimiser)
    engine.communicator = communicator or engine.communicator
    return engine


def train(
    engine: Engine,
    folder: Path,
    *,
    source: Any = None,
    epochs: int = 2,
    steps: int = 3,
    validation: Sequence[SampleId] = (),
    emit: Emit = ignore,
    should_stop: ShouldStop = never,
) -> list[Any]:
    """Train in steps of four samples, with the state in `folder`."""
    schedule = Schedule(Sampler(SAMPLES, 5, 1, 4, steps), epochs, validation)
    return run_training(
        engine,
        schedule,
        source or RandomCubes(),
        CheckpointFolder(folder / "checkpoint"),
        "hash",
        curves_path=folder / "curves.jsonl",
        emit=emit,
        should_stop=should_stop,
    )
