"""Micrographs with bright and dark spots, and a model that was not trained but built to find them."""

from pathlib import Path

import numpy as np

from mwr_hpc.boxnet.network import Architecture, build_network, initialise
from mwr_hpc.boxnet.registry import METHOD
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.io.picks import read_picks
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.training.framework import configure
from mwr_hpc.training.model_file import named_weights, write_model

ANGPIX = 4.0
SHAPE = (256, 320)
DIAMETER = 96.0
ICE = ((196, 10), (250, 76))
"""Corners (y, x) of the contamination."""


def spot_model(path: Path, *, masks: bool = True, trained_on: list[dict[str, str]] | None = None) -> Path:
    """Write a model that takes bright spots for particles, and what is very bright for contamination."""
    configure()
    architecture = Architecture(width=8, depth=1)
    network = build_network(architecture, "float32")
    initialise(network, 0)
    means = np.full((3, 3, 1, 2), 1 / 9, np.float32)
    values = {
        "down0/kernel": means,  # two channels of local means, of which the second begins at 9
        "down0_norm/beta": np.array([0, -9], np.float32),
        "up0_stride/kernel": np.zeros((2, 2, 2, 8), np.float32),
        "last/kernel": np.array([[[[0, 4, 0], [0, 0, 40]]]], np.float32),
        "last/bias": np.array([6, 0, 0], np.float32),
    }
    for variable in network.weights:
        if variable.path in values:
            variable.assign(values[variable.path])
    description = {
        "method": METHOD,
        "architecture": architecture.to_record(),
        "precision": "float32",
        "name": path.stem,
        "masks": masks,
        "background_weight": 1.0,
        "pixel_size": 8.0,
        "threshold": 0.5,
        "training_set": {"micrographs": trained_on or []},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_model(path, description, named_weights(network))
    return path


def places(seed: int) -> np.ndarray:
    """Where the particles of a micrograph are, (n, 2) as (y, x) in pixels."""
    corners = np.array([(y, x) for y in range(30, SHAPE[0] - 30, 40) for x in range(30, SHAPE[1] - 30, 40)])
    generator = keyed_generator(seed, "places")
    return corners[generator.random(len(corners)) < 0.5] + generator.integers(0, 9, 2)


def micrograph(path: Path, seed: int = 0, *, angpix: float = ANGPIX, ice: bool = False) -> Path:
    """Write a micrograph, protein dark."""
    y, x = np.indices(SHAPE)
    image = 0.2 * keyed_generator(seed, "noise").standard_normal(SHAPE)
    for row, column in places(seed):
        image -= 2 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 6**2))
    if ice:
        (top, left), (bottom, right) = ICE
        image[top:bottom, left:right] -= 12
    path.parent.mkdir(parents=True, exist_ok=True)
    with MrcWriter(path, (1, *SHAPE), np.float32, voxel_size=angpix) as writer:
        writer.write(0, image[None].astype(np.float32))
    return path


def micrographs(folder: Path, number: int) -> Path:
    """Write some."""
    for seed in range(number):
        micrograph(folder / f"m{seed:03d}.mrc", seed)
    return folder


def found(path: Path) -> np.ndarray:
    """Positions (n, 2) in a file of particles, in the order of `places`."""
    positions = read_picks(path).positions
    return positions[np.lexsort(np.rint((positions - 34) / 40).T[::-1])]


def picked_files(folder: Path) -> dict[str, bytes]:
    """All that picking writes for its users."""
    paths = [path for pattern in ("matching/*", "mask/*", "picks_*") for path in folder.glob(pattern)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths)}
