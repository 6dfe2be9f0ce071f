"""Cohorts: exact ids and masks, both culprits named, one bad file among good ones."""

from pathlib import Path

import numpy as np
import pytest

from mrc_files import as_bytes, mrc_file, tomogram
from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.io.ome_zarr import OmeZarrWriter
from mwr_hpc.missing_wedge.cohort import cohort_from_files, cohort_from_folder, cohort_from_list, write_cohort
from mwr_hpc.missing_wedge.convert import convert_tomogram

TILTS = (-60.0, 60.0)


def mrc(path: Path, shape: tuple[int, int, int] = (4, 5, 6), voxel_size: float = 10.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with MrcWriter(path, shape, np.int8, voxel_size=voxel_size) as writer:
        writer.write(0, np.ones(shape, np.int8))
    return path


def star(path: Path, header: str, *lines: str) -> Path:
    columns = "".join(f"_{name}\n" for name in header.split())
    path.write_text("data_\n\nloop_\n" + columns + "\n".join(lines) + "\n")
    return path


def test_ids_are_file_names_less_the_last_extension(tmp_path: Path) -> None:
    for name in ("b.x.mrc", "a.rec", "c.MAP", ".hidden.mrc", "notes.txt"):
        mrc(tmp_path / name)
    (tmp_path / "folder.mrc").mkdir()
    cohort = cohort_from_folder(tmp_path, TILTS)
    assert [entry.id for entry in cohort.entries] == ["a", "b.x", "c"]
    first = cohort.entries[0]
    assert (first.path, first.shape, first.voxel_size) == (tmp_path / "a.rec", (4, 5, 6), (10.0, 10.0, 10.0))
    assert (first.tilt_range, first.mask) == (TILTS, None)


def test_two_files_of_one_id_are_both_named(tmp_path: Path) -> None:
    mrc(tmp_path / "a.mrc")
    mrc(tmp_path / "a.rec")
    with pytest.raises(InputError, match=r"id a: .*a\.mrc and .*a\.rec"):
        cohort_from_folder(tmp_path, TILTS)


def test_a_bad_file_is_a_problem_of_its_own(tmp_path: Path) -> None:
    mrc(tmp_path / "good.mrc")
    bad = mrc(tmp_path / "bad.mrc")
    bad.write_bytes(bad.read_bytes()[:-1])
    mrc(tmp_path / "flat.mrc", (1, 5, 6))
    cohort = cohort_from_folder(tmp_path, TILTS)
    assert [entry.id for entry in cohort.entries] == ["good"]
    assert sorted(cohort.problems) == ["bad", "flat"]
    assert "truncated" in cohort.problems["bad"]
    assert "image" in cohort.problems["flat"]


def test_without_any_usable_tomogram_the_reasons_are_told(tmp_path: Path) -> None:
    (tmp_path / "bad.mrc").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no tomogram can be used(.|\n)*bad\.mrc: not an MRC"):
        cohort_from_folder(tmp_path, TILTS)


@pytest.mark.parametrize(("name", "message"), [("", r"no volume \(.mrc, .rec, .map, .ome"), ("none", "no such folder")])
def test_an_empty_or_missing_folder_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        cohort_from_folder(tmp_path / name, TILTS)


def test_masks_match_exactly(tmp_path: Path) -> None:
    for name in ("a", "ab", "b"):
        mrc(tmp_path / "t" / f"{name}.mrc")
    masks = [mrc(tmp_path / "m" / name) for name in ("a.mrc", "ab_mask.mrc", "b_mask.mrc", "b_mask_old.mrc")]
    cohort = cohort_from_folder(tmp_path / "t", TILTS, tmp_path / "m")
    assert [entry.mask for entry in cohort.entries] == masks[:3]


def test_missing_masks_are_named_unless_allowed(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        mrc(tmp_path / "t" / f"{name}.mrc")
    mask = mrc(tmp_path / "m" / "b.mrc")
    with pytest.raises(InputError, match=r"no mask for a, c.*--allow_missing_masks"):
        cohort_from_folder(tmp_path / "t", TILTS, tmp_path / "m")
    cohort = cohort_from_folder(tmp_path / "t", TILTS, tmp_path / "m", allow_missing_masks=True)
    assert [entry.mask for entry in cohort.entries] == [None, mask, None]


def test_two_masks_of_one_tomogram_are_refused(tmp_path: Path) -> None:
    mrc(tmp_path / "t" / "a.mrc")
    mrc(tmp_path / "m" / "a.mrc")
    mrc(tmp_path / "m" / "a_mask.mrc")
    with pytest.raises(InputError, match=r"a\.mrc and a_mask\.mrc"):
        cohort_from_folder(tmp_path / "t", TILTS, tmp_path / "m")


def test_masks_beside_the_tomograms_are_no_tomograms(tmp_path: Path) -> None:
    mrc(tmp_path / "a.mrc")
    mask = mrc(tmp_path / "a_mask.mrc")
    (entry,) = cohort_from_folder(tmp_path, TILTS, tmp_path).entries
    assert (entry.id, entry.mask) == ("a", mask)


def test_a_mask_of_another_shape_is_a_problem(tmp_path: Path) -> None:
    mrc(tmp_path / "t" / "a.mrc")
    mrc(tmp_path / "t" / "b.mrc")
    mrc(tmp_path / "m" / "a.mrc", (4, 5, 7))
    mrc(tmp_path / "m" / "b.mrc")
    cohort = cohort_from_folder(tmp_path / "t", TILTS, tmp_path / "m")
    assert list(cohort.problems) == ["a"]
    assert "(4, 5, 7)" in cohort.problems["a"] and "a.mrc" in cohort.problems["a"]


def test_a_list_gives_what_a_folder_cannot(tmp_path: Path) -> None:
    for name in ("one/rec.mrc", "two/rec.mrc", "even.mrc", "odd.mrc", "mask.mrc"):
        mrc(tmp_path / name, voxel_size=0.0)
    path = star(
        tmp_path / "l.star",
        "rlnTomoName rlnMicrographName rlnTomogramPixelSize mwrTiltMin mwrTiltMax "
        "mwrMaskPath mwrEvenPath mwrOddPath mwrGroup",
        "TS_2 two/rec.mrc 8.5 -67 57 mask.mrc even.mrc odd.mrc day1",
        "TS_1 one/rec.mrc 8.5 None None None None None None",
    )
    first, second = cohort_from_list(path, None).entries
    assert (first.id, first.tilt_range, first.mask, first.group) == ("TS_1", None, None, None)
    assert (second.id, second.tilt_range, second.group) == ("TS_2", (-67.0, 57.0), "day1")
    assert (second.mask, second.even, second.odd) == tuple(tmp_path / f"{n}.mrc" for n in ("mask", "even", "odd"))
    assert (second.voxel_size, second.stated_voxel_size) == ((8.5, 8.5, 8.5), 8.5)


def test_a_range_that_the_command_gives_wins_over_the_list_s(tmp_path: Path) -> None:
    mrc(tmp_path / "a.mrc")
    path = star(tmp_path / "l.star", "rlnMicrographName mwrTiltMin mwrTiltMax", "a.mrc -67 57")
    assert cohort_from_list(path, TILTS).entries[0].tilt_range == TILTS


def test_a_voxel_size_of_the_header_needs_none_of_the_list(tmp_path: Path) -> None:
    mrc(tmp_path / "a.mrc", voxel_size=10.0)
    path = star(tmp_path / "l.star", "rlnMicrographName rlnTomogramPixelSize", "a.mrc 8.5")
    (entry,) = cohort_from_list(path, None).entries
    assert (entry.voxel_size, entry.stated_voxel_size) == ((10.0, 10.0, 10.0), None)


def test_masks_and_halves_of_a_list_are_ignored_where_volumes_alone_are_wanted(tmp_path: Path) -> None:
    mrc(tmp_path / "a.mrc")
    path = star(tmp_path / "l.star", "rlnMicrographName mwrMaskPath mwrEvenPath", "a.mrc gone.mrc gone.mrc")
    assert cohort_from_list(path, None, alone=True).entries[0].mask is None
    with pytest.raises(InputError, match=r"gone\.mrc"):
        cohort_from_list(path, None)


def test_ome_zarr_serves_as_tomogram_and_as_mask(tmp_path: Path) -> None:
    for folder in ("t", "m"):
        values = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
        with OmeZarrWriter(tmp_path / folder / "a.ome.zarr", values.shape, values.dtype, (10.0,) * 3) as writer:
            writer.write(0, values)
    (entry,) = cohort_from_folder(tmp_path / "t", TILTS, tmp_path / "m").entries
    assert (entry.id, entry.path.name, entry.mask) == ("a", "a.ome.zarr", tmp_path / "m" / "a.ome.zarr")


def test_a_written_cohort_is_read_again(tmp_path: Path) -> None:
    mrc(tmp_path / "007.mrc", voxel_size=10.52)
    mrc(tmp_path / "b.mrc")
    cohort = cohort_from_folder(tmp_path, (-67.0, 57.0))
    write_cohort(tmp_path / "tomograms.star", cohort.entries)
    assert cohort_from_list(tmp_path / "tomograms.star", None) == cohort


def test_flipping_reaches_the_ranges_of_a_list(tmp_path: Path) -> None:
    mrc(tmp_path / "a.mrc")
    path = star(tmp_path / "l.star", "rlnMicrographName mwrTiltMin mwrTiltMax", "a.mrc -67 57")
    (entry,) = cohort_from_list(path, None, flip_tilt=True).entries
    assert entry.tilt_range == (-57.0, 67.0)


def test_named_files_need_no_tilt_range(tmp_path: Path) -> None:
    paths = [mrc(tmp_path / "b.mrc"), mrc(tmp_path / "other" / "a.rec")]
    cohort = cohort_from_files(paths, None)
    assert [(entry.id, entry.tilt_range) for entry in cohort.entries] == [("a", None), ("b", None)]
    with pytest.raises(InputError, match=r"id b: .*b\.mrc and .*b\.rec"):
        cohort_from_files([paths[0], tmp_path / "b.rec"], None)


def test_a_missing_file_of_a_list_is_a_problem(tmp_path: Path) -> None:
    mrc(tmp_path / "a.mrc")
    path = star(tmp_path / "l.star", "rlnMicrographName", "a.mrc", "gone.mrc")
    cohort = cohort_from_list(path, TILTS)
    assert [entry.id for entry in cohort.entries] == ["a"]
    assert "gone.mrc: cannot be read" in cohort.problems["gone"]


@pytest.mark.parametrize("line", ["a.mrc a 60 -60", "a.mrc a -90 90", "a.mrc ../a -60 60", "a.mrc .a -60 60"])
def test_impossible_tilts_and_ids_are_refused(tmp_path: Path, line: str) -> None:
    mrc(tmp_path / "a.mrc")
    path = star(tmp_path / "l.star", "rlnMicrographName rlnTomoName mwrTiltMin mwrTiltMax", line)
    with pytest.raises(InputError, match=r"l\.star: .*(tilt range|cannot be an id)"):
        cohort_from_list(path, None)


def test_bytes_that_version_0_1_0_converted_in_the_wrong_way_are_told(tmp_path: Path) -> None:
    values = as_bytes(tomogram(), "u1")
    for name, reading in (("wrong", "signed"), ("right", "unsigned")):
        path = mrc_file(tmp_path / f"{name}.mrc", values)
        convert_tomogram({"tomogram": path}, {"bytes": reading}, tmp_path / "t" / f"{name}.ome.zarr")
    notes = {entry.id: entry.notes for entry in cohort_from_folder(tmp_path / "t", None).entries}
    assert notes["right"] == ()
    ((path, note),) = notes["wrong"]
    assert path.name == "wrong.ome.zarr" and "convert that file again" in note
