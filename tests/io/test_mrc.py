"""MRC files: every mode and byte order, exact headers, deterministic bytes, and clear refusals of everything else."""

import math
import struct
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mwr_hpc.errors import DiskFullError, InputError
from mwr_hpc.io.atomic import partial_path
from mwr_hpc.io.mrc import MrcWriter, open_mrc
from mwr_hpc.io.mrc_header import DTYPES, HEADER_SIZE, IMOD_STAMP, MrcHeader, read_header, require_volume
from mwr_hpc.io.volume import read_box

SHAPE = (3, 4, 5)


def mrc_bytes(
    dtype: str = "f4", order: str = "<", extended: bytes = b"", shape: tuple[int, int, int] = SHAPE, **fields: Any
) -> bytes:
    """An MRC file made by hand from the format's description: reader and writer do not check each other."""
    mode = {"i1": 0, "u1": 0, "i2": 1, "f4": 2, "u2": 6, "f2": 12}[dtype]
    nz, ny, nx = shape
    header = bytearray(HEADER_SIZE)
    put = struct.pack_into
    put(order + "10i", header, 0, nx, ny, nz, mode, 1, 2, 3, nx, ny, nz)
    put(order + "6f", header, 40, *fields.get("cell", (nx * 2.5, ny * 5.0, nz * 7.5)), 90, 90, 90)
    put(order + "3i", header, 64, *fields.get("axes", (1, 2, 3)))
    put(order + "2i", header, 88, fields.get("group", 1), len(extended))
    if dtype == "u1":
        put(order + "2i", header, 152, IMOD_STAMP, 0)
    put(order + "3f", header, 196, *fields.get("origin", (10.0, 20.0, 30.0)))
    header[208:212] = b"MAP "
    header[212:216] = b"\x44\x44\0\0" if order == "<" else b"\x11\x11\0\0"
    put(order + "i", header, 220, 1)
    header[224:304] = b"made by hand".ljust(80)
    return bytes(header) + extended + voxels(dtype, shape).astype(order + dtype).tobytes()


def voxels(dtype: str = "f4", shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    values = np.arange(math.prod(shape)).reshape(shape)
    return (values if dtype.startswith("u") else values - 20).astype(dtype)


def patched(content: bytes, offset: int, kind: str, *values: float) -> bytes:
    changed = bytearray(content)
    struct.pack_into(kind, changed, offset, *values)
    return bytes(changed)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "f4", "u2", "f2"])
def test_every_mode_in_either_byte_order(tmp_path: Path, dtype: str, order: str) -> None:
    path = tmp_path / "a.mrc"
    path.write_bytes(mrc_bytes(dtype, order, extended=b"x" * 160))
    volume = open_mrc(path)
    np.testing.assert_array_equal(volume.data, voxels(dtype))
    np.testing.assert_array_equal(volume.slab(1, 3), voxels(dtype)[1:3])
    np.testing.assert_array_equal(volume.rows(2, 1, 3), voxels(dtype)[2, 1:3])
    box = slice(1, 3), slice(2, 4), slice(0, 2)
    np.testing.assert_array_equal(read_box(volume, box), voxels(dtype)[box])
    assert volume.data.dtype.newbyteorder("=") == np.dtype(dtype)
    assert volume.voxel_size == (7.5, 5.0, 2.5)
    assert volume.origin == (30.0, 20.0, 10.0)
    assert volume.header.labels == ("made by hand",)
    assert volume.header.extended == b"x" * 160


