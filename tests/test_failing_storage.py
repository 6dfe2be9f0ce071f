"""A storage that fails: waited for, then the tomogram is set aside or the run stops, and nobody is blamed.

The errors are raised where files are opened, in real worker processes and in this one; see `failing_storage`.
"""

import builtins
import errno
import importlib.util
import io
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from commanding import SHORT_TRAINING, partials_below, run, volume
from mwr_hpc.cluster.pool import InlinePool
from mwr_hpc.errors import InputError, StorageError
from mwr_hpc.io import storage
from mwr_hpc.io.storage import patiently, storage_error
from mwr_hpc.pipeline import backend

TRAIN = ["train", "--input_dir", "in", "--run_dir", "run", *SHORT_TRAINING]
FAILING = Path(__file__).parent / "failing_storage"

Fault = Callable[..., Path]


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have units done in this process."""
    monkeypatch.setattr(backend, "local_pool", lambda workers: nullcontext(InlinePool()))


@pytest.fixture
def fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fault]:
    """A function that makes files fail, here and in the workers."""
    before = io.open
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(storage, "PAUSES", (0.01, 0.02))
    monkeypatch.syspath_prepend(FAILING)  # which workers get too
    monkeypatch.setenv("MWR_TEST_FAULTS", str(tmp_path / "faults"))
    (tmp_path / "faults").mkdir()
    specification = importlib.util.spec_from_file_location("failing_storage", FAILING / "sitecustomize.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    yield lambda *words: module.fault(tmp_path / "faults", *words)
    builtins.open = io.open = before


def test_workers_wait_out_a_short_failure_and_name_a_longer_one(fault: Fault) -> None:
    for name in "ab":
        volume(f"in/{name}.mrc", seed=ord(name))
    fault(errno.EIO, "in/a.mrc", "r", 2)
    fault(errno.ESTALE, "b.ome.zarr.partial", "w")
    ended = run("convert", "in", "--out", "out", "--preprocessing_ncpus", 1)
    assert ended.code == 1 and "  b: convert: storage: " in ended.err and "in 3 tries" in ended.err, ended
    assert Path("out/a.ome.zarr/receipt.json").exists() and not partials_below(Path("out"))


@pytest.mark.usefixtures("in_process")
def test_one_tomogram_that_cannot_be_read_is_set_aside_and_taken_in_later(fault: Fault) -> None:
    for name in "ab":
        volume(f"in/{name}.mrc", seed=ord(name))
    failing = fault(errno.EIO, "tomograms/a.ome.zarr/0")
    for receipt in ("", "tomograms/a.ome.zarr"):
        if receipt:
            failing.unlink()
            failing = fault(errno.EIO, receipt)
        ended = run(*TRAIN)
        assert ended.code == 1, ended
        stage = "convert" if receipt else "extract"
        assert f"  a: {stage}: storage: " in ended.err and "Input/output error, in 3 tries" in ended.err
        assert "fault of the program" not in ended.err and "Traceback" not in ended.err
    failing.unlink()
    ended = run(*TRAIN)
    assert ended.code == 1 and "  a: model_iter01.h5 was trained without it" in ended.err, ended
    assert "Failed" not in ended.err


@pytest.mark.usefixtures("in_process")
def test_headers_that_cannot_be_read_blame_nobody(fault: Fault) -> None:
    for name in "ab":
        volume(f"in/{name}.mrc", seed=ord(name))
    one = fault(errno.ESTALE, "in/a.mrc")
    ended = run(*TRAIN)
    assert ended.code == 1 and "  a: storage: " in ended.err and "check the path" not in ended.err, ended
    one.unlink()
    for name in "ab":
        fault(errno.ESTALE, f"in/{name}.mrc")
    ended = run(*TRAIN, "--run_dir", "another")
    assert ended.code == 85 and "Stopped in good order: " in ended.err and "left out" not in ended.err, ended
    assert not Path("another").exists()


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("number", "part", "kind"),
    [
        (errno.ENOTCONN, ".ome.zarr/0", "r"),
        (errno.EROFS, "subtomograms/", "w"),
        (errno.EIO, "pairs/a.zarr/zarr.json", "r"),
    ],
)
def test_a_storage_that_is_gone_stops_the_run(fault: Fault, number: int, part: str, kind: str) -> None:
    for name in "ab":
        volume(f"in/{name}.mrc", seed=ord(name))
    failing = fault(number, part, kind)
    ended = run(*TRAIN)
    assert ended.code == 85, ended
    assert "Stopped in good order: " in ended.err and os.strerror(number) in ended.err
    assert "left out" not in ended.err and "Traceback" not in ended.err
    failing.unlink()
    ended = run(*TRAIN)
    assert ended.code == 0 and not partials_below(Path("run")), ended


def test_what_belongs_to_no_tomogram_stops_the_command(fault: Fault) -> None:
    volume("in/a.mrc")
    fault(errno.EIO, "list.star")
    Path("list.star").touch()
    ended = run("cohort", "list.star", "--out", "out.star")
    assert ended.code == 85 and "list.star: Input/output error: the storage failed" in ended.err, ended


def test_causes_are_found_behind_what_readers_say() -> None:
    def read() -> None:
        try:
            raise OSError(errno.EIO, "Input/output error", "a.mrc")
        except OSError as error:
            raise InputError("a.mrc: cannot be read") from error

    with pytest.raises(StorageError, match=r"a\.mrc: Input/output error, in 3 tries"):
        patiently(read, "a", (0, 0))
    with pytest.raises(ZeroDivisionError):
        patiently(lambda: 1 / 0, "a", (0,))
    of_hdf5 = OSError("Can't read data (file read failed: time = now, errno = 5, error message = 'Input/output error')")
    assert storage_error(of_hdf5).errno == errno.EIO
    assert storage_error(FileNotFoundError(errno.ENOENT, "none")) is None
    assert np.isclose(sum(storage.PAUSES), 21)
