"""Particles as EMAN, crYOLO and Topaz write them: centres come out exactly, and whatever is damaged is refused."""

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mwr_hpc.errors import InputError
from mwr_hpc.io.foreign_picks import is_topaz_table
from mwr_hpc.io.picks import read_picks, write_box, write_cbox

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
number = st.floats(-1e5, 1e5).map(lambda value: round(value, 3))
positions = st.lists(st.tuples(number, number), max_size=6)


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@given(places=positions, side=st.integers(1, 300).map(lambda half: 2 * half))
@FEW
def test_boxes_come_back_as_centres(tmp_path: Path, places: list[tuple[float, float]], side: int) -> None:
    """A .cbox exactly; a .box has whole pixels."""
    x, y = np.array(places, float).reshape(-1, 2).T
    write_cbox(tmp_path / "a.cbox", x, y, side, np.full(len(x), 0.25))
    table = read_picks(tmp_path / "a.cbox")
    np.testing.assert_allclose(table.positions, np.stack([y, x], axis=1), rtol=0, atol=1e-9)
    assert table.scores is not None and (table.scores == 0.25).all()
    write_box(tmp_path / "a.box", x, y, side)
    np.testing.assert_allclose(read_picks(tmp_path / "a.box").positions, np.stack([y, x], axis=1), rtol=0, atol=0.5)


@given(places=positions, extra=st.sampled_from(["", "\t-3"]), end=st.sampled_from(["\n", "\r\n"]))
@FEW
def test_corners_of_any_box(tmp_path: Path, places: list[tuple[float, float]], extra: str, end: str) -> None:
    text = "".join(f"{x!r}\t{y!r}\t64\t32{extra}{end}" for x, y in places)
    (tmp_path / "a.box").write_bytes(text.encode())
    expected = [(y + 16, x + 32) for x, y in places]
    np.testing.assert_array_equal(read_picks(tmp_path / "a.box").positions, np.array(expected).reshape(-1, 2))


@given(
    rows=st.lists(st.tuples(st.sampled_from(["a", "b.frames", "c_1"]), number, number, number), max_size=6),
    scored=st.booleans(),
)
@FEW
def test_tables_of_topaz(tmp_path: Path, rows: list[tuple[str, float, float, float]], scored: bool) -> None:
    header = "image_name\tx_coord\ty_coord" + "\tscore" * scored
    lines = [f"{name}\t{x!r}\t{y!r}" + f"\t{score!r}" * scored for name, x, y, score in rows]
    table = read_picks(written(tmp_path / "a.txt", "\n".join([header, *lines]) + "\n"))
    assert table.micrographs == tuple(name for name, *_ in rows)
    np.testing.assert_array_equal(table.positions, np.array([(y, x) for _, x, y, _ in rows]).reshape(-1, 2))
    assert (table.scores is not None) == scored
    if table.scores is not None:
        np.testing.assert_array_equal(table.scores, [score for *_, score in rows])


CRYOLO = """
data_global

_cbox_format_version 1.0

data_cryolo

loop_
_CoordinateX #1
_CoordinateY #2
_CoordinateZ #3
_Width #4
_Height #5
_Depth #6
_EstWidth #7
_EstHeight #8
_Confidence #9
_NumBoxes #10
_Angle #11
10.5 20 <NA> 100 80 <NA> 90 90 0.5 <NA> <NA>

data_cryolo_include

loop_
_slice_index #1
"""


def test_cryolo_has_corners(tmp_path: Path) -> None:
    table = read_picks(written(tmp_path / "a.cbox", CRYOLO))
    np.testing.assert_array_equal(table.positions, [[60, 60.5]])
    assert table.listed is None


def test_a_table_of_topaz_may_begin_with_a_mark_of_the_byte_order(tmp_path: Path) -> None:
    assert is_topaz_table(written(tmp_path / "a.txt", "\ufeffimage_name\tx_coord\ty_coord\na\t1\t2\n"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.box", "1 2 3\n", "line 1 has 3 values; expected x, y, width and height"),
        ("a.box", "1 2 30 30\n1 2 30 x\n", "line 2 has 'x' of a box; expected a finite number"),
        ("a.box", "1 2_0 30 30\n", "line 1 has '2_0' of a box"),
        ("a.box", "1 2 30 -30\n", "line 1 has a box of 30 x -30 pixels"),
        ("a.box", '{"boxes": [[1, 2, "manual"]]}\n', "line 1 has"),
        ("a.cbox", CRYOLO.replace("10.5 20 <NA>", "10.5 20 7"), "line 20 has a CoordinateZ: a box in a tomogram"),
        ("a.cbox", CRYOLO.replace("10.5", "x"), "line 20 has 'x' as CoordinateX"),
        ("a.cbox", CRYOLO.replace("_Width", "_Breadth"), "no Width in a table data_cryolo"),
        ("a.cbox", "1 2 30 30\n", "not a STAR file: line 1"),
        ("a.txt", "", "is empty"),
        ("a.txt", "a\t1\t2\n", "line 1 names no column image_name, x_coord, y_coord"),
        ("a.txt", "image_name x_coord y_coord\na 1 2\n", "line 1 names no column"),
        ("a.txt", "image_name\tx_coord\ty_coord\na\t1\n", "line 2 has 2 values, expected 3, separated by tabs"),
        ("a.tsv", "image_name\tx_coord\ty_coord\na\t1\tnan\n", "line 2 has 'nan' as y_coord"),
        ("a.txt", "image_name\tx_coord\ty_coord\tz_coord\na\t1\t2\t3\n", "places in a tomogram"),
        ("a.txt", "image_name\tx_coord\ty_coord\n../a\t1\t2\n", "leads out of the folder"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read_picks(written(tmp_path / name, text))
    assert str(tmp_path / name) in str(refused.value)


@given(
    name=st.sampled_from(["a.box", "a.cbox", "a.txt"]),
    place=st.floats(0, 1),
    junk=st.text("0123456789.,-\t\n \"';#_xe\u00e9", max_size=6),
    cut=st.integers(0, 8),
)
@settings(FEW, max_examples=200)
def test_damaged_files_are_read_or_refused(tmp_path: Path, name: str, place: float, junk: str, cut: int) -> None:
    whole = {
        "a.box": "1 2 30 30\n4 5 30 30\n",
        "a.cbox": CRYOLO,
        "a.txt": "image_name\tx_coord\ty_coord\tscore\na\t1\t2\t0.5\n",
    }
    at = int(place * len(whole[name]))
    text = whole[name][:at] + junk + whole[name][at + cut :]
    try:
        table = read_picks(written(tmp_path / name, text))
    except InputError as error:
        assert name in str(error)
    else:
        assert np.isfinite(table.positions).all()


def test_many_rows_are_read_fast(tmp_path: Path) -> None:
    rows = 50_000
    text = "image_name\tx_coord\ty_coord\tscore\n" + "".join(f"m{i % 500}\t{i}\t{i}\t0.5\n" for i in range(rows))
    started = time.process_time()
    assert len(read_picks(written(tmp_path / "a.txt", text))) == rows
    star = "data_\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnMicrographName\n"
    star += "".join(f"{i} {i} MotionCorr/job002/m{i % 500}.mrc\n" for i in range(rows))
    assert len(set(read_picks(written(tmp_path / "a.star", star)).micrographs or ())) == 500
    assert time.process_time() - started < 5
