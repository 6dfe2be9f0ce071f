"""Bytes without an IMOD stamp on every command that reads images: right, or refused by name; never wrong in silence."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from commanding import SHORT_TRAINING, run, small_model
from mrc_files import as_bytes, mrc_file, tomogram
from mwr_hpc.io.mrc import open_mrc
from mwr_hpc.io.star import read_tomogram_list
from mwr_hpc.io.volume import open_volume

VALUES = tomogram((16, 24, 24))
ZERO, FLOATS = (0.0, 0.0, 0.0), (-3.1, 4.2, 0.0)
CONTRARY = {"u1": (-128.0, 127.0, 0.0), "i1": (0.0, 255.0, 128.0)}


def combinations(folder: Path) -> dict[str, np.ndarray]:
    """Write all files of {stamp} x {statistics true, zero, wrong} x {signed, unsigned} x byte order."""
    written = {}
    for stamped, stated, dtype, order in itertools.product(
        (True, False), ("true", "zero", "wrong"), ("u1", "i1"), "<>"
    ):
        name = f"{dtype}_{'stamp' if stamped else 'none'}_{stated}_{'little' if order == '<' else 'big'}"
        written[name] = as_bytes(VALUES, dtype)
        mrc_file(
            folder / f"{name}.mrc",
            written[name],
            order,
            imod_flags=int(dtype == "i1") if stamped else None,
            densities={"true": None, "zero": ZERO, "wrong": FLOATS}[stated],
        )
    return written


def test_convert_and_check_of_all_combinations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = combinations(tmp_path / "t")
    for dtype, densities in CONTRARY.items():
        mrc_file(tmp_path / "t" / f"{dtype}_contrary.mrc", as_bytes(VALUES, dtype), densities=densities)
    ended = run("convert", "t", "--out", "c", "--preprocessing_ncpus", 1)
    assert ended.code == 1  # the contrary ones
    for name, values in written.items():
        converted = open_volume(tmp_path / "c" / f"{name}.ome.zarr").data[:]
        np.testing.assert_array_equal(converted, values, name)
        assert converted.dtype == values.dtype
    checked = run("check", "t", "--tilt_range", -60, 60, "--cube_size", 8, "--crop_size", 8, "--ncube", 1, "--json")
    report = json.loads(checked.out)
    assert {one["id"] for one in report["tomograms"]} == set(written)
    errors = {one["about"]: one["text"] for one in report["findings"] if one["severity"] == "error"}
    for dtype in CONTRARY:
        assert f"{dtype}_contrary" in ended.err
        assert "--bytes signed or --bytes unsigned" in errors[f"{dtype}_contrary"]
    told = {one["about"] for one in report["findings"] if "its values show" in one["text"]}
    assert told == {name for name in written if name.startswith("u1_none") and "true" not in name}
    # The option settles it.
    ended = run("convert", "t/u1_contrary.mrc", "--out", "d", "--bytes", "unsigned", "--preprocessing_ncpus", 1)
    assert ended.code == 0
    np.testing.assert_array_equal(open_volume(tmp_path / "d/u1_contrary.ome.zarr").data[:], as_bytes(VALUES, "u1"))


def test_corrections_of_the_same_bytes_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = as_bytes(VALUES, "u1")
    mrc_file(tmp_path / "t" / "stamp.mrc", values, imod_flags=0)
    mrc_file(tmp_path / "t" / "none.mrc", values)
    model = small_model(tmp_path / "m.h5")
    assert run("predict", model, "t", "--out", "c").code == 0
    stamp, none = (open_mrc(tmp_path / "c" / f"{name}_corrected.mrc").data for name in ("stamp", "none"))
    assert stamp.tobytes() == none.tobytes()
    mrc_file(tmp_path / "open.mrc", values, densities=CONTRARY["u1"])
    assert "--bytes signed or --bytes unsigned" in run("predict", model, "open.mrc", "--out", "d").err
    assert run("predict", model, "open.mrc", "--out", "d", "--bytes", "unsigned").code == 0
    assert open_mrc(tmp_path / "d" / "open_corrected.mrc").data.tobytes() == stamp.tobytes()
    for before in ("t/stamp.mrc", "t/none.mrc", "open.mrc"):
        words = ("--before", before, "--tilt_range", -60, 60, "--bytes", "unsigned", "--json")
        assert (
            run("evaluate", "c/none_corrected.mrc", *words).out == run("evaluate", "c/stamp_corrected.mrc", *words).out
        )


def test_masks_of_the_same_tomogram_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mrc_file(tmp_path / "t" / "stamp.mrc", as_bytes(VALUES, "u1"), imod_flags=0)
    mrc_file(tmp_path / "t" / "none.mrc", as_bytes(VALUES, "u1"))
    assert run("make-mask", "t", "masks", "--side", 1, "--threshold", 0.5, "--preprocessing_ncpus", 1).code == 0
    made = [(tmp_path / "masks" / f"{name}_mask.mrc").read_bytes() for name in ("stamp", "none")]
    assert made[0] == made[1]


def test_a_list_says_how_bytes_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mrc_file(tmp_path / "a.mrc", as_bytes(VALUES, "u1"), densities=CONTRARY["u1"])
    assert "--bytes signed or --bytes unsigned" in run("cohort", "a.mrc", "--out", "l.star").err
    assert run("cohort", "a.mrc", "--bytes", "unsigned", "--out", "l.star").code == 0
    assert read_tomogram_list(tmp_path / "l.star")[0].signedness == "unsigned"
    small = ("--cube_size", 8, "--crop_size", 8, "--ncube", 1, "--tilt_range", -60, 60)
    assert "whether its bytes" not in run("check", "l.star", *small).out
    assert run("plan", "train", "--tomograms", "l.star", *SHORT_TRAINING).code == 0
    star = tmp_path / "l.star"
    star.write_text(star.read_text().replace("unsigned", "both"))
    assert "has both as mwrBytes; expected signed or unsigned" in run("check", "l.star", *small).out


@pytest.mark.parametrize("background", [0, 128])
def test_masks_of_bytes_need_no_decision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, background: int) -> None:
    """0/255 without a stamp or statistics, and IMOD's -128/-127."""
    monkeypatch.chdir(tmp_path)
    mrc_file(tmp_path / "t" / "a.mrc", VALUES.astype("f4"))
    inside = np.zeros(VALUES.shape, bool)
    inside[6:10, 10:14, 10:14] = True
    stored = np.where(inside, 129 if background else 255, background).astype("u1")
    mrc_file(tmp_path / "masks" / "a.mrc", stored, densities=ZERO)
    ended = run("check", "t", "--mask_dir", "masks", "--cube_size", 8, "--crop_size", 8, "--ncube", 1, "--json")
    (report,) = json.loads(ended.out)["tomograms"]
    assert report["places_in_mask"] == inside.sum()
