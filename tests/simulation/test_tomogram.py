"""Simulated tomograms: the files, their contrast and noise, and that the same specification gives the same bytes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from mwr_hpc.config.schema import SimulateSettings
from mwr_hpc.errors import ConfigError, InputError
from mwr_hpc.events import Event, Notice
from mwr_hpc.io.mrc import MrcWriter, open_mrc
from mwr_hpc.simulation.projection import project, tilt_angles
from mwr_hpc.simulation.shapes import built_in_species
from mwr_hpc.simulation.tomogram import TomogramSpecification, make_specimen, noisy_tilt_series, simulate_tomogram

SMALL = TomogramSpecification(shape=(32, 48, 48), tilt_step=6.0, membranes=0, gold=1, filaments=0, crowding=0.1)


def read(paths: dict[str, Path]) -> dict[str, np.ndarray]:
    return {name: np.asarray(open_mrc(path).data) for name, path in paths.items()}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return simulate_tomogram(SMALL, tmp_path_factory.mktemp("simulated"))


def test_writes_every_volume_and_the_specification(simulated: dict[str, Path]) -> None:
    assert {name: path.name for name, path in simulated.items()} == {
        name: f"{name}.mrc" for name in ("truth", "mask", "even", "odd", "tomogram")
    }
    for name, path in simulated.items():
        volume = open_mrc(path)
        assert volume.shape == SMALL.shape
        assert volume.data.dtype == (np.int8 if name == "mask" else np.float32)
        assert volume.voxel_size == (10.0, 10.0, 10.0)
    assert yaml.safe_load((simulated["truth"].parent / "specification.yaml").read_text()) == SMALL.as_record()
    assert not list(simulated["truth"].parent.glob("*.partial-*"))


def test_dark_contrast_is_dark_and_the_truth_agrees_with_the_tomogram(simulated: dict[str, Path]) -> None:
    volumes = read(simulated)
    assert volumes["truth"].max() <= 0 < -volumes["truth"].min()
    protein = volumes["truth"] < -0.3
    assert volumes["tomogram"][protein].mean() < volumes["tomogram"][~protein].mean()


def test_bright_is_the_negative_of_dark(simulated: dict[str, Path], tmp_path: Path) -> None:
    dark, bright = read(simulated), read(simulate_tomogram(replace(SMALL, contrast="bright"), tmp_path))
    for name in ("truth", "even", "odd", "tomogram"):
        np.testing.assert_array_equal(bright[name], -dark[name])
    np.testing.assert_array_equal(bright["mask"], dark["mask"])


def test_the_mask_is_where_material_is(simulated: dict[str, Path]) -> None:
    volumes = read(simulated)
    assert set(np.unique(volumes["mask"])) == {0, 1}
    assert volumes["mask"][volumes["truth"] < -0.1].all()
    assert np.abs(volumes["truth"][volumes["mask"] == 0]).max() <= 0.1
    assert 0.1 < volumes["mask"].mean() < 0.6


def test_the_tomogram_is_the_mean_of_halves_with_independent_noise(simulated: dict[str, Path], tmp_path: Path) -> None:
    volumes, clean = read(simulated), read(simulate_tomogram(replace(SMALL, snr=None), tmp_path))
    np.testing.assert_allclose(volumes["tomogram"], (volumes["even"] + volumes["odd"]) / 2, atol=1e-5)
    even, odd = ((volumes[name] - clean["tomogram"]).ravel() for name in ("even", "odd"))
    assert abs(np.corrcoef(even, odd)[0, 1]) < 0.05
    np.testing.assert_array_equal(clean["even"], clean["odd"])


def test_without_noise_the_tomogram_has_the_grey_scale_of_the_truth(tmp_path: Path) -> None:
    """Within what was measured a voxel's density comes back, not just its shape: the slope of one on the other is 1."""
    wide = replace(SMALL, snr=None, tilt_range=(-88.0, 90.0), tilt_step=2.0, gold=0)
    volumes = read(simulate_tomogram(wide, tmp_path))
    assert np.polyfit(volumes["truth"].ravel(), volumes["tomogram"].ravel(), 1)[0] == pytest.approx(1, abs=0.03)
    assert np.corrcoef(volumes["truth"].ravel(), volumes["tomogram"].ravel())[0, 1] > 0.97


@pytest.mark.parametrize("snr", [0.1, 2.0])
def test_noise_is_white_with_the_snr_asked_for(snr: float) -> None:
    specification = replace(SMALL, snr=snr)
    density = make_specimen(specification).density
    clean = project(density, tilt_angles(specification.tilt_range, specification.tilt_step))
    even, odd = noisy_tilt_series(density, specification)
    margin = (clean.shape[2] - density.shape[2]) // 2
    signal = clean[..., margin:-margin].var(axis=(1, 2)).mean()
    noise = (even + odd) / 2 - clean
    assert signal / noise.var() == pytest.approx(snr, rel=0.03)
    assert (even - clean).var() == pytest.approx(2 * noise.var(), rel=0.03)
    power = np.abs(np.fft.rfft(noise, axis=2)[..., 1:-1]) ** 2
    low, high = np.array_split(power.mean(axis=(0, 1)), 2)
    assert low.mean() == pytest.approx(high.mean(), rel=0.05)


