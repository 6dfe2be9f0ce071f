"""Stage 1: an MRC tomogram becomes sharded OME-Zarr in its own dtype, and its grey values are measured on the way.

The voxels are read once, layer by layer. They are read twice only where constant borders have to be found first.
"""

import base64
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc import MrcVolume, open_mrc
from mwr_hpc.io.mrc_header import require_volume
from mwr_hpc.io.ome_zarr import OmeZarrWriter
from mwr_hpc.numerics.normalization import LARGEST_VALUE, Box, StatisticsAccumulator, constant_borders


def convert_tomogram(inputs: Mapping[str, Path], parameters: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Convert one tomogram.

    Parameters
    ----------
    inputs
        "tomogram": an MRC file.
    parameters
        None.
    output
        The OME-Zarr directory to create.

    Returns
    -------
    dict
        "statistics" (see `VolumeStatistics.to_record`), "interior" (the box they are of), "shape", "dtype",
        "voxel_size" and "source" (path, size, modification time, CRC-32 of the whole file).

    Raises
    ------
    InputError
        The file is no MRC volume, or holds NaN, infinite or constant voxels.
    DiskFullError
        No space is left.
    """
    path = inputs["tomogram"]
    volume = open_mrc(path)
    require_volume(path, volume.header)
    before = path.stat()
    interior = constant_borders(volume.shape, lambda z: volume.slab(z, z + 1)[0])
    if interior is None:
        raise InputError(
            f"{path}: all voxels have the value {volume.slab(0, 1)[0, 0, 0]:g}; there is nothing to learn from: "
            "reconstruct the tomogram again"
        )
    with OmeZarrWriter(output, volume.shape, volume.header.dtype, volume.voxel_size, volume.origin) as writer:
        statistics, checksum = _copy(volume, interior, writer)
        after = path.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise InputError(f"{path}: changed while it was read; start again when nothing writes to it")
        source = {
            "path": str(path.absolute()),
            "size": after.st_size,
            "mtime_ns": after.st_mtime_ns,
            "crc32": f"{checksum:08x}",
        }
        writer.attributes = {
            "statistics": statistics,
            "interior": interior,
            "mrc_header": base64.b64encode(volume.header.to_bytes()).decode("ascii"),
            "mrc_byte_order": volume.header.byte_order,
            "source": source,
        }
    return {
        "statistics": statistics,
        "interior": interior,
        "shape": list(volume.shape),
        "dtype": volume.header.dtype.name,
        "voxel_size": list(volume.voxel_size),
        "source": source,
    }


def _copy(volume: MrcVolume, interior: Box, writer: OmeZarrWriter) -> tuple[dict[str, Any], int]:
    """Write all voxels; return the statistics of the interior and the CRC-32 of the file."""
    accumulator = StatisticsAccumulator(volume.shape, interior)
    checksum = zlib.crc32(volume.header.to_bytes())
    for start, stop in writer.layers:
        slab = volume.slab(start, stop)
        checksum = zlib.crc32(slab.view(np.uint8).data, checksum)
        if bad := accumulator.add(start, slab):
            z, y, x = bad
            raise InputError(
                f"{volume.path}: the voxel (z, y, x) = {bad} has the value {slab[z - start, y, x]:g}; expected finite "
                f"numbers up to {LARGEST_VALUE:g}: reconstruct or export the tomogram again"
            )
        writer.write(start, slab)
    return accumulator.result().to_record(), checksum
