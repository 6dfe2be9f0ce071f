"""STAR lists: optional columns, unknown ones, paths, and refusals that name column and line."""

from pathlib import Path

import pytest

from mwr_hpc.errors import InputError
from mwr_hpc.io.star import TomogramRow, read_tomogram_list, write_tomogram_list
from mwr_hpc.io.star_text import read_tables, write_table


def star(path: Path, columns: list[str], *lines: str) -> Path:
    header = "".join(f"_{name} #{number}\n" for number, name in enumerate(columns, 1))
    path.write_text("# version 30001\n\ndata_global\n\nloop_\n" + header + "\n".join(lines) + "\n")
    return path


def test_a_written_list_comes_back(tmp_path: Path) -> None:
    rows = [
        TomogramRow(
            tmp_path / "with space.mrc",
            "007",
            10.520000457763672,
            (-67.0, 57.123456789),
            tmp_path / "m.mrc",
            tmp_path / "e.mrc",
            tmp_path / "o.mrc",
            "day 1",
        ),
        TomogramRow(tmp_path / "b.rec", "b", 8.0, (-60.0, 60.0)),
    ]
    write_tomogram_list(tmp_path / "tomograms.star", rows)
    assert read_tomogram_list(tmp_path / "tomograms.star") == rows


def test_one_tomogram_is_a_list_too(tmp_path: Path) -> None:
    rows = [TomogramRow(tmp_path / "a.mrc", "a")]
    write_tomogram_list(tmp_path / "tomograms.star", rows)
    assert read_tomogram_list(tmp_path / "tomograms.star") == rows


def test_unknown_columns_are_ignored_and_numeric_names_stay_text(tmp_path: Path) -> None:
    path = star(tmp_path / "l.star", ["rlnVoltage", "rlnTomoName", "rlnMicrographName"], "300.0 001 001.mrc")
    (row,) = read_tomogram_list(path)
    assert (row.name, row.path) == ("001", tmp_path / "001.mrc")
    assert (row.tilt_range, row.mask, row.voxel_size, row.group) == (None, None, None, None)


def test_the_column_of_relion_tomograms_is_accepted(tmp_path: Path) -> None:
    path = star(tmp_path / "l.star", ["rlnTomoName", "rlnTomoReconstructedTomogram"], "TS_01 tomograms/rec_TS_01.mrc")
    (row,) = read_tomogram_list(path)
    assert (row.name, row.path) == ("TS_01", tmp_path / "tomograms/rec_TS_01.mrc")


def test_relative_paths_start_at_the_list_then_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in ("lists/both.mrc", "here/both.mrc", "here/only.mrc"):
        (tmp_path / name).touch()
    path = star(tmp_path / "lists" / "l.star", ["rlnMicrographName"], "both.mrc", "only.mrc", "none.mrc", "/x/abs.mrc")
    assert [row.path for row in read_tomogram_list(path)] == [
        tmp_path / "lists" / "both.mrc",
        tmp_path / "here" / "only.mrc",
        tmp_path / "lists" / "none.mrc",
        Path("/x/abs.mrc"),
    ]


def test_a_missing_required_column_is_named(tmp_path: Path) -> None:
    path = star(tmp_path / "l.star", ["rlnTomoName", "mwrGroup"], "a g")
    with pytest.raises(InputError, match=r"l\.star: the required column rlnMicrographName.*mwrGroup, rlnTomoName"):
        read_tomogram_list(path)


@pytest.mark.parametrize(
    ("columns", "line", "message"),
    [
        (["rlnMicrographName", "mwrTiltMin", "mwrTiltMax"], "a.mrc minus 60", "line 9 .*'minus' as mwrTiltMin"),
        (["rlnMicrographName", "mwrTiltMin"], "a.mrc -60", "only one of mwrTiltMin and mwrTiltMax"),
        (["rlnMicrographName", "mwrTiltMin", "mwrTiltMax"], "None -60 60", "line 9 .*no rlnMicrographName"),
    ],
)
def test_bad_values_are_named_with_their_line(tmp_path: Path, columns: list[str], line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_tomogram_list(star(tmp_path / "l.star", columns, line))


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", bytes(range(256)) * 20, b"data_\n\nloop_\n"])
def test_what_is_no_list_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "l.star"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"l\.star"):
        read_tomogram_list(path)


def test_a_missing_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_tomogram_list(tmp_path / "l.star")


def test_names_that_begin_with_an_underscore_are_rows(tmp_path: Path) -> None:
    path = star(tmp_path / "l.star", ["rlnTomoName", "rlnMicrographName"], "a b.mrc", "_c d.mrc")
    assert [row.name for row in read_tomogram_list(path)] == ["a", "_c"]


def test_blocks_of_one_name_are_two(tmp_path: Path) -> None:
    path = star(tmp_path / "l.star", ["rlnMicrographName"], "a.mrc", "b.mrc", "", "data_global", "", "_rlnVoltage 300")
    loop, items = read_tables(path)
    assert loop.columns == {"rlnMicrographName": ["a.mrc", "b.mrc"]} and items.columns == {"rlnVoltage": ["300"]}
    assert len(read_tomogram_list(path)) == 2


def test_a_column_named_twice_is_refused(tmp_path: Path) -> None:
    path = star(tmp_path / "l.star", ["rlnMicrographName", "rlnVoltage", "rlnVoltage"], "a.mrc 1 2")
    with pytest.raises(InputError, match=r"l\.star: line 8 names the column rlnVoltage a second time"):
        read_tomogram_list(path)


def test_any_quotes_can_be_written(tmp_path: Path) -> None:
    said = ["plain", "two words", "it's", 'a "b" c', """both ' and " here""", "", "_x", "#5"]
    write_table(tmp_path / "t.star", {"text": said})
    (table,) = read_tables(tmp_path / "t.star")
    assert table.columns["text"] == [*said[:4], "both ' and ' here", "None", "_x", "#5"]
