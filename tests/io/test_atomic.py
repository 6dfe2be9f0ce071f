"""Files appear complete or not at all, and a full disk is reported as one."""

import errno
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from mwr_hpc.errors import ConfigError, DiskFullError, StopRequested, WorkGoesOn
from mwr_hpc.io import atomic
from mwr_hpc.io.atomic import (
    atomic_file,
    disk_full_reported,
    partial_path,
    publish,
    publish_new,
    remove_partial,
    remove_partials,
    sync_tree,
    target_of,
    without_partials,
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


@pytest.mark.parametrize(
    ("end", "is_owner", "left"),
    [
        (None, True, False),
        (None, False, True),
        (StopRequested("stop"), True, False),
        (StopRequested("stop"), False, True),
        (KeyboardInterrupt(), True, False),
        (WorkGoesOn("stop"), True, True),
    ],
)
def test_what_lost_workers_left_is_removed_at_the_end_unless_it_may_be_anothers(
    tmp_path: Path, end: BaseException | None, is_owner: bool, left: bool
) -> None:
    lost = tmp_path / "deep" / "a.zarr.partial-1"
    try:
        with without_partials([], [tmp_path], lambda: is_owner):
            (lost / "c").mkdir(parents=True)
            if end is not None:
                raise end
    except (StopRequested, KeyboardInterrupt) as raised:
        assert raised is end
    assert lost.exists() == left


def test_a_lost_node_that_is_still_writing_fails_nothing(tmp_path: Path) -> None:
    lost, ended = tmp_path / "a.zarr.partial-1", threading.Event()

    def write() -> None:
        while not ended.is_set():
            (lost / "c").mkdir(parents=True, exist_ok=True)
            for number in range(20):
                try:
                    (lost / "c" / str(number)).touch()
                except FileNotFoundError:
                    break

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            remove_partial(lost)
    finally:
        ended.set()
        writer.join()
    remove_partial(lost)
    assert not lost.exists()


def test_what_cannot_be_removed_for_another_reason_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "no right")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    started = time.monotonic()
    with pytest.raises(PermissionError):
        remove_partial(tmp_path)
    assert time.monotonic() - started < 1


def without_sync(monkeypatch: pytest.MonkeyPatch, number: int, of_files: bool) -> None:
    sync = os.fsync

    def refuse(descriptor: int) -> None:
        if of_files or os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_folders_that_cannot_be_synchronised_do_not_matter_but_files_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    without_sync(monkeypatch, number, of_files=False)
    target = tmp_path / "a.zarr"
    partial = partial_path(target)
    partial.mkdir()
    (partial / "0").write_text("x")
    sync_tree(partial)
    publish(partial, target)
    assert (target / "0").read_text() == "x"
    without_sync(monkeypatch, number, of_files=True)
    with pytest.raises(ConfigError, match=r"b\.json: its file system cannot"), atomic_file(tmp_path / "b.json") as path:
        path.write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_a_disk_that_fails_is_not_taken_for_one_without_synchronisation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_sync(monkeypatch, errno.EIO, of_files=False)
    with pytest.raises(OSError, match="Input/output error"):
        sync_tree(tmp_path)


@pytest.mark.parametrize("number", [None, errno.EPERM, errno.EOPNOTSUPP])
def test_a_new_name_is_given_once_with_and_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    def refuse(source: Path, target: Path) -> None:
        assert number is not None
        raise OSError(number, os.strerror(number))

    if number is not None:
        monkeypatch.setattr(os, "link", refuse)
    partials = [partial_path(tmp_path / "model.h5") for _ in range(2)]
    for name, partial in zip("ab", partials, strict=True):
        partial.write_text(name)
    publish_new(partials[0], tmp_path / "model.h5")
    with pytest.raises(FileExistsError):
        publish_new(partials[1], tmp_path / "model.h5")
    assert (tmp_path / "model.h5").read_text() == "a"
