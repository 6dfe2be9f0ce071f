"""A small problem that the tests of training learn: blobs in noise, with labels, from their names alone."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from mwr_hpc.boxnet.examples import Entry, Example, write_example, write_index
from mwr_hpc.boxnet.labels import paint
from mwr_hpc.boxnet.train import Training
from mwr_hpc.events import Emit, ShouldStop, ignore, never
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.training.communicator import Communicator, SerialCommunicator

PIXEL_SIZE, DIAMETER = 8.0, 128.0
ALONE = SerialCommunicator()
NOWHERE = np.empty((0, 2), np.float32)

SMALL = {"width": 8, "depth": 2, "blocks": 1}
PARAMETERS: dict[str, Any] = {
    "name": "toy",
    "training_set": {"micrographs": []},
    "epochs": 2,
    "batch_size": 4,
    "patch": 64,
    "lr_start": 5e-3,
    "lr_end": 1e-3,
    "mix": [1, 1],
    "freeze_bn": False,
    "seed": 0,
    "precision": "float32",
    "deterministic": True,
    "train_mask": None,
    "allow_missing_masks": False,
    **SMALL,
}


def blobs(name: str, size: int = 96, count: int = 8, width: float = 3.0, mask: bool = False) -> Example:
    """A micrograph of bright blobs in noise; with a mask a dark corner is contamination."""
    generator = keyed_generator(0, "blobs", tomogram=name)
    positions = generator.uniform(8, size - 8, (count, 2)).astype(np.float32)
    image = generator.normal(size=(size, size))
    for y, x in positions:
        spot = np.zeros((size, size))
        spot[round(float(y)), round(float(x))] = 2 * np.pi * width**2 * 4
        image += ndimage.gaussian_filter(spot, width)
    corner = np.zeros((size, size), bool)
    corner[:20, :20] = mask
    image[corner] -= 8
    labels, weights = paint((size, size), positions, NOWHERE, NOWHERE, DIAMETER / PIXEL_SIZE, corner if mask else None)
    image = (image - image.mean()) / image.std()
    return Example(name, image.astype(np.float32), labels, weights, positions, mask, DIAMETER)


class Examples:
    """Examples in memory."""

    pixel_size, diameter = PIXEL_SIZE, DIAMETER

    def __init__(self, examples: Iterable[Example], held_out: int = 1) -> None:
        self._examples = {example.name: example for example in examples}
        self._count = held_out

    @property
    def names(self) -> list[str]:
        return list(self._examples)

    @property
    def held_out(self) -> list[str]:
        return self.names[: self._count]

    @cached_property
    def training(self) -> list[str]:
        return self.names[self._count :]

    def masked(self, name: str) -> bool:
        return self._examples[name].masked

    def read(self, name: str) -> Example:
        return self._examples[name]


def new_examples(count: int = 3, **options: Any) -> Examples:
    return Examples(blobs(f"new{number}", **options) for number in range(count))


def old_examples(count: int = 3, **options: Any) -> Examples:
    return Examples(blobs(f"old{number}", width=2.0, **options) for number in range(count))


def write_store(
    path: Path, examples: Examples, micrographs: Path | None = None, pixel_size: float = PIXEL_SIZE
) -> Path:
    """The examples as a store."""
    path.mkdir(parents=True)
    entries = []
    for name in examples.names:
        example = examples.read(name)
        write_example(path / name, example, pixel_size)
        entries.append(
            Entry(name, f"{name}.mrc", f"checksum of {name}", len(example.positions), example.masked, example.diameter)
        )
    write_index(path, entries, pixel_size, micrographs=micrographs)
    return path


def train(
    folder: Path,
    new: Any = None,
    old: Any = None,
    parent: Path | None = None,
    *,
    communicator: Communicator | None = None,
    emit: Emit = ignore,
    should_stop: ShouldStop = never,
    **parameters: Any,
) -> dict[str, Any]:
    """Train with the state in `folder`; the model is folder/model.h5."""
    folder.mkdir(parents=True, exist_ok=True)
    training = Training(new or new_examples(), old, parent, PARAMETERS | parameters, communicator or ALONE, emit)
    return training.run(folder / "model.h5", folder / "checkpoint", folder / "curves.jsonl", should_stop)
