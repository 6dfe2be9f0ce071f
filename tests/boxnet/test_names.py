"""Names in lists and the micrographs that they mean: what fits exactly, what fits at all, and what fits two."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwr_hpc.boxnet.matching import find_examples
from mwr_hpc.boxnet.names import Micrographs, assign
from mwr_hpc.errors import InputError
from mwr_hpc.events import Event, Notice
from mwr_hpc.io.picks import write_picks

PREFIXED = "000123456789012345678_14sep05_00024sq_patch_aligned_doseweighted"
LIST = Path("list.star")


def folder_of(folder: str, *stems: str) -> Micrographs:
    return Micrographs({stem: Path(folder) / f"{stem}.mrc" for stem in stems})


def test_two_micrographs_of_one_name_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"list\.star: Dataset1/m1\.mrc and Dataset2/m1\.mrc are two micrographs, and "
    ):
        assign(LIST, ["Dataset1/m1.mrc", "Dataset2/m1.mrc", "Dataset1/m2.mrc"], folder_of("/data/mics", "m1", "m2"))
    with pytest.raises(InputError, match=r"m1\.mrc and x/m1\.mrc are two micrographs"):
        assign(LIST, ["x/m1.mrc", "m1.mrc"], folder_of("/data/x", "m1"))
    with pytest.raises(InputError, match=r"m1\.mrc and m1\.tif are two"):
        assign(LIST, ["m1.mrc", "m1.tif"], folder_of("/data/x", "m1"))


def test_trailing_parts_tell_them_apart() -> None:
    """m3 is in both folders, and the list has that of the other one."""
    listed = ["Dataset1/a/m1.mrc", "Dataset2/a/m1.mrc", "Dataset1/a/m2.mrc", "Dataset2/a/m3.mrc", "Dataset2/a/m4.mrc"]
    found = assign(LIST, listed, folder_of("/data/Dataset1/a", "m1", "m2", "m3"))
    assert found.names == {"m1": "Dataset1/a/m1.mrc", "m2": "Dataset1/a/m2.mrc"}
    assert found.elsewhere == ["Dataset2/a/m1.mrc", "Dataset2/a/m3.mrc", "Dataset2/a/m4.mrc"] and found.missing == []


def test_folders_do_not_matter_where_names_are_enough() -> None:
    found = assign(LIST, ["MotionCorr/job002/m1.mrc", "m2.mrc", "x/m3.mrc"], folder_of("/data", "m1", "m2"))
    assert found.names == {"m1": "MotionCorr/job002/m1.mrc", "m2": "m2.mrc"} and found.missing == ["x/m3.mrc"]


@given(
    stems=st.sets(st.text("ab_1", min_size=1, max_size=4), min_size=1, max_size=4),
    folders=st.lists(st.sampled_from(["A/x", "B/x", "A/y", "C"]), min_size=1, max_size=3, unique=True),
)
def test_what_is_told_apart_is_right(stems: set[str], folders: list[str]) -> None:
    """Every name goes to the micrograph of its own folder, or is left out, or all is refused."""
    listed = [f"{folder}/{stem}.mrc" for folder in folders for stem in stems]
    found = assign(LIST, listed, folder_of(f"/data/{folders[0]}", *stems))
    assert found.names == {stem: f"{folders[0]}/{stem}.mrc" for stem in stems}
    assert len(found.elsewhere) == len(listed) - len(stems) and not found.missing


@pytest.mark.parametrize(
    ("name", "stem", "expected"),
    [
        (f"{PREFIXED}.mrc", "14sep05_00024sq", "14sep05_00024sq"),
        ("14sep05_00024sq.tif", PREFIXED, PREFIXED),
        ("14sep05_00024sq", PREFIXED, PREFIXED),
        (PREFIXED, PREFIXED, PREFIXED),
        ("a.frames", "a.frames", "a.frames"),
        ("a.frames.mrc", "a.frames", "a.frames"),
        ("a.b", "a", "a"),
        ("14sep05_00025sq", PREFIXED, None),
        ("1234_a.mrc", "a", None),
        ("a_aligned.mrc", "a", None),
    ],
)
def test_names_with_additions(name: str, stem: str, expected: str | None) -> None:
    assert folder_of("m", stem).stem_of(name) == expected


def test_an_exact_name_wins_and_two_additions_are_refused() -> None:
    both = folder_of("m", "14sep05_00024sq", PREFIXED)
    assert both.stem_of("14sep05_00024sq.mrc") == "14sep05_00024sq" and both.stem_of(f"{PREFIXED}.mrc") == PREFIXED
    with pytest.raises(InputError, match=r"ambiguous: could belong to m/0001.*\.mrc and to m/14sep05_00024sq\.mrc"):
        both.stem_of(f"9{PREFIXED[1:]}.mrc")


def test_names_that_are_no_utf8_are_those_of_a_list_in_latin1() -> None:
    stem = b"caf\xe9".decode(errors="surrogateescape")
    assert folder_of("m", stem).stem_of("caf\xe9.mrc") == stem


def test_a_list_is_told_apart_by_the_folder_of_the_micrographs(tmp_path: Path) -> None:
    (tmp_path / "Dataset1").mkdir()
    for name in ("m1.mrc", "m2.mrc"):
        (tmp_path / "Dataset1" / name).touch()
    names = ["Dataset1/m1.mrc", "Dataset2/m1.mrc", "Dataset1/m2.mrc"]
    write_picks(tmp_path / "p.star", [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], names)
    told: list[Event] = []
    one, two = find_examples(tmp_path / "Dataset1", tmp_path / "p.star", emit=told.append)
    assert (one.listed, two.listed) == ("Dataset1/m1.mrc", None)
    assert [type(event) for event in told] == [Notice] and "left out are 1 micrographs" in str(told)
    (tmp_path / "Dataset1").rename(tmp_path / "mics")
    with pytest.raises(InputError, match=r"Dataset1/m1\.mrc and Dataset2/m1\.mrc are two micrographs"):
        find_examples(tmp_path / "mics", tmp_path / "p.star")
