"""Examples of other samples, which keep a picker from forgetting them: a store of examples, or Warp's training files.

Warp's files (BoxNetTrain.xaml.cs, PrepareData) are stacks of 32-bit images at 8 A per pixel, three for each micrograph:
the image, protein dark; its labels 0, 1, 2, as ours; its weights. Smaller micrographs are padded to the size of the
largest, with 0 in all three. Warp does not filter these images; that is done on reading. Micrographs are read one at a
time, so a corpus may be larger than memory.
"""

from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mwr_hpc.boxnet.examples import INDEX, Example, ExampleStore, FloatArray
from mwr_hpc.boxnet.labels import CLASSES, CONTAMINATION, PARTICLE
from mwr_hpc.errors import InputError
from mwr_hpc.io.micrograph import stems_of
from mwr_hpc.io.tiff import SUFFIXES, TiffStack, write_stack
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.numerics.micrograph import WORKING_PIXEL_SIZE, prepare

SLICES = 3
"""Images of each micrograph."""

HELD_OUT = 0.1
"""Share of the micrographs of Warp's files that is kept out of training."""


class Examples(Protocol):
    """What a store of examples and a corpus have in common."""

    @property
    def names(self) -> list[str]:
        """All examples."""

    @property
    def training(self) -> list[str]:
        """Those to train on."""

    @property
    def held_out(self) -> list[str]:
        """The others."""

    @property
    def pixel_size(self) -> float:
        """Angstrom."""

    @property
    def diameter(self) -> float:
        """Of the particles in angstrom."""

    def masked(self, name: str) -> bool:
        """Whether contamination is labelled in an example."""

    def read(self, name: str) -> Example:
        """Read one example."""


def open_corpus(path: Path) -> Examples:
    """Open a store of examples, or a folder of Warp's training files.

    Raises
    ------
    InputError
        It is neither, or two files have one name but for the ending.
    """
    if (path / INDEX).exists():
        return ExampleStore(path)
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES) if path.is_dir() else []
    if not files:
        raise InputError(
            f"{path}: no corpus: expected a store of examples, or a folder of Warp's training files (.tif)"
        )
    for stem, same in stems_of(files).items():
        if len(same) > 1:
            raise InputError(f"{path}: {same[0].name} and {same[1].name} both are {stem}; leave one of them here")
    return WarpCorpus(files)


