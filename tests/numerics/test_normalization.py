"""Statistics in one pass agree with NumPy's; borders are found; normalisation is undone exactly enough."""

import dataclasses
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mwr_hpc.numerics import normalization
from mwr_hpc.numerics.normalization import Normalization, StatisticsAccumulator, VolumeStatistics
from mwr_hpc.numerics.padding import constant_borders


def measure(volume: np.ndarray, slab: int = 3, interior: normalization.Box | None = None) -> VolumeStatistics:
    accumulator = StatisticsAccumulator(volume.shape, interior)
    for z in range(0, len(volume), slab):
        assert accumulator.add(z, volume[z : z + slab]) is None
    return accumulator.result()


def noise(shape: tuple[int, int, int], mean: float = 0.0, std: float = 1.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, std, shape).astype(np.float32)


@pytest.mark.parametrize("dtype", ["i1", "u2", "f2", "f4", ">f4"])
def test_statistics_are_those_of_numpy(dtype: str) -> None:
    volume = noise((10, 31, 17), 40, 9).astype(dtype)
    found = measure(volume)
    exact = volume.astype(np.float64)
    assert found.count == exact.size
    np.testing.assert_allclose([found.mean, found.std], [exact.mean(), exact.std()], rtol=1e-6)
    assert (found.minimum, found.maximum) == (exact.min(), exact.max())
    np.testing.assert_allclose(found.quantiles, np.percentile(exact, np.arange(101)), rtol=1e-6)
    assert found.percentile(96) == found.quantiles[96]


def test_a_large_offset_costs_no_digits() -> None:
    volume = noise((8, 64, 64), 3e4, 0.5)
    np.testing.assert_allclose(measure(volume).std, volume.astype(np.float64).std(), rtol=1e-5)


def test_the_cut_into_slabs_does_not_matter() -> None:
    volume = noise((11, 20, 20))
    assert measure(volume, 1) == measure(volume, 4) == measure(volume, 11)


def test_sampled_percentiles_are_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalization, "SAMPLE_SIZE", 20_000)
    # Stripes along x would fool a stride that visits few columns only.
    volume = noise((20, 128, 128)) + 3 * (np.arange(128) % 2).astype(np.float32)
    found = measure(volume)
    for percent in (4, 50, 96):
        below = 100 * (volume < found.percentile(percent)).mean()
        assert abs(below - percent) < 0.6


def test_missing_sections_are_noticed() -> None:
    accumulator = StatisticsAccumulator((4, 3, 3))
    accumulator.add(0, np.ones((3, 3, 3)))
    with pytest.raises(RuntimeError, match="1 of 4"):
        accumulator.result()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e20])
def test_the_first_unusable_voxel_is_named(bad: float) -> None:
    volume = noise((4, 5, 6))
    volume[2, 3, 4] = volume[3, 0, 0] = bad
    assert StatisticsAccumulator(volume.shape).add(0, volume) == (2, 3, 4)
    assert StatisticsAccumulator(volume.shape).add(2, volume[2:]) == (2, 3, 4)


def test_unusable_voxels_in_the_border_count_too() -> None:
    volume = noise((4, 5, 6))
    volume[0, 0, 0] = np.nan
    assert StatisticsAccumulator(volume.shape, ((1, 3), (1, 4), (1, 5))).add(0, volume) == (0, 0, 0)


def borders(volume: np.ndarray) -> normalization.Box | None:
    return constant_borders(volume.shape, lambda z: volume[z])


@given(margins=st.tuples(*[st.integers(0, 3)] * 6), low=st.integers(-2, 2), seed=st.integers(0, 9))
def test_borders_are_found_exactly(margins: tuple[int, ...], low: int, seed: int) -> None:
    inner = noise((5, 6, 7), 50, 1, seed)
    pairs = list(zip(margins[0::2], margins[1::2], strict=True))
    volume = np.pad(inner, pairs, constant_values=low)
    expected = tuple((before, before + size) for (before, _), size in zip(pairs, inner.shape, strict=True))
    assert borders(volume) == expected
    assert measure(volume, interior=expected) == measure(inner)


def test_each_side_may_have_its_own_value() -> None:
    volume = noise((9, 6, 7))
    volume[:2], volume[7:] = 0, 5
    assert borders(volume) == ((2, 7), (0, 6), (0, 7))


def test_without_borders_three_sections_are_read() -> None:
    volume = noise((9, 6, 7))
    read = []

    def section(z: int) -> np.ndarray:
        read.append(z)
        return volume[z]

    assert constant_borders(volume.shape, section) == ((0, 9), (0, 6), (0, 7))
    assert set(read) == {0, 4, 8}


