"""Figures of merit, on volumes for which they are known in closed form."""

import importlib.util
import math
from dataclasses import astuple

import numpy as np
import pytest
from scipy import fft

from mwr_hpc.numerics import metrics
from mwr_hpc.numerics.metrics import agreement, evaluate, wedge_fill
from mwr_hpc.numerics.wedge import combine, filter_volume, measured_region

TILT = (-60.0, 50.0)
SHAPE = (40, 48, 56)


@pytest.fixture(scope="module")
def truth():
    """White noise that is zero near the faces, where the taper would mix the regions."""
    inner = np.random.default_rng(0).normal(size=[n - 8 for n in SHAPE])
    return np.pad(inner, 4).astype(np.float32)


def noise(seed):
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


def test_the_truth_is_perfect(truth):
    figures = evaluate(truth, truth, TILT)
    assert all(value == pytest.approx(1) for value in figures.fcc.values())
    assert all(value == pytest.approx(1, abs=0.02) for value in figures.slope.values())
    assert figures.real_cc == pytest.approx(1) and figures.ssim == pytest.approx(1)
    assert figures.psnr > 100
    assert not figures.contrast_inverted
    for curve in figures.shells.values():
        np.testing.assert_allclose([c for c in curve.correlation if c is not None], 1)
        assert curve.below_half == curve.frequency[-1]


@pytest.mark.parametrize("amount", [0.0, 0.5, 1.0])
def test_slope_is_the_amplitude_in_the_wedge(amount):
    truth = noise(0)
    volume = combine(truth, amount * truth, measured_region(SHAPE, TILT))
    figures = evaluate(truth, volume, TILT)
    assert figures.slope["missing"] == pytest.approx(amount, abs=0.04)
    assert figures.slope["measured"] == pytest.approx(1, abs=0.04)
    assert figures.fcc["measured"] > 0.99
    if amount == 1.0:
        assert figures.fcc["missing"] == pytest.approx(1)


def test_an_empty_wedge_next_to_invented_density_has_neither_correlation_nor_slope():
    truth, invented = noise(0), noise(1)
    volume = combine(truth, invented, measured_region(SHAPE, TILT))
    figures = evaluate(truth, volume, TILT)
    assert figures.fcc["missing"] == pytest.approx(0, abs=0.08)
    assert figures.slope["missing"] == pytest.approx(0, abs=0.08)
    assert wedge_fill(volume, TILT) == pytest.approx(1, abs=0.1), "power alone does not tell"


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_independent_noise_lowers_the_correlation_as_its_power_says(truth, strength):
    figures = evaluate(truth, truth + strength * truth.std() * noise(3), TILT)
    expected = 1 / math.hypot(1, strength)
    assert figures.real_cc == pytest.approx(expected, abs=0.02)
    # The taper removes noise at the faces, where this truth has nothing.
    assert expected - 0.03 < figures.fcc["all"] < expected + 0.1


def test_no_figure_depends_on_scale_and_offset(truth):
    volume = truth + noise(4)
    one, other = (evaluate(truth, v, TILT) for v in (volume, 250 * volume + 1000))

    def numbers(figures):
        return [*figures.fcc.values(), *figures.slope.values(), figures.real_cc, figures.psnr, figures.ssim]

    np.testing.assert_allclose(numbers(one), numbers(other), rtol=1e-3)


def test_the_sign_is_never_fitted():
    truth = noise(0)
    figures = evaluate(truth, -truth, TILT)
    assert figures.contrast_inverted
    assert figures.fcc["measured"] == pytest.approx(-1)
    assert set(figures.slope.values()) == {None}
    constant = 10 * np.log10(np.ptp(np.percentile(truth, [0.1, 99.9])) ** 2 / truth.var())
    assert figures.psnr == pytest.approx(constant, abs=1e-3), "no better than a constant"
    assert figures.ssim < 0.1


def test_psnr_is_what_the_correlation_leaves_unexplained(truth):
    figures = evaluate(truth, 3 * truth + noise(5) - 7, TILT)
    data_range = np.ptp(np.percentile(truth, [0.1, 99.9]))
    expected = 10 * np.log10(data_range**2 / (truth.var(dtype=np.float64) * (1 - figures.real_cc**2)))
    assert figures.psnr == pytest.approx(expected, abs=1e-3)


