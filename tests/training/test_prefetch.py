"""Work ahead of need: in order, bounded, and with its errors."""

import threading
import time

import pytest

from mwr_hpc.training.prefetch import in_background, prefetched


def test_items_come_in_order_whichever_is_made_first():
    def make(index):
        time.sleep(0.02 * (index % 3 == 0))
        return index * index

    assert list(prefetched(make, range(10), ahead=4, threads=3)) == [index * index for index in range(10)]


def test_no_more_than_asked_is_made_ahead():
    made = []
    batches = prefetched(lambda index: made.append(index), range(100), ahead=3, threads=2)
    next(batches)
    time.sleep(0.05)
    assert len(made) <= 4
    batches.close()


@pytest.mark.parametrize("ahead", [1, 5])
def test_an_error_comes_in_its_place(ahead):
    def fails():
        yield 1
        raise OSError("disk")

    received = []
    with pytest.raises(OSError, match="disk"):
        for item in in_background(fails(), ahead):
            received.append(item)
    assert received == [1]

    with pytest.raises(ZeroDivisionError):
        list(prefetched(lambda index: 1 // (2 - index), range(5), ahead))


def test_a_consumer_that_leaves_early_leaves_no_thread():
    before = threading.active_count()
    items = in_background(iter(range(1000)), ahead=2)
    assert [next(items), next(items)] == [0, 1]
    items.close()
    assert threading.active_count() == before
