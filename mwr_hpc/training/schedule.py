"""What a training is made of: an order of samples, where their batches come from, and what is told after each epoch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mwr_hpc.training.engine import Batch, Engine
from mwr_hpc.training.framework import tf
from mwr_hpc.training.prefetch import prefetched
from mwr_hpc.training.sampler import SampleId


class Order(Protocol):
    """Which samples make up which step: see `Sampler`."""

    @property
    def iteration(self) -> int:
        """Tells the trainings of a run apart."""

    @property
    def batch_size(self) -> int:
        """Samples of a step, of all ranks together."""

    @property
    def steps(self) -> int:
        """Steps of an epoch."""

    def epoch(self, epoch: int) -> Sequence[SampleId]:
        """Samples of an epoch (from 1) in order: step s takes those from s * batch_size on."""


class SampleSource(Protocol):
    """Where batches come from."""

    def training_batch(self, samples: Sequence[SampleId], step: int) -> Batch:
        """Make the batch of these samples for a step; a pure function, called from several threads."""

    def validation_batch(self, samples: Sequence[SampleId]) -> Batch:
        """Make a batch without anything random."""


@dataclass(frozen=True)
class Schedule:
    """What is trained on, and for how long.

    Attributes
    ----------
    sampler
        Orders the training samples; knows iteration, batch size and steps per epoch.
    epochs
        How many.
    validation
        Samples of which the loss is told after every epoch; may be empty.
    judge
        What else is told of the model, by name, after every epoch and before the first. All ranks call it together
        and get the same figures.
    smaller, slower
        Options that make the network need less memory and learn with less haste, for messages.
    """

    sampler: Order
    epochs: int
    validation: Sequence[SampleId] = ()
    judge: Callable[[], dict[str, float]] | None = None
    smaller: str = "--cube_size or --filter_base"
    slower: str = "--learning_rate"

    @property
    def steps(self) -> int:
        """Steps of all epochs."""
        return self.epochs * self.sampler.steps


def mean_loss(engine: Engine, source: SampleSource, samples: Sequence[SampleId], batch_size: int) -> float | None:
    """Mean loss of samples without anything random, each rank working its share; None where there are none.

    Parameters
    ----------
    engine, source
        The model and where its batches come from.
    samples
        The same on all ranks.
    batch_size
        Samples that a rank takes at once.
    """
    if not samples:
        return None
    mine = samples[engine.communicator.rank :: engine.communicator.size]
    total = tf.zeros(2)
    for batch in prefetched(
        lambda start: source.validation_batch(mine[start : start + batch_size]), range(0, len(mine), batch_size)
    ):
        total = total + engine.validation_sums(batch)
    loss_sum, weight_sum = engine.communicator.allreduce(total).numpy()
    return float(loss_sum / weight_sum) if weight_sum else None
