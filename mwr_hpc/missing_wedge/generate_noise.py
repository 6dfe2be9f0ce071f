"""Stage of its own: noise volumes with the spectrum of a reconstruction's noise, as one array of cubes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mwr_hpc.io.atomic import disk_full_reported
from mwr_hpc.missing_wedge.cube_arrays import CubeWriter
from mwr_hpc.numerics.back_projected_noise import NoiseProjector
from mwr_hpc.numerics.keyed_random import keyed_generator


def generate_noise(inputs: Mapping[str, Path], parameters: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Write noise cubes of mean 0 and standard deviation 1; each depends on the seed and its own number alone.

    Parameters
    ----------
    inputs
        None.
    parameters
        `number`, `cube_size`, `tilt_range`, `tilt_step`, `filter` (see `NoiseProjector`), `seed`.
    output
        Zarr array to write, (number, C, C, C) float16, with the tables `tilt_range`, `tilt_step` and `filter`.

    Returns
    -------
    dict
        `number`.

    Raises
    ------
    DiskFullError
        No space is left.
    """
    number, size = parameters["number"], parameters["cube_size"]
    low, high = parameters["tilt_range"]
    projector = NoiseProjector(size, (low, high), parameters["tilt_step"], parameters["filter"])
    with disk_full_reported(output):
        cubes = CubeWriter(output, (number, size, size, size))
        for index in range(number):
            cubes.append(projector.cube(keyed_generator(parameters["seed"], "generated noise", index=index)))
        cubes.close(
            tilt_range=np.array([low, high]),
            tilt_step=np.array(parameters["tilt_step"]),
            filter=np.array(parameters["filter"]),
        )
    return {"number": number}
