"""Stage of its own: the mask of one tomogram, where its specimen is; see `mwr_hpc.numerics.masking` for the tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.io.volume import open_volume, section_reader
from mwr_hpc.numerics.masking import BadVoxelError, MaskTests, mask_slabs
from mwr_hpc.numerics.padding import constant_borders


def make_mask(inputs: Mapping[str, Path], parameters: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Write the mask of one tomogram: MRC, int8, 1 where the specimen is, with the tomogram's voxel size and origin.

    Parameters
    ----------
    inputs
        `tomogram`: MRC or OME-Zarr.
    parameters
        `side`, `percentile`, `threshold`, `z_crop` (see `MaskTests`), `contrast`, "dark" or "bright", and `bytes`,
        "signed" or "unsigned", where the file does not tell how to read them.
    output
        The MRC file to write.

    Returns
    -------
    dict
        `share`: how much of the volume the mask holds.

    Raises
    ------
    InputError
        The tomogram cannot be read, holds a bad voxel or a single value, or no voxel passes the tests.
    DiskFullError
        No space is left.
    """
    path = inputs["tomogram"]
    volume = open_volume(path, parameters.get("bytes"))
    section = section_reader(volume)
    # Padding would make the specimen look denser and more varied than it is.
    interior = constant_borders(volume.shape, section)
    if interior is None:
        raise InputError(f"{path}: all voxels have the same value; reconstruct the tomogram again")
    (z0, z1), (y0, y1), (x0, x1) = interior
    tests = MaskTests(**{name: parameters[name] for name in ("side", "percentile", "threshold", "z_crop")})
    slabs = mask_slabs(
        lambda z: section(z0 + z)[y0:y1, x0:x1],
        (z1 - z0, y1 - y0, x1 - x0),
        tests,
        -1 if parameters["contrast"] == "dark" else 1,
    )
    inside = 0
    _, height, width = volume.shape
    with MrcWriter(
        output, volume.shape, np.int8, voxel_size=volume.voxel_size, origin=volume.origin, label="mwr_hpc mask"
    ) as writer:
        _write_empty(writer, range(z0), height, width)
        try:
            for first, slab in slabs:
                whole = np.zeros((len(slab), height, width), np.int8)
                whole[:, y0:y1, x0:x1] = slab
                inside += int(np.count_nonzero(slab))
                writer.write(z0 + first, whole)
        except BadVoxelError as error:
            raise InputError(f"{path}: {error}; expected finite numbers: reconstruct or export it again") from error
        _write_empty(writer, range(z1, volume.shape[0]), height, width)
    if inside == 0:
        raise InputError(
            f"{path}: no voxel passes the tests of the mask (--percentile {tests.percentile:g}, --threshold "
            f"{tests.threshold:g}, --z_crop {tests.z_crop:g}); lower --threshold or --z_crop, or check --contrast"
        )
    return {"share": inside / (volume.shape[0] * height * width)}


def _write_empty(writer: MrcWriter, sections: range, height: int, width: int) -> None:
    for z in sections:
        writer.write(z, np.zeros((1, height, width), np.int8))
