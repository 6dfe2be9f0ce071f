"""Files appear complete or not at all, and a full disk is reported as one."""

import errno
from pathlib import Path

import pytest

from mwr_hpc.errors import DiskFullError
from mwr_hpc.io import atomic
from mwr_hpc.io.atomic import (
    atomic_file,
    disk_full_reported,
    partial_path,
    publish,
    remove_partials,
    sync_tree,
    target_of,
)


def test_readers_see_the_old_file_until_the_new_one_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "model.h5"
    target.write_text("old")
    with atomic_file(target) as partial:
        partial.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["model.h5"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "model.h5"
    target.write_text("old")
    with pytest.raises(KeyError), atomic_file(target) as partial:
        partial.write_text("half")
        raise KeyError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model.h5"]


def test_partial_paths_are_beside_their_target_and_never_the_same(tmp_path: Path) -> None:
    target = tmp_path / "a.zarr"
    assert partial_path(target).parent == tmp_path
    assert partial_path(target) != partial_path(target)


def test_the_target_of_a_partial_path_and_of_a_file_in_a_partial_directory(tmp_path: Path) -> None:
    target = tmp_path / "a.zarr"
    assert target_of(partial_path(target)) == target_of(target) == target
    assert target_of(partial_path(target) / "c" / "0") == target / "c" / "0"


def test_a_directory_is_published_by_one_rename(tmp_path: Path) -> None:
    target = tmp_path / "a.zarr"
    partial = partial_path(target)
    (partial / "c").mkdir(parents=True)
    (partial / "c" / "0").write_text("x")
    sync_tree(partial)
    publish(partial, target)
    assert (target / "c" / "0").read_text() == "x"
    assert not partial.exists()


def test_only_partials_are_removed_at_every_depth(tmp_path: Path) -> None:
    kept = tmp_path / "deep" / "kept.zarr"
    kept.mkdir(parents=True)
    left_file = partial_path(kept / "zarr.json")
    left_file.write_text("x")
    left_folder = partial_path(tmp_path / "a.zarr")
    (left_folder / "c").mkdir(parents=True)
    assert sorted(remove_partials(tmp_path)) == sorted([left_file, left_folder])
    assert kept.is_dir()
    assert not left_file.exists() and not left_folder.exists()


def test_a_full_disk_is_reported_with_the_target_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "partial"
    link.symlink_to("/dev/full")
    monkeypatch.setattr(atomic, "partial_path", lambda target: link)
    target = tmp_path / "a.json"
    with pytest.raises(DiskFullError, match=r"a\.json.*Free some space"), atomic_file(target) as partial:
        partial.write_text("x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "expected"), [(errno.EDQUOT, DiskFullError), (errno.EACCES, PermissionError)])
def test_a_quota_counts_as_a_full_disk_and_other_errors_do_not(number: int, expected: type[Exception]) -> None:
    with pytest.raises(expected), disk_full_reported(Path("a.mrc")):
        raise OSError(number, "as the system says")


def test_what_others_write_below_a_users_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "another_run").mkdir()
    theirs = tmp_path / "another_run" / "a.zarr.partial-1"
    ours = tmp_path / "a.mrc.partial-2"
    theirs.touch()
    ours.touch()
    assert remove_partials(tmp_path, below=False) == [ours]
    assert theirs.exists()
