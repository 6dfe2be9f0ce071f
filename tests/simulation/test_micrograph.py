"""Simulated micrographs: truth where the particles are, noise as strong as said, masks over contamination."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from mwr_hpc.errors import ConfigError, StopRequested
from mwr_hpc.io.mrc import MrcWriter, open_mrc
from mwr_hpc.io.picks import read_picks
from mwr_hpc.io.tiff import read_mask
from mwr_hpc.numerics.micrograph import fourier_crop, working_shape
from mwr_hpc.simulation.contamination import contaminate
from mwr_hpc.simulation.exposure import Field, Optics
from mwr_hpc.simulation.micrograph import MicrographSpecification, simulate_micrograph
from mwr_hpc.simulation.micrograph_series import simulate_micrographs
from mwr_hpc.simulation.placing import SPACING, fragment_of, scatter
from mwr_hpc.simulation.shapes import GaussianModel
from mwr_hpc.simulation.species import made_up_species

CLEAN = MicrographSpecification(
    size=(192, 224),
    pixel_size=8.0,
    species=1,
    particles=20,
    snr=None,
    defocus=(2.0, 2.0),
    smoothing=(0.0, 0.0),
    ice_gradient=0.0,
    contamination=0.0,
    contrast="bright",
)


@pytest.fixture(scope="module")
def ball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A round molecule, whose centre can be seen in its picture."""
    path = tmp_path_factory.mktemp("maps") / "ball.mrc"
    density = GaussianModel(np.zeros((1, 3)), 40.0, np.ones(1)).render(np.eye(3), np.zeros(3), 8.0)
    with MrcWriter(path, density.shape, np.float32, voxel_size=8.0) as writer:
        writer.write(0, density)
    return path


@pytest.mark.parametrize(("size", "pixel_size"), [((192, 224), 8.0), ((305, 411), 5.3), ((160, 160), 10.0)])
def test_particles_are_where_the_truth_says(ball: Path, size: tuple[int, int], pixel_size: float) -> None:
    specification = replace(CLEAN, size=size, pixel_size=pixel_size, density_maps=(ball,), particles=8)
    micrograph = simulate_micrograph(specification, 0)
    assert micrograph.image.shape == size and len(micrograph.positions) == 8 and not len(micrograph.junk)
    smooth = ndimage.gaussian_filter(micrograph.image, 40 / pixel_size)
    radius = int(60 / pixel_size)
    for y, x in micrograph.positions:
        if 2 * radius < y < size[0] - 2 * radius and 2 * radius < x < size[1] - 2 * radius:
            top, left = round(float(y)) - radius, round(float(x)) - radius
            window = smooth[top : top + 2 * radius + 1, left : left + 2 * radius + 1]
            window = np.maximum(window - 0.5 * window.max(), 0)
            row, column = ndimage.center_of_mass(window)
            assert max(abs(row + top - y), abs(column + left - x)) < 6 / pixel_size


def test_protein_is_dark_unless_told() -> None:
    bright = simulate_micrograph(CLEAN, 0).image
    np.testing.assert_array_equal(simulate_micrograph(replace(CLEAN, contrast="dark"), 0).image, -bright)


@pytest.mark.parametrize("pixel_size", [8.0, 4.1])
@pytest.mark.parametrize("smoothing", [0.0, 12.0])
def test_the_snr_is_that_within_the_disc_at_the_working_pixel_size(pixel_size: float, smoothing: float) -> None:
    specification = replace(
        CLEAN, pixel_size=pixel_size, size=(448, 448), smoothing=(smoothing, smoothing), particles=12, seed=1
    )
    noisy = simulate_micrograph(replace(specification, snr=(0.5, 0.5)), 0)
    clean = simulate_micrograph(specification, 0)
    np.testing.assert_array_equal(noisy.positions, clean.positions)
    shape = working_shape(specification.size, pixel_size)
    signal = fourier_crop(clean.image, shape)
    # Both are scaled to their own noise: with none, a particle has variance 1, else the noise has.
    noise = fourier_crop(noisy.image, shape) - signal * np.sqrt(0.5)
    assert noise.std() == pytest.approx(1, rel=0.03)
    y, x = np.indices(shape)
    radius = noisy.conditions.species.diameter / 2 / 8.0
    variances = []
    for row, column in clean.positions * np.array(shape) / specification.size:
        disc = np.hypot(y - row, x - column) <= radius
        if radius < row < shape[0] - radius and radius < column < shape[1] - radius:
            variances.append(signal[disc].var() / noise.var() * 0.5)
    assert np.mean(variances) == pytest.approx(0.5, rel=0.35)  # of few particles, some beside others


