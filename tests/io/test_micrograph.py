"""Micrographs and masks in files: pixel sizes, rows, and every file that cannot be used."""

import importlib.metadata
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrc_files import mrc_file
from mwr_hpc.errors import InputError
from mwr_hpc.io.micrograph import micrograph_files, pixel_size_of, read_micrograph, require_one_pixel_size
from mwr_hpc.io.micrograph import read_mask as read_any_mask
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.io.tiff import TiffStack, read_image, read_mask, write_mask, write_stack

IMAGE = np.arange(48, dtype=np.float32).reshape(6, 8)


def mrc(path: Path, image: np.ndarray = IMAGE, pixel_size: float | tuple[float, ...] = 3.54) -> Path:
    volume = image[None] if image.ndim == 2 else image
    with MrcWriter(path, volume.shape, volume.dtype, voxel_size=pixel_size) as writer:
        writer.write(0, volume)
    return path


def overwrite(path: Path, offset: int, kind: str, *values: float) -> Path:
    content = bytearray(path.read_bytes())
    struct.pack_into("<" + kind, content, offset, *values)
    path.write_bytes(content)
    return path


def test_an_mrc_file_is_read_with_the_pixel_size_of_its_header(tmp_path: Path) -> None:
    micrograph = read_micrograph(mrc(tmp_path / "a.mrc"))
    np.testing.assert_array_equal(micrograph.image, IMAGE)
    assert micrograph.pixel_size == pytest.approx(3.54)
    assert read_micrograph(tmp_path / "a.mrc", 3.55).pixel_size == pytest.approx(3.54)  # within a hundredth


@pytest.mark.parametrize("stated", [0.0, 1.0])
def test_where_the_header_does_not_tell_the_user_must(tmp_path: Path, stated: float) -> None:
    path = mrc(tmp_path / "a.mrc", pixel_size=stated)
    with pytest.raises(InputError, match=r"no pixel size: .*give it with --angpix"):
        read_micrograph(path)
    assert read_micrograph(path, 2.5).pixel_size == 2.5


def test_a_tiff_is_upside_down_as_its_top_row_is_the_last_of_an_mrc(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", IMAGE.astype(np.uint16))
    with pytest.raises(InputError, match="the file does not tell; give it with --angpix"):
        read_micrograph(tmp_path / "a.tif")
    micrograph = read_micrograph(tmp_path / "a.tif", 1.5)
    np.testing.assert_array_equal(micrograph.image, IMAGE[::-1])
    assert micrograph.pixel_size == 1.5


def test_unusable_micrographs_are_named_with_the_reason(tmp_path: Path) -> None:
    nan = IMAGE.copy()
    with_nan = overwrite(mrc(tmp_path / "nan.mrc", nan), 1024 + 4 * 10, "f", np.nan)
    cases: list[tuple[Path, float | None, str]] = [
        (tmp_path / "none.mrc", None, "cannot be read"),
        (mrc(tmp_path / "stack.mrc", np.stack([IMAGE] * 3)), None, "found 3 sections, expected one image"),
        (mrc(tmp_path / "flat.mrc", np.full((6, 8), 7, np.int16)), None, "all pixels have the value 7"),
        (with_nan, None, r"the pixel \(y, x\) = \(1, 2\) has the value nan"),
        (mrc(tmp_path / "big.mrc", IMAGE * np.float32(1e30)), None, r"\(0, 1\) has the value 1e\+30"),
        (mrc(tmp_path / "oblong.mrc", pixel_size=(1.0, 2.0, 3.0)), None, "pixels of 3 x 2 A"),
        (mrc(tmp_path / "other.mrc"), 1.77, "the header says 3.54 A per pixel, --angpix 1.77"),
    ]
    truncated = mrc(tmp_path / "truncated.mrc")
    truncated.write_bytes(truncated.read_bytes()[:-5])
    cases.append((truncated, None, "truncated"))
    (tmp_path / "text.mrc").write_text("no image")
    cases.append((tmp_path / "text.mrc", None, "not an MRC file"))
    for path, angpix, message in cases:
        with pytest.raises(InputError, match=message) as error:
            read_micrograph(path, angpix)
        assert str(path) in str(error.value)


def test_unusable_tiffs_are_named_with_the_reason(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((4, 6, 8), np.float32), photometric="minisblack")
    tifffile.imwrite(tmp_path / "colour.tif", np.zeros((6, 8, 3), np.uint8), photometric="rgb")
    tifffile.imwrite(tmp_path / "cut.tif", IMAGE)
    (tmp_path / "cut.tif").write_bytes((tmp_path / "cut.tif").read_bytes()[:150])
    (tmp_path / "text.tif").write_text("no image")
    cases = {"stack": "4 images", "colour": "expected one channel", "cut": "cut.tif", "text": "cannot be read as TIFF"}
    for name, message in cases.items():
        with pytest.raises(InputError, match=message):
            read_image(tmp_path / f"{name}.tif")
    with pytest.raises(InputError, match="there is no such file"):
        read_image(tmp_path / "none.tif")


@pytest.mark.parametrize(
    ("values", "tags", "message"),
    [
        (np.uint8(IMAGE), {"photometric": "miniswhite"}, "its zero is white"),
        (IMAGE > 20, {"photometric": "miniswhite"}, "its zero is white"),
        (np.uint8(IMAGE), {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}, "in a palette"),
        (np.complex64(IMAGE), {}, "complex numbers"),
        (IMAGE, {"extratags": [(274, "H", 1, 6, False)]}, "its orientation is 6"),
        (np.uint8(np.stack([IMAGE, IMAGE], 2)), {"extrasamples": ["unassalpha"]}, "without alpha"),
    ],
)
def test_tiffs_whose_numbers_are_no_grey_values_are_refused(
    tmp_path: Path, values: np.ndarray, tags: dict[str, Any], message: str
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, **({"photometric": "minisblack"} | tags))
    for read in (read_image, read_mask):
        with pytest.raises(InputError, match=message):
            read(path)


def test_the_orientation_that_warp_states_is_not_heeded(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, extratags=[(274, "H", 1, 4, False)])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), IMAGE[::-1])


