"""Bytes of mode 0: read as signed or unsigned by stamp, header and values, and refused where these leave it open."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mrc_files import as_bytes, mrc_file, tomogram
from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc import MrcWriter, open_mrc
from mwr_hpc.io.mrc_bytes import continuity, mask_values, shown_by_values
from mwr_hpc.io.mrc_header import read_header

VALUES = tomogram()
ZERO = (0.0, 0.0, 0.0)
FLOATS = (-3.1, 4.2, 0.0)
"""The statistics of a float volume, which programs that scale it to bytes forget to replace."""


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("flags", [None, "right"])
@pytest.mark.parametrize("densities", [None, ZERO, FLOATS, (1.0, -1.0, 0.0), (float("nan"), 1.0, 0.0)])
@pytest.mark.parametrize("dtype", ["i1", "u1"])
def test_bytes_are_read_as_they_were_written(
    tmp_path: Path, dtype: str, densities: Any, flags: str | None, order: str
) -> None:
    values = as_bytes(VALUES, dtype)
    imod_flags = None if flags is None else int(dtype == "i1")
    path = mrc_file(tmp_path / "a.mrc", values, order, densities=densities, imod_flags=imod_flags)
    volume = open_mrc(path)
    assert volume.data.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(volume.data, values)
    told = volume.header.told_signedness(None)
    assert told == ("unsigned" if dtype == "u1" and flags is None else None)  # what 0.1.0 read rightly keeps its key


def test_reading_by_values_alone_is_told(tmp_path: Path) -> None:
    path = mrc_file(tmp_path / "a.mrc", as_bytes(VALUES, "u1"), densities=ZERO)
    assert "its values show that they are unsigned" in read_header(path).notes[0]
    assert read_header(mrc_file(path, as_bytes(VALUES, "u1"))).notes == ()


def test_header_and_values_that_contradict_are_refused_unless_the_user_says(tmp_path: Path) -> None:
    values = as_bytes(VALUES, "u1")
    path = mrc_file(tmp_path / "a.mrc", values, densities=(-128.0, 127.0, 0.0))
    with pytest.raises(InputError, match=r"a\.mrc: whether its bytes .* open: .*--bytes signed or --bytes unsigned"):
        read_header(path)
    np.testing.assert_array_equal(open_mrc(path, "unsigned").data, values)
    np.testing.assert_array_equal(open_mrc(path, "signed").data, values.view("i1"))
    assert read_header(path, "signed").told_signedness("signed") == "signed"


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).integers(0, 256, (4, 20, 20)),  # white noise of all bytes
        np.random.default_rng(0).integers(140, 250, (4, 20, 20)),  # no byte that is the same in both readings
        np.where(np.indices((4, 20, 20))[0] < 2, 90, 200) + np.random.default_rng(0).integers(0, 20, (4, 20, 20)),
    ],
)
def test_what_stays_open_is_refused(tmp_path: Path, values: np.ndarray) -> None:
    path = mrc_file(tmp_path / "a.mrc", values.astype("u1"), densities=ZERO)
    with pytest.raises(InputError, match=r"neither its minimum and maximum nor its values tell.*mwrBytes.*newstack"):
        read_header(path)


@pytest.mark.parametrize(
    ("densities", "dtype"),
    [
        (None, "i1"),  # true ones, as version 0.1.0 read it
        (ZERO, "u1"),  # what lies beyond the sample goes on at the nearer end
        (FLOATS, "u1"),
        ((0.0, 255.0, 90.0), "u1"),
        ((-20.0, 120.0, 90.0), "i1"),
    ],
)
def test_bytes_that_are_the_same_in_both_readings_are_never_refused(tmp_path: Path, densities: Any, dtype: str) -> None:
    values = np.clip(np.rint(VALUES * 8 + 90), 60, 120).astype("u1")
    volume = open_mrc(mrc_file(tmp_path / "a.mrc", values, densities=densities))
    np.testing.assert_array_equal(volume.data, values)
    assert volume.data.dtype == np.dtype(dtype) and volume.header.notes == ()


def test_an_option_wins_over_a_stamp(tmp_path: Path) -> None:
    path = mrc_file(tmp_path / "a.mrc", as_bytes(VALUES, "u1"), imod_flags=0)
    assert open_mrc(path, "signed").data.dtype == np.int8
    assert read_header(path, "signed").told_signedness("signed") == "signed"
    assert read_header(path, "unsigned").told_signedness("unsigned") is None


def test_an_option_says_nothing_of_other_modes(tmp_path: Path) -> None:
    path = mrc_file(tmp_path / "a.mrc", VALUES.astype("f4"))
    header = read_header(path, "unsigned")
    assert header.dtype == np.float32 and header.told_signedness("unsigned") is None


@given(
    middle=st.integers(40, 215),
    contrast=st.floats(3, 40),
    smoothing=st.floats(0.3, 3),
    padding=st.integers(0, 8),
    pad=st.sampled_from([0, 255, 128, 127]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=150, deadline=None)
def test_no_image_is_read_in_the_wrong_way(
    middle: int, contrast: float, smoothing: float, padding: int, pad: int, seed: int
) -> None:
    """Whatever the mean, contrast, smoothness and padding: right, or open."""
    image = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(64, 64)), smoothing)
    unsigned = np.clip(np.rint(image / image.std() * contrast + middle), 0, 255).astype(np.uint8)
    unsigned[:padding] = unsigned[:, :padding] = pad
    # The same image of signed bytes: IMOD's way to store it.
    signed = unsigned ^ np.uint8(128)
    if unsigned.max() >= 128:
        assert shown_by_values(unsigned.ravel()) != "signed"
    if signed.max() >= 128:
        assert shown_by_values(signed.ravel()) != "unsigned"


@pytest.mark.parametrize("clipped", [0.0, 0.1, 1.0, 3.0])
def test_what_is_clipped_at_both_ends_is_still_known(clipped: float) -> None:
    low, high = np.percentile(VALUES, [clipped, 100 - clipped])
    unsigned = np.clip((VALUES - low) / (high - low) * 255, 0, 255).astype(np.uint8).ravel()
    assert shown_by_values(unsigned) == "unsigned"
    assert shown_by_values(unsigned ^ np.uint8(128)) == "signed"


def test_continuity_of_what_it_can_be_worked_out_for() -> None:
    none = np.zeros(256, bool)
    assert continuity(np.array([127, 128, 127], np.uint8), none) == (1 - 1 / 128, 2)
    assert continuity(np.array([0, 255], np.uint8), none) == (1 - 255 / 128, 1)
    assert continuity(np.array([10, 20, 30], np.uint8), none) == (0.0, 0)
    assert continuity(np.array([0, 255, 0], np.uint8), np.arange(256) == 255) == (0.0, 0)


@pytest.mark.parametrize(
    ("stored", "meant"),
    [
        ([0, 1], [0, 1]),
        ([0, 255], [0, 255]),
        ([128, 129], [0, 1]),  # IMOD: 0 and 1 less 128
        ([128, 127], [0, 255]),  # IMOD: 0 and 255 less 128
        ([1, 1], [1, 1]),
        ([128, 128], [0, 0]),
    ],
)
def test_masks_are_never_negative(stored: list[int], meant: list[int]) -> None:
    for dtype in ("u1", "i1"):
        np.testing.assert_array_equal(mask_values(np.array(stored, np.uint8).view(dtype)), meant)
    np.testing.assert_array_equal(mask_values(np.array([0.0, 1.0])), [0.0, 1.0])


def test_a_binary_volume_without_statistics_is_a_mask(tmp_path: Path) -> None:
    inside = VALUES > 1
    assert open_mrc(mrc_file(tmp_path / "a.mrc", inside * np.uint8(255), densities=ZERO)).data.max() == 255
    assert open_mrc(mrc_file(tmp_path / "b.mrc", inside * np.uint8(1) + np.uint8(128), densities=ZERO)).data.min() < 0


def test_results_of_bytes_have_sound_headers(tmp_path: Path) -> None:
    header = read_header(mrc_file(tmp_path / "a.mrc", as_bytes(VALUES, "u1")))
    with MrcWriter(tmp_path / "b.mrc", VALUES.shape, np.int8, header) as writer:
        writer.write(0, as_bytes(VALUES, "i1"))
    np.testing.assert_array_equal(open_mrc(tmp_path / "b.mrc").data, as_bytes(VALUES, "i1"))


@pytest.mark.needs("shared_data")
@pytest.mark.parametrize("name", ["tomograms/mt_13pf.mrc", "micrographs/Falcon_2012_06_12-14_33_35_0.mrc"])
def test_real_images_without_statistics(tmp_path: Path, shared_data: Any, name: str) -> None:
    values = np.array(open_mrc(shared_data(name)).data)
    assert values.dtype == np.int8  # by its own header
    signed = open_mrc(mrc_file(tmp_path / "i1.mrc", values, densities=ZERO)).data
    unsigned = open_mrc(mrc_file(tmp_path / "u1.mrc", values.view("u1") ^ np.uint8(128), densities=ZERO)).data
    assert (signed.dtype, unsigned.dtype) == (np.int8, np.uint8)
    np.testing.assert_array_equal(signed, unsigned.astype(np.int16) - 128)