def test_particles_keep_their_distance_and_the_number_asked_for() -> None:
    species = made_up_species(0, 1)
    field = Field((256, 256), 8.0)
    mask = np.zeros(field.shape, bool)
    mask[:, : field.shape[1] // 3] = True
    whole, junk = scatter(field, mask, 25, 5, species, np.random.default_rng(0))
    places = np.concatenate([whole, junk])
    distances = np.linalg.norm(places[:, None] - places, axis=2) + 1e9 * np.eye(len(places))
    assert distances.min() * 8.0 >= SPACING * species.diameter - 8.0  # places are looked up by pixel
    assert not mask[tuple(np.round(places).astype(int).T)].any()
    assert field.contains(whole).sum() == 25 and field.contains(junk).sum() == 5
    full, _ = scatter(field, mask, 2000, 0, species, np.random.default_rng(0))
    assert 25 < len(full) < 2000


def test_a_fragment_is_a_part_of_the_molecule() -> None:
    species = made_up_species(0, 2)
    fragment = fragment_of(species, np.random.default_rng(0))
    assert 0.2 < fragment.density.sum() / species.density.sum() < 0.8
    assert (fragment.density <= species.density).all()


@pytest.mark.parametrize("amount", [0.0, 3.0])
def test_contamination_is_masked_and_nothing_else(amount: float) -> None:
    species = made_up_species(0, 0)
    dirt = contaminate((256, 256), 8.0, amount, species, np.random.default_rng(4))
    assert dirt.mask.any() == bool(amount)
    assert np.isfinite(dirt.density).all() and (dirt.density[~dirt.mask] < 0.15 * dirt.density.max() + 1e-6).all()
    if amount:
        assert dirt.density[dirt.mask].mean() > 5 * np.abs(dirt.density[~dirt.mask]).mean()
        assert 0.01 < dirt.mask.mean() < 0.9


def test_no_truth_lies_under_the_mask_or_outside() -> None:
    specification = replace(CLEAN, contamination=3.0, particles=None, crowding=(0.3, 0.3), size=(300, 256))
    junk = 0
    for index in range(4):
        micrograph = simulate_micrograph(specification, index)
        assert micrograph.mask.shape == (300, 256)
        for places in (micrograph.positions, micrograph.junk):
            assert ((places >= 0) & (places <= np.array([299, 255]))).all()
            rows, columns = np.round(places).astype(int).T
            # Rounding to the field's pixels and to the micrograph's may differ by one.
            assert not ndimage.binary_erosion(micrograph.mask)[rows, columns].any()
        junk += len(micrograph.junk)
    assert junk


def test_the_margin_of_the_field_is_cut_off_exactly() -> None:
    field = Field((101, 77), 5.0)
    mask = np.zeros(field.shape, bool)
    mask[: field.shape[0] // 2] = True
    cropped = field.crop_mask(mask)
    assert cropped.shape == working_shape((101, 77), 5.0)
    assert abs(int(cropped[:, 0].sum()) - cropped.shape[0] / 2) <= 1 and (cropped == cropped[:, :1]).all()


def test_noise_has_unit_variance_at_the_pixel_size_of_the_field() -> None:
    for pixel_size in (8.0, 3.0):
        field = Field((300, 360), pixel_size)
        nothing = contaminate(field.shape, field.pixel_size, 0.0, made_up_species(0, 0), np.random.default_rng(0))
        optics = Optics(2.0, 300.0, 2.7, 0.07, 5.0)
        _, noise = field.expose(np.zeros(field.shape, np.float32), nothing, optics, np.random.default_rng(1))
        shape = working_shape(noise.shape, pixel_size)  # type: ignore[arg-type]  # two sizes
        assert fourier_crop(noise, shape).std() == pytest.approx(1, rel=0.03)


def test_each_micrograph_is_a_function_of_seed_and_index() -> None:
    specification = replace(CLEAN, snr=(0.5, 1.0), contamination=1.0, species=2, ice_gradient=1.0)
    second = simulate_micrograph(specification, 1)
    simulate_micrograph(specification, 0)
    again = simulate_micrograph(specification, 1)
    np.testing.assert_array_equal(second.image, again.image)
    np.testing.assert_array_equal(second.mask, again.mask)
    assert not np.array_equal(second.image, simulate_micrograph(replace(specification, seed=1), 1).image)


def test_an_empty_field_and_a_crowded_one() -> None:
    empty = simulate_micrograph(replace(CLEAN, particles=0, snr=(1.0, 1.0)), 0)
    assert not len(empty.positions) and empty.image.std() == pytest.approx(1, rel=0.05)
    crowded = simulate_micrograph(replace(CLEAN, particles=None, crowding=(0.5, 0.5)), 0)
    area = len(crowded.positions) * np.pi / 4 * crowded.conditions.species.diameter**2
    assert 0.3 < area / (192 * 224 * 64) < 0.55


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": (32, 200)}, "size"),
        ({"pixel_size": 0.0}, "pixel_size"),
        ({"snr": (0.0, 1.0)}, "snr"),
        ({"snr": (2.0, 1.0)}, "snr"),
        ({"crowding": (0.1, 0.9)}, "crowding"),
        ({"defocus": (0.0, 1.0)}, "defocus"),
        ({"smoothing": (0.0, 99.0)}, "smoothing"),
        ({"species": 0}, "species"),
        ({"particles": -1}, "particles"),
        ({"contamination": -1.0}, "contamination"),
        ({"contrast": "grey"}, "contrast"),
    ],
)
def test_values_that_cannot_work_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(CLEAN, **change)  # type: ignore[arg-type]  # the wrong values are the test


