"""What each rank of `test_ranks_agree.py` does: trains in several ways and keeps what every epoch came to."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import learning
import numpy as np

from mwr_hpc.errors import StageError
from mwr_hpc.events import EpochFinished, Event
from mwr_hpc.missing_wedge.loss import error_loss
from mwr_hpc.missing_wedge.network import build_network, initialise
from mwr_hpc.training.communicator import Communicator, HorovodCommunicator
from mwr_hpc.training.engine import Batch, Engine
from mwr_hpc.training.framework import configure
from mwr_hpc.training.placement import Placement
from mwr_hpc.training.rates import WarmUp
from mwr_hpc.training.sampler import Sampler, part_of_rank

EPOCHS, STEPS, BATCH = 4, 5, 4
BAD = ("c", 3, 0)


class PaddedCubes(learning.RandomCubes):
    """Cubes padded by as much as their number tells: one in four is all padding and weighs nothing."""

    def training_batch(self, samples: Any, step: int) -> Batch:
        batch = super().training_batch(samples, step)
        for number, (_, crop, _) in enumerate(samples):
            batch.weight[number, : 2 * (crop + 1)] = 0
        return batch


class OneBadCube(learning.RandomCubes):
    """One sample, and so one rank's part of a batch, is not a number."""

    def training_batch(self, samples: Any, step: int) -> Batch:
        batch = super().training_batch(samples, step)
        batch.x[[sample == BAD for sample in samples]] = np.nan
        return batch


class WithoutAveraging:
    """Ranks that train each for itself: what Keras 3 with Horovod's own optimiser comes to."""

    def __init__(self, ranks: HorovodCommunicator) -> None:
        self.rank, self.size = ranks.rank, ranks.size
        self.broadcast, self.barrier = ranks.broadcast, ranks.barrier

    def allreduce(self, flat: Any) -> Any:
        return flat


def make_engine(loss: str, communicator: Communicator) -> Engine:
    network = build_network(replace(learning.SMALL, dropout=0.3), "float32")
    initialise(network, seed=1)
    # The zeros that the last layer starts with would let no gradient through to the other layers.
    last = network.get_layer("last").kernel
    last.assign(np.linspace(-1, 1, num=np.prod(last.shape), dtype=np.float32).reshape(last.shape))
    return Engine(network, error_loss(loss), WarmUp(1e-2), communicator)


def trained(engine: Engine, folder: Path) -> dict[str, np.ndarray]:
    """Train 20 steps; return the averaged gradient of the first batch, and the weights before and after each epoch."""
    ranks = engine.communicator
    first = part_of_rank(Sampler(learning.SAMPLES, 5, 1, BATCH, STEPS).epoch(1)[:BATCH], ranks.rank, ranks.size)
    flat = ranks.allreduce(engine.gradients(PaddedCubes().training_batch(first, 0))).numpy()
    weights = [_weights(engine)]

    def keep(event: Event) -> None:
        if isinstance(event, EpochFinished):
            weights.append(_weights(engine))

    learning.train(engine, folder, source=PaddedCubes(), epochs=EPOCHS, steps=STEPS, emit=keep)
    return {"gradient": flat[:-3] / flat[-2], "weights": np.stack(weights)}


def _weights(engine: Engine) -> np.ndarray:
    return np.concatenate([values.ravel() for values in engine.state()[0]])


def main(placement: Placement, folder: Path) -> None:
    configure()
    ranks = HorovodCommunicator(placement)
    l1, l2 = make_engine("l1", ranks), make_engine("l2", ranks)
    start = l2.state()
    results: dict[str, Any] = {}

    def train(way: str, engine: Engine) -> None:
        results.update({f"{way} {name}": values for name, values in trained(engine, folder / way).items()})

    train("l1", l1)
    train("l2", l2)
    l2.restore(*start)
    l2.communicator = WithoutAveraging(ranks)
    train("apart", l2)
    l2.communicator = ranks
    try:
        learning.train(l2, folder / "bad", source=OneBadCube())
    except StageError as error:
        results["error"] = str(error)
    np.savez(folder / f"rank{ranks.rank}.npz", **results)
