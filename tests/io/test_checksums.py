"""One changed bit, wherever it is in a stored array, is noticed on reading and when everything is read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from boxnet.teaching import blobs
from mwr_hpc.boxnet.candidates import Candidates, read_candidates, write_candidates
from mwr_hpc.boxnet.examples import Entry, ExampleStore, write_example, write_index
from mwr_hpc.errors import DamagedArrayError, InputError
from mwr_hpc.io import checksums
from mwr_hpc.io.checksums import damage_below, is_sealed
from mwr_hpc.io.ome_zarr import OmeZarrWriter, open_ome_zarr
from mwr_hpc.missing_wedge.cube_arrays import CubeReader, CubeWriter

VALUES = np.random.default_rng(0).normal(size=(3, 2, 4, 4, 4)).astype(np.float16)


def write_cubes(path: Path) -> None:
    writer = CubeWriter(path, VALUES.shape)
    for item in VALUES:
        writer.append(item)
    writer.close(flags=np.array([True, False, True]))


def read_cubes(path: Path) -> object:
    reader = CubeReader(path)
    values = [[reader.read(item, cube) for cube in range(2)] for item in range(3)]
    return np.array(values).tobytes(), reader.table("flags", bool).tolist()


def write_image(path: Path) -> None:
    with OmeZarrWriter(path, (4, 5, 6), "f4", (10.0,) * 3, attributes={"statistics": {"mean": 1.5}}) as writer:
        writer.write(0, np.arange(120, dtype=np.float32).reshape(4, 5, 6))


def read_image(path: Path) -> object:
    image = open_ome_zarr(path)
    return image.data[:].tobytes(), image.attributes


def write_one_example(path: Path) -> None:
    example = blobs("m0", size=16, count=2)
    write_example(path / "m0", example, 8.0)
    write_index(path, [Entry("m0", "m0.mrc", "0", 2, False, 128.0)], 8.0, val_fraction=0)


def read_one_example(path: Path) -> object:
    example = ExampleStore(path).read("m0")
    return example.image.tobytes(), example.labels.tobytes(), example.weights.tobytes(), example.positions.tolist()


KINDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], object]]] = {
    "cubes": (write_cubes, read_cubes),
    "image": (write_image, read_image),
    "example": (write_one_example, read_one_example),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_flipped_bit_is_noticed_or_harmless(tmp_path: Path, kind: str) -> None:
    write, read = KINDS[kind]
    array = tmp_path / "array"
    write(array)
    whole = read(array)
    assert not list(damage_below(array))
    generator = np.random.default_rng(0)
    # What an image says of itself belongs to other programs too, and the index of a store is no array.
    not_ours = None if kind == "cubes" else array
    files = [path for path in array.rglob("*") if path.is_file() and path.parent != not_ours]
    for path in files:
        content = path.read_bytes()
        for place in generator.choice(8 * len(content), 40, replace=False):
            changed = bytearray(content)
            changed[place // 8] ^= 1 << place % 8
            path.write_bytes(changed)
            try:
                assert read(array) == whole, (path, place)
            except DamagedArrayError as error:
                assert error.path in (array, array / "m0")
                assert list(damage_below(array)), (path, place)
        path.write_bytes(content)


def test_a_flipped_bit_in_what_an_image_says_of_its_voxels_is_noticed(tmp_path: Path) -> None:
    write_image(tmp_path / "a.ome.zarr")
    metadata = tmp_path / "a.ome.zarr" / "zarr.json"
    metadata.write_text(metadata.read_text().replace('"mean": 1.5', '"mean": 1.4'))
    with pytest.raises(DamagedArrayError, match="not as it was written"):
        open_ome_zarr(tmp_path / "a.ome.zarr")
    assert list(damage_below(tmp_path / "a.ome.zarr")) == ["its zarr.json is not as it was written"]


def test_candidates_notice_any_flipped_bit(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).random((12, 10)).astype(np.float16)
    write_candidates(tmp_path / "m.h5", Candidates("m.mrc", (48, 40), 4.0, maps, maps > 0.5))
    whole, content = read_candidates(tmp_path / "m.h5"), (tmp_path / "m.h5").read_bytes()
    for place in np.random.default_rng(1).choice(8 * len(content), 200, replace=False):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        (tmp_path / "m.h5").write_bytes(changed)
        try:
            read = read_candidates(tmp_path / "m.h5")
        except InputError:  # damaged, or another format where its name was hit
            continue
        assert (read.micrograph, read.shape, read.pixel_size) == (whole.micrograph, whole.shape, whole.pixel_size)
        np.testing.assert_array_equal(read.particle, whole.particle)
        np.testing.assert_array_equal(read.contamination, whole.contamination)


def test_zarr_itself_notices_a_changed_chunk(tmp_path: Path) -> None:
    write_cubes(tmp_path / "a.zarr")
    shard = next(path for path in (tmp_path / "a.zarr/c").rglob("*") if path.is_file())
    content = bytearray(shard.read_bytes())
    content[3] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        zarr.open_array(tmp_path / "a.zarr", mode="r")[...]
    assert is_sealed(tmp_path / "a.zarr") and checksums.SEAL in zarr.open_array(tmp_path / "a.zarr").attrs
