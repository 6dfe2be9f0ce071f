"""Tiles cover the image, each pixel comes from where it is most central, and nothing of a tile's faces is seen."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from mwr_hpc.boxnet.tiles import predict_tiled, spans
from mwr_hpc.numerics.keyed_random import keyed_generator


@given(
    length=st.integers(1, 60), tile=st.integers(1, 20), overlap=st.integers(0, 40), multiple=st.sampled_from([1, 2, 4])
)
def test_spans(length: int, tile: int, overlap: int, multiple: int) -> None:
    length, tile = length * multiple, tile * multiple
    size, found = spans(length, tile, overlap, multiple)
    assert size <= max(tile, length) and size % multiple == 0
    assert [span.first for span in found] == [0, *(span.last for span in found[:-1])] and found[-1].last == length
    for span in found:
        assert 0 <= span.start <= span.first < span.last <= span.start + size <= length
        assert span.start % multiple == 0
    if overlap < tile - multiple:
        assert size <= tile
        for before, after in itertools.pairwise(found):
            assert before.start + size - after.start >= overlap
            # What is kept is as far from the one tile's end as from the other's beginning.
            assert before.start + size - before.last == pytest.approx(after.first - after.start, abs=1)
        pixels = np.arange(length)
        depth = [np.minimum(pixels - s.start + 0.5, s.start + size - pixels - 0.5) for s in found]
        for number, span in enumerate(found):
            for other in (number - 1, number + 1):
                if 0 <= other < len(found):
                    kept = pixels[span.first : span.last]
                    facing = kept > found[other].start if other > number else kept < found[other].start + size
                    assert (depth[number][kept] >= depth[other][kept] - 1)[facing].all()


def smoothed(batch: np.ndarray) -> np.ndarray:
    """A network of one layer that sees 3 pixels far and nothing beyond its input."""
    image = batch[0, ..., 0]
    return np.stack([ndimage.uniform_filter(image, 7, mode="constant"), image], axis=-1)[None]


@pytest.mark.parametrize("shape", [(50, 75), (24, 24), (20, 96), (7, 5), (64, 64)])
def test_the_same_as_the_whole(shape: tuple[int, int]) -> None:
    image = keyed_generator(0, "test").standard_normal(shape).astype(np.float32)
    whole = predict_tiled(smoothed, image, tile=4096, overlap=8, multiple=4)
    tiled = predict_tiled(smoothed, image, tile=24, overlap=8, multiple=4)
    assert tiled.shape == (*shape, 2) and tiled.dtype == np.float32
    assert (tiled[..., 1] == image).all()
    assert tiled == pytest.approx(whole, abs=1e-6)
    assert whole[..., 0] == pytest.approx(ndimage.uniform_filter(image, 7, mode="constant"), abs=1e-6)
    if max(shape) > 24:
        too_narrow = predict_tiled(smoothed, image, tile=24, overlap=0, multiple=4)
        assert np.abs(too_narrow - whole).max() > 0.1
