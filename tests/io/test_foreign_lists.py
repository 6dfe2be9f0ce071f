"""Lists and tilt files of IsoNet, RELION 5, Warp and IMOD, as these programs write them."""

import os
from pathlib import Path

import pytest

from mwr_hpc.errors import InputError
from mwr_hpc.io.star import read_tomogram_list, write_tomogram_list
from mwr_hpc.io.tilts import find_tilts, read_tilt_range

ISONET = """
data_

loop_
_rlnIndex #1
_rlnMicrographName #2
_rlnPixelSize #3
_rlnDefocus #4
_rlnNumberSubtomo #5
_rlnMaskBoundary #6
_rlnMaskName #7
1 tomoset/TS01-wbp.rec 10.800000 38838.25 100 None mask/TS01_mask.mrc
2 tomoset/TS43-wbp.rec 10.800000 25292.27 100 None None
"""

ISONET2 = """
data_

loop_
_rlnIndex #1
_rlnTomoName #2
_rlnTomoReconstructedTomogramHalf1 #3
_rlnTomoReconstructedTomogramHalf2 #4
_rlnPixelSize #5
_rlnMaskName #6
_rlnTiltMin #7
_rlnTiltMax #8
1 full/TS_1.mrc even/TS_1.mrc odd/TS_1.mrc 5.43 None -60.0 48.0
"""

RELION5 = """
# version 50001

data_global

loop_
_rlnTomoName #1
_rlnTomoTiltSeriesStarFile #2
_rlnVoltage #3
_rlnTomoHand #4
_rlnTomoTiltSeriesPixelSize #5
_rlnTomoTomogramBinning #6
_rlnTomoReconstructedTomogram #7
_rlnTomoReconstructedTomogramHalf1 #8
_rlnTomoReconstructedTomogramHalf2 #9
Pos_42 AlignTiltSeries/job053/tilt_series/Pos_42.star 300.0 -1.0 2.39 6.0 Tomograms/job054/rec_Pos_42.mrc h1.mrc h2.mrc
Pos_43 AlignTiltSeries/job053/tilt_series/Pos_43.star 300.0 -1.0 2.39 6.0 Tomograms/job054/rec_Pos_43.mrc h1.mrc h2.mrc
"""

RELION5_SERIES = """
data_Pos_42

loop_
_rlnMicrographName #1
_rlnTomoNominalStageTiltAngle #2
_rlnTomoYTilt #3
MotionCorr/a.mrc 0.001 9.1
MotionCorr/b.mrc -51.0 -41.9
MotionCorr/c.mrc 50.99 60.1
"""

TOMOSTAR = """
data_

loop_
_wrpMovieName #1
_wrpAngleTilt #2
_wrpAxisAngle #3
_wrpDose #4
../frames/a.mrc  3.0 -95.0 0.0
../frames/b.mrc -57.0 -95.0 3.1
../frames/c.mrc  66.0 -95.0 6.2
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_isonet(tmp_path: Path) -> None:
    first, second = read_tomogram_list(write(tmp_path / "tomograms.star", ISONET))
    assert (first.path, first.mask) == (tmp_path / "tomoset/TS01-wbp.rec", tmp_path / "mask/TS01_mask.mrc")
    assert (first.voxel_size, first.name, first.tilt_range, second.mask) == (10.8, None, None, None)


def test_isonet2_has_the_path_as_name(tmp_path: Path) -> None:
    (row,) = read_tomogram_list(write(tmp_path / "tomograms.star", ISONET2))
    assert (row.path, row.name, row.tilt_range) == (tmp_path / "full/TS_1.mrc", None, (-60.0, 48.0))
    assert (row.even, row.odd) == (tmp_path / "even/TS_1.mrc", tmp_path / "odd/TS_1.mrc")


def test_relion_5_from_its_project_folder(tmp_path: Path) -> None:
    """Paths start at the project, two folders above the list; the aligned angles win over the stage's."""
    star = write(tmp_path / "Tomograms/job054/tomograms.star", RELION5)
    write(tmp_path / "Tomograms/job054/rec_Pos_42.mrc", "")
    write(tmp_path / "AlignTiltSeries/job053/tilt_series/Pos_42.star", RELION5_SERIES)
    with_tilts, without = read_tomogram_list(star)
    assert (with_tilts.name, with_tilts.path) == ("Pos_42", tmp_path / "Tomograms/job054/rec_Pos_42.mrc")
    assert with_tilts.voxel_size == pytest.approx(2.39 * 6)
    series = tmp_path / "AlignTiltSeries/job053/tilt_series/Pos_42.star"
    assert (with_tilts.tilt_range, with_tilts.tilts) == (None, series)
    assert read_tilt_range(series) == (-41.9, 60.1)
    assert without.tilts is None or not without.tilts.exists()


