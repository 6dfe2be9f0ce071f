"""What a network saw in a micrograph, kept so that particles can be chosen by other rules without it: one small file.

HDF5: dataset ``particle`` (h, w) float16, the probability where "particle" wins, else 0; ``contamination`` (h, w)
uint8, 1 where that wins; attributes ``format``, ``micrograph`` (file name), ``shape`` (rows and columns of the
micrograph) and ``pixel_size`` (its, in angstrom). Equal content gives equal bytes.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from mwr_hpc.boxnet.curate import Picks, find_picks
from mwr_hpc.errors import InputError
from mwr_hpc.training.model_file import UNREADABLE, hdf5_file

FORMAT = "mwr_hpc candidates 1"


@dataclass(frozen=True)
class Rules:
    """How particles are chosen; see `curate.find_picks`.

    Attributes
    ----------
    threshold
        Of the probability.
    diameter, min_distance, mask_distance
        In angstrom; `min_distance` None: diameter / 2.
    border
        In pixels of the micrograph.
    """

    threshold: float
    diameter: float
    min_distance: float | None = None
    border: float = 0.0
    mask_distance: float = 0.0


@dataclass(frozen=True)
class Candidates:
    """What was seen in one micrograph.

    Attributes
    ----------
    micrograph
        Its file name.
    shape
        Its rows and columns.
    pixel_size
        Its pixel size in angstrom.
    particle
        (h, w), probability of "particle" where that wins, else 0; (h, w) is the micrograph at the working pixel size.
    contamination
        (h, w), where "contamination" wins.
    """

    micrograph: str
    shape: tuple[int, int]
    pixel_size: float
    particle: NDArray[np.floating]
    contamination: NDArray[np.bool_]

    @property
    def scale(self) -> NDArray[np.float64]:
        """Pixels of the micrograph per pixel of the maps, along y and x."""
        return np.asarray(self.shape, np.float64) / np.asarray(self.particle.shape)

    def picks(self, rules: Rules) -> Picks:
        """Choose the particles; their positions are in pixels of the micrograph."""
        across = float(self.scale.mean())
        pixel = self.pixel_size * across
        found = find_picks(
            self.particle,
            self.contamination,
            threshold=rules.threshold,
            diameter=rules.diameter / pixel,
            min_distance=None if rules.min_distance is None else rules.min_distance / pixel,
            border=rules.border / across,
            mask_distance=rules.mask_distance / pixel,
        )
        return Picks((found.positions * self.scale).astype(np.float32), found.scores)


def write_candidates(path: Path, candidates: Candidates) -> None:
    """Write the file.

    Raises
    ------
    DiskFullError
        No space is left.
    """
    options = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "track_times": False}
    with hdf5_file(path) as file:
        file.attrs["format"] = FORMAT
        file.attrs["micrograph"] = candidates.micrograph
        file.attrs["shape"] = candidates.shape
        file.attrs["pixel_size"] = candidates.pixel_size
        file.create_dataset("particle", data=candidates.particle.astype(np.float16), **options)
        file.create_dataset("contamination", data=candidates.contamination.astype(np.uint8), **options)


def read_candidates(path: Path) -> Candidates:
    """Read the file.

    Raises
    ------
    InputError
        It is absent, damaged or another kind of file.
    """
    advice = "Pick the micrograph again: remove this file and give the command that made it."
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise InputError(f"{path}: no candidates of a micrograph; expected {FORMAT!r}. {advice}")
            height, width = map(int, file.attrs["shape"])
            particle, contamination = file["particle"][()], file["contamination"][()]
            if particle.ndim != 2 or particle.shape != contamination.shape:
                raise ValueError(f"its maps have {particle.shape} and {contamination.shape} pixels")
            return Candidates(
                micrograph=str(file.attrs["micrograph"]),
                shape=(height, width),
                pixel_size=float(file.attrs["pixel_size"]),
                particle=particle.astype(np.float32),
                contamination=contamination > 0,
            )
    except UNREADABLE as error:
        raise InputError(f"{path}: damaged file of candidates ({error}). {advice}") from error
