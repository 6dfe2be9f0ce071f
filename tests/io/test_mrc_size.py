"""Headers that permissive readers accept: read with what was assumed, and results have sound headers."""

from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest

from mrc_files import mrc_file
from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc import MrcWriter, open_mrc

VALUES = np.arange(-60, 60).reshape(4, 5, 6)
ODD: dict[str, tuple[dict[str, Any], str]] = {
    "absent extended header": ({"announced": 49_920}, "extended header of 49920 bytes that is announced is not there"),
    "negative extended header": ({"announced": -4}, "extended header of -4 bytes"),
    "bytes behind": ({"tail": bytes(37)}, "37 bytes behind the voxels"),
    "bytes behind and extended": ({"tail": bytes(37), "extended": b"x" * 80}, "37 bytes behind the voxels"),
    "no MAP": ({"identifier": bytes(4), "stamp": bytes(4)}, "no 'MAP ' at byte 208"),
    "no MAP, absent": ({"identifier": bytes(4), "stamp": bytes(4), "announced": 80}, "no 'MAP '"),
    "no MAP, extended": ({"identifier": b"\x12abc", "extended": b"x" * 80}, "no 'MAP '"),
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "f2"])
@pytest.mark.parametrize("case", ODD)
def test_an_odd_header_is_read_and_told(tmp_path: Path, case: str, dtype: str, order: str) -> None:
    fields, note = ODD[case]
    values = VALUES.astype(dtype)
    volume = open_mrc(mrc_file(tmp_path / "a.mrc", values, order, **fields))
    np.testing.assert_array_equal(volume.data, values)
    assert note in volume.header.notes[0] and volume.header.byte_order == order
    assert b"".join(volume.around()) == (tmp_path / "a.mrc").read_bytes().replace(volume.data.tobytes(), b"")
    with MrcWriter(tmp_path / "b.mrc", values.shape, np.float32, volume.header) as writer:
        writer.write(0, values.astype(np.float32))
    result = open_mrc(tmp_path / "b.mrc")
    np.testing.assert_array_equal(result.data, values)
    assert result.header.notes == () and result.voxel_size == (10, 10, 10)
    if "extended" not in fields:  # nobody said of what kind it is
        assert mrcfile.validate(tmp_path / "b.mrc")


@pytest.mark.parametrize("order", ["<", ">"])
def test_negative_intervals_are_not_passed_on(tmp_path: Path, order: str) -> None:
    values = VALUES.astype("f4")
    path = mrc_file(tmp_path / "a.mrc", values, order, intervals=(-6, 0, -4))
    volume = open_mrc(path)
    assert volume.voxel_size == (10, 10, 10) and not mrcfile.validate(path)
    with MrcWriter(tmp_path / "b.mrc", values.shape, np.float32, volume.header) as writer:
        writer.write(0, values)
    assert mrcfile.validate(tmp_path / "b.mrc")
    with mrcfile.open(tmp_path / "b.mrc") as result:
        assert (result.header.mx, result.header.my, result.header.mz) == (6, 5, 4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("dtype", "announced_mode", "message"),
    [
        ("f4", 1, r"too long: .*of mode 1.* the size fits mode 2 \(float32\): correct the mode"),
        ("i2", 2, r"truncated: .*of mode 2.* the size fits mode 1 \(int16\) or 6 \(uint16\) or 12 \(float16\)"),
        ("i1", 2, r"truncated: .*the size fits mode 0 \(bytes\)"),
        ("i2", 0, r"too long: .*the size fits mode 1"),
    ],
)
def test_a_size_that_fits_another_mode_is_refused(
    tmp_path: Path, dtype: str, announced_mode: int, message: str, order: str
) -> None:
    path = mrc_file(tmp_path / "a.mrc", VALUES.astype(dtype), order, mode=announced_mode)
    with pytest.raises(InputError, match=message):
        open_mrc(path)


def test_what_no_size_explains_is_refused(tmp_path: Path) -> None:
    values = VALUES.astype("f4")
    cases = {
        "no MAP and bytes behind": ({"identifier": bytes(4), "tail": b"x"}, "not an MRC file"),
        "part of the extended header": ({"announced": 80, "tail": bytes(40)}, "truncated"),
        "twice as many bytes": ({"tail": bytes(480)}, "too long"),
    }
    for fields, message in cases.values():
        with pytest.raises(InputError, match=message):
            open_mrc(mrc_file(tmp_path / "a.mrc", values, **fields))
