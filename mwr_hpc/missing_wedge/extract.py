"""Stage: random crops of one converted tomogram, normalised, density positive."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.errors import InputError
from mwr_hpc.io.atomic import disk_full_reported
from mwr_hpc.io.ome_zarr import open_ome_zarr
from mwr_hpc.missing_wedge.cube_arrays import FLOAT16_SAFE, CubeWriter
from mwr_hpc.missing_wedge.mask import load_mask
from mwr_hpc.numerics.defects import Defects
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.numerics.normalization import Normalization
from mwr_hpc.numerics.sampling import NoPlaceError, Shape, check_sizes, cut_crop, held_out_block, sample_centres


class _Interior:
    """A volume without its constant borders, which hold nothing to learn from, and its defects; slicing reads."""

    def __init__(self, volume: Any, box: list[list[int]], defects: Defects | None) -> None:
        self._volume = volume
        self._defects = defects
        self.start = tuple(start for start, _ in box)
        self.shape: Shape = (box[0][1] - box[0][0], box[1][1] - box[1][0], box[2][1] - box[2][0])

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[Any]:
        shifted = tuple(slice(k.start + start, k.stop + start) for k, start in zip(key, self.start, strict=True))
        values = np.asarray(self._volume[shifted])
        return self._defects.hide_in(values, [part.start for part in shifted]) if self._defects else values


def extract_subtomograms(inputs: Mapping[str, Path], parameters: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Cut sub-tomograms around random centres.

    Parameters
    ----------
    inputs
        `tomogram`: OME-Zarr as `convert` wrote it; `mask`: a volume of its shape that says where centres may lie, or
        None.
    parameters
        `id`, `cube_size`, `crop_size`, `ncube`, `seed`, `normalization` (a `Normalization` record), `hold_out`
        (add crops of a block that training crops avoid, where the volume is large enough), `subtomograms` (the input
        is itself a sub-tomogram, so crops must lie inside it), `hide_defects` (replace outliers and padding that
        the conversion found).
    output
        Zarr array of crops to write, (n, K, K, K) float16, with the tables `valid` (n, 6), the box
        [z0, z1, y0, y1, x0, x1] of each crop that lies inside the tomogram, `centres` (n, 3), and `held_out` (n,),
        training crops first.

    Returns
    -------
    dict
        The numbers of crops: `training` and `held_out`.

    Raises
    ------
    InputError
        When sizes do not fit the tomogram, or the mask does not or leaves no place.
    DiskFullError
        No space is left.
    """
    tomogram = open_ome_zarr(inputs["tomogram"])
    hidden = tomogram.attributes["defects"] if parameters.get("hide_defects") else None
    defects = Defects.from_record(hidden) if hidden else None
    interior = _Interior(tomogram.data, tomogram.attributes["interior"], defects)
    mask = None
    if inputs.get("mask") is not None:
        whole = load_mask(inputs["mask"], tomogram.shape)
        mask = whole[tuple(slice(first, first + n) for first, n in zip(interior.start, interior.shape, strict=True))]
    try:
        training, held_out = draw_centres(interior.shape, mask, parameters)
    except ValueError as error:
        raise InputError(f"{parameters['id']}: {error}") from error
    centres = np.concatenate([training, held_out])
    normalization = Normalization.from_record(parameters["normalization"])
    mean = defects.statistics.mean if defects else tomogram.attributes["statistics"]["mean"]
    size = parameters["crop_size"]

    valid = np.empty((len(centres), 6), np.int16)
    with disk_full_reported(output):
        crops = CubeWriter(output, (len(centres), size, size, size))
        for index, centre in enumerate(centres):
            raw, valid[index] = cut_crop(interior, centre, size, mean)
            crops.append(np.clip(normalization.apply(raw), -FLOAT16_SAFE, FLOAT16_SAFE))
        crops.close(
            valid=valid,
            centres=centres + np.array(interior.start, np.int32),
            held_out=np.arange(len(centres)) >= len(training),
        )
    return {"training": len(training), "held_out": len(held_out)}


def draw_centres(shape: Shape, mask: Any, parameters: Mapping[str, Any]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Centres of training and of held-out crops, the latter empty where nothing can be held out."""
    cube_size, crop_size, count = (parameters[name] for name in ("cube_size", "crop_size", "ncube"))

    def draw(purpose: str, number: int, **where: Any) -> NDArray[np.int32]:
        generator = keyed_generator(parameters["seed"], purpose, tomogram=parameters["id"])
        return sample_centres(shape, cube_size, crop_size, number, generator, mask, **where)

    nothing = np.empty((0, 3), np.int32)
    if parameters["subtomograms"]:
        if min(shape) < crop_size:
            raise ValueError(f"a sub-tomogram of {shape} voxels (z, y, x) is smaller than the crop size {crop_size}")
        cube_size = crop_size
        return draw("centres", count), nothing
    check_sizes(shape, crop_size)
    block = held_out_block(shape, cube_size, crop_size) if parameters["hold_out"] else None
    if block is not None:
        try:
            held_out = draw("held-out centres", max(1, count // 10), held_out=block, inside_held_out=True)
            return draw("centres", count, held_out=block), held_out
        except NoPlaceError:
            # The mask leaves no place on one side of the block's border, so nothing can be held out.
            pass
    return draw("centres", count), nothing