def test_the_signed_flag_of_imod_makes_bytes_signed(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    path.write_bytes(patched(mrc_bytes("i1"), 152, "<2i", IMOD_STAMP, 1))
    np.testing.assert_array_equal(open_mrc(path).data, voxels("i1"))


def test_a_wrong_byte_order_stamp_does_not_mislead(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    content = bytearray(mrc_bytes("i2", ">"))
    content[212:216] = b"\x44\x44\0\0"
    path.write_bytes(content)
    np.testing.assert_array_equal(open_mrc(path).data, voxels("i2"))


def test_mrcfile_reads_what_we_write(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    data = np.random.default_rng(1).normal(3, 2, (5, 6, 7)).astype(np.float32)
    with MrcWriter(path, data.shape, data.dtype, voxel_size=(3.0, 2.0, 1.5), origin=(1, 2, 3)) as writer:
        writer.write(0, data)
    assert mrcfile.validate(path)
    with mrcfile.open(path) as theirs:
        np.testing.assert_array_equal(theirs.data, data)
        assert theirs.voxel_size.tolist() == (1.5, 2.0, 3.0)
        assert theirs.header.origin.tolist() == (3.0, 2.0, 1.0)
        np.testing.assert_allclose(
            [theirs.header[name] for name in ("dmin", "dmax", "dmean", "rms")],
            [data.min(), data.max(), data.mean(), data.std()],
            rtol=1e-6,
        )


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_result_keeps_the_header_of_its_input(tmp_path: Path, order: str) -> None:
    source, target = tmp_path / "in.mrc", tmp_path / "out.mrc"
    # A cell that no product of a count and a voxel size gives back exactly.
    cell = (np.float32(12.345679), np.float32(1 / 3), np.float32(988.88))
    source.write_bytes(mrc_bytes("i1", order, extended=bytes(range(200)), cell=cell))
    before = read_header(source)
    with MrcWriter(target, SHAPE, np.float16, before, label="corrected") as writer:
        writer.write(0, voxels("f2"))
    after = read_header(target)
    assert after.fixed[40:64] == before.fixed[40:64]
    assert after.fixed[16:40] == before.fixed[16:40]
    assert after.origin == before.origin
    assert after.extended == before.extended
    assert after.byte_order == order
    assert after.labels == ("made by hand", "corrected")
    np.testing.assert_array_equal(open_mrc(target).data, voxels("f2"))


def test_the_bytes_do_not_depend_on_the_slabs(tmp_path: Path) -> None:
    data = np.random.default_rng(2).normal(1e4, 1, (7, 9, 11)).astype(np.float32)
    for name, cuts in (("a", [(0, 7)]), ("b", [(4, 7), (0, 3), (3, 4)])):
        with MrcWriter(tmp_path / name, data.shape, data.dtype) as writer:
            for start, stop in cuts:
                writer.write(start, data[start:stop])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_tenth_label_gives_way_to_ours(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    path.write_bytes(patched(mrc_bytes(), 220, "<i", 10))
    labels = read_header(path).derived(np.dtype("f4"), "ours").labels
    assert len(labels) == 10
    assert (labels[0], labels[9]) == ("made by hand", "ours")


def test_signed_bytes_stay_signed_under_an_imod_stamp(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mrc", tmp_path / "out.mrc"
    source.write_bytes(mrc_bytes("u1"))
    with MrcWriter(target, SHAPE, np.int8, read_header(source)) as writer:
        writer.write(0, voxels("i1"))
    np.testing.assert_array_equal(open_mrc(target).data, voxels("i1"))


def test_values_too_large_for_float16_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"a\.mrc.*70000.*float16.*float32"),
        MrcWriter(tmp_path / "a.mrc", SHAPE, np.float16) as writer,
    ):
        writer.write(0, np.full(SHAPE, 7e4, np.float32))


def test_messages_name_the_target_and_not_the_partial_file(tmp_path: Path) -> None:
    partial = partial_path(tmp_path / "a.mrc")
    with pytest.raises(InputError, match=r"a\.mrc: grey"), MrcWriter(partial, SHAPE, np.float16) as writer:
        writer.write(0, np.full(SHAPE, 7e4, np.float32))
    with pytest.raises(RuntimeError, match=r"a\.mrc: 3 of 3"), MrcWriter(partial, SHAPE, np.float32):
        pass


def test_sections_that_were_not_written_are_noticed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="1 of 3"), MrcWriter(tmp_path / "a.mrc", SHAPE, np.float32) as writer:
        writer.write(0, voxels()[:2])


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    path.symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match=r"a\.mrc"), MrcWriter(path, SHAPE, np.float32) as writer:
        writer.write(0, voxels())


GOOD = mrc_bytes()
BAD = {
    "empty": (b"", "not an MRC file"),
    "text": (b"# version 30001\n" * 100, "not an MRC file"),
    "truncated": (GOOD[:-1], r"truncated: the file has 1263 bytes.*asks for 1264"),
    "too long": (GOOD + bytes(240), "too long: .*asks for 1264"),
    "no sections": (patched(GOOD, 8, "<i", 0), "5 x 4 x 0 voxels"),
    "negative size": (patched(GOOD, 0, "<i", -5), "-5 x 4 x 3 voxels"),
    "huge": (patched(GOOD, 0, "<3i", 2**31 - 1, 2**31 - 1, 2**31 - 1), "truncated"),
    "complex": (patched(GOOD, 12, "<i", 4), "mode 4 is not supported.*newstack"),
    "negative extended header": (patched(GOOD, 92, "<i", -4)[:-1], "extended header has -4"),
    "axes": (mrc_bytes(axes=(3, 2, 1)), r"axes \(3, 2, 1\), expected \(1, 2, 3\)"),
    "cell": (mrc_bytes(cell=(math.nan, 1.0, 1.0)), "cell is .*nan"),
    "origin": (mrc_bytes(origin=(math.inf, 0.0, 0.0)), "origin is"),
    "4-bit": (patched(mrc_bytes("i1"), 152, "<2i", IMOD_STAMP, 17), "4-bit"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, case: str) -> None:
    content, message = BAD[case]
    path = tmp_path / "bad.mrc"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"bad\.mrc: .*{message}"):
        read_header(path)


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.mrc: cannot be read \(No such file"):
        read_header(tmp_path / "none.mrc")


@pytest.mark.parametrize(
    ("content", "message"), [(mrc_bytes(shape=(1, 4, 5)), "are an image"), (mrc_bytes(group=401), "stack of volumes")]
)
def test_what_is_no_volume_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.mrc"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        require_volume(path, read_header(path))


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_damage_never_raises_anything_but_an_input_error(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, 231) | st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.mrc"
    path.write_bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))])
    try:
        volume = open_mrc(path)
        require_volume(path, volume.header)
    except InputError as error:
        assert str(path) in str(error)
    else:
        told = volume.data.nbytes + len(volume.header.to_bytes())
        assert told == path.stat().st_size or (told < path.stat().st_size and volume.header.notes)
        assert np.isfinite([*volume.voxel_size, *volume.origin]).all()
        assert volume.header.labels is not None


