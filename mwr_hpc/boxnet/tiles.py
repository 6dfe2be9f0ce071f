"""A micrograph through a network in overlapping tiles: every pixel from the tile in which it is most central."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Span:
    """One tile along one axis: it begins at `start`; what it says of the pixels `first` to `last` is kept."""

    start: int
    first: int
    last: int


def spans(length: int, tile: int, overlap: int, multiple: int) -> tuple[int, list[Span]]:
    """Divide an axis into tiles of one size.

    Parameters
    ----------
    length
        Pixels of the axis, a multiple of `multiple`.
    tile
        Largest size of a tile.
    overlap
        Least number of pixels that neighbours share; one of them keeps one half of these, the other the other half.
    multiple
        Tiles begin at, and have, multiples of this, so that a network that halves its input sees the same grid in all.

    Returns
    -------
    size, spans
        The size of all tiles, as small as their number allows, and where they lie.
    """
    length, tile, overlap = length // multiple, max(tile // multiple, 1), -(-overlap // multiple)
    step = max(tile - overlap, 1)
    count = max(1, -(-(length - overlap) // step))
    size = -(-(length + (count - 1) * overlap) // count)
    starts = [number * (length - size) // max(count - 1, 1) for number in range(count)]
    middles = [(before + size + after) * multiple // 2 for before, after in itertools.pairwise(starts)]
    borders = [0, *middles, length * multiple]
    return size * multiple, [
        Span(start * multiple, *kept) for start, kept in zip(starts, itertools.pairwise(borders), strict=True)
    ]


def predict_tiled(
    predict: Predict, image: NDArray[np.float32], *, tile: int, overlap: int, multiple: int
) -> NDArray[np.float32]:
    """Have a network look at an image of any size.

    Parameters
    ----------
    predict
        From (1, h, w, 1) to (1, h, w, c).
    image
        (h, w); zeros, the mean of a micrograph, complete it to multiples of `multiple`.
    tile, overlap, multiple
        As for `spans`.

    Returns
    -------
    ndarray of float32, (h, w, c)
        As `predict` says of the whole image, if what it says of a pixel depends on no other that is farther away than
        half of `overlap`.
    """
    height, width = image.shape
    padded = np.pad(image, [(0, -height % multiple), (0, -width % multiple)])
    tile_height, rows = spans(padded.shape[0], tile, overlap, multiple)
    tile_width, columns = spans(padded.shape[1], tile, overlap, multiple)
    result: NDArray[np.float32] | None = None
    for row in rows:
        for column in columns:
            seen = padded[row.start : row.start + tile_height, column.start : column.start + tile_width]
            said = predict(np.ascontiguousarray(seen)[None, ..., None])[0]
            if result is None:
                result = np.empty((*padded.shape, said.shape[-1]), np.float32)
            result[row.first : row.last, column.first : column.last] = said[
                row.first - row.start : row.last - row.start, column.first - column.start : column.last - column.start
            ]
    assert result is not None  # there is at least one tile
    return result[:height, :width]
