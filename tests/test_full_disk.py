"""A disk that fills up in the middle: the command ends with 2, leaves nothing half-written, and goes on afterwards."""

import subprocess
from pathlib import Path

import pytest

from commanding import SHORT_TRAINING, partials_below, run, small_model, volume

KIB = 1024
CAPACITY = 2048 * KIB


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A file system of 2 MiB that is full but for what `leave` says; the working directory is beside it."""
    monkeypatch.chdir(tmp_path)
    disk = Path("disk")
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={CAPACITY}", "tmpfs", disk.absolute()], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"a small file system needs the right to mount one: {made.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk.absolute()], check=True)


def leave(disk, size):
    """Have this many bytes of the disk free for what comes next."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    statistics = subprocess.run(["stat", "-f", "-c", "%a %S", disk], capture_output=True, text=True, check=True)
    blocks, block = map(int, statistics.stdout.split())
    ballast.write_bytes(bytes(max(0, blocks * block - size)))


def assert_goes_on(words, disk, steps):
    """The command fails in order at each size of free space but the last, and then ends well; say where it failed."""
    failed = []
    for size in steps:
        leave(disk, size)
        ended = run(*words)
        assert "Traceback" not in ended.err, ended.err
        assert not partials_below(disk), ended.err
        if ended.code == 0:
            return failed
        assert (ended.code, ended.out, ended.err.count("Error: ")) == (2, "", 1), ended
        message = ended.err.partition("Error: ")[2]
        assert str(disk.absolute()) in message and "No space left on device while writing it" in message
        assert "Free some space or quota and give the same command again" in message
        assert "left out" not in ended.err
        failed.append(message)
    raise AssertionError(f"it never ended well: {failed[-1]}")


def test_conversion_goes_on_when_there_is_space_again(small_disk):
    for seed in range(2):
        volume(f"in/t{seed}.mrc", seed=seed)
    out = small_disk / "out"
    words = ["convert", "in", "--out", out, "--preprocessing_ncpus", 1]
    failed = assert_goes_on(words, small_disk, [0, 16 * KIB, 60 * KIB, 500 * KIB])
    assert any("t0.ome.zarr" in message for message in failed), failed
    assert all((out / f"t{seed}.ome.zarr/receipt.json").exists() for seed in range(2))


def test_prediction_goes_on_when_there_is_space_again(small_disk):
    for seed in range(2):
        volume(f"in/t{seed}.mrc", seed=seed)
    small_model("model.h5")
    words = ["predict", "model.h5", "in", "--format", "both", "--out"]
    out = small_disk / "out"
    failed = assert_goes_on([*words, out], small_disk, [k * KIB for k in (0, 16, 30, 60, 120, 1000)])
    assert any("t0_corrected.mrc" in message for message in failed), failed
    assert run(*words, "elsewhere").code == 0
    for name in ("t0_corrected.mrc", "t1_corrected.mrc"):
        assert (out / name).read_bytes() == Path("elsewhere", name).read_bytes()


PREPARATION = [8, 72, 84]
"""KiB with which the list of tomograms, the second conversion and the second extraction do not end."""


@pytest.mark.parametrize(
    "steps",
    [
        PREPARATION,
        [90, 60, 40],
    ],
    ids=["in preparation", "in training"],
)
def test_training_goes_on_when_there_is_space_again(small_disk, steps):
    for seed in range(2):
        volume(f"in/t{seed}.mrc", seed=seed)
    words = ["train", "--input_dir", "in", *SHORT_TRAINING, "--run_dir"]
    failed = assert_goes_on([*words, small_disk / "run"], small_disk, [k * KIB for k in (*steps, 1200)])
    stages = ("run/tomograms.star", ".ome.zarr", "subtomograms", "iterations", "results")
    assert len({stage for stage in stages for message in failed if stage in message}) >= 2, failed
    assert run(*words, "elsewhere").code == 0
    model = "results/model_iter01.h5"
    assert (small_disk / "run" / model).read_bytes() == Path("elsewhere", model).read_bytes()


def test_simulation_goes_on_when_there_is_space_again(small_disk):
    out = small_disk / "out"
    small = ["--shape", 16, 16, 16, "--particles", 0, "--membranes", 0, "--filaments", 0, "--gold", 1]
    assert_goes_on(["simulate", "tomogram", "--out", out, *small], small_disk, [0, 30 * KIB, 500 * KIB])
    assert (out / "specification.yaml").exists()