@given(position=st.integers(0, 1023), value=st.integers(0, 255))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_byte_of_a_header_may_be_wrong(tmp_path: Path, position: int, value: int) -> None:
    path = overwrite(mrc(tmp_path / "a.mrc"), position, "B", value)
    try:
        micrograph = read_micrograph(path)
    except InputError as error:
        assert "a.mrc" in str(error)
    else:
        assert micrograph.image.ndim == 2 and micrograph.pixel_size > 0


def test_files_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no micrographs in this folder"):
        micrograph_files(tmp_path)
    for name in ("b.mrc", "a.tif", ".hidden.mrc", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.mrc").mkdir()
    assert [path.name for path in micrograph_files(tmp_path)] == ["a.tif", "b.mrc"]
    (tmp_path / "a.mrc").touch()
    with pytest.raises(InputError, match=r"a\.mrc and a\.tif are ambiguous"):
        micrograph_files(tmp_path)


def test_mixed_pixel_sizes_are_refused_by_name(tmp_path: Path) -> None:
    stated = {"a.mrc": 3.54, "b.mrc": 3.55, "c.mrc": 1.77}
    paths = [mrc(tmp_path / name, pixel_size=size) for name, size in stated.items()]
    sizes = [(path, pixel_size_of(path, None)) for path in paths]
    assert require_one_pixel_size(sizes[:2]) == pytest.approx(3.54)
    with pytest.raises(InputError, match=r"mixed pixel sizes: .*a\.mrc has 3\.54 A, .*c\.mrc has 1\.77 A"):
        require_one_pixel_size(sizes)


@given(mask=st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=7))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_masks_come_back_with_the_same_bytes(tmp_path: Path, mask: list[list[bool]]) -> None:
    path = tmp_path / "m.tif"
    write_mask(path, np.array(mask))
    first = path.read_bytes()
    np.testing.assert_array_equal(read_mask(path), mask)
    write_mask(path, np.array(mask))
    assert path.read_bytes() == first
    np.testing.assert_array_equal(tifffile.imread(path), np.where(np.array(mask)[::-1], 255, 0))


def test_masks_of_warp_have_ones(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "m.tif", np.array([[0, 1, 0.5], [1, 0, 0]], np.float32))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.tif"), [[True, False, False], [False, True, False]])


def test_a_stack_is_read_image_by_image(tmp_path: Path) -> None:
    images = [IMAGE + index for index in range(5)]
    write_stack(tmp_path / "s.tif", images, sum(image.nbytes for image in images))
    stack = TiffStack(tmp_path / "s.tif")
    assert len(stack) == 5
    np.testing.assert_array_equal(stack[3], images[3])
    with tifffile.TiffFile(tmp_path / "s.tif") as file:  # 32-bit, uncompressed, upside down: as Warp reads it
        assert file.pages[3].dtype == np.float32 and file.pages[3].compression == 1
        np.testing.assert_array_equal(file.pages[3].asarray(), images[3][::-1])


@pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits", "jpeg", "zstd"])
def test_compressed_tiffs_are_read(tmp_path: Path, compression: str) -> None:
    y, x = np.indices((96, 128))
    image = (y + x).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, compression=compression, photometric="minisblack")
    read = read_image(tmp_path / "a.tif")
    assert read.dtype == np.uint8
    assert np.abs(read.astype(int) - image[::-1]).max() <= (3 if compression == "jpeg" else 0)


def test_the_codecs_of_tiff_belong_to_every_installation() -> None:
    required = importlib.metadata.requires("mwr-hpc") or []
    assert [one for one in required if one.startswith("imagecodecs") and "extra" not in one]


def test_masks_with_a_value_that_is_no_number_are_refused(tmp_path: Path) -> None:
    values = np.where(IMAGE > 30, np.nan, IMAGE)
    tifffile.imwrite(tmp_path / "m.tif", values)
    for path in (mrc_file(tmp_path / "m.mrc", values[None]), tmp_path / "m.tif"):
        with pytest.raises(InputError, match="17 values of the mask are nan"):
            read_any_mask(path)


@pytest.mark.parametrize("stored", [(0, 1), (0, 255), (128, 129)])
def test_masks_may_be_mrc_in_the_order_of_its_rows(tmp_path: Path, stored: tuple[int, int]) -> None:
    inside = IMAGE > 30
    values = np.where(inside, stored[1], stored[0]).astype(np.uint8)[None]
    path = mrc_file(tmp_path / "m.mrc", values, densities=(0.0, 0.0, 0.0))
    np.testing.assert_array_equal(read_any_mask(path), inside)
    write_mask(tmp_path / "m.tif", inside)
    np.testing.assert_array_equal(read_any_mask(tmp_path / "m.tif"), inside)
