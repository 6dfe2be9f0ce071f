"""Statistics without padding and outliers are those of the volume that has none, however it passes by."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mwr_hpc.numerics.defects import Defects, find_defects
from mwr_hpc.numerics.normalization import StatisticsAccumulator, VolumeStatistics
from mwr_hpc.numerics.padding import constant_borders

SHAPE = (20, 40, 44)


def noise() -> np.ndarray:
    return np.random.default_rng(2).normal(20_000, 100, SHAPE).astype(np.float32)


def measured(volume: np.ndarray, slab: int = 7) -> tuple[VolumeStatistics, Defects | None]:
    box = constant_borders(volume.shape, lambda z: volume[z])
    assert box is not None
    accumulator = StatisticsAccumulator(volume.shape, box)
    for z in range(0, len(volume), slab):
        assert accumulator.add(z, volume[z : z + slab]) is None
    statistics = accumulator.result()
    return statistics, find_defects(accumulator, statistics, lambda z: volume[z], box)


def test_a_sound_volume_has_none() -> None:
    assert measured(noise())[1] is None


@given(slab=st.integers(1, 20), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_slabs_do_not_matter(slab: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    volume = ndimage.rotate(noise(), 12, (0, 2), reshape=False, order=1, cval=0)
    for z, y, x in generator.integers(2, np.array(SHAPE) - 2, (6, 3)):
        volume[z : z + generator.integers(1, 4), y, x] = generator.choice([1e5, -1e9])
    assert repr(measured(volume, slab)) == repr(measured(volume, 20))


def test_statistics_are_those_of_the_volume_without_outliers_bit_for_bit() -> None:
    volume = noise()
    for place in ((0, 0, 0), (7, 20, 20), (7, 20, 21), (19, 39, 43)):
        volume[place] = -1e12
    statistics, defects = measured(volume)
    assert defects is not None and len(defects.outliers) == 4 and statistics.std > 1e9
    clean = defects.hide_in(volume.copy(), (0, 0, 0))
    assert measured(clean) == (defects.statistics, None)
    assert defects.padded_statistics == defects.statistics
    np.testing.assert_allclose(defects.statistics.std, noise().std(), rtol=1e-3)
    defects.restore_in(clean, volume, (0, 0, 0))
    np.testing.assert_array_equal(clean, volume)


@pytest.mark.parametrize("axes", [(1, 2), (0, 2), (0, 1)])
@pytest.mark.parametrize("order", [0, 1])
def test_zero_corners_of_integers_around_20000(axes: tuple[int, int], order: int) -> None:
    """What made the standard deviation nine times too large and more."""
    volume = ndimage.rotate(noise(), 15, axes, reshape=False, order=order, cval=0).astype(np.int16)
    kept = ndimage.rotate(np.ones(SHAPE), 15, axes, reshape=False, order=1, cval=0) == 1
    kept = ndimage.binary_erosion(kept, iterations=2)
    statistics, defects = measured(volume)
    assert defects is not None and defects.padding == (0.0,)
    assert statistics.std > 9 * volume[kept].std()
    assert defects.statistics.std == pytest.approx(volume[kept].std(), rel=0.05)
    assert defects.statistics.mean == pytest.approx(volume[kept].mean(), abs=10)
    assert (len(defects.outliers), defects.outliers.connected) == (0, 0)
    hidden = defects.hide_in(volume, (0, 0, 0))
    assert hidden.min() > defects.padded_below and hidden[volume == 0] == pytest.approx(defects.statistics.mean)
    result = np.zeros(SHAPE, np.float32)
    defects.restore_in(result, volume, (0, 0, 0))
    assert (result[volume == 0] == 0).all()


def test_gold_beads_stay() -> None:
    volume = noise()
    bead = np.linalg.norm(np.indices(SHAPE) - np.array([10, 20, 20]).reshape(3, 1, 1, 1), axis=0) < 2.5
    volume[bead] -= 5_000
    statistics, defects = measured(volume)
    assert defects is not None and defects.outliers.connected == np.count_nonzero(bead) and not len(defects.outliers)
    assert defects.statistics == statistics
    np.testing.assert_array_equal(defects.hide_in(volume.copy(), (0, 0, 0)), volume)


def test_a_volume_that_is_nothing_but_one_value_and_little_else_is_not_padded() -> None:
    volume = np.zeros(SHAPE, np.float32)
    volume[8:10, 20:22, 20:22] = np.arange(8).reshape(2, 2, 2) + 1
    volume[0, 0, 0] = 0.5
    _, defects = measured(volume)
    assert defects is None or not defects.padding


def test_records_survive_json() -> None:
    volume = ndimage.rotate(noise(), 12, (1, 2), reshape=False, order=1, cval=0)
    volume[10, 20, 20] = 1e6
    _, defects = measured(volume)
    assert defects is not None and defects.padding and len(defects.outliers) == 1
    again = Defects.from_record(json.loads(json.dumps(defects.to_record())))
    assert repr(again) == repr(defects)
    counted = again.padding_counted()
    assert counted.padding == () and counted.statistics.std > 5 * again.statistics.std and len(counted.outliers) == 1
