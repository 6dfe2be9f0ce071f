"""The missing wedge found in a volume's power: range, sign, order of axes; nothing found where there is nothing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mwr_hpc.io.volume import open_volume
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.numerics.wedge import filter_volume, measured_region
from mwr_hpc.numerics.wedge_evidence import find_wedge
from mwr_hpc.simulation.tomogram import TomogramSpecification, simulate_tomogram

REAL = ("tomograms/mt_13pf.mrc", "tomograms/mt_14pf.mrc")
PHANTOMS = ("phantoms/sym/tomo.mrc", "phantoms/asym/tomo.mrc", "phantoms/asym/tomo_clean.mrc")


def close(found: tuple[float, float] | None, expected: tuple[float, float], by: float) -> bool:
    return found is not None and max(abs(found[0] - expected[0]), abs(found[1] - expected[1])) <= by


def shell_volume(shape: tuple[int, int, int] = (48, 40, 64)) -> np.ndarray:
    """Noise whose power falls with frequency, as a specimen's does."""
    noise = keyed_generator(0, "test").standard_normal(shape)
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij", sparse=True)))
    return np.fft.ifftn(np.fft.fftn(noise) / (0.02 + frequency)).real.astype(np.float32)


@pytest.mark.parametrize("tilt_range", [(-60.0, 60.0), (-40.0, 65.0), (-70.0, 20.0)])
def test_a_filtered_volume_tells_its_range(tilt_range: tuple[float, float]) -> None:
    volume = shell_volume()
    filtered = filter_volume(volume, measured_region(volume.shape, tilt_range))
    evidence = find_wedge(filtered)
    assert evidence is not None and close(evidence.tilt_range, tilt_range, 2.5)
    mirrored = (-tilt_range[1], -tilt_range[0])
    assert evidence.leakage(tilt_range) < 0.1
    if mirrored != tilt_range:
        assert evidence.leakage(tilt_range) < evidence.leakage(mirrored) / 1.5


def test_a_complete_volume_shows_no_wedge() -> None:
    evidence = find_wedge(shell_volume())
    assert evidence is not None
    assert (evidence.plane, evidence.tilt_range) == (None, None)
    assert evidence.leakage((-60, 60)) == pytest.approx(1, abs=0.3)


def test_where_nothing_can_be_seen_nothing_is_said() -> None:
    assert find_wedge(np.ones((32, 32, 32), np.float32)) is None
    assert find_wedge(shell_volume((12, 40, 40))) is None


@pytest.mark.needs("shared_data")
@pytest.mark.parametrize("name", REAL)
def test_real_microtubules(shared_data: Callable[[str], Path], name: str) -> None:
    """Their range was measured as about -67 to 57 degrees; mirrored in x it is the mirrored one."""
    volume = np.asarray(open_volume(shared_data(name)).data)
    for turned, expected in ((volume, (-67, 57)), (volume[:, :, ::-1], (-57, 67)), (volume[::-1], (-57, 67))):
        evidence = find_wedge(turned)
        assert evidence is not None and close(evidence.tilt_range, expected, 3)


@pytest.mark.needs("shared_data")
@pytest.mark.parametrize("name", [*REAL, *PHANTOMS])
def test_exchanged_axes_are_named(shared_data: Callable[[str], Path], name: str) -> None:
    volume = np.asarray(open_volume(shared_data(name)).data)
    for axes, plane in (((0, 1), "yx"), ((1, 2), "zy"), ((0, 2), "zx")):
        evidence = find_wedge(np.swapaxes(volume, *axes))
        assert evidence is not None
        assert (evidence.plane, evidence.tilt_range) == (plane, None)


@pytest.mark.needs("shared_data")
@pytest.mark.parametrize("name", PHANTOMS)
def test_phantoms(shared_data: Callable[[str], Path], name: str) -> None:
    path = shared_data(name)
    low, high = map(float, (path.parent / "tilt_range.txt").read_text().split())
    evidence = find_wedge(open_volume(path).data)
    assert evidence is not None and close(evidence.tilt_range, (low, high), 2)
    truth = find_wedge(open_volume(path.parent / "truth.mrc").data)
    assert truth is not None and truth.plane is None


@pytest.mark.parametrize("tilt_range", [(-51.0, 39.0), (-60.0, 60.0)])
def test_simulated_tilt_series(tmp_path: Path, tilt_range: tuple[float, float]) -> None:
    """A tilt series in steps, back-projected: its wedge has no sharp border."""
    specification = TomogramSpecification(shape=(48, 64, 64), tilt_range=tilt_range, membranes=0, gold=1)
    paths = simulate_tomogram(specification, tmp_path)
    evidence = find_wedge(open_volume(paths["tomogram"]).data)
    assert evidence is not None and close(evidence.tilt_range, tilt_range, 4)


@pytest.mark.needs("shared_data")
@pytest.mark.parametrize("name", PHANTOMS[:2])
@pytest.mark.parametrize("noise", [0.1, 0.25])
def test_a_floor_of_noise_does_not_hide_exchanged_axes(
    shared_data: Callable[[str], Path], name: str, noise: float
) -> None:
    """Noise of the whole volume, as from rounding to few grey levels, fills the wedge and lifts its shadow."""
    volume = np.asarray(open_volume(shared_data(name)).data).astype(np.float32)
    volume += noise * volume.std() * keyed_generator(0, "test").standard_normal(volume.shape, np.float32)
    right, exchanged = find_wedge(volume), find_wedge(volume.swapaxes(0, 1))
    assert right is not None and right.plane == "zx"
    assert exchanged is not None and (exchanged.plane, exchanged.tilt_range) == ("yx", None)


@pytest.mark.parametrize("faces", [(16, 16, 0, 0), (24, 0, 0, 0), (4, 4, 10, 0)])
def test_constant_planes_at_the_faces_are_left_out(faces: tuple[int, int, int, int]) -> None:
    """They are steps of the mean, which may be far from 0, and would be all that the power shows."""
    above, below, left, right = faces
    volume = filter_volume(shell_volume((64, 48, 80)), measured_region((64, 48, 80), (-60.0, 50.0)))
    volume = 100 * volume + 20_000
    volume[:above] = 0
    volume[64 - below :] = 0
    volume[:, :, :left] = 0
    volume[:, :, 80 - right :] = 0
    evidence = find_wedge(volume)
    assert evidence is not None and close(evidence.tilt_range, (-60, 50), 4)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_bad_voxels_are_refused(value: float) -> None:
    volume = shell_volume()
    volume[20, 20, 20] = value
    with pytest.raises(ValueError, match="not finite or beyond"):
        find_wedge(volume)


def test_the_unit_of_the_grey_values_does_not_matter() -> None:
    volume = filter_volume(shell_volume(), measured_region((48, 40, 64), (-60.0, 50.0)))
    ranges = {evidence.tilt_range for scale in (1e-30, 1, 1e12) if (evidence := find_wedge(volume * np.float32(scale)))}
    assert len(ranges) == 1


def test_a_faint_quarter_does_not_matter() -> None:
    """Where a program masked, rounding leaves next to nothing."""
    shape = (32, 256, 256)
    volume = filter_volume(shell_volume(shape), measured_region(shape, (-60.0, 50.0)))
    volume[:, :128, :128] *= 1e-20
    evidence = find_wedge(volume)
    assert evidence is not None and close(evidence.tilt_range, (-60, 50), 4)
