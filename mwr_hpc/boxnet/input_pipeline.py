"""Batches for the picking network: patches of the new micrographs and of a corpus of old ones, in turns."""

import itertools
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.boxnet.augment import Patch, Target, cut_augmented, cut_patch, random_centre
from mwr_hpc.boxnet.corpus import Examples
from mwr_hpc.boxnet.labels import BACKGROUND, BELIEVED, CLASSES, UNMASKED
from mwr_hpc.boxnet.loss import border_weights
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.training.engine import Batch
from mwr_hpc.training.sampler import SampleId, Sampler

PATCHES = 20
"""Patches of every new micrograph in an epoch."""

NEW, OLD = "new", "old"
"""The kinds of micrographs; second in a sample's id, after the micrograph and before the number of the patch."""

CACHED = 48
"""Micrographs kept in memory: the new ones, mostly. Those of a large corpus are read when it is their turn."""

COUNTED = 200
"""Micrographs of each kind in which classes are counted, at most."""


Relabel = Callable[[NDArray[np.uint8], NDArray[np.float32], bool], tuple[NDArray[np.uint8], NDArray[np.float32]]]
"""From labels and weights, and whether contamination is labelled among them, to what is trained."""


@dataclass(frozen=True)
class Mix:
    """So many batches of new micrographs, then so many of old ones, spread evenly."""

    new: int
    old: int

    def kinds(self, new_steps: int) -> list[str]:
        """The kind of every step of an epoch with `new_steps` batches of new micrographs."""
        if not self.old:
            return [NEW] * new_steps
        steps = math.ceil(new_steps * (self.new + self.old) / self.new)
        old_by = [step * self.old // (self.new + self.old) for step in range(steps + 1)]
        return [OLD if later > earlier else NEW for earlier, later in itertools.pairwise(old_by)]


@dataclass(frozen=True)
class MixedOrder:
    """Which patches make up which step: PATCHES of every new micrograph an epoch, and as many old ones as `mix` says.

    Parameters
    ----------
    new, old
        Names of micrographs; none are old where the mix has no old ones.
    mix, batch_size, seed
        See `Mix` and `Sampler`.
    """

    new: Sequence[str]
    old: Sequence[str]
    mix: Mix
    batch_size: int
    seed: int
    iteration: int = 1

    @cached_property
    def kinds(self) -> list[str]:
        """The kind of each step of an epoch."""
        return self.mix.kinds(math.ceil(PATCHES * len(self.new) / self.batch_size))

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return len(self.kinds)

    def epoch(self, epoch: int) -> list[SampleId]:
        """The samples of an epoch in order, those of a step of one kind."""
        orders = {kind: iter(self._sampler(kind).epoch(epoch)) for kind in sorted(set(self.kinds))}
        return [next(orders[kind]) for kind in self.kinds for _ in range(self.batch_size)]

    def _sampler(self, kind: str) -> Sampler:
        names = self.new if kind == NEW else self.old
        samples = [(name, kind, number) for name in names for number in range(PATCHES)]
        # the kind is part of the key, or new and old patches would be drawn alike
        return Sampler(samples, self.seed, 1 + (kind == OLD), self.batch_size, self.kinds.count(kind))


def chosen_samples(names: Sequence[str], kind: str, count: int, seed: int) -> list[SampleId]:
    """About `count` patches that judge a model, spread over keyed micrographs; the same for every epoch."""
    order = keyed_generator(seed, f"judging {kind}").permutation(len(names))[:count]
    each = math.ceil(count / max(1, len(order)))
    return [(names[index], kind, number) for index in sorted(order) for number in range(each)]


def class_shares(sets: Mapping[str, tuple[Examples, Relabel]], shares: Mapping[str, float]) -> NDArray[np.float64]:
    """Shares of background, particle and contamination among the pixels that count in the training micrographs.

    Parameters
    ----------
    sets
        By kind, the examples and how they are relabelled.
    shares
        How often each kind is trained on.

    Returns
    -------
    ndarray
        Shape (3,); UNMASKED pixels are background here. Zeros where no pixel counts.
    """
    total = np.zeros(len(CLASSES))
    for kind, (examples, relabel) in sets.items():
        names = examples.training
        chosen = keyed_generator(0, "counting").permutation(len(names))[:COUNTED]
        counts = np.zeros(len(CLASSES))
        for name in (names[index] for index in sorted(chosen)):
            example = examples.read(name)
            labels, weights = relabel(example.labels, example.weights, example.masked)
            found = np.bincount(labels[weights > 0], minlength=UNMASKED + 1)
            found[BACKGROUND] += found[UNMASKED]
            counts += found[: len(CLASSES)]
        total += shares[kind] * counts / max(1.0, counts.sum())
    return total


@dataclass(frozen=True)
class PatchSource:
    """Makes the engine's batches; everything random in a patch is keyed by the sample and the step.

    Attributes
    ----------
    sets
        By kind, the examples and how they are relabelled.
    edge
        Of the patches, in pixels.
    seed
        Key of everything random.
    background_weight
        Class weight of background.
    believed
        From an image to the share of contamination, among it and background, that the parent sees in each pixel; None
        where there is no parent, or it knows no contamination.
    """

    sets: Mapping[str, tuple[Examples, Relabel]]
    edge: int
    seed: int
    background_weight: float
    believed: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None
    _cache: "_Cache" = field(default_factory=lambda: _Cache(CACHED))

    def training_batch(self, samples: Sequence[SampleId], step: int) -> Batch:
        """Cut a random patch for each sample, changed at random."""

        def patch(sample: SampleId) -> Patch:
            generator = keyed_generator(self.seed, "augmentation", tomogram=_text(sample), index=step)
            return cut_augmented(self._target(sample), self.edge, generator)

        return self._batch([patch(sample) for sample in samples])

    def validation_batch(self, samples: Sequence[SampleId]) -> Batch:
        """Cut each sample's own patch, the same every time."""

        def patch(sample: SampleId) -> Patch:
            target = self._target(sample)
            generator = keyed_generator(self.seed, "place of a patch", tomogram=_text(sample))
            shape = (target.image.shape[0], target.image.shape[1])
            return cut_patch(target, random_centre(shape, self.edge, generator), self.edge)

        return self._batch([patch(sample) for sample in samples])

    def _batch(self, patches: Sequence[Patch]) -> Batch:
        images, labels, weights = (np.stack(column) for column in zip(*patches, strict=True))
        weights = weights * border_weights(self.edge)
        weights[(labels == BACKGROUND) | (labels >= UNMASKED)] *= self.background_weight
        return Batch(images[..., None], labels, weights)

    def _target(self, sample: SampleId) -> Target:
        name, kind, _ = sample

        def make() -> Target:
            examples, relabel = self.sets[kind]
            example = examples.read(name)
            painted, weights = relabel(example.labels, example.weights, example.masked)
            labels = painted.astype(np.float32)
            unmasked = painted == UNMASKED
            if self.believed is not None and unmasked.any():
                labels[unmasked] = BELIEVED + self.believed(example.image)[unmasked]
            return Target.of(example.image, labels, weights)

        return self._cache.get((kind, name), make)


class _Cache:
    """The things last asked for; several threads may ask."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: OrderedDict[Any, Target] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any, make: Callable[[], Target]) -> Target:
        """What `key` stands for, made when it is not held."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        made = make()
        with self._lock:
            self._held[key] = made
            while len(self._held) > self._size:
                self._held.popitem(last=False)
        return made


def _text(sample: SampleId) -> str:
    return "/".join(map(str, sample))
