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
from mwr_hpc.boxnet.names import particles_of, picks_of_one, positions_inside
from mwr_hpc.errors import InputError
from mwr_hpc.io.micrograph import Micrograph, read_mask, read_micrograph, same_pixel_size
from mwr_hpc.io.pick_table import PickTable
from mwr_hpc.numerics.mask_fit import fits_better_upside_down
from mwr_hpc.numerics.micrograph import hot_pixels, prepare, working_shape

UPSIDE_DOWN = "mask_upside_down"
"""Among the figures where the mask fits the micrograph clearly better with its rows reversed."""

OUTSIDE_COUNT = "outside"
"""Figure of an example: how many of its particles were excluded, for they are outside the micrograph."""


def prepare_example(inputs: Mapping[str, Path | None], parameters: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Make the example of one micrograph.

    Parameters
    ----------
    inputs
        "micrograph" and "positives"; "important", "uncertain" and "mask" or None.
    parameters
        "name"; "angpix" of the micrograph, None: its header's; "pixel_size" to work at, in angstrom; "contrast",
        "dark" or "bright"; "diameter" in angstrom; "important_weight"; "border" in pixels of the micrograph, in which
        pixels weigh 0, None: where nobody picked; "merged", whether "positives" lists other micrographs too; "bytes",
        "signed" or "unsigned", where the micrograph does not tell how to read them; "listed", the micrograph's path in
        the list, where its name alone does not tell.
    output
        The Zarr array to create.

    Returns
    -------
    dict
        An `Entry`, the number of "hot_pixels", `UPSIDE_DOWN` of a mask of which that is so, and as `OUTSIDE_COUNT` how
        many positives were excluded, if any were.

    Raises
    ------
    InputError
        A file cannot be used, or leaves nothing to learn from.
    DiskFullError
        No space is left.
    """
    path, picks = inputs["micrograph"], inputs["positives"]
    assert path is not None and picks is not None, "every example has these"
    micrograph = read_micrograph(path, parameters["angpix"], parameters.get("bytes"))
    working = parameters["pixel_size"]
    try:
        image = prepare(micrograph.image, micrograph.pixel_size, working, parameters["contrast"])
    except ValueError as error:
        raise InputError(f"{path}: {error}; give a finer micrograph, or another --pixel_size") from error
    merged = parameters["merged"]
    table = particles_of(picks, path, parameters.get("listed")) if merged else picks_of_one(picks, path)
    positions = _working_positions(table, micrograph, image.shape)
    more = {kind: _further_positions(inputs.get(kind), micrograph, image.shape) for kind in ("important", "uncertain")}
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
    outside = len(table) - len(positions)
    figures = asdict(entry) | {"hot_pixels": hot_pixels(micrograph.image)}
    if outside:
        figures[OUTSIDE_COUNT] = outside
    if mask is not None and fits_better_upside_down(image, mask):
        figures[UPSIDE_DOWN] = True
    return figures


def _further_positions(source: Path | None, micrograph: Micrograph, shape: tuple[int, ...]) -> FloatArray:
    if source is None:
        return np.empty((0, 2), np.float32)
    return _working_positions(picks_of_one(source, micrograph.path), micrograph, shape)


def _working_positions(table: PickTable, micrograph: Micrograph, shape: tuple[int, ...]) -> FloatArray:
    """Positions (n, 2) y x in working pixels of those of a micrograph's particles that lie in it."""
    height, width = micrograph.image.shape
    if table.pixel_size is not None and not same_pixel_size(table.pixel_size, micrograph.pixel_size):
        raise InputError(
            f"{table.path}: positions in pixels of {table.pixel_size:g} A, but {micrograph.path} has pixels of "
            f"{micrograph.pixel_size:g} A; convert them, or give the micrographs that they were picked in"
        )
    scale = np.array([shape[0] / height, shape[1] / width])
    positions: FloatArray = (positions_inside(table, (height, width)) * scale).astype(np.float32)
    return positions


def _mask_like(path: Path, micrograph: Micrograph, working: float) -> NDArray[np.bool_]:
    """A mask of the micrograph's or the working shape, at the working pixel size."""
    mask = read_mask(path)
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
