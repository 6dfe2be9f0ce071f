"""The sampler: every sample once a pass, the same whatever the ranks, every tomogram its share."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwr_hpc.errors import ConfigError
from mwr_hpc.training.sampler import Sampler, automatic_steps, check_batch_size, part_of_rank


def samples(**tomograms: int):
    return [(name, crop, 0) for name, count in tomograms.items() for crop in range(count)]


@given(count=st.integers(1, 60), batch_size=st.integers(1, 8), steps=st.integers(1, 20), epoch=st.integers(1, 5))
def test_no_sample_is_taken_twice_before_all_were_taken(count, batch_size, steps, epoch):
    every = samples(a=count)
    order = Sampler(every, 0, 1, batch_size, steps).epoch(epoch)
    assert len(order) == steps * batch_size
    for start in range(0, len(order), count):
        taken = order[start : start + count]
        assert len(set(taken)) == len(taken)


def test_the_order_is_a_function_of_seed_iteration_and_epoch():
    every = samples(a=50)
    order = Sampler(every, 0, 1, 5, 10).epoch(1)
    assert Sampler(every, 0, 1, 5, 10).epoch(1) == order
    for other in (Sampler(every, 1, 1, 5, 10), Sampler(every, 0, 2, 5, 10)):
        assert other.epoch(1) != order
    assert Sampler(every, 0, 1, 5, 10).epoch(2) != order


def test_a_limited_epoch_takes_the_same_from_every_tomogram():
    every = samples(a=100, b=20, c=50)
    counts = Counter(sample[0] for sample in Sampler(every, 0, 1, 4, 15).epoch(1))
    assert counts == {"a": 20, "b": 20, "c": 20}


def test_a_limited_epoch_takes_other_samples_each_time():
    sampler = Sampler(samples(a=100, b=100), 0, 1, 4, 5)
    assert len(set(sampler.epoch(1)) & set(sampler.epoch(2))) < 10


@given(ranks=st.sampled_from([1, 2, 4]))
def test_the_parts_of_the_ranks_are_the_batch(ranks):
    batch = samples(a=8)
    parts = [part_of_rank(batch, rank, ranks) for rank in range(ranks)]
    assert [sample for part in parts for sample in part] == batch
    assert len({len(part) for part in parts}) == 1


def test_automatic_steps_are_a_pass_within_the_limit_of_an_iteration():
    assert automatic_steps(pairs=800, batch_size=8, epochs=10, max_samples=16000) == 100
    assert automatic_steps(pairs=801, batch_size=8, epochs=10, max_samples=16000) == 101
    assert automatic_steps(pairs=800_000, batch_size=8, epochs=10, max_samples=16000) == 200
    assert automatic_steps(pairs=3, batch_size=8, epochs=10, max_samples=16) == 1


def test_a_batch_that_cannot_be_divided_is_refused_with_the_nearest_that_can():
    check_batch_size(8, 4)
    with pytest.raises(ConfigError, match="use 8 or 12"):
        check_batch_size(10, 4)
    with pytest.raises(ConfigError, match=r"use 4$"):
        check_batch_size(3, 4)
