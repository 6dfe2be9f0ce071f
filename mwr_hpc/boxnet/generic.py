"""The examples behind the generic model: simulated micrographs of made-up macromolecules, written as a store's.

They are a function of a seed, so the program carries no data: whoever needs them makes them, in less than a minute.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mwr_hpc.boxnet.examples import Entry, Example, write_example
from mwr_hpc.boxnet.labels import paint
from mwr_hpc.numerics.micrograph import WORKING_PIXEL_SIZE, prepare
from mwr_hpc.simulation.micrograph import MicrographSpecification, simulate_micrograph

SPECIFICATION = MicrographSpecification(
    size=(480, 480),
    pixel_size=WORKING_PIXEL_SIZE,
    species=36,
    crowding=(0.05, 0.4),
    snr=(0.2, 2.0),
    contamination=1.0,
    seed=20_180_601,
)
"""Small micrographs at the working pixel size: how many species and conditions there are matters more."""

NUMBER = 72
"""Micrographs: two of each species."""

HELD_OUT = 1 / 9
"""Share of them that no generic model is trained on."""


def example_name(index: int) -> str:
    """Name of one example."""
    return f"simulated_{index:04d}"


def simulate_example(inputs: Mapping[str, Any], parameters: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Stage: simulate one micrograph and write it as an example.

    Parameters
    ----------
    inputs
        None.
    parameters
        "specification", the fields of a `MicrographSpecification`; "index" of the micrograph in that series.
    output
        The Zarr array to create.

    Returns
    -------
    dict
        An `Entry`.
    """
    specification = MicrographSpecification.from_record(parameters["specification"])
    index = parameters["index"]
    micrograph = simulate_micrograph(specification, index)
    image = prepare(micrograph.image, specification.pixel_size, WORKING_PIXEL_SIZE, specification.contrast)
    height, width = image.shape
    positions = (micrograph.positions * (np.array(image.shape) / micrograph.image.shape)).astype(np.float32)
    nothing = np.empty((0, 2), np.float32)
    diameter = micrograph.conditions.species.diameter
    labels, weights = paint(
        (height, width), positions, nothing, nothing, diameter / WORKING_PIXEL_SIZE, micrograph.mask
    )
    example = Example(example_name(index), image, labels, weights, positions, True, diameter)
    write_example(output, example, WORKING_PIXEL_SIZE)
    checksum = hashlib.sha256(micrograph.image.tobytes()).hexdigest()
    return asdict(Entry(example.name, "simulated", checksum, len(positions), True, diameter))
