"""Isolated outliers are told from connected ones as a labelling of the whole volume tells them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from mwr_hpc.numerics import outliers
from mwr_hpc.numerics.outliers import GROUP, Limits, outliers_of


def noise(shape: tuple[int, ...] = (8, 30, 32), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(50, 3, shape).astype(np.float32)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.001, 0.004, 0.008]))
def test_isolated_ones_are_those_of_a_labelling(seed: int, share: float) -> None:
    generator = np.random.default_rng(seed)
    volume = noise()
    hot = generator.random(volume.shape) < share
    hot.ravel()[generator.integers(hot.size)] = True
    volume[hot] = generator.choice([-1e5, 1e7], np.count_nonzero(hot))
    labels, _ = ndimage.label(hot, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())
    expected = hot & (sizes[labels] <= GROUP)
    found = outliers_of(volume)
    np.testing.assert_array_equal(found.positions, np.argwhere(expected))
    np.testing.assert_array_equal(found.found, volume[expected])
    assert found.connected == np.count_nonzero(hot & ~expected)
    assert np.abs(found.replaced - 50).max(initial=0) < 12


def test_replaced_and_put_back_in_any_part_of_the_volume() -> None:
    clean = noise()
    volume = clean.copy()
    volume[3, 4, 5] = volume[3, 5, 6] = -7e6
    volume[0, 0, 0] = 9e4
    found = outliers_of(volume)
    assert len(found) == 3
    for part in (np.s_[0:8, 0:30, 0:32], np.s_[3:4, 4:5, 0:32], np.s_[3:8, 5:30, 6:20]):
        start = [one.start for one in part]
        piece = volume[part].copy()
        found.replace_in(piece, start)
        assert np.abs(piece - 50).max() < 20
        found.restore_in(piece, start)
        np.testing.assert_array_equal(piece, volume[part])
    around = np.ones((3, 3, 3), bool)
    around[1, 1, 1] = around[1, 2, 2] = False
    assert found.replaced[1] == np.float32(np.median(clean[2:5, 3:6, 4:7][around].astype(float)))


@pytest.mark.parametrize("make", [lambda v: v, np.zeros_like, lambda v: (v > 50).astype(np.int8)])
def test_ordinary_volumes_have_none(make) -> None:
    found = outliers_of(make(noise()))
    assert len(found) == found.connected == 0


def test_tails_that_are_heavy_are_no_outliers() -> None:
    volume = noise((8, 64, 64))
    volume[:, 10:20, 10:40] *= 40  # a bead or carbon over 7 % of the volume
    assert len(outliers_of(volume)) == 0


def test_too_many_are_no_defects_of_single_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = noise()
    volume[::3, ::7, ::8] = 1e6
    found = outliers_of(volume)
    number = len(found)
    assert number > 0
    for name in ("MOST_OUTLIERS", "MOST_CANDIDATES"):
        with monkeypatch.context() as patched:
            patched.setattr(outliers, name, number - 1)
            kept = outliers_of(volume)
            assert (len(kept), kept.connected) == (0, number)


def test_limits_are_robust() -> None:
    values = np.sort(np.r_[np.random.default_rng(0).normal(10, 2, 9990), np.full(10, 1e9)])
    limits = Limits.of(lambda percent: float(np.percentile(values, percent)))
    assert limits.low == pytest.approx(10 - 60, abs=4) and limits.high == pytest.approx(10 + 60, abs=4)
