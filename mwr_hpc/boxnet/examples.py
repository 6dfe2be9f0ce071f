"""Examples to learn picking from: micrographs at the working pixel size with what is known of each pixel.

A store is a Zarr group of one array per micrograph, (3, h, w) float16: image, labels, weights. Positions, pixel size
and the like are attributes. What belongs to the store, and what of it is held out, stands in the group's attributes.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from mwr_hpc.errors import DamagedArrayError, InputError
from mwr_hpc.io.atomic import atomic_file, disk_full_reported
from mwr_hpc.io.bounded_json import read_json
from mwr_hpc.io.checksums import seal, sealed_metadata
from mwr_hpc.io.shards import COMPRESSORS
from mwr_hpc.io.zarr_bounds import require_bounded
from mwr_hpc.numerics.keyed_random import keyed_generator

FORMAT = "mwr_hpc picking examples 1"

INDEX = "zarr.json"
"""The store's own metadata with its table; a store without it is not complete."""

LARGEST = 3e4
"""Half of what float16 holds: beyond so many standard deviations a pixel is a defect."""

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Example:
    """One micrograph to learn from.

    Attributes
    ----------
    name
        The micrograph's stem.
    image
        (h, w) float32, density positive, normalised.
    labels
        (h, w) uint8, see `boxnet.labels`.
    weights
        (h, w) float32.
    positions
        (n, 2) float32, the particles' y x in pixels of the image.
    masked
        Whether contamination is labelled: else it may be among the background.
    diameter
        Of the particle in angstrom.
    """

    name: str
    image: FloatArray
    labels: NDArray[np.uint8]
    weights: FloatArray
    positions: FloatArray
    masked: bool
    diameter: float


@dataclass(frozen=True)
class Entry:
    """What a store's table says of one example.

    Attributes
    ----------
    name
        The micrograph's stem.
    source
        Its file name.
    checksum
        SHA-256 of that file.
    particles
        Number of positives.
    masked
        Whether contamination is labelled.
    diameter
        Of the particle in angstrom.
    """

    name: str
    source: str
    checksum: str
    particles: int
    masked: bool
    diameter: float

    @classmethod
    def from_figures(cls, figures: Mapping[str, Any]) -> "Entry":
        """Take what the stage that wrote an example said of it from among a receipt's figures."""
        return cls(**{field.name: figures[field.name] for field in fields(cls)})


def write_example(output: Path, example: Example, pixel_size: float) -> None:
    """Write one example as a Zarr array of one chunk each for image, labels and weights, in one file.

    Raises
    ------
    DiskFullError
        No space is left.
    """
    height, width = example.image.shape
    with disk_full_reported(output):
        array = zarr.create_array(
            output,
            shape=(3, height, width),
            dtype=np.float16,
            chunks=(1, height, width),
            shards=(3, height, width),
            compressors=COMPRESSORS,
            dimension_names=("image, labels, weights", "y", "x"),
            attributes={
                "name": example.name,
                "pixel_size": pixel_size,
                "diameter": example.diameter,
                "masked": example.masked,
                "positions": [[round(float(value), 3) for value in position] for position in example.positions],
            },
        )
        image = np.clip(example.image, -LARGEST, LARGEST)
        array[...] = np.stack([image, example.labels, example.weights]).astype(np.float16)
        seal(output)