@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    dtype=st.sampled_from(sorted(DTYPES.values())),
    voxel=st.tuples(*[st.floats(0.125, 100, width=32)] * 3),
    origin=st.tuples(*[st.floats(-1e5, 1e5, width=32)] * 3),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip(tmp_path: Path, shape: tuple, dtype: str, voxel: tuple, origin: tuple) -> None:
    path = tmp_path / "a.mrc"
    with MrcWriter(path, shape, dtype, voxel_size=voxel, origin=origin) as writer:
        writer.write(0, voxels(dtype, shape))
    volume = open_mrc(path)
    np.testing.assert_array_equal(volume.data, voxels(dtype, shape))
    np.testing.assert_allclose(volume.voxel_size, voxel, rtol=1e-6)
    assert volume.origin == origin
    assert volume.data.dtype == np.dtype(dtype)
    header = volume.header
    assert MrcHeader.from_bytes(header.to_bytes(), header.byte_order) == header


@pytest.mark.needs("shared_data")
def test_real_tomograms_agree_with_mrcfile(shared_data: Any) -> None:
    path = shared_data("tomograms/mt_13pf.mrc")
    volume = open_mrc(path)
    with mrcfile.open(path) as theirs:
        np.testing.assert_array_equal(volume.data, theirs.data)
    assert volume.data.dtype == np.int8
    np.testing.assert_allclose(volume.voxel_size, 10.52, rtol=1e-6)
