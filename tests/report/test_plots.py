"""Pictures: complete files, the right slices, spectra that show the wedge, curves with gaps."""

from pathlib import Path

import numpy as np
import pytest
from scipy import fft

from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.numerics.wedge import filter_volume, measured_region
from mwr_hpc.report.plots import compare_tomograms, curves_figure, power_spectrum, save, slices_figure
from mwr_hpc.training.curves import write_curves

SHAPE = (24, 20, 32)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def write(path: Path, volume: np.ndarray) -> Path:
    with MrcWriter(path, volume.shape, np.float32, voxel_size=10.0) as writer:
        writer.write(0, volume)
    return path


@pytest.mark.parametrize("with_truth", [True, False])
def test_comparison_is_a_complete_picture_with_the_same_bytes_again(tmp_path: Path, with_truth: bool) -> None:
    before, after = write(tmp_path / "a.mrc", noise(0)), write(tmp_path / "b.mrc", noise(1))
    truth = write(tmp_path / "t.mrc", noise(2)) if with_truth else None
    first, second = tmp_path / "new" / "first.png", tmp_path / "second.png"
    compare_tomograms(before, after, truth, first)
    compare_tomograms(before, after, truth, second)
    assert first.read_bytes().startswith(b"\x89PNG")
    assert first.read_bytes() == second.read_bytes()
    assert not list(tmp_path.rglob("*.partial-*"))


def test_an_unreadable_tomogram_is_refused_by_name(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.mrc"
    wrong.write_bytes(b"no MRC file")
    with pytest.raises(InputError, match=str(wrong)):
        compare_tomograms(wrong, wrong, None, tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_slices_are_the_middle_ones_of_each_volume() -> None:
    volumes = {"one": noise(0), "two": noise(1)}
    axes = np.array(slices_figure(volumes).axes).reshape(3, 2)
    for column, volume in zip(axes.T, volumes.values(), strict=True):
        np.testing.assert_array_equal(column[0].images[0].get_array(), volume[:, 10])
        np.testing.assert_array_equal(column[1].images[0].get_array(), volume[12])


@pytest.mark.parametrize("tilt_range", [(-60.0, 60.0), (-30.0, 65.0)])
def test_power_spectrum_is_dark_in_the_wedge(tilt_range: tuple[float, float]) -> None:
    filtered = filter_volume(noise(0), measured_region(SHAPE, tilt_range))
    spectrum = power_spectrum(filtered)
    kz, kx = (fft.fftshift(fft.fftfreq(size)) for size in spectrum.shape)
    angle = np.degrees(np.arctan(kz[:, None] / np.where(kx == 0, 1e-9, kx)))
    far = np.hypot(kz[:, None], kx) > 0.2
    inside = far & (angle > tilt_range[0] + 15) & (angle < tilt_range[1] - 15)
    outside = far & ((angle < tilt_range[0] - 10) | (angle > tilt_range[1] + 10))
    assert spectrum[inside].mean() - spectrum[outside].mean() > 1.0


def test_power_spectrum_of_nothing_is_finite() -> None:
    assert np.isfinite(power_spectrum(np.zeros(SHAPE, np.float32))).all()


def test_curves_join_the_iterations_and_leave_out_what_was_not_measured(tmp_path: Path) -> None:
    paths = [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    write_curves(paths[0], [{"loss": 1.0, "validation_loss": None}, {"loss": 0.5, "validation_loss": None}])
    write_curves(paths[1], [{"loss": 0.25, "validation_loss": None}])
    figure = curves_figure(paths)
    (training,) = [line for line in figure.axes[0].lines if line.get_label() == "training"]
    np.testing.assert_array_equal(training.get_ydata(), [1.0, 0.5, 0.25])
    assert "held out" not in [line.get_label() for line in figure.axes[0].lines]
    save(figure, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
