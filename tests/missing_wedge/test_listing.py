"""Cohorts from folders, files and lists together: tilt angles matched by name, signs, groups, problems named."""

import os
from pathlib import Path

import numpy as np
import pytest

from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.missing_wedge.cohort import cohort_from_files, cohort_from_list, volumes_named, write_cohort
from mwr_hpc.missing_wedge.listing import collect_cohort


def mrc(path: Path, shape: tuple[int, int, int] = (4, 5, 6)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with MrcWriter(path, shape, np.int8, voxel_size=10.0) as writer:
        writer.write(0, np.ones(shape, np.int8))
    return path


def tlt(folder: Path, name: str, low: float, high: float) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"{low}\n0\n{high}\n")


def test_tilt_ranges_come_from_files(tmp_path: Path) -> None:
    for name in ("a.mrc", "b_rec.mrc", "c.mrc"):
        mrc(tmp_path / "in" / name)
    tlt(tmp_path / "tilts", "a.tlt", -66.2, 57.1)
    tlt(tmp_path / "tilts", "b.rawtlt", -50, 60)
    cohort = collect_cohort([tmp_path / "in"], tlt_dir=tmp_path / "tilts")
    assert {entry.id: entry.tilt_range for entry in cohort.entries} == {"a": (-66.2, 57.1), "b_rec": (-50.0, 60.0)}
    assert list(cohort.problems) == ["c"]
    assert "expected one of c.tlt, c.aln, c.rawtlt" in cohort.problems["c"]
    flipped = collect_cohort([tmp_path / "in/a.mrc"], tlt_dir=tmp_path / "tilts", flip_tilt=True)
    assert flipped.entries[0].tilt_range == (-57.1, 66.2)


def test_folders_files_and_lists_become_one(tmp_path: Path) -> None:
    mrc(tmp_path / "one/a.mrc"), mrc(tmp_path / "one/a_mask.mrc"), mrc(tmp_path / "two/b.mrc"), mrc(tmp_path / "c.rec")
    masked = collect_cohort([tmp_path / "one"], (-60, 60), mask_dir=tmp_path / "one")
    assert [(entry.id, entry.mask) for entry in masked.entries] == [("a", tmp_path / "one/a_mask.mrc")]
    write_cohort(tmp_path / "one.star", masked.entries)
    both = collect_cohort([tmp_path / "one.star", tmp_path / "two", tmp_path / "c.rec"], (-50, 40))
    assert {entry.id: entry.tilt_range for entry in both.entries} == {"a": (-60, 60), "b": (-50, 40), "c": (-50, 40)}


def test_one_group_of_a_list(tmp_path: Path) -> None:
    a, b = mrc(tmp_path / "a.mrc"), mrc(tmp_path / "b.mrc")
    star = tmp_path / "list.star"
    star.write_text(f"data_\n\nloop_\n_rlnMicrographName\n_mwrGroup\n{a} first\n{b} second\n")
    assert [entry.id for entry in cohort_from_list(star, None, group="second").entries] == ["b"]
    assert [entry.id for entry in collect_cohort([star], group="first").entries] == ["a"]
    with pytest.raises(InputError, match=r"no tomogram is of the group third; found the groups first, second"):
        cohort_from_list(star, None, group="third")


def test_what_cannot_be_listed_is_refused_by_name(tmp_path: Path) -> None:
    mrc(tmp_path / "one/a.mrc"), mrc(tmp_path / "two/a.mrc")
    with pytest.raises(InputError, match=r"id a: .*one/a\.mrc and .*two/a\.mrc"):
        collect_cohort([tmp_path / "one", tmp_path / "two"])
    (tmp_path / "TS_1.tomostar").write_text("data_\n")
    with pytest.raises(InputError, match=r"TS_1\.tomostar: holds a tilt series.*--tlt_dir"):
        collect_cohort([tmp_path / "TS_1.tomostar"])
    tlt(tmp_path / "tilts", "b.tlt", -60, 60)
    with pytest.raises(InputError, match="no tilt angles of"):
        collect_cohort([tmp_path / "one"], tlt_dir=tmp_path / "tilts")


