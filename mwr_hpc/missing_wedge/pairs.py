"""Stage: the training pairs of one tomogram, stored unturned.

A pair of rotation g is target centre(g R) and input centre(W (g R)) = centre(g (W_g R)). So the centre of R and those
of the few distinct W_g R are stored once for each sub-tomogram, and `pair_reader` turns them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from mwr_hpc.io.atomic import disk_full_reported
from mwr_hpc.missing_wedge.cube_arrays import CubeReader, CubeWriter, as_float32, read_table
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.numerics.rotation import WEDGE_ROTATIONS, turned_regions
from mwr_hpc.numerics.wedge import combine, filtered_centres, measured_region


def make_pairs(inputs: Mapping[str, Path], parameters: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Combine measurement and prediction, and wedge the result in every distinct direction.

    Parameters
    ----------
    inputs
        `subtomograms`: the group that `extract` wrote; `predicted`: the group with the network's `crops` of them, or
        None in the first iteration.
    parameters
        `id`, `iteration`, `cube_size`, `crop_size`, `tilt_range`, `rotations` (how many of the 20), `seed`.
    output
        Zarr group to write, C = cube_size: `targets` (n, C, C, C) float16; `inputs` (n, m, C, C, C) float16, one cube
        for each distinct turned wedge; `which` (20,) uint8, for each of WEDGE_ROTATIONS which of the m cubes;
        `rotations` (n, rotations) uint8, the rotations chosen; `valid` (n, 6) int16, in the frame of the centre cube;
        `held_out` (n,) bool.

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
    crops = CubeReader(inputs["subtomograms"] / "crops")
    predicted = CubeReader(inputs["predicted"] / "crops") if inputs.get("predicted") else None
    extracted = zarr.open_group(inputs["subtomograms"], mode="r")
    valid, held_out = read_table(extracted, "valid"), read_table(extracted, "held_out")
    rotations = _chosen_rotations(len(crops), parameters)

    with disk_full_reported(output):
        group = zarr.create_group(output)
        targets = CubeWriter(group, "targets", (len(crops), *cube))
        wedged = CubeWriter(group, "inputs", (len(crops), len(regions), *cube))
        for index in range(len(crops)):
            volume = as_float32(crops.read(index))
            if predicted is not None:
                volume = combine(volume, as_float32(predicted.read(index)), region)
            targets.append(volume[centre])
            places = wedged.next_item()
            for place, filtered in zip(places, filtered_centres(volume, regions, cube_size), strict=True):
                place[...] = filtered
        targets.close()
        wedged.close()
        group.create_array("which", data=which)
        group.create_array("rotations", data=rotations)
        group.create_array("valid", data=np.clip(valid - margin, 0, cube_size).astype(np.int16))
        group.create_array("held_out", data=held_out)
    return {"pairs": int(rotations.size)}


def _chosen_rotations(count: int, parameters: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Draw, for each sub-tomogram, different ones of WEDGE_ROTATIONS; (count, rotations)."""
    chosen = np.empty((count, parameters["rotations"]), np.uint8)
    for index, row in enumerate(chosen):
        generator = keyed_generator(parameters["seed"], "rotations", parameters["iteration"], parameters["id"], index)
        row[:] = generator.permutation(len(WEDGE_ROTATIONS))[: len(row)]
    return chosen