def write_index(
    store: Path,
    entries: Iterable[Entry],
    pixel_size: float,
    val_fraction: float = 0.2,
    seed: int = 0,
    micrographs: Path | None = None,
) -> None:
    """Write what belongs to a store and what is held out; until then the store cannot be read.

    Parameters
    ----------
    store
        The folder in which each entry's example lies under its name.
    entries
        Of the examples.
    pixel_size
        That they are at, in angstrom.
    val_fraction
        Share of micrographs to hold out: at least one, unless this is 0.
    seed
        Decides which.
    micrographs
        The folder that they come from, None where there is none any more.

    Raises
    ------
    InputError
        No example has a particle, or too few have one to hold one out.
    """
    known = sorted(entries, key=lambda entry: entry.name)
    if not any(entry.particles for entry in known):
        raise InputError(f"{store}: no micrograph has a single positive, so there is no particle to learn; check them")
    index = {
        "format": FORMAT,
        "pixel_size": pixel_size,
        "seed": seed,
        "micrographs": str(micrographs) if micrographs is not None else None,
        "examples": [asdict(entry) for entry in known],
        "held_out": held_out_names(store, known, val_fraction, seed),
    }
    store.mkdir(parents=True, exist_ok=True)
    with atomic_file(store / INDEX) as partial:
        group = {"zarr_format": 3, "node_type": "group", "attributes": {"mwr_hpc": index}}
        partial.write_text(json.dumps(group, indent=1))


def held_out_names(store: Path, entries: Sequence[Entry], val_fraction: float, seed: int) -> list[str]:
    """Choose the micrographs to hold out, by their names alone; those without particles last.

    Raises
    ------
    InputError
        Less than two micrographs have particles, so that not one can be held out.
    """
    if val_fraction == 0:
        return []
    if sum(entry.particles > 0 for entry in entries) < 2:
        raise InputError(
            f"{store}: only one micrograph has positives, none is left to judge the training by; correct the picks of "
            "another one, or set --val_fraction 0"
        )

    def rank(entry: Entry) -> tuple[bool, float]:
        return entry.particles == 0, keyed_generator(seed, "held-out micrographs", tomogram=entry.name).random()

    ranked = sorted(entries, key=rank)
    trainable = sum(entry.particles > 0 for entry in entries) - 1
    count = min(max(1, round(val_fraction * len(entries))), trainable)
    return sorted(entry.name for entry in ranked[:count])


class ExampleStore:
    """A store of examples, open for reading.

    Parameters
    ----------
    path
        Its folder.

    Raises
    ------
    InputError
        It is no store, or not complete.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            index = read_json(path / INDEX)["attributes"]["mwr_hpc"]
            if index["format"] != FORMAT:
                raise ValueError(f"its format is {index['format']!r}, expected {FORMAT!r}")
            self.entries = {record["name"]: Entry(**record) for record in index["examples"]}
            self.pixel_size: float = index["pixel_size"]
            self.micrographs = Path(index["micrographs"]) if index.get("micrographs") else None
            self.held_out: list[str] = index["held_out"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: no complete store of examples ({error}); make one with mwr-hpc boxnet examples prepare"
            ) from error

    @property
    def names(self) -> list[str]:
        """All examples."""
        return list(self.entries)

    @property
    def training(self) -> list[str]:
        """The examples that are not held out."""
        held_out = set(self.held_out)
        return [name for name in self.entries if name not in held_out]

    @property
    def diameter(self) -> float:
        """Of the particles in angstrom; the median where they differ."""
        return float(np.median([entry.diameter for entry in self.entries.values()]))

    def masked(self, name: str) -> bool:
        """Whether contamination is labelled in an example."""
        return self.entries[name].masked

    def shape(self, name: str) -> tuple[int, int]:
        """Height and width of an example."""
        _, height, width = self._array(name).shape
        return height, width

    def read(self, name: str) -> Example:
        """Read one example.

        Raises
        ------
        DamagedArrayError
            It is not as it was written, or cannot be read.
        """
        path = self.path / name
        array = self._array(name)
        try:
            image, labels, weights = np.asarray(array[...])
            positions = np.array(array.attrs["positions"], np.float32).reshape(-1, 2)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise _damaged(path, error) from error
        entry = self.entries[name]
        return Example(
            name,
            image.astype(np.float32),
            labels.astype(np.uint8),
            weights.astype(np.float32),
            positions,
            entry.masked,
            entry.diameter,
        )

    def _array(self, name: str) -> zarr.Array:
        path = self.path / name
        try:
            require_bounded(path, sealed_metadata(path))
            return zarr.open_array(path, mode="r")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DamagedArrayError:
    return DamagedArrayError(path, f"damaged example ({error})", "prepare the examples again")
