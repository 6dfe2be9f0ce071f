"""OME-Zarr: what is written comes back, shards are whole, the pyramid holds means, metadata follow OME-NGFF 0.5."""

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from mwr_hpc.errors import DiskFullError, InputError
from mwr_hpc.io import pyramid, shards
from mwr_hpc.io.atomic import partial_path
from mwr_hpc.io.ome_zarr import OmeZarrWriter, open_ome_zarr
from mwr_hpc.io.volume import open_volume


def write(path: Path, volume: np.ndarray, slab: int | None = None, **options: Any) -> None:
    options = {"voxel_size": (3.0, 2.0, 1.0), "origin": (5.0, 6.0, 7.0)} | options
    with OmeZarrWriter(path, volume.shape, volume.dtype, **options) as writer:
        cuts = [(z, min(z + slab, len(volume))) for z in range(0, len(volume), slab)] if slab else writer.layers
        for start, stop in cuts:
            writer.write(start, volume[start:stop])


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards and pyramid at a hundredth of the real size, so that small volumes have many."""
    monkeypatch.setattr(shards, "CHUNK", 8)
    monkeypatch.setattr(shards, "LARGEST_SHARD", (8, 16, 16))
    monkeypatch.setattr(pyramid, "LARGEST_TOP_LEVEL", 8)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("slab", [None, 1, 5, 100])
@pytest.mark.parametrize("shape", [(19, 37, 21), (8, 16, 16), (2, 3, 40)])
def test_what_is_written_comes_back_however_it_was_cut(tmp_path: Path, shape: tuple, slab: int | None) -> None:
    volume = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    write(tmp_path / "a.ome.zarr", volume, slab)
    read = open_ome_zarr(tmp_path / "a.ome.zarr")
    np.testing.assert_array_equal(read.data[:], volume)
    assert read.shape == shape
    assert read.voxel_size == (3.0, 2.0, 1.0)
    assert read.origin == (5.0, 6.0, 7.0)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "f2", "f4", ">i2", ">f4"])
def test_the_dtype_is_kept_in_native_byte_order(tmp_path: Path, dtype: str) -> None:
    volume = np.arange(4 * 5 * 6).reshape(4, 5, 6).astype(dtype)
    write(tmp_path / "a.ome.zarr", volume)
    data = open_ome_zarr(tmp_path / "a.ome.zarr").data
    assert data.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(data[:], volume)


@pytest.mark.parametrize(("value", "dtype"), [(7e4, "f2"), (-7e4, "f2"), (np.nan, "f4"), (np.inf, "f4")])
def test_what_is_not_finite_in_the_dtype_is_refused(tmp_path: Path, value: float, dtype: str) -> None:
    volume = np.zeros((4, 5, 6), np.float32)
    volume[2, 1, 1] = value
    partial = partial_path(tmp_path / "a.ome.zarr")
    with (
        pytest.raises(InputError, match=r"a\.ome\.zarr: grey values .* in section 2 are not finite .*float32"),
        OmeZarrWriter(partial, volume.shape, dtype, (1.0, 1.0, 1.0)) as writer,
    ):
        writer.write(0, volume)


@pytest.mark.usefixtures("small_shards")
def test_the_pyramid_holds_means_and_says_where_they_lie(tmp_path: Path) -> None:
    volume = np.random.default_rng(1).normal(size=(16, 32, 8)).astype(np.float32)
    write(tmp_path / "a.ome.zarr", volume)
    group = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")
    datasets = group.attrs["ome"]["multiscales"][0]["datasets"]
    assert [group[one["path"]].shape for one in datasets] == [(16, 32, 8), (8, 16, 4), (4, 8, 2)]
    expected = volume.reshape(8, 2, 16, 2, 4, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(group["1"][:], expected, atol=1e-6)
    np.testing.assert_allclose(group["2"][:], volume.reshape(4, 4, 8, 4, 2, 4).mean(axis=(1, 3, 5)), atol=1e-6)
    # The middle of the volume must be at the same place in every level.
    for one in datasets:
        scale, translation = (one["coordinateTransformations"][i][k] for i, k in ((0, "scale"), (1, "translation")))
        middle = [(n - 1) / 2 for n in group[one["path"]].shape]
        place = [at + size * index for at, size, index in zip(translation, scale, middle, strict=True)]
        np.testing.assert_allclose(place, [5 + 3 * 7.5, 6 + 2 * 15.5, 7 + 3.5])


@pytest.mark.usefixtures("small_shards")
def test_integer_means_are_rounded_and_odd_edges_repeat(tmp_path: Path) -> None:
    volume = np.full((9, 9, 9), -3, np.int8)
    volume[0, 0, 0] = 1  # mean of its eight: -2.5 + ... rounds to -2 as even
    write(tmp_path / "a.ome.zarr", volume)
    coarse = zarr.open_array(tmp_path / "a.ome.zarr" / "1", mode="r")[:]
    assert coarse.shape == (5, 5, 5)
    assert coarse[0, 0, 0] == -2
    assert (coarse.ravel()[1:] == -3).all()


def test_shards_hold_no_more_than_256_cubed_voxels_and_few_are_needed() -> None:
    for shape, shard in {
        (512, 1024, 1024): (64, 512, 512),
        (300, 600, 90): (64, 320, 128),
        (36, 206, 94): (36, 256, 128),
    }.items():
        chunk, found = shards.grid_of(shape)
        assert found == shard
        assert all(s % c == 0 and c <= 64 for s, c in zip(shard, chunk, strict=True))
        assert np.prod(shard) <= 256**3


def test_the_directory_is_what_ome_ngff_asks_for(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    write(path, np.ones((4, 5, 6), np.int8), attributes={"statistics": {"mean": 1.0}})
    document = json.loads((path / "zarr.json").read_text())
    image = document["attributes"]["ome"]
    assert document["zarr_format"] == 3 and document["node_type"] == "group"
    assert image["version"] == "0.5"
    assert image["multiscales"][0]["axes"] == [
        {"name": name, "type": "space", "unit": "angstrom"} for name in ("z", "y", "x")
    ]
    array = json.loads((path / "0" / "zarr.json").read_text())
    assert array["dimension_names"] == ["z", "y", "x"]
    codecs = array["codecs"][0]
    assert codecs["name"] == "sharding_indexed"
    blosc = codecs["configuration"]["codecs"][-2]["configuration"]
    assert (blosc["cname"], blosc["clevel"], blosc["shuffle"]) == ("zstd", 3, "bitshuffle")
    assert open_ome_zarr(path).attributes == {"statistics": {"mean": 1.0}}


def test_an_unknown_voxel_size_stays_unknown(tmp_path: Path) -> None:
    write(tmp_path / "a.ome.zarr", np.ones((4, 5, 6), np.int8), voxel_size=(0.0, 0.0, 0.0))
    assert open_volume(tmp_path / "a.ome.zarr").voxel_size == (0.0, 0.0, 0.0)
    assert open_volume(tmp_path / "a.ome.zarr").mrc_header is None


def test_nanometres_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    write(path, np.ones((4, 5, 6), np.int8))
    (path / "zarr.json").write_text((path / "zarr.json").read_text().replace('"angstrom"', '"nanometer"'))
    assert open_ome_zarr(path).voxel_size == (30.0, 20.0, 10.0)


def test_an_unfinished_directory_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    with pytest.raises(KeyError), OmeZarrWriter(path, (4, 5, 6), "i1", (1.0, 1.0, 1.0)) as writer:
        writer.write(0, np.ones((2, 5, 6), np.int8))
        raise KeyError
    with pytest.raises(InputError, match=r"a\.ome\.zarr: not an OME-Zarr"):
        open_ome_zarr(path)


@pytest.mark.parametrize("damage", ["absent", "text", "no levels", "no array", "unit"])
def test_a_damaged_directory_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.ome.zarr"
    if damage != "absent":
        write(path, np.ones((4, 5, 6), np.int8))
        text = (path / "zarr.json").read_text()
        if damage == "text":
            text = text[:-20]
        elif damage == "no levels":
            text = text.replace("datasets", "data")
        elif damage == "unit":
            text = text.replace("angstrom", "second")
        (path / "zarr.json").write_text(text)
        if damage == "no array":
            (path / "0" / "zarr.json").write_text("{}")
    with pytest.raises(InputError, match=r"a\.ome\.zarr: not an OME-Zarr 0\.5 image"):
        open_ome_zarr(path)


def test_slabs_out_of_order_are_refused(tmp_path: Path) -> None:
    writer = OmeZarrWriter(tmp_path / "a.ome.zarr", (4, 5, 6), "i1", (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="does not follow"):
        writer.write(1, np.ones((1, 5, 6), np.int8))


@pytest.mark.parametrize("where", ["write_all", "sync_path"])
@pytest.mark.parametrize("slab", [None, 1])
@pytest.mark.usefixtures("small_shards")
def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slab: int | None, where: str) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards, where, full)
    with pytest.raises(DiskFullError, match=r"a\.ome\.zarr"):
        write(tmp_path / "a.ome.zarr", np.ones((20, 30, 30), np.int8), slab)
    assert not (tmp_path / "a.ome.zarr" / "zarr.json").exists()


@pytest.mark.usefixtures("small_shards")
def test_shards_are_what_zarr_would_write(tmp_path: Path) -> None:
    """The same chunks in the same bytes; only their order in the file is free."""
    volume = np.random.default_rng(3).normal(size=(19, 37, 21)).astype(np.float32)
    write(tmp_path / "a.ome.zarr", volume)
    ours = zarr.open_array(tmp_path / "a.ome.zarr" / "0", mode="r")
    theirs = zarr.create_array(
        tmp_path / "b",
        shape=volume.shape,
        dtype=volume.dtype,
        chunks=ours.chunks,
        shards=ours.shards,
        compressors=shards.COMPRESSORS,
        config={"write_empty_chunks": True},
    )
    theirs[:] = volume
    files = {path.relative_to(tmp_path / "b") for path in (tmp_path / "b" / "c").rglob("*") if path.is_file()}
    assert files == {
        path.relative_to(tmp_path / "a.ome.zarr" / "0")
        for path in (tmp_path / "a.ome.zarr" / "0" / "c").rglob("*")
        if path.is_file()
    }
    for file in files:
        found, expected = ((folder / file).read_bytes() for folder in (tmp_path / "a.ome.zarr" / "0", tmp_path / "b"))
        assert sorted(_chunks(found)) == sorted(_chunks(expected))


def _chunks(shard: bytes) -> list[bytes]:
    index = np.frombuffer(shard[-4 - 16 * 4 : -4], "<u8").reshape(-1, 2)  # shards of 1 x 2 x 2 chunks
    return [shard[offset : offset + size] for offset, size in index.tolist() if offset != 2**64 - 1]


@pytest.mark.usefixtures("small_shards")
def test_the_same_volume_gives_the_same_bytes(tmp_path: Path) -> None:
    volume = np.random.default_rng(4).normal(size=(19, 37, 21)).astype(np.float16)
    contents = []
    for name, slab in (("a", None), ("b", 1), ("c", 7)):
        write(tmp_path / name, volume, slab)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append([(path.relative_to(tmp_path / name), path.read_bytes()) for path in files])
    assert contents[0] == contents[1] == contents[2]
