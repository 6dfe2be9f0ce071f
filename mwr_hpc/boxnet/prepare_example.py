"""Stage: one micrograph with its corrected picks becomes an example to learn from."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mwr_hpc.boxnet.examples import Entry, Example, FloatArray, write_example
from mwr_hpc.boxnet.labels import CONTAMINATION, clear_margin, paint, unpicked_margin
from mwr_hpc.errors import InputError
from mwr_hpc.io.micrograph import Micrograph, read_micrograph, same_pixel_size
from mwr_hpc.io.mrc import open_mrc
from mwr_hpc.io.picks import PickTable, read_picks
from mwr_hpc.io.tiff import SUFFIXES as TIFF_SUFFIXES
from mwr_hpc.io.tiff import read_mask
from mwr_hpc.numerics.micrograph import hot_pixels, prepare, working_shape

OUTSIDE = 0.5
"""Pixels that a position may lie beyond the centre of the outermost pixel: programs round."""


def prepare_example(inputs: Mapping[str, Path | None], parameters: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Make the example of one micrograph.

    Parameters
    ----------
    inputs
        "micrograph" and "positives"; "important", "uncertain" and "mask" or None.
    parameters
        "name"; "angpix" of the micrograph, None: its header's; "pixel_size" to work at, in angstrom; "contrast",
        "dark" or "bright"; "diameter" in angstrom; "important_weight"; "border" in pixels of the micrograph, in which
        pixels weigh 0, None: where nobody picked; "merged", whether "positives" lists other micrographs too.
    output
        The Zarr array to create.

    Returns
    -------
    dict
        An `Entry`, and the number of "hot_pixels".

    Raises
    ------
    InputError
        A file cannot be used, or leaves nothing to learn from.
    DiskFullError
        No space is left.
    """
    path, picks = inputs["micrograph"], inputs["positives"]
    assert path is not None and picks is not None, "every example has these"
    micrograph = read_micrograph(path, parameters["angpix"])
    working = parameters["pixel_size"]
    try:
        image = prepare(micrograph.image, micrograph.pixel_size, working, parameters["contrast"])
    except ValueError as error:
        raise InputError(f"{path}: {error}; give a finer micrograph, or another --pixel_size") from error
    table = read_picks(picks)
    if parameters["merged"]:
        table = _of_micrograph(table, parameters["name"])
    positions = _working_positions(table, micrograph, parameters["name"], image.shape)
    more = {
        kind: _working_positions(read_picks(source), micrograph, parameters["name"], image.shape)
        if (source := inputs.get(kind)) is not None
        else np.empty((0, 2), np.float32)
        for kind in ("important", "uncertain")
    }
    source = inputs.get("mask")
    mask = _mask_like(source, micrograph, working) if source is not None else None
    shape, diameter = (image.shape[0], image.shape[1]), parameters["diameter"] / working
    labels, weights = paint(
        shape, positions, more["important"], more["uncertain"], diameter, mask, parameters["important_weight"]
    )
    border = parameters["border"]
    clear_margin(
        weights,
        unpicked_margin(positions, shape, diameter) if border is None else border * micrograph.pixel_size / working,
    )
    if not weights.any():
        raise InputError(
            f"{inputs['uncertain'] or path}: all weights are zero: the uncertain places and the border cover {path}; "
            "remove some, or lower --border"
        )
    if (labels == CONTAMINATION).all():
        raise InputError(f"{source}: the mask covers all of {path}, which leaves nothing to learn; paint it again")
    write_example(
        output,
        Example(parameters["name"], image, labels, weights, positions, mask is not None, parameters["diameter"]),
        working,
    )
    with path.open("rb") as stream:
        checksum = hashlib.file_digest(stream, "sha256").hexdigest()
    entry = Entry(parameters["name"], path.name, checksum, len(positions), mask is not None, parameters["diameter"])
    return asdict(entry) | {"hot_pixels": hot_pixels(micrograph.image)}


def _of_micrograph(table: PickTable, name: str) -> PickTable:
    """The particles of one micrograph, of a list of many."""
    names = table.micrographs or ()
    return table.only(np.array([Path(other).stem == name for other in names], bool))


def _working_positions(table: PickTable, micrograph: Micrograph, name: str, shape: tuple[int, ...]) -> FloatArray:
    """Positions (n, 2) y x in working pixels of a table that belongs to this micrograph alone."""
    height, width = micrograph.image.shape
    strange = {other for other in table.micrographs or () if Path(other).stem != name}
    if strange:
        raise InputError(
            f"{table.path}: particles of {sorted(strange)[0]} in the file of {micrograph.path.name}; "
            "give each micrograph its own"
        )
    if table.pixel_size is not None and not same_pixel_size(table.pixel_size, micrograph.pixel_size):
        raise InputError(
            f"{table.path}: positions in pixels of {table.pixel_size:g} A, but {micrograph.path} has pixels of "
            f"{micrograph.pixel_size:g} A; convert them, or give the micrographs that they were picked in"
        )
    limits = np.array([height, width]) - 1 + OUTSIDE
    outside = ((table.positions < -OUTSIDE) | (table.positions > limits)).any(axis=1)
    if outside.any():
        y, x = table.positions[outside][0]
        raise InputError(
            f"{table.path}: {np.count_nonzero(outside)} of {len(table)} positions are outside the micrograph, "
            f"the first at x = {x:g}, y = {y:g} of {width} x {height} pixels; were they picked in another pixel size?"
        )
    scale = np.array([shape[0] / height, shape[1] / width])
    positions: FloatArray = (table.positions * scale).astype(np.float32)
    return positions


def _mask_like(path: Path, micrograph: Micrograph, working: float) -> NDArray[np.bool_]:
    """A mask of the micrograph's or the working shape, at the working pixel size."""
    mask: NDArray[np.bool_]
    if path.suffix.lower() in TIFF_SUFFIXES:
        mask = read_mask(path)
    else:
        volume = open_mrc(path)
        if volume.shape[0] != 1:
            raise InputError(f"{path}: a mask of {volume.shape[0]} sections; expected one image")
        mask = np.asarray(volume.data[0]) > 0.5
    height, width = micrograph.image.shape
    shape = working_shape((height, width), micrograph.pixel_size, working)
    if mask.shape == shape:
        return mask
    if mask.shape != (height, width):
        raise InputError(
            f"{path}: the mask has {mask.shape[1]} x {mask.shape[0]} pixels; expected {width} x {height}, as the "
            f"micrograph, or {shape[1]} x {shape[0]}, as at {working:g} A per pixel"
        )
    rows, columns = (
        np.minimum(np.round(np.arange(count) * side / count).astype(int), side - 1)
        for count, side in zip(shape, (height, width), strict=True)
    )
    small: NDArray[np.bool_] = mask[rows[:, None], columns]
    return small
