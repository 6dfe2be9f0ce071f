"""Conversion: voxels, statistics and header arrive; bad voxels are named; one pass in bounded memory."""

import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrc_files import mrc_file
from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc import MrcVolume, MrcWriter
from mwr_hpc.io.mrc_header import read_header
from mwr_hpc.io.ome_zarr import open_ome_zarr
from mwr_hpc.missing_wedge.convert import convert_tomogram
from mwr_hpc.missing_wedge.mask import load_mask
from mwr_hpc.numerics.normalization import VolumeStatistics


def write(path: Path, volume: np.ndarray) -> Path:
    with MrcWriter(path, volume.shape, volume.dtype, voxel_size=10.5, origin=(1, 2, 3)) as writer:
        writer.write(0, volume)
    return path


def noise(shape: tuple[int, int, int] = (70, 20, 30)) -> np.ndarray:
    return np.random.default_rng(3).normal(30, 9, shape).astype(np.float32)


def convert(path: Path) -> dict[str, Any]:
    return convert_tomogram({"tomogram": path}, {}, path.with_suffix(".ome.zarr"))


@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f2", "f4"])
def test_voxels_header_and_statistics_arrive(tmp_path: Path, dtype: str) -> None:
    volume = noise().astype(dtype)
    path = write(tmp_path / "a.mrc", volume)
    figures = convert(path)
    converted = open_ome_zarr(tmp_path / "a.ome.zarr")
    np.testing.assert_array_equal(converted.data[:], volume)
    assert converted.data.dtype == np.dtype(dtype)
    assert converted.voxel_size == (10.5, 10.5, 10.5)
    assert converted.origin == (1.0, 2.0, 3.0)
    assert converted.mrc_header == read_header(path)
    statistics = VolumeStatistics.from_record(figures["statistics"])
    np.testing.assert_allclose(statistics.mean, volume.astype(np.float64).mean(), rtol=1e-6)
    assert converted.attributes["statistics"] == figures["statistics"]
    assert figures["shape"] == [70, 20, 30]
    assert figures["source"]["crc32"] == f"{zlib.crc32(path.read_bytes()):08x}"


