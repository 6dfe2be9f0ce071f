"""Headers that permissive readers accept, on the commands: one warning that names the file, sound results."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from commanding import run, small_model
from mrc_files import mrc_file, tomogram
from mwr_hpc.io.mrc import open_mrc

VALUES = tomogram((16, 24, 24)).astype("f4")
ODD = {
    "absent": {"announced": 49_920},
    "behind": {"tail": bytes(512)},
    "nomap": {"identifier": bytes(4), "stamp": bytes(4)},
    "negative": {"intervals": (-24, -24, -16)},
}
NOTED = {"absent": "is not there", "behind": "512 bytes behind the voxels", "nomap": "no 'MAP '"}


@pytest.mark.parametrize("order", ["<", ">"])
def test_odd_headers_are_read_with_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    monkeypatch.chdir(tmp_path)
    mrc_file(tmp_path / "t" / "plain.mrc", VALUES, order)
    for name, fields in ODD.items():
        mrc_file(tmp_path / "t" / f"{name}.mrc", VALUES, order, **fields)
    sizes = ("--cube_size", 8, "--crop_size", 8)
    checked = run("check", "t", "--tilt_range", -60, 60, *sizes, "--ncube", 1, "--json")
    findings = [(one["about"], one["text"]) for one in json.loads(checked.out)["findings"]]
    predicted = run("predict", small_model(tmp_path / "m.h5"), "t", "--out", "c", *sizes)
    assert predicted.code == 0
    for name, note in NOTED.items():
        assert [about for about, text in findings if note in text] == [name]
        warnings = [line for line in predicted.err.splitlines() if note in line]
        assert len(warnings) == 1 and "Warning: " in warnings[0] and f"{name}.mrc" in warnings[0]
    plain = open_mrc(tmp_path / "c" / "plain_corrected.mrc")
    for name in ODD:
        result = tmp_path / "c" / f"{name}_corrected.mrc"
        assert mrcfile.validate(result)
        np.testing.assert_array_equal(open_mrc(result).data, plain.data)
        assert open_mrc(result).voxel_size == (10, 10, 10)


def test_a_conversion_records_the_checksum_of_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zlib

    from mwr_hpc.io.ome_zarr import open_ome_zarr

    monkeypatch.chdir(tmp_path)
    for name, fields in ODD.items():
        mrc_file(tmp_path / "t" / f"{name}.mrc", VALUES, **fields)
    assert run("convert", "t", "--out", "c", "--preprocessing_ncpus", 1).code == 0
    for name in ODD:
        recorded = open_ome_zarr(tmp_path / "c" / f"{name}.ome.zarr").attributes["source"]["crc32"]
        assert recorded == f"{zlib.crc32((tmp_path / 't' / f'{name}.mrc').read_bytes()):08x}"
