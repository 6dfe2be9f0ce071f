"""Which samples make up which step: a pure function of (seed, iteration, epoch, step), whatever the number of ranks."""

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mwr_hpc.errors import ConfigError
from mwr_hpc.numerics.keyed_random import keyed_generator

SampleId = tuple[Any, ...]
"""The first element is the id of the tomogram (or micrograph) that the sample comes from."""


def automatic_steps(pairs: int, batch_size: int, epochs: int, max_samples: int) -> int:
    """Steps per epoch where nobody asked for a number: one pass over the pairs, within an iteration's `max_samples`.

    An epoch is MWR's: it traverses the data set. With many tomograms ten such passes an iteration would be days of
    training on a network that has seen enough, so all epochs of an iteration together use at most `max_samples`
    (and at least one step each); which ones is drawn afresh for every epoch, evenly from all tomograms.
    """
    return max(1, min(math.ceil(pairs / batch_size), max_samples // (epochs * batch_size)))


@dataclass(frozen=True)
class Sampler:
    """Orders the samples of one iteration.

    Parameters
    ----------
    samples
        All training samples, in the same order on every rank and after every restart.
    seed, iteration
        Key of the order.
    batch_size
        Samples of a step, of all ranks together.
    steps
        Steps of an epoch.
    """

    samples: Sequence[SampleId]
    seed: int
    iteration: int
    batch_size: int
    steps: int

    def epoch(self, epoch: int) -> list[SampleId]:
        """Return the epoch's samples in order: step s takes those from s * batch_size on.

        A pass over the samples is a permutation; a new one begins when it is used up. An epoch shorter than a pass
        takes its share of every tomogram.
        """
        wanted = self.steps * self.batch_size
        if wanted < len(self.samples):
            chosen = self._stratified(epoch)[:wanted]
        else:
            passes = math.ceil(wanted / len(self.samples))
            generator = keyed_generator(self.seed, "order of samples", self.iteration, index=epoch)
            chosen = np.concatenate([generator.permutation(len(self.samples)) for _ in range(passes)])[:wanted]
        return [self.samples[index] for index in chosen]

    def _stratified(self, epoch: int) -> Any:
        """Round after round one sample of every tomogram, rounds and tomograms in keyed order."""
        members: dict[Hashable, list[int]] = defaultdict(list)
        for index, sample in enumerate(self.samples):
            members[sample[0]].append(index)
        rounds = np.empty(len(self.samples), np.int64)
        for tomogram, indices in members.items():
            generator = keyed_generator(self.seed, "order of samples", self.iteration, str(tomogram), epoch)
            rounds[indices] = generator.permutation(len(indices))
        shuffled = keyed_generator(self.seed, "order of tomograms", self.iteration, index=epoch).random(len(rounds))
        return np.lexsort((shuffled, rounds))


def part_of_rank(batch: Sequence[SampleId], rank: int, size: int) -> Sequence[SampleId]:
    """Return the rank's part of a global batch: equal for all ranks."""
    share = len(batch) // size
    return batch[rank * share : (rank + 1) * share]


def check_batch_size(batch_size: int, ranks: int, group: int = 1) -> None:
    """Raise ConfigError, naming the nearest sizes that fit, unless the ranks share the global batch in whole groups."""
    unit = ranks * group
    if batch_size % unit:
        below = batch_size // unit * unit
        nearest = f"{below} or {below + unit}" if below else f"{unit}"
        whole = f" in groups of {group}, which are normalised together" if group > 1 else ""
        raise ConfigError(
            f"--batch_size {batch_size} is the batch of all ranks together and cannot be divided among {ranks} of "
            f"them{whole}: use {nearest}"
        )
