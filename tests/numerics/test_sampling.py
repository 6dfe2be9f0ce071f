"""Centres, held-out blocks and crops at the border."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mwr_hpc.numerics.sampling import TAPER, check_sizes, cut_box, cut_crop, held_out_block, sample_centres

edges = st.integers(20, 160)


def generator(seed=0):
    return np.random.default_rng(seed)


@given(edges, edges, edges, st.sampled_from([(8, 12), (16, 24), (24, 24)]), st.integers(0, 1000))
def test_cubes_lie_inside_the_volume(nz, ny, nx, sizes, seed):
    cube, crop = sizes
    centres = sample_centres((nz, ny, nx), cube, crop, 20, generator(seed))
    assert centres.dtype == np.int32 and centres.shape == (20, 3)
    for axis, n in enumerate((nz, ny, nx)):
        if n >= cube:
            assert (centres[:, axis] - cube // 2 >= 0).all() and (centres[:, axis] + cube // 2 <= n).all()
        else:
            assert (centres[:, axis] == n // 2).all()


@given(edges, edges, edges, st.sampled_from([(8, 12), (16, 24), (24, 24)]), st.integers(0, 1000))
def test_no_training_crop_touches_the_held_out_block_and_held_out_cubes_lie_in_it(nz, ny, nx, sizes, seed):
    shape, (cube, crop) = (nz, ny, nx), sizes
    block = held_out_block(shape, cube, crop)
    assume(block is not None)
    taken = np.zeros(shape, bool)
    for centre in sample_centres(shape, cube, crop, 50, generator(seed), held_out=block):
        taken[tuple(slice(max(0, c - crop // 2), c + crop // 2) for c in centre)] = True
    z0, z1, y0, y1, x0, x1 = block
    assert (z0, z1, y1, x1) == (0, nz, ny, nx)
    assert not taken[z0:z1, y0:y1, x0:x1].any()
    for centre in sample_centres(shape, cube, crop, 5, generator(seed), held_out=block, inside_held_out=True):
        assert y0 <= centre[1] - cube // 2 and centre[1] + cube // 2 <= y1
        assert x0 <= centre[2] - cube // 2 and centre[2] + cube // 2 <= x1


@given(edges, edges, edges, st.sampled_from([(8, 12), (16, 24), (32, 48)]))
def test_holding_out_costs_at_most_a_third_of_the_places(nz, ny, nx, sizes):
    cube, crop = sizes
    block = held_out_block((nz, ny, nx), cube, crop)
    assume(block is not None)
    assert block[3] - block[2] >= cube and block[5] - block[4] >= cube
    y, x = (np.arange(cube // 2, n - cube // 2 + 1) for n in (ny, nx))
    lost = np.outer(y + crop // 2 > block[2], x + crop // 2 > block[4])
    assert lost.mean() <= 1 / 3


def test_a_small_volume_has_no_held_out_block():
    assert held_out_block((64, 100, 100), 64, 96) is None
    assert held_out_block((36, 206, 40), 48, 72) is None


def test_centres_are_uniform():
    centres = sample_centres((40, 50, 60), 16, 24, 6000, generator())
    for axis, n in enumerate((40, 50, 60)):
        counts = np.bincount(centres[:, axis], minlength=n)[8 : n - 7]
        expected = 6000 / len(counts)
        assert ((counts - expected) ** 2 / expected).sum() < len(counts) + 5 * np.sqrt(2 * len(counts))


def test_centres_of_a_mask_are_uniform_in_it():
    mask = np.zeros((70, 40, 40), np.uint8)
    mask[10:69, 20, 20] = 1
    mask[30, 12:30, 12:30] = 1
    centres = sample_centres(mask.shape, 16, 24, 300, generator(), mask=mask)
    assert mask[tuple(centres.T)].all()
    assert (centres[:, 0] <= 62).all()
    places = int((mask[8:63, 8:33, 8:33] > 0).sum())
    in_plane = (centres[:, 0] == 30).mean()
    assert in_plane == pytest.approx(18 * 18 / places, abs=0.08)


def test_no_place_is_drawn_twice_while_there_are_enough():
    mask = np.zeros((40, 40, 40), bool)
    mask[20, 20, 10:30] = True
    assert len(np.unique(sample_centres(mask.shape, 16, 24, 20, generator(), mask=mask), axis=0)) == 20
    assert len(sample_centres(mask.shape, 16, 24, 30, generator(), mask=mask)) == 30


def test_an_empty_mask_is_refused():
    with pytest.raises(ValueError, match="mask is empty"):
        sample_centres((40, 40, 40), 16, 24, 3, generator(), mask=np.zeros((40, 40, 40)))


def test_a_crop_over_twice_the_thickness_is_refused_with_sizes_that_fit():
    check_sizes((36, 206, 94), 72)
    with pytest.raises(ValueError, match="at most 72 and a cube size of about 48"):
        check_sizes((36, 206, 94), 96)


def test_a_crop_inside_is_the_volume_itself():
    volume = np.arange(20**3, dtype=np.int16).reshape(20, 20, 20)
    crop, valid = cut_crop(volume, np.array([10, 9, 8]), 8, fill=-5.0)
    assert crop.dtype == np.float32
    np.testing.assert_array_equal(crop, volume[6:14, 5:13, 4:12])
    assert valid.tolist() == [0, 8, 0, 8, 0, 8]


@given(st.tuples(*[st.integers(0, 19)] * 3), st.integers(0, 100))
def test_a_crop_at_a_face_holds_the_volume_in_its_valid_box_and_the_mean_far_outside(centre, seed):
    volume = generator(seed).normal(3, 1, (20, 20, 20)).astype(np.float32)
    crop, valid = cut_crop(volume, np.array(centre), 24, fill=3.0)
    box = tuple(slice(*valid[2 * axis : 2 * axis + 2]) for axis in range(3))
    source = tuple(slice(c - 12 + s.start, c - 12 + s.stop) for c, s in zip(centre, box, strict=True))
    np.testing.assert_allclose(crop[box], volume[source], atol=1e-5)
    padded = np.ones(crop.shape, bool)
    padded[box] = False
    far = np.ones(crop.shape, bool)
    far[tuple(slice(max(0, s.start - TAPER), s.stop + TAPER) for s in box)] = False
    assert padded.sum() == 24**3 - np.prod([s.stop - s.start for s in box])
    np.testing.assert_allclose(crop[far], 3.0, atol=1e-6)


def test_outside_a_face_values_fall_from_the_face_to_the_mean():
    volume = np.full((8, 8, 8), 10.0, np.float32)
    crop, valid = cut_crop(volume, np.array([0, 4, 4]), 16, fill=2.0)
    assert valid.tolist() == [8, 16, 4, 12, 4, 12]
    outside = crop[:8, 8, 8][::-1]
    assert 9 < outside[0] < 10
    assert (np.diff(outside[: TAPER + 1]) < 0).all()
    np.testing.assert_allclose(outside[TAPER:], 2.0, atol=1e-6)


def test_a_box_that_misses_the_volume_is_refused():
    with pytest.raises(ValueError, match="outside"):
        cut_box(np.zeros((8, 8, 8), np.float32), (9, 0, 0), (4, 4, 4), 0.0)