def test_a_bad_tilt_file_spoils_its_own_tomogram_alone(tmp_path: Path) -> None:
    for name in "abc":
        mrc(tmp_path / f"in/{name}.mrc")
        tlt(tmp_path / "tilts", f"{name}.tlt", -60, 60)
    (tmp_path / "tilts/c.tlt").write_text("12\n")
    cohort = collect_cohort([tmp_path / "in"], tlt_dir=tmp_path / "tilts")
    assert [entry.id for entry in cohort.entries] == ["a", "b"]
    assert "c.tlt: found 1 angles from 12 to 12" in cohort.problems["c"]
    for name in "ab":  # c needs no mask, for it is left out anyway
        mrc(tmp_path / f"masks/{name}_mask.mrc")
    cohort = collect_cohort([tmp_path / "in"], tlt_dir=tmp_path / "tilts", mask_dir=tmp_path / "masks")
    assert [entry.id for entry in cohort.entries] == ["a", "b"]


def test_the_tilt_files_that_a_list_names(tmp_path: Path) -> None:
    """Read where nothing says the range otherwise; one that is bad or missing spoils its own tomogram alone."""
    for name in "abc":
        mrc(tmp_path / f"{name}.mrc")
    tlt(tmp_path / "series", "a.tlt", -50, 61)
    (tmp_path / "series/b.tlt").write_text("angles\n")
    rows = "".join(f"{name}.mrc series/{name}.tlt\n" for name in "abc")
    star = tmp_path / "list.star"
    star.write_text("data_\n\nloop_\n_rlnMicrographName\n_rlnTomoTiltSeriesStarFile\n" + rows)
    for cohort in (collect_cohort([star]), cohort_from_list(star, None)):
        assert {entry.id: entry.tilt_range for entry in cohort.entries} == {"a": (-50, 61)}
        assert "b.tlt: line 1 has 'angles'; expected one tilt angle a line" in cohort.problems["b"]
        assert f"{tmp_path / 'series/c.tlt'}: there is no such file" in cohort.problems["c"]
    for_prediction = cohort_from_list(star, None, alone=True)
    assert {entry.id: entry.tilt_range for entry in for_prediction.entries} == {"a": (-50, 61), "c": None}
    assert cohort_from_list(star, None, flip_tilt=True).entries[0].tilt_range == (-61, 50)
    for cohort in (collect_cohort([star], (-40, 40), option_wins=True), cohort_from_list(star, (-40, 40))):
        assert {entry.id: entry.tilt_range for entry in cohort.entries} == dict.fromkeys("abc", (-40, 40))
    fallen_back = collect_cohort([star], (-40, 40))
    assert {entry.id: entry.tilt_range for entry in fallen_back.entries} == {"a": (-50, 61), "c": (-40, 40)}


def test_names_that_no_list_can_hold_are_problems(tmp_path: Path) -> None:
    names = ["a.mrc", "b\nc.mrc", 'it\'s "d".mrc', os.fsdecode(b"caf\xe9.mrc"), "e\u2028f.mrc", "it's g.mrc"]
    for name in names:
        mrc(tmp_path / "in" / name)
    cohort = collect_cohort([tmp_path / "in"])
    assert sorted(cohort.problems) == sorted(name.removesuffix(".mrc") for name in names[1:4])
    assert all("no list can hold this name" in reason for reason in cohort.problems.values())
    write_cohort(tmp_path / "list.star", cohort.entries)
    assert cohort_from_list(tmp_path / "list.star", None).entries == cohort.entries
    assert cohort_from_files([tmp_path / "in" / name for name in names], None).problems == {}  # for no list


def test_masks_beside_their_tomograms_are_no_tomograms(tmp_path: Path) -> None:
    for name in ("a", "a_mask", "b_mask"):
        mrc(tmp_path / f"{name}.mrc")
    assert [entry.id for entry in collect_cohort([tmp_path]).entries] == ["a", "b_mask"]
    assert [path.stem for path in volumes_named([tmp_path])] == ["a", "a_mask", "b_mask"]