def test_defocus_lets_only_amplitude_contrast_through_at_zero_frequency() -> None:
    specification = replace(SMALL, snr=None, defocus=3.0)
    density = make_specimen(specification).density
    series, _ = noisy_tilt_series(density, specification)
    assert series[0].sum() == pytest.approx(0.07 * density.sum(), rel=1e-3)


def test_same_seed_same_bytes_other_seed_other_bytes(simulated: dict[str, Path], tmp_path: Path) -> None:
    again = simulate_tomogram(SMALL, tmp_path / "again")
    other = simulate_tomogram(replace(SMALL, seed=1), tmp_path / "other")
    for name, path in simulated.items():
        assert path.read_bytes() == again[name].read_bytes()
        assert path.read_bytes() != other[name].read_bytes()


def test_what_is_complete_is_left_alone_and_what_is_not_is_finished(tmp_path: Path) -> None:
    paths = simulate_tomogram(SMALL, tmp_path)
    times = {name: path.stat().st_mtime_ns for name, path in paths.items()}
    simulate_tomogram(SMALL, tmp_path)
    assert times == {name: path.stat().st_mtime_ns for name, path in paths.items()}
    before = paths["odd"].read_bytes()
    paths["odd"].unlink()
    assert simulate_tomogram(SMALL, tmp_path)["odd"].read_bytes() == before


def test_another_specification_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    simulate_tomogram(SMALL, tmp_path)
    with pytest.raises(ConfigError, match=r"seed 0 \(now 5\)"):
        simulate_tomogram(replace(SMALL, seed=5), tmp_path)


def write_map(path: Path, density: np.ndarray, voxel_size: float) -> Path:
    with MrcWriter(path, density.shape, np.float32, voxel_size=voxel_size) as writer:
        writer.write(0, density.astype(np.float32))
    return path


def test_density_maps_are_placed_whatever_their_scale(tmp_path: Path) -> None:
    box = built_in_species()[0].render(np.eye(3), np.zeros(3), 8.0)
    path = write_map(tmp_path / "barrel.mrc", 240 * box, 8.0)
    events: list[Event] = []
    specimen = make_specimen(replace(SMALL, gold=0, density_maps=(path,), particles=4), events.append)
    assert 0.8 < specimen.density.max() < 1.5
    assert not events
    mass = box.sum() * 8.0**3 / np.quantile(box[box > 0.1 * box.max()], 0.999)
    assert 0.2 * 4 * mass < specimen.density.sum() * 10.0**3 < 1.05 * 4 * mass  # some stick out of the volume


@pytest.mark.parametrize(
    ("scale", "voxel_size", "message"),
    [(-1.0, 8.0, "inverted"), (np.inf, 8.0, "finite"), (1.0, 80.0, "check the voxel size"), (1.0, 0.0, "no voxel")],
)
def test_an_unusable_density_map_is_refused_by_name(
    tmp_path: Path, scale: float, voxel_size: float, message: str
) -> None:
    box = built_in_species()[0].render(np.eye(3), np.zeros(3), 8.0) + np.float32(1e-6)
    path = write_map(tmp_path / "map.mrc", np.zeros_like(box), voxel_size)
    path.write_bytes(path.read_bytes()[: -box.nbytes] + (box * np.float32(scale)).tobytes())
    with pytest.raises(InputError, match=message) as refused:
        make_specimen(replace(SMALL, density_maps=(path,)))
    assert str(path) in str(refused.value)


def test_templates_of_real_complexes_can_be_placed(shared_data: Callable[[str], Path]) -> None:
    maps = tuple(shared_data(f"templates/{name}.mrc") for name in ("3j9i", "6qzp"))
    density = make_specimen(replace(SMALL, gold=0, density_maps=maps, particles=4)).density
    assert 0.7 < density.max() < 1.8


def test_too_many_particles_are_noticed(tmp_path: Path) -> None:
    events: list[Event] = []
    make_specimen(replace(SMALL, shape=(16, 16, 16), gold=0, particles=500), events.append)
    assert [event.warning for event in events if isinstance(event, Notice)] == [True]


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": (8, 64, 64)},
        {"tilt_range": (60.0, -60.0)},
        {"tilt_range": (-90.0, 90.0)},
        {"tilt_step": 0.0},
        {"tilt_step": 500.0},
        {"snr": 0.0},
        {"crowding": 0.9},
        {"gold": -1},
        {"voxel_size": 1.9},
        {"contrast": "grey"},
    ],
)
def test_values_that_cannot_work_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        replace(SMALL, **wrong)


def test_the_command_has_the_same_defaults() -> None:
    settings, specification = SimulateSettings(), TomogramSpecification()
    names = specification.as_record()
    assert {name: getattr(settings, name) for name in names} == {name: getattr(specification, name) for name in names}