def test_a_specification_comes_back_from_its_record() -> None:
    specification = replace(CLEAN, density_maps=(Path("/a.mrc"), Path("/b.mrc")), snr=(0.5, 1.0))
    for one in (specification, CLEAN):
        assert MicrographSpecification.from_record(json.loads(json.dumps(one.to_record()))) == one


def test_a_series_is_written_once_and_can_grow(tmp_path: Path) -> None:
    specification = replace(CLEAN, size=(96, 96), snr=(1.0, 1.0), contamination=1.0)
    first = simulate_micrographs(specification, 2, tmp_path)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.rglob("*.mrc")}
    assert [path.name for path in first] == ["mic_00000.mrc", "mic_00001.mrc"]
    simulate_micrographs(specification, 3, tmp_path)
    assert all(path.stat().st_mtime_ns == time for path, (time, _) in before.items())
    other = simulate_micrographs(specification, 3, tmp_path / "again")
    for path, (_, content) in before.items():
        assert (tmp_path / "again" / path.name).read_bytes() == content
    table = (tmp_path / "micrographs.star").read_text()
    assert table == (tmp_path / "again" / "micrographs.star").read_text() and "mic_00002.mrc" in table

    micrograph = simulate_micrograph(specification, 1)
    volume = open_mrc(other[1])
    assert volume.voxel_size[2] == 8.0 and volume.shape == (1, 96, 96)
    np.testing.assert_array_equal(volume.data[0], micrograph.image)
    truth = read_picks(tmp_path / "truth" / "mic_00001.star")
    np.testing.assert_allclose(truth.positions, micrograph.positions, atol=1e-3)
    assert set(truth.micrographs or ()) <= {"mic_00001.mrc"}
    np.testing.assert_array_equal(read_mask(tmp_path / "mask" / "mic_00001.tif"), micrograph.mask)
    assert len(read_picks(tmp_path / "junk" / "mic_00001.star")) == len(micrograph.junk)


def test_another_specification_is_refused_and_a_stop_obeyed(tmp_path: Path) -> None:
    specification = replace(CLEAN, size=(96, 96))
    with pytest.raises(StopRequested, match="0 of 2 micrographs"):
        simulate_micrographs(specification, 2, tmp_path, should_stop=lambda: True)
    simulate_micrographs(specification, 1, tmp_path)
    with pytest.raises(ConfigError, match=r"simulated with seed 0 \(now 5\); give another folder"):
        simulate_micrographs(replace(specification, seed=5), 1, tmp_path)
