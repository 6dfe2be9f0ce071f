"""Stage: the training pairs of one tomogram, stored unturned.

A pair of rotation g is target centre(g R) and input centre(W (g R)) = centre(g (W_g R)). So the centre of R and those
of the few distinct W_g R are stored once for each sub-tomogram, and `pair_reader` turns them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.io.atomic import disk_full_reported
from mwr_hpc.missing_wedge.cube_arrays import CubeReader, CubeWriter, as_float32
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.numerics.rotation import WEDGE_ROTATIONS, turned_regions
from mwr_hpc.numerics.wedge import combine, filtered_centres, measured_region


def make_pairs(inputs: Mapping[str, Path], parameters: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Combine measurement and prediction, and wedge the result in every distinct direction.

    Parameters
    ----------
    inputs
        `subtomograms`: what `extract` wrote; `predicted`: the network's prediction of them, or
        None in the first iteration.
    parameters
        `id`, `iteration`, `cube_size`, `crop_size`, `tilt_range`, `rotations` (how many of the 20), `seed`.
    output
        Zarr array of cubes to write, (n, 1 + m, C, C, C) float16, C = cube_size: of each sub-tomogram the target and
        the inputs of the m distinct turned wedges. Its tables: `inputs` (20,), for each of WEDGE_ROTATIONS which cube
        is its input; `rotations` (n, rotations), those chosen; `valid` (n, 6), in the frame of the centre cube;
        `held_out` (n,); `tilt_range` (2,).

    Returns
    -------
    dict
        `pairs`, their number.

    Raises
    ------
    DiskFullError
        No space is left.
    """
    crop_size, cube_size = parameters["crop_size"], parameters["cube_size"]
    low, high = parameters["tilt_range"]
    region = measured_region((crop_size, crop_size, crop_size), (low, high))
    regions, which = turned_regions(crop_size, (low, high))
    margin = (crop_size - cube_size) // 2
    centre = (slice(margin, margin + cube_size),) * 3
    cube = (cube_size, cube_size, cube_size)
    crops = CubeReader(inputs["subtomograms"])
    predicted = CubeReader(inputs["predicted"]) if inputs.get("predicted") else None
    rotations = _chosen_rotations(len(crops), parameters)

    with disk_full_reported(output):
        pairs = CubeWriter(output, (len(crops), 1 + len(regions), *cube))
        for index in range(len(crops)):
            volume = as_float32(crops.read(index))
            if predicted is not None:
                volume = combine(volume, as_float32(predicted.read(index)), region)
            target, *wedged = pairs.next_item()
            target[...] = volume[centre]
            for place, filtered in zip(wedged, filtered_centres(volume, regions, cube_size), strict=True):
                place[...] = filtered
        valid = crops.table("valid", np.int16)
        pairs.close(
            inputs=1 + which.astype(np.intp),
            rotations=rotations,
            valid=np.clip(valid - margin, 0, cube_size),
            held_out=crops.table("held_out", bool),
            tilt_range=np.array([low, high]),
        )
    return {"pairs": int(rotations.size)}


def _chosen_rotations(count: int, parameters: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Draw, for each sub-tomogram, different ones of WEDGE_ROTATIONS; (count, rotations)."""
    chosen = np.empty((count, parameters["rotations"]), np.uint8)
    for index, row in enumerate(chosen):
        generator = keyed_generator(parameters["seed"], "rotations", parameters["iteration"], parameters["id"], index)
        row[:] = generator.permutation(len(WEDGE_ROTATIONS))[: len(row)]
    return chosen
