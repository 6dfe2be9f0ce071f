"""Random numbers belong to their key alone."""

import itertools

import numpy as np
import pytest

from mwr_hpc.numerics.keyed_random import keyed_generator


def test_the_same_key_gives_the_same_numbers_whatever_was_drawn_before():
    keyed_generator(1, "noise").normal(size=1000)
    first = keyed_generator(0, "centres", 3, "tomo", 7).integers(0, 2**63, 100)
    again = keyed_generator(0, "centres", 3, "tomo", 7).integers(0, 2**63, 100)
    np.testing.assert_array_equal(first, again)


def test_the_numbers_do_not_change_between_versions():
    assert keyed_generator(0, "centres", 1, "tomo", 2).integers(0, 1000, 4).tolist() == [837, 6, 423, 269]


def test_each_part_of_the_key_matters():
    keys = [(0, "a", 0, "", 0), (1, "a", 0, "", 0), (0, "b", 0, "", 0), (0, "a", 1, "", 0), (0, "a", 0, "t", 0)]
    keys += [(0, "a", 0, "", 1), (0, "a", 0, "1", 1), (0, "a", 0, "11", 0), (0, "a1", 0, "", 1)]
    draws = [keyed_generator(*key).random(8) for key in keys]
    for one, other in itertools.combinations(draws, 2):
        assert not np.array_equal(one, other)


@pytest.mark.parametrize("index", range(3))
def test_streams_of_neighbouring_indices_are_uncorrelated(index):
    one = keyed_generator(0, "x", index=index).normal(size=20_000)
    other = keyed_generator(0, "x", index=index + 1).normal(size=20_000)
    assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(20_000)
