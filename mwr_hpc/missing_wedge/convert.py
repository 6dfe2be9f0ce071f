"""Stage 1: a tomogram becomes sharded OME-Zarr in its own dtype, and its grey values are measured on the way.

The voxels are read once, layer by layer. They are read twice only where constant borders have to be found first.
"""

import base64
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc import MrcVolume
from mwr_hpc.io.ome_zarr import OmeZarrWriter
from mwr_hpc.io.volume import Volume, is_ome_zarr, open_volume, read_sections, section_reader
from mwr_hpc.numerics.defects import Defects, find_defects
from mwr_hpc.numerics.normalization import LARGEST_VALUE, Box, StatisticsAccumulator
from mwr_hpc.numerics.padding import constant_borders


def convert_tomogram(inputs: Mapping[str, Path], parameters: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Convert one tomogram.

    Parameters
    ----------
    inputs
        "tomogram": an MRC file, or an OME-Zarr directory.
    parameters
        "voxel_size" in angstrom where the file is known to state none; "bytes", "signed" or "unsigned", where the file
        does not tell how to read them.
    output
        The OME-Zarr directory to create.

    Returns
    -------
    dict
        "statistics" (see `VolumeStatistics.to_record`), "interior" (the box they are of), "defects" (where there are
        any: see `Defects.to_record`; the positions of outliers are in the output's attributes only), "shape", "dtype",
        "voxel_size" and "source" (path; size, modification time and CRC-32 of the whole file, of OME-Zarr those of
        its metadata and the CRC-32 of its voxels).

    Raises
    ------
    InputError
        The file is no volume, or holds NaN, infinite or constant voxels.
    DiskFullError
        No space is left.
    """
    path = inputs["tomogram"]
    volume = open_volume(path, parameters.get("bytes"))
    proof = path / "zarr.json" if is_ome_zarr(path) else path
    before = proof.stat()
    interior = getattr(volume, "attributes", {}).get("interior")  # one section of OME-Zarr costs as much as many
    interior = interior or constant_borders(volume.shape, lambda z: read_sections(volume, z, z + 1)[0])
    if interior is None:
        value = read_sections(volume, 0, 1)[0, 0, 0]
        raise InputError(
            f"{path}: all voxels have the value {value:g}; there is nothing to learn from: reconstruct the tomogram "
            "again"
        )
    stated = parameters.get("voxel_size", 0.0)
    z, y, x = volume.voxel_size
    voxel_size = (z or stated, y or stated, x or stated)
    dtype = np.dtype(volume.data.dtype)
    with OmeZarrWriter(output, volume.shape, dtype, voxel_size, volume.origin) as writer:
        statistics, defects, checksum = _copy(volume, interior, writer)
        after = proof.stat()
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
            "defects": defects and defects.to_record(),
            "source": source,
        }
        if (header := volume.mrc_header) is not None:
            writer.attributes["mrc_header"] = base64.b64encode(header.to_bytes()).decode("ascii")
            writer.attributes["mrc_byte_order"] = header.byte_order
    return {
        "statistics": statistics,
        "interior": interior,
        **({"defects": defects.summary()} if defects else {}),
        "shape": list(volume.shape),
        "dtype": dtype.name,
        "voxel_size": list(voxel_size),
        "source": source,
    }


def _copy(volume: Volume, interior: Box, writer: OmeZarrWriter) -> tuple[dict[str, Any], Defects | None, int]:
    """Write all voxels; return the statistics of the interior, its defects and the CRC-32 of the file."""
    accumulator = StatisticsAccumulator(volume.shape, interior)
    before, behind = volume.around() if isinstance(volume, MrcVolume) else (b"", b"")
    checksum = zlib.crc32(before)
    for start, stop in writer.layers:
        slab = read_sections(volume, start, stop)
        if bad := accumulator.add(start, slab):
            z, y, x = bad
            raise InputError(
                f"{volume.path}: the voxel (z, y, x) = {bad} has the value {slab[z - start, y, x]:g}; expected finite "
                f"numbers up to {LARGEST_VALUE:g}: reconstruct or export the tomogram again"
            )
        writer.write(start, slab)
        checksum = zlib.crc32(slab.view(np.uint8).data, checksum)
    statistics = accumulator.result()
    defects = find_defects(accumulator, statistics, section_reader(volume), interior)
    return statistics.to_record(), defects, zlib.crc32(behind, checksum)
