"""Files of particles: what RELION and Warp write is read, what is written comes back, bad files are named."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mwr_hpc.errors import InputError
from mwr_hpc.io.picks import read_picks, write_box, write_cbox, write_picks

coordinate = st.floats(-1e5, 1e5).map(lambda value: round(value, 3))


def one_quote(text: str) -> str:
    """A file name, as far as STAR can hold it: with one kind of quotes."""
    return text.replace("'", "") + "x.mrc" if '"' in text else text + "x.mrc"


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def loop(columns: str, *rows: str, block: str = "") -> str:
    names = "".join(f"_{name} #{number}\n" for number, name in enumerate(columns.split(), 1))
    return f"\ndata_{block}\n\nloop_\n{names}" + "".join(f"{row}\n" for row in rows) + "\n"


@given(
    rows=st.lists(st.tuples(coordinate, coordinate, st.floats(0, 1).map(lambda value: round(value, 6))), max_size=5),
    scored=st.booleans(),
    name=st.text("adt_01- #\"'.", min_size=1, max_size=8).map(one_quote),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_particles_come_back(tmp_path: Path, rows: list[tuple[float, float, float]], scored: bool, name: str) -> None:
    x, y, scores = np.array(rows, float).reshape(-1, 3).T
    path = tmp_path / "a.star"
    write_picks(path, x, y, name, scores if scored else None)
    first = path.read_bytes()
    write_picks(path, x, y, name, scores if scored else None)
    assert path.read_bytes() == first
    table = read_picks(path)
    np.testing.assert_array_equal(table.x, x)
    np.testing.assert_array_equal(table.positions, np.stack([y, x], axis=1))
    assert table.micrographs == (name,) * len(x)
    assert (table.scores is not None) == scored
    if table.scores is not None:
        np.testing.assert_array_equal(table.scores, scores)


def test_the_text_is_what_relion_reads(tmp_path: Path) -> None:
    write_picks(tmp_path / "a.star", [1, 20.0625], [2.5, 3], "mic.mrc", [0.5, 1])
    assert (tmp_path / "a.star").read_text() == (
        "\ndata_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n_rlnMicrographName #3\n"
        "_rlnAutopickFigureOfMerit #4\n1.000 2.500 mic.mrc 0.500000\n20.062 3.000 mic.mrc 1.000000\n"
    )


def test_relion_3_1_tells_the_pixel_size_in_its_optics(tmp_path: Path) -> None:
    text = loop("rlnOpticsGroup rlnMicrographPixelSize", "1 3.54", block="optics") + loop(
        "rlnMicrographName rlnCoordinateX rlnCoordinateY rlnOpticsGroup",
        "MotionCorr/job002/Movies/a.mrc 5 6 1",
        "b.mrc 7.5 8 1",
        block="particles",
    )
    table = read_picks(written(tmp_path / "a.star", text))
    assert (table.pixel_size, table.scores, table.micrographs) == (3.54, None, ("a.mrc", "b.mrc"))
    np.testing.assert_array_equal(table.only(np.array([False, True])).positions, [[8, 7.5]])


def test_one_particle_and_none_and_no_names(tmp_path: Path) -> None:
    one = read_picks(written(tmp_path / "a.star", loop("rlnCoordinateX rlnCoordinateY", "1e2 3")))
    assert (one.x[0], one.y[0], one.micrographs, one.scores) == (100, 3, None, None)
    assert len(read_picks(written(tmp_path / "b.star", loop("rlnCoordinateX rlnCoordinateY")))) == 0


def test_files_from_windows_have_a_mark_and_other_line_ends(tmp_path: Path) -> None:
    text = loop("rlnCoordinateX rlnCoordinateY", "1 2", "3 4").replace("\n", "\r\n")
    (tmp_path / "a.star").write_bytes(b"\xef\xbb\xbf" + text.lstrip().encode())
    np.testing.assert_array_equal(read_picks(tmp_path / "a.star").x, [1, 3])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (loop("rlnMicrographName", "a.mrc"), "no coordinates .*found rlnMicrographName"),
        (loop("rlnCoordinateX", "1"), "no coordinates"),
        ("hello\n", "not a STAR file: line 1 begins with 'hello'"),
        ("", "no coordinates .*found no columns"),
        (loop("rlnCoordinateX rlnCoordinateY", "1 2", "3"), "line 8 has 1 values, expected 2"),
        (loop("rlnCoordinateX rlnCoordinateY", "1 2", "3 nan"), "line 8 has 'nan' as rlnCoordinateY"),
        (loop("rlnCoordinateX rlnCoordinateY", "inf 2"), "line 7 has 'inf' as rlnCoordinateX"),
        (loop("rlnCoordinateX rlnCoordinateY", "one 2"), "'one' as rlnCoordinateX; expected a finite number"),
        (loop("rlnCoordinateX rlnCoordinateY rlnMicrographName", "1 2 ../../etc/passwd"), "leads out of the folder"),
        (loop("rlnCoordinateX rlnCoordinateY rlnMicrographName", "1 2 a/../b.mrc"), "leads out of the folder"),
        (loop("rlnCoordinateX rlnCoordinateY rlnMicrographName", "1 2 .."), "leads out of the folder"),
        (loop("rlnCoordinateX rlnCoordinateY rlnMicrographName", "1 2 ..\\x.mrc"), "leads out of the folder"),
        (
            loop("rlnMicrographPixelSize", "3", "4", block="optics") + loop("rlnCoordinateX rlnCoordinateY", "1 2"),
            r"several pixel sizes \(3, 4 A\)",
        ),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_picks(written(tmp_path / "bad.star", text))


def test_a_missing_file_a_folder_and_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_picks(tmp_path / "none.star")
    with pytest.raises(InputError, match="not a STAR file"):
        read_picks(tmp_path)
    (tmp_path / "b.star").write_bytes(b"data_\nloop_\n_rlnCoordinateX\n\xff\xfe\x00\n")
    with pytest.raises(InputError, match=r"b\.star"):
        read_picks(tmp_path / "b.star")


@given(
    text=st.text("data_lop rnCiteXY#12.\n\t\"'-e", max_size=120),
    start=st.sampled_from(["", loop("rlnCoordinateX rlnCoordinateY")]),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_read_or_refused(tmp_path: Path, text: str, start: str) -> None:
    try:
        table = read_picks(written(tmp_path / "a.star", start + text))
    except InputError as error:
        assert "a.star" in str(error)
    else:
        assert np.isfinite(table.positions).all()


def test_numbers_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="finite"):
        write_picks(tmp_path / "a.star", [np.nan], [1], "a.mrc")
    assert not list(tmp_path.iterdir())


def test_boxes_begin_half_a_box_before_the_particle(tmp_path: Path) -> None:
    write_box(tmp_path / "a.box", [100.4, 20], [50.6, 30], 32)
    assert (tmp_path / "a.box").read_text() == "84 35 32 32\n4 14 32 32\n"
    write_cbox(tmp_path / "a.cbox", [100.5], [50], 32, [0.75])
    lines = (tmp_path / "a.cbox").read_text().splitlines()
    assert "84.500 34.000 <NA> 32 32 <NA> 32 32 0.750000 <NA> <NA>" in lines
    assert [line for line in lines if line.startswith("data_")] == ["data_global", "data_cryolo", "data_cryolo_include"]
    write_cbox(tmp_path / "none.cbox", [], [], 32, [])
    assert "_Angle #11" in (tmp_path / "none.cbox").read_text().splitlines()