class WarpCorpus:
    """Warp's training files.

    Parameters
    ----------
    files
        Sorted.

    Raises
    ------
    InputError
        A file has no whole number of micrographs, or cannot be read.
    """

    pixel_size = WORKING_PIXEL_SIZE

    def __init__(self, files: list[Path]) -> None:
        self._places: dict[str, tuple[Path, int]] = {}
        for file in files:
            count = len(TiffStack(file))
            if count % SLICES:
                raise InputError(
                    f"{file}: {count} images; expected image, labels and weights of each micrograph, so a multiple of "
                    f"{SLICES}; it is none of Warp's training files"
                )
            self._places |= {f"{file.stem}#{index}": (file, index) for index in range(count // SLICES)}

    @property
    def names(self) -> list[str]:
        """All examples: the file's stem and the number of the micrograph in it."""
        return list(self._places)

    @cached_property
    def held_out(self) -> list[str]:
        """A tenth of the micrographs, at least one, chosen by name."""
        count = max(1, round(HELD_OUT * len(self._places))) if len(self._places) > 1 else 0
        ranked = sorted(self._places, key=lambda name: keyed_generator(0, "held-out corpus", tomogram=name).random())
        return sorted(ranked[:count])

    @property
    def training(self) -> list[str]:
        """The examples that are not held out."""
        held_out = set(self.held_out)
        return [name for name in self._places if name not in held_out]

    @cached_property
    def diameter(self) -> float:
        """The files do not tell: four times the median diameter of the discs that mark particles, in angstrom."""
        some = self.training[:: max(1, len(self.training) // 8)]
        return float(np.median([_diameter(self._slice(name, 1)) for name in some]))

    def masked(self, name: str) -> bool:
        """Whether contamination is labelled: where none is, Warp did not know of any."""
        return _holds_contamination(*self._places[name])

    def read(self, name: str) -> Example:
        """Read one example.

        Raises
        ------
        InputError
            A label is none of the three classes, or the file is damaged.
        """
        image, labels, weights = (self._slice(name, part) for part in range(SLICES))
        file, index = self._places[name]
        if not np.isin(labels, range(len(CLASSES))).all():
            raise InputError(
                f"{file}: labels of micrograph {index} from {labels.min():g} to {labels.max():g}; expected 0, 1 and 2: "
                "it is none of Warp's training files"
            )
        if not (np.isfinite(image).all() and np.isfinite(weights).all() and weights.min() >= 0):
            raise InputError(f"{file}: micrograph {index} has values that are not finite, or negative weights")
        box = _without_padding(image)
        classes = labels[box].astype(np.uint8)
        try:
            prepared = prepare(image[box], WORKING_PIXEL_SIZE, WORKING_PIXEL_SIZE, "dark")
        except ValueError as error:
            raise InputError(f"{file}: micrograph {index}: {error}; take the file out of the corpus") from error
        return Example(
            name,
            prepared,
            classes,
            weights[box].astype(np.float32),
            _disc_centres(classes),
            bool((classes == CONTAMINATION).any()),
            _diameter(classes),
        )

    def _slice(self, name: str, part: int) -> NDArray[Any]:
        file, index = self._places[name]
        return TiffStack(file)[SLICES * index + part]


def write_warp_tiff(store: ExampleStore, path: Path) -> None:
    """Write Warp's training file from a store of examples, one micrograph at a time in memory.

    Raises
    ------
    DiskFullError
        No space is left.
    """
    shapes = [store.shape(name) for name in store.names]
    height, width = (max(sizes) for sizes in zip(*shapes, strict=True))

    def images() -> Iterator[FloatArray]:
        for name in store.names:
            example = store.read(name)
            for image in (-example.image, example.labels, example.weights):
                yield _padded(image.astype(np.float32), (height, width))

    write_stack(path, images(), 4 * SLICES * len(shapes) * height * width)


def _padded(image: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Zeros around an image, as Warp pads."""
    before = [(whole - size) // 2 for whole, size in zip(shape, image.shape, strict=True)]
    after = [whole - size - first for whole, size, first in zip(shape, image.shape, before, strict=True)]
    return np.pad(image, list(zip(before, after, strict=True)))


def _without_padding(image: NDArray[Any]) -> tuple[slice, slice]:
    """The box, of even sides, around what is not 0."""
    box = []
    for axis in (1, 0):
        used = np.flatnonzero((image != 0).any(axis=axis))
        start, stop = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 2)
        stop -= (stop - start) % 2
        box.append(slice(start, stop))
    return box[0], box[1]


def _disc_centres(labels: NDArray[Any]) -> FloatArray:
    """Centres (n, 2) y x of the discs that mark particles; discs that touch count as one."""
    discs, count = ndimage.label(labels == PARTICLE)
    centres = ndimage.center_of_mass(discs > 0, discs, range(1, count + 1))
    return np.array(centres, np.float32).reshape(-1, 2)


def _diameter(labels: NDArray[Any]) -> float:
    """Of the particle in angstrom, from the area of the discs."""
    discs, count = ndimage.label(labels == PARTICLE)
    if not count:
        return 0.0
    areas = np.bincount(discs.ravel())[1:]
    return float(8 * np.sqrt(np.median(areas) / np.pi) * WORKING_PIXEL_SIZE)


@lru_cache(maxsize=100_000)
def _holds_contamination(file: Path, index: int) -> bool:
    return bool((TiffStack(file)[SLICES * index + 1] == CONTAMINATION).any())