def test_shell_correlation_ends_where_a_low_pass_does():
    truth = noise(0)
    axes = [fft.fftfreq(SHAPE[0])[:, None, None], fft.fftfreq(SHAPE[1])[:, None], fft.rfftfreq(SHAPE[2])]
    low_pass = sum(a**2 for a in axes) <= 0.25**2
    volume = fft.irfftn(fft.rfftn(truth) * low_pass, SHAPE).astype(np.float32) + 0.01 * noise(1)
    for curve in evaluate(truth, volume, TILT).shells.values():
        assert curve.below_half == pytest.approx(0.25, abs=0.03)
        assert curve.below_half <= curve.below_0143 <= 0.3


def test_ssim_does_not_depend_on_the_slabs(truth, monkeypatch):
    volume = truth + noise(6)
    whole = evaluate(truth, volume, TILT).ssim
    monkeypatch.setattr(metrics, "_SLAB", 7)
    assert evaluate(truth, volume, TILT).ssim == pytest.approx(whole, rel=1e-9)
    assert 0 < whole < 0.9


def test_wedge_fill_is_the_power_in_the_wedge():
    volume = noise(0)
    region = measured_region(SHAPE, TILT)
    assert wedge_fill(volume, TILT) == pytest.approx(1, abs=0.1)
    assert wedge_fill(filter_volume(volume, region), TILT) < 0.05
    assert wedge_fill(combine(volume, 0.5 * volume, region), TILT) == pytest.approx(0.25, abs=0.05)
    assert wedge_fill(volume, (-89.5, 89.5)) is None


def test_agreement_looks_at_the_measured_region_only():
    before = noise(0)
    after = combine(before, noise(1), measured_region(SHAPE, TILT))
    assert agreement(before, after, TILT) > 0.98
    assert agreement(before, -after, TILT) < -0.98
    assert abs(agreement(before, noise(2), TILT)) < 0.1


def test_the_regions_tell_the_sign_of_tilt():
    truth = noise(0)
    volume = filter_volume(truth, measured_region(SHAPE, (-20.0, 60.0)))
    assert evaluate(truth, volume, (-20.0, 60.0)).fcc["measured"] > 0.98
    assert evaluate(truth, volume, (-60.0, 20.0)).fcc["measured"] < 0.8


@pytest.mark.parametrize(
    ("volume", "says"),
    [(np.zeros((8, 8, 8)), "all voxels"), (np.full((8, 8, 8), np.nan), "NaN"), (np.eye(8)[None], "different shapes")],
)
def test_volumes_that_cannot_be_judged_are_refused(volume, says):
    with pytest.raises(ValueError, match=says):
        evaluate(np.random.default_rng(0).normal(size=(8, 8, 8)), volume, TILT)


def test_figures_equal_those_of_the_shared_tool(shared_data, truth):
    specification = importlib.util.spec_from_file_location(
        "figures_of_merit", shared_data("../tools/figures_of_merit.py")
    )
    tool = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(tool)
    volume = filter_volume(truth + 0.3 * noise(8), measured_region(SHAPE, TILT))
    ours, theirs = evaluate(truth, volume, TILT), tool.evaluate(truth, volume, TILT)
    for region in metrics.REGIONS:
        assert ours.fcc[region] == pytest.approx(theirs["fcc"][region], abs=1e-5)
        assert ours.slope[region] == pytest.approx(theirs["slope"][region], abs=1e-5)
        np.testing.assert_allclose(
            np.array(ours.shells[region].correlation, float), np.array(theirs["fsc"][region], float), atol=1e-4
        )
        assert ours.shells[region].below_half == pytest.approx(theirs["fsc"][f"{region}_cross_0.5"]["freq"], abs=1e-5)
    real = theirs["real"]
    assert astuple(ours)[-3:] == pytest.approx((real["cc"], real["psnr_db"], real["ssim"]), abs=1e-5)