def test_big_endian_headers_survive(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mrc", noise((4, 5, 6)))
    header = read_header(path)
    big = bytearray(header.fixed)
    for start, stop in ((0, 104), (108, 112), (196, 208), (216, 224)):
        big[start:stop] = np.frombuffer(header.fixed[start:stop], "<u4").byteswap().tobytes()
    big[212:216] = b"\x11\x11\0\0"
    path.write_bytes(bytes(big) + noise((4, 5, 6)).astype(">f4").tobytes())
    convert(path)
    converted = open_ome_zarr(tmp_path / "a.ome.zarr")
    np.testing.assert_array_equal(converted.data[:], noise((4, 5, 6)))
    assert converted.mrc_header == read_header(path)


def test_what_was_converted_can_be_converted_again(tmp_path: Path) -> None:
    volume = noise()
    volume[:, :, :3] = 7
    figures = convert(write(tmp_path / "a.mrc", volume))
    again = convert_tomogram({"tomogram": tmp_path / "a.ome.zarr"}, {}, tmp_path / "b.ome.zarr")
    for name in ("statistics", "shape", "dtype", "voxel_size"):
        assert again[name] == figures[name]
    first, second = open_ome_zarr(tmp_path / "a.ome.zarr"), open_ome_zarr(tmp_path / "b.ome.zarr")
    np.testing.assert_array_equal(second.data[:], volume)
    assert second.mrc_header == first.mrc_header and second.attributes["interior"] == first.attributes["interior"]


def test_a_voxel_size_is_taken_where_the_header_has_none(tmp_path: Path) -> None:
    for name, voxel_size, expected in (("without", 0.0, 8.5), ("with", 10.0, 10.0)):
        with MrcWriter(tmp_path / f"{name}.mrc", (8, 8, 8), np.float32, voxel_size=voxel_size) as writer:
            writer.write(0, noise((8, 8, 8)).astype(np.float32))
        target = tmp_path / f"{name}.ome.zarr"
        figures = convert_tomogram({"tomogram": tmp_path / f"{name}.mrc"}, {"voxel_size": 8.5}, target)
        assert figures["voxel_size"] == pytest.approx([expected] * 3)
        assert open_ome_zarr(target).voxel_size == pytest.approx((expected,) * 3)


def test_constant_borders_do_not_count(tmp_path: Path) -> None:
    inner = noise()
    figures = convert(write(tmp_path / "a.mrc", np.pad(inner, [(3, 2), (0, 4), (5, 0)])))
    assert figures["interior"] == ((3, 73), (0, 20), (5, 35))
    statistics = VolumeStatistics.from_record(figures["statistics"])
    assert statistics.count == inner.size
    np.testing.assert_allclose([statistics.mean, statistics.std], [inner.mean(), inner.std()], rtol=1e-5)


@pytest.mark.parametrize(("value", "message"), [(np.nan, "value nan"), (np.inf, "value inf"), (1e30, "value 1e\\+30")])
def test_voxels_that_are_no_numbers_are_named(tmp_path: Path, value: float, message: str) -> None:
    path = write(tmp_path / "a.mrc", noise())
    voxels = np.memmap(path, np.float32, "r+", 1024, (70, 20, 30))
    voxels[66, 7, 8] = value
    voxels.flush()
    with pytest.raises(InputError, match=rf"a\.mrc: the voxel \(z, y, x\) = \(66, 7, 8\) has the {message}"):
        convert(path)


def test_a_constant_volume_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.mrc: all voxels have the value 3"):
        convert(write(tmp_path / "a.mrc", np.full((4, 5, 6), 3, np.int8)))


def test_an_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.mrc: 6 x 5 x 1 voxels .* are an image"):
        convert(write(tmp_path / "a.mrc", noise((1, 5, 6))))


def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.mrc", noise())
    slab = MrcVolume.slab

    def slab_and_touch(volume: MrcVolume, start: int, stop: int) -> np.ndarray:
        path.touch()
        return slab(volume, start, stop)

    monkeypatch.setattr(MrcVolume, "slab", slab_and_touch)
    with pytest.raises(InputError, match="changed while it was read"):
        convert(path)


def test_memory_is_bounded_by_a_layer_of_shards(tmp_path: Path) -> None:
    """A volume of 96 MB: what is resident at the peak beyond the start stays far below it, even with mapped pages."""
    volume = np.random.default_rng(0).normal(size=(384, 256, 256)).astype(np.float32)
    path = write(tmp_path / "a.mrc", volume)
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from mwr_hpc.missing_wedge.convert import convert_tomogram\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "convert_tomogram({'tomogram': Path(sys.argv[1])}, {}, Path(sys.argv[3]))\n"
        "before = peak()\n"
        "convert_tomogram({'tomogram': Path(sys.argv[2])}, {}, Path(sys.argv[4]))\n"
        "sys.stdout.write(str(peak() - before))\n"
    )
    # The first conversion, of one layer, takes whatever the libraries need.
    one_layer = write(tmp_path / "b.mrc", volume[:64])
    paths = [str(one_layer), str(path), str(tmp_path / "b.zarr"), str(tmp_path / "a.zarr")]
    ran = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < volume.nbytes / 3


def test_a_mask_is_true_where_it_says_so(tmp_path: Path) -> None:
    mask = np.zeros((4, 5, 6), np.int8)
    mask[1, 2, 3] = 1
    found = load_mask(write(tmp_path / "m.mrc", mask), (4, 5, 6))
    assert found.dtype == bool
    assert np.argwhere(found).tolist() == [[1, 2, 3]]


def test_masks_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.mrc", np.zeros((4, 5, 6), np.int8))
    with pytest.raises(InputError, match=r"m\.mrc: the mask has \(4, 5, 6\).*\(4, 5, 7\)"):
        load_mask(path, (4, 5, 7))
    with pytest.raises(InputError, match=r"m\.mrc: no voxel"):
        load_mask(path, (4, 5, 6))
    values = np.ones((4, 5, 6), np.float32)
    values[0, 1, 2:4] = np.nan
    with pytest.raises(InputError, match=r"n\.mrc: 2 values of the mask are nan"):
        load_mask(mrc_file(tmp_path / "n.mrc", values), (4, 5, 6))


@pytest.mark.needs("shared_data")
def test_a_real_tomogram_stays_int8(shared_data: Any, tmp_path: Path) -> None:
    path = shared_data("tomograms/mt_14pf.mrc")
    figures = convert_tomogram({"tomogram": path}, {}, tmp_path / "a.ome.zarr")
    assert figures["dtype"] == "int8"
    np.testing.assert_allclose(figures["statistics"]["mean"], 13.474143, rtol=1e-6)
    np.testing.assert_allclose(figures["statistics"]["std"], 26.713306, rtol=1e-6)
