"""Noise for training: generated arrays and folders of MRC volumes, cubes cut by key."""

from pathlib import Path

import numpy as np
import pytest

from commanding import damaged_volume, volume
from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.io.volume import open_volume
from mwr_hpc.missing_wedge.cube_arrays import CubeReader
from mwr_hpc.missing_wedge.generate_noise import generate_noise
from mwr_hpc.missing_wedge.input_pipeline import NoiseVolumes
from mwr_hpc.numerics.keyed_random import keyed_generator

PARAMETERS = {
    "number": 3,
    "cube_size": 16,
    "tilt_range": [-60.0, 50.0],
    "tilt_step": 5.0,
    "filter": "ramp",
    "seed": 7,
}


def test_a_cube_depends_on_seed_and_number_alone(tmp_path: Path) -> None:
    for name, change in (("a", {}), ("b", {"number": 2}), ("c", {"seed": 8})):
        generate_noise({}, PARAMETERS | change, tmp_path / name)
    a, b, c = (CubeReader(tmp_path / name) for name in "abc")
    assert (len(a), len(b)) == (3, 2)
    assert np.array_equal(a.read(1), b.read(1))
    assert not np.array_equal(a.read(1), a.read(0)) and not np.array_equal(a.read(1), c.read(1))
    assert a.table("tilt_range", float).tolist() == [-60, 50]
    assert str(a.table("filter", str)) == "ramp"
    assert a.read(2).astype(float).std() == pytest.approx(1, abs=0.01)


def test_training_cuts_cubes_of_its_own_size(tmp_path: Path) -> None:
    generate_noise({}, PARAMETERS, tmp_path / "noise.zarr")
    whole = NoiseVolumes(tmp_path / "noise.zarr", 16)
    stored = [CubeReader(tmp_path / "noise.zarr").read(index).astype(np.float32) for index in range(3)]
    drawn = [whole.cube(keyed_generator(0, "test", index=index)) for index in range(20)]
    assert all(cube.dtype == np.float32 for cube in drawn)
    assert {next(i for i, one in enumerate(stored) if np.array_equal(one, cube)) for cube in drawn} == {0, 1, 2}
    parts = NoiseVolumes(tmp_path / "noise.zarr", 8)
    assert parts.cube(keyed_generator(0, "test")).shape == (8, 8, 8)
    same = [parts.cube(keyed_generator(0, "test")) for _ in range(2)]
    assert np.array_equal(*same)
    with pytest.raises(InputError, match=r"noise\.zarr: a noise volume of \(16, 16, 16\).*cube_size 24"):
        NoiseVolumes(tmp_path / "noise.zarr", 24)


def test_a_folder_of_mrc_volumes_still_serves(tmp_path: Path) -> None:
    noise = keyed_generator(0, "test").standard_normal((12, 16, 20), np.float32)
    with MrcWriter(tmp_path / "noise.mrc", noise.shape, np.float32) as writer:
        writer.write(0, noise)
    assert NoiseVolumes(tmp_path, 8).cube(keyed_generator(0, "test")).shape == (8, 8, 8)
    with pytest.raises(InputError, match="cube_size 16"):
        NoiseVolumes(tmp_path, 16)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="mwr-hpc generate-noise"):
        NoiseVolumes(tmp_path / "empty", 8)


def test_files_are_found_as_tomograms_are(tmp_path: Path) -> None:
    noise = volume(tmp_path / "noise.MRC", shape=(8, 8, 8))
    (tmp_path / "._noise.mrc").write_bytes(b"what another system left")
    found = NoiseVolumes(tmp_path, 8)
    found.check()
    assert np.array_equal(found.cube(keyed_generator(0, "test")), open_volume(noise).data)


def test_volumes_that_cannot_be_noise_are_refused_by_name(tmp_path: Path) -> None:
    volume(tmp_path / "good.mrc")
    damaged_volume(tmp_path / "nan.mrc", np.nan)
    with pytest.raises(InputError, match=r"nan\.mrc: .*not finite"):
        NoiseVolumes(tmp_path, 8).check()
    volume(tmp_path / "nan.mrc", np.full((16, 16, 16), 3, np.float32))
    with pytest.raises(InputError, match=r"nan\.mrc: .*3 everywhere"):
        NoiseVolumes(tmp_path, 8).check()
