"""Other accounts of this machine can neither run code in somebody's run, nor read its keys, nor harm its files."""

import signal
import subprocess
from pathlib import Path

import pytest

import killing
import other_user
from commanding import SMALLEST, volume

TRAINING = [
    word
    for name, value in (SMALLEST | {"preprocessing_ncpus": 2, "epochs": 10_000}).items()
    for word in (f"--{name}", str(value))
]


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch):
    other_user.require_other_user()
    with other_user.shared_temporary_folder() as folder:
        monkeypatch.setenv("TMPDIR", str(folder))
        yield folder


def tomograms(folder: Path, count: int) -> Path:
    for number in range(count):
        volume(folder / f"t{number}.mrc", shape=(24, 32, 32), seed=number)
    return folder


def test_a_living_run_is_closed_to_everybody_else(shared: Path, tmp_path: Path) -> None:
    run, log, found = shared / "run", tmp_path / "log", []

    def attacked() -> bool:
        if not list(run.glob("iterations/01/checkpoint/*")):
            return False
        seen = other_user.listeners(process.pid)
        assert len(seen) == 3, seen  # the coordinator with the scheduler, and two workers
        assert all(len(addresses) == 1 and addresses[0].ip == "127.0.0.1" for addresses in seen.values()), seen
        found.extend(other_user.attack([addresses[0].port for addresses in seen.values()], shared))
        return True

    words = ["train", "--input_dir", tomograms(tmp_path / "in", 2), "--run_dir", run, *TRAINING]
    with log.open("w") as stream:
        process = subprocess.Popen([*killing.PROGRAM, *map(str, words)], stdout=stream, stderr=stream)
    try:
        while process.poll() is None and not attacked():
            pass
        assert process.poll() is None, log.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 85, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert [one for one in found if "mwr-hpc-" in one or ".secrets" in one or " on port " in one] == []
    assert "Traceback" not in log.read_text()
    assert [path.name for path in shared.iterdir()] == ["run"]  # nothing else is left


def test_what_somebody_planted_in_the_temporary_folder_is_not_touched(shared: Path, tmp_path: Path) -> None:
    victim = tmp_path / "results"
    victim.write_text("of last year")
    plant = (
        f"cd {shared}; mkdir dask-scratch-space; chmod 777 dask-scratch-space; cd dask-scratch-space; "
        f"for name in global.lock purge.lock; do ln -s {victim} $name; done; echo 'raise SystemExit(1)' > numcodecs.py"
    )
    subprocess.run(other_user.as_other_user("sh", "-c", plant), check=True)
    before = sorted(shared.rglob("*"))
    inputs = tomograms(tmp_path / "in", 4)
    killing.run_well(["convert", inputs, "--out", tmp_path / "out", "--preprocessing_ncpus", 2])
    assert victim.read_text() == "of last year"
    assert sorted(shared.rglob("*")) == before
    assert len(list((tmp_path / "out").glob("*.ome.zarr"))) == 4
