"""File systems that lack what others have: a command works there, or says in one sentence why it cannot."""

import errno
import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from commanding import partials_below, refusal, small_model, volume
from killing import PROGRAM

WITHOUT = """
import errno, fcntl, os

def flock(descriptor, operation):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

def fsync(descriptor, sync=os.fsync):
    if os.path.isdir(f"/proc/self/fd/{descriptor}"):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    sync(descriptor)

fcntl.flock, os.fsync = flock, fsync
"""


def test_conversion_without_locks_and_without_synchronised_folders(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)  # reaches the worker processes, too
    volume(tmp_path / "in" / "a.mrc")
    ended = subprocess.run(
        [*PROGRAM, "convert", "in", "--out", "out", "--preprocessing_ncpus", "1"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "out" / "a.ome.zarr" / "zarr.json").exists()
    assert not partials_below(tmp_path)
    assert not (tmp_path / "out" / ".mwr_hpc" / "lock.json").exists()


def test_shares_of_a_sweep_need_locks(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fcntl, "flock", refuse)
    volume("in/a.mrc")
    small_model("m.h5")
    Path("out/.mwr_hpc").mkdir(parents=True)
    Path("out/.mwr_hpc/lock_0_of_2.guard").touch()
    message = refusal("predict", "m.h5", "in", "--out", "out", "--share", "0/2")
    assert "out: its file system has no file locks (flock)" in message and "without --share" in message


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS])
def test_a_file_system_that_cannot_bring_files_to_the_disk_is_refused(tmp_path, monkeypatch, number):
    def refuse(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", refuse)
    volume("in/a.mrc")
    small_model("m.h5")
    Path("out/.mwr_hpc").mkdir(parents=True)
    Path("out/.mwr_hpc/lock.guard").touch()
    message = refusal("predict", "m.h5", "in", "--out", "out")
    assert "cannot bring a file to the disk for certain (fsync" in message
