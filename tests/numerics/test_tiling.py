"""Tiles cover the volume once, whatever its shape."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwr_hpc.numerics.tiling import blend, plan_tiles, read_tiles

shapes = st.tuples(*[st.integers(5, 70)] * 3)
sizes = st.sampled_from([(32, 16, 8), (32, 32, 8), (24, 20, 4), (48, 32, 16), (16, 14, 2)])


def assembled(plan, tiles):
    slabs = list(blend(plan, tiles))
    assert [z for z, _ in slabs] == [0, *np.cumsum([len(slab) for _, slab in slabs])[:-1]]
    return np.concatenate([slab for _, slab in slabs])


@given(shapes, sizes)
def test_weights_sum_to_one_everywhere(shape, tile):
    plan = plan_tiles(shape, *tile)
    ones = ((t, np.ones(plan.tile_shape, np.float32)) for row in plan.rows() for t in row)
    volume = assembled(plan, ones)
    assert volume.shape == shape
    np.testing.assert_allclose(volume, 1, atol=1e-6)


@given(shapes, sizes, st.integers(0, 2**32 - 1))
def test_tiles_put_together_are_the_volume(shape, tile, seed):
    volume = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    plan = plan_tiles(shape, *tile)
    tiles = list(read_tiles(volume, plan, 0.0))
    assert len(tiles) == len(plan)
    assert all(values.shape == plan.tile_shape for _, values in tiles)
    np.testing.assert_allclose(assembled(plan, tiles), volume, atol=2e-6)


@given(shapes, sizes)
def test_a_tile_has_the_whole_margin_except_at_the_faces_of_the_volume(shape, tile):
    plan = plan_tiles(shape, *tile)
    tile_size, core, multiple = tile
    margin = (tile_size - core) // 2
    assert all(n % multiple == 0 and n <= tile_size for n in plan.tile_shape)
    for row in plan.rows():
        for t in row:
            for axis in range(3):
                low, high = plan.borders[axis][t.index[axis] : t.index[axis] + 2]
                assert low < high
                assert t.start[axis] + (margin if low > 0 else 0) <= low
                assert high + (margin if high < shape[axis] else 0) <= t.start[axis] + plan.tile_shape[axis]


@given(shapes, sizes)
def test_tiles_reach_outside_only_to_be_a_multiple(shape, tile):
    plan = plan_tiles(shape, *tile)
    for starts, edge, size in zip(plan.starts, plan.tile_shape, shape, strict=True):
        assert starts[0] >= 0 or edge - size < tile[2]
        assert starts[-1] + edge <= size or edge - size < tile[2]


def test_what_a_tile_says_in_the_outer_half_of_its_margin_is_discarded():
    plan = plan_tiles((40, 40, 40), 32, 16, 8)
    tiles = []
    for t, values in read_tiles(np.ones((40, 40, 40), np.float32), plan, 1.0):
        spoilt = values.copy()
        for axis in range(3):
            ends = np.moveaxis(spoilt, axis, 0)
            if t.start[axis] > 0:
                ends[:4] = np.nan
            if t.start[axis] + plan.tile_shape[axis] < 40:
                ends[-4:] = np.nan
        tiles.append((t, spoilt))
    np.testing.assert_allclose(assembled(plan, tiles), 1, atol=1e-6)


def test_a_thin_volume_gets_thin_tiles():
    assert plan_tiles((36, 206, 94), 96, 64, 8).tile_shape[0] == 40
    assert plan_tiles((96, 160, 160), 176, 144, 8).tile_shape == (96, 160, 160)
    assert plan_tiles((512, 1024, 1024), 96, 64, 8).tile_shape == (96, 96, 96)


def test_memory_is_bounded_by_a_slab():
    plan = plan_tiles((400, 20, 20), 32, 16, 8)

    def ones():
        for row in plan.rows():
            for t in row:
                yield t, np.ones(plan.tile_shape, np.float32)

    assert max((slab.base if slab.base is not None else slab).shape[0] for _, slab in blend(plan, ones())) <= 32


def test_outside_the_volume_is_its_mean():
    plan = plan_tiles((10, 10, 10), 48, 16, 16)
    _, values = next(iter(read_tiles(np.full((10, 10, 10), 9.0, np.float32), plan, 2.0)))
    assert plan.tile_shape == (16, 16, 16)
    assert values[8, 8, 8] == 9 and values[0, 0, 0] != 9


@pytest.mark.parametrize(("tile", "core", "multiple"), [(30, 16, 8), (32, 40, 8), (32, 15, 8), (32, 0, 8)])
def test_sizes_that_do_not_fit_are_refused(tile, core, multiple):
    with pytest.raises(ValueError, match="tile size"):
        plan_tiles((40, 40, 40), tile, core, multiple)