def test_warp_names_a_volume(tmp_path: Path) -> None:
    text = "data_\n\nloop_\n_wrpMicrographName #1\n_rlnGroup #2\nreconstruction/TS_1_10.00Apx.mrc 1\n"
    (row,) = read_tomogram_list(write(tmp_path / "list.star", text))
    assert row.path == tmp_path / "reconstruction/TS_1_10.00Apx.mrc"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.tlt", " -60.15\n -57.2\n  59.9\n", (-60.15, 59.9)),
        ("a.rawtlt", "3.0\n-57\n66\n", (-57.0, 66.0)),
        ("a.tlt", "\ufeff# angles\n-60\n\n  # more\n60\n", (-60.0, 60.0)),
        ("a.tomostar", TOMOSTAR, (-57.0, 66.0)),
        ("a.star", RELION5_SERIES, (-41.9, 60.1)),
    ],
)
def test_tilt_files(tmp_path: Path, name: str, text: str, expected: tuple[float, float]) -> None:
    assert read_tilt_range(write(tmp_path / name, text)) == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tlt", "", "found 0 angles"),
        ("a.tlt", "3.0\n", "found 1 angles from 3 to 3"),
        ("a.tlt", "-60\n160\n", "from -60 to 160"),
        ("a.tlt", "-60\nnan\n60\n", "expected at least two"),
        ("a.star", RELION5_SERIES.replace("-41.9", "nan"), "expected at least two"),
        ("a.tlt", "angle\n", "expected one tilt angle a line"),
        ("a.tlt", "-60 1 0\n60 2 3\n", "line 1: expected one tilt angle a line, or one and its order or dose"),
        ("a.tlt", "-60\n60 2\n", "line 2: expected one tilt angle a line"),
        ("a.tlt", "1 5\n2 6\n3 7\n", "two columns, and either could be the tilt angles"),
        ("a.tlt", "-60 -3\n60 4\n", "two columns, and either could be the tilt angles"),
        ("a.tlt", "-1.047\n0\n1.047\n", "expected degrees, these look like radians"),
        ("a.tomostar", "nothing", "a.tomostar"),
        ("a.star", TOMOSTAR.replace("wrpAngleTilt", "wrpAngleTilt1"), "no column rlnTomoYTilt"),
        ("a.star", TOMOSTAR.replace("-57.0", "low"), "not every wrpAngleTilt is a number"),
    ],
)
def test_bad_tilt_files_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read_tilt_range(write(tmp_path / name, text))
    assert str(tmp_path / name) in str(refused.value)


@pytest.mark.parametrize("tomogram", ["TS_1", "TS_1_rec", "TS_1_full_rec", "TS_1_10.00Apx"])
def test_tilts_are_found_under_the_series_name(tmp_path: Path, tomogram: str) -> None:
    write(tmp_path / "TS_1.rawtlt", "")
    assert find_tilts(tmp_path, tomogram) == tmp_path / "TS_1.rawtlt"
    write(tmp_path / "TS_1.tlt", "")
    assert find_tilts(tmp_path, tomogram) == tmp_path / "TS_1.tlt"
    exact = write(tmp_path / f"{tomogram}.rawtlt", "")
    assert find_tilts(tmp_path, tomogram) == (tmp_path / "TS_1.tlt" if tomogram == "TS_1" else exact)
    assert find_tilts(tmp_path, "TS_10") is None


@pytest.mark.parametrize("value", ["-5", "inf", "nan2", "1_3"])
def test_impossible_voxel_sizes_are_named(tmp_path: Path, value: str) -> None:
    text = f"data_\n\nloop_\n_rlnMicrographName\n_rlnPixelSize\na.mrc {value}\n"
    with pytest.raises(InputError, match=rf"line 6 has '?{value}'? as rlnPixelSize"):
        read_tomogram_list(write(tmp_path / "list.star", text))
    (row,) = read_tomogram_list(write(tmp_path / "list.star", text.replace(value, "0")))
    assert row.voxel_size is None


def test_a_second_table_of_tomograms_is_not_dropped(tmp_path: Path) -> None:
    text = "data_optics\n_rlnVoltage 300\n\ndata_one\nloop_\n_rlnMicrographName\na.mrc\n"
    (row,) = read_tomogram_list(write(tmp_path / "list.star", text))
    assert row.path == tmp_path / "a.mrc"
    (row,) = read_tomogram_list(write(tmp_path / "list.star", text + "\ndata_two\nloop_\n_rlnMicrographName\n"))
    assert row.path == tmp_path / "a.mrc"
    with pytest.raises(InputError, match=r"several tables of tomograms \(data_one at line 7, data_two at line 12\)"):
        read_tomogram_list(write(tmp_path / "list.star", text + "\ndata_two\nloop_\n_rlnMicrographName\nb.mrc\n"))


