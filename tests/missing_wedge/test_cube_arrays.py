"""Arrays of cubes: any Zarr program reads what we write, and our reader reads the same."""

import numpy as np
import pytest
import zarr

from mwr_hpc.errors import InputError
from mwr_hpc.missing_wedge import cube_arrays
from mwr_hpc.missing_wedge.cube_arrays import CubeReader, CubeWriter, as_float32


def write(path, cubes, **tables):
    writer = CubeWriter(path, cubes.shape)
    for item in cubes:
        writer.append(item)
    writer.close(**tables)


def cubes(*shape):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    values[len(values) // 2] = 0
    return values


@pytest.mark.parametrize("shape", [(7, 4, 4, 4), (7, 3, 4, 4, 4), (1, 5, 4, 4, 4), (9, 2, 3, 4, 6)])
@pytest.mark.parametrize("items_per_shard", [1, 3, 100])
def test_zarr_and_our_reader_read_what_was_written(tmp_path, monkeypatch, shape, items_per_shard):
    values = cubes(*shape)
    monkeypatch.setattr(cube_arrays, "SHARD_BYTES", items_per_shard * values[0].nbytes)
    write(tmp_path / "a.zarr", values)
    array = zarr.open_array(tmp_path / "a.zarr", mode="r")
    np.testing.assert_array_equal(array[...], values)
    assert array.chunks == (*(1 for _ in shape[:-3]), *shape[-3:])
    reader = CubeReader(tmp_path / "a.zarr")
    assert len(reader) == shape[0]
    for place in np.ndindex(shape[:-3]):
        np.testing.assert_array_equal(reader.read(*place), values[place])


def test_every_float16_widens_to_the_same_number():
    values = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(16, 64, 64)[::-1].transpose(2, 0, 1)
    wide = as_float32(values)
    assert wide.dtype == np.float32 and wide.flags.c_contiguous
    np.testing.assert_array_equal(wide, values.astype(np.float32))


def test_a_shard_stays_within_its_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(cube_arrays, "SHARD_BYTES", 1000)
    write(tmp_path / "a.zarr", cubes(20, 4, 4, 4))
    sizes = [p.stat().st_size for p in (tmp_path / "a.zarr/c").rglob("*") if p.is_file()]
    assert len(sizes) == 3 and max(sizes) <= 1000 + 7 * (16 + 4) + 4


def test_tables_come_back_as_they_were_and_a_missing_one_is_named(tmp_path):
    boxes = np.arange(12, dtype=np.int16).reshape(2, 6)
    write(tmp_path / "a.zarr", cubes(2, 4, 4, 4), boxes=boxes, flags=np.array([True, False]))
    reader = CubeReader(tmp_path / "a.zarr")
    np.testing.assert_array_equal(reader.table("boxes", np.int16), boxes)
    assert reader.table("flags", bool).tolist() == [True, False]
    with pytest.raises(InputError, match="centres is missing"):
        reader.table("centres", np.int32)


def test_a_stage_leaves_two_files_for_up_to_a_shard_of_cubes(tmp_path):
    write(tmp_path / "a.zarr", cubes(20, 4, 4, 4), boxes=np.zeros((20, 6)))
    assert len([p for p in (tmp_path / "a.zarr").rglob("*") if p.is_file()]) == 2


def test_missing_items_are_noticed_when_closing(tmp_path):
    writer = CubeWriter(tmp_path / "a.zarr", (3, 4, 4, 4))
    writer.append(np.zeros((4, 4, 4)))
    with pytest.raises(ValueError, match="1 items were written"):
        writer.close()


def test_no_array_and_arrays_of_another_layout_are_refused(tmp_path):
    with pytest.raises(InputError, match="not a readable array"):
        CubeReader(tmp_path / "nothing")
    zarr.create_array(tmp_path / "plain", shape=(2, 4, 4, 4), chunks=(1, 4, 4, 4), dtype="f2")
    with pytest.raises(InputError, match="plain"):
        CubeReader(tmp_path / "plain")
    zarr.create_array(tmp_path / "zipped", shape=(2, 4, 4, 4), chunks=(1, 4, 4, 4), shards=(2, 4, 4, 4), dtype="f2")
    with pytest.raises(InputError, match="layout"):
        CubeReader(tmp_path / "zipped")
