"""What a network saw in a micrograph, kept so that particles can be chosen by other rules without it: one small file.

HDF5: dataset ``particle`` (h, w) float16, the probability where "particle" wins, else 0; ``contamination`` (h, w)
uint8, 1 where that wins; attributes ``format``, ``micrograph`` (file name), ``shape`` (rows and columns of the
micrograph), ``pixel_size`` (its, in angstrom) and ``checksum`` (CRC-32C of the maps and of these attributes; files of
version 0.1.0 have none). Equal content gives equal bytes.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from mwr_hpc.boxnet.curate import Picks, find_picks
from mwr_hpc.errors import DamagedArrayError, InputError
from mwr_hpc.io.checksums import crc32c
from mwr_hpc.training.model_file import UNREADABLE, hdf5_file

FORMAT = "mwr_hpc candidates 1"

LARGEST, LARGEST_RATIO = 2**27, 1100
"""Pixels of a map; and most bytes that one of a file can stand for."""


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
    particle, contamination = candidates.particle.astype(np.float16), candidates.contamination.astype(np.uint8)
    options = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "track_times": False}
    with hdf5_file(path) as file:
        file.attrs["format"] = FORMAT
        file.attrs["micrograph"] = candidates.micrograph
        file.attrs["shape"] = candidates.shape
        file.attrs["pixel_size"] = candidates.pixel_size
        file.attrs["checksum"] = _checksum(
            particle, contamination, candidates.micrograph, candidates.shape, candidates.pixel_size
        )
        file.create_dataset("particle", data=particle, **options)
        file.create_dataset("contamination", data=contamination, **options)


def _checksum(
    particle: NDArray[np.float16],
    contamination: NDArray[np.uint8],
    micrograph: str,
    shape: tuple[int, int],
    pixel_size: float,
) -> int:
    told = f"{micrograph} {shape} {pixel_size!r}".encode()
    return crc32c(told + particle.tobytes() + contamination.tobytes())


def read_candidates(path: Path) -> Candidates:
    """Read the file.

    Raises
    ------
    DamagedArrayError
        It is absent, or not as it was written.
    InputError
        It is another kind of file.
    """
    advice = "pick the micrograph again: remove this file and give the command that made it"
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise InputError(f"{path}: no candidates of a micrograph; expected {FORMAT!r}; {advice}")
            height, width = map(int, file.attrs["shape"])
            for name in ("particle", "contamination"):
                if file[name].size > min(LARGEST, LARGEST_RATIO * file.id.get_filesize()):
                    raise ValueError(f"it announces maps of {file[name].shape} pixels")
            particle, contamination = file["particle"][()], file["contamination"][()]
            if particle.ndim != 2 or particle.shape != contamination.shape:
                raise ValueError(f"its maps have {particle.shape} and {contamination.shape} pixels")
            micrograph, pixel_size = str(file.attrs["micrograph"]), float(file.attrs["pixel_size"])
            known = _checksum(particle, contamination, micrograph, (height, width), pixel_size)
            if file.attrs.get("checksum", known) != known:
                raise ValueError("its checksum does not fit")
            return Candidates(
                micrograph=micrograph,
                shape=(height, width),
                pixel_size=pixel_size,
                particle=particle.astype(np.float32),
                contamination=contamination > 0,
            )
    except UNREADABLE as error:
        raise DamagedArrayError(path, f"damaged file of candidates ({error})", advice) from error