def test_names_that_cannot_be_opened_are_no_fault_of_the_list(tmp_path: Path) -> None:
    """Longer than a file name may be, or with what other programs take for the end of a line."""
    names = ["x" * 300 + ".mrc", "a\u2028b.mrc", "a\x0bb.mrc"]
    text = "data_\n\nloop_\n_rlnMicrographName\n" + "".join(f'"{name}"\n' for name in names)
    assert [row.path.name for row in read_tomogram_list(write(tmp_path / "list.star", text))] == names
    with pytest.raises(InputError, match="it is no text"):
        read_tomogram_list(write(tmp_path / "list.star", text + "a\0.mrc\n"))


DECONVOLVED = """
data_

loop_
_rlnIndex #1
_rlnMicrographName #2
_rlnPixelSize #3
_rlnDeconvTomoName #4
1 tomoset/TS01.rec 10.8 None
2 tomoset/TS43.rec 10.8 deconv/TS43.rec
"""


def test_a_deconvolved_tomogram_is_not_dropped_in_silence(tmp_path: Path) -> None:
    star = write(tmp_path / "tomograms.star", DECONVOLVED)
    with pytest.raises(InputError, match=r"line 10 has deconv/TS43\.rec as rlnDeconvTomoName and .*tomoset/TS43\.rec"):
        read_tomogram_list(star)
    write(star, DECONVOLVED.replace("tomoset/TS43.rec", "deconv/TS43.rec"))
    assert [row.path.parent.name for row in read_tomogram_list(star)] == ["tomoset", "deconv"]


def test_halves_without_a_tomogram(tmp_path: Path) -> None:
    relion = RELION5.replace("_rlnTomoReconstructedTomogram #7\n", "")
    relion = relion.replace("Tomograms/job054/rec_Pos_42.mrc ", "").replace("Tomograms/job054/rec_Pos_43.mrc ", "")
    first, second = read_tomogram_list(write(tmp_path / "tomograms.star", relion))
    assert (first.name, first.halves_only, first.path, first.even) == ("Pos_42", True, first.even, tmp_path / "h1.mrc")
    assert (second.name, second.odd) == ("Pos_43", tmp_path / "h2.mrc")
    isonet = ISONET2.replace("full/TS_1.mrc even/TS_1.mrc odd/TS_1.mrc", "None x/TS_1_EVN_Vol.mrc x/TS_1_ODD_Vol.mrc")
    (row,) = read_tomogram_list(write(tmp_path / "isonet.star", isonet))
    assert (row.name, row.halves_only, row.path) == ("TS_1_Vol", True, tmp_path / "x/TS_1_EVN_Vol.mrc")
    (row,) = read_tomogram_list(write(tmp_path / "whole.star", ISONET2))
    assert not row.halves_only
    write_tomogram_list(tmp_path / "again.star", [first])
    (again,) = read_tomogram_list(tmp_path / "again.star")
    assert again.halves_only and (again.even, again.odd, again.name) == (first.even, first.odd, "Pos_42")


def test_each_value_says_from_which_column_it_comes(tmp_path: Path) -> None:
    first, _ = read_tomogram_list(write(tmp_path / "tomograms.star", RELION5))
    assert first.origins == {
        "tomogram": "rlnTomoReconstructedTomogram of tomograms.star",
        "even half": "rlnTomoReconstructedTomogramHalf1 of tomograms.star",
        "odd half": "rlnTomoReconstructedTomogramHalf2 of tomograms.star",
        "id": "rlnTomoName of tomograms.star",
        "voxel size": "rlnTomoTiltSeriesPixelSize and rlnTomoTomogramBinning of tomograms.star",
        "tilt angles": "rlnTomoTiltSeriesStarFile of tomograms.star",
        "not used": "rlnVoltage, rlnTomoHand of tomograms.star",
    }


def test_lists_in_latin1(tmp_path: Path) -> None:
    """Of files that are named in UTF-8, and of those whose names have the very bytes of the list."""
    text = "data_\n\nloop_\n_rlnMicrographName # gr\u00f6\u00dfe\ncaf\u00e9.mrc\nna\u00efve.mrc\nabs\u00e9nt.mrc\n"
    (tmp_path / "l.star").write_bytes(text.encode("latin-1"))
    (tmp_path / "caf\u00e9.mrc").touch()
    same_bytes = tmp_path / os.fsdecode(b"na\xefve.mrc")
    same_bytes.touch()
    assert [row.path for row in read_tomogram_list(tmp_path / "l.star")] == [
        tmp_path / "caf\u00e9.mrc",
        same_bytes,
        tmp_path / "abs\u00e9nt.mrc",
    ]
