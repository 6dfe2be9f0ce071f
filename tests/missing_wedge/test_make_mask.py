"""The mask of one file: recall on a simulated tomogram, borders, header, refusals."""

from pathlib import Path

import numpy as np
import pytest

from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc import MrcWriter, open_mrc
from mwr_hpc.missing_wedge.convert import convert_tomogram
from mwr_hpc.missing_wedge.make_mask import make_mask
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.simulation.tomogram import TomogramSpecification, simulate_tomogram

PARAMETERS = {"side": 3, "percentile": 60.0, "threshold": 1.0, "z_crop": 0.0, "contrast": "dark"}


def write(path: Path, volume: np.ndarray) -> Path:
    with MrcWriter(path, volume.shape, volume.dtype, voxel_size=(8, 9, 10), origin=(1, 2, 3)) as writer:
        writer.write(0, volume)
    return path


def blob(shape: tuple[int, int, int] = (24, 30, 40)) -> np.ndarray:
    volume = keyed_generator(0, "test").standard_normal(shape, np.float32)
    volume[8:16, 10:18, 12:20] -= 6
    return volume


def test_simulated_particles_are_covered_and_empty_ice_is_not(tmp_path: Path) -> None:
    """Few particles in a large tomogram; what is far from all of them should be left out."""
    specification = TomogramSpecification(
        shape=(64, 96, 96), particles=12, membranes=0, filaments=0, gold=0, snr=1.0, seed=3
    )
    paths = simulate_tomogram(specification, tmp_path)
    made = make_mask({"tomogram": paths["tomogram"]}, PARAMETERS | {"threshold": 0.9}, tmp_path / "made.mrc")
    mask = open_mrc(tmp_path / "made.mrc").data > 0
    particles = open_mrc(paths["mask"]).data > 0
    from scipy import ndimage

    far = ndimage.distance_transform_edt(~particles) > 16
    assert mask[particles].mean() > 0.9
    assert mask[far].mean() < 0.5 * mask[particles].mean()
    assert made["share"] == pytest.approx(mask.mean()) and made["share"] < 0.7


def test_header_and_borders(tmp_path: Path) -> None:
    plain = blob()
    make_mask({"tomogram": write(tmp_path / "a.mrc", plain)}, PARAMETERS, tmp_path / "a_mask.mrc")
    mask = open_mrc(tmp_path / "a_mask.mrc")
    assert (mask.header.dtype, mask.shape) == (np.int8, plain.shape)
    assert (mask.voxel_size, mask.origin) == (pytest.approx((8, 9, 10)), (1, 2, 3))
    assert set(np.unique(mask.data)) == {0, 1} and mask.data[12, 14, 16] == 1
    padded = np.pad(plain, [(5, 3), (2, 4), (6, 0)], constant_values=500)
    make_mask({"tomogram": write(tmp_path / "b.mrc", padded)}, PARAMETERS, tmp_path / "b_mask.mrc")
    inner = open_mrc(tmp_path / "b_mask.mrc").data
    assert np.array_equal(inner[5:-3, 2:-4, 6:], mask.data)
    assert inner.sum() == mask.data.sum()


def test_ome_zarr_gives_the_same_mask(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mrc", blob((70, 30, 40)))
    convert_tomogram({"tomogram": path}, {}, tmp_path / "a.ome.zarr")
    for name in ("a.mrc", "a.ome.zarr"):
        make_mask({"tomogram": tmp_path / name}, PARAMETERS, tmp_path / f"{name}_mask.mrc")
    assert np.array_equal(*(open_mrc(tmp_path / f"{name}_mask.mrc").data for name in ("a.mrc", "a.ome.zarr")))


@pytest.mark.parametrize(
    ("change", "parameters", "message"),
    [
        (lambda volume: volume * 0, {}, "all voxels have the same value"),
        (lambda volume: np.where(volume > 3, np.nan, volume).astype(np.float32), {}, "expected finite numbers"),
        (lambda volume: volume, {"threshold": 50.0}, "no voxel passes the tests"),
    ],
)
def test_refusals_name_the_file(tmp_path: Path, change: object, parameters: dict[str, float], message: str) -> None:
    path = write(tmp_path / "a.mrc", blob())
    with path.open("r+b") as stream:
        stream.seek(1024)
        stream.write(change(blob()).astype(np.float32).tobytes())  # type: ignore[operator]
    with pytest.raises(InputError, match=message) as refused:
        make_mask({"tomogram": path}, PARAMETERS | parameters, tmp_path / "mask.mrc")
    assert str(path) in str(refused.value)