def test_a_constant_volume_has_no_inside() -> None:
    assert borders(np.full((4, 5, 6), 3)) is None


def test_two_flat_halves_are_no_borders() -> None:
    volume = np.zeros((4, 5, 6))
    volume[2:] = 1
    assert borders(volume) == ((0, 4), (0, 5), (0, 6))


def test_records_survive_json() -> None:
    found = measure(noise((4, 5, 6)))
    assert VolumeStatistics.from_record(json.loads(json.dumps(found.to_record()))) == found
    chosen = Normalization.from_statistics(found, True, "dark")
    assert Normalization.from_record(json.loads(json.dumps(chosen.to_record()))) == chosen


def test_pooled_statistics_are_those_of_all_voxels() -> None:
    parts = [noise((6, 40, 40), 0, 1, 1), noise((3, 40, 40), 10, 3, 2)]
    everything = np.concatenate(parts)
    found = VolumeStatistics.pooled([measure(part) for part in parts])
    np.testing.assert_allclose([found.mean, found.std], [everything.mean(), everything.std()], rtol=1e-5)
    assert (found.count, found.minimum, found.maximum) == (everything.size, everything.min(), everything.max())
    for percent in (4, 50, 96):
        assert abs(100 * (everything < found.percentile(percent)).mean() - percent) < 0.5


def test_thousands_of_volumes_are_pooled_in_bounded_memory() -> None:
    one = measure(noise((4, 40, 40)))
    many = [
        dataclasses.replace(one, quantiles=tuple(value + shift for value in one.quantiles))
        for shift in np.linspace(0, 1, 3000)
    ]
    tracemalloc.start()
    found = VolumeStatistics.pooled(many)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * 101 * 8 * 10
    voxels = np.interp(np.linspace(0, 100, 2001), np.arange(101), one.quantiles)
    values = np.add.outer(np.linspace(0, 1, 3000)[::10], voxels)
    np.testing.assert_allclose(
        [found.percentile(p) for p in (4, 50, 96)], np.percentile(values, [4, 50, 96]), atol=0.01
    )


def test_statistics_pooled_alone_stay_as_they_are() -> None:
    found = measure(noise((4, 5, 6)))
    assert VolumeStatistics.pooled([found]) == found


def test_mean_and_deviation_become_zero_and_one() -> None:
    volume = noise((8, 30, 30), 120, 7)
    normal = Normalization.from_statistics(measure(volume), False, "bright").apply(volume)
    assert normal.dtype == np.float32
    np.testing.assert_allclose([normal.mean(), normal.std()], [0, 1], atol=1e-4)


@pytest.mark.parametrize("percentile", [False, True])
def test_dark_protein_becomes_positive_density(percentile: bool) -> None:
    """A signed blob: the darkest place of the file is the densest in the program, and dark again on the way out."""
    density = noise((12, 12, 12), 0, 0.1)
    density[5, 6, 7] = 5.0
    dark, bright = 100 - 10 * density, 100 + 10 * density
    normal = {}
    for contrast, volume in (("dark", dark), ("bright", bright)):
        chosen = Normalization.from_statistics(measure(volume), percentile, contrast)
        normal[contrast] = chosen.apply(volume)
        assert np.unravel_index(normal[contrast].argmax(), density.shape) == (5, 6, 7)
        np.testing.assert_allclose(chosen.undo(normal[contrast]), volume, rtol=1e-5)
    # The same density gives the same normalised volume, whatever its contrast was.
    np.testing.assert_allclose(normal["dark"], normal["bright"], atol=2e-4)


def test_percentiles_4_and_96_of_density_become_0_and_1() -> None:
    volume = noise((8, 30, 30), 120, 7)
    for contrast in ("dark", "bright"):
        normal = Normalization.from_statistics(measure(volume), True, contrast).apply(volume)
        np.testing.assert_allclose(np.percentile(normal, [4, 96]), [0, 1], atol=1e-4)


@pytest.mark.parametrize("percentile", [False, True])
def test_grey_values_without_spread_are_refused(percentile: bool) -> None:
    with pytest.raises(ValueError, match="cannot be normalised"):
        Normalization.from_statistics(measure(np.full((2, 3, 4), 7.0)), percentile, "dark")


@given(arrays(np.int16, (3, 4, 5)), st.floats(-1e3, 1e3), st.floats(1e-2, 1e3), st.sampled_from([-1, 1]))
def test_undo_is_the_inverse(volume: np.ndarray, offset: float, scale: float, sign: int) -> None:
    chosen = Normalization(offset, scale, sign)
    np.testing.assert_allclose(chosen.undo(chosen.apply(volume)), volume, rtol=1e-5, atol=1e-2)
