"""Batches for the missing-wedge network: pairs from disk, noise, and the keys of dropout."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc_fields import Signedness
from mwr_hpc.io.volume import MRC_SUFFIXES, Volume, mrc_files, open_volume
from mwr_hpc.missing_wedge.cube_arrays import CubeReader, as_float32
from mwr_hpc.missing_wedge.pair_reader import PairDataset, Sample
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.numerics.noise import add_noise
from mwr_hpc.training.engine import Batch
from mwr_hpc.training.sampler import SampleId


class NoiseVolumes:
    """Noise volumes, of which random cubes are cut; they have the frame of the wedge.

    Parameters
    ----------
    folder
        What `generate_noise` wrote, or a folder of MRC volumes.
    cube_size
        Edge of the cubes.
    signedness
        Of the bytes of MRC volumes; None where the files tell.

    Raises
    ------
    InputError
        The folder holds no volume, or one that is smaller than the cube.
    """

    def __init__(self, folder: Path, cube_size: int, signedness: Signedness | None = None) -> None:
        self._size = cube_size
        self._generated = CubeReader(folder) if (folder / "zarr.json").exists() else None
        if self._generated is not None:
            self._require_size(folder, self._generated.shape[1:])
            return
        paths = mrc_files(folder)
        if not paths:
            raise InputError(
                f"{folder}: no noise volumes ({', '.join(MRC_SUFFIXES)}) in it; name a folder that has some, make some "
                "with `mwr-hpc generate-noise`, or leave --noise_dir out"
            )
        self._volumes: list[Volume] = [open_volume(path, signedness) for path in paths]
        for volume in self._volumes:
            self._require_size(volume.path, volume.shape)

    def check(self) -> None:
        """Read all MRC volumes, once before a run, to see that noise can be made of them.

        Raises
        ------
        InputError
            One holds values that are not finite, or is constant.
        """
        for volume in () if self._generated is not None else self._volumes:
            low, high = np.inf, -np.inf
            for section in volume.data:
                smallest, largest = float(section.min()), float(section.max())
                if not np.isfinite([smallest, largest]).all():
                    raise InputError(
                        f"{volume.path}: a noise volume with values that are not finite; remove it, or make it again"
                    )
                low, high = min(low, smallest), max(high, largest)
            if low == high:
                raise InputError(
                    f"{volume.path}: a noise volume that is {low:g} everywhere, which cannot be scaled to a level; "
                    "remove it"
                )

    def _require_size(self, path: Path, shape: tuple[int, ...]) -> None:
        if min(shape) < self._size:
            raise InputError(
                f"{path}: a noise volume of {shape} voxels (z, y, x), expected at least cube_size {self._size} along "
                "each axis; remove it, or make larger ones"
            )

    def cube(self, generator: np.random.Generator) -> NDArray[np.float32]:
        """Cut a random cube of a random volume."""
        if self._generated is not None:
            chosen: Any = as_float32(self._generated.read(int(generator.integers(len(self._generated)))))
        else:
            chosen = self._volumes[generator.integers(len(self._volumes))].data
        corner = [int(generator.integers(size - self._size + 1)) for size in chosen.shape]
        cut = chosen[tuple(slice(start, start + self._size) for start in corner)]
        return np.asarray(cut, np.float32)


@dataclass(frozen=True)
class PairSource:
    """Makes the engine's batches; everything random in a sample is keyed by the sample and the step.

    Attributes
    ----------
    pairs
        The data set.
    seed, iteration
        Key of noise and dropout.
    noise, noise_level
        What is added to the inputs after turning; nothing when the level is 0.
    """

    pairs: PairDataset
    seed: int
    iteration: int
    noise: NoiseVolumes | None = None
    noise_level: float = 0.0

    def training_batch(self, samples: Sequence[SampleId], step: int) -> Batch:
        """Read the pairs of these samples, add noise, and draw their dropout keys for this step."""
        batch = self.validation_batch(samples)
        keys = np.zeros((len(samples), 2), np.int32)
        for number, (tomogram, crop, slot) in enumerate(samples):
            name = f"{tomogram}/{crop}/{slot}"
            dropout = keyed_generator(self.seed, "dropout", self.iteration, name, step)
            keys[number] = dropout.integers(0, 2**31 - 1, 2, np.int32)
            if self.noise is not None and self.noise_level > 0:
                cube = self.noise.cube(keyed_generator(self.seed, "noise", self.iteration, name, step))
                batch.x[number, ..., 0] = add_noise(batch.x[number, ..., 0], cube, self.noise_level)
        return batch._replace(keys=keys)

    def validation_batch(self, samples: Sequence[SampleId]) -> Batch:
        """Read the pairs of these samples as they are."""
        cubes = zip(*(self.pairs.read(Sample(*sample)) for sample in samples), strict=True)
        x, y, weight = (np.stack(column)[..., None] for column in cubes)
        regions = np.stack([self.pairs.region(Sample(*sample)) for sample in samples])
        return Batch(x, y, weight, np.zeros((len(samples), 2), np.int32), regions)
